"""The tables of runs as files of a folder, Parquet or CSV, written while the runs are read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from csv import DictWriter
from itertools import islice
from pathlib import Path
from typing import Any

from orchestrator.errors import UserError
from orchestrator.traces.frames import TABLES, columns, rows
from orchestrator.traces.record import RunRecord

__all__ = ["write_tables"]

_RUNS_AT_ONCE = 500

Put = Callable[[list[dict[str, Any]]], object]


def write_tables(folder: Path, runs: Iterable[RunRecord], kind: str, *, content: bool = False) -> None:
    """Write every one of TABLES as `folder/TABLE.KIND`; KIND is `parquet` or `csv`, and `folder` exists and is empty.

    Raises UserError for Parquet without pyarrow.
    """
    opened = _parquet if kind == "parquet" else _csv
    left = iter(runs)
    with ExitStack() as stack:
        puts = {
            table: stack.enter_context(opened(folder / f"{table}.{kind}", table, columns(table, content=content)))
            for table in TABLES
        }
        while some := list(islice(left, _RUNS_AT_ONCE)):
            for table, put in puts.items():
                put([row for run in some for row in rows(run, table, content=content)])


@contextmanager
def _csv(path: Path, table: str, names: list[str]) -> Iterator[Put]:
    """A missing value is an empty field; true and false are words."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = DictWriter(file, names, extrasaction="ignore")
        writer.writeheader()
        yield writer.writerows


@contextmanager
def _parquet(path: Path, table: str, names: list[str]) -> Iterator[Put]:
    try:
        import pyarrow
        from pyarrow.parquet import ParquetWriter
    except ImportError:
        raise UserError("Parquet needs pyarrow: pip install 'reasoning-orchestrator[frames]'") from None
    types = {str: pyarrow.string(), int: pyarrow.int64(), float: pyarrow.float64(), bool: pyarrow.bool_()}
    schema = pyarrow.schema([(name, types[TABLES[table][name]]) for name in names])
    with ParquetWriter(path, schema) as writer:
        yield lambda some: writer.write_table(
            pyarrow.Table.from_pylist([{name: row[name] for name in names} for row in some], schema)
        )
