"""The synchronous edge: whoever waits is told how it ended, and the loop goes on for everybody else."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import pytest

from orchestrator.engines.scripted import Scripted
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.runtime.portal import run_sync


async def leaves() -> None:
    sys.exit(3)


async def begins_what_leaves() -> None:
    await asyncio.gather(leaves(), asyncio.sleep(60))


async def interrupts() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("coroutine", "error"), [(leaves, SystemExit), (begins_what_leaves, SystemExit), (interrupts, KeyboardInterrupt)]
)
def test_what_asks_to_leave_reaches_the_caller_and_nobody_else_waits_for_ever(coroutine: Any, error: Any) -> None:
    with pytest.raises(error):
        run_sync(coroutine())
    assert run_sync(asyncio.sleep(0, "still here")) == "still here"


HELD = """
from orchestrator.runtime.portal import run_sync

async def connection():
    try:
        yield
    finally:
        print("closed")

async def opened():
    await anext(held)

held = connection()
run_sync(opened())
"""


def test_what_nobody_closed_is_closed_when_the_interpreter_ends() -> None:
    done = subprocess.run([sys.executable, "-c", HELD], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "closed\n", "")


def test_a_monitor_that_leaves_ends_the_call_and_the_next_one_works(tmp_path: Any) -> None:
    class Leaves:
        def watch(self, history: Any) -> None:
            sys.exit(3)

    with (
        Pipeline({"small": Scripted(["a\n\n"])}, "small", db=tmp_path / "db", monitors=[Leaves()]) as made,
        pytest.raises(SystemExit),
    ):
        made.run("q", run_id="it")
    with Pipeline({"small": Scripted(["\\boxed{1}"])}, "small", db=tmp_path / "db", monitors=()) as made:
        assert made.run("q").answer == "1"
