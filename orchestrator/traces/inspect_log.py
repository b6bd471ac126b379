"""Runs as a log that Inspect (inspect-ai) reads: one evaluation, one sample per run.

A sample's events are the run's: a span per step, in it a model event per call of an engine, a tool event per call of a
tool, and an info event of the source `orchestrator.route` per decision; what monitors noticed is info of the source
`orchestrator.event`. Roles are the names of the engines. There are no scores: `inspect score` gives them where content
is exported. Without content every message, target and output is WITHHELD.

Source: Inspect's log format, version 2, in JSON (`read_eval_log` of inspect-ai 0.3); the library itself is not needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import chain
from json import dumps
from operator import itemgetter
from typing import Any

from orchestrator.traces.record import Call, Decision, RunRecord

__all__ = ["WITHHELD", "pieces"]

WITHHELD = "[content not exported]"

_STOPS = {"length": "max_tokens"}


def pieces(runs: Iterable[RunRecord], *, content: bool = False) -> Iterator[str]:
    """Yield the text of a log, a piece per run, so that memory holds one; a log of no runs has no samples."""
    left = iter(runs)
    first = next(left, None)
    yield _head(first)
    number = 0
    for number, run in enumerate(chain([] if first is None else [first], left), 1):
        yield ("," if number > 1 else "") + dumps(_sample(run, content=content), separators=(",", ":"))
    yield f'],"results":{{"total_samples":{number},"completed_samples":{number}}}}}\n'


def _head(first: RunRecord | None) -> str:
    """Return all that Inspect wants before the samples, so that it can list logs without reading them."""
    name = first.id if first else "none"
    begun = _time(first.created_s if first else 0.0)
    engines = [str(can.get("model", engine)) for engine, can in first.engines.items()] if first else []
    head = {
        "version": 2,
        "status": "success",
        "eval": {
            "eval_id": name,
            "run_id": name,
            "task_id": name,
            "created": begun,
            "task": "orchestrator",
            "dataset": {"name": first.batch if first else ""},
            "model": " + ".join(engines) or "none",
            "config": {},
        },
        "plan": {"name": first.router if first else "none", "steps": [], "config": {}},
        "stats": {"started_at": begun},
    }
    return f'{dumps(head)[:-1]}, "samples": ['


def _sample(run: RunRecord, *, content: bool) -> dict[str, Any]:
    outcome = run.outcome
    asked = [_message(role, text if content else WITHHELD) for role, text in run.task.messages]
    written = "".join(step.text for step in run.steps) if content else WITHHELD
    largest = list(run.engines)[-1]
    end_s = outcome.finished_s if outcome else max([run.created_s, *(call.started_s for call in run.calls)])
    sample = {
        "id": run.id,
        "epoch": 1,
        "input": asked,
        "target": (run.task.answer or "") if content else WITHHELD,
        "messages": [*asked, _message("assistant", written)],
        "output": _output(_name(run, largest), written, "stop"),
        "metadata": _metadata(run, content=content),
        "events": _events(run, content=content),
        "model_usage": _usages(run),
        "started_at": _time(run.created_s),
        "completed_at": _time(end_s),
        "total_time": outcome.seconds if outcome else None,
        "uuid": run.id,
    }
    if outcome and outcome.status == "failed":
        sample["error"] = {"message": outcome.error or outcome.reason, "traceback": "", "traceback_ansi": ""}
    return sample


def _metadata(run: RunRecord, *, content: bool) -> dict[str, Any]:
    outcome = run.outcome
    return {
        "run": run.id,
        "parent": run.parent,
        "task": run.task.id,
        "batch": run.batch,
        "position": run.position,
        "router": run.router,
        "status": outcome.status if outcome else "unfinished",
        "reason": outcome.reason if outcome else "",
        "answer": outcome.answer if outcome and content else None,
        "steps": len(run.steps),
        "ledger": outcome.ledger if outcome else [],
    }


def _events(run: RunRecord, *, content: bool) -> list[dict[str, Any]]:
    """Return what happened, step by step; a decision has no time of its own and stands behind its attempt's calls."""
    found: list[dict[str, Any]] = []
    at_s = run.created_s
    by_step: dict[int, tuple[list[Call], list[Decision]]] = {}
    for call in run.calls:
        by_step.setdefault(call.step, ([], []))[0].append(call)
    for decision in run.decisions:
        by_step.setdefault(decision.step, ([], []))[1].append(decision)
    for step, (calls, told) in sorted(by_step.items()):
        begun_s = min((call.started_s for call in calls), default=at_s)
        span = f"{run.id}-{step}"
        found.append(_event(run, "span_begin", begun_s, span, id=span, name=f"step {step}", type="step"))
        done_s = {call.attempt: call.started_s + (call.seconds or 0.0) for call in calls}
        parts: list[tuple[tuple[int, int], dict[str, Any]]] = [
            ((call.attempt, 0), _called(run, call, span, content=content)) for call in calls
        ]
        parts += [((each.attempt, 1), _decided(run, each, span, done_s.get(each.attempt, begun_s))) for each in told]
        found += [event for _, event in sorted(parts, key=itemgetter(0))]
        at_s = max([begun_s, *done_s.values()])
        found.append(_event(run, "span_end", at_s, span, id=span))
    for event in run.events:
        data = {"step": event.step, "kind": event.kind, "reason": event.detail.get("reason")}
        found.append(_event(run, "info", event.at_s, None, source="orchestrator.event", data=data))
    return found


