"""Runs as OpenTelemetry spans: their shape, their names, and what a receiver gets."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from click.testing import CliRunner

from orchestrator.cli.app import app
from orchestrator.errors import UserError
from orchestrator.traces.otel import Span, spans
from orchestrator.traces.otlp import send
from orchestrator.traces.record import RunRecord

ROUTE = "orchestrator.route."


def named(made: list[Span], name: str) -> list[Span]:
    return [span for span in made if span.name == name]


def test_a_run_is_one_trace_whose_spans_have_their_parents_and_lie_within_them(runs: dict[str, RunRecord]) -> None:
    for run in runs.values():
        made = spans(run)
        by_id = {span.span_id: span for span in made}
        assert len(by_id) == len(made)
        assert len({span.trace_id for span in made}) == 1
        assert [span.name for span in made if not span.parent_id] == ["invoke_agent orchestrator"]
        for span in made[1:]:
            parent = by_id[span.parent_id]
            assert parent.start_ns <= span.start_ns <= span.end_ns <= parent.end_ns, span


def test_ids_follow_from_the_run_alone_and_differ_between_runs(runs: dict[str, RunRecord]) -> None:
    one, two = runs["one"], runs["two"]
    assert spans(one) == spans(one)
    assert [span.span_id for span in spans(one)] == [span.span_id for span in spans(one, content=True)]
    assert not {span.span_id for span in spans(one)} & {span.span_id for span in spans(two)}
    assert [len(spans(one)[0].trace_id), len(spans(one)[0].span_id)] == [32, 16]


def test_a_decision_says_why_in_names_of_its_own(runs: dict[str, RunRecord]) -> None:
    (rewrite,) = named(spans(runs["one"]), "route rewrite")
    told = {name.removeprefix(ROUTE): value for name, value in rewrite.attributes.items() if name.startswith(ROUTE)}
    assert told.pop("policy").endswith("Reads")
    assert told == {
        "policy_version": "0.1.0",
        "door": "after_draft",
        "action": "rewrite",
        "candidates": ["small", "large"],
        "alternatives": ["keep", "rollback"],
        "selected": "large",
        "score": 2.0,
        "threshold": 7.0,
        "margin": -5.0,
        "reason": "bad",
        "attempt": 0,
    }
    kept = named(spans(runs["one"]), "route keep")
    assert {span.attributes[ROUTE + "selected"] for span in kept} == {"small"}


def test_calls_have_the_names_of_the_conventions(runs: dict[str, RunRecord]) -> None:
    first, *_ = named(spans(runs["one"]), "text_completion scripted")
    call = runs["one"].calls[0]
    assert first.is_client
    assert {name: value for name, value in first.attributes.items() if name.startswith("gen_ai.")} == {
        "gen_ai.operation.name": "text_completion",
        "gen_ai.provider.name": "scripted",
        "gen_ai.request.model": "scripted",
        "gen_ai.request.max_tokens": call.max_tokens,
        "gen_ai.request.seed": call.seed,
        "gen_ai.request.temperature": 0.6,
        "gen_ai.request.top_p": 0.95,
        "gen_ai.request.top_k": 0,
        "gen_ai.usage.input_tokens": call.prompt_tokens,
        "gen_ai.usage.output_tokens": call.output_tokens,
        "gen_ai.response.finish_reasons": ["stop"],
    }
    (tool,) = named(spans(runs["one"]), "execute_tool look")
    assert (tool.attributes["gen_ai.tool.name"], tool.is_client) == ("look", False)
    (root,) = named(spans(runs["one"]), "invoke_agent orchestrator")
    assert root.attributes["gen_ai.usage.output_tokens"] == sum(call.output_tokens or 0 for call in runs["one"].calls)
    assert root.attributes["orchestrator.route.cost"] == 0.0


def test_what_failed_is_an_error_and_what_never_ended_is_unfinished(runs: dict[str, RunRecord]) -> None:
    root, *rest = spans(runs["two"])
    assert root.error and root.attributes["error.type"] == "failed"
    assert {span.attributes["error.type"] for span in rest if span.error} == {"failed"}
    root, _, call = spans(runs["three"])
    assert root.attributes["orchestrator.run.status"] == call.attributes["orchestrator.call.status"] == "unfinished"


def test_texts_are_in_it_only_with_content(runs: dict[str, RunRecord]) -> None:
    without, whole = (
        json.dumps([span._asdict() for span in spans(runs["one"], content=each)]) for each in (False, True)
    )
    for text in ("What is 1+1?", "Bad idea.", "Better.", "a pen", "boxed"):
        assert text not in without
        assert text in whole


# ---- as a receiver gets them


class Receiver:
    """Takes spans as a collector does, and keeps their requests."""

    def __init__(self) -> None:
        self.taken: list[Any] = []
        self.status = 200
        self.headers: list[Any] = []

    async def take(self, request: web.Request) -> web.Response:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
            ExportTraceServiceRequest,
            ExportTraceServiceResponse,
        )

        body = await request.read()
        body = gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
        self.taken.append(ExportTraceServiceRequest.FromString(body))
        self.headers.append(request.headers)
        return web.Response(
            status=self.status,
            body=ExportTraceServiceResponse().SerializeToString(),
            content_type="application/x-protobuf",
        )

    def spans(self) -> list[Any]:
        return [
            span
            for taken in self.taken
            for resource in taken.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


@pytest.fixture
async def receiver() -> AsyncIterator[tuple[Receiver, str]]:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    receiver = Receiver()
    served = web.Application()
    served.router.add_post("/v1/traces", receiver.take)
    async with TestServer(served) as server:
        yield receiver, str(server.make_url("")).rstrip("/")


def call(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(each) for each in arguments], prog_name="orchestrator")


async def test_a_receiver_gets_every_span_as_it_was_made(
    receiver: tuple[Receiver, str], runs: dict[str, RunRecord], db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taker, address = receiver
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-team=routing")
    done = await asyncio.to_thread(
        call, "trace", "export", "--all", "--format", "otel", "--endpoint", address, "--db", db
    )
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "4 runs sent\n")
    made = [span for run in runs.values() for span in spans(run)]
    got = taker.spans()
    assert [(each.trace_id.hex(), each.span_id.hex(), each.parent_span_id.hex(), each.name) for each in got] == [
        (each.trace_id, each.span_id, each.parent_id, each.name) for each in made
    ]
    assert [(each.start_time_unix_nano, each.end_time_unix_nano) for each in got] == [
        (each.start_ns, each.end_ns) for each in made
    ]
    assert [len(each.attributes) for each in got] == [len(each.attributes) for each in made]
    assert [each.status.message for each in got] == [each.error or "" for each in made]
    service = {each.key: each.value.string_value for each in taker.taken[0].resource_spans[0].resource.attributes}
    assert service["service.name"] == "reasoning-orchestrator"
    assert taker.headers[0]["x-team"] == "routing"


async def test_the_variable_says_where_to_if_nothing_else_does(
    receiver: tuple[Receiver, str], runs: dict[str, RunRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    taker, address = receiver
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
    assert await asyncio.to_thread(send, [runs["two"]]) == 1
    assert len(taker.spans()) == len(spans(runs["two"]))


async def test_a_receiver_that_refuses_is_one_line(receiver: tuple[Receiver, str], db: Path) -> None:
    taker, address = receiver
    taker.status = 400
    done = await asyncio.to_thread(
        call, "trace", "export", "two", "--format", "otel", "--endpoint", f"{address}/v1/traces", "--db", db
    )
    assert done.exit_code == 2
    assert done.stderr.startswith(f"error: {address}/v1/traces did not take the spans: ")
    assert done.stderr.count("\n") == 1


def test_where_nothing_answers_is_one_line_at_once(db: Path) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    with socket.create_server(("127.0.0.1", 0)) as gone:
        address = f"http://127.0.0.1:{gone.getsockname()[1]}"
    begun_s = time.monotonic()
    done = call("trace", "export", "two", "--format", "otel", "--endpoint", address, "--db", db)
    assert time.monotonic() - begun_s < 5
    assert done.exit_code == 2
    assert done.stderr == f"error: {address}/v1/traces cannot be reached: is a receiver there?\n"


def test_without_a_place_nothing_is_sent(
    runs: dict[str, RunRecord], monkeypatch: pytest.MonkeyPatch, db: Path, tmp_path: Path
) -> None:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match="where to"):
        send(list(runs.values()))
    with pytest.raises(UserError, match=r"'127\.0\.0\.1:4318' is no address of a receiver: write it like http://"):
        send(list(runs.values()), "127.0.0.1:4318")
    done = call("trace", "export", "two", "--endpoint", "http://127.0.0.1:1", "--db", db)
    assert done.stderr == "error: --endpoint is where --format otel is sent; leave it away, or --out\n"


def test_a_file_holds_what_a_receiver_would_get_in_otlps_own_json(
    runs: dict[str, RunRecord], db: Path, tmp_path: Path
) -> None:
    out = tmp_path / "spans.jsonl"
    assert call("trace", "export", "one", "two", "--format", "otel", "--out", out, "--db", db).exit_code == 0
    one, two = map(json.loads, out.read_text().splitlines())
    (resource,) = one["resourceSpans"]
    assert resource["resource"]["attributes"] == [
        {"key": "service.name", "value": {"stringValue": "reasoning-orchestrator"}}
    ]
    (scope,) = resource["scopeSpans"]
    made = spans(runs["one"])
    assert [each["spanId"] for each in scope["spans"]] == [span.span_id for span in made]
    root = scope["spans"][0]
    assert (root["kind"], root["parentSpanId"], root["status"]) == (1, "", {})
    assert root["startTimeUnixNano"] == str(made[0].start_ns)
    values = {each["key"]: each["value"] for each in root["attributes"]}
    assert values["orchestrator.run.id"] == {"stringValue": "one"}
    assert values["orchestrator.run.position"] == {"intValue": "0"}
    assert values["orchestrator.route.cost"] == {"doubleValue": 0.0}
    assert values["orchestrator.route.candidates"] == {
        "arrayValue": {"values": [{"stringValue": "small"}, {"stringValue": "large"}]}
    }
    assert two["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["status"]["code"] == 2
