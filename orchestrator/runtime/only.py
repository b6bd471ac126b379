"""Some steps of a timeline: those that were escalated, where something was discarded, or where something failed."""

from __future__ import annotations

from collections.abc import Sequence
from json import loads
from typing import Literal

from orchestrator.memory.base import StoredRun
from orchestrator.runtime.attempts import Attempt
from orchestrator.runtime.hidden import DROPPED
from orchestrator.runtime.remarks import Remark

__all__ = ["Only", "chosen"]

Only = Literal["escalated", "discarded", "failed"]

_NOT_TAKEN = ("not taken", DROPPED)
_FELL = ("rejected", "rolled back")


def chosen(only: Only, items: Sequence[Attempt | Remark], stored: StoredRun) -> tuple[list[Attempt | Remark], str]:
    """Return what there is to show of these steps, all their candidates and remarks, and a line on what is left out.

    escalated: a larger engine than the cheapest wrote there, or a draft did not stand. What was written only to be
        compared is neither.
    discarded: something that was written there does not stand.
    failed: a call failed there, be it that another one stood in for it.
    """
    tried = [each for each in items if isinstance(each, Attempt)]
    larger = list(loads(stored.run.engines))[1:]
    steps = {each.step for each in tried}
    wanted = {each.step for each in tried if _is_wanted(only, each, larger)}
    if only == "failed":
        wanted |= {call.intent.step for call in stored.calls if call.result and call.result.status == "failed"}
    kept: list[Attempt | Remark] = []
    step = tried[-1].step if tried else 0
    for item in reversed(items):  # a remark goes with the candidate behind it
        step = item.step if isinstance(item, Attempt) else step
        if step in wanted:
            kept.append(item)
    hidden = len(steps - wanted)
    return kept[::-1], f"{hidden} of {len(steps)} steps not shown: nothing {only} there" if hidden else ""


def _is_wanted(only: Only, each: Attempt, larger: Sequence[str]) -> bool:
    if only == "failed":
        return each.verdict == "failed"
    if only == "discarded":
        return each.verdict in (*_FELL, *_NOT_TAKEN)
    is_larger = each.writer in larger and each.verdict not in _NOT_TAKEN
    return is_larger or each.verdict in (*_FELL, "failed")
