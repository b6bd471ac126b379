"""Which runs of a journal: told by their numbers and by the few texts that many runs share, so very many are sifted
without reading what any of them says."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from json import dumps, loads
from math import inf
from typing import Any, NamedTuple

from orchestrator.errors import UnknownName, UserError
from orchestrator.memory.reading import find
from orchestrator.memory.running import live_claims
from orchestrator.memory.texts import Texts, decoded
from orchestrator.options import check_lists, check_range, check_texts

__all__ = ["FROM", "IS_RUNNING", "Sieve", "Span", "Which", "policy_in", "sieve", "unversioned"]

FROM = """
FROM runs r
LEFT JOIN outcomes o ON o.run = r.key AND o.n = (SELECT max(n) FROM outcomes WHERE run = r.key)
LEFT JOIN totals t ON t.run = r.key
"""
IS_RUNNING = "r.key IN (SELECT value FROM json_each(:running))"
_IS_LEFT_OUT = "r.batch IN (SELECT value FROM json_each(:left_out))"
_BATCHES = """
SELECT batch FROM (SELECT DISTINCT batch FROM runs) JOIN texts ON texts.id = batch
WHERE coalesce(substr(CAST(text AS BLOB), 1, length(:beginning)), x'') = :beginning
"""
_NEWEST_BATCHES = """
SELECT text FROM (SELECT batch, max(key) AS last FROM runs GROUP BY batch)
JOIN texts ON texts.id = batch WHERE text <> '' ORDER BY last DESC LIMIT 5
"""
_MAX_LISTED = 12


class Span(NamedTuple):
    """Numbers from `low` to `high`, both included."""

    low: float = -inf
    high: float = inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Which:
    """Which runs are meant: all that every one of these says; what is not given leaves nothing out.

    A run that has not ended has no cost, seconds or tokens, so a span of them leaves it out.
    """

    status: str | None = None
    """A `Status`, or `running`, or `interrupted`: not ended, and no process works on it."""
    policy: str | None = None
    """The router's name, without its version."""
    engine: str | None = None
    """Name of an engine that the run could use, or of what it serves."""
    batch: str | None = None
    """How the name of the batch begins."""
    since_s: float = -inf
    """Begun at this time or later, seconds since the epoch."""
    until_s: float = inf
    """Begun before this time."""
    cost: Span | None = None
    """In the unit of the prices, discarded work included."""
    seconds: Span | None = None
    output_tokens: Span | None = None
    forks_of: str | None = None
    """A run by its id, the beginning of one, or `last`: those forked from it."""
    keys: Collection[int] | None = None
    """The journal's own numbers of runs."""
    without: tuple[str, ...] = ()
    """How the batches begin that are left out."""

    def __post_init__(self) -> None:
        named = ("status", "policy", "engine", "batch", "forks_of")
        check_texts("which runs", self, **{name: "" for name in named if getattr(self, name) is not None})
        epoch = "[-inf, inf] seconds since the epoch"
        check_range("which runs", self, since_s=epoch, until_s=epoch)
        check_lists("which runs", self, without="beginnings of batches")
        for name in ("cost", "seconds", "output_tokens"):
            span = getattr(self, name)
            if span is not None and not isinstance(span, Span):
                raise UserError(f"which runs: {name} = {span!r:.60} must be a span: Span(low=..., high=...)")


class Sieve(NamedTuple):
    """`Which`, as a condition on a row of FROM."""

    passes: str
    """What holds for the runs that are meant, and for those `without` takes from them."""
    is_left_out: str
    """What holds for the latter alone."""
    values: dict[str, Any]
    """The parameters of both, and of IS_RUNNING."""
    running: frozenset[int]
    """The runs that a process works on."""

    @property
    def where(self) -> str:
        """What holds for the runs that are meant."""
        return f"{self.passes} AND NOT {self.is_left_out}"


def sieve(connection: sqlite3.Connection, texts: Texts, which: Which, path: str) -> Sieve:
    """Return the condition for `which`; `path` names the database in messages.

    Raises UnknownName, listing what there is, for a policy, an engine, a batch or a run that the journal has not.
    """
    running = frozenset(live_claims(connection))
    beginnings = [{"beginning": each.encode("utf-8", "surrogatepass")} for each in which.without]
    left_out = [number for each in beginnings for (number,) in connection.execute(_BATCHES, each)]
    values: dict[str, Any] = {"running": dumps([*running]), "left_out": dumps(left_out)}
    passes = ["1"]
    for name, condition, value in (
        *_by_status(connection, texts, which.status),
        *_by_text(connection, which, path),
        *_by_number(connection, which, path),
    ):
        passes.append(condition)
        values[name] = value
    return Sieve(" AND ".join(passes), _IS_LEFT_OUT, values, running)


