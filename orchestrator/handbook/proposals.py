"""Read the behaviors that an engine proposes: a JSON object, a list of objects, or lines of `name: instruction`.

The text is data and nothing else. What stands behind the last `</think>` counts, of that the last fenced block that
can be read, and without one the whole. An object none of whose keys is a behavior's name is something else. Where
nothing can be read the text is refused as a whole; what is wrong with a single behavior is for the gates to say.

Source: Metacognitive Reuse, arXiv:2509.13237 (an object of names and single-line descriptions). Differs: a list of
objects with sections, and plain lines, are read as well, because small engines write those.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from orchestrator.behaviors import PREFIX
from orchestrator.document import is_table, is_text, strict_json
from orchestrator.errors import ModelMisbehaved
from orchestrator.think_tags import said

__all__ = ["MAX_CHARS", "MAX_PROPOSALS", "Proposal", "proposals_in"]

MAX_CHARS = 65_536
"""Length of a text that is read."""
MAX_PROPOSALS = 64
"""Behaviors of one text; one trace does not hold more lessons."""

_FENCED = re.compile(r"^ {0,3}```[a-z]*[ \t]*\n(.*?)^ {0,3}```", re.MULTILINE | re.DOTALL)
_LINE = re.compile(rf"^[ \t]*(?:(?:[-*]|\d+\.)[ \t]*)?[`*\"]*({PREFIX}\w+)[`*\"]*[ \t]*:[ \t]*(.+)$", re.MULTILINE)


class Proposal(NamedTuple):
    """What an engine would have in the handbook, unchecked."""

    name: str
    instruction: str
    section: str = ""
    polarity: str = "do"


def proposals_in(text: str) -> list[Proposal]:
    """Return the behaviors that `text` proposes, in order; none where it says that there are none, as `{}` does.

    Raises ModelMisbehaved for a text in which nothing can be read, or too much.
    """
    text = said(text)
    if len(text) > MAX_CHARS:
        raise ModelMisbehaved(f"the behaviors are a text of {len(text)} characters; at most {MAX_CHARS} are read")
    for candidate in _candidates(text):
        if (found := _in_json(candidate)) is not None:
            return _few(found)
    if found := [Proposal(name, told.strip()) for name, told in _LINE.findall(text)]:
        return _few(found)
    raise ModelMisbehaved(f"no behaviors can be read in {text.strip()[:60]!r}: neither JSON nor lines of name: text")


def _candidates(text: str) -> Iterator[str]:
    yield from reversed(_FENCED.findall(text))
    yield text
    opened = min((place for place in map(text.find, "{[") if place >= 0), default=len(text))
    yield text[opened : 1 + max(text.rfind("}"), text.rfind("]"))]


def _in_json(text: str) -> list[Proposal] | None:
    """Return what a JSON text proposes, None where it is none or something else."""
    try:
        given = strict_json(text.strip())
    except (ValueError, RecursionError):
        return None
    if is_table(given) and isinstance(given.get("behaviors"), list):
        given = given["behaviors"]
    if isinstance(given, list):
        found = [_of_table(each) for each in given]
        return None if None in found else [each for each in found if each is not None]
    if is_table(given) and all(map(is_text, given.values())) and _names_behaviors(given):
        return [Proposal(name, told) for name, told in given.items()]
    return None


def _names_behaviors(given: Iterable[str]) -> bool:
    """Return whether an object's keys are names of behaviors: one is enough, the gates see to the others. Small engines
    write objects of `name` and `description` as well, which say nothing that a person could let in either."""
    names = [name.strip().casefold() for name in given]
    return not names or any(name.startswith(PREFIX.rstrip("_")) for name in names)


def _of_table(given: Any) -> Proposal | None:
    if not is_table(given) or not {"name", "instruction"} <= {*given} <= {*Proposal._fields}:
        return None
    return Proposal(**given) if all(map(is_text, given.values())) else None


def _few(found: list[Proposal]) -> list[Proposal]:
    if len(found) > MAX_PROPOSALS:
        raise ModelMisbehaved(f"{len(found)} behaviors in one text: at most {MAX_PROPOSALS}")
    return found
