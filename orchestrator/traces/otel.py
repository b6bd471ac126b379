"""A run as OpenTelemetry spans, with the names of the GenAI conventions and our own for routing.

    invoke_agent orchestrator              the run; events of monitors are its events
      step 3                               what was done about one step; its signals are evaluation events
        text_completion QwQ-32B            a call of an engine (`chat` where it is a chat-only API)
        execute_tool search                a call of a tool
        route rewrite                      a decision, where it was made: no time passes in it

One run is one trace. Ids follow from the run's id alone, so a run that is sent again has the same. Times are the
journal's; it has none for decisions and signals, which lie at the end of the last call of their attempt, or, made
before a step, at the beginning of its first. `orchestrator.route.cost` is the whole run's, in the unit of its prices:
what a single call cost is not stored.

What people and engines wrote is in `gen_ai.input.messages` and `gen_ai.output.messages`, and only if content is asked
for.

Source: OpenTelemetry semantic conventions for generative AI, in development; they have no names for routing, so
`orchestrator.*` is ours. Differs: `gen_ai.evaluation.result` is an event of the step's span, not a log record.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from hashlib import blake2b
from json import dumps
from typing import Any, NamedTuple

from orchestrator.traces.record import Call, Decision, RunRecord, Signal

__all__ = ["AGENT", "SERVICE", "Moment", "Span", "spans"]

AGENT = "orchestrator"
SERVICE = "reasoning-orchestrator"

_ADDRESS = re.compile(r"\w+://(?:[^/@]*@)?([^/:?#\[\]]+|\[[\da-fA-F:]+\])(?::(\d{1,5}))?(?:[/?#]|$)")
_NS = 1_000_000_000
_WRITES = ("draft", "rewrite", "alternative", "answer")
_SAMPLED = ("temperature", "top_p", "top_k")


class Moment(NamedTuple):
    """An event of a span."""

    name: str
    at_ns: int
    attributes: dict[str, Any]


class Span(NamedTuple):
    """One span; attributes are texts, numbers, truth values and lists of texts."""

    trace_id: str
    """32 hexadecimal digits."""
    span_id: str
    """16 of them, as of the parent; empty for the run's own."""
    parent_id: str
    name: str
    is_client: bool
    """It asks another process."""
    start_ns: int
    """Since the epoch."""
    end_ns: int
    attributes: dict[str, Any]
    error: str | None = None
    """What failed; None if nothing did."""
    moments: tuple[Moment, ...] = ()


def spans(run: RunRecord, *, content: bool = False) -> list[Span]:
    """Return the spans of a run, its own first; with `content` also what was asked and written."""
    made = _Made(run, content)
    return [made.root(), *(span for step in sorted(made.parts) for span in made.step(step))]


class _Parts(NamedTuple):
    """What belongs to one step; decisions with their places in the run."""

    calls: list[Call]
    signals: list[Signal]
    decisions: list[tuple[int, Decision]]


