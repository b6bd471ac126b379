"""Notice what a trained classifier reads out of the last moves: that a run is stuck, or that it passed a milestone.

The classifier reads text and nothing else: the last moves as `window.text_of` writes them, with the task above them
for a milestone. `text_behind` makes that text for training and for a live run, so both read the same.

Source: the step-level cascade of computer-use agents (StepWise), by the authors' code: a stuck classifier over the
last six (rationale, action) pairs, a milestone classifier over the task and the last six. Differs: a logistic
regression over hashed n-grams in the place of ModernBERT, a few milliseconds on a CPU and nothing to download; what
the tools answered is in the text; moves are counted from where the window begins, so that `min_moves` protects behind
a hand-over, too; the threshold is chosen for a rate of false alarms (there 0.5, or 0.1 on the web).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from orchestrator.document import Kind
from orchestrator.errors import BadConfig, UserError
from orchestrator.monitors.monitor_file import KIND, MAX_MOVES, MonitorFile, check_kind
from orchestrator.monitors.window import Move, moves_of, text_of
from orchestrator.options import check_range, check_texts, check_whole
from orchestrator.types import Event, History, Step, StepKind, question_of

__all__ = ["Classified", "sample_text", "text_behind"]

_LONGEST_TASK = 1200
"""Characters; what is asked mostly stands at the end."""


@dataclass(frozen=True, kw_only=True)
class Classified:
    """Raise `stuck` or `milestone` where a trained classifier is sure enough of it."""

    kind: Literal["stuck", "milestone"] = "stuck"
    file: str = field(default="", metadata={"is_setting": False})
    """What `orchestrator train-monitor` wrote; it is read when the pipeline is built. It fixes how many moves are
    read: with another window the classifier would read what it was not trained on."""
    threshold: float | None = None
    """In [0, 1]: it speaks at this chance and above; None for the file's own."""
    min_moves: int | None = None
    """Moves since the window began below which it never speaks; None for the file's own."""
    learnt: MonitorFile | None = field(default=None, metadata={"is_option": False})
    """What the file holds, once it has been read."""

    def __post_init__(self) -> None:
        check_kind(self.kind)
        check_texts("classified", self, file="")
        check_range("classified", self, threshold="[0, 1]")
        check_whole("classified", self, most=MAX_MOVES, min_moves=1)
        if self.learnt is not None and self.learnt.kind != self.kind:
            raise UserError(
                f"classified: kind = {self.kind!r}, and its file was trained to notice {self.learnt.kind!r}: "
                "name the other kind, or the other file"
            )

    def with_file(self, read: Callable[[str, Kind], object]) -> Classified:
        """Return the monitor with what its file holds; itself if it was read before.

        Raises UserError if no file is named or it is of the other kind, and what `read` raises.
        """
        if self.learnt is not None:
            return self
        if not self.file:
            raise UserError("classified needs file = the monitor that `orchestrator train-monitor` wrote")
        found = read(self.file, KIND)
        if not isinstance(found, MonitorFile):
            raise BadConfig(f"classified: {self.file} holds no trained monitor; `{KIND.maker}` makes one")
        return replace(self, learnt=found)

    @property
    def raises(self) -> tuple[str, ...]:
        """The kind, and no other."""
        return (self.kind,)

    @property
    def fitted_on(self) -> tuple[str, ...]:
        """Fingerprints of the tasks it was trained on."""
        return () if self.learnt is None else self.learnt.fitted_on

    def watch(self, history: History) -> Event | None:
        """Read the last moves where a move has just ended."""
        known = self.learnt
        if known is None:
            raise UserError("classified: its file was not read; give the monitor to a Pipeline, or call with_file")
        least = known.min_moves if self.min_moves is None else self.min_moves
        threshold = known.threshold if self.threshold is None else self.threshold
        text = text_behind(self.kind, history, known.window, least)
        if text is None or (chance := known.chance(text)) < threshold:
            return None
        reason = f"its trained classifier reads {chance:.2f}, at least {threshold:.2f}"
        return Event(self.kind, reason, value=chance, threshold=threshold)


def text_behind(kind: str, history: History, window: int, min_moves: int) -> str | None:
    """Return what a classifier reads behind the last kept step.

    None where no move ends there, as behind a call whose answer is still to come, or before `min_moves` of them.
    """
    if not history.steps:
        return None
    moves = moves_of(history)
    if len(moves) < min_moves or not _is_end(moves[-1], history.steps[-1]):
        return None
    return sample_text(kind, question_of(history.task.messages), moves, window)


def sample_text(kind: str, task_text: str, moves: Sequence[Move], window: int) -> str:
    """Return the last `window` moves as text; those that may end at a milestone with the end of the task above them."""
    told = text_of(moves, last=window)
    return told if kind == "stuck" else f"Task: {task_text[-_LONGEST_TASK:]}\n{told}"


def _is_end(move: Move, step: Step) -> bool:
    """Whether the last step ends the last move: a tool's answer, or a thought that is a move by itself."""
    is_thought = step.kind is StepKind.THOUGHT and not move.action and move.last_step == step.index
    return step.kind is StepKind.OBSERVATION or is_thought
