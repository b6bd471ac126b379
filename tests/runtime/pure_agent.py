"""Agents whose engines are pure functions of how often tools have answered, and whose tool appends lines to a file.

What a tool said does not change what the engines write, so that a run whose calls were interrupted can be held
against one whose calls were not.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pure_engine import draw, nothing

from orchestrator.decisions import Decision, handoff, keep, rewrite, rollback
from orchestrator.doors import Ask, Needs
from orchestrator.engines.base import Request
from orchestrator.engines.scripted import Reply, Scripted
from orchestrator.monitors import Milestone, Stuck
from orchestrator.routers import Cascade
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.tools import tool
from orchestrator.types import Budget, Event, History, Step, StepKind

QUESTION = "Fill the list."
NUM_TURNS = 4
"""Turns in which a tool is called."""


def pure(name: str, boundary: Callable[[], None] = nothing) -> Callable[[Request], Reply]:
    """Return a script for engine `name`: a thought, a call, and so on, and an answer at the end."""

    def script(request: Request) -> Reply:
        boundary()
        assert request.prompt is not None
        *turns, now = bytes(request.prompt.ids()).decode().split("assistant: ")[1:]
        place = len(turns)
        boundary()
        if not now.strip():
            return Reply(text=f"{name} thinks about {place}.\n\n")
        if place >= NUM_TURNS:
            return Reply(text="\\boxed{7}")
        call = ("append", "append", "look", "fly")[draw("call", place) % 4] if place else "append"
        return Reply(text=f"<tool>{call}(line {place} of {name})</tool>")

    return script


def circling(name: str, boundary: Callable[[], None] = nothing) -> Callable[[Request], Reply]:
    """Return a script in whole turns: `small` goes round in circles, `large` goes on, and either can end it."""

    def script(request: Request) -> Reply:
        boundary()
        assert request.prompt is not None
        said = bytes(request.prompt.ids()).decode()
        place = said.count("tool: ")
        boundary()
        if request.purpose == "judge":
            words = ("CORRECT", "INCORRECT") if place < 4 else ("INCORRECT", "CORRECT")
            return Reply(text=words[0], top={words[0]: -0.2, words[1]: -1.8})
        if place >= 2 * NUM_TURNS:
            return Reply(text="\\boxed{7}")
        if name == "small":
            return Reply(text="<tool>look(behind the door)</tool>")
        return Reply(text=f"Now line {place}.\n\n<tool>append(line {place})</tool>")

    return script


class Escalates:
    """Keeps most, rewrites some, hands over at events, and goes back once."""

    needs = Needs(engines=2)

    async def after_draft(self, history: History, draft: Step, ask: Ask) -> Decision:
        drawn = draw(draft.text, draft.index)
        if draft.index == 7 and draft.attempt == 0:
            return rollback(2, reason="wrong turn")
        return rewrite(history.large, reason="drawn") if drawn % 3 == 0 else keep(reason="drawn")

    async def on_events(self, history: History, events: Any, ask: Ask) -> Decision:
        return handoff(history.large, turns=1, note="Otherwise: ", reason=events[0].reason)


class AtTheSecond:
    """Notices the second observation."""

    def watch(self, history: History) -> Event | None:
        seen = [step for step in history.steps if step.kind is StepKind.OBSERVATION]
        is_second = len(seen) == 2 and history.steps[-1] is seen[1]
        return Event("stuck", "two answers") if is_second else None


CASCADE = Cascade(on_stuck="retake", on_failed="replan", turns=2, dwell=0, stay=1, over_errors=True)
ROUTERS: dict[str, Any] = {"small": "small", "escalates": Escalates(), "cascade": CASCADE}
MONITORS: dict[str, Any] = {"escalates": [AtTheSecond()], "cascade": [Stuck(), Milestone(every=2)]}


def tools_of(file: str, boundary: Callable[[], None], *, is_idempotent: bool) -> list[Any]:
    """Return a tool that appends a line to `file`, and one that changes nothing."""

    @tool(idempotent=is_idempotent)
    async def append(line: str) -> str:
        boundary()
        with open(file, "a") as opened:
            opened.write(line + "\n")
        boundary()
        return "appended"

    @tool(idempotent=True)
    async def look(line: str) -> str:
        boundary()
        return f"nothing about {line}"

    return [append, look]


def pipeline(
    router: str,
    db: str | os.PathLike[str],
    *,
    file: str,
    is_idempotent: bool = False,
    is_simulation: bool = False,
    boundary: Callable[[], None] = nothing,
    latency_s: float = 0.0,
    granularity: Any = "steps",
) -> Pipeline:
    """Return an agent of two pure engines; as a simulation, its file is another one at every opening."""

    def made_anew(task: Any) -> list[Any]:
        Path(file).unlink(missing_ok=True)
        return tools_of(file, boundary, is_idempotent=is_idempotent)

    script = circling if router == "cascade" else pure
    engines = {name: Scripted(script(name, boundary), family=name) for name in ("small", "large")}
    return Pipeline(
        engines,
        ROUTERS[router],
        tools=made_anew if is_simulation else tools_of(file, boundary, is_idempotent=is_idempotent),
        monitors=MONITORS.get(router, ()),
        budget=Budget(tokens=100_000),
        granularity=granularity,
        db=db,
    )
