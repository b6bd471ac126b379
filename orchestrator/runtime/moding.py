"""How much to think: the mode's policy is asked before anything is written, and once more before the run ends."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from orchestrator.engines.scorers.base import Scorer
from orchestrator.errors import EngineError, MissingCapability, SignalUnavailable, UserError
from orchestrator.modes.base import Chosen, Reconsidering
from orchestrator.runtime import checks
from orchestrator.runtime.ask import DraftAsk
from orchestrator.runtime.decisions import Moded, record
from orchestrator.runtime.foreign import brought
from orchestrator.runtime.interrupts import door
from orchestrator.runtime.lasting import lasting
from orchestrator.runtime.marks import AGAIN, MODE
from orchestrator.runtime.run import Run, Turn
from orchestrator.runtime.step import finish, plan, roll_back
from orchestrator.runtime.thinking import Thinking
from orchestrator.types import Mode

if TYPE_CHECKING:
    from orchestrator.runtime.opening import Ready

__all__ = ["Abilities", "begin", "check", "choose", "enter", "lacking", "reconsider"]


def check(
    mode: Any, fallback: Mode | None, scorers: Mapping[str, Scorer], ready: Ready, writers: Sequence[str]
) -> None:
    """Raise MissingCapability if the engines, once started, cannot give what a mode's policy needs, and no mode is to
    stand in; for a scorer that is not there in any case."""
    checks.check_scorers(mode, scorers)
    if fallback is None and (why := lacking(mode, scorers, ready, writers)):
        raise MissingCapability(f"{why}; give another mode, or a fallback")


def lacking(mode: Any, scorers: Mapping[str, Scorer], ready: Ready, writers: Sequence[str]) -> str:
    """Say what a mode's policy needs and cannot have; empty where it can, or before the engines were started.

    The engine that it names has to have it, or else the cheapest; where it reconsiders, any that may have written.
    """
    if not ready or not hasattr(mode, "needs"):
        return ""
    named, why = getattr(mode, "engine", None), ""
    asked = (named,) if named else writers if hasattr(mode, "reconsider") else writers[:1]
    for name in asked:
        try:
            checks.check_needs(mode, scorers, ready, writers, asked=(name,))
            return ""
        except MissingCapability as missing:
            why = why or str(missing)
    return why


async def choose(run: Run, turn: Turn) -> str:
    """Let the policy choose a mode, record it, and begin in it."""
    enter(run, _record(run, turn.attempt, MODE, await _chosen(run)))
    return plan(run)


async def _chosen(run: Run) -> Chosen:
    """Return what the policy says, or the fallback where it cannot tell."""
    assert run.mode_policy is not None
    cause, why = None, run.mode_lacks
    if not why:
        try:
            with door(run.mode_name), brought(f"mode {run.mode_name}"):
                return await run.mode_policy.choose(run.history, DraftAsk(run, run.scorers))
        except (SignalUnavailable, EngineError) as missing:
            cause, why = missing, str(missing)
    if run.fallback is None:
        raise MissingCapability(f"{run.mode_name} cannot choose: {why}; give a mode, or a fallback") from cause
    return Chosen(run.fallback, f"{why}: {run.fallback.name} instead")


async def reconsider(run: Run, turn: Turn) -> str:
    """Ask the policy, once, whether the answer will do; begin anew in another mode if it will not."""
    assert run.owed is not None
    stored = run.stored.decisions.get((len(run.history.steps), turn.attempt, AGAIN))
    if isinstance(stored, Moded):
        mode = Mode(**stored.mode)
    else:
        mode = _record(run, turn.attempt, AGAIN, await _thought_over(run))
    run.has_reconsidered = True
    if mode == run.history.mode:
        return finish(run, *run.owed)
    roll_back(run, 0, turn.attempt)
    enter(run, mode)
    return plan(run)


async def _thought_over(run: Run) -> Chosen:
    """Return what the policy says; where it cannot tell, or what tools did cannot be taken back, the answer stands."""
    mode, policy = run.history.mode, cast(Reconsidering, run.mode_policy)
    assert mode is not None
    answer = run.find_answer(run.text())
    try:
        with door(run.mode_name), brought(f"mode {run.mode_name}"):
            chosen = await policy.reconsider(run.history, answer, DraftAsk(run, run.scorers))
    except (SignalUnavailable, EngineError) as missing:
        return Chosen(mode, f"{missing}: the answer stands")
    if isinstance(chosen, Chosen) and chosen.mode != mode and lasting(run) is not None:
        return Chosen(mode, f"{chosen.reason}; but what tools did cannot be taken back: the answer stands")
    return chosen


def begin(run: Run, mode: Mode) -> None:
    """Enter a mode that nobody has to choose, and record it. Raises MissingCapability."""
    enter(run, _record(run, 0, MODE, Chosen(mode, "as the pipeline says")))


def _record(run: Run, attempt: int, door: str, chosen: Chosen) -> Mode:
    """Record what was chosen and return the mode that comes of it: the fallback where the engines cannot honour it."""
    if not isinstance(chosen, Chosen):
        raise UserError(f"{run.mode_name} chose {chosen!r:.60}, not a Chosen(mode, reason)")
    mode, reason, signals, threshold, margin = chosen
    can = Abilities(run.samplings, run.thinking, run.chat_only, has_tools=run.tools is not None)
    mode, why = can.honour(mode, run.fallback)
    reason = f"{reason}; but {why}: {mode.name} instead" if why else reason
    decision = Moded(mode=asdict(mode), reason=reason, signals=signals, threshold=threshold, margin=margin)
    record(run, attempt, door, decision, policy=run.mode_name)
    return mode


class Abilities(NamedTuple):
    """What decides whether a mode can be honoured."""

    writers: Iterable[str]
    thinking: Thinking
    chat_only: Collection[str]
    has_tools: bool

    def honour(self, mode: Mode, fallback: Mode | None) -> tuple[Mode, str]:
        """Return the mode, or the fallback with why it is that one. Raises MissingCapability where neither can be had.

        The reason is empty for the mode itself.
        """
        if not (why := self._lack(mode)):
            return mode, ""
        if fallback is None or self._lack(fallback):
            raise MissingCapability(f"mode {mode.name}: {why}; give another mode, or another fallback")
        return fallback, why

    def _lack(self, mode: Mode) -> str:
        """Say which engines cannot think as much as the mode says, empty where all can."""
        if mode.needs_tools and not self.has_tools:
            return "there are no tools"
        names = [name for name in self.writers if self._is_unable(name, mode)]
        return f"{', '.join(names)} cannot be told how much to think" if names else ""

    def _is_unable(self, name: str, mode: Mode) -> bool:
        if name in self.chat_only:
            return mode.think is not None or mode.budget is not None
        return (mode.think is True or mode.budget is not None) and not self.thinking.has_tags(name)


def enter(run: Run, mode: Mode) -> None:
    """Think as much as `mode` says from here on; nothing has been written."""
    run.history.mode = mode
    run.history.tools = run.tool_names if mode.tools else ()
    think = {name: run.thinks_by(name) for name in run.thinks}
    run.stream.switch(think, run.shown, shows_tools=mode.tools)