def _decided(run: RunRecord, decision: Decision, span: str, at_s: float) -> dict[str, Any]:
    data = decision.model_dump(exclude={"detail"}) | {"score": decision.score}
    return _event(run, "info", at_s, span, source="orchestrator.route", data=data)


def _called(run: RunRecord, call: Call, span: str, *, content: bool) -> dict[str, Any]:
    text = (call.text or "") if content else WITHHELD
    about = {"purpose": call.purpose, "attempt": call.attempt, "seq": call.seq, "status": call.status or "unfinished"}
    ended = {
        "completed": _time(call.started_s + (call.seconds or 0.0)),
        "working_time": call.seconds,
        "metadata": about,
    }
    if call.purpose == "tool":
        given = {"id": f"{run.id}-{call.seq}", "function": call.engine, "arguments": {}, "result": text}
        return _event(run, "tool", call.started_s, span, **given, **ended, failed=call.status == "failed")
    return _event(
        run,
        "model",
        call.started_s,
        span,
        model=_name(run, call.engine),
        role=call.engine,
        input=[],
        tools=[],
        tool_choice="none",
        config={"max_tokens": call.max_tokens, "seed": call.seed},
        output=_output(_name(run, call.engine), text, _STOPS.get(call.stop or "", "stop")) | {"usage": _usage(call)},
        error=call.error or None,
        **ended,
    )


def _event(run: RunRecord, kind: str, at_s: float, span: str | None, **fields: Any) -> dict[str, Any]:
    return {
        "event": kind,
        "timestamp": _time(at_s),
        "working_start": max(at_s - run.created_s, 0.0),
        "span_id": span,
        **fields,
    }


def _name(run: RunRecord, engine: str) -> str:
    return str(run.engines.get(engine, {}).get("model", engine))


def _message(role: str, text: str) -> dict[str, Any]:
    """Return a chat message; an answer of a tool in a task is told as a user's, for Inspect wants its call."""
    return {"role": "user" if role == "tool" else role, "content": text}


def _output(name: str, text: str, stop: str) -> dict[str, Any]:
    return {"model": name, "choices": [{"message": _message("assistant", text), "stop_reason": stop}]}


def _usages(run: RunRecord) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for call in run.calls:
        if call.purpose != "tool":
            sums = found.setdefault(_name(run, call.engine), {})
            for name, number in _usage(call).items():
                sums[name] = sums.get(name, 0) + number
    return found


def _usage(call: Call) -> dict[str, int]:
    """Return the tokens of a call; Inspect counts cached ones apart from those read."""
    cached, output = call.cached_tokens or 0, call.output_tokens or 0
    return {
        "input_tokens": call.prompt_tokens - cached,
        "output_tokens": output,
        "total_tokens": call.prompt_tokens + output,
        "input_tokens_cache_read": cached,
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
