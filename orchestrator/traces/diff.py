"""Where do two stored runs part, which decisions are others, and what did each of them cost?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from json import loads
from typing import TYPE_CHECKING, Any, NamedTuple

from orchestrator.memory.base import DecisionRow, StoredRun
from orchestrator.runtime.displayed import Displayed
from orchestrator.runtime.ledger_lines import ledger_rows
from orchestrator.runtime.paper import as_text
from orchestrator.traces.parting import Divergence, decisions_of, is_other, parting

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["Deciding", "Diff", "Spending", "diff_of"]


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
        return is_other((self.step, self.attempt, self.door), self.ours, self.theirs)


class Spending(NamedTuple):
    """Work of one engine for one purpose, whatever became of it, in both runs."""

    engine: str
    purpose: str
    calls: tuple[int, int]
    prompt_tokens: tuple[int, int]
    output_tokens: tuple[int, int]
    cost: tuple[float, float]
    """In the unit of the prices; 0 without prices."""


@dataclass(frozen=True, slots=True)
class Diff(Displayed):
    """Two runs side by side; a notebook shows them so."""

    ours: str
    """Id of the first run."""
    theirs: str
    is_same_task: bool
    """Whether both were asked the same: where not, texts part at once and costs do not compare."""
    settings: tuple[str, ...]
    """What differs in what shaped the runs, by the names of the settings."""
    first: Divergence | None
    """None where all candidates and all decisions are alike."""
    decisions: tuple[Deciding, ...]
    spending: tuple[Spending, ...]
    """In the order of the first run's engines; of a run that has not ended what it used so far, without costs."""
    answers: tuple[str | None, str | None]
    statuses: tuple[str, str]
    """How they ended; `unfinished` where one has not."""

    def drawn(self, width: int) -> Text:
        """Draw it as `orchestrator trace diff` prints it."""
        from orchestrator.traces.diff_shown import lines

        return as_text(lines(self), width)


def diff_of(
    ours: StoredRun,
    theirs: StoredRun,
    our_ancestors: Sequence[StoredRun] = (),
    their_ancestors: Sequence[StoredRun] = (),
) -> Diff:
    """Return what differs between two stored runs; the ancestors are the runs that each was forked from, oldest
    first: of the steps that a fork began with they say what was decided, while spending is each run's own."""
    decisions = tuple(_decisions(decisions_of(ours, our_ancestors), decisions_of(theirs, their_ancestors)))
    before, after = loads(ours.run.settings), loads(theirs.run.settings)
    differing = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    asked = [loads(run.run.task)["messages"] for run in (ours, theirs)]
    return Diff(
        ours.run.id,
        theirs.run.id,
        asked[0] == asked[1],
        tuple(differing),
        parting(ours, theirs, our_ancestors, their_ancestors),
        decisions,
        tuple(_spending(ours, theirs)),
        (_answer(ours), _answer(theirs)),
        (ours.status, theirs.status),
    )


def _decisions(
    ours: Mapping[tuple[int, int, str], DecisionRow], theirs: Mapping[tuple[int, int, str], DecisionRow]
) -> Iterator[Deciding]:
    for door in sorted({*ours, *theirs}, key=lambda door: door[:2]):
        pair = ours.get(door), theirs.get(door)
        if _seen(pair[0]) != _seen(pair[1]):
            yield Deciding(*door, *pair)


def _seen(row: DecisionRow | None) -> Any:
    return None if row is None else (row.action, row.engine, row.threshold, row.margin)


def _spending(ours: StoredRun, theirs: StoredRun) -> Iterator[Spending]:
    ledgers = [_sums(run) for run in (ours, theirs)]
    names = ("calls", "prompt_tokens", "output_tokens", "cost")
    for key in dict.fromkeys([*ledgers[0], *ledgers[1]]):
        mine, other = (each.get(key, dict.fromkeys(names, 0)) for each in ledgers)
        yield Spending(*key, *((mine[name], other[name]) for name in names))


def _sums(run: StoredRun) -> dict[tuple[str, str], dict[str, Any]]:
    """Return what a run used, by engine and purpose: the fates of it together."""
    sums: dict[tuple[str, str], dict[str, Any]] = {}
    for row in ledger_rows(run):
        into = sums.setdefault((row["engine"], row["purpose"]), {})
        for name in ("calls", "prompt_tokens", "output_tokens", "cost"):
            into[name] = into.get(name, 0) + row.get(name, 0)
    return sums


def _answer(run: StoredRun) -> str | None:
    return run.outcome.answer if run.outcome else None
