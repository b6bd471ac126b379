"""Pure pipelines whose monitors, modes and routers ask, hand over, go back and think again; see pure_engine.py."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pure_engine import draw, nothing, pure
from pure_engine import pipeline as plain

from orchestrator.decisions import Decision, Plan, conclude, handback, handoff, keep, rollback
from orchestrator.doors import Ask, Needs
from orchestrator.engines.base import Request
from orchestrator.engines.scripted import Reply, Scripted
from orchestrator.errors import EngineProtocol, SignalUnavailable
from orchestrator.modes import Effort, FirstTry, SelfClassified
from orchestrator.modes.base import Chosen
from orchestrator.modes.fixed import NO_THINK, THINK
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.types import Budget, Event, History, Step


@dataclass(frozen=True, kw_only=True)
class Notes:
    """Notices something behind some steps, by what is in them and how much was noticed before."""

    kind: str = "stuck"

    def watch(self, history: History) -> Event | None:
        drawn = draw(self.kind, history.steps[-1].text, len(history.events), history.window)
        return Event(self.kind, f"{drawn % 7}", value=drawn % 7 / 7) if drawn % 3 == 0 else None


@dataclass(frozen=True, kw_only=True)
class Tries:
    """Asks for trials behind every step and notices that they are unsure; cannot tell behind some."""

    engine: str = "small"
    is_late: bool = False
    concludes_at: int = 99

    async def look(self, history: History, ask: Ask) -> Event | None:
        drawn = draw(history.steps[-1].text, len(history.events))
        if drawn % 5 == 0:
            raise SignalUnavailable("tries", "not behind this one")
        trials = await ask.trials(self.engine, num=2)
        rating = await ask.score("judge", history.steps[-1])
        sure = sum(trial.logprob or 0.0 for trial in trials)
        ends = len(history.steps) >= self.concludes_at
        answers = "/".join(str(trial.answer) for trial in trials)
        reason = f"{answers} {sure:.6f} {rating.value}"
        return Event("tried", reason, value=sure, threshold=0.0, answer=trials[0].answer, concludes=ends)


@dataclass(frozen=True, kw_only=True)
class Reacts:
    """Does something else about every bunch of events: hands over and back, goes back, asks, or nothing."""

    needs = Needs(engines=2, scorers=("judge",))
    concludes: bool = False

    def before_step(self, history: History) -> Plan:
        return Plan(engine=history.small, reason=f"window {history.window}, {len(history.events)} events")

    async def after_draft(self, history: History, draft: Step, ask: Ask) -> Decision:
        return keep(await ask.score("judge", draft))

    async def on_events(self, history: History, events: Sequence[Event], ask: Ask) -> Decision:
        last = history.steps[-1]
        drawn = draw(last.text, [event[:2] for event in events])
        if drawn % 6 == 0:
            return handoff(history.large, turns=1 + drawn // 6 % 3, note="Another way: ")
        if drawn % 6 == 1 and last.attempt == 0 and len(history.steps) >= 2:
            return rollback(len(history.steps) - 2)
        if drawn % 6 == 2:
            return handback(await ask.score("judge", last))
        if drawn % 6 == 3 and self.concludes and len(history.steps) > 3:
            return conclude()
        if drawn % 6 == 4:
            await ask.answers(history.large, num=2)
        return keep()


@dataclass(frozen=True, kw_only=True)
class Turns:
    """Begins without thinking after asking an engine, thinks in the end, and learns how long that took."""

    async def choose(self, history: History, ask: Ask) -> Chosen:
        trials = await ask.trials(history.small, num=2)
        return Chosen(NO_THINK, f"{trials[0].answer} {history.lengths.get('runs', 0)}")

    async def reconsider(self, history: History, answer: str | None, ask: Ask) -> Chosen:
        trials = await ask.trials(history.large, before=history.steps[-1], num=3)
        return Chosen(THINK, f"not sure of {answer}: {[trial.answer for trial in trials]}")

    def after_run(self, outcome: Any, state: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"runs": state.get("runs", 0) + 1, "tokens": outcome.thought_tokens, "mode": outcome.mode}


RUNS: dict[str, dict[str, Any]] = {
    "looks": {"monitors": [Notes(), Notes(), Tries()], "router": Reacts(), "think": True},
    "exits": {"monitors": [Tries(concludes_at=5)], "router": "small", "mode": "think(400)"},
    "late": {"monitors": [Tries(is_late=True), Notes(kind="drift")], "router": Reacts(concludes=True), "think": True},
    "late exit": {"monitors": [Tries(is_late=True, concludes_at=4)], "router": "small", "think": True},
    "classified": {"router": "specreason", "mode": SelfClassified(threshold=0.5, then="think(60)")},
    "first try": {"router": "small", "mode": FirstTry(threshold=1.0), "stop_on_answer": True},
    "turns": {"monitors": [Tries()], "router": Reacts(), "mode": Turns()},
    "effort": {"router": "fails_over", "mode": Effort(), "monitors": [Notes(), Tries()]},
}


def pipeline(
    name: str,
    db: str | os.PathLike[str],
    *,
    boundary: Callable[[], None] = nothing,
    latency_s: float = 0.0,
    **options: Any,
) -> Pipeline:
    """Return one of RUNS; its engines answer what they are asked about modes, too."""
    given = {**RUNS[name], **options}
    router = given.pop("router")
    if name == "effort":
        return plain(router, db, boundary=boundary, latency_s=latency_s, **given)

    def said(engine: str) -> Callable[[Request], Reply | Exception]:
        script = pure(engine, boundary=boundary)

        def answer(request: Request) -> Reply | Exception:
            if request.purpose == "choice":
                boundary()
                return Reply(text="think", top={"think": -0.2, "instant": -1.9})
            said = script(request)
            if request.purpose == "draft" and name == "looks" and isinstance(said, Reply) and draw(said.text) % 11 == 0:
                return EngineProtocol("not understood", engine=engine)
            if request.purpose == "probe" and isinstance(said, Reply):
                return Reply(text=said.text, top={said.text[:1]: -(draw(said.text, request.seed) % 997) / 331})
            return said

        return answer

    engines = {
        "small": Scripted(said("small"), family="a", latency_s=latency_s),
        "large": Scripted(said("large"), family="b", latency_s=latency_s),
    }
    return Pipeline(engines, router, db=db, **{"budget": Budget(tokens=100_000), **given})
