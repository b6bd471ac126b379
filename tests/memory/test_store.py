"""The file: what becomes ours, what is refused untouched, and whose errors we raise."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import OrchestratorError, StoreCorrupt, StoreError, StoreLocked, StoreNewer, StoreReadOnly
from orchestrator.memory import opening
from orchestrator.memory.opening import APPLICATION_ID, SCHEMA
from orchestrator.memory.store import Store, translated
from orchestrator.memory.texts import Texts


def text_file(path: Path) -> None:
    path.write_text("dear diary\n" * 500)


def short_file(path: Path) -> None:
    path.write_bytes(b"x")


def foreign_database(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE precious (x)")
    connection.close()


def foreign_database_that_logs_ahead(path: Path) -> None:
    foreign_database(path)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()


def numbered_foreign_database(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 1")
    connection.close()


def newer_database(path: Path) -> None:
    Store(path).close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    connection.close()


def truncated_database(path: Path) -> None:
    Store(path).close()
    os.truncate(path, path.stat().st_size // 2)


def database_cut_inside_its_header(path: Path) -> None:
    Store(path).close()
    os.truncate(path, 50)


REFUSED = [
    (text_file, StoreCorrupt, "is not a SQLite database"),
    (short_file, StoreCorrupt, "is not a SQLite database"),
    (foreign_database, StoreCorrupt, "another program's database"),
    (foreign_database_that_logs_ahead, StoreCorrupt, "another program's database"),
    (numbered_foreign_database, StoreCorrupt, "another program's database"),
    (newer_database, StoreNewer, rf"schema {SCHEMA + 1}, this one knows {SCHEMA}"),
    (truncated_database, StoreCorrupt, "is damaged"),
    (database_cut_inside_its_header, StoreCorrupt, "is not a SQLite database"),
]


@pytest.mark.parametrize("readonly", [False, True])
@pytest.mark.parametrize(("spoil", "error", "message"), REFUSED, ids=[case[0].__name__ for case in REFUSED])
def test_a_file_that_cannot_be_ours_is_refused_in_one_line_and_left_as_it_was(
    path: Path, spoil: Callable[[Path], None], error: type[StoreError], message: str, readonly: bool
) -> None:
    spoil(path)
    before = path.read_bytes()
    with pytest.raises(error, match=message) as caught:
        Store(path, readonly=readonly)
    said = str(caught.value)
    assert str(path) in said and "--db" in said and "\n" not in said
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_an_empty_file_becomes_ours(path: Path) -> None:
    path.touch()
    Store(path).close()
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    connection.close()


def test_a_file_that_another_one_makes_while_it_is_looked_at_is_no_strangers(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.touch()
    other = threading.Thread(target=lambda: Store(path).close())

    def interfere(statement: str) -> None:
        if statement == "SELECT count(*) FROM sqlite_master" and not other.ident:
            other.start()
            other.join(0.5)

    def connect(*arguments: Any) -> sqlite3.Connection:
        connection = connect_as_it_is(*arguments)
        if threading.current_thread() is not other:
            connection.set_trace_callback(interfere)
        return connection

    connect_as_it_is = opening._connect
    monkeypatch.setattr(opening, "_connect", connect)
    Store(path).close()
    other.join()
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    connection.close()


def test_missing_folders_are_made_and_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b?c%20" / "journal.db"
    with Store(path) as store:
        with store.transaction() as connection:
            connection.execute("INSERT INTO texts (digest, text) VALUES (x'00', 'secret')")
        for file in path.parent.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
        assert len(list(path.parent.iterdir())) == 3


def test_a_folder_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is a folder"):
        Store(tmp_path)


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("x")
    with pytest.raises(StoreError, match="notes"):
        Store(tmp_path / "notes" / "journal.db")


def test_the_log_is_written_ahead_and_synced_as_asked(path: Path) -> None:
    for durability, level in (("process", 1), ("power", 2)):
        with Store(path, durability=durability) as store:  # type: ignore[arg-type]
            assert store.connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
            assert store.connection.execute("PRAGMA synchronous").fetchone() == (level,)
            assert store.connection.execute("PRAGMA foreign_keys").fetchone() == (1,)


def test_a_lock_held_too_long_is_an_error_and_a_short_one_is_waited_for(path: Path) -> None:
    with Store(path) as other, Store(path, wait_s=0.05) as hasty, Store(path, wait_s=5) as patient:
        other.connection.execute("BEGIN IMMEDIATE")
        before = path.read_bytes()
        with pytest.raises(StoreLocked, match="locked by another process"), hasty.transaction():
            pass
        assert path.read_bytes() == before
        threading.Timer(0.1, other.connection.execute, ["COMMIT"]).start()
        with patient.transaction():
            pass


def test_a_file_locked_as_a_whole_is_not_opened(path: Path) -> None:
    path.touch()
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreLocked):
        Store(path, wait_s=0.05)
    holder.close()
    assert path.read_bytes() == b""


def test_a_reader_needs_a_file_that_exists_and_makes_none(tmp_path: Path) -> None:
    missing = tmp_path / "folder" / "journal.db"
    with pytest.raises(StoreError, match=r"no journal at .*journal\.db: run something first"):
        Store(missing, readonly=True)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_file_holds_no_journal_to_read(path: Path) -> None:
    path.touch()
    with pytest.raises(StoreError, match="no journal at"):
        Store(path, readonly=True)
    assert path.read_bytes() == b""


def test_a_reader_cannot_write(path: Path) -> None:
    Store(path).close()
    before = path.read_bytes()
    with (
        Store(path, readonly=True) as store,
        pytest.raises(StoreReadOnly, match="may not be written"),
        store.transaction() as connection,
    ):
        connection.execute("INSERT INTO texts (digest, text) VALUES (x'00', 'x')")
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def as_nobody(act: Callable[[], object]) -> str:
    """Return what `act` raises in a process without privileges: its type and message, or nothing."""
    read_end, write_end = os.pipe()
    if not (child := os.fork()):
        said = ""
        try:
            if os.geteuid() == 0:
                os.setuid(65534)
            act()
        except OrchestratorError as error:
            said = f"{type(error).__name__}: {error}"
        finally:
            os.write(write_end, said.encode())
            os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end) as reader:
        said = reader.read()
    os.waitpid(child, 0)
    return said


@pytest.fixture
def public(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that other users can reach."""
    folder = tmp_path_factory.mktemp("public")
    for parent in (folder, *folder.parents):
        if parent.owner() == folder.owner() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o755)
        if parent.name.startswith("pytest-of"):
            break
    return folder


