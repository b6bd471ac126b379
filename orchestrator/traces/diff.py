"""Where do two stored runs part, which decisions are others, and what did each of them cost?"""

from __future__ import annotations

from collections.abc import Iterator
from json import loads
from typing import Any, NamedTuple

from orchestrator.memory.base import DecisionRow, StepRow, StoredRun

__all__ = ["Deciding", "Diff", "Divergence", "Spending", "diff_of"]


class Divergence(NamedTuple):
    """The first step, or decision, at which the runs are not alike."""

    step: int
    what: str
    """`text`, `writer`, `decision`, or `length` where one run has the step and the other has not."""
    ours: str
    """Of the first run; empty where it has none."""
    theirs: str


class Deciding(NamedTuple):
    """A decision that differs: by what was done, or by the reading or the threshold it was done by."""

    step: int
    attempt: int
    door: str
    ours: DecisionRow | None
    """None where the run decided nothing there."""
    theirs: DecisionRow | None

    @property
    def is_other(self) -> bool:
        """Whether something else was done, and not only by other numbers."""
        return _done(self.ours) != _done(self.theirs)


class Spending(NamedTuple):
    """Work of one engine for one purpose, whatever became of it, in both runs."""

    engine: str
    purpose: str
    calls: tuple[int, int]
    prompt_tokens: tuple[int, int]
    output_tokens: tuple[int, int]
    cost: tuple[float, float]
    """In the unit of the prices; 0 without prices."""


class Diff(NamedTuple):
    """Two runs side by side."""

    ours: str
    """Id of the first run."""
    theirs: str
    is_same_task: bool
    """Whether both were asked the same: where not, texts part at once and costs do not compare."""
    settings: tuple[str, ...]
    """What differs in what shaped the runs, by the names of the settings."""
    first: Divergence | None
    """None where all kept steps and all decisions are alike."""
    decisions: tuple[Deciding, ...]
    spending: tuple[Spending, ...]
    """In the order of the first run's engines; empty for a run that has not ended."""
    answers: tuple[str | None, str | None]
    statuses: tuple[str, str]
    """How they ended; `unfinished` where one has not."""


def diff_of(ours: StoredRun, theirs: StoredRun) -> Diff:
    """Return what differs between two stored runs."""
    decisions = tuple(_decisions(ours, theirs))
    before, after = loads(ours.run.settings), loads(theirs.run.settings)
    differing = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    asked = [loads(run.run.task)["messages"] for run in (ours, theirs)]
    return Diff(
        ours.run.id,
        theirs.run.id,
        asked[0] == asked[1],
        tuple(differing),
        _first(ours, theirs, decisions),
        decisions,
        tuple(_spending(ours, theirs)),
        (_answer(ours), _answer(theirs)),
        (_status(ours), _status(theirs)),
    )


def _first(ours: StoredRun, theirs: StoredRun, decisions: tuple[Deciding, ...]) -> Divergence | None:
    found = next(_steps(ours.kept(), theirs.kept()), None)
    other = min((each for each in decisions if each.is_other), key=lambda each: each.step, default=None)
    if other is None or (found is not None and found.step < other.step):
        return found
    return Divergence(other.step, "decision", _said(other.ours), _said(other.theirs))


def _steps(ours: list[StepRow], theirs: list[StepRow]) -> Iterator[Divergence]:
    for index in range(max(len(ours), len(theirs))):
        pair = [rows[index] if index < len(rows) else None for rows in (ours, theirs)]
        if None in pair:
            yield Divergence(index, "length", *(row.text if row else "" for row in pair))
        for what in ("text", "writer"):
            mine, other = (getattr(row, what, None) for row in pair)
            if mine is not None and other is not None and mine != other:
                yield Divergence(index, what, mine, other)


def _decisions(ours: StoredRun, theirs: StoredRun) -> Iterator[Deciding]:
    mine, other = ({row[1:4]: row for row in run.decisions} for run in (ours, theirs))
    for key in sorted({*mine, *other}, key=lambda key: (key[0], key[1])):
        pair = mine.get(key), other.get(key)
        if _seen(pair[0]) != _seen(pair[1]):
            yield Deciding(*key, *pair)


def _done(row: DecisionRow | None) -> tuple[str, str]:
    return ("", "") if row is None else (row.action, row.engine)


def _seen(row: DecisionRow | None) -> Any:
    return None if row is None else (row.action, row.engine, row.threshold, row.margin)


def _said(row: DecisionRow | None) -> str:
    return "" if row is None else f"{row.action} {row.engine}".strip()


def _spending(ours: StoredRun, theirs: StoredRun) -> Iterator[Spending]:
    ledgers = [_sums(run) for run in (ours, theirs)]
    names = ("calls", "prompt_tokens", "output_tokens", "cost")
    for key in dict.fromkeys([*ledgers[0], *ledgers[1]]):
        mine, other = (each.get(key, dict.fromkeys(names, 0)) for each in ledgers)
        yield Spending(*key, *((mine[name], other[name]) for name in names))


def _sums(run: StoredRun) -> dict[tuple[str, str], dict[str, Any]]:
    """Return what a run used, by engine and purpose: the fates of it together."""
    sums: dict[tuple[str, str], dict[str, Any]] = {}
    for row in loads(run.outcome.ledger) if run.outcome else ():
        into = sums.setdefault((row["engine"], row["purpose"]), {})
        for name in ("calls", "prompt_tokens", "output_tokens", "cost"):
            into[name] = into.get(name, 0) + row[name]
    return sums


def _answer(run: StoredRun) -> str | None:
    return run.outcome.answer if run.outcome else None


def _status(run: StoredRun) -> str:
    return run.outcome.status if run.outcome else "unfinished"
