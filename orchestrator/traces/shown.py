"""A stored run as the plain data that its page is drawn from: what the terminal's timeline says, and what is behind it.

    id, status          `unfinished` where there is no outcome
    fields              [name, value] of everything that is said above the steps; a name is empty where its line goes on
    engines             names, in the pipeline's order: the largest is last
    handbook            [name, instruction] of what a handbook found for the question, the `left out` and `withheld` too
    items               candidates of steps and the remarks between them, in the order they were begun in
    noticed             what monitors saw and what was decided aside: mode, on_events, exit, ...
    events              what else happened to the run
    others              calls that are about no candidate, such as answers asked for on trial
    ledger, notes       its rows, and what is to be said below them

Every text is made visible, so that no letter of an engine's reorders or hides another one. What is empty is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from json import loads
from math import isfinite
from typing import Any

from orchestrator.memory.base import CallRow, DecisionRow, SignalRow, StoredRun
from orchestrator.runtime.attempts import Attempt
from orchestrator.runtime.calls import WRITING, drafting_of
from orchestrator.runtime.heading import fields
from orchestrator.runtime.hidden import DROPPED, dropped
from orchestrator.runtime.in_force import recalled_in
from orchestrator.runtime.ledger_lines import ledger_notes, ledger_rows
from orchestrator.runtime.remarks import Remark, is_aside, remarks, told_between
from orchestrator.runtime.rows import score
from orchestrator.runtime.timeline import between, candidates, untold
from orchestrator.visible import visible

__all__ = ["Home", "shown"]

_LONGEST = 400  # letters of a text that is not a step's, such as what a judge answered
_SHORT = 12  # hexadecimal digits that tell prompts of a run apart


def shown(stored: StoredRun, ancestors: Sequence[StoredRun] = ()) -> dict[str, Any]:
    """Return `stored` as JSON data; `ancestors`, oldest first, are the runs it was forked from."""
    tried = candidates(stored, ancestors)
    rows = ledger_rows(stored)
    homes = {each.run.id: Home(each) for each in (*ancestors, stored)}
    items = [_candidate(each, homes[each.origin or stored.run.id]) for each in tried]
    outcome, recalled = stored.outcome, recalled_in(stored)
    told: dict[str, Any] = {
        "id": stored.run.id,
        "status": stored.status,
        "steps": len(stored.kept()),
        "seconds": outcome.seconds if outcome else None,
        "answer": outcome.answer if outcome else None,
        "fields": fields(stored),
        "engines": list(loads(stored.run.engines)),
        "handbook": [[each.name, each.instruction] for each in recalled.behaviors] if recalled else [],
        "items": _with_remarks(items, remarks(stored, tried)),
        "noticed": sorted(_noticed(stored), key=lambda each: each["step"]),
        "events": [{"step": event.step, "kind": event.kind, "reason": why} for event, why in untold(stored)],
        "others": [_call(call) for call in homes[stored.run.id].left()],
        "settings": loads(stored.run.settings),
        "ledger": [_told_cached(row, loads(stored.run.engines)) for row in rows],
        "notes": [line.plain for line in ledger_notes(stored, rows)],
    }
    plain: dict[str, Any] = _plain(told)
    return plain


class Home:
    """The run that a candidate was written in: what it has about each, by step and attempt."""

    def __init__(self, stored: StoredRun) -> None:
        self._over = dropped(stored)
        self._writing: dict[tuple[int, int, str, bool], list[CallRow]] = {}
        self._asking: dict[tuple[int, int], list[CallRow]] = {}
        self._decisions: dict[tuple[int, int], list[DecisionRow]] = {}
        for call in stored.calls:
            step, attempt, engine = call.intent.step, call.intent.attempt, call.intent.engine
            if call.intent.purpose in WRITING:
                place = (step, attempt, engine, call.intent.seq in self._over)
                self._writing.setdefault(place, []).append(call)
            else:
                self._asking.setdefault((step, attempt), []).append(call)
        for row in stored.decisions:
            if not is_aside(row.door):
                self._decisions.setdefault((row.step, row.attempt), []).append(row)

    def calls(self, each: Attempt) -> list[CallRow]:
        """Return the calls that wrote a candidate, and those that asked about it, once."""
        wrote = self._writing.pop((each.step, each.attempt, each.writer, each.verdict == DROPPED), [])
        asked = [] if each.verdict in ("failed", DROPPED) else self._asking.pop((each.step, each.attempt), [])
        return sorted(wrote + asked, key=lambda call: call.intent.seq)

    def decisions(self, each: Attempt) -> list[DecisionRow]:
        return [] if each.verdict == DROPPED else self._decisions.get((each.step, each.attempt), [])

    def left(self) -> list[CallRow]:
        """Return the calls that nobody asked for: they are about no candidate."""
        calls = (*self._writing.values(), *self._asking.values())
        return sorted((call for own in calls for call in own), key=lambda call: call.intent.seq)


def _candidate(each: Attempt, home: Home) -> dict[str, Any]:
    decision = each.decision
    return {
        "step": each.step,
        "attempt": each.attempt,
        "writer": each.writer,
        "verdict": each.verdict,
        "reason": each.reason,
        "origin": each.origin,
        "text": each.text,
        "tokens": each.output_tokens,
        "is_bound": each.is_bound,
        "seconds": each.seconds,
        "drafting": str(each.drafting) if each.drafting else None,
        "score": score(each.signals[0], decision) if each.signals else None,
        "threshold": decision.threshold if decision else None,
        "margin": decision.margin if decision else None,
        "signals": [_signal(row) for row in each.signals],
        "decisions": [_decision(row) for row in home.decisions(each)],
        "calls": [_call(call) for call in home.calls(each)],
    }


def _with_remarks(items: list[dict[str, Any]], said: Sequence[Remark]) -> Iterator[dict[str, Any]]:
    """Yield the candidates with the remarks in their places; a remark is of the step behind it."""
    place = 0
    for each in between(items, said):
        if isinstance(each, Remark):
            here = items[min(place, len(items) - 1)]["step"] if items else 0
            yield {"step": here, "remark": each.what, "reason": each.reason}
        else:
            place += 1
            yield each


def _noticed(stored: StoredRun) -> Iterator[dict[str, Any]]:
    for event in stored.events:
        if told_between(event.kind, event.detail):
            detail = loads(event.detail) if event.detail else {}
            yield {"step": event.step, "kind": event.kind, "reason": detail.pop("reason", ""), "detail": detail}
    for row in stored.decisions:
        if is_aside(row.door):
            yield {"step": row.step, "kind": row.door, **_decision(row)}


def _told_cached(row: Mapping[str, Any], described: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of the ledger, without its cached tokens where the server does not report any."""
    reports = described.get(row["engine"], {}).get("cached_tokens")
    return {**row, "cached_tokens": row["cached_tokens"] if reports else None}


