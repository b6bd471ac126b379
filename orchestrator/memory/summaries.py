"""Runs at a glance: which ones, found without reading their texts, and a line for each that is shown."""

from __future__ import annotations

import json
import sqlite3
from typing import NamedTuple

from orchestrator.memory.base import REMOVED, RunSummary, asked_last
from orchestrator.memory.reading import pruned
from orchestrator.memory.texts import Texts, decoded
from orchestrator.memory.which import FROM, Sieve, Which, policy_in, sieve

__all__ = ["ORDERS", "Listing", "listed"]

ORDERS = {"started": "r.key", "cost": "t.cost", "seconds": "o.seconds", "tokens": "t.output_tokens"}
"""What a list may go by, largest first; runs that lack it come last."""

# The last row of `steps` alone tells how many steps stand: it replaced or removed whatever lay behind it.
_LINE = f"""
SELECT r.id, r.parent, r.created_s, r.task, r.settings, status.text, answer.text, o.seconds,
    t.output_tokens, t.large_tokens, t.cost,
    (SELECT s.step + (kind.text <> '{REMOVED}') FROM steps s JOIN texts kind ON kind.id = s.kind
     WHERE s.run = r.key ORDER BY s.n DESC LIMIT 1)
{FROM}
LEFT JOIN texts status ON status.id = o.status
LEFT JOIN texts answer ON answer.id = o.answer
WHERE r.key = ?
"""
_MAX_QUESTION_CHARS = 80


class Listing(NamedTuple):
    """Some of the runs that were asked for."""

    runs: list[RunSummary]
    matching: int
    """How many there are to list."""
    left_out: int
    """How many more there would be but for `Which.without`."""
    pruned: str
    """What was pruned, and when last, as one says it; empty where nothing ever was."""


def listed(
    connection: sqlite3.Connection, texts: Texts, which: Which, path: str, *, limit: int, by: str = "started"
) -> Listing:
    """Return the first `limit` runs that are meant, by one of ORDERS, the newest first where they are equal in it.

    Raises UnknownName as `sieve` does.
    """
    asked = sieve(connection, texts, which, path)
    found = connection.execute(
        f"SELECT r.key, {asked.is_left_out} {FROM} WHERE {asked.passes} ORDER BY {ORDERS[by]} DESC, r.key DESC",
        asked.values,
    )
    keys: list[int] = []
    counted = [0, 0]
    for key, is_left_out in found:  # one pass, where counting apart would be a second one
        counted[is_left_out] += 1
        if not is_left_out and len(keys) < limit:
            keys.append(key)
    lines = _Lines(connection, texts, asked)
    return Listing([lines.of(key) for key in keys], counted[0], counted[1], pruned(connection))


class _Lines:
    """The lines of runs; settings that many runs share are read once."""

    def __init__(self, connection: sqlite3.Connection, texts: Texts, asked: Sieve) -> None:
        self._connection = connection
        self._texts = texts
        self._running = asked.running
        self._policies: dict[int, str] = {}

    def of(self, key: int) -> RunSummary:
        row = self._connection.execute(_LINE, (key,)).fetchone()
        run_id, parent, created_s, task, settings, status, answer, seconds, output, large, cost, steps = row
        has_ended = status is not None
        return RunSummary(
            key=key,
            id=run_id,
            created_s=created_s,
            status="running" if key in self._running else status or "interrupted",
            question=_first_words(self._texts.read(self._connection, task)),
            steps=steps or 0,
            answer=None if answer is None else decoded(answer),
            large_share=(large / output if output else 0.0) if has_ended else None,
            seconds=seconds,
            output_tokens=(output or 0) if has_ended else None,
            cost=(cost or 0.0) if has_ended else None,
            policy=self._policy(settings),
            parent=parent,
        )

    def _policy(self, settings: int) -> str:
        if settings not in self._policies:
            self._policies[settings] = policy_in(self._texts.read(self._connection, settings))
        return self._policies[settings]


def _first_words(task: str) -> str:
    """Return the beginning of what was asked."""
    words = " ".join(asked_last(json.loads(task)["messages"]).split())
    return words if len(words) <= _MAX_QUESTION_CHARS else words[: _MAX_QUESTION_CHARS - 1] + "…"
