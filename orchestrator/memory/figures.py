"""What many runs come to together: sums and rows that SQL finds, in one sight of the journal."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from json import loads
from typing import NamedTuple

from orchestrator.memory.base import REMOVED
from orchestrator.memory.texts import Texts
from orchestrator.memory.which import FROM, IS_RUNNING, Sieve, policy_in

__all__ = ["Decided", "Ended", "Figures", "Kept"]

_STATUSES = f"SELECT CASE WHEN {IS_RUNNING} THEN -1 ELSE o.status END, count(*) {FROM} WHERE {{}} GROUP BY 1"
_SETTINGS = f"SELECT DISTINCT r.settings {FROM} WHERE {{}}"
_ENDED = f"""
SELECT r.engines, o.seconds, ledger.text,
    coalesce((SELECT s.step + (s.kind IS NOT :removed) FROM steps s WHERE s.run = r.key ORDER BY s.n DESC LIMIT 1), 0)
{FROM} JOIN texts ledger ON ledger.id = o.ledger WHERE {{}}
"""
# A row stands that no later one of its run replaces or removes: none of the same step, or of one before it.
_KEPT = f"""
SELECT engines, kind, writer, count(*), sum(num_tokens) FROM (
    SELECT r.engines, s.kind, s.writer, s.step, s.num_tokens, min(s.step) OVER (
        PARTITION BY s.run ORDER BY s.n DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS behind
    {FROM} JOIN steps s ON s.run = r.key WHERE o.run NOT NULL AND {{}}
) WHERE (behind IS NULL OR behind > step) AND kind IS NOT :removed GROUP BY 1, 2, 3
"""
_DECIDED = f"""
SELECT r.engines, d.policy, d.action, d.reason, d.engine, count(*)
{FROM} JOIN decisions d ON d.run = r.key
WHERE o.run NOT NULL AND d.action IS NOT :keep AND d.action IS NOT :mode AND {{}} GROUP BY 1, 2, 3, 4, 5
"""


class Ended(NamedTuple):
    """One run that has ended."""

    largest: str
    """The engine that is last in the pipeline's order."""
    seconds: float
    steps: int
    """Steps that stand."""
    ledger: str
    """Its rows as JSON."""


class Kept(NamedTuple):
    """Steps that stand, of one kind and writer, in runs that have ended."""

    kind: str
    writer: str
    is_large: bool
    """The writer is the largest engine."""
    steps: int
    tokens: int


class Decided(NamedTuple):
    """A decision that did more than keep what the cheapest engine wrote, in runs that have ended."""

    policy: str
    action: str
    reason: str
    times: int


class Figures:
    """The runs of a journal that are meant, added up; every method reads the same moment."""

    def __init__(self, connection: sqlite3.Connection, texts: Texts, asked: Sieve) -> None:
        self._connection = connection
        self._texts = texts
        self._where = asked.where
        words = {name: texts.find(connection, name) for name in ("keep", "mode")}
        self._values = {**asked.values, **words, "removed": texts.find(connection, REMOVED)}
        self._engines: dict[int, list[str]] = {}

    def statuses(self) -> Counter[str]:
        """Return how many runs ended, or stand, how; those that are `running` may have ended before."""
        names = {-1: "running", None: "interrupted"}
        return Counter(
            {
                names.get(status) or self._text(status): number
                for status, number in sorted(self._rows(_STATUSES), key=lambda row: -row[1])
            }
        )

    def policies(self) -> list[str]:
        """Return the names of the routers, without versions, in order."""
        found = {policy_in(self._text(settings)) for (settings,) in self._rows(_SETTINGS)}
        return sorted({policy.rpartition(" ")[0] or policy for policy in found})

    def ended(self) -> Iterator[Ended]:
        """Yield the runs that have ended, oldest first; memory holds one."""
        for engines, seconds, ledger, steps in self._rows(_ENDED):
            yield Ended(self._names(engines)[-1], seconds, steps, ledger)

    def kept(self) -> list[Kept]:
        """Return the steps that stand, those that a fork began with included."""
        found = []
        for engines, kind, writer, steps, tokens in self._rows(_KEPT):
            name = self._text(writer)
            found.append(Kept(self._text(kind), name, name == self._names(engines)[-1], steps, tokens))
        return found

    def decided(self) -> Iterator[Decided]:
        """Yield all decisions but to keep a draft, to let the cheapest engine draft, and of modes; equal ones may come
        in several parts."""
        for engines, policy, action, reason, engine, times in self._rows(_DECIDED):
            did = self._text(action)
            if did != "plan" or self._text(engine) != self._names(engines)[0]:
                yield Decided(self._text(policy), did, self._text(reason), times)

    def _rows(self, select: str) -> sqlite3.Cursor:
        return self._connection.execute(select.format(self._where), self._values)

    def _text(self, number: int) -> str:
        return self._texts.read(self._connection, number)

    def _names(self, engines: int) -> list[str]:
        if engines not in self._engines:
            self._engines[engines] = list(loads(self._text(engines)))
        return self._engines[engines]
