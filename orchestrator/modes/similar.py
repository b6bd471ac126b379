"""Which tasks are alike, and what is remembered of each kind: how long its thoughts were.

What counts as alike is one of:
- `all`: every task;
- `length`: the questions have as many characters, to a power of two;
- `numbers`: the questions have as many numbers in them;
- `shape`: the questions are the same but for numbers and quoted texts.

What is remembered is bounded: the latest LATEST lengths of a kind, and the KINDS kinds that were taught last.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Literal

from orchestrator.errors import UserError
from orchestrator.types import History, question_of

__all__ = ["KINDS", "LATEST", "SIMILAR", "Kind", "Similar", "kind_of", "lengths_of", "pack", "unpack"]

Similar = Literal["all", "length", "numbers", "shape"]
SIMILAR = ("all", "length", "numbers", "shape")
LATEST = 64
KINDS = 64
_FORMAT = 1
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_PARTICULAR = re.compile(_NUMBER.pattern + r"""|"[^"]*"|`[^`]*`|“[^“”]*”|(?<!\w)'[^'\n]*'""")


@dataclass(slots=True, kw_only=True)
class Kind:
    """What is remembered of tasks that are alike."""

    lengths: list[int] = field(default_factory=list)
    """Tokens of thought of its runs, oldest first; each > 0."""
    failures: int = 0
    """Wrong answers in a row; for first tries, those in a row that did not do."""

    def add(self, length: int) -> None:
        """Remember one more, and forget the oldest beyond LATEST."""
        self.lengths = [*self.lengths, length][-LATEST:]


def kind_of(question: str, similar: Similar) -> str:
    """Return what all questions share that count as alike."""
    if similar == "all":
        return "all"
    if similar == "length":
        return f"length {len(question).bit_length()}"
    if similar == "numbers":
        return f"numbers {len(_NUMBER.findall(question))}"
    shape = " ".join(_PARTICULAR.sub("#", question).split()).casefold()
    return f"shape {blake2b(shape.encode(errors='replace'), digest_size=8).hexdigest()}"


def lengths_of(history: History, similar: Similar) -> list[int]:
    """Return the lengths of earlier thoughts about tasks like that of a run, oldest first."""
    kind = kind_of(question_of(history.task.messages), similar)
    return unpack(history.lengths).get(kind, Kind()).lengths


def unpack(state: Mapping[str, Any]) -> dict[str, Kind]:
    """Return what `pack` has packed, the kind that was taught last at the end. Raises UserError."""
    if not state:
        return {}
    mend = "name another `experience`"
    if state.get("format") != _FORMAT:
        raise UserError(f"what was learned of lengths has format {state.get('format')!r}, not {_FORMAT}: {mend}")
    try:
        found = {
            str(name): Kind(lengths=list(lengths), failures=failures) for name, lengths, failures in state["kinds"]
        }
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"what was learned of lengths is damaged ({error}): {mend}") from error
    for name, kind in found.items():
        if not all(type(each) is int and each >= 0 for each in [*kind.lengths, kind.failures]):
            raise UserError(f"what was learned of lengths is damaged (kind {name!r}): {mend}")
    return found


def pack(kinds: Mapping[str, Kind], taught: str) -> dict[str, Any]:
    """Return them as plain JSON data: a list, because who sorts an object's keys would lose which was taught last."""
    order = [*(name for name in kinds if name != taught), taught][-KINDS:]
    return {"format": _FORMAT, "kinds": [[name, kinds[name].lengths, kinds[name].failures] for name in order]}
