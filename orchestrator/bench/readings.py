"""What a policy read off each draft, and whether the draft was right: what a threshold is chosen by.

Read from the journal. A decision that has a threshold and a margin has a reading: their sum, in the threshold's
unit. Some policies keep what reads high (a rating), others what reads low (the chance that another engine would
do better); which, their decisions tell.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from json import loads
from typing import NamedTuple

from orchestrator.engines.scorers.verifier import Check
from orchestrator.errors import SignalUnavailable, UserError
from orchestrator.memory.base import StoredRun
from orchestrator.runtime.attempts import attempts
from orchestrator.types import Message

__all__ = ["Reading", "keeps_high", "readings", "verified"]

_DECIMALS = 9
"""Of a reading, which is a sum: what rounding left behind must not part equal ones."""


class Reading(NamedTuple):
    """One draft that was rated."""

    step: int
    draft: str
    value: float
    """In the threshold's unit."""
    margin: float
    is_kept: bool


def readings(run: StoredRun) -> list[Reading]:
    """Return the drafts of a run that its policy read something off, in order."""
    return [
        Reading(each.step, each.text, round(of.threshold + of.margin, _DECIMALS), of.margin, of.action == "keep")
        for each in attempts(run)
        if (of := each.decision) is not None and of.threshold is not None and of.margin is not None
    ]


def keeps_high(found: Iterable[Reading]) -> bool:
    """Return whether high readings are kept. Raises UserError where decisions contradict each other."""
    told = {each.is_kept == (each.margin > 0) for each in found if each.margin}
    if len(told) > 1:
        raise UserError("this policy keeps some drafts above its threshold and some below: it cannot be calibrated")
    return told != {False}


def verified(run: StoredRun, check: Check) -> list[tuple[Reading, bool]]:
    """Return the rated drafts that can be verified, each with whether it is right as it stands in the run."""
    messages = [Message(*message) for message in loads(run.run.task)["messages"]]
    kept = [row.text for row in run.kept()]
    return [
        (each, is_right) for each in readings(run) if (is_right := _is_right(check, messages, kept, each)) is not None
    ]


def _is_right(check: Check, messages: Sequence[Message], kept: Sequence[str], draft: Reading) -> bool | None:
    try:
        return check(messages, kept[: draft.step], draft.draft) >= 1
    except SignalUnavailable:
        return None
