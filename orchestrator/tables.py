"""Tables as people write them: which keys they may have, of what types, and where each value comes from."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields
from difflib import get_close_matches
from inspect import Parameter, signature
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, get_type_hints

from orchestrator.errors import BadConfig, UserError

__all__ = ["VARIABLE", "Origin", "beside", "built", "called", "checked", "expanded", "unfilled"]

VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
"""An environment variable in a text."""


class Origin(NamedTuple):
    """Where values come from, for messages."""

    file: str
    flags: Mapping[str, Any]
    as_written: Mapping[str, Any] = MappingProxyType({})
    """The tables under the flags, environment variables not filled in."""

    def named(self, path: Sequence[str]) -> str:
        """Return how a message names the value at `path`."""
        return f"{'command line' if self.is_flag(path) else self.file}: {'.'.join(path)}"

    def is_flag(self, path: Sequence[str]) -> bool:
        """Return whether the value at `path` is a flag's."""
        if path[0] == "engines" and path[-1] in self.flags.get("sampling", {}):
            return True
        found: Any = self.flags
        for key in path:
            if not isinstance(found, Mapping) or key not in found:
                return False
            found = found[key]
        return True

    def shown(self, path: Sequence[str], value: Any) -> Any:
        """Return the value at `path` as a message may show it: what came from the environment, as it was written."""
        found: Any = self.as_written
        for key in path:
            found = found.get(key) if isinstance(found, Mapping) else None
        return found if _names_variable(found) else value

    def check_keys(self, table: Any, known: Sequence[str], *path: str) -> None:
        """Raise BadConfig if `table` is no table or has a key that is not known."""
        if not isinstance(table, Mapping):
            raise BadConfig(f"{self.named(path)} is not a table: write [{'.'.join(path)}]")
        for key in table:
            if key not in known:
                near = get_close_matches(key, known, 1)
                hint = f"did you mean {near[0]!r}? " if near else ""
                raise BadConfig(f"{self.named((*path, key))}: no such key; {hint}known: {', '.join(known) or 'none'}")


def unfilled(tables: Mapping[str, Any], written: Mapping[str, Any]) -> dict[str, Any]:
    """Return `tables` with what came from the environment as it was `written`; a key stays what is shown of it."""
    shown: dict[str, Any] = {}
    for key, value in tables.items():
        text = written.get(key)
        if isinstance(value, Mapping):
            shown[key] = unfilled(value, text if isinstance(text, Mapping) else {})
        else:
            shown[key] = text if key != "api_key" and _names_variable(text) else value
    return shown


def _names_variable(written: Any) -> bool:
    if isinstance(written, Mapping):
        return any(_names_variable(each) for each in written.values())
    if isinstance(written, list):
        return any(_names_variable(each) for each in written)
    return isinstance(written, str) and VARIABLE.search(written) is not None


def built(cls: type[Any], table: Any, origin: Origin, *path: str) -> Any:
    """Return the data class made of a table, its fields checked by name and type."""
    hints = get_type_hints(cls)
    options = {each.name: hints[each.name] for each in fields(cls) if each.metadata.get("is_option", True)}
    needed = [each.name for each in fields(cls) if each.default is MISSING and each.default_factory is MISSING]
    return _made(cls, options, needed, table, origin, path)


def called(make: Callable[..., Any], table: Any, origin: Origin, *path: str) -> Any:
    """Return what `make` makes of a table, its parameters checked by name and type."""
    parameters = signature(make, eval_str=True).parameters
    hints = {name: Any if of.annotation is Parameter.empty else of.annotation for name, of in parameters.items()}
    needed = [name for name, of in parameters.items() if of.default is Parameter.empty]
    return _made(make, hints, needed, table, origin, path)


def _made(
    make: Callable[..., Any],
    hints: Mapping[str, Any],
    needed: Sequence[str],
    table: Any,
    origin: Origin,
    path: Sequence[str],
) -> Any:
    origin.check_keys(table, list(hints), *path)
    for name in needed:
        if name not in table:
            raise BadConfig(f"{origin.named(path)} needs {name}")
    values = {key: checked(hints[key], value, origin, *path, key) for key, value in table.items()}
    try:
        return make(**values)
    except UserError as error:
        said = str(error).removeprefix(f"{path[-1]}: ")  # it is named already
        raise BadConfig(f"{origin.named(path)}: {said}") from error


def checked(hint: Any, value: Any, origin: Origin, *path: str) -> Any:
    """Return a value that has the type `hint`. Raises BadConfig for one that has not."""
    # Late: a quarter of a second that `--help` does not need.
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    try:
        config = ConfigDict(strict=True, arbitrary_types_allowed=True)
        return TypeAdapter(hint, config=config).validate_python(value)
    except ValidationError as error:
        found = origin.shown(path, value)
        wanted = " or ".join(_wanted(each["type"], each["msg"], found) for each in error.errors())
        shown = "" if path[-1] == "api_key" else f", not {found!r}"
        raise BadConfig(f"{origin.named(path)} must be {wanted}{shown}") from None


def _wanted(kind: str, message: str, found: Any) -> str:
    if kind == "sequence_str":
        return f'a list: write ["{found}"]'
    if kind == "dict_type":
        return "a table: write {key = value}"
    return message.removeprefix("Input should be ")


def beside(name: str, folder: Path, origin: Origin, *path: str) -> str:
    """Return a file's name as one that is relative to `folder`, unless it is whole."""
    return str(folder / expanded(name, origin, *path))


def expanded(name: str, origin: Origin, *path: str) -> Path:
    """Return a path with `~` as the home it stands for."""
    try:
        return Path(name).expanduser()
    except RuntimeError as error:
        shown = origin.shown(path, name)
        raise BadConfig(f"{origin.named(path)} = {shown!r} is in the home of a user who is not known here") from error
