"""`orchestrator engines`: start, watch and end the vLLM servers that the configuration describes."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.doctor import doctor
from orchestrator.cli.engine_profile import profile
from orchestrator.cli.source import config_flag

if TYPE_CHECKING:
    from orchestrator.config import RunConfig
    from orchestrator.engines.serving import Serving
    from orchestrator.engines.spec import EngineSpec
    from orchestrator.engines.supervisor import Supervisor

__all__ = ["engines"]

_WAIT_S = 60.0
_POLL_S = 0.1


@click.group(no_args_is_help=True, epilog="Example: orchestrator engines up large")
def engines() -> None:
    """Start, watch and end model servers: the vLLM servers that the configuration describes."""


@engines.command(epilog="Example: orchestrator engines up --dry-run")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--dry-run", is_flag=True, help="Print the exact commands and start nothing.")
@config_flag
def up(names: tuple[str, ...], dry_run: bool, **given: Any) -> int | None:
    """Start the servers of all engines with a table serve, or of those named, and watch them until Ctrl-C.

    A server that ends or hangs is started again. No server outlives this command, however it ends. Where a vLLM server
    answers at an engine's address already, it is used as it is and left alone; if all do, there is nothing to watch.
    """
    from orchestrator.cli.streams import note, say
    from orchestrator.config import engines_folder
    from orchestrator.engines.supervisor import supervisors

    loaded = _loaded(given)
    servers = supervisors(loaded.engines, names, engines_folder(), note, _written(loaded))
    if dry_run:
        from orchestrator.engines.serving import command, shown

        for server in servers:
            words = command(server.written, server.url, loaded.engines[server.name].model)
            say(shown(words, server.written.env))
        return None
    return asyncio.run(_serve(servers))


@engines.command(epilog="Example: orchestrator engines down")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@config_flag
def down(names: tuple[str, ...], **given: Any) -> None:
    """End the `engines up` that serves the engines of the configuration, or those named, and all of its servers."""
    from orchestrator.cli.streams import note
    from orchestrator.errors import UserError

    loaded = _loaded(given)
    holders = {name: pid for name, spec in loaded.engines.items() if (pid := _holder(name, spec))}
    missing = [name for name in names or loaded.engines if name not in holders]
    if missing and (names or not holders):
        raise UserError(f"no `orchestrator engines up` serves {', '.join(missing)}")
    pids = {holders[name] for name in names or holders}
    ended = {name: loaded.engines[name] for name, pid in holders.items() if pid in pids}
    asyncio.run(_end(pids, ended))
    note(f"ended: {', '.join(ended)}")


@engines.command("list", epilog="Example: orchestrator engines list --json")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per engine.")
@config_flag
def list_(as_json: bool, **given: Any) -> None:
    """List the engines of the configuration, and what embeds: what they are, who serves them, whether they answer."""
    from orchestrator.cli.streams import printing, say, say_json

    rows = asyncio.run(_rows(_loaded(given)))
    with printing():
        for row in rows:
            if as_json:
                say_json(row)
            else:
                start = f"{row['name']:<10} {row['kind']:<9} {row['state']:<28}"
                say(f"{start} {row['at']}  speculation {row['speculation']}")


engines.add_command(
    click.Command(
        "doctor",
        callback=doctor.callback,
        params=doctor.params,
        help=doctor.help,
        epilog="Example: orchestrator engines doctor",
    )
)
engines.add_command(profile)


def _loaded(given: Mapping[str, Any]) -> RunConfig:
    from orchestrator.cli.source import loaded_config

    return loaded_config(given)


def _holder(name: str, spec: EngineSpec) -> int | None:
    from orchestrator.config import engines_folder
    from orchestrator.engines.hold import holder
    from orchestrator.engines.supervisor import record_of

    if spec.serving is None or spec.url is None:
        return None
    return holder(record_of(engines_folder(), name, spec.url))


def _written(loaded: RunConfig) -> dict[str, Serving]:
    """Return what is served by engine, with the names of environment variables where the file has them."""
    from dataclasses import replace

    found = {}
    for name, spec in loaded.engines.items():
        if (serving := spec.serving) is not None:
            table = {"model": serving.model, "args": list(serving.args), "env": dict(serving.env)}
            shown = loaded.shown({"engines": {name: {"serve": table}}})["engines"][name]["serve"]
            found[name] = replace(serving, **shown)
    return found


async def _serve(servers: Sequence[Supervisor]) -> int:
    """Run until told to end; servers come up side by side, and all end with the first that cannot be kept up.

    Nothing is started where one of them cannot be.
    """
    from contextlib import ExitStack

    from orchestrator.cli.streams import note
    from orchestrator.errors import EngineError

    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    with ExitStack() as stack:
        for server in servers:
            stack.enter_context(server.held())
        for server in servers:
            await server.check()
        watching = [asyncio.create_task(_kept_up(server)) for server in servers]
        told: asyncio.Future[Any] = asyncio.create_task(stopping.wait())
        ended: asyncio.Future[Any] = asyncio.gather(*watching)
        try:
            await asyncio.wait([told, ended], return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                ended.result()
        except EngineError as error:
            failed = next(server for server in servers if server.name == error.engine)
            note(failed.tail())
            raise
        finally:
            for task in (told, *watching):
                task.cancel()
            await asyncio.gather(told, ended, *watching, return_exceptions=True)
            await asyncio.gather(*(server.down() for server in servers))
    return 0


async def _kept_up(server: Supervisor) -> None:
    await server.up()
    await server.watch()


async def _end(pids: Iterable[int], served: Mapping[str, EngineSpec]) -> None:
    """End those who supervise; if they do not listen, kill them: their servers end with them. Raises UserError."""
    from orchestrator.errors import UserError

    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        for _ in range(int(_WAIT_S / _POLL_S)):
            if not any(_holder(name, spec) for name, spec in served.items()):
                return
            await asyncio.sleep(_POLL_S)
    raise UserError(f"still ending after {2 * _WAIT_S:.0f} s: {', '.join(served)}")


async def _rows(loaded: RunConfig) -> list[dict[str, Any]]:
    rows = await asyncio.gather(*(_row(name, spec) for name, spec in loaded.engines.items()))
    if (of := loaded.embedding) is not None:
        state, at = await _state("embedding", of.url), of.url or of.path
        rows.append({"name": "-", "kind": "embedding", "state": state, "at": at, "speculation": "none"})
    return rows


async def _state(name: str, url: str | None) -> str:
    from orchestrator.engines.detect import detect
    from orchestrator.errors import OrchestratorError

    if url is None:
        return "in this process"
    try:
        return f"answers as {await detect(name, url)}"
    except OrchestratorError:
        return "does not answer"


async def _row(name: str, spec: EngineSpec) -> dict[str, Any]:
    state = await _state(name, spec.url)
    if pid := _holder(name, spec):
        state += f", served by {pid}"
    drafting = spec.serving.speculation if spec.serving else None
    return {
        "name": name,
        "kind": spec.kind,
        "state": state,
        "at": spec.url or spec.path or "",
        "speculation": drafting.method if drafting else "none" if spec.serving else "unknown",
    }
