"""Start a model server, wait until it answers, and start it again when it dies or hangs."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from types import MappingProxyType
from typing import IO, NamedTuple

from orchestrator.engines.detect import is_well, version
from orchestrator.engines.diagnosis import diagnosis, tail, written
from orchestrator.engines.hold import held
from orchestrator.engines.listening import answers, check_served, is_taken
from orchestrator.engines.serving import MADE_FOR, Serving, address, command, is_older, shown
from orchestrator.engines.spec import EngineSpec
from orchestrator.engines.weights import check_weights
from orchestrator.errors import BadConfig, EngineError, EngineTimeout, EngineUnavailable, UserError

__all__ = ["Patience", "Supervisor", "record_of", "supervisors"]

LEASH = Path(__file__).with_name("leash.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long is waited for what, in seconds."""

    ready: float = 1200.0
    """For a server to answer: weights may have to be loaded, graphs to be captured."""
    poll: float = 0.5
    end: float = 20.0
    """For a server to end by itself, before it is killed."""
    heartbeat: float = 10.0
    """Between two questions whether a server is well."""
    hang: float = 120.0
    """Since it last said so, before it is ended: a long prefill on a CPU keeps it from answering for a minute."""
    first_pause: float = 1.0
    """Before the first new start; twice as long before each next one."""
    longest_pause: float = 60.0
    well: float = 60.0
    """From a start to the last sign of life, for the server to have been well: pauses begin anew."""
    starts: int = 5
    """Starts in a row that may end before the server was well."""


class _End(NamedTuple):
    what: str
    cause: str = ""
    """With the mend; empty where nobody knows."""

    def told(self, when: str = "") -> str:
        return f"{self.what}{when}" + (f": {self.cause}" if self.cause else "")


