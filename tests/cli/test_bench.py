"""`orchestrator bench`: a comparison from the command line, its report, and every way to get it wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from orchestrator.routers import ROUTERS

Call = Callable[..., Result]

SOLVERS = (Path(__file__).parents[1] / "bench" / "solvers.py").read_text()
AGENT = """

def made():
    return pipeline("journal.db")


def renamed():
    return Pipeline({"weak": Scripted(small()), "strong": Scripted(large)}, "small", db="journal.db")


def ahead():
    from orchestrator.types import Overlap

    engines = {"small": Scripted(small()), "large": Scripted(large)}
    return Pipeline(engines, "small", overlap=Overlap(ahead=1), db="journal.db")


def slow():
    solve, hold = small(), Path("hold")

    async def script(request):
        import asyncio

        with open("calls.txt", "a") as calls:
            calls.write("call\\n")
        if hold.exists() and Path("calls.txt").stat().st_size > 100:
            Path("waiting").touch()
            while hold.exists():
                await asyncio.sleep(0.01)
        return solve(request)

    return Pipeline({"small": Scripted(script), "large": Scripted(large)}, "small", db="journal.db")
"""
RUN = ("bench", "run", "--workload", "random-calculation:preset=easy", "--tasks", "6", "--pipeline", "agent.py:made")
POLICIES = ("--policies", "specreason:threshold=5", "--out", "results")
LABELS = ["small", "large", "oracle", "specreason:threshold=5", "random@specreason:threshold=5"]


@pytest.fixture(autouse=True)
def agent(here: Path) -> None:
    (here / "agent.py").write_text(SOLVERS + AGENT)


def summary(folder: str = "results") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(folder, "summary.json").read_text())
    return found


def samples(folder: str = "results") -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(folder, "samples.jsonl").read_text().splitlines()]


def test_a_comparison_prints_its_table_and_fills_its_folder(orchestrator: Call, here: Path) -> None:
    done = orchestrator(*RUN, *POLICIES)
    assert done.exit_code == 0, done.stderr
    assert done.stderr.splitlines() == [f"{label}: 6 runs" for label in LABELS]
    assert done.stdout.startswith("6 tasks of random-calculation:easy, split report, 1 seed, 1 at once\n")
    assert done.stdout == (here / "results" / "table.txt").read_text()
    assert "warning: 6 tasks are few" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert sorted(file.name for file in (here / "results").iterdir()) == [
        "pareto.png",
        "pareto.svg",
        "samples.jsonl",
        "settings.json",
        "summary.json",
        "table.txt",
        "where.jsonl",
    ]
    assert len(samples()) == 5 * 6


def test_json_is_the_summary_with_settings_and_where_it_was_made(orchestrator: Call) -> None:
    done = orchestrator(*RUN, *POLICIES, "--json", "--quiet")
    assert (done.exit_code, done.stderr) == (0, "")
    printed = json.loads(done.stdout)
    assert printed == summary()
    assert list(printed["policies"]) == LABELS
    assert printed["settings"]["policies"] == LABELS[:-1]
    assert printed["settings"]["engines"] == ["small", "large"]
    [place] = printed["where"]
    assert place["engines"] == {"small": "scripted, scripted", "large": "scripted, scripted"}
    assert place["machine"] and place["python"] and "reasoning-orchestrator" in place["packages"]
    assert (printed["hardware"], printed["prices"]) == ("h200_1p5b_32b", ["self_hosted", "api"])


def test_the_journal_that_is_named_has_the_traces_of_a_pipeline_in_python_too(orchestrator: Call, here: Path) -> None:
    assert orchestrator(*RUN, *POLICIES, "--db", "traces.db", "--quiet").exit_code == 0
    shown = orchestrator("trace", "show", samples()[0]["run_id"], "--db", "traces.db")
    assert shown.exit_code == 0, shown.stderr


def test_the_same_command_again_runs_nothing_and_reports_the_same(orchestrator: Call) -> None:
    before, again = (orchestrator(*RUN, *POLICIES) for _ in range(2))
    assert again.exit_code == 0
    assert again.stdout == before.stdout
    assert again.stderr.splitlines() == [f"{label}: 0 runs" for label in LABELS]
    assert len(samples()) == 5 * 6


@pytest.mark.parametrize("engines", ["made", "renamed"])
def test_report_computes_what_run_printed_without_engines(orchestrator: Call, here: Path, engines: str) -> None:
    arguments = [each.replace("made", engines) for each in RUN]
    run = orchestrator(*arguments, *POLICIES, "--json", "--quiet")
    (here / "agent.py").unlink()
    report = orchestrator("bench", "report", "results", "--json")
    assert (report.exit_code, report.stdout) == (0, run.stdout)


def test_report_takes_other_profiles(orchestrator: Call, here: Path) -> None:
    orchestrator(*RUN, *POLICIES)
    before = summary()
    (here / "mine.toml").write_text(
        'name = "mine"\ncall_ms = 1000\nbatch = 1\ngpu = {intensity = 1}\n'
        "engines.small = {decode_ms = 1, prefill_per_s = 1e9, params = 1, layers = 1, width = 1}\n"
        "engines.large = {decode_ms = 1, prefill_per_s = 1e9, params = 1, layers = 1, width = 1}\n"
    )
    done = orchestrator("bench", "report", "results", "--hardware", "mine.toml", "--prices", "api")
    assert done.exit_code == 0
    assert "modelled: for mine" in done.stdout
    after = summary()
    assert after["prices"] == ["api"]
    assert after["policies"]["large"]["modelled_s"] > before["policies"]["large"]["modelled_s"]
    assert after["policies"]["large"]["accuracy"] == before["policies"]["large"]["accuracy"]


def test_a_sweep_with_seeds_has_a_control_for_every_setting(orchestrator: Call) -> None:
    done = orchestrator(
        *RUN, "--seeds", "2", "--policies", "specreason:threshold=3|9,specreason:judge=verifier", "--out", "results"
    )
    assert done.exit_code == 0, done.stderr
    found = summary()
    asked = ["specreason:threshold=3", "specreason:threshold=9", "specreason:judge=verifier"]
    assert set(found["policies"]) == {"small", "large", "oracle", *asked, *(f"random@{label}" for label in asked)}
    assert found["tasks"] == 12
    assert found["policies"]["specreason:judge=verifier"]["accuracy"][0] == 1


def test_a_file_of_tasks_and_a_scorer_of_ones_own(orchestrator: Call, here: Path) -> None:
    (here / "mine.jsonl").write_text("".join(f'{{"prompt": "Compute {n}+1.", "answer": {n + 1}}}\n' for n in range(8)))
    (here / "scorer.py").write_text(
        "def even(task, answer):\n    return 1.0 if answer == task.answer and int(answer) % 2 == 0 else 0.0\n"
        "def odd(task, answer):\n    return 1 / (int(answer) % 2)\n"
    )
    run = ("bench", "run", "--pipeline", "agent.py:made", "--policies", "", "--quiet", "--json")
    good = orchestrator(*run, "--workload", "mine.jsonl:scorer=scorer.py:even", "--out", "even")
    assert good.exit_code == 0, good.stderr
    found = json.loads(good.stdout)
    assert list(found["policies"]) == ["small", "large"]  # nothing is known of single steps
    assert (found["tasks"], found["policies"]["large"]["accuracy"][0]) == (8, 0.5)

    raising = orchestrator(*run, "--workload", "jsonl:path=mine.jsonl:scorer=scorer.py:odd", "--out", "odd")
    assert raising.exit_code == 1
    found = json.loads(raising.stdout)
    assert found["policies"]["large"]["scorer_errors"] == 4
    assert any(
        each.startswith("large: the scorer failed on 4 tasks, which count as wrong: ZeroDivisionError")
        for each in found["warnings"]
    )


COMMAND = [sys.executable, "-c", "from orchestrator.cli import main; main()"]


def test_ctrl_c_keeps_finished_runs_and_the_same_command_goes_on(orchestrator: Call, here: Path) -> None:
    arguments = [each.replace("made", "slow") for each in (*RUN, *POLICIES)]
    (here / "hold").touch()
    running = subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    give_up = time.monotonic() + 60
    while not (here / "waiting").exists():
        assert running.poll() is None and time.monotonic() < give_up
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert (running.returncode, out) == (130, "")
    assert err.splitlines()[-1] == (
        "interrupted: finished runs are kept; go on with: orchestrator bench run --workload "
        "random-calculation:preset=easy --tasks 6 --pipeline agent.py:slow --policies specreason:threshold=5 "
        "--out results"
    )
    kept = samples() if (here / "results" / "samples.jsonl").exists() else []
    assert len(kept) < 30

    early = orchestrator("bench", "report", "results")
    assert early.exit_code == 0
    assert "warning: " in early.stdout

    (here / "hold").unlink()
    done = orchestrator(*arguments)
    assert done.exit_code == 0, done.stderr
    assert samples()[: len(kept)] == kept
    assert len(samples()) == 30
    assert len(summary()["where"]) == 2
    assert "went on; calls cut off are charged as reserved" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    "arguments, said",
    [
        (
            ("--workload", "gsm9k"),
            "no workload named 'gsm9k'; known: errands, jsonl, random-calculation, reasoning-gym",
        ),
        (("--workload", "random-calculation:preset=midi"), "no preset named 'midi'; known: direct, easy, mid, hard"),
        (("--workload", "random-calculation:colour=red"), "its options: preset"),
        (("--workload", "reasoning-gym:family=chain_sums"), "no family 'chain_sums'; near: chain_sum"),
        (("--workload", "missing.jsonl"), "missing.jsonl: No such file or directory"),
        (("--workload", "a.jsonl.d/missing.jsonl:scorer=exact"), "a.jsonl.d/missing.jsonl: No such file"),
        (("--workload", "empty.jsonl"), "empty.jsonl holds no task"),
        (("--workload", "one.jsonl:scorer=missing.py:right"), "there is no file missing.py"),
        (("--workload", "one.jsonl:scorer=agent.py:nobody"), "agent.py has no 'nobody'"),
        (("--workload", "one.jsonl:scorer=fuzzy"), "no scorer named 'fuzzy'; known: exact, numeric, regex"),
        (("--workload", "one.jsonl:scorer=agent.py:__name__"), "is no function"),
        (("--policies", "specreson"), "no router named 'specreson'; known: answer-gate, "),
        (("--policies", "specreason:threshold=9..3"), "a range goes up"),
        (("--policies", "specreason,specreason"), "policy specreason is asked for twice"),
        (("--policies", "specreason", "--workload", "one.jsonl:scorer=exact", "--split", "test"), "has train"),
        (("--split", "test"), "--split test: random-calculation:preset=easy has train, calibration, report"),
        (("--tasks", "0"), "0 is not in the range x>=1"),
        (("--hardware", "h100"), "no profile 'h100'; known: h200_1p5b_32b, or a file.toml"),
        (("--hardware", "missing.toml"), "missing.toml: No such file or directory"),
        (("--hardware", "broken.toml"), "broken.toml: broken TOML"),
        (("--prices", "cheap"), "no profile 'cheap'; known: self_hosted, api, or a file.toml"),
        (("--out", "agent.py"), "agent.py: "),
        (("--out", "."), "is not empty and holds no results of a bench"),
        (("--pipeline", "agent.py:nobody"), "agent.py has no 'nobody'"),
        (("--pipeline", "agent.py:ahead"), "bench run adds up calls as they come one after another"),
    ],
)
def test_bad_input_is_one_clear_line_before_anything_runs(
    orchestrator: Call, here: Path, arguments: tuple[str, ...], said: str
) -> None:
    (here / "empty.jsonl").touch()
    (here / "one.jsonl").write_text('{"prompt": "Compute 1+1.", "answer": 2}\n')
    (here / "broken.toml").write_text("name = ")
    done = orchestrator(*RUN, *POLICIES, *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("error: ") and said in line
    assert "bug" not in line
    assert not (here / "results").exists()


@pytest.mark.parametrize(
    "arguments, said",
    [
        (("--tasks", "7"), "results has results of tasks = 6, not 7: choose another folder, or give the same"),
        (("--seeds", "2"), "results has results of seeds = 1, not 2"),
        (("--policies", "specreason:threshold=6"), "results has results of policies = "),
        (("--workload", "random-calculation:preset=mid"), 'results has results of workload.preset = "easy", not "mid"'),
        (("--concurrency", "2"), "results has results of concurrency = 1, not 2"),
        (("--pipeline", "agent.py:renamed"), 'results has results of engines = ["small", "large"], not ["weak"'),
    ],
)
def test_a_folder_from_other_settings_is_refused_and_the_difference_named(
    orchestrator: Call, arguments: tuple[str, ...], said: str
) -> None:
    orchestrator(*RUN, *POLICIES)
    before = samples()
    done = orchestrator(*RUN, *POLICIES, *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert samples() == before


@pytest.mark.parametrize("place", ["nowhere", "agent.py", "."])
def test_a_report_of_no_results_is_one_clear_line(orchestrator: Call, place: str) -> None:
    done = orchestrator("bench", "report", place)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == f"error: {place} holds no results: `orchestrator bench run --out {place}`\n"


def test_a_report_of_no_samples_is_one_clear_line_and_leaves_the_folder_alone(orchestrator: Call, here: Path) -> None:
    orchestrator(*RUN, *POLICIES)
    (here / "results" / "samples.jsonl").unlink()
    before = {file: file.read_bytes() for file in (here / "results").iterdir()}
    done = orchestrator("bench", "report", "results")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == "error: results has no samples: `orchestrator bench run --out results` makes them\n"
    assert {file: file.read_bytes() for file in (here / "results").iterdir()} == before


def test_a_report_names_a_damaged_line(orchestrator: Call, here: Path) -> None:
    orchestrator(*RUN, *POLICIES)
    file = here / "results" / "samples.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join([*lines[:3], "{}\n", *lines[3:]]))
    done = orchestrator("bench", "report", "results")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "samples.jsonl:4 is damaged" in done.stderr


def test_list_names_everything_there_is(orchestrator: Call) -> None:
    printed = json.loads(orchestrator("bench", "list", "--json").stdout)
    assert printed["workloads"] == ["errands", "jsonl", "random-calculation", "reasoning-gym"]
    assert printed["policies"] == sorted(ROUTERS)
    assert "mid" in printed["presets of random-calculation"]
    assert orchestrator("bench", "list").stdout == "".join(
        f"{name}: {', '.join(values)}\n" for name, values in printed.items()
    )


def test_without_a_pipeline_the_pocket_pair_is_compared_and_its_traces_lie_in_the_folder(
    orchestrator: Call, here: Path
) -> None:
    run = (
        "bench",
        "run",
        "--workload",
        "random-calculation:preset=easy",
        "--tasks",
        "2",
        "--policies",
        "",
        "--out",
        "r",
    )
    done = orchestrator(*run)
    assert done.exit_code == 0, done.stderr
    assert list(summary("r")["policies"]) == ["small", "large", "oracle"]
    assert (here / "r" / "journal.db").exists()
    again = orchestrator(*run)
    assert (again.exit_code, again.stdout) == (0, done.stdout)


def test_a_judge_that_does_not_exist_leaves_no_folder_behind(orchestrator: Call, here: Path) -> None:
    done = orchestrator(*RUN, "--policies", "specreason:judge=nobody", "--out", "results")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "no engine 'nobody' to rate; known: small, large, verifier" in done.stderr
    assert not (here / "results").exists()
