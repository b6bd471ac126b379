"""Spans as OTLP in JSON: what a file of a collector holds, one request a line."""

from __future__ import annotations

from typing import Any

from orchestrator.traces.otel import AGENT, SERVICE, Span

__all__ = ["otlp_json"]

_INTERNAL, _CLIENT, _ERROR = 1, 3, 2


def otlp_json(made: list[Span]) -> dict[str, Any]:
    """Return spans as a request of OTLP/HTTP in JSON, one line of an OTLP file."""
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": _attributes({"service.name": SERVICE})},
                "scopeSpans": [{"scope": {"name": AGENT}, "spans": [_span(each) for each in made]}],
            }
        ]
    }


def _span(span: Span) -> dict[str, Any]:
    return {
        "traceId": span.trace_id,
        "spanId": span.span_id,
        "parentSpanId": span.parent_id,
        "name": span.name,
        "kind": _CLIENT if span.is_client else _INTERNAL,
        "startTimeUnixNano": str(span.start_ns),
        "endTimeUnixNano": str(span.end_ns),
        "attributes": _attributes(span.attributes),
        "events": [
            {"name": each.name, "timeUnixNano": str(each.at_ns), "attributes": _attributes(each.attributes)}
            for each in span.moments
        ],
        "status": {} if span.error is None else {"code": _ERROR, "message": span.error},
    }


def _attributes(attributes: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": name, "value": _value(value)} for name, value in attributes.items()]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [_value(each) for each in value]}}
    return {"stringValue": str(value)}