def _signal(row: SignalRow) -> dict[str, Any]:
    said = {name: getattr(row, name) for name in ("name", "value", "raw", "unit", "reason", "seconds")}
    return {**said, "tokens": row.output_tokens}


def _decision(row: DecisionRow) -> dict[str, Any]:
    names = ("door", "action", "engine", "reason", "threshold", "margin", "alternatives", "policy")
    return {**{name: getattr(row, name) for name in names}, "detail": loads(row.detail) if row.detail else None}


def _call(call: CallRow) -> dict[str, Any]:
    intent, result = call
    said = {
        "seq": intent.seq,
        "purpose": intent.purpose,
        "engine": intent.engine,
        "seed": intent.seed,
        "prompt": intent.digest.hex()[:_SHORT],
        "max_tokens": intent.max_tokens,
        "status": result.status if result else "in flight",
        "prompt_tokens": result.prompt_tokens if result else intent.prompt_tokens,
    }
    if result is None:
        return said
    drafting = drafting_of(result)
    return {
        **said,
        "cached_tokens": result.cached_tokens,
        "output_tokens": result.output_tokens,
        "is_bound": bool(result.uncertain),
        "seconds": result.seconds,
        "first_token_s": result.first_token_s,
        "queue_s": result.queue_s,
        "drafting": str(drafting) if drafting else None,
        "stop": result.stop,
        "error": result.error[:_LONGEST],
        "text": "" if intent.purpose in WRITING else result.text[:_LONGEST],
    }


def _plain(value: Any) -> Any:
    """Return JSON data that every reader takes: texts visible, no NaN and no infinity, nothing that is empty."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, float):
        return round(value, 6) if isfinite(value) else str(value)
    if isinstance(value, Mapping):
        named = {visible(str(key)): _plain(each) for key, each in value.items()}
        return {key: each for key, each in named.items() if not _is_empty(each)}
    if isinstance(value, Sequence | Iterator):
        return [_plain(each) for each in value]
    return value


def _is_empty(value: Any) -> bool:
    return value is None or value is False or (isinstance(value, str | list | dict) and not value)
