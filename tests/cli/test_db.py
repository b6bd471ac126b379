"""`orchestrator db`: size, check, backup and vacuum of a journal that others may write."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from orchestrator.behaviors import Add
from orchestrator.memory.handbook import Handbook
from orchestrator.memory.journal import Journal
from orchestrator.memory.store import Store

Call = Callable[..., Result]


@pytest.fixture
def file(orchestrator: Call, pipeline: str, home: Path) -> Path:
    """A journal of two runs and a handbook."""
    for number in range(2):
        assert orchestrator("run", f"What is 6*{number}?", "--pipeline", pipeline).exit_code == 0
    path = home / "journal.db"
    with Store(path) as store:
        Handbook(store).apply([Add("behavior_check", "Check the sum.")])
    return path


def changed(path: Path, *statements: str) -> None:
    """Change the file behind the journal's back."""
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


def test_size_counts_files_tables_texts_and_what_is_free(orchestrator: Call, file: Path) -> None:
    file.with_name("journal.db.words").write_bytes(b"12345")
    file.with_name("other.db").write_bytes(b"12345")
    found = json.loads(orchestrator("db", "size", "--json").stdout)
    assert found["files"]["journal.db"] == file.stat().st_size and found["files"]["journal.db.words"] == 5
    assert "other.db" not in found["files"]
    assert found["tables"]["runs"]["rows"] == 2 and found["tables"]["behaviors"]["rows"] == 1
    weights = [table["bytes"] for table in found["tables"].values()]
    assert None in weights or sum(weights) <= file.stat().st_size
    assert found["texts"] > 100 and found["pruned"] == 0 and abs(found["oldest_s"] - time.time()) < 600
    lines = orchestrator("db", "size").stdout.splitlines()
    assert lines[0] == f"in {file.parent}"
    assert lines[1].startswith("journal.db ") and max(map(len, lines[1:])) <= 80
    assert any(line.startswith("the oldest run began on ") for line in lines)


def test_a_sound_file_is_sound_while_it_is_written(orchestrator: Call, file: Path) -> None:
    with Store(file) as store, store.transaction() as connection:
        connection.execute("UPDATE runs SET position = 1")
        for full in ((), ("--full",)):
            result = orchestrator("db", "check", *full)
            assert result.exit_code == 0, result.output
            assert [line.split()[:2] for line in result.stdout.splitlines()] == [
                ["ok", what] for what in ("pages", "links", "texts", "totals", "claims", "pruning", "schema")
            ]


@pytest.mark.parametrize(
    ("statement", "code", "said"),
    [
        (
            "DELETE FROM texts WHERE id = (SELECT max(text) FROM steps)",
            1,
            "rows of steps without their text",
        ),
        ("DELETE FROM runs WHERE key = 1", 1, "rows of steps without their row of runs"),
        (
            "UPDATE totals SET output_tokens = output_tokens + 1 WHERE run = 1",
            1,
            "bad   totals   those of 1 run differ",
        ),
        ("DELETE FROM totals WHERE run = 2", 1, "bad   totals   those of 1 run differ"),
        (
            "INSERT INTO claims VALUES (1, 999999999, '', 'here', 'j')",
            0,
            "note  claims   process 999999999 died over run",
        ),
        ("CREATE TABLE wanted_texts (id INTEGER PRIMARY KEY)", 0, "note  pruning "),
        (
            "UPDATE texts SET text = 'never said' WHERE id = (SELECT task FROM runs WHERE key = 1)",
            1,
            "bad   texts    1 text not as stored, in 1 run, ",
        ),
        (
            "UPDATE texts SET text = CAST(x'ff' AS TEXT) WHERE id IN (SELECT engines FROM runs)",
            1,
            "bad   texts    1 text not as stored, in 2 runs, ",
        ),
    ],
)
def test_each_flaw_is_one_line_with_its_mend(
    orchestrator: Call, file: Path, statement: str, code: int, said: str
) -> None:
    changed(file, statement)
    result = orchestrator("db", "check")
    assert result.exit_code == code and said in result.stdout and not result.stderr
    states = [json.loads(line)["state"] for line in orchestrator("db", "check", "--json").stdout.splitlines()]
    assert ("bad" in states) == bool(code) and set(states) - {"ok"}


