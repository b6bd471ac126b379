"""One step body, two graphs: `steps` and `fused` leave the same texts, decisions, journal and ledger."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from pure_engine import QUESTION, ROUTERS, content, draw, num_requests

from orchestrator.engines.base import Request
from orchestrator.engines.scripted import Reply, Scripted
from orchestrator.errors import EngineProtocol, EngineRejected
from orchestrator.routers import Random, SpecReason
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.runtime.result import RunResult
from orchestrator.types import Budget, Status

PIECES = ("a", " b", "\n", "\n\n", "; ", "```\n", "<tool_call>", "</tool_call>", "é", "\\boxed{4}", "</think>", "")

routers = st.one_of(
    st.sampled_from([ROUTERS["retreats"], ROUTERS["hands_over"], ROUTERS["logprobs"]]),
    st.builds(
        SpecReason,
        threshold=st.floats(0, 10),
        first_n=st.integers(0, 2),
        reading=st.sampled_from(["greedy", "average"]),
        on_unreadable=st.sampled_from(["reject", "accept", "stop"]),
        step_tokens=st.integers(1, 60),
        total_tokens=st.integers(1, 400),
    ),
    st.builds(Random, large_share=st.floats(0, 1)),
)
budgets = st.builds(Budget, tokens=st.integers(1, 400), steps=st.integers(1, 9), prompt_tokens=st.integers(50, 40_000))


def scripted(seed: int, name: str, family: str) -> Scripted:
    """Return an engine that says random things, always the same to the same request, and sometimes fails."""

    def answer(request: Request) -> Reply | Exception:
        assert request.prompt is not None
        drawn = draw(seed, name, request.prompt.ids(), request.purpose, request.seed)
        if drawn % 41 == 0:
            return EngineProtocol("not understood", engine=name)
        if drawn % 83 == 0:
            return EngineRejected("refused", engine=name)
        if request.purpose == "judge":
            said = "0123456789x"[drawn % 11]
            return Reply(text=said, top={said: -0.1, str(drawn // 11 % 10): -2.0})
        pieces = [PIECES[draw(drawn, place) % len(PIECES)] for place in range(1 + drawn % 6)]
        return Reply(text="".join(pieces) + "\n\n" * (drawn % 5 > 0), top={"a": -(drawn % 50) / 10})

    return Scripted(answer, family=family)


@given(
    seed=st.integers(0, 2**32),
    router=routers,
    budget=budgets,
    delimiter=st.sampled_from(["\n\n", "; ", "\n"]),
    families=st.sampled_from([("one", "one"), ("one", "two")]),
    failover=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_the_granularity_changes_nothing_but_the_graph(
    seed: int, router: Any, budget: Budget, delimiter: str, families: tuple[str, str], failover: bool
) -> None:
    left = []
    for granularity in ("steps", "fused"):
        engines = {
            name: scripted(seed, name, family) for name, family in zip(("small", "large"), families, strict=True)
        }
        with Pipeline(
            engines,
            router,
            budget=budget,
            delimiter=delimiter,
            failover=failover,
            granularity=granularity,
            db=":memory:",
        ) as made:
            result = made.run(QUESTION, run_id="it")
            finished = made.journal.run("it")
            _check_given_back(made, result)
        left.append(
            (
                content(finished),
                [(step.text, step.writer, step.attempt, step.kind, step.stop) for step in result.steps],
                (result.status, result.answer, result.reason, str(result.error)),
                result.ledger.without_seconds(),
            )
        )
    assert left[0] == left[1]


def _check_given_back(made: Pipeline, result: RunResult) -> None:
    """What is restored from the journal is what the run itself had in hand."""
    if result.status is Status.FAILED:
        return  # it would try again
    num_before = num_requests(made)
    again = made.run(QUESTION, run_id="it")
    assert num_requests(made) == num_before
    assert again.steps == result.steps
    assert again.ledger.without_seconds() == result.ledger.without_seconds()
    assert (again.status, again.answer, again.reason) == (result.status, result.answer, result.reason)
