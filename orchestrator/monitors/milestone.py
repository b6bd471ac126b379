"""Notice that a part of the task is done, or that it is time to look: what is verified sparsely is verified there.

Source: the Milestone monitor of the step-level cascade and CALM's subgoals, credited once and
never on a failed transition. Differs: subgoals are given, not proposed by an engine; where none is met, every so many
moves take their place (the cascade labels milestones at least 3 steps apart; its periodic baseline looks every 5).
Who verifies, and what follows, is the router's business.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from orchestrator.errors import UserError
from orchestrator.monitors.window import Move, has_ended, moves_of
from orchestrator.options import check_lists, check_whole
from orchestrator.types import Event, History

__all__ = ["Milestone", "Subgoal"]

Subgoal = str | Callable[[Move], bool]


@dataclass(frozen=True, kw_only=True)
class Milestone:
    """Raise `milestone` when a subgoal is met for the first time, and every so many moves behind the last milestone.

    The moves since then are the segment that there is to verify: those behind the step of the last `milestone` event,
    or from where the window begins.
    """

    subgoals: Sequence[Subgoal] = ()
    """In any order. A text is met where it stands in a call or its answer as whole words, whatever the case, or in a
    thought where nothing was called; `regex:PATTERN` where the pattern is found there; a function where it says so
    about a move. An error meets none. Each is met once in a run, also across hand-overs."""
    every: int = 5
    """Moves behind the last milestone, or from where the window begins, that make one by themselves; 0: never."""

    raises = ("milestone",)

    def __post_init__(self) -> None:
        check_whole("monitor milestone", self, every=0)
        check_lists("monitor milestone", self, subgoals="subgoals")
        if not self.subgoals and not self.every:
            raise UserError("monitor milestone: without subgoals, `every` must be above 0: nothing would be noticed")
        names = [_name(subgoal) for subgoal in self.subgoals]
        if len(set(names)) < len(names) or not all(names):
            raise UserError(
                f"monitor milestone: subgoals {', '.join(map(repr, names))} must be different and not empty"
            )
        for subgoal in self.subgoals:
            _check(subgoal)

    def watch(self, history: History) -> Event | None:
        """Look at the last move, once it is done."""
        told = [event for event in history.events if event.kind == "milestone"]
        since = max([history.window - 1, *(event.step for event in told)])
        moves = [move for move in moves_of(history, last=max(self.every, 1)) if move.last_step > since]
        if not has_ended(history, moves):
            return None
        met = [
            _name(subgoal)
            for subgoal in self.subgoals
            if not any(repr(_name(subgoal)) in event.reason for event in told) and _is_met(subgoal, moves[-1])
        ]
        if met:
            return Event("milestone", f"subgoal met: {', '.join(map(repr, met))}")
        if 0 < self.every <= len(moves):
            reason = f"{self.every} move{'s' * (self.every > 1)} since the last milestone"
            return Event("milestone", reason, value=len(moves), threshold=self.every)
        return None


def _name(subgoal: Subgoal) -> str:
    return subgoal.strip() if isinstance(subgoal, str) else getattr(subgoal, "__name__", repr(subgoal))


def _check(subgoal: Subgoal) -> None:
    if not isinstance(subgoal, str) and not callable(subgoal):
        raise UserError(f"monitor milestone: subgoal {subgoal!r} must be a text, regex:PATTERN or a function")
    try:
        if isinstance(subgoal, str):
            _pattern(subgoal)
    except re.error as error:
        raise UserError(f"monitor milestone: subgoal {subgoal!r} is no regular expression: {error}") from error


def _pattern(subgoal: str) -> re.Pattern[str]:
    if subgoal.startswith("regex:"):
        return re.compile(subgoal.removeprefix("regex:"))
    return re.compile(rf"(?<!\w){re.escape(subgoal.strip())}(?!\w)", re.IGNORECASE)


def _is_met(subgoal: Subgoal, move: Move) -> bool:
    if move.is_error:
        return False
    if not isinstance(subgoal, str):
        return subgoal(move)
    done = "\n".join(filter(None, (move.action, move.observation)))
    return _pattern(subgoal).search(done or move.thought) is not None
