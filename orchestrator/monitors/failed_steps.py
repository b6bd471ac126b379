"""Say which share of a run was thrown away by its own words: moves in branches that it gave up.

Source: the Failed-Step Fraction (FSF), a share of the steps of the graph of a whole chain that
predicts whether it is right. Differs: online and by rules on how moves begin, where the paper has a large engine draw
the graph; what a move takes back within itself does not count, because moves are what is counted.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.monitors.window import Move, has_ended, moves_of
from orchestrator.options import check_range, check_whole
from orchestrator.types import Event, History

__all__ = ["FailedSteps", "failed_of"]

_OPENING = 160
"""Characters of a move's beginning that its cue stands in."""
_TURN = re.compile(
    r"\b(?:alternatively|go(?:ing)? back|start(?:ing)? (?:over|again)|backtrack"
    r"|(?:another|different|other) (?:approach|way|idea|method))\b",
    re.IGNORECASE,
)
_WRONG = re.compile(
    r"(?<!not )(?<!nothing )\b(?:wrong|incorrect|(?:a|my) mistake|not right|not correct)\b", re.IGNORECASE
)
_DOUBT = re.compile(r"^\W*(?:wait|hmm|hold on|oops|no,)(?!\w)", re.IGNORECASE)
_CHECK = re.compile(
    r"\b(?:is|was|are|that's) (?:it |that |this )?(?:right|correct|fine)\b|\b(?:check|checks out|verify|make sure)\b",
    re.IGNORECASE,
)
_TRY = re.compile(r"\b(?:let's try|let us try|let me try|try|suppose|assume)\b", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class FailedSteps:
    """Raise `failed-steps` when a move gives something up and the share that was given up has come to the threshold."""

    threshold: float = 0.3
    """Given-up moves of all, in (0, 1]."""
    reach: int = 50
    """How many of the last moves are counted."""
    min_moves: int = 4
    """Moves before anything is said."""

    raises = ("failed-steps",)

    def __post_init__(self) -> None:
        check_range("monitor failed-steps", self, threshold="(0, 1]")
        check_whole("monitor failed-steps", self, reach=1, min_moves=1)

    def watch(self, history: History) -> Event | None:
        """Count once the last move gives something up; until then the share only falls."""
        last = moves_of(history, last=1)
        if not has_ended(history, last) or not _gives_up(last[-1]):
            return None
        moves = moves_of(history, last=self.reach)
        failed = failed_of(moves)
        share = len(failed) / len(moves)
        if len(moves) < self.min_moves or share < self.threshold:
            return None
        reason = f"{len(failed)} of {len(moves)} moves were given up"
        return Event("failed-steps", reason, value=share, threshold=self.threshold)


def failed_of(moves: Sequence[Move]) -> set[int]:
    """Return the places of the moves that were given up.

    A move that calls something wrong gives up the move before it, and so does one that begins with "wait" and the
    like, unless it only checks or says at once that all is right. One that goes back, or another way, gives up its
    branch: the moves from the last "try" or "suppose" on, else from where the last branch was given up, else from the
    first.
    """
    failed: set[int] = set()
    begun = 0
    for place, move in enumerate(moves):
        opening = _opening(move)
        if _TURN.search(opening):
            failed.update(range(begun, place))
            begun = place
        elif place and _is_slip(opening):
            failed.add(place - 1)
        elif _TRY.search(opening):
            begun = place
    return failed


def _opening(move: Move) -> str:
    return (move.thought or move.action)[:_OPENING]


def _gives_up(move: Move) -> bool:
    opening = _opening(move)
    return _TURN.search(opening) is not None or _is_slip(opening)


def _is_slip(opening: str) -> bool:
    doubts = _DOUBT.search(opening) is not None and _CHECK.search(opening) is None
    return doubts or _WRONG.search(opening) is not None
