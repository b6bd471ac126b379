"""What is left of a run whose server is killed. conftest.py puts this file last: there are no servers after it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest
from pair import TASKS, Pair, kept, runs, served
from started import is_alive, until

import orchestrator as orc
from orchestrator.decisions import Plan
from orchestrator.doors import Needs
from orchestrator.engines.base import Completion, Request
from orchestrator.engines.dialects.vllm import Vllm
from orchestrator.runtime.attempts import attempts
from orchestrator.types import History, Status

pytestmark = pytest.mark.vllm


class Doomed(Vllm):
    """Is killed as soon as the first token of a call has come, once somebody has set its doom."""

    doom: ClassVar[Callable[[], None] | None] = None

    async def complete(self, request: Request) -> Completion:
        meeting = asyncio.create_task(self.meet_doom(request))
        try:
            return await super().complete(request)
        finally:
            meeting.cancel()

    async def meet_doom(self, request: Request) -> None:
        while not request.progress.output_tokens:
            await asyncio.sleep(0.001)
        if Doomed.doom is not None:
            Doomed.doom()


@dataclass(frozen=True, kw_only=True)
class LargeUntilItDies:
    """Large writes everything; while its third step is written, its servers' supervisor and its server are killed."""

    needs = Needs(steps=False)
    supervisor: int
    server: int

    def before_step(self, history: History) -> Plan:
        if len(history.steps) == 2:
            Doomed.doom = self.kill
        return Plan(engine=history.large)

    def kill(self) -> None:
        os.kill(self.server, signal.SIGKILL)
        os.kill(self.supervisor, signal.SIGKILL)
        Doomed.doom = None


def commands() -> dict[int, str]:
    """Return the command of every process of this machine, its words joined by NUL."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            found[int(folder.name)] = (folder / "cmdline").read_text(errors="replace")
    return found


def server(url: str) -> int:
    """Return the process that serves at the port of `url`; it leads a group with all of its workers."""
    flag = f"\0--port\0{url.removesuffix('/v1').rpartition(':')[2]}\0"
    (pid,) = (pid for pid, command in commands().items() if flag in command and "leash.py" not in command)
    return pid


def group(leader: int) -> list[int]:
    """Return the processes of a group that are alive."""
    found = []
    for pid in commands():
        with suppress(ProcessLookupError):
            if os.getpgid(pid) == leader and is_alive(pid):
                found.append(pid)
    return found


async def test_a_run_whose_server_is_killed_in_the_middle_of_a_step_goes_on_and_loses_nothing(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = orc.engines.pocket_pair(temperature=0.0), served(pair)
    (undisturbed, *_) = runs({"large": ours["large"]}, "large")
    servers = [server(pair.small), server(pair.large)]
    router = LargeUntilItDies(supervisor=pair.supervisor.pid, server=servers[1])
    assert all(len(group(leader)) > 1 for leader in servers), "a server has worker processes"
    monkeypatch.setitem(orc.engines.ENGINES, "doomed", f"{__name__}:Doomed")
    large = replace(theirs["large"], kind="doomed")
    async with orc.Pipeline({"small": ours["small"], "large": large}, router, db=":memory:") as pipeline:
        result = await pipeline.arun(TASKS[0])
        run = pipeline.journal.run(result.run_id)
    assert result.status is Status.DEGRADED
    (failed,) = (each for each in attempts(run) if each.verdict == "failed")
    assert failed.writer == "large"
    assert "failover: engine 'large'" in failed.reason
    assert failed.step >= 2  # more if the rest of the third step had left the server already
    steps = kept(run)
    assert steps[: failed.step] == kept(undisturbed)[: failed.step]
    assert {writer for writer, _ in steps[failed.step :]} == {"small"}
    until(lambda: not any(group(leader) for leader in servers), "the end of both servers and their workers")
