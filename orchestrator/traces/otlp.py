"""Spans sent to a receiver of OpenTelemetry by OTLP/HTTP, with its own library."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from os import environ
from typing import TYPE_CHECKING, Any

from orchestrator.errors import UserError
from orchestrator.traces.otel import AGENT, SERVICE, Span, spans
from orchestrator.traces.record import RunRecord
from orchestrator.traces.redact import Redactor

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

__all__ = ["send"]

_PATH = "/v1/traces"
_SPANS_AT_ONCE = 2000


def send(runs: Iterable[RunRecord], endpoint: str | None = None, *, content: bool = False) -> int:
    """Send runs, one trace each, and return their number.

    `endpoint` is the address of a receiver such as `http://127.0.0.1:4318`, `/v1/traces` behind it or not; without one
    it is that of the variable OTEL_EXPORTER_OTLP_ENDPOINT. Headers, certificates and the time limit are those of the
    other OTEL_EXPORTER_OTLP_ variables. Raises UserError if none is named, without the library, or if the receiver does
    not take the spans; those of earlier runs are there by then, and have the same ids when they are sent again.
    """
    where = _receiver(endpoint)
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError:
        raise UserError(
            "sending spans needs OpenTelemetry: pip install 'reasoning-orchestrator[otel]', or write them to --out FILE"
        ) from None
    told = _Told(Redactor().text(where))
    exporter = OTLPSpanExporter(endpoint=where)
    told.give_up = exporter.shutdown
    made = _Library()
    waiting: list[ReadableSpan] = []
    number = 0
    with told:
        try:
            for run in runs:
                waiting += map(made.span, spans(run, content=content))
                number += 1
                if len(waiting) >= _SPANS_AT_ONCE:
                    _put(exporter, waiting, told)
                    waiting = []
            _put(exporter, waiting, told)
        finally:
            exporter.shutdown()
    return number


def _receiver(endpoint: str | None) -> str:
    """Return the whole address that spans are posted to."""
    base = endpoint or environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    whole = environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") if endpoint is None else None
    if not (where := whole or base):
        raise UserError(
            "where to? give --endpoint http://127.0.0.1:4318, set OTEL_EXPORTER_OTLP_ENDPOINT, or --out FILE"
        )
    if not where.startswith(("http://", "https://")):
        raise UserError(f"{where!r:.60} is no address of a receiver: write it like http://127.0.0.1:4318")
    where = where.rstrip("/")
    return where if whole or where.endswith(_PATH) else where + _PATH


def _put(exporter: Any, waiting: list[ReadableSpan], told: _Told) -> None:
    if waiting and exporter.export(waiting).name != "SUCCESS":
        if told.is_out_of_reach:
            raise UserError(f"{told.where} cannot be reached: is a receiver there?")
        said = Redactor().text(told.last.rstrip(".") or "no reason given")
        raise UserError(f"{told.where} did not take the spans: {said}; is a receiver there?")


class _Told(logging.Handler):
    """Keeps what the library logs, the reason of a failure among it, from the terminal.

    Where there is no connection, the library would try for ten seconds: it is told to give up.
    """

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where
        self.is_out_of_reach = False
        self.give_up: Callable[[], None] = lambda: None
        self.last = ""
        self._logger = logging.getLogger("opentelemetry")
        self._propagates = self._logger.propagate

    def emit(self, record: logging.LogRecord) -> None:
        if self.is_out_of_reach:
            return
        self.last = record.getMessage()
        arguments = record.args if isinstance(record.args, tuple) else ()
        if record.levelno == logging.WARNING and any(isinstance(each, OSError) for each in arguments):
            self.is_out_of_reach = True
            self.give_up()

    def __enter__(self) -> _Told:
        self._logger.addHandler(self)
        self._logger.propagate = False
        return self

    def __exit__(self, *exc: Any) -> None:
        self._logger.removeHandler(self)
        self._logger.propagate = self._propagates


class _Library:
    """Makes the library's spans of ours."""

    def __init__(self) -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope

        self.resource = Resource.create({} if environ.get("OTEL_SERVICE_NAME") else {"service.name": SERVICE})
        self.scope = InstrumentationScope(AGENT)

    def span(self, span: Span) -> ReadableSpan:
        from opentelemetry.sdk.trace import Event, ReadableSpan
        from opentelemetry.trace import SpanKind, Status, StatusCode

        return ReadableSpan(
            span.name,
            context=self._context(span.trace_id, span.span_id),
            parent=self._context(span.trace_id, span.parent_id) if span.parent_id else None,
            resource=self.resource,
            attributes=span.attributes,
            events=[Event(each.name, each.attributes, each.at_ns) for each in span.moments],
            kind=SpanKind.CLIENT if span.is_client else SpanKind.INTERNAL,
            status=Status(StatusCode.UNSET) if span.error is None else Status(StatusCode.ERROR, span.error),
            start_time=span.start_ns,
            end_time=span.end_ns,
            instrumentation_scope=self.scope,
        )

    def _context(self, trace_id: str, span_id: str) -> Any:
        from opentelemetry.trace import SpanContext, TraceFlags

        return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=False, trace_flags=TraceFlags(1))
