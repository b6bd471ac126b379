"""`<tool>name(arguments)</tool>`: what small engines can learn to write, with next to nothing to get wrong.

A tool with one text parameter takes everything between the outer parentheses, quotes and its own `name=` around it
aside: `calc(3*(4+5))`, `lookup(pen)`. With other parameters the text is split at commas outside brackets and quotes:
`convert(3 km, m)`, by position or as `key=value`; a text that looks like that needs quotes. A value is what the
tool's schema says: `5` is a number for a parameter that takes numbers and a text for one that takes texts; quotes
make a text of it in any case.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from orchestrator.document import strict_json
from orchestrator.errors import BadCall
from orchestrator.tools.base import Tool
from orchestrator.tools.formats.base import Said

__all__ = ["Plain"]

_CALL = re.compile(r"\s*([A-Za-z_][\w-]*)\s*\((.*)\)\s*", re.DOTALL)
_KEY = re.compile(r"\s*([A-Za-z_]\w*)\s*=(?!=)\s*(.*)", re.DOTALL)
_QUOTED = re.compile(r""" "(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*' """, re.DOTALL | re.VERBOSE)
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "\n": ""}
_WORDS = {"True": True, "False": False, "None": None}
_SPELLED = re.compile(r"[<\x00-\x1f]")
_BRACKETS = {"(": ")", "[": "]", "{": "}"}


class Plain:
    """Reads and writes `name(arguments)` between tags."""

    opener = "<tool>"
    closer = "</tool>"
    how = "To call one, write <tool>name(argument, ...)</tool> and stop there."

    def is_call(self, turn: str) -> bool:
        """Return False: the tags say where a call is."""
        return False

    def read(self, inside: str) -> Said:
        """Read a name and the raw text between the outer parentheses. Raises BadCall."""
        found = _CALL.fullmatch(inside)
        if found is None:
            raise BadCall("the call must be written name(arguments)")
        return Said(found[1], found[2])

    def arguments(self, said: Said, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the values by name, each of a type that its schema allows if it can be read so. Raises BadCall."""
        slots = [_Slot(name, _kinds(about, parameters)) for name, about in parameters.get("properties", {}).items()]
        if not said.arguments.strip():
            return {}
        if len(slots) == 1 and slots[0].kinds == {"string"}:
            return {slots[0].name: _whole(said.arguments.strip(), slots[0].name)}
        given: dict[str, Any] = {}
        for position, part in enumerate(_split(said.arguments)):
            slot, text = _place(said.name, part, position, slots)
            if slot.name in given:
                raise BadCall(f"{said.name}: {slot.name} is given twice")
            given[slot.name] = slot.value(text)
        return given

    def write(self, name: str, arguments: Mapping[str, Any], tool: Tool | None) -> str:
        """Write the call; without `tool`, every argument with its name."""
        order = list(tool.parameters.get("properties", {})) if tool is not None else []
        named = list(arguments) != order[: len(arguments)]
        parts = [(f"{key}=" if named else "") + _written(value) for key, value in arguments.items()]
        return f"{self.opener}{name}({', '.join(parts)}){self.closer}"


class _Slot(NamedTuple):
    """Where an argument goes."""

    name: str
    kinds: set[str]
    """JSON types that it takes; empty for any."""

    def value(self, text: str) -> Any:
        """Return what the text means here; where it fits no type it stays a text, and the tool's check says so."""
        if _QUOTED.fullmatch(text):
            return _unquoted(text)
        if text in _WORDS:
            read: Any = _WORDS[text]
        else:
            try:
                read = strict_json(text)
            except (ValueError, RecursionError):
                return text
        return read if not self.kinds or _kind(read) & self.kinds else text


def _whole(text: str, name: str) -> str:
    key = _KEY.fullmatch(text)
    # A program of several lines may well begin with an assignment to that name.
    if key and key[1] == name and ("\n" not in key[2] or _QUOTED.fullmatch(key[2])):
        text = key[2]
    return _unquoted(text) if _QUOTED.fullmatch(text) else text


def _place(tool: str, part: str, position: int, slots: Sequence[_Slot]) -> tuple[_Slot, str]:
    """Return the slot of one part of the arguments and the text for it."""
    by_name = {slot.name: slot for slot in slots}
    key = _KEY.fullmatch(part)
    if key and key[1] in by_name:
        return by_name[key[1]], key[2].strip()
    if key:
        raise BadCall(f"{tool}: there is no parameter {key[1]}; there are: {', '.join(by_name) or 'none'}")
    if position >= len(slots):
        raise BadCall(f"{tool} takes {len(slots)} arguments: {', '.join(by_name) or 'none'}")
    return slots[position], part.strip()


def _split(text: str) -> list[str]:
    """Split at the commas that are in no bracket and no quotes; a quote opens only where a value can begin."""
    parts, start, index = [], 0, 0
    waiting: list[str] = []
    before = ","
    while index < len(text):
        letter = text[index]
        quoted = _QUOTED.match(text, index) if letter in "\"'" and before in ",=:([{" else None
        if quoted:
            index = quoted.end()
            before = '"'
            continue
        if letter in _BRACKETS:
            waiting.append(_BRACKETS[letter])
        elif waiting and letter == waiting[-1]:
            waiting.pop()
        elif letter == "," and not waiting:
            parts.append(text[start:index])
            start = index + 1
        before = before if letter.isspace() else letter
        index += 1
    if waiting:
        raise BadCall(f"a {waiting[-1]} is missing in the arguments")
    return [*parts, text[start:]]


def _kinds(about: Mapping[str, Any], whole: Mapping[str, Any]) -> set[str]:
    """Return the JSON types that a schema takes; empty where it does not say."""
    if "$ref" in about:
        about = whole.get("$defs", {}).get(about["$ref"].rpartition("/")[2], {})
    kinds: set[str] = set()
    for option in about.get("anyOf", [about]):
        kind = option.get("type")
        if not isinstance(kind, str):
            return set()
        kinds.add(kind)
    return kinds


def _kind(value: Any) -> set[str]:
    """Return the JSON types that a value is."""
    kinds: dict[type, set[str]] = {
        str: {"string"},
        bool: {"boolean"},
        int: {"integer", "number"},
        float: {"number"},
        list: {"array"},
        dict: {"object"},
    }
    return kinds.get(type(value), {"null"})


def _unquoted(text: str) -> str:
    """Return the text in quotes: a JSON string if it is one, else with the usual escapes taken as meant."""
    try:
        read = json.loads(text, strict=False)
        return str(read)
    except ValueError:
        return _ESCAPE.sub(_letter, text[1:-1])


def _letter(escape: re.Match[str]) -> str:
    code = escape[1]
    if len(code) > 1:
        return chr(int(code[1:], 16))
    return _ESCAPES.get(code, code if code in "\\'\"/" else f"\\{code}")


def _written(value: Any) -> str:
    """Return a value as it is read back: a text without quotes where no other reading is possible."""
    if isinstance(value, str) and _is_plain(value):
        return value
    return _SPELLED.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))


def _is_plain(text: str) -> bool:
    if text != text.strip() or not text or _SPELLED.search(text) or "=" in text or text[0] in "\"'" or text in _WORDS:
        return False
    try:
        strict_json(text)
        return False
    except (ValueError, RecursionError):
        pass
    try:
        return len(_split(text)) == 1
    except BadCall:
        return False
