"""What monitors look at: the moves of a run, and the one way they are written down as text.

A move is what was thought and done up to what came of it: an agent's turn, or a single thought where there are no
tools. The text is the same when a classifier is trained on stored runs and when it is asked about a live one, because
both call `text_of`. Moves are numbered from where the window begins, so that a run that was handed over and back is
read like one that begins there.

Source: the step-level cascade's classifiers read the last few (rationale, action) pairs as text. Differs: one
function writes it for training and serving (theirs label the parts in one place and not in the other), numbers are
relative to the window (theirs are absolute, which empties the window behind a hand-over), and what a tool answered
is in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import NamedTuple

from orchestrator.think_tags import CLOSES
from orchestrator.tools.base import ERROR
from orchestrator.types import History, Step, StepKind

__all__ = ["Move", "has_ended", "moves_in", "moves_of", "text_of"]

_DONE = (StepKind.ACTION, StepKind.OBSERVATION)


class Move(NamedTuple):
    """What was thought and done, and what came of it."""

    writer: str
    """The engine that wrote the last of it."""
    thought: str
    """Without outer white space; empty where nothing was thought."""
    action: str
    """The call as it was written; empty where there is none."""
    observation: str
    """What the tool answered; empty where nothing was called, or the answer is still to come."""
    last_step: int
    """Index of its last step."""

    @property
    def is_error(self) -> bool:
        """Whether the tool answered with an error."""
        return self.observation.startswith(ERROR)


def moves_of(history: History, *, last: int | None = None, until: int | None = None) -> list[Move]:
    """Return the moves of a run from where its window begins, or the last of them, in time that does not grow.

    `until` is the index of the last step that is looked at. With `last`, an agent that has done nothing in the last
    2 * `last` steps is read like one without tools: each of its thoughts is a move.
    """
    end = len(history.steps) if until is None else until + 1
    if last is None:
        return moves_in(history.steps[history.window : end])
    reach = 2 * last + 2
    while True:
        begin = max(history.window, end - reach)
        tail = history.steps[begin:end]
        has_acted = begin > history.window and any(step.kind in _DONE for step in tail)
        is_agent = has_acted and any(step.kind in _DONE for step in islice(history.steps, history.window, begin))
        moves = moves_in(tail, is_agent=is_agent)
        if begin == history.window or len(moves) > last:  # the first may be half a move
            return moves[-last:]
        reach *= 2


def has_ended(history: History, moves: Sequence[Move]) -> bool:
    """Whether the last kept step ended the last of these moves, with what came of it: true once a move."""
    last = history.steps[-1]
    return bool(moves) and moves[-1].last_step == last.index and last.kind is not StepKind.ACTION


def moves_in(steps: Iterable[Step], *, is_agent: bool = False) -> list[Move]:
    """Return the moves that the steps make up, in order; the last one may be unfinished.

    `is_agent` says that something was done before them, so that thoughts belong to what is done next.
    """
    moves: list[Move] = []
    thoughts: list[str] = []
    for step in steps:
        if step.kind is StepKind.OBSERVATION:
            is_agent = True
            if moves and moves[-1].action and not moves[-1].observation:
                moves[-1] = Move(*moves[-1][:3], step.text.strip(), step.index)
            else:
                moves.append(Move(step.writer, "", "", step.text.strip(), step.index))
            continue
        before, _, behind = step.text.rpartition(CLOSES)
        if step.kind is StepKind.ACTION:
            thought = "\n".join([*thoughts, before.strip()]).strip()
            moves.append(Move(step.writer, thought, behind.strip(), "", step.index))
            thoughts, is_agent = [], True
        elif is_agent:
            thoughts.append(step.text.strip())
        else:
            moves.append(Move(step.writer, step.text.strip(), "", "", step.index))
    return moves


def text_of(moves: Sequence[Move], *, last: int | None = None, longest: int = 400) -> str:
    """Return the last moves, None for all, as the text that classifiers are trained on and asked about.

    Every part is cut to `longest` characters, its end kept.
    """
    chosen = list(enumerate(moves, 1))[-last if last else 0 :]
    return "\n".join(_told(number, move, longest) for number, move in chosen)


def _told(number: int, move: Move, longest: int) -> str:
    parts = {"Thought": move.thought, "Action": move.action, "Observation": move.observation}
    lines = [f"{name}: {text[-longest:]}" for name, text in parts.items() if text]
    return "\n".join([f"Step {number}", *lines])
