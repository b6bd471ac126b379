"""How each record lies in its table: which fields are texts, and the statements that write and read it."""

from __future__ import annotations

from typing import Any, NamedTuple

from orchestrator.memory.base import (
    CallIntent,
    CallResult,
    DecisionRow,
    EventRow,
    OutcomeRow,
    RunRow,
    SignalRow,
    StepRow,
)

__all__ = ["LAYOUTS", "RUNS", "TABLES", "TEXT_COLUMNS", "Layout"]


class Layout(NamedTuple):
    """The place of one type of record."""

    record: type[Any]
    table: str
    texts: tuple[int, ...]
    """Places of the fields that are kept in `texts`."""
    numbered: bool
    """The table has a column `n` behind the record's own: the row's place in its run."""
    insert: str
    select: str
    """Reads the rows of one run, in the order they were written."""


def _layout(record: type[Any], table: str, *texts: str, order: str = "n", key: str = "run") -> Layout:
    fields: tuple[str, ...] = record._fields
    columns = (*fields, order) if order == "n" else fields
    return Layout(
        record,
        table,
        tuple(fields.index(name) for name in texts),
        order == "n",
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",
        f"SELECT {', '.join(fields)} FROM {table} WHERE {key} = ? ORDER BY {order}",
    )


_RUNS = _layout(RunRow, "runs", "batch", "task", "settings", "engines", order="key", key="key")
_KEY = "1 + max((SELECT ifnull(max(key), 0) FROM runs), (SELECT ifnull(max(number), 0) FROM prunings))"
RUNS = _RUNS._replace(insert=_RUNS.insert.replace("(", "(key, ", 1).replace("(?", f"({_KEY}, ?", 1))
"""A run's number is never given again: a pruning has a number that is higher than those of the runs it takes."""
_LAYOUTS = (
    _layout(CallIntent, "intents", "purpose", "engine", order="seq"),
    _layout(CallResult, "results", "status", "text", "stop", "stop_text", "error", "logprobs", order="seq"),
    _layout(SignalRow, "signals", "name", "unit", "reason"),
    _layout(DecisionRow, "decisions", "door", "action", "engine", "reason", "alternatives", "policy", "detail"),
    _layout(StepRow, "steps", "kind", "writer", "text", "stop"),
    _layout(EventRow, "events", "kind", "detail"),
    _layout(OutcomeRow, "outcomes", "status", "answer", "error", "reason", "ledger"),
)

LAYOUTS: dict[type[Any], Layout] = {layout.record: layout for layout in _LAYOUTS}
"""Every record a run writes while it goes on, by its type."""

TABLES = ("runs", *(layout.table for layout in _LAYOUTS), "states", "rewards", "texts")
"""Tables that only a pruning takes anything from."""

TEXT_COLUMNS = (
    *((layout.table, layout.record._fields[place]) for layout in (RUNS, *_LAYOUTS) for place in layout.texts),
    ("states", "policy"),
)
"""Every table and column that holds numbers of texts."""
