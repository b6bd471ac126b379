"""`orchestrator trace tail`: a run is shown while it goes on."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from time import sleep

import pytest
from click.testing import Result

import orchestrator as orc
from orchestrator.decisions import Decision, keep, rewrite, rollback
from orchestrator.doors import Ask, Needs
from orchestrator.engines.base import Request
from orchestrator.engines.scripted import Reply, Scripted
from orchestrator.memory.base import CallIntent, EventRow, StoredRun
from orchestrator.memory.journal import Journal
from orchestrator.memory.store import Store
from orchestrator.traces.tail import Tail
from orchestrator.types import History, Step

Call = Callable[..., Result]
TAIL = [sys.executable, "-c", "from orchestrator.cli import main; main()", "trace", "tail"]


class GoesBackOnce:
    """Rewrites a bad draft; takes the first two steps back when the third is drafted for the first time."""

    needs = Needs(engines=2)

    async def after_draft(self, history: History, draft: Step, ask: Ask) -> Decision:
        if draft.index == 2 and draft.attempt == 0:
            return rollback(0, reason="wrong turn")
        return rewrite("large", reason="bad") if draft.text.startswith("Bad") else keep(reason="fine")


def slow(db: Path, *texts: str) -> orc.Pipeline:
    """Return a pipeline whose every draft takes a tenth of a second."""
    engines = {
        "small": Scripted([Reply(text=text, latency_s=0.1) for text in texts]),
        "large": Scripted(["Better.\n\n"]),
    }
    return orc.Pipeline(engines, GoesBackOnce(), db=db)


def rows(text: str) -> list[str]:
    """Return the lines of steps, those of the ledger and the head left out."""
    return text.partition("reason\n")[2].partition("\n\n")[0].splitlines()


def test_the_rows_of_a_run_that_goes_on_are_those_that_show_has_of_it_afterwards(
    orchestrator: Call, home: Path
) -> None:
    texts = ["Bad.\n\n", "Answer: 3"]
    with slow(home / "journal.db", *texts, *texts) as made:
        made.run("What?", run_id="0" * 16)
        running = Thread(target=lambda: made.run("What?", run_id="1" * 16))
        running.start()
        while running.is_alive() and not made.journal.going_on():
            sleep(0.01)
        tailed = orchestrator("trace", "tail")
        running.join()
    shown = orchestrator("trace", "show", "last").stdout
    assert (tailed.exit_code, tailed.stderr) == (0, "")
    assert tailed.stdout.startswith(f"run {'1' * 16}\nstarted ")
    assert rows(tailed.stdout) == rows(shown) and len(rows(shown)) == 6
    assert "\nended    the engine ended its text\nanswer   3\n\nengine " in tailed.stdout
    assert tailed.stdout.partition("\nengine   purpose")[2] == shown.partition("\nengine   purpose")[2]


def test_each_row_is_told_once_when_its_fate_is_known_and_what_changes_later_has_its_own_line() -> None:
    looks: list[StoredRun] = []
    texts = iter(["One.\n\n", "Bad.\n\n", "Three.\n\n", "Four.\n\n", "Five.\n\n", "Answer: 6"])

    def looked_at(request: Request) -> str:
        looks.append(made.journal.run("0" * 16))
        return next(texts) if looks[-1].calls[-1].intent.engine == "small" else "Better.\n\n"

    engines = {"small": Scripted(looked_at), "large": Scripted(looked_at)}
    with orc.Pipeline(engines, GoesBackOnce(), db=":memory:") as made:
        looks.append(made.journal.run(made.run("What?", run_id="0" * 16).run_id))
    tail = Tail(looks[0], (), 80)
    told = [news.plain if (news := tail.news(run, is_over=False)) else "" for run in looks]
    assert [re.findall(r"^ +(\d) (\w+) +((?:x )?\w+)", news, re.MULTILINE) for news in told] == [
        [],
        [("0", "small", "kept")],
        [("1", "small", "x rejected")],
        [("1", "large", "kept")],
        [("2", "small", "x rejected")],
        [("0", "small", "kept")],
        [("1", "small", "kept")],
        [("2", "small", "kept")],
    ]
    changed = "  -- step {}: kept above, now rolled back".format
    assert [line for line in told[4].splitlines() if line.startswith("  --")] == [
        changed("0 by small"),
        changed("1 by large, attempt 1"),
    ]
    assert tail.news(looks[-1], is_over=True) is None


# --- nothing to show --------------------------------------------------------------------------


def test_without_a_run_that_goes_on_there_is_one_line(orchestrator: Call, pipeline: str, home: Path) -> None:
    none = orchestrator("trace", "tail")
    assert (none.exit_code, none.stderr) == (2, f"error: no journal at {home}/journal.db: run something first\n")
    done = orchestrator("run", "What is 6*7?", "--pipeline", pipeline, "--json", "--quiet")
    run_id = json.loads(done.stdout)["run_id"]
    last = orchestrator("trace", "tail")
    assert (last.exit_code, last.stdout) == (0, "")
    assert last.stderr == f"no run is going on in {home}/journal.db: `trace show` shows the newest\n"
    named = orchestrator("trace", "tail", run_id[:12])
    assert (named.exit_code, named.stdout) == (0, "")
    assert named.stderr == f"run {run_id} does not go on, it is completed: `trace show {run_id}` shows it\n"
    assert orchestrator("trace", "tail", "zzz").stderr.endswith(f"the nearest are {run_id}\n")


# --- what happens meanwhile -------------------------------------------------------------------


@pytest.fixture
def going_on(orchestrator: Call, pipeline: str, home: Path) -> Iterator[tuple[Journal, int]]:
    """A run that this process has begun and does not end: the journal, and its number there."""
    orchestrator("run", "What is 6*7?", "--pipeline", pipeline, "--quiet")
    with Store(home / "journal.db") as store:
        journal = Journal(store)
        key = journal.open_run(journal.run("last").run._replace(id="0" * 16, batch="other"))
        yield journal, key
        journal.close()


@contextmanager
def tailing(*flags: str) -> Iterator[subprocess.Popen[str]]:
    """Begin to tail, and go on when the head is printed."""
    running = subprocess.Popen([*TAIL, *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert running.stdout is not None and running.stderr is not None
    with running.stdout, running.stderr:
        try:
            begun = '{"run":"%s"}\n' if "--json" in flags else "run %s\n"
            assert running.stdout.readline() == begun % ("0" * 16)
            yield running
        finally:
            running.kill()
            running.wait()


def ended(running: subprocess.Popen[str]) -> tuple[int, str]:
    """Return how it ended and what it said of that."""
    assert running.stderr is not None
    code = running.wait(10)
    return code, running.stderr.read()


def test_a_run_that_is_taken_out_meanwhile_is_one_line(going_on: tuple[Journal, int], home: Path) -> None:
    with tailing() as running:
        with sqlite3.connect(home / "journal.db") as connection:
            connection.execute("DELETE FROM claims")
            connection.execute("DELETE FROM runs WHERE id = ?", ("0" * 16,))
        connection.close()
        assert ended(running) == (2, f"error: run {'0' * 16} was taken out of the journal meanwhile\n")


def test_a_journal_that_is_replaced_meanwhile_is_one_line(going_on: tuple[Journal, int], home: Path) -> None:
    with tailing() as running:
        os.replace(home / "journal.db", home / "moved.db")
        why = f"error: {home}/journal.db was moved, removed or replaced meanwhile: begin again\n"
        assert ended(running) == (2, why)


def test_ctrl_c_ends_it_and_a_reader_that_went_away_is_no_error(going_on: tuple[Journal, int]) -> None:
    journal, key = going_on
    with tailing() as interrupted, tailing("--follow") as unread:
        interrupted.send_signal(signal.SIGINT)
        assert (ended(interrupted)[0], unread.poll()) == (130, None)
        assert unread.stdout is not None
        unread.stdout.close()
        journal.intent(CallIntent(key, 0, 0, 0, "draft", "small", 1, b"\x01" * 16, 9, 5, 0.0))
        journal.event(EventRow(key, 0, "resumed", "", 0.0))
        journal.release(key)
        journal.commit()
        assert ended(unread)[1] == ""


def test_it_follows_runs_that_begin_later(going_on: tuple[Journal, int], home: Path) -> None:
    journal, key = going_on
    with tailing("--follow") as running, tailing("--follow", "--json") as objects:
        assert running.stdout is not None and objects.stdout is not None
        journal.release(key)
        with slow(home / "journal.db", "Answer: 5") as made:
            made.run("And?", run_id="2" * 16)
        lines = iter(running.stdout.readline, "")
        assert f"run {'0' * 16}  unfinished  0 steps\n" in lines
        assert f"run {'2' * 16}\n" in lines
        assert "       Answer: 5\n" in lines
        assert "answer   5\n" in lines
        told = map(json.loads, iter(objects.stdout.readline, ""))
        assert next(told) == {"run": "0" * 16, "status": "interrupted"}
        assert next(told) == {"run": "2" * 16}
        row, end = next(told), next(told)
        assert (row["run"], row["step"], row["verdict"], row["text"]) == ("2" * 16, 0, "kept", "Answer: 5")
        assert (end["run"], end["status"], end["answer"]) == ("2" * 16, "completed", "5")