def policy_in(settings: str) -> str:
    """Return name and version of the router in a run's settings, empty where they name none."""
    router = loads(settings).get("router") or ""
    return str(router.get("policy", "") if isinstance(router, dict) else router)


_Condition = tuple[str, str, Any]
"""A parameter's name, what is asked of a row, and the parameter."""


def _by_status(connection: sqlite3.Connection, texts: Texts, status: str | None) -> Iterator[_Condition]:
    if status == "running":
        yield "status", f"{IS_RUNNING} AND :status", 1
    elif status == "interrupted":
        yield "status", f"o.run IS NULL AND NOT {IS_RUNNING} AND :status", 1
    elif status is not None:
        yield "status", f"o.status = :status AND NOT {IS_RUNNING}", texts.find(connection, status)


def _by_text(connection: sqlite3.Connection, which: Which, path: str) -> Iterator[_Condition]:
    if which.policy is not None:
        policies = {number: (unversioned(policy_in(text)),) for number, text in _distinct(connection, "settings")}
        yield _among("settings", policies, which.policy, f"no run in {path} was routed by")
    if which.engine is not None:
        known = {number: _engine_names(text) for number, text in _distinct(connection, "engines")}
        yield _among("engines", known, which.engine, f"no run in {path} has an engine")
    if which.batch is not None:
        letters = which.batch.encode("utf-8", "surrogatepass")
        if connection.execute(f"{_BATCHES} LIMIT 1", {"beginning": letters}).fetchone() is None:
            newest = ", ".join(decoded(text) for (text,) in connection.execute(_NEWEST_BATCHES)) or "none yet"
            raise UnknownName(f"no batch in {path} begins with {which.batch!r}; the newest are {newest}")
        yield "beginning", f"r.batch IN ({_BATCHES})", letters


def _by_number(connection: sqlite3.Connection, which: Which, path: str) -> Iterator[_Condition]:
    if which.since_s > -inf:
        yield "since_s", "r.created_s >= :since_s", which.since_s
    if which.until_s < inf:
        yield "until_s", "r.created_s < :until_s", which.until_s
    # An empty ledger leaves no totals: what it sums to is nothing.
    spans = (
        ("cost", "coalesce(t.cost, 0)", which.cost),
        ("seconds", "o.seconds", which.seconds),
        ("output_tokens", "coalesce(t.output_tokens, 0)", which.output_tokens),
    )
    for name, column, span in spans:
        if span is not None:
            yield f"{name}_low", f"o.run NOT NULL AND {column} >= :{name}_low", span.low
            yield f"{name}_high", f"{column} <= :{name}_high", span.high
    if which.forks_of is not None:
        parent = connection.execute("SELECT id FROM runs WHERE key = ?", (find(connection, which.forks_of, path),))
        yield "parent", "r.parent = :parent", parent.fetchone()[0]
    if which.keys is not None:
        yield "keys", "r.key IN (SELECT value FROM json_each(:keys))", dumps([*which.keys])


def _distinct(connection: sqlite3.Connection, column: str) -> list[tuple[int, str]]:
    """Return number and text of everything that a column of `runs` holds."""
    found = connection.execute(f"SELECT id, text FROM texts WHERE id IN (SELECT DISTINCT {column} FROM runs)")
    return [(number, decoded(text)) for number, text in found]


def unversioned(policy: str) -> str:
    """Return a policy's name, without its version where it has one."""
    return policy.rpartition(" ")[0] or policy


def _engine_names(engines: str) -> tuple[str, ...]:
    described = loads(engines)
    return (*described, *(can["model"] for can in described.values() if "model" in can))


def _among(column: str, known: Mapping[int, tuple[str, ...]], wanted: str, lacks: str) -> _Condition:
    numbers = [number for number, names in known.items() if wanted in names]
    if not numbers:
        names = sorted({name for each in known.values() for name in each if name})
        listed = ", ".join(names[:_MAX_LISTED]) + (", ..." if len(names) > _MAX_LISTED else "")
        raise UnknownName(f"{lacks} {wanted!r}; there are {listed or 'none yet'}")
    return column, f"r.{column} IN (SELECT value FROM json_each(:{column}))", dumps(numbers)
