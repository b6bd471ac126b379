"""kill -9 at every step boundary and at random instants: after a resume nothing is lost, nothing doubled.

Real processes die here, by SIGKILL, while they hold the database open; see killer.py.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pure_engine import ROUTERS, content, doubled, interrupted, ledger_rows, stored
from watchful import RUNS

from orchestrator.memory.base import REMOVED, StoredRun


class Killer:
    """Sends orders to killer.py."""

    def __init__(self) -> None:
        script = Path(__file__).with_name("killer.py")
        self._process = subprocess.Popen(
            [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(self, **order: Any) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        report: dict[str, Any] = json.loads(self._process.stdout.readline())
        return report

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


@pytest.fixture(scope="module")
def execute() -> Iterator[Killer]:
    killer = Killer()
    yield killer
    killer.close()


def read(db: str, run_id: str) -> StoredRun:
    run = stored(db, run_id)
    assert run is not None
    return run


def check(run: StoredRun, whole: StoredRun) -> None:
    """Compare a run that was killed and resumed with one that was not."""
    assert content(run) == content(whole)
    assert doubled(run) == []
    assert [row.step for row in run.kept()] == list(range(len(run.kept())))
    assert len({(call.intent.seq) for call in run.calls}) == len(run.calls)
    lost = [row for row in ledger_rows(run) if row["fate"] == "interrupted"]
    cut = interrupted(run)
    assert sum(row["calls"] for row in lost) == len(cut)
    assert sum(row["output_tokens"] for row in lost) == sum(call.intent.max_tokens for call in cut)


@pytest.mark.parametrize("granularity", ["steps", "fused"])
@pytest.mark.parametrize("router", ROUTERS)
def test_killed_and_resumed_again_and_again_a_run_keeps_the_same(
    execute: Killer, tmp_path: Path, router: str, granularity: str
) -> None:
    """A run dies at a boundary a little further on each time it is resumed, until it ends."""
    order = {"db": str(tmp_path / "journal.db"), "router": router, "granularity": granularity, "listens": True}
    assert not execute(run="whole", **order)["failed"]
    whole = read(order["db"], "whole")
    num_kills = 0
    draw = random.Random(f"{router} {granularity}")
    while (report := execute(run="killed", kill_at=draw.randint(1, 20) + num_kills, **order))["killed"]:
        num_kills += 1
        assert num_kills < 100
    assert not report["failed"]
    assert num_kills >= 4
    check(read(order["db"], "killed"), whole)


def test_killed_at_any_boundary_of_a_short_run_it_resumes_to_the_same(execute: Killer, tmp_path: Path) -> None:
    order = {"db": str(tmp_path / "journal.db"), "router": "short", "granularity": "steps", "listens": True}
    num_boundaries = execute(run="whole", **order)["boundaries"]
    whole = read(order["db"], "whole")
    num_interrupted = 0
    for boundary in range(1, num_boundaries + 1):
        assert execute(run=f"killed {boundary:03}", kill_at=boundary, **order)["killed"]
        assert not execute(run=f"killed {boundary:03}", **order)["failed"]
        run = read(order["db"], f"killed {boundary:03}")
        check(run, whole)
        num_interrupted += len(interrupted(run))
    assert num_boundaries > 25
    assert num_interrupted > num_boundaries / 4


OVERLAPS = [{"ahead": 1}, {"ahead": 3, "hedge": 0.2}]


def check_overlapped(run: StoredRun, whole: StoredRun) -> None:
    """Compare a run that worked ahead, was killed and resumed, with one that did neither."""
    for part in ("steps", "standing", "decisions", "outcome"):
        assert content(run)[part] == content(whole)[part]
    in_any_order = [sorted(content(each)["signals"], key=str) for each in (run, whole)]  # so a batch is answered
    assert in_any_order[0] == in_any_order[1]
    events = [row[1:4] for row in run.events if row.kind not in ("dropped", "resumed")]
    assert events == [row[1:4] for row in whole.events]
    assert doubled(run) == []
    assert [call.intent.seq for call in run.calls] == list(range(len(run.calls)))
    assert all(call.result is not None for call in run.calls)
    assert rows(run, "used") == rows(whole, "used")
    lost = rows(run, "interrupted")
    cut = [call.result for call in run.calls if call.result and call.result.status in ("aborted", "interrupted")]
    assert sum(row["calls"] for row in lost) == len(cut)
    assert sum(row["output_tokens"] for row in lost) == sum(result.output_tokens for result in cut)


def rows(run: StoredRun, fate: str) -> list[dict[str, Any]]:
    """Return the part of a run's ledger that has one fate."""
    return [row for row in ledger_rows(run) if row["fate"] == fate]


