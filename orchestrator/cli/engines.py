"""`orchestrator engines`: start, watch and end the vLLM servers that the configuration describes."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.doctor import doctor
from orchestrator.cli.source import config_flag

if TYPE_CHECKING:
    from orchestrator.config import RunConfig
    from orchestrator.engines.supervisor import Supervisor

__all__ = ["engines"]

_WAIT_S = 60.0


@click.group(no_args_is_help=True)
def engines() -> None:
    """Start, watch and end the vLLM servers that the configuration describes."""


@engines.command(epilog="Example: orchestrator engines up --dry-run")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--dry-run", is_flag=True, help="Print the exact commands and start nothing.")
@config_flag
def up(names: tuple[str, ...], dry_run: bool, **given: Any) -> int | None:
    """Start the servers of all engines with a table serve, or of those named, and watch them until Ctrl-C.

    A server that ends is started again. No server outlives this command, however it ends.
    """
    from orchestrator.cli.streams import note, say
    from orchestrator.engines.serving import shown
    from orchestrator.engines.supervisor import supervisors

    servers = supervisors(dict(_loaded(given).engines), names, _folder(), note)
    if dry_run:
        for server in servers:
            say(shown(server.serving, server.command))
        return None
    return asyncio.run(_serve(servers))


@engines.command(epilog="Example: orchestrator engines down")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@config_flag
def down(names: tuple[str, ...], **given: Any) -> None:
    """End the `engines up` that serves all engines, or those named, and its servers with it."""
    from orchestrator.cli.streams import note
    from orchestrator.engines.supervisor import holder
    from orchestrator.errors import UserError

    known = names or tuple(_loaded(given).engines)
    found = {pid for name in known if (pid := holder(_folder(), name))}
    if not found:
        raise UserError(f"no `orchestrator engines up` serves {', '.join(known)}")
    for pid in found:
        os.kill(pid, signal.SIGTERM)
    asyncio.run(_wait_until_gone(known))
    note(f"ended: {', '.join(known)}")


@engines.command("list", epilog="Example: orchestrator engines list --json")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per engine.")
@config_flag
def list_(as_json: bool, **given: Any) -> None:
    """List the engines of the configuration: what they are, who serves them, and whether they answer."""
    from orchestrator.cli.streams import printing, say, say_json

    rows = asyncio.run(_rows(_loaded(given)))
    with printing():
        for row in rows:
            if as_json:
                say_json(row)
            else:
                say(
                    f"{row['name']:<10} {row['kind']:<9} {row['state']:<28} {row['at']}  speculation {row['speculation']}"
                )


engines.add_command(doctor)


def _loaded(given: Mapping[str, Any]) -> RunConfig:
    from orchestrator.cli.source import loaded_config

    return loaded_config(given)


def _folder() -> Path:
    from orchestrator.config import default_db

    return default_db().parent / "engines"


async def _serve(servers: Sequence[Supervisor]) -> int:
    """Run until told to end; servers come up side by side, and all end with the first that cannot be kept up."""
    from contextlib import ExitStack

    from orchestrator.cli.streams import note
    from orchestrator.engines.supervisor import held
    from orchestrator.errors import EngineError

    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    with ExitStack() as stack:
        for server in servers:
            stack.enter_context(held(_folder(), server.name))
        watching = [asyncio.create_task(_kept_up(server)) for server in servers]
        told = asyncio.create_task(stopping.wait())
        try:
            done, _ = await asyncio.wait([told, *watching], return_when=asyncio.FIRST_COMPLETED)
            for task in done - {told}:
                task.result()
        except EngineError as error:
            failed = next(server for server in servers if server.name == error.engine)
            note(failed.tail())
            raise
        finally:
            for task in (told, *watching):
                task.cancel()
            await asyncio.gather(told, *watching, return_exceptions=True)
            await asyncio.gather(*(server.down() for server in servers))
    return 0


async def _kept_up(server: Supervisor) -> None:
    await server.up()
    await server.watch()
    await asyncio.Event().wait()  # somebody else's server: there is nothing to watch


async def _wait_until_gone(names: Sequence[str]) -> None:
    from orchestrator.engines.supervisor import holder
    from orchestrator.errors import UserError

    for _ in range(int(_WAIT_S / 0.1)):
        if not any(holder(_folder(), name) for name in names):
            return
        await asyncio.sleep(0.1)
    raise UserError(f"still ending after {_WAIT_S:.0f} s: {', '.join(names)}")


async def _rows(loaded: RunConfig) -> list[dict[str, Any]]:
    from orchestrator.engines.detect import detect
    from orchestrator.engines.supervisor import holder
    from orchestrator.errors import OrchestratorError

    rows = []
    for name, spec in loaded.engines.items():
        state = "in this process"
        if spec.url is not None:
            try:
                state = f"answers as {await detect(name, spec.url)}"
            except OrchestratorError:
                state = "does not answer"
        if pid := holder(_folder(), name):
            state += f", served by {pid}"
        drafting = spec.serving.speculation if spec.serving else None
        rows.append(
            {
                "name": name,
                "kind": spec.kind,
                "state": state,
                "at": spec.url or spec.path or "",
                "speculation": drafting.method if drafting else "none" if spec.serving else "unknown",
            }
        )
    return rows
