"""Runs as tables, for pandas and Arrow: one row per run, step, call, decision or signal, with typed columns.

Names carry their units: `created_s`, `started_s` and `finished_s` are seconds since the epoch, `first_token_s` and
`queue_s` count from sending, `seconds` are durations, `*_tokens` are counts, `cost` is in the unit of the prices and
`large_share` a share of output tokens in [0, 1]. A value that nobody knows is missing, never 0. What people and engines
wrote (`question`, `gold`, `answer`, `text`, a tool's error) is in it only where content is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from orchestrator.errors import UserError
from orchestrator.traces.record import RunRecord

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["CONTENT", "TABLES", "columns", "frame", "rows"]

TABLES: Mapping[str, Mapping[str, type]] = {
    "runs": {
        "run": str,
        "parent": str,
        "task": str,
        "batch": str,
        "position": int,
        "created_s": float,
        "finished_s": float,
        "router": str,
        "status": str,
        "reason": str,
        "seconds": float,
        "steps": int,
        "calls": int,
        "prompt_tokens": int,
        "output_tokens": int,
        "large_share": float,
        "cost": float,
        "question": str,
        "gold": str,
        "answer": str,
    },
    "steps": {
        "run": str,
        "step": int,
        "attempt": int,
        "kind": str,
        "writer": str,
        "written_by_run": str,
        "stop": str,
        "output_tokens": int,
        "seconds": float,
        "text": str,
    },
    "calls": {
        "run": str,
        "seq": int,
        "step": int,
        "attempt": int,
        "purpose": str,
        "engine": str,
        "status": str,
        "stop": str,
        "max_tokens": int,
        "prompt_tokens": int,
        "cached_tokens": int,
        "output_tokens": int,
        "is_bound": bool,
        "started_s": float,
        "seconds": float,
        "first_token_s": float,
        "queue_s": float,
        "drafted_tokens": int,
        "accepted_tokens": int,
        "error": str,
        "text": str,
    },
    "decisions": {
        "run": str,
        "step": int,
        "attempt": int,
        "door": str,
        "action": str,
        "engine": str,
        "reason": str,
        "score": float,
        "threshold": float,
        "margin": float,
        "alternatives": str,
        "policy": str,
    },
    "signals": {
        "run": str,
        "step": int,
        "attempt": int,
        "name": str,
        "value": float,
        "raw": float,
        "unit": str,
        "reason": str,
        "output_tokens": int,
        "seconds": float,
    },
}
"""The columns of each table, in order, with their types."""

CONTENT = frozenset({"question", "gold", "answer", "text"})
"""Columns of what people and engines wrote."""

_DTYPES = {str: "string", int: "Int64", float: "Float64", bool: "boolean"}


def frame(runs: Iterable[RunRecord], table: str = "runs", *, content: bool = False) -> DataFrame:
    """Return one of TABLES as a pandas DataFrame of nullable columns, in the order of `runs`.

    Without `content` the columns of CONTENT are left out. Raises UserError for an unknown table, or without pandas.
    """
    if table not in TABLES:
        raise UserError(f"no table {table!r}: choose one of {', '.join(TABLES)}")
    try:
        import pandas
    except ImportError:
        raise UserError("tables in Python need pandas: pip install 'reasoning-orchestrator[frames]'") from None
    found: dict[str, list[Any]] = {name: [] for name in columns(table, content=content)}
    for run in runs:
        for row in rows(run, table, content=content):
            for name, values in found.items():
                values.append(row[name])
    types = TABLES[table]
    return pandas.DataFrame(
        {name: pandas.array(values, dtype=_DTYPES[types[name]]) for name, values in found.items()}  # type: ignore[call-overload,unused-ignore]
    )


def columns(table: str, *, content: bool) -> list[str]:
    """Return the names of a table's columns."""
    return [name for name in TABLES[table] if content or name not in CONTENT]


def rows(run: RunRecord, table: str, *, content: bool = False) -> Iterator[dict[str, Any]]:
    """Yield the rows of one run in a table, each with every column of TABLES; what is no content's is None."""
    for row in _ROWS[table](run):
        if not content:
            row |= {name: None for name in CONTENT if name in row}
            if row.get("purpose") == "tool":
                row["error"] = None
        yield row


def _run(run: RunRecord) -> Iterator[dict[str, Any]]:
    outcome, booked = run.outcome, run.outcome.ledger if run.outcome else []
    written = sum(each["output_tokens"] for each in booked)
    by_large = sum(each["output_tokens"] for each in booked if each["engine"] == list(run.engines)[-1])
    yield {
        "run": run.id,
        "parent": run.parent,
        "task": run.task.id,
        "batch": run.batch,
        "position": run.position,
        "created_s": run.created_s,
        "finished_s": outcome and outcome.finished_s,
        "router": run.router,
        "status": outcome.status if outcome else None,
        "reason": outcome.reason if outcome else None,
        "seconds": outcome and outcome.seconds,
        "steps": len(run.steps),
        "calls": len(run.calls),
        "prompt_tokens": sum(each["prompt_tokens"] for each in booked) if outcome else None,
        "output_tokens": written if outcome else None,
        "large_share": by_large / written if written else None,
        "cost": sum(each["cost"] for each in booked) if outcome else None,
        "question": run.question,
        "gold": run.task.answer,
        "answer": outcome.answer if outcome else None,
    }


def _steps(run: RunRecord) -> Iterator[dict[str, Any]]:
    for each in run.steps:
        values = each.model_dump()
        yield values | {"run": run.id, "written_by_run": each.run, "output_tokens": each.num_tokens}


def _calls(run: RunRecord) -> Iterator[dict[str, Any]]:
    for each in run.calls:
        values = each.model_dump(exclude={"ids", "logprobs"})
        yield values | {
            "run": run.id,
            "is_bound": each.uncertain,
            "drafted_tokens": each.drafted,
            "accepted_tokens": each.accepted,
            "error": each.error or None,
        }


def _decisions(run: RunRecord) -> Iterator[dict[str, Any]]:
    for each in run.decisions:
        values = each.model_dump(exclude={"detail"})
        yield values | {"run": run.id, "score": each.score, "alternatives": ",".join(each.alternatives)}


def _signals(run: RunRecord) -> Iterator[dict[str, Any]]:
    for each in run.signals:
        yield each.model_dump() | {"run": run.id}


_ROWS = {"runs": _run, "steps": _steps, "calls": _calls, "decisions": _decisions, "signals": _signals}
