"""Who says at which moments a run was stuck, or had reached a milestone: rules, or people; and what several say.

A labeller that looks back may use what a monitor cannot know: what came next. What is neither one nor the other is
dropped.

Source: the step-level cascade (StepWise), by its authors' code, for milestones: a moment is one where at least three
quarters of the labellings say so, none where no labelling does, and dropped in between. Differs: the labellings are of
one run (theirs are of several runs of a task, whose steps do not match); rules label as well, by the future.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator.errors import UserError
from orchestrator.learning.files import objects
from orchestrator.learning.looks import Watched, prefixes
from orchestrator.types import Event

__all__ = ["Labels", "by_rules", "from_file", "voted"]

Labels = Mapping[tuple[str, int], bool]
"""What one labelling says, by run and step; nothing where it says nothing."""

_SOON = 3
"""A run is stuck where the rules say so at this look or at the next two."""
_LATER = 5
"""A run that succeeds is well where they do not say so at this look or at the next four."""
_MOST = 0.75
"""Share of the labellings that makes a yes."""


def by_rules(monitor: Any, kind: str, runs: Iterable[Watched]) -> Labels:
    """Return the labels that a monitor of rules gives, looking back: for `milestone` what it says, as it says it.

    Raises UserError for what cannot watch, as a class, or a monitor that has to ask an engine.
    """
    if isinstance(monitor, type) or not hasattr(monitor, "watch"):
        raise UserError(f"labels by rules: {monitor!r} cannot watch a stored run: give a monitor with `watch`")
    found: dict[tuple[str, int], bool] = {}
    for run in runs:
        noticed = _noticed(monitor, kind, run)
        for place, look in enumerate(run.looks):
            label = noticed[place] if kind == "milestone" else _stuck(noticed[place:], run.has_succeeded)
            if label is not None:
                found[look.run, look.step] = label
    return found


def _stuck(from_here: Sequence[bool], has_succeeded: bool | None) -> bool | None:
    if any(from_here[:_SOON]):
        return True
    return None if any(from_here[:_LATER]) or not has_succeeded else False


def _noticed(monitor: Any, kind: str, run: Watched) -> list[bool]:
    """Return whether the monitor spoke, for each look: at it, or since the one before.

    Whoever tells of a loop once must not know that it did: while the run is stuck, it has to say so.
    """
    spoken: list[Event] = []
    for history in prefixes(run.history):
        event = monitor.watch(replace(history, events=[] if kind == "stuck" else list(spoken)))
        if event is not None and event.kind == kind:
            spoken.append(event._replace(step=history.steps[-1].index))
    before = [-1, *(look.step for look in run.looks)]
    return [
        any(first < event.step <= look.step for event in spoken) for first, look in zip(before, run.looks, strict=False)
    ]


def from_file(path: Path) -> Labels:
    """Return the labels of a JSONL file: each line has `run` (an id), `step` (its index) and `label` (true or false).

    Raises UserError, naming the line, for what is none, or for a second label of the same step.
    """
    found: dict[tuple[str, int], bool] = {}
    for where, line in objects([path]):
        run, step, label = _checked(where, line)
        if found.setdefault((run, step), label) != label:
            raise UserError(f"{where}: run {run}, step {step} has the other label further up: which one is it?")
    return found


def _checked(where: str, line: Mapping[str, Any]) -> tuple[str, int, bool]:
    if line.keys() != {"run", "step", "label"}:
        raise UserError(f"{where}: no label: it has run, step and label, and nothing else")
    run, step, label = line["run"], line["step"], line["label"]
    checks = {"run": isinstance(run, str), "step": type(step) is int and step >= 0, "label": type(label) is bool}
    for name, is_good in checks.items():
        if not is_good:
            raise UserError(f"{where}: no label: {name} = {line[name]!r:.40}")
    return run, step, label


def voted(labellings: Sequence[Labels], runs: Iterable[Watched]) -> Iterator[tuple[Watched, list[bool | None]]]:
    """Yield each run with what its looks are by all labellings together, None where they leave it open."""
    for run in runs:
        yield run, [_vote([each[look.run, look.step] for each in labellings if look[:2] in each]) for look in run.looks]


def _vote(votes: Sequence[bool]) -> bool | None:
    if not votes:
        return None
    return True if sum(votes) >= _MOST * len(votes) else False if not any(votes) else None
