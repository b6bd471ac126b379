"""What one reasoning step costs in CPU, journal on disk included, beside a bare LangGraph loop of the same shape.

Run `python benchmarks/step_cost.py`. The engines are scripted and in-process, the router is SpecReason
with its judge, and a step ends where the next draft is asked for: so a kept step is a draft and a
judge call, an escalated one a draft, a judge call and a rewrite. The bare loop has nodes `small`, `large`
and `answer` and the same three-field state, and its nodes do nothing but return the Command that
leads on: one super-step for a kept step, two for an escalated one. It comes in two forms: `bare` with
the cheapest kind of node there is, which is what bars are taken against, and `bare, functions`
with plain coroutine functions, as anyone would write it.

CPU is user and system time of the process. All variants run side by side and take turns of some 20
steps, so that a slow second of the machine hits all of them; differences are taken within a repeat.
The first repeat is not counted.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal, TypedDict

from langchain_core.runnables import Runnable
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command
from langsmith import tracing_context
from measure import Options, Relay, Report, against, median, options, quantile, raced
from scripts import KEPT, REJECTED, Say, judged, pipeline

from orchestrator.engines.base import Request

EARLY, LATE = slice(1, 20), slice(-19, None)
"""The steps around step 10, and as many at the end of a run."""
FUSED_BAR_MS, KEPT_BAR_MS, ESCALATED_BAR_MS, GROWTH_BAR = 0.3, 0.4, 0.6, 1.3

TURN = 100
"""Steps of a turn."""

Millis = list[float]
"""CPU of each step of a run, milliseconds."""
Variant = tuple[Relay, Callable[[], Awaitable[None]]]


def pacing(say: Say, relay: Relay) -> Say:
    """Return `say`, beginning a lap whenever a draft is asked for."""

    async def answer(request: Request) -> str:
        if request.purpose == "draft":
            await relay.lap()
        said = say(request)
        return said if isinstance(said, str) else await said

    return answer


def ours(db: Path, steps: int, granularity: Literal["steps", "fused"], verdict: str) -> Variant:
    """Return one run of the orchestrator, as a variant."""
    relay = Relay(TURN)
    pipe = pipeline(pacing(judged(verdict), relay), db, steps + 1, granularity)

    async def run() -> None:
        await pipe.arun("Compute 38*4 - 98*6.")

    return relay, run


class State(TypedDict, total=False):
    """What the orchestrator's own graph holds."""

    run: str
    step: int
    next: str


class Node(Runnable[State, Any]):
    """The cheapest node LangGraph takes."""

    def __init__(self, visit: Callable[[State], Awaitable[Any]]) -> None:
        self._visit = visit

    def invoke(self, input: State, config: Any = None, **kwargs: Any) -> Any:
        raise NotImplementedError

    async def ainvoke(self, input: State, config: Any = None, **kwargs: Any) -> Any:
        return await self._visit(input)


def bare(steps: int, *, is_escalated: bool, as_functions: bool) -> Variant:
    """Return one run of the bare loop, as a variant."""
    relay = Relay(TURN)

    async def small(state: State) -> Command[str]:
        await relay.lap()
        step = state["step"]
        if step == steps:
            return Command(goto="answer", update={"run": state["run"], "step": step, "next": "answer"})
        if is_escalated:
            return Command(goto="large", update={"run": state["run"], "step": step, "next": "large"})
        return Command(goto="small", update={"run": state["run"], "step": step + 1, "next": "small"})

    async def large(state: State) -> Command[str]:
        return Command(goto="small", update={"run": state["run"], "step": state["step"] + 1, "next": "small"})

    async def answer(state: State) -> State:
        return {"run": state["run"], "step": state["step"], "next": "answer"}

    graph = StateGraph(State)
    places = ("small", "large", "answer")
    for name, visit in (("small", small), ("large", large)):
        graph.add_node(name, visit if as_functions else Node(visit), destinations=places)
    graph.add_node("answer", answer if as_functions else Node(answer))
    graph.add_edge(START, "small")
    graph.add_edge("answer", END)
    compiled = graph.compile(checkpointer=False)

    async def run() -> None:
        with tracing_context(enabled=False):
            await compiled.ainvoke({"run": "bare", "step": 0, "next": "small"}, {"recursion_limit": 1_000_000})

    return relay, run


def variants(folder: Path, steps: int) -> dict[str, Variant]:
    """Return everything that takes turns, by name."""
    found: dict[str, Variant] = {}
    for outcome, verdict in (("kept", KEPT), ("escalated", REJECTED)):
        found[f"fused, {outcome}"] = ours(folder / f"fused-{outcome}.db", steps, "fused", verdict)
        found[f"graph, {outcome}"] = ours(folder / f"graph-{outcome}.db", steps, "steps", verdict)
        for name, as_functions in (("bare", False), ("bare, functions", True)):
            found[f"{name}, {outcome}"] = bare(steps, is_escalated=outcome == "escalated", as_functions=as_functions)
    return found


def p95(millis: Millis) -> float:
    """Return the 95th percentile."""
    return quantile(millis, 0.95)


def report(lines: Report, found: dict[str, list[Millis]]) -> None:
    """Note the figures: of each variant by itself, of the differences, of growth."""
    for name, runs in found.items():
        bar = FUSED_BAR_MS if name.startswith("fused") else None
        lines.add(f"{name}: median", [median(run) for run in runs], "ms", bar=bar)
        lines.add(f"{name}: mean", [sum(run) / len(run) for run in runs], "ms")
        lines.add(f"{name}: p95", [p95(run) for run in runs], "ms")
    for outcome, bar in (("kept", KEPT_BAR_MS), ("escalated", ESCALATED_BAR_MS)):
        graph = found[f"graph, {outcome}"]
        for name, is_judged in (("bare", True), ("bare, functions", False)):
            loop = found[f"{name}, {outcome}"]
            for what, figure in (("median", median), ("p95", p95)):
                over = against([figure(run) for run in graph], [figure(run) for run in loop])
                lines.add(f"graph - {name}, {outcome}: {what}", over, "ms", bar=bar if is_judged else None)
    for name, runs in found.items():
        if not name.startswith("bare"):
            growth = [median(run[LATE]) / median(run[EARLY]) for run in runs]
            lines.add(f"{name}: last steps / step 10", growth, "x", bar=GROWTH_BAR)


async def measure(chosen: Options) -> Report:
    """Run everything side by side, several times."""
    lines = Report("CPU per reasoning step", chosen)
    steps = 60 if chosen.is_quick else 1000
    with tempfile.TemporaryDirectory() as folder:
        racing = variants(Path(folder), steps)
        rounds = [await raced(racing) for _ in range(chosen.times(5) + 1)][1:]
    report(lines, {name: [each[name] for each in rounds] for name in racing})
    return lines


if __name__ == "__main__":
    asyncio.run(measure(options(__doc__))).print()
