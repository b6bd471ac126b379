"""What the journal costs: CPU and bytes per reasoning step, and the time to read a run back.

Run `python benchmarks/journal.py`. One step here is what a judged step writes: a draft and a
judge call, each with intent and result, a signal, a decision, the step itself and one new text,
in three commits; making the rows is in it. CPU counts user and system time of this process; the
median is over batches of 100 steps. Read it beside the bare insert, which is measured in turn with
it: on a quiet machine that is about 24 us, and where another job shares the core both double.
Bytes are of the whole file, less the thoughts and their token ids; `growth` compares the second
half of the run with the first.
"""

from __future__ import annotations

import json
import os
import sqlite3
import statistics
import tempfile
import time
from array import array
from pathlib import Path

from orchestrator.memory.base import CallIntent, CallResult, DecisionRow, RunRow, SignalRow, StepRow
from orchestrator.memory.journal import Journal
from orchestrator.memory.store import Store

STEPS = 4000
BATCH = 100
CPU_BAR_US = 130
BYTES_BAR = 1200


def draft_of(step: int) -> tuple[str, bytes]:
    """Return a thought of a usual length, different for every step, and its token ids."""
    text = f"Step {step}: we know that {step} * 38 = {step * 38}, so " + "the remaining terms stay as they are, " * 5
    return text + "\n\n", array("i", range(step, step + 60)).tobytes()


def open_run(journal: Journal, name: str) -> int:
    """Open a run to write steps into."""
    task = json.dumps({"messages": [["user", "Compute 38*4 - 98*6."]]})
    return journal.open_run(RunRow(name, None, "bench", 0, task, "{}", '{"small": {}, "large": {}}', time.time()))


def write_step(journal: Journal, run: int, step: int) -> None:
    """Write one judged step in three commits."""
    text, ids = draft_of(step)
    call, now_s = 2 * step, time.time()
    journal.intent(CallIntent(run, call, step, 0, "draft", "small", 123456789 + step, b"0" * 16, 900, 512, now_s))
    journal.commit()
    journal.result(CallResult(run, call, "done", text, ids, "delimiter", "\n\n", 900, 880, 60, 0, 0.2, None, "", None))
    journal.intent(CallIntent(run, call + 1, step, 0, "judge", "large", 987654321 + step, b"1" * 16, 990, 8, now_s))
    journal.commit()
    score = f"{step % 10}"
    reason = f"score {score} is at least 7"
    journal.result(
        CallResult(run, call + 1, "done", score, b"\1\0\0\0", "length", "", 990, 960, 1, 0, 0.05, None, "", None)
    )
    journal.signal(SignalRow(run, step, 0, "judge", 0.7, 7.0, "0-9", "", 1, 0.05))
    journal.decision(
        DecisionRow(run, step, 0, "after_draft", "keep", "small", reason, 7.0, 0.1, "rewrite", "specreason 1", "")
    )
    journal.step(StepRow(run, step, 0, "thought", "small", text, "delimiter", 60, 0.2))
    journal.commit()


def file_bytes(store: Store) -> int:
    """Return the size of the file with the whole log moved into it."""
    store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return os.path.getsize(store.path)


def bare_commit_us(connection: sqlite3.Connection) -> float:
    """Return the CPU of one insert in a transaction of its own: what SQLite and this machine cost without us."""
    began_s = time.process_time()
    for number in range(BATCH):
        connection.execute("INSERT INTO bare (number, text) VALUES (?, 'some text')", (number,))
    return (time.process_time() - began_s) / BATCH * 1e6


def main() -> None:
    """Print the figures and how they stand against their bars."""
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "journal.db") as store:
        bare = sqlite3.connect(Path(folder) / "bare.db", isolation_level=None)
        bare.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; CREATE TABLE bare (number, text)")
        journal = Journal(store)
        run = open_run(journal, "0000000000000000")
        empty = file_bytes(store)
        cpu_us, bare_us, half = [], [], 0
        for first in range(0, STEPS, BATCH):
            bare_us.append(bare_commit_us(bare))
            began_s = time.process_time()
            for step in range(first, first + BATCH):
                write_step(journal, run, step)
            cpu_us.append((time.process_time() - began_s) / BATCH * 1e6)
            if first + BATCH == STEPS // 2:
                half = file_bytes(store)
        full = file_bytes(store)
        bare.close()
        payload = sum(len(text) + len(ids) for text, ids in map(draft_of, range(STEPS)))
        median, bare_median = statistics.median(cpu_us), statistics.median(bare_us)
        quarter = len(cpu_us) // 4
        print(f"CPU per step         {median:6.1f} us   best batch {min(cpu_us):.1f}   bar {CPU_BAR_US}")
        print(f"  first quarter      {statistics.median(cpu_us[:quarter]):6.1f} us")
        print(f"  last quarter       {statistics.median(cpu_us[-quarter:]):6.1f} us")
        print(f"bare insert + commit {bare_median:6.1f} us   best batch {min(bare_us):.1f}")
        print(f"bytes per step       {(full - empty - payload) / STEPS:6.0f}      bar {BYTES_BAR}")
        print(f"growth               {(full - half) / (half - empty):6.2f}      linear is 1.00")

        run = open_run(journal, "0000000000000001")
        for step in range(1000):
            write_step(journal, run, step)
        began_s = time.perf_counter()
        journal.run("0000000000000001")
        print(f"read 1,000 steps     {time.perf_counter() - began_s:6.3f} s    bar 0.250")


if __name__ == "__main__":
    main()
