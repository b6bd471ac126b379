"""Behaviors and what can be done to them: pure rules, so that the same deltas always come to the same handbook.

A behavior says how to do a thing, in one line and under a name; it is no solution and no fact. Nothing is edited in
place: a delta gives new versions of the behaviors that it touches, and leaves every other one as it is.

Source: Metacognitive Reuse, arXiv:2509.13237 (name and one-line instruction), and ACE, arXiv:2510.04618 (ids,
counters, sections, deltas). Differs: ACE's code applies ADD only, all four are applied here; merging sums the counters
of each behavior once, where there an item may be counted in two groups; a counter moves once for each run, and only
with the outcome of that run, where there the text's own word is taken for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, get_args

from orchestrator.errors import UnknownName, UserError
from orchestrator.visible import visible

__all__ = [
    "MAX_INSTRUCTION",
    "MAX_NAME",
    "PREFIX",
    "Add",
    "Behavior",
    "Credit",
    "Delta",
    "Effect",
    "Merge",
    "Polarity",
    "Retire",
    "Update",
    "changed",
]

PREFIX = "behavior_"
"""What every name begins with."""
MAX_NAME = 80
"""Characters of a name, and of a section."""
MAX_INSTRUCTION = 500
"""Characters of an instruction; a hundred tokens say what to do, and what is longer is a solution."""

Polarity = Literal["do", "do_not"]
"""Whether the instruction is to be followed, or tells of a mistake."""
Effect = Literal["helpful", "harmful", "neutral"]
"""What came of a run in which a behavior was used."""

_UNCOUNTED: Any = {"helpful": 0, "harmful": 0, "neutral": 0}
_NAME = re.compile(rf"{PREFIX}[a-z0-9]+(?:_[a-z0-9]+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Behavior:
    """One entry of a handbook, as it is at some time. Raises UserError for what cannot be one."""

    id: int
    """In its handbook; 1 for the first, never given twice."""
    name: str
    """`behavior_` and words of small letters and digits; no two active ones of a handbook share it."""
    instruction: str
    """One line of at most MAX_INSTRUCTION characters, all of them visible."""
    section: str = ""
    """The topic it is for; empty for none."""
    polarity: Polarity = "do"
    version: int = 0
    """The change that made name, instruction, section and polarity what they are; no two wordings share one."""
    is_active: bool = True
    """Whether it may be recalled; a retired one stays for the record."""
    merged_into: int | None = None
    """The behavior that took its place, if one did."""
    run: str = ""
    """The run that it was learned from; empty where a person wrote it."""
    step: int | None = None
    """The step of that run, where whoever adds it knows one. Learning reflects on whole runs and does not."""
    task: str = ""
    """Names what that run was asked, so that the question itself is never answered with it."""
    helpful: int = 0
    """Runs that used it and were right, >= 0; likewise below."""
    harmful: int = 0
    neutral: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name) or len(self.name) > MAX_NAME:
            raise UserError(
                f"behavior name {self.name!r:.100}: write {PREFIX} and small letters, digits and single underscores, "
                f"at most {MAX_NAME} characters"
            )
        _check_line(self.name, "instruction", self.instruction, MAX_INSTRUCTION)
        for name in ("section", "run", "task"):
            if (value := getattr(self, name)) != "":
                _check_line(self.name, name, value, MAX_NAME)
        if self.step is not None and (type(self.step) is not int or not 0 <= self.step < 1 << 53):
            raise UserError(f"{self.name}: step = {self.step!r:.40} must be a whole number of at least 0")
        for name in ("id", "version", *get_args(Effect)):
            if type(value := getattr(self, name)) is not int or not 0 <= value < 1 << 53:
                raise UserError(f"{self.name}: {name} = {value!r:.40} must be a whole number of at least 0")
        if self.polarity not in get_args(Polarity):
            raise UserError(f"{self.name}: polarity = {self.polarity!r:.40}; known: {', '.join(get_args(Polarity))}")

    @property
    def uses(self) -> int:
        """Runs that used it and whose outcome is known."""
        return self.helpful + self.harmful + self.neutral


def _check_line(name: str, what: str, text: Any, limit: int) -> None:
    if not isinstance(text, str):
        raise UserError(f"{name}: {what} = {text!r:.40} must be a text")
    if not text.strip() or text != text.strip():
        raise UserError(f"{name}: the {what} is empty or has space around it: give one line of text")
    if len(text.splitlines()) > 1 or visible(text) != text:
        raise UserError(f"{name}: the {what} has line breaks, control or invisible characters: give one plain line")
    if len(text) > limit:
        raise UserError(f"{name}: the {what} has {len(text)} characters; at most {limit}")


class Add(NamedTuple):
    """A new behavior."""

    name: str
    instruction: str
    section: str = ""
    polarity: Polarity = "do"
    run: str = ""
    step: int | None = None
    task: str = ""
    helpful: int = 0
    """What it brings along from elsewhere; likewise below."""
    harmful: int = 0
    neutral: int = 0


class Update(NamedTuple):
    """Another wording or place of a behavior; None leaves a field as it is."""

    id: int
    instruction: str | None = None
    section: str | None = None
    polarity: Polarity | None = None
    name: str | None = None


class Merge(NamedTuple):
    """Behavior `into` takes the place of `ids`, which are retired; it has all their counters."""

    into: int
    ids: tuple[int, ...]
    instruction: str | None = None
    """What `into` says from now on; None for what it says already."""


class Retire(NamedTuple):
    """A behavior is recalled no more."""

    id: int


class Credit(NamedTuple):
    """What came of a run that used a behavior. Counted once for each behavior and run."""

    id: int
    run: str
    effect: Effect


Delta = Add | Update | Merge | Retire | Credit


def changed(
    delta: Delta, rows: Mapping[int, Behavior], names: Mapping[str, int], *, id: int, version: int
) -> list[Behavior]:
    """Return the behaviors that `delta` makes or changes, as they are afterwards; none where it changes nothing.

    `rows` holds at least the behaviors that it names, `names` the ids of active ones by name; what is new gets `id`,
    and what is worded anew `version`. Raises UserError for what cannot be done, UnknownName for an id that is not
    there.
    """
    match delta:
        case Add():
            _check_free(delta.name, names, 0)
            return [Behavior(id=id, version=version, **delta._asdict())]
        case Update():
            old = _active(rows, delta.id)
            said = {name: value for name, value in delta._asdict().items() if value is not None}
            new = replace(old, **said)
            _check_free(new.name, names, old.id)
            return [] if new == old else [replace(new, version=version)]
        case Merge(into=into, ids=ids, instruction=instruction):
            if into in ids or not ids or len({*ids}) < len(ids):
                raise UserError(f"merging {ids} into {into}: give each once, and others than the one that stays")
            kept, gone = _active(rows, into), [_active(rows, id) for id in ids]
            new = kept
            if instruction is not None and instruction != kept.instruction:
                new = replace(kept, instruction=instruction, version=version)
            every = [kept, *gone]
            new = replace(
                new,
                helpful=sum(each.helpful for each in every),
                harmful=sum(each.harmful for each in every),
                neutral=sum(each.neutral for each in every),
            )
            return [new, *(replace(each, is_active=False, merged_into=into, **_UNCOUNTED) for each in gone)]
        case Retire():
            old = _known(rows, delta.id)
            return [replace(old, is_active=False)] if old.is_active else []
        case Credit(effect=effect):
            if effect not in get_args(Effect):
                raise UserError(f"credit {effect!r:.40}; known: {', '.join(get_args(Effect))}")
            old = _known(rows, delta.id)
            return [replace(old, **{effect: getattr(old, effect) + 1})]


def _known(rows: Mapping[int, Behavior], id: int) -> Behavior:
    if id not in rows:
        raise UnknownName(f"no behavior {id} in this handbook")
    return rows[id]


def _active(rows: Mapping[int, Behavior], id: int) -> Behavior:
    row = _known(rows, id)
    if not row.is_active:
        took = f", {row.merged_into} took its place" if row.merged_into else ""
        raise UserError(f"behavior {id} ({row.name}) is retired{took}: it cannot be changed")
    return row


def _check_free(name: str, names: Mapping[str, int], id: int) -> None:
    if names.get(name, id) != id:
        raise UserError(f"{name} is behavior {names[name]} already: update that one, or give another name")