class Supervisor:
    """One server of one engine.

    `folder` keeps its log, the one before and its record (see hold.py). `tell` is given a line about everything that
    happens. `written` is what is served as the config has it, with its `${NAME}`s: the log shows the command so.
    Without it, the log leaves out `args`, which may hold secrets.
    """

    def __init__(
        self,
        name: str,
        spec: EngineSpec,
        folder: Path,
        tell: Callable[[str], None],
        patience: Patience = Patience(),
        written: Serving | None = None,
    ) -> None:
        if spec.serving is None or spec.url is None:
            raise BadConfig(f"engine {name!r} has no table serve: say what its server serves")
        self.name = name
        self.url = spec.url
        self.serving: Serving = spec.serving
        self.command = command(spec.serving, spec.url, spec.model)
        self.written = written or replace(spec.serving, args=["..."] if spec.serving.args else [])
        self.record = record_of(folder, name, spec.url)
        self.log = self.record.with_suffix(".log")
        self._spec = spec
        self._tell = tell
        self._patience = patience
        self._process: asyncio.subprocess.Process | None = None
        self._log_start = 0
        self._heard = 0.0
        """When the server was last known to be well, in seconds of a monotonic clock."""
        self._was_late = False
        """It was ended because it did not answer in time."""
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

    async def check(self) -> None:
        """Find out whether the server can be started, or that one answers already; start nothing.

        Raises BadConfig for weights or a command that are not there, for a port that something else has and for a
        server there that serves something else, EngineError if that one does not say what it serves.
        """
        self.is_attached = await is_taken(self.name, self.url)
        if self.is_attached:
            await check_served(self.name, self._spec)
        else:
            self._check_files()

    async def up(self) -> None:
        """Start the server and wait until it answers; where one answers already, that one is used.

        Raises what `check` raises, EngineUnavailable with the cause if the server ends, EngineTimeout if it does not
        answer in time; `tail` then says more. The log begins anew.
        """
        await self.check()
        if self.is_attached:
            self._tell(f"{self.name}: a server answers at {self.url} already; it is used as it is")
        else:
            with suppress(FileNotFoundError):
                self.log.replace(self.log.with_suffix(".log.old"))
            await self._start()
        await self._check_version()

    async def watch(self) -> None:
        """Start the server again whenever it ends or hangs; runs until cancelled, or not at all for somebody else's.

        A start that does not answer in time counts as a server that ended. Raises EngineUnavailable when that has
        happened too often without the server having been well.
        """
        failures, pause = 0, self._patience.first_pause
        while not self.is_attached:
            since = monotonic()
            end = await self._over()
            if self._heard - since >= self._patience.well:
                failures, pause = 0, self._patience.first_pause
            failures += 1
            if failures >= self._patience.starts:
                raise self._failed(end, f" for the {failures}th time in a row")
            self._tell(f"{self.name}: the server {end.told()}; it is started again in {pause:g} s")
            await asyncio.sleep(pause)
            pause = min(2 * pause, self._patience.longest_pause)
            with suppress(EngineUnavailable, EngineTimeout):  # the next turn counts it
                await self._start()

    async def down(self) -> None:
        """End the server, if it is ours, and its workers."""
        if self._process is None or self._process.returncode is not None:
            return
        await self._end(self._process)
        self._tell(f"{self.name}: ended")

    def tail(self) -> str:
        """Return the last lines of the log."""
        return tail(self.log)

    async def _start(self) -> None:
        self._was_late = False
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with open(self.log, "ab", opener=_for_us_alone) as log:
            self._log_start = log.tell()
            log.write(f"\n$ {shown(command(self.written, self.url, self._spec.model))}\n".encode())
            log.flush()
            spawning = asyncio.create_task(self._spawn(log))
            try:
                process = self._process = await asyncio.shield(spawning)
            except asyncio.CancelledError:  # it may run already, and `down` has to know it
                self._process = await spawning
                raise
        self._tell(f"{self.name}: started; log {self.log}")
        started, limit = monotonic(), self._patience.ready
        while process.returncode is None:
            if await answers(self.name, self.url):
                self._tell(f"{self.name}: answers at {self.url} after {monotonic() - started:.0f} s")
                return
            if (elapsed := monotonic() - started) > limit:
                self._was_late = True
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
        raise self._failed(self._ended(process.returncode), " before it answered")

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

    async def _over(self) -> _End:
        """Wait until the server has ended; one that hangs is ended."""
        process = self._process
        assert process is not None
        self._heard = monotonic()
        ending, silence = asyncio.create_task(process.wait()), asyncio.create_task(self._silence())
        try:
            await asyncio.wait([ending, silence], return_when=asyncio.FIRST_COMPLETED)
            if process.returncode is not None:
                return self._ended(process.returncode)
            silence.result()
            await self._end(process)
            return _End(f"gave no sign of life for {self._patience.hang:g} s and was ended")
        finally:
            ending.cancel()
            silence.cancel()

    async def _silence(self) -> None:
        """Return once the server has not been well for too long."""
        while monotonic() - self._heard < self._patience.hang:
            await asyncio.sleep(self._patience.heartbeat)
            left = self._heard + self._patience.hang - monotonic()
            # Whoever was stopped for a while has no time left, and has to ask before it judges.
            if await is_well(self.name, self.url, max(left, self._patience.heartbeat)):
                self._heard = monotonic()

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        await process.wait()

    def _ended(self, status: int) -> _End:
        if self._was_late:
            return _End(f"did not answer within {self._patience.ready:g} s and was ended")
        return _End(f"ended with status {status}", diagnosis(written(self.log, self._log_start) or "", status))

    def _failed(self, end: _End, when: str) -> EngineUnavailable:
        return EngineUnavailable(
            f"engine {self.name!r}: its server {end.told(when)}; its log is {self.log}", engine=self.name
        )

    async def _check_version(self) -> None:
        with suppress(EngineError):  # it has just died, and `watch` will see to it
            found = await version(self.name, self.url)
            if not is_older(found):
                return
            self._tell(
                f"{self.name}: vLLM {found} answers; this was made for {MADE_FOR}: what an older one does not know, it "
                "refuses or ignores"
            )

    def _check_files(self) -> None:
        check_weights(self.name, self.serving)
        program = self.command[0]
        if shutil.which(program, path=self.serving.env.get("PATH")) is None:
            raise BadConfig(
                f"engine {self.name!r}: there is no command {program}: install vLLM, or name an interpreter that has "
                f"it as python in [engines.{self.name}.serve]"
            )


def _for_us_alone(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def record_of(folder: Path, name: str, url: str) -> Path:
    """Return where the record of an engine is: one for each name and port, as projects may share names."""
    return folder / f"{name}-{address(url).port}.pid"


def supervisors(
    specs: Mapping[str, EngineSpec],
    names: Sequence[str],
    folder: Path,
    tell: Callable[[str], None],
    written: Mapping[str, Serving] = MappingProxyType({}),
) -> list[Supervisor]:
    """Return one for each engine that is to be served, or for those in `names`. Raises UserError if there is none.

    `written` has what is served by engine, as for a Supervisor.
    """
    for name in names:
        if name not in specs:
            raise UserError(f"no engine {name!r}; the configuration has {', '.join(specs)}")
    chosen = list(dict.fromkeys(names)) or [name for name, spec in specs.items() if spec.serving is not None]
    if not chosen:
        raise UserError('no engine has a table serve: write [engines.NAME.serve] with model = "..."')
    found: dict[int, Supervisor] = {}
    for name in chosen:
        server = Supervisor(name, specs[name], folder, tell, written=written.get(name))
        other = found.setdefault(address(server.url).port, server)
        if other is not server:
            raise BadConfig(f"engines {other.name!r} and {name!r} are to be served at one port: give one another url")
    return list(found.values())
