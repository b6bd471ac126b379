"""Find a policy by name: our own table first, then the entry points of installed packages."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from orchestrator.errors import UnknownName, UserError

__all__ = ["by_class", "find", "foreign", "names"]


@cache
def _installed(kind: str) -> tuple[EntryPoint, ...]:
    """Return what packages have registered; read once, as it opens a file of every package that is installed."""
    return tuple(entry_points(group=f"orchestrator.{kind}"))


def _known(kind: str, ours: Mapping[str, str]) -> dict[str, EntryPoint]:
    known = {point.name: point for point in _installed(kind)}
    return known | {name: EntryPoint(name, target, f"orchestrator.{kind}") for name, target in ours.items()}


def names(kind: str, ours: Mapping[str, str]) -> list[str]:
    """Return every name `find` would accept, sorted."""
    return sorted(_known(kind, ours))


def find(kind: str, name: str, ours: Mapping[str, str]) -> Any:
    """Return the object registered as `name`; our own table wins over an entry point.

    Raises UnknownName, listing every name that would have worked, or UserError if what an installed
    package has registered cannot be loaded.
    """
    known = _known(kind, ours)
    if name not in known:
        raise UnknownName(f"no {kind.removesuffix('s')} named {name!r}; known: {', '.join(sorted(known))}")
    if name in ours:
        return known[name].load()
    try:
        return known[name].load()
    except (Exception, SystemExit) as error:  # somebody else's package: whatever it raises is theirs to mend
        who, what = _package(known[name]), " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(
            f"{kind.removesuffix('s')} {name!r} of the package {who} cannot be loaded ({what}): mend or uninstall it"
        ) from error


@cache
def foreign(kind: str) -> Mapping[str, tuple[str, str]]:
    """Return what packages have registered: by target, "module:object", the name and the package's version."""
    return {point.value: (point.name, point.dist.version if point.dist else "") for point in _installed(kind)}


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.module


def by_class(kind: str, class_name: str, ours: Mapping[str, str]) -> Any:
    """Return the class of our own table that is called `class_name`, imported now: the room's own `__getattr__`.

    Raises AttributeError, as a module does.
    """
    for name, target in ours.items():
        if target.endswith(f":{class_name}"):
            return find(kind, name, ours)
    raise AttributeError(f"module 'orchestrator.{kind}' has no attribute {class_name!r}")
