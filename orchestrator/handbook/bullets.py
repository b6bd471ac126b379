"""Handbooks as playbooks of ACE: `[slug-00042] helpful=3 harmful=1 :: text` under headings of sections.

Source: ACE, arXiv:2510.04618, and its code (global increasing ids, headings `## NAME`). Differs: a slug here is the
behavior's name, so that it comes back as it was; one of another program is made into a name, and its heading OTHERS is
no section; neutral uses and where a behavior was learned are not in this format, JSONL holds everything. What is to
be avoided begins with `Do not: `, so nothing else can.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import NamedTuple

from orchestrator.behaviors import PREFIX, Behavior
from orchestrator.errors import UserError
from orchestrator.handbook.gates import normalised

__all__ = ["Bullet", "bullets_in", "written"]

_BULLET = re.compile(r"\[([^\[\]]+)-([0-9]+)\]\s+helpful=([0-9]{1,16})\s+harmful=([0-9]{1,16})\s+::\s+(.*)")
_HEADING = re.compile(r"#{1,6}\s+(.*)")
_AVOID = "Do not: "
_NO_SECTION = "OTHERS"


class Bullet(NamedTuple):
    """One line of a playbook."""

    name: str
    instruction: str
    section: str
    polarity: str
    helpful: int
    harmful: int
    line: int
    """Where it stands, from 1."""


def written(behaviors: Iterable[Behavior]) -> str:
    """Return the behaviors as a playbook, section by section, those without one first, by id."""
    ordered = sorted(behaviors, key=lambda each: (each.section, each.id))
    lines: list[str] = []
    for section, some in groupby(ordered, key=lambda each: each.section):
        lines += [*([""] if lines else []), *([f"## {section}"] if section else [])]
        lines += [_line(each) for each in some]
    return "".join(f"{line}\n" for line in lines)


def _line(behavior: Behavior) -> str:
    avoid = _AVOID if behavior.polarity == "do_not" else ""
    counts = f"helpful={behavior.helpful} harmful={behavior.harmful}"
    return f"[{behavior.name}-{behavior.id:05}] {counts} :: {avoid}{behavior.instruction}"


def bullets_in(text: str) -> Iterator[Bullet]:
    """Yield the lines of a playbook. Raises UserError, naming the line, for one that is neither bullet nor heading."""
    section = ""
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        if found := _BULLET.fullmatch(line.strip()):
            yield _bullet(found, section, number)
        elif heading := _HEADING.fullmatch(line.strip()):
            section = "" if heading[1] == _NO_SECTION else heading[1].strip()
        else:
            raise UserError(
                f"line {number}: {line.strip()[:60]!r} is no bullet `[name-00001] helpful=0 harmful=0 :: text`"
            )


def _bullet(found: re.Match[str], section: str, line: int) -> Bullet:
    slug, id, helpful, harmful, said = found.groups()
    name = normalised(slug)
    if not name.startswith(PREFIX):  # a slug of another program names a section, many bullets share it
        name = f"{PREFIX}{name}_{id}"
    is_avoided = said.startswith(_AVOID)
    polarity = "do_not" if is_avoided else "do"
    return Bullet(name, said.removeprefix(_AVOID), section, polarity, int(helpful), int(harmful), line)
