"""Tools of a pipeline: made from names and functions, told to engines in words that they know."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from inspect import Parameter, iscoroutinefunction, signature
from typing import Any

from orchestrator import tools as tool_room
from orchestrator.engines.spec import EngineSpec, ToolPrompt
from orchestrator.errors import UserError
from orchestrator.options import listed
from orchestrator.runtime.identity import settings_of
from orchestrator.tools.base import Tool
from orchestrator.tools.function import Function
from orchestrator.tools.own import check_tool
from orchestrator.types import Task

__all__ = ["check_tools", "tool_prompt_of", "tool_settings", "tools_of", "untrained"]

_OF_CHAT_APIS = ToolPrompt(format="hermes", is_native=True)


def tools_of(wanted: Any) -> Any:
    """Return tools: names and functions are made into them; a function that makes a task's own stays as it is.

    Raises UserError for what is no list, be it a single tool.
    """
    if not callable(wanted):
        return tuple(map(_tool, listed("tools", wanted)))
    if not _makes_tools(wanted):
        name = getattr(wanted, "name", getattr(wanted, "__name__", "it"))
        raise UserError(f"tools = {name}: give a list, [{name}], or a function of the task that returns one")
    return wanted


def _tool(wanted: Any) -> Any:
    found = tool_room.make(wanted) if isinstance(wanted, str) else wanted
    if isinstance(found, type):
        raise UserError(f"tools: {found.__name__} is a class: give an instance, {found.__name__}(...)")
    if not _is_tool(found):
        found = Function(found)
    check_tool(found)
    return found


def _is_tool(wanted: Any) -> bool:
    return all(hasattr(wanted, each) for each in tool_room.DOORS)


def _makes_tools(wanted: Callable[..., Any]) -> bool:
    """Say whether a function can be given a task, and a task alone; what says nothing of its parameters can."""
    if _is_tool(wanted) or iscoroutinefunction(wanted):
        return False
    try:
        known = signature(wanted, eval_str=True)
        [given] = known.bind(None).arguments
    except TypeError:
        return False
    except (ValueError, NameError):
        return True
    told = known.parameters[given].annotation
    return told in (Parameter.empty, Any) or not isinstance(told, type) or issubclass(Task, told)


def tool_settings(tool: Tool) -> dict[str, Any]:
    """Return what engines are told of a tool and what it says of itself: what a resumed run is compared by."""
    doors = ("description", "parameters", "is_idempotent", "needs_approval")
    own: Mapping[str, Any] = tool.settings() if hasattr(tool, "settings") else {}
    told: dict[str, Any] = settings_of({**{door: getattr(tool, door) for door in doors}, **own})
    return told


def check_tools(tools: Any, engines: Iterable[str]) -> None:
    """Raise UserError for a tool that is called like another, or like an engine: who did what could not be told."""
    if callable(tools):
        return
    tool_room.Toolset(tools)  # refuses two of one name
    for name in {each.name for each in tools} & {*engines}:
        raise UserError(f"a tool is called {name!r}, and so is an engine: give one of them another name")


def tool_prompt_of(wanted: ToolPrompt | None, specs: Mapping[str, EngineSpec]) -> ToolPrompt:
    """Return how engines are told of tools: in the words that the largest one brings, if nothing else is said.

    A chat API is given them apart from the text. Raises UserError for what is no ToolPrompt.
    """
    if wanted is not None and not isinstance(wanted, ToolPrompt):
        raise UserError(f"tool_prompt = {wanted!r:.60}: give a ToolPrompt, or leave it out")
    *_, largest = specs.values()
    return wanted or largest.tools or (_OF_CHAT_APIS if largest.kind == "chat" else ToolPrompt())


def untrained(tools: Iterable[Tool] | Callable[[Task], Any], specs: Mapping[str, EngineSpec]) -> list[str]:
    """Return what is to be said of tools that engines were not trained on: a sentence for engines trained alike.

    Of tools that are made for a task nothing is known before there is one.
    """
    names = [] if callable(tools) else [tool.name for tool in tools]
    trained: dict[tuple[str, ...], list[str]] = {}
    for engine, spec in specs.items():
        if spec.writes and spec.tools is not None and spec.tools.trained_on:
            trained.setdefault(tuple(spec.tools.trained_on), []).append(engine)
    return [
        f"{' and '.join(engines)} learned to use {', '.join(known)} and no other tools: what "
        f"{'they write' if len(engines) > 1 else 'it writes'} with "
        f"{', '.join(others)} may be nonsense{_renamed(others, known)}"
        for known, engines in trained.items()
        if (others := [name for name in names if name not in known])
    ]


def _renamed(others: Sequence[str], known: Sequence[str]) -> str:
    """Return how a tool of ours gets a name that is known, where one is short for its own."""
    ours = [name for name in others if name in tool_room.TOOLS]
    alike = [f"--tool {name}:name={each}" for name in ours for each in known if name.startswith(each)]
    return f"; try {' '.join(alike)}" if alike else ""
