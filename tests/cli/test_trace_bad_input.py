"""What every command over stored runs makes of a file that is none, damaged, older, newer, or being written."""

from __future__ import annotations

import random
import resource
import shutil
import socket
import sqlite3
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from click.testing import Result
from sqlite_utils import Database

from orchestrator.memory.journal import Journal
from orchestrator.memory.migrations import MIGRATIONS
from orchestrator.memory.opening import APPLICATION_ID, SCHEMA
from orchestrator.memory.store import Store

Call = Callable[..., Result]

READERS = {
    "show": "trace show last",
    "show --json": "trace show last --json",
    "show --step": "trace show last --step 1",
    "show --only": "trace show last --only escalated",
    "show --grep": "trace show --grep Careful",
    "list": "trace list",
    "list --grep": "trace list --grep Careful",
    "stats": "trace stats",
    "tail": "trace tail",
    "html": "trace html last --out {out}.html",
    "serve": "trace serve",
    "diff": "trace diff last last",
    "graph": "trace graph",
    "replay": "trace replay last",
    "replay --what-if": "trace replay last --what-if threshold=0.5..0.9",
    "export": "trace export --all",
    "export otel": "trace export --all --format otel --out {out}.otel",
    "export inspect": "trace export last --format inspect --out {out}.eval",
    "export csv": "trace export --all --format csv --out {out}.csv",
    "prune --dry-run": "trace prune last --dry-run",
    "size": "db size",
    "check": "db check",
    "check --full": "db check --full",
    "backup": "db backup {out}.db",
}
WRITERS = {"import": "trace import runs.jsonl", "prune": "trace prune last --yes", "vacuum": "db vacuum"}
COMMANDS = {**READERS, **WRITERS}
NAMING = (
    "show {}",
    "show {} --step 0",
    "tail {}",
    "html {} --out x.html",
    "diff last {}",
    "graph {}",
    "replay {}",
    "export {}",
    "prune {} --yes",
)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a journal of two runs and its export."""
    from tests.cli.conftest import PIPELINE, call

    folder = tmp_path_factory.mktemp("sound")
    (folder / "agent.py").write_text(PIPELINE)
    path = folder / "journal.db"
    for number in range(2):
        asked = call("run", f"What is 6*{number}?", "--pipeline", f"{folder}/agent.py:pipeline", "--db", str(path))
        assert asked.exit_code == 0, asked.output
    assert call("trace", "export", "--all", "--out", f"{folder}/runs.jsonl", "--db", str(path)).exit_code == 0
    changed(path)
    return folder


@pytest.fixture
def file(sound: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("socket.create_server", lambda address: socket.socket())
    monkeypatch.setattr("uvicorn.Server.run", lambda *args, **kwargs: None)
    shutil.copy(sound / "runs.jsonl", here)
    return Path(shutil.copy(sound / "journal.db", here))


def changed(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in (*statements, "PRAGMA wal_checkpoint(TRUNCATE)"):
        connection.execute(statement)
    connection.close()


def told(orchestrator: Call, file: Path, names: dict[str, str]) -> dict[str, Result]:
    """Run each command on the file and hold it to what is true of all of them."""
    results = {}
    for number, (name, written) in enumerate(names.items()):
        result = orchestrator(*written.format(out=f"out{number}").split(), "--db", str(file))
        assert result.exit_code in (0, 1, 2), (name, result.output)
        assert "this is a bug" not in result.stderr and "Traceback" not in result.output, (name, result.output)
        if result.exit_code == 2:
            assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1, (name, result.stderr)
            assert "\x1b" not in result.output and "\ufffd" not in result.output, (name, result.output)
        results[name] = result
    return results


def make_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def make_foreign(file: Path) -> None:
    file.unlink()
    changed(file, "CREATE TABLE theirs (a)")


def cut(file: Path, num_bytes: int) -> None:
    file.write_bytes(file.read_bytes()[:num_bytes])


@pytest.mark.parametrize(
    ("spoil", "said", "made_by_import"),
    [
        (Path.unlink, "no journal at ", True),
        (lambda file: file.write_bytes(b""), "no journal at ", True),
        (make_folder, "is a folder: choose a file with --db", False),
        (lambda file: file.write_text("no database " * 100), "is not a SQLite database and was left untouched", False),
        (partial(cut, num_bytes=300), "is not a SQLite database and was left untouched", False),
        (make_foreign, "is another program's database and was left untouched", False),
        (partial(cut, num_bytes=50_000), "is damaged (database disk image is malformed)", False),
        (lambda file: changed(file, "PRAGMA user_version = 99"), "newer version of this program (schema 99", False),
    ],
    ids=("missing", "empty", "folder", "text", "short", "foreign", "cut", "newer"),
)
def test_a_file_that_is_none_of_ours_is_one_line_and_stays_as_it_is(
    orchestrator: Call, file: Path, spoil: Callable[[Path], object], said: str, made_by_import: bool
) -> None:
    spoil(file)
    before = file.read_bytes() if file.is_file() else None
    names = {name: written for name, written in COMMANDS.items() if not (made_by_import and name in WRITERS)}
    for name, result in told(orchestrator, file, names).items():
        assert result.exit_code == 2 and said in result.stderr, (name, result.output)
    assert (file.read_bytes() if file.is_file() else None) == before


_UNSEARCHED = ("settings FROM runs", "engines FROM runs", "ledger FROM outcomes")


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("text FROM steps", "CAST(x'ff41fe' AS TEXT)"),
        ("text FROM steps", "x'ff41fe'"),
        ("text FROM steps", "replace(text, 'e', 'a')"),
        ("task FROM runs", "CAST(x'7bff' AS TEXT)"),
        ("task FROM runs", "replace(text, 'What', 'Whet')"),
        ("task FROM runs", "'{}'"),
        ("settings FROM runs", "'{'"),
        ("engines FROM runs", "'[]'"),
        ("ledger FROM outcomes", "'['"),
    ],
)
def test_a_text_that_is_not_as_it_was_stored_is_never_shown(
    orchestrator: Call, file: Path, column: str, text: str
) -> None:
    changed(file, f"UPDATE texts SET text = {text} WHERE id IN (SELECT {column})")
    results = told(orchestrator, file, COMMANDS)
    searches = () if column in _UNSEARCHED else ("show --grep", "list --grep")
    for name in ("show", "show --json", "html", "diff", "graph", "replay", "export", *searches):
        assert results[name].exit_code == 2, (name, results[name].output)
        assert "is damaged (" in results[name].stderr and "see `db check`" in results[name].stderr
    assert "bad   texts " in results["check"].stdout and "`trace prune RUN...`" in results["check"].stdout
    assert results["prune"].exit_code == 0


def test_an_export_of_all_runs_leaves_out_those_that_are_damaged_and_names_them(
    orchestrator: Call, file: Path, here: Path
) -> None:
    with Store(file, readonly=True) as store:
        first, second = Journal(store).ids()
    changed(file, "UPDATE texts SET text = 'changed' WHERE id = (SELECT task FROM runs WHERE key = 1)")
    with sqlite3.connect(file) as connection:
        (number,) = connection.execute("SELECT task FROM runs WHERE key = 1").fetchone()
    for out in ((), ("--out", "left.jsonl")):
        done = orchestrator("trace", "export", "--all", *out, "--db", str(file))
        assert done.exit_code == 1
        assert done.stderr.splitlines()[-1] == (
            f"run {first} is damaged and left out: text {number} is not what was stored"
        )
    assert orchestrator("trace", "import", "left.jsonl", "--db", "new.db").stderr == "1 imported\n"
    with Store(here / "new.db", readonly=True) as store:
        assert Journal(store).ids() == [second]
    assert orchestrator("trace", "export", first, "--db", str(file)).exit_code == 2


def test_a_page_that_cannot_be_read_has_one_mend_in_a_check(orchestrator: Call, file: Path) -> None:
    (page,) = sqlite3.connect(file).execute("SELECT rootpage FROM sqlite_master WHERE name = 'steps'").fetchone()
    (size,) = sqlite3.connect(file).execute("PRAGMA page_size").fetchone()
    bent = bytearray(file.read_bytes())
    bent[(page - 1) * size : page * size] = b"\xff" * size
    file.write_bytes(bent)
    done = orchestrator("db", "check", "--db", str(file))
    assert done.exit_code == 1 and "`trace export --all`" in done.stdout, done.output
    assert "see `db check`" not in done.output and "another file with --db" not in done.output


@pytest.mark.parametrize("seed", range(4))
def test_a_file_with_bent_bits_is_told_without_a_traceback(orchestrator: Call, file: Path, seed: int) -> None:
    rng = random.Random(seed)
    bent = bytearray(file.read_bytes())
    for _ in range(40):
        bent[rng.randrange(100, len(bent))] ^= 1 << rng.randrange(8)
    file.write_bytes(bent)
    told(orchestrator, file, COMMANDS)


@pytest.mark.parametrize("schema", range(1, SCHEMA))
def test_a_file_of_an_older_version_is_read_as_it_is(orchestrator: Call, file: Path, here: Path, schema: int) -> None:
    old = here / "old.db"
    connection = sqlite3.connect(old, isolation_level=None)
    steps = [each.name for each in MIGRATIONS.pending(Database(memory=True))]
    MIGRATIONS.apply(Database(connection), stop_before=steps[schema])
    connection.execute("ATTACH ? AS sound", (str(file),))
    for table in ("texts", "runs", "intents", "results", "signals", "decisions", "steps", "events", "outcomes"):
        columns = ", ".join(row[1] for row in connection.execute(f"PRAGMA main.table_info({table})"))
        connection.execute(f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM sound.{table}")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {schema}")
    connection.close()
    before = old.read_bytes()
    for name, result in told(orchestrator, old, READERS).items():
        assert result.exit_code == 0, (name, result.output)
    assert old.read_bytes() == before
    for name, result in told(orchestrator, old, WRITERS).items():
        assert result.exit_code == 0, (name, result.output)
    assert orchestrator("db", "check", "--db", str(old)).exit_code == 0


def test_a_file_that_is_being_written_is_read_by_all_and_its_writer_never_waits(orchestrator: Call, file: Path) -> None:
    done, failed = threading.Event(), list[Exception]()

    def write(store: Store) -> None:
        while not done.is_set():
            try:
                with store.transaction() as connection:
                    connection.execute("UPDATE runs SET position = position + 1")
            except Exception as error:
                failed.append(error)

    with Store(file, wait_s=0) as store:  # whoever held the write lock would fail it at once
        writer = threading.Thread(target=write, args=(store,))
        writer.start()
        try:
            for name, result in told(orchestrator, file, READERS).items():
                assert result.exit_code == 0, (name, result.output)
        finally:
            done.set()
            writer.join()
    assert not failed


def test_while_a_writer_holds_the_file_all_read_it(orchestrator: Call, file: Path) -> None:
    with Store(file) as store, store.transaction() as connection:
        connection.execute("UPDATE runs SET position = 7")
        for name, result in told(orchestrator, file, READERS).items():
            assert result.exit_code == 0, (name, result.output)


def test_where_the_disk_is_full_all_is_read_and_what_cannot_be_written_is_one_line(
    orchestrator: Call, file: Path
) -> None:
    before = file.read_bytes()
    names = {name: written for name, written in COMMANDS.items() if "{out}" not in written or name == "backup"}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        results = told(orchestrator, file, names)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    for name, result in results.items():
        is_writing = name in (*WRITERS, "backup")
        assert result.exit_code == (2 if is_writing else 0), (name, result.output)
        assert not is_writing or "room" in result.stderr, (name, result.output)
    assert file.read_bytes() == before
    assert orchestrator("trace", "prune", "last", "--yes", "--db", str(file)).exit_code == 0


@pytest.mark.parametrize("command", NAMING)
def test_a_run_that_is_none_or_several_is_told_with_those_it_may_be(
    orchestrator: Call, file: Path, command: str
) -> None:
    with Store(file, readonly=True) as store:
        ids = [run.id for run in Journal(store).runs(10)]
    for name, said in (("zzz", "no run 'zzz' in "), (ids[0][:3], "is the beginning of several runs: ")):
        result = orchestrator("trace", *command.format(name).split(), "--db", str(file))
        assert result.exit_code == 2 and result.stderr.count("\n") == 1, result.output
        assert said in result.stderr and all(each in result.stderr for each in ids), result.stderr


def test_a_run_that_was_left_half_written_is_shown_and_marked(orchestrator: Call, file: Path) -> None:
    lost = "DELETE FROM {} WHERE run = 2 AND n > (SELECT min(n) + 4 FROM steps WHERE run = 2)"
    tables = ("signals", "decisions", "steps", "events", "outcomes")
    changed(
        file,
        *map(lost.format, tables),
        "DELETE FROM results WHERE run = 2 AND seq > 4",
        "DELETE FROM totals WHERE run = 2",
    )
    results = told(orchestrator, file, READERS)
    assert all(result.exit_code == 0 for result in results.values())
    for name in ("show", "show --only", "list", "stats"):
        assert "interrupted" in results[name].stdout, (name, results[name].output)
    assert "unfinished" in results["diff"].stdout and '"outcome":null' in results["export"].stdout
