"""What monitors learn from: every moment at which one would have looked at a run, with what it would have read there.

One line of a move that has a label:

    step      index of the last kept step then
    part      what `train-monitor` does with the task: train, validation or held-out
    kind      stuck or milestone
    text      what a monitor reads: the last moves
    label     whether it was so
    messages  the same as a chat: the question that `train-monitor` asks an engine, and `Answer: yes` or `Answer: no`

Looks and labels are those of `train-monitor`, moves that nobody labels are left out as there.

Source: the step-level cascade (StepWise), by its authors' code, for labelled windows. Differs: as learning/labelling.py
and learning/looks.py say; a chat stands beside each window, for monitors that write their verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from orchestrator.exports.chat import Message
from orchestrator.exports.choosing import Chosen
from orchestrator.exports.lines import LeftOut, Line, checked
from orchestrator.learning.asking import asked
from orchestrator.learning.labelling import Labels, by_rules, voted
from orchestrator.learning.looks import watched
from orchestrator.learning.table import split_of

__all__ = ["Labelling", "MonitorLine", "lines"]


class Labelling(NamedTuple):
    """What is looked for, and who says where it is."""

    kind: Literal["stuck", "milestone"]
    window: int
    """Moves that a monitor reads."""
    min_moves: int
    """Below which it does not look."""
    rules: Any = None
    """A monitor of rules that labels, None for none."""
    people: Sequence[Labels] = ()
    """Labels that were given."""


class MonitorLine(Line):
    """One line of the export."""

    step: int
    part: Literal["train", "validation", "held-out"]
    kind: Literal["stuck", "milestone"]
    text: str
    label: bool
    messages: list[Message]


def lines(run: Chosen, labelling: Labelling) -> list[dict[str, Any]]:
    """Return the lines of a run. Raises LeftOut where it was too short to be looked at, or has no label."""
    looked = watched([run.stored], labelling.kind, labelling.window, labelling.min_moves)
    if not looked:
        raise LeftOut("they are too short for a monitor to look at")
    labellings = list(labelling.people)
    if labelling.rules is not None:
        labellings.append(by_rules(labelling.rules, labelling.kind, looked))
    ((_, labels),) = voted(labellings, looked)
    told = [(look, label) for look, label in zip(looked[0].looks, labels, strict=True) if label is not None]
    if not told:
        raise LeftOut("nobody labels a move of theirs")
    return [
        checked(
            MonitorLine,
            **run.about,
            step=look.step,
            part=split_of(looked[0].task),
            kind=labelling.kind,
            text=look.text,
            label=label,
            messages=[
                {"role": "user", "content": asked(labelling.kind, look.text)},
                {"role": "assistant", "content": f"Answer: {'yes' if label else 'no'}"},
            ],
        )
        for look, label in told
    ]
