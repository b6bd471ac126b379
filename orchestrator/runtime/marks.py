"""How rows of the journal are marked: kinds of events, doors of decisions, keys in their details, bands of attempts.

Whoever only reads stored runs needs these names, and nothing of what executes runs.
"""

from __future__ import annotations

__all__ = [
    "AGAIN",
    "ALTERNATIVE",
    "ANSWERED",
    "BAND",
    "CITED",
    "LATE",
    "LEAD",
    "MODE",
    "RAISED",
    "RECALLED",
    "UNCALIBRATED",
    "UNCREDITED",
    "UNHEARD",
    "UNHEEDED",
    "plain",
]

MODE = "mode"
"""The door of the decision that says how much to think."""
AGAIN = "reconsider"
"""That of the one that says whether that was enough."""
ALTERNATIVE = "alternative"
"""Purpose of the calls that write one."""
BAND = 1 << 20
"""Attempts of a step that may follow each other; those of alternatives lie above."""
ANSWERED = "answered"
"""Kind of the event that tells the answers of several calls in one observation apart."""
LEAD = "lead"
"""Kind of the event that says what a policy put at the start of a step."""
RECALLED, CITED, UNCREDITED = "recalled", "cited", "uncredited"
"""Kinds of the events that say what a run was shown, what of it its text names, and why that got no credit."""
UNHEARD = "unheard"
"""Kind of the event that says why a monitor had no answer."""
RAISED = "raised"
"""Key in the detail of an event's row that says which attempt of its step it was raised behind."""
UNHEEDED = "unheeded"
"""Key in it that says that nobody does anything about it: the event does nothing by itself, nor does the router."""
LATE = "late"
"""Key in it that says that it was heard when the next step was there."""
UNCALIBRATED = "uncalibrated: the threshold was not chosen for these engines"
"""What a run without a calibration is marked with."""


def plain(attempt: int) -> int:
    """Return the attempt that an alternative was written beside; a plain attempt is its own."""
    return attempt % BAND
