"""Runs that hand over, go back, fail, act, conclude and think again are decided as they were, and can be drawn."""

from __future__ import annotations

from collections.abc import Sequence
from json import loads
from pathlib import Path
from typing import Any

import pure_agent
import pure_engine
import pytest
import watchful
from replayable import ran

from orchestrator.memory.base import StoredRun
from orchestrator.routers import SpecReason
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.traces.diff import diff_of
from orchestrator.traces.drawn import FORMATS, drawn_as
from orchestrator.traces.graph import graph_of, with_pipeline
from orchestrator.traces.replay import replayed

UNTOLD = {
    "late": "a monitor was heard late: what the router had been told by then is not stored",
    "turns": "large was made to answer twice at step 1: whose answer is whose is not stored",
}
"""What the record cannot tell, of the policies that do such things."""


def counted(rows: Sequence[dict[str, Any]]) -> list[tuple[Any, ...]]:
    names = ("engine", "purpose", "fate", "calls", "prompt_tokens", "output_tokens")
    return [tuple(row[name] for name in names) for row in rows]


def check(pipeline: Pipeline, untold: str = "") -> None:
    with pipeline as made:
        stored = made.journal.run(made.run("q").run_id)
    again = replayed(stored, made.router)
    if untold:
        assert again.parted is not None and again.parted.reason == untold
    else:
        assert again.parted is None, again.parted
        doors = ("before_step", "after_draft", "on_events")
        assert [verdict.row for verdict in again.alike] == [row for row in stored.decisions if row.door in doors]
        assert stored.outcome is not None
        assert counted(again.ledger.rows()) == counted(loads(stored.outcome.ledger))
    graph = with_pipeline(graph_of(stored), stored)
    assert all(drawn_as(graph, form) for form in FORMATS)
    assert diff_of(stored, stored).first is None


@pytest.mark.parametrize("name", watchful.RUNS)
def test_what_monitors_and_modes_lead_to(name: str) -> None:
    check(watchful.pipeline(name, ":memory:"), UNTOLD.get(name, ""))


@pytest.mark.parametrize("router", pure_engine.ROUTERS)
def test_what_routers_lead_to(router: str) -> None:
    check(pure_engine.pipeline(router, ":memory:"))


@pytest.mark.parametrize("router", pure_agent.ROUTERS)
def test_what_agents_do(router: str, tmp_path: Path) -> None:
    check(pure_agent.pipeline(router, ":memory:", file=str(tmp_path / "file")))


def cut(run: StoredRun, num_calls: int) -> StoredRun:
    """Return a run as its journal is when a process dies in one of its calls."""
    last = run.calls[num_calls - 1].intent
    is_before = [(row.step, row.attempt) < (last.step, last.attempt) for row in run.decisions]
    return run._replace(
        outcome=None,
        calls=[*run.calls[: num_calls - 1], run.calls[num_calls - 1]._replace(result=None)],
        decisions=[row for row, before in zip(run.decisions, is_before, strict=True) if before],
        signals=[row for row in run.signals if (row.step, row.attempt) < (last.step, last.attempt)],
        steps=[row for row in run.steps if row.step < last.step],
    )


def test_a_half_written_run_is_decided_as_far_as_it_goes() -> None:
    whole = ran(SpecReason(threshold=5))
    for num_calls in range(1, len(whole.calls) + 1):
        half = cut(whole, num_calls)
        again = replayed(half, SpecReason(threshold=5))
        assert again.parted is None
        assert not again.is_known
        assert again.is_bound  # of the call in flight nobody knows what it took
        assert graph_of(half).graph["status"] == "unfinished"
        assert diff_of(whole, half).statuses[1] == "unfinished"
