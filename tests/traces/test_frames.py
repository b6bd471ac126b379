"""Runs as tables: what is in them, of which types, and as files."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import orchestrator as orc
from orchestrator.cli.app import app
from orchestrator.errors import UserError
from orchestrator.traces.frames import CONTENT, TABLES, rows
from orchestrator.traces.record import RunRecord


def call(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(each) for each in arguments], prog_name="orchestrator")


@pytest.mark.parametrize("table", TABLES)
def test_every_row_has_every_column_and_values_of_its_type(runs: dict[str, RunRecord], table: str) -> None:
    types = TABLES[table]
    for run in runs.values():
        for row in rows(run, table, content=True):
            assert set(types) <= set(row)
            for name, kind in types.items():
                held = row[name]
                assert held is None or isinstance(held, (int, float) if kind is float else kind), (name, held)


def test_a_run_is_told_in_a_row(runs: dict[str, RunRecord]) -> None:
    (one,) = rows(runs["one"], "runs", content=True)
    assert (one["run"], one["status"], one["answer"], one["question"]) == ("one", "completed", "2", "What is 1+1?")
    assert one["output_tokens"] == sum(each.output_tokens or 0 for each in runs["one"].calls)
    assert 0 < one["large_share"] < 1
    (three,) = rows(runs["three"], "runs")
    assert (three["status"], three["output_tokens"], three["large_share"], three["cost"]) == (None,) * 4


@pytest.mark.parametrize("table", TABLES)
def test_texts_are_in_it_only_with_content(runs: dict[str, RunRecord], table: str) -> None:
    for row in rows(runs["one"], table):
        assert all(row[name] is None for name in CONTENT & set(row))


def test_a_decision_has_its_score(runs: dict[str, RunRecord]) -> None:
    (rewrite,) = (row for row in rows(runs["one"], "decisions") if row["action"] == "rewrite")
    assert (rewrite["score"], rewrite["threshold"], rewrite["margin"]) == (2.0, 7.0, -5.0)
    assert rewrite["alternatives"] == "keep,rollback"


def test_a_frame_is_typed_and_a_missing_value_is_missing(runs: dict[str, RunRecord], db: Path) -> None:
    pandas = pytest.importorskip("pandas")
    calls = orc.traces.frame(orc.traces.read(db), "calls")
    assert {str(calls[name].dtype) for name in ("seconds", "started_s")} == {"Float64"}
    assert str(calls["output_tokens"].dtype) == "Int64" and "text" not in calls
    assert calls["output_tokens"].isna().sum() == 1  # that of the run that never ended
    whole = orc.traces.frame(list(runs.values()), content=True)
    assert list(whole["run"])[:1] == ["one"] and whole["answer"][0] == "2" and pandas.isna(whole["large_share"][3])
    assert len(orc.traces.frame([], "steps")) == 0


def test_an_unknown_table_names_those_there_are(runs: dict[str, RunRecord]) -> None:
    with pytest.raises(UserError, match="no table 'steps2': choose one of runs, steps, calls, decisions, signals"):
        orc.traces.frame([], "steps2")


def test_parquet_files_have_the_columns_and_their_types(runs: dict[str, RunRecord], db: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    out = tmp_path / "tables"
    done = call("trace", "export", "--all", "--format", "parquet", "--out", out, "--db", db)
    assert (done.exit_code, done.output) == (0, f"4 runs in {out}\n")
    assert sorted(path.name for path in out.iterdir()) == sorted(f"{table}.parquet" for table in TABLES)
    read = parquet.read_table(out / "decisions.parquet")
    assert [str(field.type) for field in read.schema][:4] == ["string", "int64", "int64", "string"]
    assert read.num_rows == sum(len(run.decisions) for run in runs.values())
    assert not CONTENT & set(parquet.read_table(out / "calls.parquet").column_names)


def test_csv_files_need_no_library(runs: dict[str, RunRecord], db: Path, tmp_path: Path) -> None:
    out = tmp_path / "tables"
    assert call("trace", "export", "--all", "--content", "--format", "csv", "--out", out, "--db", db).exit_code == 0
    with (out / "steps.csv").open(newline="") as file:
        read = list(csv.DictReader(file))
    assert [row["text"] for row in read if row["run"] == "one"] == [step.text for step in runs["one"].steps]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "inspect", "otel"])
def test_what_is_there_is_never_replaced_and_a_failure_leaves_nothing(db: Path, tmp_path: Path, kind: str) -> None:
    out = tmp_path / "there"
    out.write_text("precious")
    done = call("trace", "export", "--all", "--format", kind, "--out", out, "--db", db)
    assert (done.exit_code, done.stderr) == (2, f"error: {out} exists: choose another file\n")
    assert out.read_text() == "precious"
    done = call("trace", "export", "one", "nobody", "--format", kind, "--out", tmp_path / "new", "--db", db)
    assert done.exit_code == 2 and "no run 'nobody'" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    done = call("trace", "export", "one", "--format", kind, "--out", tmp_path / "no" / "new", "--db", db)
    assert (done.exit_code, done.stderr) == (
        2,
        f"error: {tmp_path}/no/new cannot be written: No such file or directory\n",
    )


def test_tables_need_a_folder(db: Path) -> None:
    done = call("trace", "export", "--all", "--format", "csv", "--db", db)
    assert (done.exit_code, done.stderr) == (2, "error: csv is several tables: give --out FOLDER, a new one\n")
