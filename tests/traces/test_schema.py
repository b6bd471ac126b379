"""docs/traces.md is the schema of what is exported: it names every field, column and attribute, and no other."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import orchestrator as orc
from orchestrator.runtime.marks import BAND
from orchestrator.traces import otel, record
from orchestrator.traces.frames import TABLES
from orchestrator.traces.otel import Span, spans
from orchestrator.traces.record import RunRecord

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/traces.md").read_text()
RECORDS = ("RunRecord", "Task", "Step", "Written", "Call", "Signal", "Decision", "Event", "Outcome")
NAME = re.compile(r"(?:gen_ai|orchestrator|server|error)\.[a-z_.]+[a-z]")


def section(title: str) -> str:
    return re.split(r"^#+ ", PAGE.partition(f"# {title}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def row(title: str, name: str) -> str:
    (found,) = re.findall(rf"^\| {re.escape(name)} \|(.*)$", section(title), re.MULTILINE)
    return str(found)


def names(title: str, span: str) -> set[str]:
    return set(NAME.findall(row(title, span)))


@pytest.mark.parametrize("name", RECORDS)
def test_every_field_of_a_record_has_its_row_in_order(name: str) -> None:
    fields = re.findall(r"^\| `(\w+)` \|", section(name), re.MULTILINE)
    assert fields == list(getattr(record, name).model_fields)


def test_every_kind_of_record_is_described() -> None:
    made = {name for name in record.__all__ if isinstance(getattr(record, name), type)}
    assert made == set(RECORDS)
    assert f"schema version {RunRecord.model_fields['schema_version'].default}" in PAGE


def test_attempts_that_lie_in_bands_are_explained() -> None:
    for said in (PAGE, record.__doc__ or ""):
        assert f"plus a multiple of {BAND}" in said and f"`attempt % {BAND}`" in said
    assert f"of two engines, {2 * BAND} is by the second one" in PAGE


def test_only_ids_that_are_not_derived_are_said_to_sort() -> None:
    assert "derived" in row("RunRecord", "`id`")


@pytest.mark.parametrize("table", TABLES)
def test_every_column_of_a_table_is_named_in_order(table: str) -> None:
    assert re.findall(r"`(\w+)`", row("Tables", f"`{table}`")) == list(TABLES[table])


def test_every_attribute_of_a_span_is_named_under_its_span(runs: dict[str, RunRecord]) -> None:
    told = {
        kind: names("OpenTelemetry", title)
        for kind, title in (
            ("run", "run"),
            ("happened", "its events `orchestrator.event.KIND`"),
            ("step", "step"),
            ("measured", "its events `gen_ai.evaluation.result`"),
            ("call", "call"),
            ("tool", "call of a tool"),
            ("decision", "decision"),
        )
    }
    told["tool"] |= {name for name in told["call"] if name.startswith("orchestrator.")} - {"orchestrator.call.engine"}
    met: set[str] = set()
    for run in runs.values():
        for span in spans(run, content=True):
            assert set(span.attributes) <= told[kind_of(span)], span.name
            for moment in span.moments:
                assert set(moment.attributes) <= told["happened" if kind_of(span) == "run" else "measured"], moment.name
                met |= set(moment.attributes)
            met |= set(span.attributes)
    assert {"orchestrator.route.threshold", "gen_ai.tool.call.result", "orchestrator.event.reason"} <= met


def test_no_attribute_is_named_that_the_code_does_not_write() -> None:
    texts = [
        node.value
        for node in ast.walk(ast.parse(Path(otel.__file__).read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and NAME.fullmatch(node.value)
    ]
    sampled = {f"gen_ai.request.{name}" for name in ("temperature", "top_p", "top_k")}
    told = set(NAME.findall("".join(re.findall(r"`[^`]*`", section("OpenTelemetry")))))
    assert told - {"orchestrator.event"} == set(texts) | sampled


def kind_of(span: Span) -> str:
    first = span.name.partition(" ")[0]
    return {"invoke_agent": "run", "step": "step", "execute_tool": "tool", "route": "decision"}.get(first, "call")


def test_what_the_page_says_a_run_has_it_has_and_nothing_is_left_out() -> None:
    said = set(re.findall(r"`(\w+)(?:\(\w*\))?`", section("In Python").rpartition("```")[2]))
    public = {name for name in dir(orc.traces.Run) if not name.startswith("_")} - {"drawn", "forked_from"}
    assert public <= said, public - said