class _Made:
    def __init__(self, run: RunRecord, content: bool) -> None:
        self.run, self.content = run, content
        self.trace_id = _digest(run.id, size=16)
        self.ends = {call.seq: _ns(call.started_s + (call.seconds or 0.0)) for call in run.calls}
        self.stands = {each.step: each for each in run.steps}
        self.parts: dict[int, _Parts] = {}
        for call in run.calls:
            self._of(call.step).calls.append(call)
        for signal in run.signals:
            self._of(signal.step).signals.append(signal)
        for place, decision in enumerate(run.decisions):
            self._of(decision.step).decisions.append((place, decision))

    def _of(self, step: int) -> _Parts:
        return self.parts.setdefault(step, _Parts([], [], []))

    def root(self) -> Span:
        run, outcome = self.run, self.run.outcome
        booked = outcome.ledger if outcome else []
        start = _ns(run.created_s)
        attributes = {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.provider.name": AGENT,
            "gen_ai.agent.name": AGENT,
            "gen_ai.usage.input_tokens": sum(row["prompt_tokens"] for row in booked) if outcome else None,
            "gen_ai.usage.output_tokens": sum(row["output_tokens"] for row in booked) if outcome else None,
            "orchestrator.run.id": run.id,
            "orchestrator.run.parent": run.parent,
            "orchestrator.run.batch": run.batch,
            "orchestrator.run.position": run.position,
            "orchestrator.run.status": outcome.status if outcome else "unfinished",
            "orchestrator.run.reason": outcome.reason if outcome else None,
            "orchestrator.run.steps": len(run.steps),
            "orchestrator.route.cost": float(sum(row["cost"] for row in booked)) if outcome else None,
            "orchestrator.route.candidates": list(run.engines),
            **_policy(run.router),
        }
        if self.content:
            attributes["gen_ai.input.messages"] = _messages(run.task.messages)
            written = "".join(step.text for step in run.steps)
            attributes["gen_ai.output.messages"] = _messages([("assistant", written)])
        has_failed = outcome is not None and outcome.status == "failed"
        return Span(
            self.trace_id,
            self._id("run"),
            "",
            f"invoke_agent {AGENT}",
            False,
            start,
            max([start, *self.ends.values(), *([_ns(outcome.finished_s)] if outcome else [])]),
            _known(attributes | ({"error.type": "failed"} if has_failed else {})),
            outcome.error if outcome and has_failed else None,
            tuple(self._happened()),
        )

    def _happened(self) -> Iterator[Moment]:
        for event in self.run.events:
            attributes = {"orchestrator.step": event.step, "orchestrator.event.reason": event.detail.get("reason")}
            yield Moment(f"orchestrator.event.{event.kind}", _ns(event.at_s), _known(attributes))

    def step(self, step: int) -> Iterator[Span]:
        parts, stands = self.parts[step], self.stands.get(step)
        attributes = {
            "orchestrator.step": step,
            "orchestrator.step.kind": stands and str(stands.kind),
            "orchestrator.step.writer": stands and stands.writer,
            "orchestrator.step.attempt": stands and stands.attempt,
        }
        yield Span(
            self.trace_id,
            self._id("step", step),
            self._id("run"),
            f"step {step}",
            False,
            self._begin(step),
            self._end(step),
            _known(attributes),
            moments=tuple(map(self._measured, parts.signals)),
        )
        yield from map(self._call, parts.calls)
        for place, decision in parts.decisions:
            yield self._decision(decision, place)

    def _measured(self, signal: Signal) -> Moment:
        attributes = {
            "gen_ai.evaluation.name": signal.name,
            "gen_ai.evaluation.score.value": signal.value,
            "gen_ai.evaluation.explanation": signal.reason or None,
            "orchestrator.signal.raw": signal.raw,
            "orchestrator.signal.unit": signal.unit,
            "orchestrator.route.attempt": signal.attempt,
        }
        return Moment("gen_ai.evaluation.result", self._end(signal.step, signal.attempt), _known(attributes))

    def _call(self, call: Call) -> Span:
        is_tool = call.purpose == "tool"
        attributes = self._tool(call) if is_tool else self._asked(call)
        has_failed = call.status in ("failed", "interrupted")
        attributes |= {
            "error.type": call.status if has_failed else None,
            "orchestrator.call.seq": call.seq,
            "orchestrator.call.purpose": call.purpose,
            "orchestrator.call.engine": None if is_tool else call.engine,
            "orchestrator.call.status": call.status or "unfinished",
            "orchestrator.call.queue_s": call.queue_s,
            "orchestrator.call.is_bound": call.uncertain,
            "orchestrator.step": call.step,
            "orchestrator.route.attempt": call.attempt,
        }
        return Span(
            self.trace_id,
            self._id("call", call.seq),
            self._id("step", call.step),
            f"{attributes['gen_ai.operation.name']} {attributes.get('gen_ai.request.model', call.engine)}",
            not is_tool,
            _ns(call.started_s),
            self.ends[call.seq],
            _known(attributes),
            (call.error if call.error and (self.content or not is_tool) else call.status) if has_failed else None,
        )

    def _tool(self, call: Call) -> dict[str, Any]:
        result = call.text if self.content else None
        return {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": call.engine,
            "gen_ai.tool.type": "function",
            "gen_ai.tool.call.result": result,
        }

    def _asked(self, call: Call) -> dict[str, Any]:
        can = self.run.engines.get(call.engine, {})
        spec = self._spec(call.engine)
        host, port = _address(str(spec.get("url") or ""))
        sampling = spec.get("sampling") or {} if call.purpose in _WRITES else {}
        written = _messages([("assistant", call.text)]) if self.content and call.text is not None else None
        return {
            "gen_ai.operation.name": "text_completion" if can.get("continues", True) else "chat",
            "gen_ai.provider.name": str(can.get("server", "unknown")).partition(" ")[0].lower(),
            "gen_ai.request.model": str(can.get("model", call.engine)),
            "gen_ai.request.max_tokens": call.max_tokens,
            "gen_ai.request.seed": call.seed,
            **{f"gen_ai.request.{name}": sampling.get(name) for name in _SAMPLED},
            "gen_ai.usage.input_tokens": call.prompt_tokens,
            "gen_ai.usage.output_tokens": call.output_tokens,
            "gen_ai.usage.cache_read.input_tokens": call.cached_tokens,
            "gen_ai.response.finish_reasons": ["length" if call.stop == "length" else "stop"] if call.stop else None,
            "gen_ai.response.time_to_first_chunk": call.first_token_s,
            "gen_ai.output.messages": written,
            "server.address": host,
            "server.port": port,
        }

    def _spec(self, engine: str) -> dict[str, Any]:
        """Return what an engine was made from, nothing for one that is no plain description."""
        specs = self.run.settings.get("engines")
        spec = specs.get(engine) if isinstance(specs, dict) else None
        return spec if isinstance(spec, dict) else {}

    def _decision(self, decision: Decision, place: int) -> Span:
        is_before = decision.door == "before_step"
        at = self._begin(decision.step) if is_before else self._end(decision.step, decision.attempt)
        attributes = {
            **_policy(decision.policy),
            "orchestrator.route.door": decision.door,
            "orchestrator.route.action": decision.action,
            "orchestrator.route.candidates": list(self.run.engines),
            "orchestrator.route.alternatives": decision.alternatives,
            "orchestrator.route.selected": decision.engine or self._writer(decision),
            "orchestrator.route.score": decision.score,
            "orchestrator.route.threshold": decision.threshold,
            "orchestrator.route.margin": decision.margin,
            "orchestrator.route.reason": decision.reason,
            "orchestrator.route.attempt": decision.attempt,
            "orchestrator.step": decision.step,
        }
        parent = self._id("step", decision.step)
        name = f"route {decision.action}"
        return Span(self.trace_id, self._id("decision", place), parent, name, False, at, at, _known(attributes))

    def _writer(self, decision: Decision) -> str | None:
        """Return who wrote what the decision is about: a draft that is kept stays its writer's."""
        calls = self.parts[decision.step].calls
        return next(
            (each.engine for each in calls if each.attempt == decision.attempt and each.purpose in _WRITES), None
        )

    def _begin(self, step: int) -> int:
        return min((_ns(call.started_s) for call in self.parts[step].calls), default=_ns(self.run.created_s))

    def _end(self, step: int, attempt: int | None = None) -> int:
        """Return the end of a step's calls, or of one attempt's; without calls it is where the run begins."""
        calls = self.parts[step].calls
        own = [self.ends[call.seq] for call in calls if attempt in (None, call.attempt)]
        return max(own or [self.ends[call.seq] for call in calls], default=_ns(self.run.created_s))

    def _id(self, *what: Any) -> str:
        return _digest(self.run.id, *map(str, what), size=8)


def _address(url: str) -> tuple[str | None, int | None]:
    """Return host and port of a URL, None for what it does not say."""
    found = _ADDRESS.match(url)
    return (found[1], int(found[2]) if found[2] else None) if found else (None, None)


def _policy(named: str) -> dict[str, Any]:
    name, _, version = named.rpartition(" ")
    return {
        "orchestrator.route.policy": name or version,
        "orchestrator.route.policy_version": version if name else None,
    }


def _known(attributes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if value is not None}


def _messages(messages: list[tuple[str, str]]) -> str:
    return dumps([{"role": role, "parts": [{"type": "text", "content": text}]} for role, text in messages])


def _digest(*parts: str, size: int) -> str:
    return blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=size).hexdigest()


def _ns(seconds: float) -> int:
    return round(seconds * _NS)
