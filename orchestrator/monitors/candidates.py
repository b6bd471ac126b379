"""What a step's text tells without asking anybody: whether it states an answer, and whether it begins to doubt one."""

from __future__ import annotations

import re

from orchestrator.answers import NUMBER

__all__ = ["begins_anew", "candidate_in", "has_cue"]

_LONGEST = 400
"""Characters of a line that are looked at, the last ones."""
_MARKS = " \t*$.\"'"
_ANEW = re.compile(r"\s*[\"'*(]*(?:wait|alternatively|hmm+|but)\b", re.IGNORECASE)
_CUE = re.compile(r"(?:^|[.!?\n])[ \t\"'*(]*(?:wait|alternatively|hmm+)\b", re.IGNORECASE)
_BOXED = re.compile(r"\\boxed\{((?:[^{}]|\{[^{}]*\})+)\}")
_SAID = re.compile(r"\banswer(?: is|:)[\s:*$]*(\S.*)", re.IGNORECASE)


def begins_anew(text: str) -> bool:
    """Return whether a step begins with a word of reflection: wait, alternatively, hmm or but."""
    return _ANEW.match(text) is not None


def has_cue(text: str) -> bool:
    """Return whether a sentence of a step begins with wait, alternatively or hmm."""
    return _CUE.search(text) is not None


def candidate_in(text: str) -> str | None:
    r"""Return what the last line of a step states as the answer, or None.

    That is the last `\boxed{...}` of the line, what follows `answer is` or `answer:`, or a number that stands there
    alone. An equation or an expression states none.
    """
    line = text.rstrip().rpartition("\n")[2][-_LONGEST:]
    if boxed := _BOXED.findall(line):
        return str(boxed[-1]).strip() or None
    if said := _SAID.search(line):
        return said.group(1).strip(_MARKS) or None
    alone = line.strip(_MARKS)
    return alone if NUMBER.fullmatch(alone) else None
