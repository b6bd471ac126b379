"""What many runs come to together: sums and rows that SQL finds, in one sight of the journal."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from json import loads
from typing import NamedTuple

from orchestrator.memory.base import REMOVED
from orchestrator.memory.texts import Texts, proven
from orchestrator.memory.which import FROM, IS_RUNNING, Sieve, policy_in, unversioned

__all__ = ["Decided", "Ended", "Figures", "Kept"]

_STATUSES = f"SELECT CASE WHEN {IS_RUNNING} THEN -1 ELSE o.status END, count(*) {FROM} WHERE {{}} GROUP BY 1"
_SETTINGS = f"SELECT DISTINCT r.settings {FROM} WHERE {{}}"
_ENDED = f"""
SELECT r.engines, o.seconds, ledger.id, ledger.digest, ledger.text,
    coalesce((SELECT s.step + (s.kind IS NOT :removed) FROM steps s WHERE s.run = r.key ORDER BY s.n DESC LIMIT 1), 0)
{FROM} JOIN texts ledger ON ledger.id = o.ledger WHERE {{}}
"""
# CROSS JOIN: the runs that are meant come first, and of the others nothing is read.
_MEANT = f"(SELECT r.key, r.engines {FROM} WHERE o.run NOT NULL AND {{}}) AS meant"
_STEPS = f"""
SELECT meant.key, meant.engines, s.step, s.kind, s.writer, s.num_tokens
FROM {_MEANT} CROSS JOIN steps s ON s.run = meant.key ORDER BY meant.key, s.n
"""
_DECIDED = f"""
SELECT meant.engines, d.policy, d.action, d.reason, d.engine, count(*)
FROM {_MEANT} CROSS JOIN decisions d ON d.run = meant.key
WHERE d.action IS NOT :keep AND d.action IS NOT :mode GROUP BY 1, 2, 3, 4, 5
"""


class Ended(NamedTuple):
    """One run that has ended."""

    engines: list[str]
    """In the pipeline's order: the largest is last."""
    seconds: float
    steps: int
    """Steps that stand."""
    ledger: str
    """Its rows as JSON."""


class Kept(NamedTuple):
    """Steps that stand, of one kind, in runs that have ended; equal ones come in several parts."""

    kind: str
    is_large: bool
    """The largest engine wrote them."""
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
        return sorted({unversioned(policy_in(self._text(settings))) for (settings,) in self._rows(_SETTINGS)})

    def ended(self) -> Iterator[Ended]:
        """Yield the runs that have ended; memory holds one."""
        for engines, seconds, number, digest, ledger, steps in self._rows(_ENDED):
            yield Ended(self._names(engines), seconds, steps, proven(number, digest, ledger))

    def kept(self) -> list[Kept]:
        """Return the steps that stand, those that a fork began with included."""
        sums: dict[tuple[int, int, int], list[int]] = {}
        for engines, kind, writer, tokens in self._standing():
            own = sums.setdefault((engines, kind, writer), [0, 0])
            own[0] += 1
            own[1] += tokens
        return [
            Kept(self._text(kind), self._text(writer) == self._names(engines)[-1], steps, tokens)
            for (engines, kind, writer), (steps, tokens) in sums.items()
        ]

    def _standing(self) -> Iterator[tuple[int, int, int, int]]:
        """Yield the steps that stand, run by run, as numbers of engines, kind and writer, and tokens."""
        removed, last = self._values["removed"], None
        standing: list[tuple[int, int, int, int]] = []
        for key, engines, step, kind, writer, tokens in self._rows(_STEPS):
            if key != last:
                yield from standing
                last, standing = key, []
            del standing[step:]  # as StoredRun.kept
            if kind != removed:
                standing.append((engines, kind, writer, tokens))
        yield from standing

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
