"""Start a model server, wait until it answers, and start it again when it dies."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import IO

from orchestrator.engines.detect import detect
from orchestrator.engines.hold import held
from orchestrator.engines.serving import Serving, address, command, shown
from orchestrator.engines.spec import EngineSpec
from orchestrator.errors import BadConfig, EngineError, EngineTimeout, EngineUnavailable, UserError

__all__ = ["Patience", "Supervisor", "record_of", "supervisors"]

LEASH = Path(__file__).with_name("leash.py")
TAIL_LINES = 40
"""vLLM says what was wrong first, and then for how many processes it was."""
TAIL_BYTES = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long is waited for what, in seconds."""

    ready: float = 1200.0
    """For a server to answer: weights may have to be loaded, graphs to be captured."""
    poll: float = 0.5
    end: float = 20.0
    """For a server to end by itself, before it is killed."""
    first_pause: float = 1.0
    """Before the first new start; twice as long before each next one."""
    longest_pause: float = 60.0
    well: float = 60.0
    """A server that answered so long was well: pauses begin anew."""
    starts: int = 5
    """Starts in a row that may end before the server was well."""


class Supervisor:
    """One server of one engine.

    `folder` keeps its log and its record (see hold.py). `tell` is given a line about everything that happens.
    """

    def __init__(
        self,
        name: str,
        spec: EngineSpec,
        folder: Path,
        tell: Callable[[str], None],
        patience: Patience = Patience(),
    ) -> None:
        if spec.serving is None or spec.url is None:
            raise BadConfig(f"engine {name!r} has no table serve: say what its server serves")
        self.name = name
        self.url = spec.url
        self.serving: Serving = spec.serving
        self.command = command(spec.serving, spec.url, spec.model)
        self.record = record_of(folder, name, spec.url)
        self.log = self.record.with_suffix(".log")
        self._tell = tell
        self._patience = patience
        self._process: asyncio.subprocess.Process | None = None
        self._lock: int | None = None
        self.is_attached = False
        """Somebody else's server answers at the address: it is used as it is, and not ended."""

    @contextmanager
    def held(self) -> Iterator[None]:
        """Be the only one who supervises this engine. Raises UserError if somebody does already."""
        with held(self.record, self.name) as self._lock:
            try:
                yield
            finally:
                self._lock = None

    async def up(self) -> None:
        """Start the server and wait until it answers; where one answers already, that one is used.

        Raises BadConfig for weights or a command that are not there and for a port that something else has,
        EngineUnavailable if the server ends, EngineTimeout if it does not answer in time; `tail` then says more.
        """
        if await self._is_taken():
            self.is_attached = True
            self._tell(f"{self.name}: a server answers at {self.url} already; it is used as it is")
            return
        self._check_files()
        await self._start()

    async def watch(self) -> None:
        """Start the server again whenever it ends; runs until cancelled, or not at all for somebody else's server.

        Raises EngineUnavailable when it has ended too often without having been well.
        """
        failures, pause = 0, self._patience.first_pause
        while not self.is_attached:
            assert self._process is not None
            since = monotonic()
            status = await self._process.wait()
            if monotonic() - since >= self._patience.well:
                failures, pause = 0, self._patience.first_pause
            failures += 1
            if failures >= self._patience.starts:
                raise self._ended(status, f"for the {failures}th time in a row")
            self._tell(f"{self.name}: the server ended with status {status}; it is started again in {pause:g} s")
            await asyncio.sleep(pause)
            pause = min(2 * pause, self._patience.longest_pause)
            with suppress(EngineUnavailable):  # the next turn counts it
                await self._start()

    async def down(self) -> None:
        """End the server, if it is ours, and its workers."""
        if self._process is None or self._process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        await self._process.wait()
        self._tell(f"{self.name}: ended")

    def tail(self) -> str:
        """Return the last lines of the log."""
        try:
            with self.log.open("rb") as log:
                log.seek(max(0, self.log.stat().st_size - TAIL_BYTES))
                data = log.read().decode(errors="replace")
        except OSError:
            return "(no log)"
        lines = [line for line in data.splitlines() if line.strip()]
        return "\n".join(lines[-TAIL_LINES:])

    async def _start(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            log.write(f"\n$ {shown(self.command)}\n".encode())
            log.flush()
            process = self._process = await self._spawn(log)
        self._tell(f"{self.name}: started; log {self.log}")
        started, limit = monotonic(), self._patience.ready
        while process.returncode is None:
            if await self._answers():
                self._tell(f"{self.name}: answers at {self.url} after {monotonic() - started:.0f} s")
                return
            if (elapsed := monotonic() - started) > limit:
                await self.down()
                raise EngineTimeout(
                    f"engine {self.name!r}: its server did not answer within {limit:g} s; its log is {self.log}",
                    engine=self.name,
                    limit_s=limit,
                    elapsed_s=elapsed,
                )
            with suppress(TimeoutError):
                async with asyncio.timeout(self._patience.poll):
                    await process.wait()
        raise self._ended(process.returncode, "before it answered")

    async def _spawn(self, log: IO[bytes]) -> asyncio.subprocess.Process:
        # Isolated: neither the environment that is meant for the server nor the leash's own folder shadows a module.
        leash = [sys.executable, "-IS", str(LEASH), str(self._patience.end)]
        return await asyncio.create_subprocess_exec(
            *leash,
            *self.command,
            stdin=asyncio.subprocess.PIPE,
            stdout=log,
            stderr=log,
            env={**os.environ, **self.serving.env},
            start_new_session=True,  # a terminal's Ctrl-C is for us alone
            pass_fds=() if self._lock is None else (self._lock,),
        )

    def _ended(self, status: int, when: str) -> EngineUnavailable:
        return EngineUnavailable(
            f"engine {self.name!r}: its server ended with status {status} {when}; its log is {self.log}",
            engine=self.name,
        )

    def _check_files(self) -> None:
        model, program = self.serving.model, self.command[0]
        if model.startswith(("/", "./", "../")) and not Path(model).exists():
            raise BadConfig(f"engine {self.name!r}: there are no weights at {model}")
        if shutil.which(program, path=self.serving.env.get("PATH")) is None:
            raise BadConfig(
                f"engine {self.name!r}: there is no command {program}: install vLLM, or name an interpreter that has "
                f"it as python in [engines.{self.name}.serve]"
            )

    async def _connects(self) -> bool:
        try:
            _, writer = await asyncio.open_connection(*address(self.url))
        except OSError:
            return False
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        return True

    async def _kind(self) -> str | None:
        try:
            return await detect(self.name, self.url)
        except EngineError:
            return None

    async def _answers(self) -> bool:
        return await self._connects() and await self._kind() == "vllm"

    async def _is_taken(self) -> bool:
        """Return whether a vLLM server answers already. Raises BadConfig if something else has the port."""
        if not await self._connects():
            return False
        if (kind := await self._kind()) == "vllm":
            return True
        what = f"a {kind} server" if kind else "something that is no model server"
        port = address(self.url).port
        raise BadConfig(
            f"engine {self.name!r}: port {port} is in use by {what}: end it, or give the engine another url"
        )


def record_of(folder: Path, name: str, url: str) -> Path:
    """Return where the record of an engine is: one for each name and port, as projects may share names."""
    return folder / f"{name}-{address(url).port}.pid"


def supervisors(
    specs: Mapping[str, EngineSpec], names: Sequence[str], folder: Path, tell: Callable[[str], None]
) -> list[Supervisor]:
    """Return one for each engine that is to be served, or for those in `names`. Raises UserError if there is none."""
    for name in names:
        if name not in specs:
            raise UserError(f"no engine {name!r}; the configuration has {', '.join(specs)}")
    chosen = list(dict.fromkeys(names)) or [name for name, spec in specs.items() if spec.serving is not None]
    if not chosen:
        raise UserError('no engine has a table serve: write [engines.NAME.serve] with model = "..."')
    found: dict[int, Supervisor] = {}
    for name in chosen:
        server = Supervisor(name, specs[name], folder, tell)
        other = found.setdefault(address(server.url).port, server)
        if other is not server:
            raise BadConfig(f"engines {other.name!r} and {name!r} are to be served at one port: give one another url")
    return list(found.values())
