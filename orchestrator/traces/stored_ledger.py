"""What a stored run used, by engine, purpose and fate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from orchestrator.ledger import Entry
from orchestrator.memory.base import StoredRun
from orchestrator.runtime.ledger_lines import ledger_rows

__all__ = ["StoredLedger", "ledger_of"]

_SUMS = tuple(each.name for each in fields(Entry))


@dataclass(frozen=True, slots=True)
class StoredLedger:
    """The ledger of a run as its journal has it, discarded work included."""

    rows: Sequence[Mapping[str, Any]]
    """One per engine, purpose and fate; of a run that has not ended what it has used so far, calls in flight left out.
    """
    engines: Sequence[str]
    """In the pipeline's order: the largest is last."""
    cost: float | None
    """In the unit of the prices, 0 without prices; None until the run has ended, as prices are only then applied."""

    def total(self, *, engine: str | None = None, purpose: str | None = None, fate: str | None = None) -> Entry:
        """Return the sums over everything that matches; None matches all."""
        wanted = {"engine": engine, "purpose": purpose, "fate": fate}
        sums = Entry()
        for row in self.rows:
            if all(value is None or row[name] == value for name, value in wanted.items()):
                sums.add(Entry(**{name: row[name] for name in _SUMS if name in row}))  # old ones counted less
        return sums

    @property
    def large_share(self) -> float:
        """Share of all output tokens that the largest engine produced, in [0, 1]; 0 for an empty ledger."""
        everything = self.total().output_tokens
        return self.total(engine=self.engines[-1]).output_tokens / everything if everything else 0.0


def ledger_of(stored: StoredRun, engines: Sequence[str]) -> StoredLedger:
    """Return the ledger of a stored run, whose engines these are."""
    rows = ledger_rows(stored)
    return StoredLedger(rows, engines, sum(row["cost"] for row in rows) if stored.outcome else None)