def test_a_file_that_is_bent_or_cut_is_told_without_a_traceback(orchestrator: Call, file: Path, here: Path) -> None:
    whole = file.read_bytes()
    rng = random.Random(1)
    for attempt in range(12):
        bent = bytearray(whole)
        if attempt % 3 == 0:
            del bent[rng.randrange(600, len(bent)) :]
        else:
            for place in range(0, len(bent), 4096):
                begin = place + rng.randrange(100 if not place else 0, 2000)
                bent[begin : begin + 40] = bytes(rng.randrange(256) for _ in range(40))
        (here / "bent.db").write_bytes(bent)
        for command in ("check", "size"):
            result = orchestrator("db", command, "--db", "bent.db")
            assert result.exit_code in (1, 2), result.output
            assert "bug" not in result.stderr and "Traceback" not in result.output
            assert result.stderr.count("\n") <= 1
            if command == "check":
                assert result.exit_code == 2 or "bad " in result.stdout


def test_a_file_of_an_older_version_is_looked_at_as_it_is(orchestrator: Call, file: Path) -> None:
    changed(
        file,
        "DROP TRIGGER outcomes_added",
        "DROP TABLE totals",
        "DROP TABLE prunings",
        "DELETE FROM _sqlite_migrations WHERE name = 'm007_traces'",
        "PRAGMA user_version = 6",
        "PRAGMA wal_checkpoint(TRUNCATE)",
    )
    before = file.read_bytes()
    result = orchestrator("db", "check", "--full")
    assert result.exit_code == 0 and "note  schema   the older 6: the next `run` brings it to 7" in result.stdout
    assert json.loads(orchestrator("db", "size", "--json").stdout)["tables"]["runs"]["rows"] == 2
    assert "2 runs would go" in orchestrator("trace", "prune", "--keep-last", "0", "--dry-run").stdout
    assert orchestrator("db", "backup", "copy.db").exit_code == 0
    assert file.read_bytes() == before
    assert orchestrator("trace", "prune", "--keep-last", "1", "--yes").exit_code == 0
    assert "ok    schema   the newest, 7" in orchestrator("db", "check").stdout


def test_a_newer_file_a_foreign_one_and_none_are_one_line(orchestrator: Call, file: Path, here: Path) -> None:
    (here / "text.db").write_text("no database " * 100)
    changed(file, "PRAGMA user_version = 99")
    for command in (("size",), ("check",), ("vacuum",), ("backup", "copy.db")):
        assert "newer version" in orchestrator("db", *command).stderr
        for missing in ("none.db", "text.db"):
            result = orchestrator("db", *command, "--db", missing)
            assert result.exit_code == 2 and result.stderr.count("\n") == 1
    assert sorted(path.name for path in here.glob("*.db*")) == ["text.db"]


def test_a_backup_is_the_journal_of_one_moment_for_its_owner_only(orchestrator: Call, file: Path, here: Path) -> None:
    with Store(file) as store, store.transaction() as connection:
        connection.execute("UPDATE runs SET position = position")  # a writer holds the file
        result = orchestrator("db", "backup", "copy.db")
    assert result.exit_code == 0 and result.stdout.startswith("copy.db: 2 runs, ")
    copy = here / "copy.db"
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert [path.name for path in here.glob("copy*")] == ["copy.db"]
    with Store(file) as ours, Store(copy) as theirs:
        assert [*Journal(ours).each_run()] == [*Journal(theirs).each_run()]
        assert Handbook(ours).behaviors() == Handbook(theirs).behaviors()
    assert orchestrator("db", "check", "--db", "copy.db", "--full").exit_code == 0


@pytest.mark.parametrize("there", ["a file", "a link to nothing", "a folder", "no folder"])
def test_a_backup_never_takes_a_place_that_is_taken(orchestrator: Call, file: Path, here: Path, there: str) -> None:
    out = here / "copy.db"
    if there == "a file":
        out.write_text("mine")
    elif there == "a link to nothing":
        out.symlink_to(here / "nothing")
    elif there == "a folder":
        out.mkdir()
    else:
        out = here / "no folder" / "copy.db"
    result = orchestrator("db", "backup", str(out))
    assert result.exit_code == 2 and result.stderr.count("\n") == 1
    assert not (here / "nothing").exists() and (there != "a file" or out.read_text() == "mine")
    assert not [*here.glob("*.part*")]


def grown(path: Path, runs: int) -> None:
    """Let a journal grow by runs that weigh 100 kB each."""
    with Store(path) as store:
        connection = store.connection
        connection.execute("BEGIN IMMEDIATE")
        for number in range(runs):
            connection.execute(
                "INSERT INTO texts (digest, text) VALUES (?, ?)", (f"{number}".encode(), f"{number} {'x' * 100_000}")
            )
        connection.execute("COMMIT")