@pytest.mark.parametrize("overlap", OVERLAPS, ids=["one ahead", "three ahead and hedged"])
@pytest.mark.parametrize("router", ["specreason", "retreats", "hands_over", "compares", "asks_twice", "leads"])
def test_killed_while_it_works_ahead_a_run_keeps_what_one_keeps_that_does_not(
    execute: Killer, tmp_path: Path, router: str, overlap: dict[str, Any]
) -> None:
    order = {"db": str(tmp_path / "journal.db"), "router": router, "granularity": "fused", "latency_s": 0.001}
    assert not execute(run="whole", **order)["failed"]
    whole = read(order["db"], "whole")
    assert not execute(run="early", overlap=overlap, **order)["failed"]
    check_overlapped(read(order["db"], "early"), whole)
    num_sent = len(read(order["db"], "early").calls)
    assert num_sent > len(whole.calls) or router == "leads"  # which rejects at once
    num_kills = 0
    draw = random.Random(f"{router} {overlap}")
    while execute(run="killed", kill_at=draw.randint(1, 25) + num_kills, overlap=overlap, **order)["killed"]:
        num_kills += 1
        assert num_kills < 100
    assert num_kills >= 4
    check_overlapped(read(order["db"], "killed"), whole)


@pytest.mark.parametrize("overlap", OVERLAPS, ids=["one ahead", "three ahead and hedged"])
def test_killed_at_random_instants_ahead_of_verdicts_it_resumes_to_the_same(
    execute: Killer, tmp_path: Path, overlap: dict[str, Any]
) -> None:
    order = {"db": str(tmp_path / "journal.db"), "router": "specreason", "granularity": "steps", "latency_s": 0.002}
    assert not execute(run="whole", **order)["failed"]
    draw = random.Random(str(overlap))
    for _ in range(8):
        execute(run="killed", after_s=draw.uniform(0.02, 0.15), overlap=overlap, **order)
    assert not execute(run="killed", overlap=overlap, **order)["failed"]
    check_overlapped(read(order["db"], "killed"), read(order["db"], "whole"))


@pytest.mark.parametrize("router", ["specreason", "retreats"])
def test_killed_at_random_instants_it_resumes_to_the_same(execute: Killer, tmp_path: Path, router: str) -> None:
    order = {"db": str(tmp_path / "journal.db"), "router": router, "granularity": "steps", "latency_s": 0.002}
    assert not execute(run="whole", **order)["failed"]
    whole = read(order["db"], "whole")
    draw = random.Random(router)
    for _ in range(8):
        execute(run="killed", after_s=draw.uniform(0.02, 0.15), **order)
    assert not execute(run="killed", **order)["failed"]
    check(read(order["db"], "killed"), whole)


@pytest.mark.parametrize("name", RUNS)
def test_killed_while_it_watches_or_thinks_again_a_run_keeps_the_same(
    execute: Killer, tmp_path: Path, name: str
) -> None:
    """Monitors that ask, late ones too, hand-overs and returns, modes that are chosen and thought over."""
    order = {"router": name, "granularity": "fused"}
    dbs = [str(tmp_path / f"{kind}.db") for kind in ("whole", "killed")]  # what one teaches the other does not know
    assert not execute(run="it", db=dbs[0], **order)["failed"]
    whole = read(dbs[0], "it")
    num_kills = 0
    draw = random.Random(name)
    while (report := execute(run="it", db=dbs[1], kill_at=draw.randint(1, 15) + num_kills, **order))["killed"]:
        num_kills += 1
        assert num_kills < 100
    assert not report["failed"]
    assert num_kills >= 3
    killed = read(dbs[1], "it")
    for part, told in content(killed).items():
        other = content(whole)[part]
        if part in ("calls", "signals"):  # a batch is answered in any order, and so are a late look and the next step
            told, other = sorted(told, key=str), sorted(other, key=str)
        assert told == other, part
    assert doubled(killed) == []


# ---- agents

UNKNOWN = "error: the call was interrupted, and whether it was made is not known"


def lines(order: dict[str, Any]) -> list[str]:
    """Return what the tool of an agent has appended to its file, and begin a new one."""
    file = Path(order["file"])
    found = file.read_text().splitlines() if file.exists() else []
    file.unlink(missing_ok=True)
    return found


def without_observations(run: StoredRun) -> dict[str, Any]:
    """Return what of an agent's run does not depend on which of its calls were interrupted."""
    said = content(run)
    return {
        "steps": [row for row in said["steps"] if row[2] != "observation"],
        "standing": said["standing"],
        "decisions": [row for row in said["decisions"] if not row[2].startswith("approval")],
        "events": said["events"],
        "calls": [row for row in said["calls"] if row[2] != "tool" and row[5] is None],
        "outcome": said["outcome"],
    }


def used(run: StoredRun) -> list[tuple[Any, ...]]:
    """Return what engines wrote that counts; what was in their prompts depends on what tools answered."""
    own = [row for row in ledger_rows(run) if row["purpose"] != "tool" and row["fate"] in ("used", "discarded")]
    return [(row["engine"], row["purpose"], row["fate"], row["calls"], row["output_tokens"]) for row in own]


