"""The tables that name a part of a pipeline by its registered name: the router, the mode, the monitors, the tools.

    mode = "think(512)"                  # or a table [mode] with a name and options
    fallback = "no_think"                # where the mode cannot be had; "as-it-is" unless given, "refuse" for none

    [router]
    name = "specreason"

    [[monitors]]                         # in the place of `stalled`; monitors = [] for none
    name = "overthinking"
    file = "exits.json"

    [tools.python]                       # a tool runs only where it is named
    timeout_s = 5

A relative `file` is relative to the folder of the file it is written in; one of a flag to the working directory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from orchestrator import document, modes, monitors, routers
from orchestrator import tools as tool_room
from orchestrator.errors import BadConfig, UnknownName, UserError
from orchestrator.modes.fixed import AS_IT_IS, Fixed, budgeted, fallback_mode
from orchestrator.modes.written import mode_of
from orchestrator.monitors import exit_file as exit_files
from orchestrator.monitors import monitor_file as monitor_files
from orchestrator.monitors.exit_file import ExitFile
from orchestrator.monitors.monitor_file import MonitorFile
from orchestrator.routers.router_file import KIND, RouterFile, parse
from orchestrator.tables import Origin, beside, built, called, checked
from orchestrator.types import Mode

__all__ = [
    "fallback_in",
    "mode_in",
    "monitor",
    "monitor_file",
    "monitors_in",
    "router",
    "router_file",
    "router_in",
    "tools_in",
]

DEFAULT_ROUTER = "specreason"
DEFAULT_MONITORS: Mapping[str, Any] = {"1": {"name": "stalled"}}


def router(name: str, options: Mapping[str, Any], where: str) -> Any:
    """Return the router called `name` with options checked by name and type, as a file's are.

    Raises BadConfig, which calls their place `where`.
    """
    return router_in({"name": name, **options}, Origin(where, {}), Path())


def monitor(name: str, options: Mapping[str, Any], where: str) -> Any:
    """Return the monitor called `name` with options checked by name and type, its file read if it has one.

    Raises BadConfig, which calls their place `where`.
    """
    try:
        return _policy({"name": name, **options}, monitors.find, monitor_file, Origin(where, {}), Path(), name)
    except BadConfig as error:
        told = str(error)
        for place in (f"{where}: {name}: ", f"{where}: {name}.name: "):  # what follows names the monitor, too
            told = told.replace(place, f"{where}: ", 1)
        raise BadConfig(told) from error


def router_file(path: str) -> RouterFile:
    """Return the trained router in a file. Raises BadConfig naming the file and what is wrong with it."""
    return parse(document.read(path, KIND), path)


def monitor_file(path: str, kind: document.Kind = monitor_files.KIND) -> MonitorFile | ExitFile:
    """Return the trained monitor, or the calibrated exits, in a file, as `kind` says.

    Raises BadConfig naming the file, what is wrong with it and the command that makes one.
    """
    data = document.read(path, kind)
    return exit_files.parse(data, path) if kind == exit_files.KIND else monitor_files.parse(data, path)


def router_in(table: Mapping[str, Any], origin: Origin, folder: Path) -> Any:
    """Return the router of the table `[router]`; the default one where it names none."""
    return _policy({"name": DEFAULT_ROUTER, **table}, routers.find, router_file, origin, folder, "router")


def monitors_in(tables: Mapping[str, Any] | None, origin: Origin, folder: Path) -> tuple[Any, ...]:
    """Return the monitors of `[[monitors]]`, by their place in the list from 1; `stalled` where there is no list."""
    given = DEFAULT_MONITORS if tables is None else tables
    for place, table in given.items():
        if not isinstance(table, Mapping):
            raise BadConfig(
                f"{origin.named(('monitors', place))} is no table: write [[monitors]] and name = {table!r:.40}"
            )
    made: dict[str, Any] = {}
    for place, table in given.items():
        monitor = _policy(table, monitors.find, monitor_file, origin, folder, "monitors", place)
        if same := next((other for other, there in made.items() if there == monitor or given[other] == table), None):
            what = f"the same as monitors.{same}, {table['name']}"
            raise BadConfig(f"{origin.named(('monitors', place))} is {what}: name it once, or with other options")
        made[place] = monitor
    return tuple(made.values())


def _policy(
    table: Any,
    find: Callable[[str], Any],
    read: Callable[..., object],
    origin: Origin,
    folder: Path,
    *path: str,
) -> Any:
    """Return the policy that a table names, its options set and its file read if it has one."""
    policy, options = _named(table, find, origin, *path)
    if not is_dataclass(policy):
        origin.check_keys(options, (), *path)
        return policy()
    assert isinstance(policy, type)
    if not hasattr(policy, "with_file"):
        return built(policy, options, origin, *path)
    place = (*path, "file")
    if isinstance(file := options.get("file"), str) and file and not origin.is_flag(place):
        options["file"] = beside(file, folder, origin, *place)
    try:
        return built(policy, options, origin, *path).with_file(read)
    except UserError as error:
        raise error if isinstance(error, BadConfig) else BadConfig(f"{origin.named(path)}: {error}") from error


def _named(table: Any, find: Callable[[str], Any], origin: Origin, *path: str) -> tuple[Any, dict[str, Any]]:
    """Return what a table names, and its options."""
    origin.check_keys(table, list(table) if isinstance(table, Mapping) else (), *path)
    if "name" not in table:
        raise BadConfig(f"{origin.named(path)} needs name")
    options = dict(table)
    name = checked(str, options.pop("name"), origin, *path, "name")
    try:
        return find(name), options
    except UnknownName as error:
        raise BadConfig(f"{origin.named((*path, 'name'))}: {error}") from error


def mode_in(written: Any, origin: Origin) -> Any:
    """Return the Mode, or the policy that chooses one, of `mode`: a text such as think(512), or a table; None for None.

    Of a mode that is fixed a table may say the `budget`.
    """
    if written is None:
        return None
    if isinstance(written, str):
        try:
            policy = mode_of(written)
        except UserError as error:
            raise BadConfig(f"{origin.named(('mode',))}: {error}") from error
        return policy.mode if isinstance(policy, Fixed) else policy
    if not isinstance(written, Mapping):
        raise BadConfig(f"{origin.named(('mode',))} is {written!r:.40}: give a name in quotes, or a table [mode]")
    found, options = _named(written, modes.find, origin, "mode")
    if not isinstance(found, Mode):
        return (built if is_dataclass(found) else called)(found, options, origin, "mode")

    def limited(budget: int) -> Mode:
        return budgeted(found, budget)

    return called(limited, options, origin, "mode") if options else found


def fallback_in(written: Any, origin: Origin) -> Any:
    """Return what a Pipeline takes as `fallback`. Raises BadConfig for what is no single mode."""
    text = checked(str, written, origin, "fallback")
    try:
        mode = fallback_mode(text)
    except UserError as error:
        raise BadConfig(f"{origin.named(('fallback',))}: {error}") from error
    return AS_IT_IS if text == AS_IT_IS else mode


def tools_in(tables: Any, origin: Origin) -> dict[str, Any]:
    """Return the tools of the tables `[tools.NAME]` by the names they are registered by."""
    origin.check_keys(tables, list(tables) if isinstance(tables, Mapping) else (), "tools")
    made = {}
    for name, options in tables.items():
        try:
            found = tool_room.find(name)
        except UnknownName as error:
            raise BadConfig(f"{origin.named(('tools', name))}: {error}") from error
        if isinstance(found, type):
            made[name] = called(found, options, origin, "tools", name)
        else:
            origin.check_keys(options, (), "tools", name)
            made[name] = tool_room.make(name)
    return made
