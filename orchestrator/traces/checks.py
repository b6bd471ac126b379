"""Is this a run that a journal could hold?  A file of a stranger is asked before it is imported."""

from __future__ import annotations

from typing import Any

from orchestrator.errors import UserError
from orchestrator.memory.base import REMOVED
from orchestrator.traces.record import RunRecord
from orchestrator.traces.restored import stored_of
from orchestrator.traces.shown import shown
from orchestrator.types import Status

__all__ = ["unshowable", "wrong_with"]

_DESCRIBED = ("server", "model")
_CAME = ("text", "ids", "stop", "stop_text", "output_tokens", "uncertain", "seconds", "error")
_NAMED = ("engine", "purpose", "fate")
_COUNTED = ("calls", "prompt_tokens", "cached_tokens", "output_tokens", "uncertain", "seconds", "cost")


def wrong_with(run: RunRecord) -> str:
    """Return what no journal would hold, and what shows runs could not bear; empty if all is well."""
    for name in (run.id, *([] if run.parent is None else [run.parent])):
        if not (name.isascii() and name.isprintable() and name.strip() and name != "last" and len(name) <= 128):
            return f"{name[:40]!r} is no id"
    if not run.task.messages:
        return "the task has no message"
    if not run.engines or any(type(can.get(name)) is not str for can in run.engines.values() for name in _DESCRIBED):
        return "engines: each needs its server and its model"
    standing: list[Any] = []
    for row in run.written if run.written is not None else run.steps:
        if not 0 <= row.step <= len(standing):
            return f"steps: {row.step} does not follow {len(standing) - 1}"
        del standing[row.step :]
        if row.kind != REMOVED:
            standing.append(row)
    if [(row.step, row.attempt, row.text) for row in standing] != [(s.step, s.attempt, s.text) for s in run.steps]:
        return "steps: not those that stand of `written`"
    return _wrong_calls(run) or _wrong_outcome(run)


def unshowable(run: RunRecord) -> str:
    """Return what `trace show` would miss in the details of decisions and events; empty if all is there.

    They are what whoever wrote them liked, so nothing but showing them tells.
    """
    try:
        shown(stored_of(run))
    except (AttributeError, LookupError, TypeError, UserError, ValueError) as error:
        return f"a detail of its decisions or events is none of ours ({type(error).__name__}: {error!s:.60})"
    return ""


def _wrong_calls(run: RunRecord) -> str:
    if len({call.seq for call in run.calls}) < len(run.calls):
        return "calls: two have the same seq"
    for call in run.calls:
        if call.status is not None and any(getattr(call, name) is None for name in _CAME):
            return f"calls: {call.seq} has a status and no result"
        if any(not 0 <= token < 1 << 31 for token in call.ids or ()):
            return f"calls: {call.seq} has an id that is none"
        if len(call.digest) % 2 or set(call.digest) - set("0123456789abcdef"):
            return f"calls: the digest of {call.seq} is not hexadecimal"
    return ""


def _wrong_outcome(run: RunRecord) -> str:
    if run.outcome is None:
        return ""
    if run.outcome.status not in tuple(Status):
        return f"outcome: no run ends as {run.outcome.status!r:.40}"
    for row in run.outcome.ledger:
        for name in (*_NAMED, *_COUNTED):
            if not isinstance(row.get(name), str if name in _NAMED else int | float):
                return f"outcome.ledger: a row's {name} is {row.get(name)!r:.40}"
    return ""
