"""The graph is the routing: one node per engine, `act` where there are tools, `answer`; a decision is the edge taken.

The state holds only which run, which step and which node comes next: no text ever reaches a
checkpoint. A node that is entered again (retry, interrupt, resume) finds the run where it stands.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypedDict

from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command

from orchestrator.runtime.ending import conclude
from orchestrator.runtime.portal import run_sync
from orchestrator.runtime.run import ACT, ANSWER, Run
from orchestrator.runtime.turn import take_turn

__all__ = ["FUSED", "State", "build_graph"]

FUSED = "reason"
"""The one node that holds the whole loop at granularity `fused`."""

Enter = Callable[["State"], Awaitable[Run]]
Leave = Callable[[Run], None]


class State(TypedDict, total=False):
    """All that LangGraph ever sees of a run."""

    run: str
    step: int
    """Kept steps so far."""
    next: str
    """The node the run visits next."""


class _Node(Runnable[State, Any]):
    """A node that works under invoke and ainvoke alike, without the cost of a RunnableLambda."""

    def __init__(self, name: str, visit: Callable[[State], Awaitable[Any]]) -> None:
        self.name = name
        self._visit = visit

    def invoke(self, input: State, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        async def visit() -> Any:
            return await self._visit(input)

        return run_sync(visit())

    async def ainvoke(self, input: State, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        return await self._visit(input)


def build_graph(engines: Sequence[str], enter: Enter, leave: Leave, *, fused: bool, acts: bool = False) -> Any:
    """Return the compiled graph of a pipeline whose engines are `engines`; with tools, it `acts`.

    `enter` finds the run a state belongs to; `leave` lets go of a run that is over or cut off.
    """
    graph = StateGraph(State)
    if fused:
        graph.add_node(FUSED, _Node(FUSED, _all_steps(enter, leave)))
        graph.add_edge(START, FUSED)
        graph.add_edge(FUSED, END)
    else:
        nodes = (*engines, ACT) if acts else tuple(engines)
        places = (*nodes, ANSWER)
        for engine in nodes:
            graph.add_node(engine, _Node(engine, _one_step(engine, enter, leave)), destinations=places)
        graph.add_node(ANSWER, _Node(ANSWER, _answer(enter, leave)))
        graph.add_conditional_edges(START, lambda state: state.get("next", engines[0]), list(places))
        graph.add_edge(ANSWER, END)
    # Our journal is the record; a second one inside someone's checkpointer would repeat it, text and all.
    return graph.compile(checkpointer=False)


def _one_step(engine: str, enter: Enter, leave: Leave) -> Callable[[State], Awaitable[Command[str]]]:
    async def visit(state: State) -> Command[str]:
        run = await enter(state)
        with _left_alone(run, leave):
            place = await take_turn(run, engine)
        return Command(goto=place, update={"run": run.id, "step": len(run.history.steps), "next": place})

    return visit


def _answer(enter: Enter, leave: Leave) -> Callable[[State], Awaitable[State]]:
    async def visit(state: State) -> State:
        run = await enter(state)
        await conclude(run)
        leave(run)
        return {"run": run.id, "step": len(run.history.steps), "next": ANSWER}

    return visit


def _all_steps(enter: Enter, leave: Leave) -> Callable[[State], Awaitable[State]]:
    async def visit(state: State) -> State:
        run = await enter(state)
        with _left_alone(run, leave):
            while (place := run.place) != ANSWER:
                await take_turn(run, place)
        await conclude(run)
        leave(run)
        return {"run": run.id, "step": len(run.history.steps), "next": ANSWER}

    return visit


@contextmanager
def _left_alone(run: Run, leave: Leave) -> Iterator[None]:
    """Let go of a run whose node is interrupted or fails: whoever enters it again finds it in the journal."""
    try:
        yield
    except BaseException:
        leave(run)
        raise
