"""Ctrl-C and SIGTERM: what was finished is kept, one line says how to go on, and going on works. Real signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from click.testing import Result

from orchestrator.memory.journal import Journal
from orchestrator.memory.store import Store

Call = Callable[..., Result]

SLOW = r'''
"""Two quick steps, then one that waits while the file `hold` is there."""
import asyncio
from pathlib import Path
import orchestrator as orc

async def small(request):
    text = bytes(request.prompt.ids()).decode()
    done = text.count("\n\n")
    with open("calls.txt", "a") as calls:
        calls.write(f"{text.split()[1]} {done}\n")
    if done == 2 and "quick" not in text:
        Path("waiting").touch()
        while Path("hold").exists():
            await asyncio.sleep(0.01)
    return f"Step {done}.\n\n" if done < 3 else "Answer: 42"

pipeline = orc.Pipeline(engines={"small": orc.engines.Scripted(small)}, router="small")
'''
COMMAND = [sys.executable, "-c", "from orchestrator.cli import main; main()"]


def interrupted(here: Path, number: signal.Signals, *arguments: str) -> tuple[int, str, str]:
    """Start the command, send it a signal while a call is in flight, and return exit code, stdout and stderr."""
    (here / "slow.py").write_text(SLOW)
    (here / "hold").touch()
    running = subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    give_up = time.monotonic() + 60
    while not (here / "waiting").exists():
        assert running.poll() is None and time.monotonic() < give_up
        time.sleep(0.02)
    running.send_signal(number)
    out, err = running.communicate(timeout=60)
    (here / "hold").unlink()
    return running.returncode, out, err


def test_ctrl_c_in_a_question_keeps_the_steps_and_resume_goes_on_mid_chain(orchestrator: Call, here: Path) -> None:
    code, out, err = interrupted(here, signal.SIGINT, "run", "slow one", "--pipeline", "slow.py:pipeline")
    assert (code, out) == (130, "")
    assert err == (
        "interrupted: what was finished is kept; go on with: "
        "orchestrator run 'slow one' --pipeline slow.py:pipeline --resume\n"
    )
    assert "interrupted" in orchestrator("trace", "list").stdout
    assert "unfinished" in orchestrator("trace", "show").stdout
    done = orchestrator("run", "--resume", "--pipeline", "slow.py:pipeline")
    assert (done.exit_code, done.stdout) == (0, "42\n")
    assert (here / "calls.txt").read_text() == "slow 0\nslow 1\nslow 2\nslow 2\nslow 3\n"


def test_a_file_ended_by_sigterm_keeps_its_results_and_goes_on(orchestrator: Call, here: Path, home: Path) -> None:
    (here / "tasks.jsonl").write_text('{"prompt": "quick"}\n{"prompt": "slow"}\n{"prompt": "quick last"}\n')
    arguments = ("run", "tasks.jsonl", "--pipeline", "slow.py:pipeline", "--out", "r.jsonl", "--concurrency", "1")
    code, _, err = interrupted(here, signal.SIGTERM, *arguments)
    assert code == 143
    assert err.splitlines()[-1].endswith("--out r.jsonl --concurrency 1 --resume")
    assert [json.loads(line)["position"] for line in (here / "r.jsonl").read_text().splitlines()] == [0]
    done = orchestrator(*arguments, "--resume")
    assert done.exit_code == 0
    results = [json.loads(line) for line in (here / "r.jsonl").read_text().splitlines()]
    assert [(line["position"], line["status"], line["answer"]) for line in results] == [
        (0, "completed", "42"),
        (1, "completed", "42"),
        (2, "completed", "42"),
    ]
    assert (here / "calls.txt").read_text().count("quick 0") == 2
    with Store(home / "journal.db", readonly=True) as store:
        assert Journal(store).counts()["runs"] == 3


def test_resume_alone_finds_the_file_that_was_interrupted(orchestrator: Call, here: Path) -> None:
    (here / "tasks.jsonl").write_text('{"prompt": "slow"}\n{"prompt": "quick"}\n')
    interrupted(here, signal.SIGINT, "run", "tasks.jsonl", "--pipeline", "slow.py:pipeline", "--concurrency", "1")
    orchestrator("run", "quick question", "--pipeline", "slow.py:pipeline")  # newer, and finished
    done = orchestrator("run", "--resume", "--pipeline", "slow.py:pipeline")
    assert done.exit_code == 0
    assert {json.loads(line)["position"] for line in done.stdout.splitlines()} == {0, 1}


STUBBORN = r"""
import asyncio
from pathlib import Path
import orchestrator as orc

async def small(request):
    Path("waiting").touch()
    try:
        await asyncio.sleep(60)
    finally:
        Path("cleaning").touch()
        await asyncio.sleep(60)

pipeline = orc.Pipeline(engines={"small": orc.engines.Scripted(small)}, router="small")
"""


def test_a_second_ctrl_c_does_not_wait_for_the_clean_up(here: Path) -> None:
    (here / "stubborn.py").write_text(STUBBORN)
    command = [*COMMAND, "run", "q", "--pipeline", "stubborn.py:pipeline"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        for seen in ("waiting", "cleaning"):
            give_up = time.monotonic() + 60
            while not (here / seen).exists():
                assert running.poll() is None and time.monotonic() < give_up
                time.sleep(0.02)
            running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=20)
    assert (running.returncode, out) == (130, "")
    assert err == "ended at once; what was stored is kept, and the next command can go on from there\n"
