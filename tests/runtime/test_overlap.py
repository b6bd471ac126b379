"""Working before the turn: the same kept texts, writers and decisions, and an exact account of what was for nothing."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pure_engine import QUESTION, ROUTERS, draw

from orchestrator.engines.base import Request
from orchestrator.engines.retry import RetryPolicy
from orchestrator.engines.scorers.verifier import Verifier
from orchestrator.engines.scripted import Reply, Scripted
from orchestrator.errors import EngineProtocol, EngineUnavailable, UserError
from orchestrator.memory.base import StoredRun
from orchestrator.monitors.base import Event
from orchestrator.routers import Oracle, Random, SpecReason
from orchestrator.routers.base import Ask, Needs
from orchestrator.runtime.attempts import attempts
from orchestrator.runtime.hidden import DROPPED, dropped, hidden
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.runtime.result import RunResult
from orchestrator.types import Budget, Decision, History, Overlap, Plan, Status, Step, keep, rewrite, stop

PIECES = ("a", " b", "\n", "\n\n", "; ", "```\n", "<tool_call>", "</tool_call>", "é", "\\boxed{4}", "</think>", "")
SLOW_S = 5.0

routers = st.one_of(
    st.sampled_from([*ROUTERS.values(), Oracle(threshold=0.5)]),
    st.builds(SpecReason, threshold=st.floats(0, 10), first_n=st.integers(0, 2), step_tokens=st.integers(8, 60)),
    st.builds(Random, large_share=st.floats(0, 1)),
)
overlaps = st.builds(Overlap, ahead=st.integers(0, 4), hedge=st.one_of(st.none(), st.floats(0, 1)))


def engine(seed: int, name: str, family: str, slowest_ms: int) -> Scripted:
    """Return an engine that says random things after random waits, always the same to the same request."""

    def answer(request: Request) -> Reply | Exception:
        assert request.prompt is not None
        drawn = draw(seed, name, request.prompt.ids(), request.purpose, request.seed)
        latency_s = drawn // 7 % 4 * slowest_ms / 4000
        if drawn % 61 == 0:
            return EngineProtocol("not understood", engine=name)
        if request.purpose == "judge":
            said = "0123456789x"[drawn % 11]
            return Reply(text=said, top={said: -0.1, str(drawn // 11 % 10): -2.0}, latency_s=latency_s)
        pieces = [PIECES[draw(drawn, place) % len(PIECES)] for place in range(1 + drawn % 6)]
        end = f"step {drawn % 997}\n\n" if drawn % 9 else ""
        return Reply(text="".join(pieces) + end, top={"a": -(drawn % 50) / 10}, latency_s=latency_s)

    return Scripted(answer, family=family)


def check(messages: Any, kept: Any, draft: str) -> float:
    """Say how right a draft is: a verifier that looks at nothing but its text."""
    return float(draw(draft) % 2)


def kept(stored: StoredRun) -> dict[str, Any]:
    """Return what must not depend on overlap."""
    assert stored.outcome is not None
    return {
        "steps": [row[1:8] for row in stored.steps],
        "decisions": [row[1:] for row in stored.decisions],
        "signals": [row[1:9] for row in stored.signals],
        "events": [row[1:4] for row in stored.events if row.kind not in (DROPPED, "resumed")],
        "outcome": (stored.outcome.status, stored.outcome.answer, stored.outcome.error, stored.outcome.reason),
    }


def used(result: RunResult) -> list[dict[str, Any]]:
    """Return the part of the ledger that stands."""
    return [row for row in result.ledger.without_seconds() if row["fate"] == "used"]


def account(result: RunResult, fate: str) -> dict[tuple[str, str], tuple[int, int]]:
    """Return calls and output tokens of one fate, by engine and purpose."""
    return {(row[0], row[1]): (row[3].calls, row[3].output_tokens) for row in result.ledger if row[2] == fate}


@given(
    seed=st.integers(0, 2**32),
    router=routers,
    overlap=overlaps,
    steps=st.integers(1, 9),
    families=st.sampled_from([("one", "one"), ("one", "two")]),
    granularity=st.sampled_from(["steps", "fused"]),
    slowest_ms=st.sampled_from([0, 2]),
    failover=st.booleans(),
)
@settings(max_examples=80, deadline=None)
def test_what_is_kept_does_not_depend_on_overlap(
    seed: int,
    router: Any,
    overlap: Overlap,
    steps: int,
    families: tuple[str, str],
    granularity: Any,
    slowest_ms: int,
    failover: bool,
) -> None:
    results = []
    for each in (Overlap(), overlap):
        engines = {
            name: engine(seed, name, family, slowest_ms)
            for name, family in zip(("small", "large"), families, strict=True)
        }
        with Pipeline(
            engines,
            router,
            scorers={"verifier": Verifier(check=check)},
            budget=Budget(tokens=1 << 30, steps=steps),
            failover=failover,
            granularity=granularity,
            overlap=each,
            db=":memory:",
        ) as made:
            result = made.run(QUESTION, run_id="it")
            stored = made.journal.run("it")
            if result.status is not Status.FAILED:  # it would try again
                again = made.run(QUESTION, run_id="it")
                assert again.ledger.without_seconds() == result.ledger.without_seconds()
                assert again.steps == result.steps
        assert all(call.result is not None for call in stored.calls)
        assert [call.intent.seq for call in stored.calls] == list(range(len(stored.calls)))
        results.append((result, stored))
    (plain, plainly), (early, earlier) = results
    assert kept(earlier) == kept(plainly)
    assert [replace(step, seconds=0.0) for step in early.steps] == [replace(step, seconds=0.0) for step in plain.steps]
    assert used(early) == used(plain)
    sent = {call.intent[2:7] + (call.intent.digest,) for call in plainly.calls}
    over = dropped(earlier)
    assert all(call.intent[2:7] + (call.intent.digest,) in sent for call in earlier.calls if call.intent.seq not in over)
