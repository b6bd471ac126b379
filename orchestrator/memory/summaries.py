"""Runs at a glance: one line each, from one query."""

from __future__ import annotations

import json
from typing import Any

from orchestrator.memory.base import REMOVED, RunSummary
from orchestrator.memory.owners import Owner, is_alive
from orchestrator.memory.texts import decoded

__all__ = ["SUMMARIES", "batch_of", "summary"]

# The last row of `steps` alone tells how many steps stand: it replaced or removed whatever lay behind it.
SUMMARIES = f"""
SELECT batch.text, r.key, r.id, r.created_s, task.text, engines.text, status.text, answer.text, ledger.text, o.seconds,
    (SELECT s.step + (kind.text <> '{REMOVED}') FROM steps s JOIN texts kind ON kind.id = s.kind
     WHERE s.run = r.key ORDER BY s.n DESC LIMIT 1),
    c.pid, c.started, c.host
FROM runs r
JOIN texts batch ON batch.id = r.batch
JOIN texts task ON task.id = r.task
JOIN texts engines ON engines.id = r.engines
LEFT JOIN outcomes o ON o.run = r.key AND o.n = (SELECT max(n) FROM outcomes WHERE run = r.key)
LEFT JOIN texts status ON status.id = o.status
LEFT JOIN texts answer ON answer.id = o.answer
LEFT JOIN texts ledger ON ledger.id = o.ledger
LEFT JOIN claims c ON c.run = r.key
ORDER BY r.key DESC
"""

_MAX_QUESTION_CHARS = 80


def batch_of(row: tuple[Any, ...]) -> str:
    """Return the batch of one row of `SUMMARIES`."""
    return decoded(row[0])


def summary(row: tuple[Any, ...]) -> RunSummary:
    """Return the line for one row of `SUMMARIES`."""
    _, key, run_id, created_s, task, engines, status, answer, ledger, seconds, steps, *owner = row
    if owner[0] is not None and is_alive(Owner(*owner)):
        status = "running"
    return RunSummary(
        key=key,
        id=run_id,
        created_s=created_s,
        status=status or "interrupted",
        question=_first_words(decoded(task)),
        steps=steps or 0,
        answer=None if answer is None else decoded(answer),
        large_share=None if ledger is None else _large_share(decoded(ledger), decoded(engines)),
        seconds=seconds,
    )


def _first_words(task: str) -> str:
    """Return the beginning of what the user asked first."""
    messages = json.loads(task)["messages"]
    asked = next((content for role, content in messages if role == "user"), messages[0][1])
    words = " ".join(asked.split())
    return words if len(words) <= _MAX_QUESTION_CHARS else words[: _MAX_QUESTION_CHARS - 1] + "…"


def _large_share(ledger: str, engines: str) -> float:
    largest = list(json.loads(engines))[-1]
    rows = json.loads(ledger)
    everything = sum(row["output_tokens"] for row in rows)
    return sum(row["output_tokens"] for row in rows if row["engine"] == largest) / everything if everything else 0.0