def test_a_backup_beside_a_busy_writer_is_whole_and_ends(orchestrator: Call, file: Path, here: Path) -> None:
    grown(file, 200)
    done = threading.Event()

    def write() -> None:
        with Store(file, wait_s=30) as store:
            number = 0
            while not done.is_set():
                with store.transaction() as connection:  # both or neither
                    connection.execute("UPDATE runs SET position = ?", (number,))
                number += 1
                time.sleep(0.001)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert orchestrator("db", "backup", "copy.db").exit_code == 0
    finally:
        done.set()
        writer.join()
    with sqlite3.connect(here / "copy.db") as copy:
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert len(copy.execute("SELECT DISTINCT position FROM runs").fetchall()) == 1
    copy.close()


def test_a_backup_that_is_killed_leaves_no_file_of_that_name(file: Path, here: Path) -> None:
    grown(file, 400)
    num_killed = 0
    for wait_s in (0.0, 0.02, 0.05):
        script = "import sys; from orchestrator.cli.app import app; print('begun', flush=True); app(sys.argv[1:])"
        process = subprocess.Popen(
            [sys.executable, "-c", script, "db", "backup", "copy.db", "--db", str(file)],
            stdout=subprocess.PIPE,
            cwd=here,
        )
        while process.poll() is None and not [*here.glob("copy.db*")]:
            time.sleep(0.002)
        time.sleep(wait_s)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        if (here / "copy.db").exists():
            with Store(here / "copy.db", readonly=True) as store:  # it was done
                assert Journal(store).counts()["runs"] == 2
            (here / "copy.db").unlink()
        else:
            num_killed += 1
    assert num_killed
    assert (
        subprocess.run(
            [sys.executable, "-c", script, "db", "backup", "copy.db", "--db", str(file)], cwd=here
        ).returncode
        == 0
    )
    assert [path.name for path in here.glob("copy*")] == ["copy.db"]  # the parts are gone


def test_vacuum_gives_back_what_pruned_runs_left_and_leaves_the_rest(orchestrator: Call, file: Path) -> None:
    grown(file, 30)  # texts that nothing refers to, as a pruning that was killed leaves them
    with Store(file) as store:
        before = (Journal(store).run("last"), Handbook(store).behaviors())
    large = file.stat().st_size
    assert orchestrator("trace", "prune", "--keep-last", "1", "--yes").exit_code == 0
    result = orchestrator("db", "vacuum")
    assert result.exit_code == 0 and " before, " in result.stdout
    assert file.stat().st_size < large - 2_500_000
    with Store(file) as store:
        assert (Journal(store).run("last"), Handbook(store).behaviors()) == before
    assert orchestrator("db", "check", "--full").exit_code == 0


def test_vacuum_takes_the_index_of_words_along_and_a_backup_leaves_it_out(
    orchestrator: Call, file: Path, here: Path
) -> None:
    assert orchestrator("trace", "show", "--grep", "Careful").exit_code == 0
    words = file.with_name("journal.db.words")
    assert words.exists()
    assert orchestrator("db", "backup", "copy.db").exit_code == 0
    assert [each.name for each in here.glob("copy.db*")] == ["copy.db"]
    assert orchestrator("db", "vacuum").exit_code == 0
    assert not words.exists()
    found = orchestrator("trace", "show", "--grep", "Careful")
    assert "Careful" in found.stdout and words.exists()


def test_vacuum_does_nothing_while_a_run_is_executed(orchestrator: Call, file: Path) -> None:
    with Store(file) as store:
        journal = Journal(store)
        journal.claim(journal.run("last").key)
        result = orchestrator("db", "vacuum")
        assert result.exit_code == 2
        assert f"is being executed by process {os.getpid()}" in result.stderr
        journal.close()


def test_vacuum_says_who_holds_the_file(orchestrator: Call, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.cli.db._WAIT_S", 0.05)
    with Store(file) as store, store.transaction() as connection:
        connection.execute("UPDATE runs SET position = 1")
        result = orchestrator("db", "vacuum")
    assert result.exit_code == 2 and "is locked by another process" in result.stderr


def test_the_group_says_that_nothing_goes_by_itself(orchestrator: Call) -> None:
    said: Any = orchestrator("db", "--help").stdout
    assert "Nothing is ever removed by itself" in " ".join(said.split())
