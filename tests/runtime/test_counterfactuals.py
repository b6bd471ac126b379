"""Counterfactuals look and change nothing: the same texts and decisions, and both steps in journal and ledger."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.decisions import Decision, handoff, keep, rollback
from orchestrator.engines.base import Request
from orchestrator.engines.scripted import Scripted
from orchestrator.errors import EngineProtocol, MissingCapability, UserError
from orchestrator.routers import Random, SpecReason
from orchestrator.routers.counterfactual import is_sampled
from orchestrator.runtime.counterfactuals import Compared, compared, counterfactuals_of
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.runtime.portal import run_sync
from orchestrator.runtime.timeline import timeline
from orchestrator.types import Budget, History, Step, Task

ANSWER = "\\boxed{1}"


def draw(*parts: Any) -> int:
    return int.from_bytes(blake2b(repr(parts).encode(), digest_size=4).digest())


def writer(name: str, steps: int = 6) -> Callable[[Request], str]:
    """A script that writes by prompt and seed, whatever the purpose, as a real server does."""

    def script(request: Request) -> str:
        assert request.prompt is not None
        ids = request.prompt.ids()
        drawn = draw(name, ids, request.seed)
        if request.purpose == "judge":
            return str(drawn % 10)
        return ANSWER if bytes(ids).count(b"\n\n") >= steps else f"{name} {drawn}\n\n"

    return script


def line(router: Any, share: float = 0.0, **options: Any) -> Pipeline:
    engines = {"small": Scripted(writer("small")), "large": Scripted(options.pop("large", writer("large")))}
    options = {"db": ":memory:", "counterfactuals": share, "budget": Budget(steps=9), **options}
    return Pipeline(engines, router, **options)


class Wanders:
    """Decides all there is to decide."""

    async def after_draft(self, history: History, draft: Step, ask: Any) -> Decision:
        match draw(draft.text) % 6:
            case 0:
                return handoff("large", until=draft.index + 2)
            case 1 if draft.attempt == 0 and draft.index:
                return rollback(draft.index - 1)
        return keep()


routers = st.one_of(
    st.builds(SpecReason, threshold=st.integers(0, 10), first_n=st.integers(0, 2)),
    st.builds(Random, large_share=st.floats(0, 1)),
    st.builds(Wanders),
)


def kept(router: Any, share: float, seed: int) -> tuple[list[tuple[str, str]], list[tuple[Any, ...]], Any]:
    with line(router, share, seed=seed) as made:
        result = made.run("q")
        stored = made.journal.run(result.run_id)
    decided = [(row.step, row.attempt, row.door, row.action, row.engine, row.reason) for row in stored.decisions]
    return [(step.writer, step.text) for step in result.steps], decided, result.ledger


@settings(max_examples=25, deadline=None)
@given(router=routers, share=st.sampled_from([0.3, 1.0]), seed=st.integers(0, 1000))
def test_texts_and_decisions_are_those_without(router: Any, share: float, seed: int) -> None:
    texts, decided, ledger = kept(router, 0.0, seed)
    looked_texts, looked_decided, looked_ledger = kept(router, share, seed)
    assert looked_texts == texts
    assert looked_decided == decided
    used, looked_used = (
        sum(e.output_tokens for *_, fate, e in each if fate == "used") for each in (ledger, looked_ledger)
    )
    assert looked_used == used
    assert looked_ledger.total().output_tokens >= ledger.total().output_tokens
    others = {(purpose, str(fate)) for _, purpose, fate, _ in looked_ledger} - {
        (purpose, str(fate)) for _, purpose, fate, _ in ledger
    }
    assert others <= {("alternative", "discarded"), ("alternative", "used")}


class Check:
    """Stands for a verifier: the large engine's steps are right, and the small one's at even places."""

    engine, logprobs = None, 0

    async def score(self, engine: str, stream: Any, draft: Step, call: Any) -> Any:
        from orchestrator.types import Signal

        return Signal(name="verifier", value=float(draft.writer == "large" or draft.index % 2 == 0))


def test_kept_and_rejected_drafts_are_compared_with_what_was_not_taken() -> None:
    with line(Random(large_share=0.5), 1.0, scorers={"verifier": Check()}, seed=3) as made:
        result = made.run("q")
        stored = made.journal.run(result.run_id)
    found = compared(stored)
    assert [each.step for each in found] == list(range(len(result.steps)))
    assert [each.is_large for each in found] == [step.writer == "large" for step in result.steps]
    for each in found:
        right_small = float(each.step % 2 == 0)
        assert (each.kept, each.other) == ((1, right_small) if each.is_large else (right_small, 1))
    assert result.ledger.total(purpose="alternative", fate="discarded").calls == len(found)


def test_a_rewrite_takes_the_step_that_was_looked_at_and_pays_nothing_more() -> None:
    with line(SpecReason(threshold=10), 1.0, scorers={"verifier": Check()}) as made:
        result = made.run("q")
        found = compared(made.journal.run(result.run_id))
    assert {step.writer for step in result.steps} == {"large"}
    assert found[0] == Compared(0, True, 1.0, 1.0)
    assert found[1] == Compared(1, True, 1.0, 0.0)
    assert not result.ledger.total(purpose="alternative", fate="discarded").calls
    assert not result.ledger.total(purpose="rewrite").calls


def test_without_a_scorer_both_are_there_and_nothing_is_said_about_them() -> None:
    with line("small", 1.0) as made:
        result = made.run("q")
        found = compared(made.journal.run(result.run_id))
    assert {(each.is_large, each.kept, each.other) for each in found} == {(False, None, None)}
    assert len(found) == len(result.steps)


def test_the_trace_marks_them() -> None:
    with line("small", 0.5, scorers={"verifier": Check()}) as made:
        result = made.run("q")
        stored = made.journal.run(result.run_id)
        shown = timeline(stored).plain
    told = counterfactuals_of(stored)
    assert told is not None
    assert "counterfactuals at 50% of the steps, scored by verifier" in shown
    rows = [row for row in shown.splitlines() if "x not taken" in row]
    assert len(rows) == sum(told.is_sampled(step.index) for step in result.steps) > 0
    assert all(row.endswith("counterfactual") for row in rows)


def test_about_the_share_of_steps_is_looked_at_and_always_the_same_ones() -> None:
    sampled = [is_sampled(seed, step, 0.3) for seed in range(50) for step in range(40)]
    assert abs(sum(sampled) / len(sampled) - 0.3) < 0.04
    assert sampled == [is_sampled(seed, step, 0.3) for seed in range(50) for step in range(40)]
    assert not any(is_sampled(seed, 0, 0.0) for seed in range(100))
    assert all(is_sampled(seed, 0, 1.0) for seed in range(100))


def test_an_engine_that_fails_to_look_leaves_the_run_as_it_is() -> None:
    def broken(request: Request) -> Any:
        return EngineProtocol("no", engine="large")

    with line("small", 1.0, large=broken) as made:
        result = made.run("q")
        stored = made.journal.run(result.run_id)
    assert (result.status, {step.writer for step in result.steps}) == ("completed", {"small"})
    assert compared(stored) == []
    assert {row.action for row in stored.decisions} == {"keep"}


def test_a_budget_that_is_used_up_by_looking_ends_the_run_as_always() -> None:
    with line("small", 1.0, budget=Budget(tokens=100)) as made:
        result = made.run("q")
    assert result.status == "budget"
    assert result.ledger.total().output_tokens <= 100


def test_a_resumed_run_has_the_same_counterfactuals(tmp_path: Path) -> None:
    def dies(at: int) -> Callable[[Request], Any]:
        script, asked = writer("large"), 0

        def answer(request: Request) -> Any:
            nonlocal asked
            asked += 1
            return KeyboardInterrupt() if asked > at else script(request)

        return answer

    with line("small", 1.0, db=tmp_path / "whole.db") as made:
        whole = made.journal.run(made.run(Task.of("q"), run_id="a").run_id)
    for at in range(4):
        db = tmp_path / f"{at}.db"

        def raising(request: Request, script: Any = dies(at)) -> Any:  # noqa: B008 - one for each round
            said = script(request)
            if isinstance(said, KeyboardInterrupt):
                raise EOFError
            return said

        with line("small", 1.0, db=db, large=raising) as made, pytest.raises(EOFError):
            made.run("q", run_id="a")
        with line("small", 1.0, db=db) as made:
            resumed = made.journal.run(made.run("q", run_id="a").run_id)
        assert [row[1:6] for row in resumed.kept()] == [row[1:6] for row in whole.kept()]
        assert compared(resumed) == compared(whole)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(UserError, match=r"counterfactuals = .* is not in \[0, 1\]"):
        line("small", share)


def test_an_engine_that_cannot_continue_a_step_is_refused() -> None:
    engines = {"small": Scripted(["a"], continues=False), "large": Scripted(["b"])}
    with (
        Pipeline(engines, "small", counterfactuals=0.5, db=":memory:") as made,
        pytest.raises(MissingCapability, match="engine 'small' cannot continue one"),
    ):
        run_sync(made.start())
