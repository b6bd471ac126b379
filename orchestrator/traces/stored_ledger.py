"""What a stored run used, by engine, purpose and fate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from orchestrator.ledger import Entry
from orchestrator.memory.base import StoredRun
from orchestrator.runtime.displayed import Displayed
from orchestrator.runtime.ledger_lines import ledger_lines, ledger_rows
from orchestrator.runtime.paper import laid_out

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["StoredLedger", "ledger_of"]

_SUMS = tuple(each.name for each in fields(Entry))


@dataclass(frozen=True, slots=True)
class StoredLedger(Displayed):
    """The ledger of a run as its journal has it, discarded work included; a notebook shows it as `trace show` does."""

    rows: Sequence[Mapping[str, Any]]
    """One per engine, purpose and fate; of a run that has not ended what it has used so far, calls in flight left out.
    """
    engines: Sequence[str]
    """In the pipeline's order: the largest is last."""
    cost: float | None
    """In the unit of the prices, 0 without prices; None until the run has ended, as prices are only then applied."""
    lines: Sequence[Text] = field(repr=False, compare=False)
    """As `trace show` prints it, in at least 60 columns."""

    def total(self, *, engine: str | None = None, purpose: str | None = None, fate: str | None = None) -> Entry:
        """Return the sums over everything that matches; None matches all."""
        wanted = {"engine": engine, "purpose": purpose, "fate": fate}
        sums = Entry()
        for row in self.rows:
            if all(value is None or row[name] == value for name, value in wanted.items()):
                sums.add(Entry(**{name: row[name] for name in _SUMS if name in row}))  # old ones counted less
        return sums

    def drawn(self, width: int) -> Text:
        """Return its lines as one text."""
        return laid_out((line.copy() for line in self.lines), width)

    @property
    def large_share(self) -> float:
        """Share of all output tokens that the largest engine produced, in [0, 1]; 0 for an empty ledger."""
        everything = self.total().output_tokens
        return self.total(engine=self.engines[-1]).output_tokens / everything if everything else 0.0


def ledger_of(stored: StoredRun, engines: Sequence[str]) -> StoredLedger:
    """Return the ledger of a stored run, whose engines these are."""
    rows = ledger_rows(stored)
    cost = sum(row["cost"] for row in rows) if stored.outcome else None
    return StoredLedger(rows, engines, cost, [line for line in ledger_lines(stored) if line.plain])
