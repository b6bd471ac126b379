"""Agents, too, leave the same in `steps` and `fused`, whatever they write; and a router need not know of tools."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pure_agent import AtTheSecond, Escalates
from pure_engine import ROUTERS, content, draw, num_requests

from orchestrator.engines.base import Request
from orchestrator.engines.scripted import Reply, Scripted
from orchestrator.errors import EngineProtocol
from orchestrator.routers import LinUCB, Random
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.tools import tool
from orchestrator.types import Budget, Status

QUESTION = "What is there?"
PIECES = (
    "a",
    "\n\n",
    "<tool>look(x)</tool>",
    "<tool>look(y)",
    "</tool>",
    "<tool>fly()</tool>",
    "<tool>break(z)</tool>",
    "<think>",
    "</think>",
    "```\n",
    "\\boxed{4}",
    "é",
    "",
)


@tool
def look(at: str) -> str:
    return f"\\boxed{{{at}}}\n\n<tool>look({at})</tool></think>"


@tool(name="break")
def breaks(what: str) -> str:
    raise RuntimeError(what)


def scripted(seed: int, name: str) -> Scripted:
    """Return an engine that says random things, always the same to the same request, and sometimes fails."""

    def answer(request: Request) -> Reply | Exception:
        assert request.prompt is not None
        drawn = draw(seed, name, request.prompt.ids(), request.purpose, request.seed)
        if drawn % 61 == 0:
            return EngineProtocol("not understood", engine=name)
        if request.purpose == "judge":
            return Reply(text=str(drawn % 10))
        pieces = [PIECES[draw(drawn, place) % len(PIECES)] for place in range(1 + drawn % 5)]
        return Reply(text="".join(pieces) + "\n\n" * (drawn % 3 > 0))

    return Scripted(answer, family=name)


@given(
    seed=st.integers(0, 2**32),
    router=st.one_of(
        st.sampled_from([Escalates(), ROUTERS["retreats"], ROUTERS["hands_over"], ROUTERS["specreason"]]),
        st.builds(Random, large_share=st.floats(0, 1)),
    ),
    budget=st.builds(Budget, tokens=st.integers(20, 500), steps=st.integers(1, 12)),
    is_simulation=st.booleans(),
)
@settings(max_examples=25, deadline=None)
def test_the_granularity_changes_nothing_but_the_graph(
    seed: int, router: Any, budget: Budget, is_simulation: bool
) -> None:
    left = []
    for granularity in ("steps", "fused"):
        with Pipeline(
            {name: scripted(seed, name) for name in ("small", "large")},
            router,
            tools=(lambda task: [look, breaks]) if is_simulation else [look, breaks],
            monitors=[AtTheSecond()],
            budget=budget,
            granularity=granularity,
            db=":memory:",
        ) as made:
            result = made.run(QUESTION, run_id="it")
            left.append((content(made.journal.run("it")), result.text, result.ledger.without_seconds()))
            if result.status is not Status.FAILED:
                num_before = num_requests(made)
                again = made.run(QUESTION, run_id="it")
                assert num_requests(made) == num_before
                assert again.steps == result.steps
                assert again.ledger.without_seconds() == result.ledger.without_seconds()
    assert left[0] == left[1]


def turns(request: Request) -> Reply:
    """Call a tool, think, call again, and answer."""
    assert request.prompt is not None
    if request.purpose == "judge":
        return Reply(text="9", top={"9": -0.1})
    place = bytes(request.prompt.ids()).decode("utf-8", "replace").count("tool: ")
    text = ("<tool>look(pen)</tool>", "<tool>look(cup)</tool>", "\\boxed{4}")[min(place, 2)]
    return Reply(text=text, top={text[0]: -0.1, "z": -3.0})


@pytest.mark.parametrize(
    "router",
    ["small", "large", "random", "specreason", "entropy", "answer-gate", "linucb", "speculative-thinking", "cascade"],
)
def test_a_router_that_knows_nothing_of_tools_routes_an_agent(router: str) -> None:
    engines = {name: Scripted(turns) for name in ("small", "large")}

    @tool(name="look")
    def looks(at: str) -> str:
        return f"a {at}"

    given = LinUCB(per="task") if router == "linucb" else router
    with Pipeline(engines, given, tools=[looks], monitors=["stuck"], db=":memory:") as made:
        result = made.run(QUESTION)
    assert (result.status, result.answer) == (Status.COMPLETED, "4")
    assert [step.text for step in result.steps if step.writer == "look"] == ["a pen", "a cup"]
