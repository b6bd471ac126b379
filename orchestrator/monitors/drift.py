"""Notice that a run moves away from its task: what it began with is hardly mentioned any more.

It sees words, not meaning. It does not see an agent that works on the wrong thing in the task's own words, and it
takes for drift what goes on, in other words or with results in between, to where the task wants it: so it only says
what it reads, and a threshold has to be chosen on runs like those that it is to watch.

Source: the drift that the step-level cascade's milestones are to catch. Differs: the paper has
no such rule; the reading is ours.
"""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.monitors.reading import mentioned, words
from orchestrator.monitors.window import Move, moves_in, moves_of
from orchestrator.options import check_range, check_whole
from orchestrator.types import Event, History, StepKind

__all__ = ["Drift"]

_LONGEST = 2_000
"""Characters of the task, and of every part of a move, that are read, the last ones."""
_MOST = 64
"""Words of the task that are looked for, the last ones."""
_IDLE = frozenset(
    words(
        "a about all an and answer are as at be by can compute do each find first for from give given has have how if "
        "in is it its many much must of on one or please put so solve step such than that the their them then there "
        "these they this to use was what when where which who will with within write you your"
    )
)
"""Words that say nothing about what a task is about."""


@dataclass(frozen=True, kw_only=True)
class Drift:
    """Raise `drift`, once a window, when the last moves mention less of the task than a share of what the first did.

    The reading is the share of the task's content words and numbers that the last moves mention, divided by that of
    the first moves of the run; where the first mention nothing, 1 if the last mention anything, else 0.
    """

    threshold: float = 0.1
    """The reading from which downwards it is drift, in [0, 1]; at 0 the last moves mention nothing of the task."""
    moves: int = 6
    """How many moves are the first and the last ones; they never overlap."""

    raises = ("drift",)

    def __post_init__(self) -> None:
        check_range("monitor drift", self, threshold="[0, 1]")
        check_whole("monitor drift", self, moves=1)

    def watch(self, history: History) -> Event | None:
        """Compare the last moves of the window with the first of the run."""
        if history.steps[-1].kind is StepKind.ACTION:
            return None
        if any(event.kind == "drift" and event.step >= history.window for event in history.events):
            return None
        about, late = _about(history), moves_of(history, last=self.moves)
        now = mentioned(about, _told(late))
        if not about or now > self.threshold * len(about):  # whatever the first mention
            return None
        early = moves_in(history.steps[: 8 * self.moves])[: self.moves]
        if len(late) < self.moves or len(early) < self.moves or early[-1].last_step >= late[0].last_step:
            return None
        began = mentioned(about, _told(early))
        value = now / began if began else float(now > 0)
        if value > self.threshold:
            return None
        reason = f"the last {self.moves} moves mention {now} of the {len(about)} words of the task, the first {began}"
        return Event("drift", reason, value=value, threshold=self.threshold)


def _about(history: History) -> list[str]:
    asked = " ".join(message.content for message in history.task.messages if message.role != "system")
    telling = (word for word in words(asked[-_LONGEST:]) if word not in _IDLE and (len(word) > 1 or word.isdigit()))
    return list(dict.fromkeys(telling))[-_MOST:]


def _told(moves: list[Move]) -> str:
    return "\n".join("\n".join(part[-_LONGEST:] for part in move[1:4]) for move in moves)