def check_agent(run: StoredRun, whole: StoredRun, *, is_repeatable: bool) -> None:
    """Compare an agent that was killed and resumed with one that was not."""
    cut = [call for call in interrupted(run) if call.intent.purpose == "tool"]
    if is_repeatable:
        assert content(run) == content(whole)
        return
    assert without_observations(run) == without_observations(whole)
    assert doubled(run) == []
    observed = [row for row in run.kept() if row.kind == "observation"]
    told = [row.text for row in observed if row.text == UNKNOWN]
    assert len(told) == len([call for call in cut if call.intent.engine == "append"])
    done = [call for call in run.calls if call.intent.purpose == "tool" and call not in cut]
    assert len({(call.intent.step, call.intent.attempt) for call in done}) == len(done)  # no call is made twice
    made = [call for call in whole.calls if call.intent.purpose == "tool"]
    assert len(done) + len(told) == len(made)
    assert used(run) == used(whole)
    lost = [row for row in rows(run, "interrupted") if row["purpose"] == "tool"]
    assert (sum(row["calls"] for row in lost), sum(row["output_tokens"] for row in lost)) == (len(cut), 0)


AGENTS = {
    "a tool that acts once": {"router": "small", "granularity": "steps"},
    "a tool that may be called again": {"router": "small", "is_idempotent": True, "granularity": "fused"},
    "escalates": {"router": "escalates", "granularity": "fused", "listens": True},
    "a simulation": {"router": "escalates", "is_simulation": True, "granularity": "steps", "listens": True},
}


@pytest.mark.parametrize("agent", AGENTS)
def test_killed_at_any_boundary_an_agent_makes_no_call_twice_in_silence(
    execute: Killer, tmp_path: Path, agent: str
) -> None:
    order = {"db": str(tmp_path / "journal.db"), "file": str(tmp_path / "lines.txt"), **AGENTS[agent]}
    num_boundaries = execute(run="whole", **order)["boundaries"]
    whole, appended = read(order["db"], "whole"), lines(order)
    assert len(appended) >= 2
    num_unknown = 0
    for boundary in range(random.Random(agent).randint(1, 5), num_boundaries + 1, 5):
        name = f"killed {boundary:03}"
        assert execute(run=name, kill_at=boundary, **order)["killed"]
        assert not execute(run=name, **order)["failed"]
        run, found = read(order["db"], name), lines(order)
        is_repeatable = agent in ("a tool that may be called again", "a simulation")
        check_agent(run, whole, is_repeatable=is_repeatable)
        if agent == "a simulation":
            # Its file was begun anew when the run was opened: nothing is in it where no tool was needed any more.
            assert found == appended or (found == [] and not _acted(run))
        elif agent == "a tool that may be called again":
            assert list(dict.fromkeys(found)) == appended
        else:
            assert [line for line in appended if line in found] == found  # each at most once, in order
        num_unknown += UNKNOWN in [row.text for row in run.kept()]
    assert num_boundaries > 40
    assert (num_unknown > 0) is not is_repeatable


@pytest.mark.parametrize("kind", ["a simulation", "tools that may be called again"])
def test_killed_at_boundaries_a_cascade_that_takes_turns_back_keeps_the_same(
    execute: Killer, tmp_path: Path, kind: str
) -> None:
    """The house's own router and monitors: a verdict that passes and one that fails, and turns that are taken back."""
    order = {"db": str(tmp_path / "journal.db"), "file": str(tmp_path / "lines.txt"), "router": "cascade"}
    order |= {"granularity": "steps", "listens": True, "is_idempotent": True, "is_simulation": kind == "a simulation"}
    num_boundaries = execute(run="whole", **order)["boundaries"]
    whole = read(order["db"], "whole")
    assert {row.action for row in whole.decisions if row.door == "on_events"} == {"keep", "handoff"}
    assert REMOVED in {row.kind for row in whole.steps}
    num_interrupted = 0
    for boundary in range(5, num_boundaries + 1, 13):
        name = f"killed {boundary:03}"
        assert execute(run=name, kill_at=boundary, **order)["killed"]
        assert not execute(run=name, **order)["failed"]
        run = read(order["db"], name)
        for part, told in content(run).items():
            assert told == content(whole)[part], part
        assert doubled(run) == []
        num_interrupted += len(interrupted(run))
    assert num_boundaries > 100
    assert num_interrupted >= 4


def _acted(run: StoredRun) -> bool:
    """Say whether a run that was resumed had still to call a tool then."""
    resumed_s = max((event.at_s for event in run.events if event.kind == "resumed"), default=0.0)
    return any(call.intent.started_s >= resumed_s for call in run.calls if call.intent.purpose == "tool")


@pytest.mark.parametrize("agent", ["escalates", "a simulation"])
def test_killed_and_resumed_again_and_again_an_agent_keeps_the_same(
    execute: Killer, tmp_path: Path, agent: str
) -> None:
    order = {"db": str(tmp_path / "journal.db"), "file": str(tmp_path / "lines.txt"), **AGENTS[agent]}
    assert not execute(run="whole", **order)["failed"]
    whole, appended = read(order["db"], "whole"), lines(order)
    num_kills, draw = 0, random.Random(agent)
    while execute(run="killed", kill_at=draw.randint(1, 20) + num_kills, **order)["killed"]:
        num_kills += 1
        assert num_kills < 100
    assert num_kills >= 4
    check_agent(read(order["db"], "killed"), whole, is_repeatable=agent == "a simulation")
    if agent == "escalates":
        found = lines(order)
        assert [line for line in appended if line in found] == found
