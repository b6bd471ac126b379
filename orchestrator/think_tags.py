"""The tags around a thought, as texts, and the one rule that says what of a text is thought: the last tag tells."""

from __future__ import annotations

__all__ = ["CLOSES", "OPENS", "leaves_open", "said"]

OPENS, CLOSES = "<think>", "</think>"


def leaves_open(text: str) -> bool | None:
    """Return whether a thought is open behind `text`; None where no tag in it says so."""
    if "think>" not in text:
        return None
    opened, closed = text.rfind(OPENS), text.rfind(CLOSES)
    return None if opened == closed else opened > closed


def said(text: str) -> str:
    """Return what stands behind the last thought that was closed: the whole where none was."""
    return text.rpartition(CLOSES)[2]
