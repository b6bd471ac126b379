"""Start a model server, wait until it answers, and start it again when it dies."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import IO
from urllib.parse import urlsplit

from orchestrator.engines.detect import detect
from orchestrator.engines.serving import Serving, command, shown
from orchestrator.engines.spec import EngineSpec
from orchestrator.errors import BadConfig, EngineError, EngineTimeout, EngineUnavailable, UserError

__all__ = ["Patience", "Supervisor", "held", "holder", "supervisors"]

LEASH = Path(__file__).with_name("leash.py")
TAIL_LINES = 12
TAIL_BYTES = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long is waited for what, in seconds."""

    ready: float = 1200.0
    """For a server to answer: weights may have to be loaded, graphs to be captured."""
    poll: float = 0.5
    first_pause: float = 1.0
    """Before the first new start; twice as long before each next one."""
    longest_pause: float = 60.0
    well: float = 60.0
    """A server that answered so long was well: pauses begin anew."""
    starts: int = 5
    """Starts in a row that may end before the server was well."""


class Supervisor:
    """One server of one engine.

    `folder` keeps its log. `tell` is given a line about everything that happens.
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
        self.log = folder / f"{name}.log"
        self._tell = tell
        self._patience = patience
        self._process: asyncio.subprocess.Process | None = None
        self.is_attached = False
        """Somebody else's server answers at the address: it is used as it is, and not ended."""

    async def up(self) -> None:
        """Start the server and wait until it answers; where one answers already, that one is used.

        Raises BadConfig for weights that are not there or a port that something else has, EngineUnavailable
        if the server ends, EngineTimeout if it does not answer in time; `tail` then says more.
        """
        self._check_weights()
        if await self._is_taken():
            self.is_attached = True
            self._tell(f"{self.name}: a server answers at {self.url} already; it is used as it is")
            return
        await self._start()

    async def watch(self) -> None:
        """Start the server again whenever it ends; runs until cancelled.

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
            self._tell(f"{self.name}: the server ended with status {status}; it is started again in {pause:.0f} s")
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

    async def _start(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            log.write(f"\n$ {shown(self.serving, self.command)}\n".encode())
            log.flush()
            self._process = await self._spawn(log)
        self._tell(f"{self.name}: started; log {self.log}")
        started = monotonic()
        while not await self._answers():
            if self._process.returncode is not None:
                raise self._ended(self._process.returncode, "before it answered")
            if (elapsed := monotonic() - started) > self._patience.ready:
                await self.down()
                raise EngineTimeout(
                    f"engine {self.name!r}: its server did not answer within {self._patience.ready:.0f} s; its log is {self.log}",
                    engine=self.name,
                    limit_s=self._patience.ready,
                    elapsed_s=elapsed,
                )
            with suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), self._patience.poll)
        self._tell(f"{self.name}: answers at {self.url} after {monotonic() - started:.0f} s")

    async def _spawn(self, log: IO[bytes]) -> asyncio.subprocess.Process:
        words = [sys.executable, str(LEASH), *self.command]
        environment = {**os.environ, **self.serving.env}
        return await asyncio.create_subprocess_exec(
            *words, stdin=asyncio.subprocess.PIPE, stdout=log, stderr=log, env=environment
        )

    def _ended(self, status: int, when: str) -> EngineUnavailable:
        return EngineUnavailable(
            f"engine {self.name!r}: its server ended with status {status} {when}; its log is {self.log}",
            engine=self.name,
        )

    def tail(self) -> str:
        """Return the last lines of the log."""
        try:
            data = self.log.read_bytes()[-TAIL_BYTES:].decode(errors="replace")
        except OSError:
            return "(no log)"
        lines = [line for line in data.splitlines() if line.strip()]
        return "\n".join(lines[-TAIL_LINES:])

    def _check_weights(self) -> None:
        model = self.serving.model
        if model.startswith(("/", "./", "../", "~")) and not Path(model).expanduser().exists():
            raise BadConfig(f"engine {self.name!r}: there are no weights at {model}")

    async def _answers(self) -> bool:
        try:
            return await detect(self.name, self.url) == "vllm"
        except EngineError:
            return False

    async def _is_taken(self) -> bool:
        """Return whether a vLLM server answers already. Raises BadConfig if something else has the port."""
        address = urlsplit(self.url)
        try:
            _, writer = await asyncio.open_connection(address.hostname, address.port)
        except OSError:
            return False
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        try:
            found = await detect(self.name, self.url)
        except EngineError:
            found = ""
        if found == "vllm":
            return True
        what = f"a {found} server" if found else "something that is no model server"
        raise BadConfig(
            f"engine {self.name!r}: port {address.port} is in use by {what}: end it, or give the engine another url"
        )


def supervisors(
    specs: dict[str, EngineSpec], names: tuple[str, ...], folder: Path, tell: Callable[[str], None]
) -> list[Supervisor]:
    """Return one for each engine that is to be served, or for those in `names`. Raises UserError if there is none."""
    for name in names:
        if name not in specs:
            raise UserError(f"no engine {name!r}; the configuration has {', '.join(specs)}")
    chosen = names or tuple(name for name, spec in specs.items() if spec.serving is not None)
    if not chosen:
        raise UserError('no engine has a table serve: write [engines.NAME.serve] with model = "..."')
    return [Supervisor(name, specs[name], folder, tell) for name in chosen]


@contextmanager
def held(folder: Path, name: str) -> Iterator[None]:
    """Put on record who supervises an engine, as long as they live. Raises UserError if somebody does already."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.json").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"engine {name!r} is served already: `orchestrator engines down {name}` ends it") from None
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid()}))
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def holder(folder: Path, name: str) -> int | None:
    """Return the process that supervises an engine, or None."""
    try:
        with (folder / f"{name}.json").open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(json.loads(file.read())["pid"])
    except (OSError, ValueError, KeyError):
        pass
    return None
