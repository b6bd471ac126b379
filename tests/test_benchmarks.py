"""Every benchmark runs and prints its figures; what the figures should be, only a quiet machine can say."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from orchestrator.monitors import MONITORS
from orchestrator.routers import ROUTERS

ASKING = {"trial-answer", "saturation", "convergence", "overthinking"}
"""Monitors that look at a forced answer, or have to ask whether two are the same."""
BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


SLOWER = 4
"""How much slower than the machine of the bars another one may be: its best of five laps is held against so much."""


def figures(name: str, *more: str) -> dict[str, dict[str, Any]]:
    """Run a benchmark in its quick form and return its rows by name and unit."""
    command = [sys.executable, "-W", "error", str(BENCHMARKS / f"{name}.py"), "--quick", "--json", *more]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["quick"] is True
    assert all(report[key] for key in ("machine", "python", "packages", "commit", "load_before", "load_after"))
    return {f"{row['name']} [{row['unit']}]": row for row in report["rows"]}


def test_step_cost_holds_every_kind_of_step_against_a_bare_loop() -> None:
    rows = figures("step_cost")
    for outcome in ("kept", "escalated"):
        fused, graph, bare = (rows[f"{who}, {outcome}: median [ms]"]["median"] for who in ("fused", "graph", "bare"))
        assert 0 < bare < graph
        assert 0 < fused < graph
        assert rows[f"graph - bare, {outcome}: p95 [ms]"]["bar"] is not None
        assert 0.1 < rows[f"graph, {outcome}: last steps / step 10 [x]"]["median"] < 10
    assert rows["bare, kept: mean [ms]"]["median"] < rows["bare, escalated: mean [ms]"]["median"]


def test_throughput_counts_steps_by_the_clock_and_by_cpu() -> None:
    rows = figures("throughput")
    for who in ("fused, specreason", "graph, specreason", "fused, small", "graph, small"):
        by_wall, by_cpu = (rows[f"{who}: {what} [step/s]"]["median"] for what in ("by wall", "by CPU"))
        assert 1 < by_wall <= by_cpu * 1.5


def test_http_overhead_compares_with_a_bare_client_at_every_latency() -> None:
    rows = figures("http_overhead")
    for latency_ms in (0, 50, 200, 500):
        setting = f"{latency_ms} ms, small, 1 token an event"
        for who in ("bare", "fused", "graph"):
            assert rows[f"{setting}: {who} [ms CPU]"]["median"] > 0
            assert rows[f"{setting}: {who} [step/s]"]["median"] > 0
    judged = {name for name, row in rows.items() if row["bar"] is not None}
    assert judged and all(name.startswith("200 ms, small") and "- bare" in name for name in judged)


def test_the_chosen_http_client_is_the_cheaper_one() -> None:
    rows = figures("http_client")
    assert rows["aiohttp [ms]"]["median"] > 0
    if "httpx [ms]" not in rows:
        pytest.skip("httpx is not installed")
    assert rows["httpx / aiohttp [x]"]["median"] > 1


def test_start_up_times_whole_processes() -> None:
    rows = figures("start_up")
    bare, first = rows["python -c pass [s]"]["median"], rows["first answer, scripted [s]"]["median"]
    assert 0 < bare < first
    assert rows["orchestrator --help [s]"]["bar"] is not None


def test_training_a_light_router_and_its_decisions_are_held_against_bars() -> None:
    rows = figures("router_training")
    assert rows["training on 2000 steps [s]"]["bar"] == 60
    for shape in ("logistic", "trees"):
        forecast, whole = (rows[f"{shape}: {what} [ms]"] for what in ("forecast", "features and forecast, 150 tokens"))
        assert 0 < forecast["median"] < whole["median"]
        assert forecast["bar"] is not None and whole["bar"] is not None


def test_the_own_work_of_every_router_is_held_against_the_bar_where_no_engine_is_asked() -> None:
    rows = figures("decisions", "--repeats", "5")
    assert {name.split(" ")[0].rstrip(":,") for name in rows} == set(ROUTERS)
    judged = {name for name, row in rows.items() if row["bar"] == 0.3}
    assert {name.removesuffix(" [ms]") for name in judged} >= {"arbitrage", "entropy", "speculative-thinking", "linucb"}
    assert all(rows[name]["spread"][0] < SLOWER * rows[name]["bar"] for name in judged)


def test_monitors_by_rules_are_held_against_the_bar_at_every_length_of_a_run() -> None:
    rows = figures("monitors", "--repeats", "5")
    for last in ("thought", "action", "observation"):
        for num in ("10", "50", "1,000"):
            row = rows[f"{last}: all, step {num} [ms]"]
            assert 0 < row["spread"][0] < SLOWER * row["bar"]
        assert rows[f"{last}: all, step 1,000 / step 50 [x]"]["spread"][0] < 2  # 20 x the steps
        measured = {name.split(": ")[1].removesuffix(" [ms]") for name in rows if name.startswith(f"{last}: ")}
        assert set(MONITORS) - measured == ASKING | {"classified", "every", "chance"}
    assert rows["observation: ungrounded, of a name from nowhere [ms]"]["bar"] is None


def test_a_look_of_a_trained_monitor_is_held_against_the_bar() -> None:
    rows = figures("classified")
    looks = {name: row for name, row in rows.items() if row["unit"] == "ms"}
    assert {name.partition(",")[0] for name in looks} == {"stuck", "milestone"} and len(looks) == 4
    assert all(row["bar"] == 10 and 0 < row["median"] < row["bar"] for row in looks.values())  # a quarter of it here
    assert rows["training on 400 looks [s]"]["median"] > 0


def test_overlap_never_hides_more_than_there_is_beyond_the_ideal() -> None:
    rows = figures("overlap")
    hidden = {name: row for name, row in rows.items() if name.endswith(", hidden [share]") and row["bar"] is not None}
    assert len(hidden) == 22
    assert all(row["spread"][1] <= 1 for row in hidden.values())
    # Where there is little to save the stub's clock, CPU time, is mostly the noise of a busy machine: hence the middle.
    assert median(row["median"] for row in hidden.values()) >= 0.6
    assert all(row["median"] >= 1 for name, row in rows.items() if name.endswith("time / ideal [x]"))


def test_make_bench_runs_every_benchmark_that_is_tried_here() -> None:
    listed = next(line for line in (BENCHMARKS.parent / "Makefile").read_text().splitlines() if "$$each.py" in line)
    tried = re.findall(r'= figures\("(\w+)"', Path(__file__).read_text())
    assert len(tried) > 8 and {*tried} <= {*re.findall(r"\w+", listed)}


def test_a_handbook_is_brought_in_and_searched_within_its_bars() -> None:
    rows = figures("handbook")
    assert rows["import 2,000 [s]"]["median"] < rows["import 2,000 [s]"]["bar"] == 30
    judged = {name for name, row in rows.items() if row["bar"] == 25}
    assert judged == {"find 40 by both, p95 [ms]"}
    assert 0 < rows["find 40 by both, p95 [ms]"]["median"] < SLOWER * 25


def test_searches_of_every_kind_are_held_against_the_bar() -> None:
    rows = figures("search")
    judged = [row for name, row in rows.items() if row["bar"] is not None]
    assert len(judged) == 12 and all(0 < row["median"] < row["bar"] == 0.5 for row in judged)  # 1 / 500 of the texts
    assert 0 < rows["size of the index [MB]"]["median"] < rows["size of the journal [MB]"]["median"]


def test_looking_at_a_long_run_is_held_against_the_bar_beyond_start_up() -> None:
    rows = figures("traces")
    assert rows["orchestrator --version [s]"]["median"] > 0
    shown = {name: row for name, row in rows.items() if "beyond start-up" in name}
    assert len(shown) == 4 and all(row["bar"] == 0.5 and row["median"] > 0 for row in shown.values())


def test_replay_parts_under_another_threshold_only() -> None:
    rows = figures("replay")
    same, other = (
        rows[f"runs that part under {which} threshold [runs]"]["median"] for which in ("the same", "another")
    )
    assert same == 0 < other
    assert rows["another threshold [s]"]["bar"] is not None


def test_lists_of_very_many_runs_are_held_against_the_bar_with_every_filter() -> None:
    rows = figures("list_runs")
    judged = {name for name, row in rows.items() if row["bar"] == 0.3}
    assert len(judged) >= 11 and all(name.startswith("trace list, ") for name in judged)
    assert all(rows[name]["spread"][0] < SLOWER * 0.3 for name in judged)
    assert rows["trace stats [s]"]["bar"] == 5
