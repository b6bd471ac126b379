"""What the trace calls a policy, and what a resumed run is compared by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from importlib.metadata import version
from typing import Any, NamedTuple

from orchestrator import modes, monitors, registry, routers
from orchestrator.engines.spec import EngineSpec
from orchestrator.functions import named
from orchestrator.monitors.exit_file import ExitFile
from orchestrator.monitors.monitor_file import MonitorFile
from orchestrator.routers.router_file import RouterFile
from orchestrator.types import Mode

__all__ = ["Policy", "mode_name", "policy_name", "policy_of", "settings_of"]

_COLLECT = "orchestrator.routers.collect:Collect"
"""No router to choose, so in no table; but what it writes has a short name."""


class Policy(NamedTuple):
    """What the trace calls a policy."""

    name: str
    """Its registered name, or the place of its class."""
    version: str
    """Of its package."""

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def policy_of(policy: Any) -> Policy:
    """Return name and version of a policy."""
    target = f"{type(policy).__module__}:{type(policy).__qualname__}"
    tables = (routers.ROUTERS, monitors.MONITORS, modes.MODES)
    known = {value: name for table in tables for name, value in table.items()} | {_COLLECT: "collect"}
    if name := known.get(target):
        return Policy(name, _version())
    name, version = registry.foreign("routers").get(target, (target, ""))
    return Policy(name, version or _version())


def policy_name(policy: Any) -> str:
    """Return name and version of a policy as one text."""
    return str(policy_of(policy))


@cache
def _version() -> str:
    return version("reasoning-orchestrator")  # reads and parses a file


def mode_name(mode: Any) -> str:
    """Return what the trace calls whoever chose the mode."""
    return "pipeline" if isinstance(mode, Mode) else policy_name(mode)


def settings_of(value: Any) -> Any:
    """Return `value` as plain JSON data that names every option: what a resumed run is compared by."""
    if isinstance(value, EngineSpec | RouterFile | MonitorFile | ExitFile):
        return value.settings()
    if is_dataclass(value) and not isinstance(value, type):
        settings = [each.name for each in fields(value) if each.metadata.get("is_setting", True)]
        options = {name: settings_of(getattr(value, name)) for name in settings}
        return {"policy": policy_name(value), **options}
    if isinstance(value, Mapping):
        return {str(key): settings_of(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [settings_of(item) for item in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return named(value)
