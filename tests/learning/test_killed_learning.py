"""`orchestrator handbook learn`, killed at any instant, and run by many processes at once."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree
from typing import Any, NamedTuple

import pytest

from orchestrator.behaviors import Behavior
from orchestrator.memory.handbook import Handbook
from orchestrator.memory.journal import Journal
from orchestrator.memory.store import Store

TASKS = 4

AGENT = r"""
import os
import re
from hashlib import sha1
from time import sleep

import orchestrator as orc


def large(request):
    prompt = bytes(request.prompt.ids()).decode()
    number = re.search(r"Solve number (\d+)", prompt)[1]
    asks = "for behaviors" if "Write one JSON object" in prompt else "to reflect"
    with open("asked.txt", "a") as log:
        log.write(f"{number} {asks}\n")
    sleep(0.01)
    if asks == "to reflect":
        return f"It carried well in {number}."
    a, b, c, d = re.findall(".{5}", sha1(number.encode()).hexdigest())[:4]
    own = f'"behavior_see_{a}": "Hold {a} against {b}, then {c} against {d}."'
    return '{%s, "behavior_carry_over": "Carry what is above nine to the next digit."}' % own


small = orc.engines.Scripted(lambda request: r"Carry the one: \boxed{42}")
pipeline = orc.Pipeline({"small": small, "large": orc.engines.Scripted(large)}, "small", db="journal.db")
"""

PROGRAMS = r"""
import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy
import sqlite_utils

import orchestrator.cli.handbook
import orchestrator.cli.run
import orchestrator.learning.strategist
from orchestrator.cli.app import app


def begin(folder, arguments):
    if pid := os.fork():
        return pid
    os.chdir(folder)
    try:
        app.main(arguments, prog_name="orchestrator")
    except SystemExit as ended:
        os._exit(ended.code or 0)  # taking all the modules down takes longer than learning


def is_over(pid):
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


for line in sys.stdin:
    folder, arguments, number, asked, seconds = json.loads(line)
    pids = [begin(folder, arguments) for _ in range(number)]
    if asked:
        while not is_over(pids[0]) and Path(folder, "asked.txt").read_text().count("\n") < asked:
            time.sleep(0.002)
        time.sleep(seconds)
        os.kill(pids[0], signal.SIGKILL)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    print(json.dumps(codes), flush=True)
"""
"""Forks programs that have all their modules, so that what is killed is learning and not importing."""
LEARN = ("handbook", "learn", "--pipeline", "agent.py:pipeline", "--handbook", "handbook.db", "--quiet")


class Programs:
    """A process that begins programs, waits for them, or kills them."""

    def __init__(self) -> None:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self._process = subprocess.Popen([sys.executable, "-c", PROGRAMS], text=True, **pipes)

    def run(self, folder: Path, *arguments: str, number: int = 1) -> None:
        """Run `number` programs at once to their good ends."""
        codes = self._run(folder, arguments, number, 0, 0.0)
        assert codes == [0] * number, self._process.communicate()[1]

    def kill(self, folder: Path, *arguments: str, asked: int, seconds: float) -> None:
        """Run a program and kill it: `seconds` after an engine there has been asked for the time that `asked` says."""
        self._run(folder, arguments, 1, asked, seconds)

    def _run(self, folder: Path, *how: Any) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        print(json.dumps([str(folder), *how]), file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


class Found(NamedTuple):
    """What is on disk."""

    said: list[str]
    """The instructions of the active behaviors, in order."""
    asked: Counter[str]
    """How often an engine was asked what."""
    answered: int
    """Questions of learners whose answer is in the journal."""


def look(folder: Path) -> Found:
    """Check that the handbook is whole and say what is there."""
    with Store(folder / "handbook.db") as store:  # made here where a learner died before it did
        assert store.connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert store.connection.execute("PRAGMA foreign_key_check").fetchall() == []
        handbook = Handbook(store)
        rows: dict[int, Behavior] = {}
        for change in handbook.changes():
            rows.update({row.id: row for row in change.after})
        assert [*rows.values()] == handbook.behaviors(retired=True)
        said = [each.instruction for each in handbook.behaviors()]
    with Store(folder / "journal.db", readonly=True) as store:
        journal = Journal(store)
        stored = [journal.run(each.id) for each in journal.runs(limit=1000)]
    of_learners = [each for each in stored if each.run.batch.startswith("learn ")]
    done = [call for each in of_learners for call in each.calls if call.result and call.result.status == "done"]
    log = folder / "asked.txt"
    return Found(said, Counter(log.read_text().splitlines() if log.exists() else ()), len(done))


@pytest.fixture
def programs() -> Iterator[Programs]:
    begun = Programs()
    yield begun
    begun.end()


def test_learning_that_is_killed_goes_on_where_it_was_and_eight_at_once_do_nothing_twice(
    tmp_path: Path, programs: Programs
) -> None:
    whole, killed, eight = (tmp_path / name for name in ("whole", "killed", "eight"))
    whole.mkdir()
    (whole / "agent.py").write_text(AGENT)
    tasks = [{"prompt": f"Solve number {each}.", "answer": "42"} for each in range(TASKS)]
    (whole / "tasks.jsonl").write_text("".join(f"{json.dumps(task)}\n" for task in tasks))
    programs.run(whole, "run", "tasks.jsonl", "--pipeline", "agent.py:pipeline", "--quiet", "--out", "out.jsonl")
    for folder in (killed, eight):
        copytree(whole, folder)

    programs.run(whole, *LEARN)
    wanted = look(whole)
    assert len(wanted.said) == TASKS + 1 and wanted.answered == 2 * TASKS and {*wanted.asked.values()} == {1}

    rng, kills = random.Random(7), 0
    (killed / "asked.txt").touch()
    while (asked := look(killed).asked.total()) < 2 * TASKS:
        programs.kill(killed, *LEARN, asked=asked + rng.choice([1, 2, 3]), seconds=rng.uniform(0, 0.03))
        kills += 1
    programs.run(killed, *LEARN)
    found = look(killed)
    assert (found.said, found.answered) == (wanted.said, wanted.answered)
    assert found.asked.total() <= wanted.asked.total() + kills  # what was in flight when its learner died
    programs.run(killed, *LEARN)
    assert look(killed) == found and kills > 2

    programs.run(eight, *LEARN, number=8)
    found = look(eight)
    assert sorted(found.said) == sorted(wanted.said) and found[1:] == wanted[1:]
