"""The journal as tables that people read: texts in the place of their numbers, one row a run, a candidate, a decision.

They are temporary views of a connection, so nothing is added to the file, and what was written a moment ago is in them.
"""

from __future__ import annotations

import sqlite3
from hashlib import blake2b

from orchestrator.memory.base import REMOVED
from orchestrator.memory.opening import open_to_read
from orchestrator.memory.store import translated
from orchestrator.memory.texts import decoded
from orchestrator.visible import visible

__all__ = ["VIEWS", "open_views"]

_WAIT_S = 5.0


def _text(number: str) -> str:
    return f"(SELECT said(text) FROM texts WHERE id = {number})"


def _raw(number: str) -> str:
    return f"(SELECT text FROM texts WHERE id = {number})"


def _is(number: str, *words: str) -> str:
    digests = ", ".join(f"digest_of('{word}')" for word in words)
    return f"{number} IN (SELECT id FROM texts WHERE digest IN ({digests}))"


_RUN = "(SELECT id FROM runs AS named WHERE named.key = {0}.run) AS run"
_LAST_STEP = f"""
    SELECT step + 1 - ({_is("kind", REMOVED)}) FROM steps WHERE steps.run = runs.key ORDER BY n DESC LIMIT 1
"""
# As `asked_last`.
_ASKED = f"""
    coalesce((SELECT json_extract(value, '$[1]') FROM json_each({_raw("task")}, '$.messages')
        WHERE json_extract(value, '$[0]') = 'user' ORDER BY key DESC LIMIT 1),
        json_extract({_raw("task")}, '$.messages[#-1][1]'))
"""

VIEWS = {
    "all_runs": f"""
        SELECT runs.id AS run, datetime(created_s, 'unixepoch') AS started,
            coalesce({_text("outcomes.status")}, 'unfinished') AS status,
            said(coalesce(json_extract({_raw("settings")}, '$.router.policy'),
                json_extract({_raw("settings")}, '$.router'))) AS policy,
            coalesce(({_LAST_STEP}), 0) AS steps, {_text("outcomes.answer")} AS answer,
            totals.output_tokens, round(totals.cost, 6) AS cost,
            round(outcomes.seconds, 3) AS seconds,
            said({_ASKED}) AS asked, parent
        FROM runs LEFT JOIN outcomes ON outcomes.run = runs.key
            AND outcomes.n = (SELECT max(n) FROM outcomes AS last WHERE last.run = runs.key)
            LEFT JOIN totals ON totals.run = runs.key
        ORDER BY runs.key DESC
    """,
    "candidates": f"""
        SELECT {_RUN.format("intents")}, intents.step, intents.attempt, {_text("intents.engine")} AS writer,
            {_text("intents.purpose")} AS purpose, {_text("results.text")} AS text,
            EXISTS (SELECT 1 FROM steps WHERE steps.run = intents.run AND steps.step = intents.step
                AND steps.attempt = intents.attempt) AS was_kept,
            {_text("decisions.action")} AS action, threshold, margin, {_text("decisions.reason")} AS reason,
            output_tokens, round(1000 * results.seconds, 1) AS ms
        FROM intents JOIN results ON results.run = intents.run AND results.seq = intents.seq
            LEFT JOIN decisions ON decisions.run = intents.run AND decisions.step = intents.step
                AND decisions.attempt = intents.attempt AND {_is("decisions.door", "after_draft")}
        WHERE {_is("intents.purpose", "draft", "rewrite", "alternative", "answer")}
        ORDER BY intents.run DESC, intents.seq
    """,
    "all_decisions": f"""
        SELECT {_RUN.format("decisions")}, step, attempt, {_text("door")} AS door, {_text("action")} AS action,
            {_text("engine")} AS engine, {_text("reason")} AS reason, threshold, margin, {_text("policy")} AS policy,
            {_text("detail")} AS detail
        FROM decisions ORDER BY decisions.run DESC, n
    """,
    "all_events": f"""
        SELECT {_RUN.format("events")}, step, {_text("kind")} AS kind, {_text("detail")} AS detail,
            datetime(at_s, 'unixepoch') AS at
        FROM events ORDER BY events.run DESC, n
    """,
    "all_calls": f"""
        SELECT {_RUN.format("intents")}, intents.step, attempt, intents.seq AS call, {_text("purpose")} AS purpose,
            {_text("engine")} AS engine, coalesce({_text("status")}, 'in flight') AS status,
            coalesce(results.prompt_tokens, intents.prompt_tokens) AS prompt_tokens, cached_tokens, output_tokens,
            round(1000 * seconds, 1) AS ms, round(1000 * first_token_s, 1) AS first_token_ms,
            round(1000 * queue_s, 1) AS queued_ms, drafted, accepted, {_text("error")} AS error,
            lower(substr(hex(digest), 1, 12)) AS prompt
        FROM intents LEFT JOIN results ON results.run = intents.run AND results.seq = intents.seq
        ORDER BY intents.run DESC, intents.seq
    """,
}
"""Name -> what it selects; `run` is an id everywhere, and newest runs come first."""


def open_views(path: str) -> sqlite3.Connection:
    """Return a connection that reads the journal at `path` as these views, beside whoever writes it. Raises StoreError.

    It cannot write; threads may use it one after the other.
    """
    with translated(path):
        connection = open_to_read(path, _WAIT_S)
        connection.create_function("said", 1, _said, deterministic=True)
        connection.create_function("digest_of", 1, _digest_of, deterministic=True)
        connection.execute("PRAGMA query_only = OFF")  # it is on, and holds for temporary views as well
        for name, select in VIEWS.items():
            connection.execute(f"CREATE TEMP VIEW {name} AS {select}")
        connection.execute("PRAGMA query_only = ON")
    return connection


def _said(text: str | bytes | float | None) -> str | float | None:
    return visible(decoded(text)) if isinstance(text, str | bytes) else text


def _digest_of(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=16).digest()