def test_a_file_that_may_not_be_read_is_said_so(public: Path) -> None:
    path = public / "journal.db"
    Store(path).close()
    path.chmod(0o200 if os.geteuid() else 0o600)
    said = as_nobody(lambda: Store(path, readonly=True))
    assert said.startswith(f"StoreError: {path} may not be read") and "give read access" in said


def test_a_file_or_folder_that_may_not_be_written_is_said_so(public: Path) -> None:
    path = public / "journal.db"
    Store(path).close()
    path.chmod(0o444)
    public.chmod(0o777)
    before = path.read_bytes()
    assert as_nobody(lambda: Store(path)).startswith(f"StoreReadOnly: {path} may not be written")
    path.chmod(0o666)
    public.chmod(0o555)
    assert as_nobody(lambda: Store(path)).startswith(f"StoreReadOnly: {public} may not be written")
    assert as_nobody(lambda: Store(public / "new.db")).startswith("StoreReadOnly: ")
    assert path.read_bytes() == before
    assert as_nobody(lambda: Store(path, readonly=True)) == ""
    public.chmod(0o755)


@pytest.mark.parametrize(
    "foreign",
    [each for each in vars(sqlite3).values() if isinstance(each, type) and issubclass(each, Exception)],
    ids=lambda each: each.__name__,
)
def test_every_error_of_sqlite_becomes_ours(foreign: type[Exception]) -> None:
    with pytest.raises(StoreError, match=r"here\.db") as caught, translated("here.db"):
        raise foreign("no luck")
    assert isinstance(caught.value.__cause__, foreign)


CODES = {
    "SQLITE_BUSY_SNAPSHOT": StoreLocked,
    "SQLITE_LOCKED": StoreLocked,
    "SQLITE_READONLY_DIRECTORY": StoreReadOnly,
    "SQLITE_CORRUPT_INDEX": StoreCorrupt,
    "SQLITE_NOTADB": StoreCorrupt,
    "SQLITE_FULL": StoreError,
    "SQLITE_IOERR_FSYNC": StoreError,
}


@pytest.mark.parametrize(("name", "ours"), CODES.items())
def test_the_code_of_the_error_picks_the_class(name: str, ours: type[StoreError]) -> None:
    error = sqlite3.OperationalError("no luck")
    error.sqlite_errorcode = getattr(sqlite3, name)
    with pytest.raises(StoreError) as caught, translated("here.db"):
        raise error
    assert type(caught.value) is ours


def test_a_damaged_page_is_reported_when_it_is_met(path: Path) -> None:
    with Store(path) as store, store.transaction() as connection:
        for number in range(1000):
            connection.execute("INSERT INTO texts (digest, text) VALUES (?, ?)", (b"%16d" % number, "x" * 100))
    data = bytearray(path.read_bytes())
    place = 3 * len(data) // 4  # among the texts
    data[place : place + 8192] = os.urandom(8192)
    path.write_bytes(data)
    with (
        Store(path, readonly=True) as store,
        pytest.raises(StoreCorrupt, match="is damaged"),
        store.reading() as connection,
    ):
        connection.execute("SELECT count(*), max(length(text)) FROM texts NOT INDEXED WHERE text <> ''").fetchall()
    assert path.read_bytes() == bytes(data)


def test_a_text_that_is_gone_is_damage_and_what_is_closed_says_so(path: Path) -> None:
    with (
        Store(path) as store,
        pytest.raises(StoreCorrupt, match=r"is damaged .text 7 is missing"),
        store.reading() as connection,
    ):
        Texts().read(connection, 7)
    with pytest.raises(StoreError, match="has been closed here: look before it is, or open it again"), store.reading():
        pass


def test_an_exception_of_the_caller_undoes_the_transaction_and_passes_through(store: Store) -> None:
    with pytest.raises(KeyError), store.transaction() as connection:
        connection.execute("INSERT INTO texts (digest, text) VALUES (x'00', 'x')")
        raise KeyError("mine")
    assert store.connection.execute("SELECT count(*) FROM texts").fetchone() == (0,)
    assert not store.connection.in_transaction
