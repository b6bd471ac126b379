"""What an agent may do besides thinking. A tool runs only in a pipeline that names it."""

from __future__ import annotations

import inspect
from typing import Any

from orchestrator import registry
from orchestrator.errors import UnknownName, UserError

__all__ = ["TOOLS", "Calculator", "Function", "Python", "Toolset", "find", "make", "tool"]

TOOLS = {
    "calculator": "orchestrator.tools.calculator:Calculator",
    "python": "orchestrator.tools.python:Python",
}
DOORS = ("name", "description", "parameters", "is_idempotent", "needs_approval", "check")
"""What every tool has, besides that it can be called."""
_PUBLIC = {
    "Function": "orchestrator.tools.function:Function",
    "Toolset": "orchestrator.tools.toolset:Toolset",
    "tool": "orchestrator.tools.function:tool",
}


def find(name: str) -> Any:
    """Return what is registered as `name`: a class of tools or a tool. Raises UnknownName, listing all names."""
    return registry.find("tools", name, TOOLS)


def make(name: str, /, **options: Any) -> Any:
    """Return the tool registered as `name`, made with `options`.

    Raises UnknownName, or UserError for an option that it does not take or that is out of range, and where what is
    registered is no tool.
    """
    found = find(name)
    if isinstance(found, type):
        known = inspect.signature(found).parameters
        for option in options:
            if option not in known:
                raise UnknownName(f"tool {name!r} has no option {option!r}; known: {', '.join(known)}")
        found = found(**options)
    elif options:
        raise UserError(f"tool {name!r} takes no options; given: {', '.join(options)}")
    if not callable(found) or not all(hasattr(found, door) for door in DOORS):
        raise UserError(f"tool {name!r} is {found!r:.80}, which is no tool: mend its package")
    return found


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return registry.find("tools", name, _PUBLIC)
    return registry.by_class("tools", name, TOOLS)
