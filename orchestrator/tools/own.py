"""A tool, whoever wrote it: looked at before it is used, and given as long as it says once it is called."""

from __future__ import annotations

from collections.abc import Mapping
from json import dumps
from time import monotonic
from typing import Any

from orchestrator.errors import UserError
from orchestrator.tools.base import ERROR, Observation, Tool
from orchestrator.tools.function import NAME, Function
from orchestrator.tools.observing import blame, cap_of, check_cap, check_timeout, in_time, observe

__all__ = ["TIMEOUT_S", "check_tool", "observed"]

TIMEOUT_S = 30.0
"""How long a call may take of a tool that does not say."""


def check_tool(tool: Any) -> None:
    """Raise UserError, naming the tool and the mend, where an object with the doors of a tool cannot be one."""
    name = tool.name
    if not (isinstance(name, str) and NAME.fullmatch(name)):
        raise UserError(f"tool name {name!r:.60}: name it with letters, digits, _ and -, at most 64")
    if not isinstance(tool.description, str):
        raise UserError(f"tool {name!r}: description = {tool.description!r:.60} must be a text")
    if not _is_schema(tool.parameters):
        raise UserError(
            f"tool {name!r}: parameters = {tool.parameters!r:.60} must be a JSON schema of an object, such as "
            "{'type': 'object', 'properties': {'of': {'type': 'string'}}}"
        )
    for flag in ("is_idempotent", "needs_approval"):
        if not isinstance(getattr(tool, flag), bool):
            raise UserError(f"tool {name!r}: {flag} = {getattr(tool, flag)!r:.60} must be True or False")
    for door in (tool.check, tool):
        if not callable(door):
            raise UserError(f"tool {name!r}: {door!r:.60} cannot be called: give it check() and an async __call__()")
    check_cap(name, cap_of(tool))
    check_timeout(name, _limit(tool))
    _check_settings(tool)


def _is_schema(parameters: Any) -> bool:
    """Say whether this is a table that JSON can hold, and where the formats read it a schema of an object."""
    try:
        dumps(dict(parameters))
        properties, shared = parameters.get("properties", {}), parameters.get("$defs", {})
        return (
            parameters.get("type", "object") == "object"
            and isinstance(properties, Mapping)
            and isinstance(shared, Mapping)
            and all(_is_told(each) for each in (*properties.values(), *shared.values()))
            and all(isinstance(each, str) for each in parameters.get("required", []))
        )
    except (AttributeError, TypeError, ValueError, RecursionError):
        return False


def _is_told(about: Any) -> bool:
    return (
        isinstance(about, Mapping)
        and isinstance(about.get("enum", []), list | tuple)
        and isinstance(about.get("$ref", ""), str)
        and all(isinstance(each, Mapping) for each in about.get("anyOf", []))
    )


def _check_settings(tool: Any) -> None:
    if not hasattr(tool, "settings"):
        return
    try:
        told = tool.settings()
    except Exception as error:
        raised = blame(error).removeprefix(ERROR)
        raise UserError(f"tool {tool.name!r}: settings() raised {raised}: mend it, or leave it out") from error
    if not isinstance(told, Mapping):
        raise UserError(f"tool {tool.name!r}: settings() returned {told!r:.60}: return a table of what it is set to")


def _limit(tool: Tool) -> float:
    limit: float = getattr(tool, "timeout_s", TIMEOUT_S)
    return limit


async def observed(tool: Tool, arguments: Mapping[str, Any]) -> Observation:
    """Call a tool and return the observation; what it raises is one, and so is that it did not answer in time.

    Raises only if the call is being cancelled.
    """
    if type(tool).__call__ is Function.__call__:  # keeps to its time itself
        return await tool(arguments)

    async def call() -> Any:
        said: Any = await tool(arguments)
        return said.text if isinstance(said, Observation) else said

    began = monotonic()
    text = await in_time(call, tool.name, _limit(tool))
    return observe(text, cap_of(tool), monotonic() - began)
