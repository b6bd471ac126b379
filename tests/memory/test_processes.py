"""Several processes on one file, and processes that die at any instant."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

from orchestrator.memory.base import StoredRun
from orchestrator.memory.journal import Journal
from orchestrator.memory.store import Store

WRITER = """
import sys
from orchestrator.memory.base import CallIntent, CallResult, DecisionRow, RunRow, StepRow
from orchestrator.memory.journal import Journal
from orchestrator.memory.store import Store

path, name, steps = sys.argv[1], sys.argv[2], int(sys.argv[3])
journal = Journal(Store(path, wait_s=30))
key = journal.open_run(RunRow(name, None, "batch", 0, '{"messages": [["user", "q"]]}', "{}", '{"small": {}}', 1.7e9))
for step in range(steps):
    text = f"{name} thinks {step} " + "and on " * 20
    journal.intent(CallIntent(key, step, step, 0, "draft", "small", step, b"d" * 16, 10, 512, 1.7e9))
    journal.commit()
    journal.result(CallResult(key, step, "done", text, b"1234", "delimiter", "", 9, 0, 1, 0, 0.1, None, "", None))
    journal.decision(DecisionRow(key, step, 0, "after_draft", "keep", "small", "why", 7.0, 0.1, "", "always 1", ""))
    journal.step(StepRow(key, step, 0, "thought", "small", text, "delimiter", 1, 0.1))
    journal.commit()
    if step == 0:
        print("writing", flush=True)
    print(step, flush=True)
"""


def start(path: Path, name: str, steps: int) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", WRITER, path, name, str(steps)], stdout=subprocess.PIPE, text=True)


def assert_whole(stored: StoredRun) -> None:
    """Every step has its call, result and decision; nothing is there without the rest but one last intent."""
    name = stored.run.id
    steps = [row.step for row in stored.steps]
    assert steps == list(range(len(steps)))
    assert [row.text for row in stored.steps] == [f"{name} thinks {step} " + "and on " * 20 for step in steps]
    assert [row.step for row in stored.decisions] == steps
    done = [call for call in stored.calls if call.result]
    assert [call.result.text for call in done if call.result] == [row.text for row in stored.steps]
    assert len(stored.calls) - len(done) in (0, 1)


def test_two_processes_that_create_the_file_and_write_side_by_side_lose_nothing(path: Path) -> None:
    writers = [start(path, name, 500) for name in ("one", "two")]
    assert [writer.communicate()[0].splitlines()[-1] for writer in writers] == ["499", "499"]
    with Store(path, readonly=True) as store:
        journal = Journal(store)
        for name in ("one", "two"):
            stored = journal.run(name)
            assert_whole(stored)
            assert len(stored.steps) == 500
        counts = journal.counts()
    assert counts["intents"] + counts["results"] + counts["decisions"] + counts["steps"] == 2 * 2000


def test_many_processes_that_open_a_new_file_at_once_all_succeed(path: Path) -> None:
    writers = [start(path, f"run{place}", 1) for place in range(6)]
    for writer in writers:
        writer.communicate()
    assert [writer.returncode for writer in writers] == [0] * 6
    with Store(path, readonly=True) as store:
        assert Journal(store).counts()["runs"] == 6


def test_a_writer_killed_at_any_instant_leaves_every_committed_row_and_nothing_half(path: Path) -> None:
    rng = random.Random(5)
    for attempt in range(20):
        writer = start(path, f"run{attempt:02}", 100_000)
        assert writer.stdout is not None and writer.stdout.readline() == "writing\n"
        time.sleep(rng.uniform(0, 0.05))
        os.kill(writer.pid, signal.SIGKILL)
        reported = [int(line) for line in writer.communicate()[0].splitlines(keepends=True) if line.endswith("\n")]
        with Store(path) as store:
            assert store.connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            assert store.connection.execute("PRAGMA foreign_key_check").fetchall() == []
            journal = Journal(store)
            stored = journal.run("last")
            assert_whole(stored)
            assert len(stored.steps) >= len(reported)
            assert journal.runs(limit=1)[0].status == "interrupted"
    with Store(path, readonly=True) as store:
        assert Journal(store).counts()["runs"] == 20


def test_a_process_killed_while_it_creates_the_file_does_not_spoil_it(path: Path) -> None:
    rng = random.Random(6)
    for attempt in range(6):
        writer = start(path, f"run{attempt}", 1)
        time.sleep(rng.uniform(0.1, 0.7))
        os.kill(writer.pid, signal.SIGKILL)
        writer.communicate()
    with Store(path) as store:
        assert store.connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert Journal(store).counts()["runs"] <= 6


def test_reading_never_blocks_writing(path: Path, make: SimpleNamespace) -> None:
    with Store(path, wait_s=0) as store, Store(path, readonly=True, wait_s=0) as other:
        writer, reader = Journal(store), Journal(other)
        key = writer.open_run(make.run())
        with other.reading() as connection:
            assert connection.execute("SELECT count(*) FROM steps").fetchone() == (0,)
            writer.step(make.step(run=key))
            writer.commit()
            assert connection.execute("SELECT count(*) FROM steps").fetchone() == (0,)
        assert reader.counts()["steps"] == 1


def test_a_reader_opened_before_during_and_after_writing_sees_whole_runs(path: Path) -> None:
    writer = start(path, "one", 300)
    assert writer.stdout is not None and writer.stdout.readline() == "writing\n"
    drain = threading.Thread(target=writer.stdout.read)
    drain.start()
    while writer.poll() is None:
        with Store(path, readonly=True) as store:
            assert_whole(Journal(store).run("one"))
    drain.join()
    writer.stdout.close()
    with Store(path, readonly=True) as store:
        assert len(Journal(store).run("one").steps) == 300


def test_a_reader_waits_for_no_writer(path: Path, make: SimpleNamespace) -> None:
    with Store(path) as store:
        Journal(store).open_run(make.run())
        store.connection.execute("BEGIN IMMEDIATE")
        with Store(path, readonly=True, wait_s=0) as other:
            assert Journal(other).run("last").run == make.run()
        store.connection.execute("ROLLBACK")
