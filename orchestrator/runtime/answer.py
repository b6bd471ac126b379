"""Find the answer in what a run wrote, the same way every time, or say that there is none."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from orchestrator.errors import UnknownName, UserError
from orchestrator.think_tags import leaves_open, said

__all__ = ["EXTRACTORS", "Extractor", "after_think", "boxed", "extractor", "marked"]

Extractor = Callable[[str], str | None]

_BOXED = r"\boxed{"
_BRACE = re.compile(r"[{}]")
_MARK = re.compile(r"(?:\b(?:final )?answer\s*:|^####)[ \t*]*([^\n]+)", re.IGNORECASE | re.MULTILINE | re.ASCII)


def boxed(text: str) -> str | None:
    r"""Return what the last complete `\boxed{...}` holds, inner braces balanced; None if there is none."""
    start = text.rfind(_BOXED)
    closed = _closed_by(text) if start >= 0 else {}
    while start >= 0:
        begin = start + len(_BOXED)
        if begin - 1 in closed:
            return text[begin : closed[begin - 1]].strip() or None
        start = text.rfind(_BOXED, 0, start)
    return None


def _closed_by(text: str) -> dict[int, int]:
    """Return where each brace that is closed is closed: in one pass, because a model may loop on open ones."""
    open_at: list[int] = []
    closed = {}
    for found in _BRACE.finditer(text):
        if found.group() == "{":
            open_at.append(found.start())
        elif open_at:
            closed[open_at.pop()] = found.start()
    return closed


def marked(text: str) -> str | None:
    """Return the rest of the last line after `Answer:` or `####`; None if there is none."""
    if "####" not in text and "answer" not in text.lower():  # thirty times cheaper than the expression
        return None
    found = [match.group(1).strip(" *\t\r") for match in _MARK.finditer(text)]
    return next((answer for answer in reversed(found) if answer), None)


def after_think(text: str) -> str | None:
    """Return what follows the last `</think>`; None if no thought was closed, one is open, or nothing follows."""
    return said(text).strip() or None if leaves_open(text) is False else None


EXTRACTORS: dict[str, Extractor] = {"boxed": boxed, "marked": marked, "after_think": after_think}


def extractor(wanted: str | Extractor | Sequence[str | Extractor]) -> Extractor:
    """Return one extractor that tries those wanted, in order.

    A name is one of EXTRACTORS; `regex:PATTERN` returns the first group of the pattern's last match
    (the whole match if it has no group).
    """
    several = [wanted] if isinstance(wanted, str) or callable(wanted) else list(wanted)
    if not several:
        raise UserError("no answer extractor is named: give at least one, or leave `answer` out")
    tried = [_one(each) for each in several]

    def find(text: str) -> str | None:
        for each in tried:
            if (answer := each(text)) is not None:
                return answer
        return None

    return find


def _one(wanted: str | Extractor) -> Extractor:
    if callable(wanted):
        return wanted
    if wanted.startswith("regex:"):
        return _regex(wanted.removeprefix("regex:"))
    if wanted not in EXTRACTORS:
        raise UnknownName(f"no answer extractor named {wanted!r}; known: {', '.join(EXTRACTORS)}, regex:PATTERN")
    return EXTRACTORS[wanted]


def _regex(pattern: str) -> Extractor:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UserError(f"answer pattern {pattern!r} is no regular expression: {error}") from error

    def find(text: str) -> str | None:
        matches = list(compiled.finditer(text))
        return matches[-1].group(1 if compiled.groups else 0) if matches else None

    return find
