"""The schema, and how a file gets to it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlite_utils import Database

from orchestrator.behaviors import Add, Credit, Retire
from orchestrator.errors import StoreError, UserError
from orchestrator.memory.base import Lesson
from orchestrator.memory.handbook import Handbook
from orchestrator.memory.journal import Journal
from orchestrator.memory.migrations import MIGRATIONS
from orchestrator.memory.opening import APPLICATION_ID, SCHEMA
from orchestrator.memory.refusals import Refusal
from orchestrator.memory.rows import LAYOUTS, RUNS
from orchestrator.memory.store import Store
from orchestrator.memory.texts import digest

COLUMNS = {
    "texts": ("id INTEGER, digest BLOB NOT NULL, text  NOT NULL"),
    "runs": (
        "key INTEGER, id TEXT NOT NULL, parent TEXT, batch INTEGER NOT NULL, position INTEGER NOT NULL, "
        "task INTEGER NOT NULL, settings INTEGER NOT NULL, engines INTEGER NOT NULL, "
        "created_s REAL NOT NULL"
    ),
    "claims": ("run INTEGER, pid INTEGER NOT NULL, started TEXT NOT NULL, host TEXT NOT NULL, journal TEXT NOT NULL"),
    "intents": (
        "run INTEGER NOT NULL, seq INTEGER NOT NULL, step INTEGER NOT NULL, attempt INTEGER NOT NULL, "
        "purpose INTEGER NOT NULL, engine INTEGER NOT NULL, seed INTEGER NOT NULL, digest BLOB NOT NULL, "
        "prompt_tokens INTEGER NOT NULL, max_tokens INTEGER NOT NULL, started_s REAL NOT NULL"
    ),
    "results": (
        "run INTEGER NOT NULL, seq INTEGER NOT NULL, status INTEGER NOT NULL, text INTEGER NOT NULL, "
        "ids BLOB NOT NULL, stop INTEGER NOT NULL, stop_text INTEGER NOT NULL, "
        "prompt_tokens INTEGER NOT NULL, cached_tokens INTEGER, output_tokens INTEGER NOT NULL, "
        "uncertain INTEGER NOT NULL, seconds REAL NOT NULL, first_token_s REAL, error INTEGER NOT NULL, "
        "logprobs INTEGER, queue_s REAL, drafts INTEGER, drafted INTEGER, accepted INTEGER"
    ),
    "signals": (
        "run INTEGER NOT NULL, n INTEGER NOT NULL, step INTEGER NOT NULL, attempt INTEGER NOT NULL, "
        "name INTEGER NOT NULL, value REAL, raw REAL, unit INTEGER NOT NULL, reason INTEGER NOT NULL, "
        "output_tokens INTEGER NOT NULL, seconds REAL NOT NULL"
    ),
    "decisions": (
        "run INTEGER NOT NULL, n INTEGER NOT NULL, step INTEGER NOT NULL, attempt INTEGER NOT NULL, "
        "door INTEGER NOT NULL, action INTEGER NOT NULL, engine INTEGER NOT NULL, "
        "reason INTEGER NOT NULL, threshold REAL, margin REAL, alternatives INTEGER NOT NULL, "
        "policy INTEGER NOT NULL, detail INTEGER NOT NULL"
    ),
    "steps": (
        "run INTEGER NOT NULL, n INTEGER NOT NULL, step INTEGER NOT NULL, attempt INTEGER NOT NULL, "
        "kind INTEGER NOT NULL, writer INTEGER NOT NULL, text INTEGER NOT NULL, stop INTEGER NOT NULL, "
        "num_tokens INTEGER NOT NULL, seconds REAL NOT NULL"
    ),
    "events": (
        "run INTEGER NOT NULL, n INTEGER NOT NULL, step INTEGER NOT NULL, kind INTEGER NOT NULL, "
        "detail INTEGER NOT NULL, at_s REAL NOT NULL"
    ),
    "outcomes": (
        "run INTEGER NOT NULL, n INTEGER NOT NULL, status INTEGER NOT NULL, answer INTEGER, "
        "error INTEGER NOT NULL, reason INTEGER NOT NULL, seconds REAL NOT NULL, ledger INTEGER NOT NULL, "
        "finished_s REAL NOT NULL"
    ),
    "states": (
        "policy INTEGER NOT NULL, version INTEGER NOT NULL, state TEXT NOT NULL, run INTEGER NOT NULL, "
        "at_s REAL NOT NULL"
    ),
    "rewards": "run INTEGER, value REAL NOT NULL, at_s REAL NOT NULL",
    "handbooks": (
        "key INTEGER, name TEXT NOT NULL, head INTEGER NOT NULL, last_seq INTEGER NOT NULL, last_id INTEGER NOT NULL, "
        "created_s REAL NOT NULL"
    ),
    "behaviors": (
        "key INTEGER, handbook INTEGER NOT NULL, id INTEGER NOT NULL, name TEXT NOT NULL, instruction TEXT NOT NULL, "
        "section TEXT NOT NULL, polarity TEXT NOT NULL, version INTEGER NOT NULL, is_active INTEGER NOT NULL, "
        "merged_into INTEGER, run TEXT NOT NULL, step INTEGER, task TEXT NOT NULL, "
        "helpful INTEGER NOT NULL, harmful INTEGER NOT NULL, "
        "neutral INTEGER NOT NULL"
    ),
    "changes": (
        "handbook INTEGER NOT NULL, seq INTEGER NOT NULL, parent INTEGER NOT NULL, op TEXT NOT NULL, "
        "before TEXT NOT NULL, after TEXT NOT NULL, reason TEXT NOT NULL, at_s REAL NOT NULL, "
        "is_current INTEGER NOT NULL"
    ),
    "snapshots": "handbook INTEGER NOT NULL, name TEXT NOT NULL, seq INTEGER NOT NULL, at_s REAL NOT NULL",
    "vectors": (
        "n INTEGER, handbook INTEGER NOT NULL, space TEXT NOT NULL, behavior INTEGER NOT NULL, "
        "version INTEGER NOT NULL, vector BLOB NOT NULL"
    ),
    "uses": (
        "handbook INTEGER NOT NULL, behavior INTEGER NOT NULL, run TEXT NOT NULL, seq INTEGER NOT NULL, "
        "effect TEXT NOT NULL"
    ),
    "refused": (
        "number INTEGER, handbook INTEGER NOT NULL, name TEXT NOT NULL, instruction TEXT NOT NULL, "
        "section TEXT NOT NULL, polarity TEXT NOT NULL, gate TEXT NOT NULL, reason TEXT NOT NULL, run TEXT NOT NULL, "
        "task TEXT NOT NULL, at_s REAL NOT NULL"
    ),
    "studied": "handbook INTEGER NOT NULL, run TEXT NOT NULL, strategist TEXT NOT NULL, at_s REAL NOT NULL",
    "totals": (
        "run INTEGER, prompt_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, large_tokens INTEGER NOT NULL, "
        "cost REAL NOT NULL"
    ),
    "prunings": "number INTEGER, runs INTEGER NOT NULL, why TEXT NOT NULL, at_s REAL NOT NULL",
}


def columns_of(database: Database) -> dict[str, str]:
    return {
        table.name: ", ".join(f"{c.name} {c.type}{' NOT NULL' if c.notnull else ''}".strip() for c in table.columns)
        for table in database.tables
        if not table.name.startswith(("_", "behavior_words", "retired_words", "sqlite_"))
    }


def test_the_schema_is_exactly_this(store: Store) -> None:
    assert columns_of(Database(store.connection)) == COLUMNS


def test_every_field_of_a_record_has_its_column() -> None:
    for layout in (RUNS, *LAYOUTS.values()):
        names = [column.split()[0] for column in COLUMNS[layout.table].split(", ")]
        assert set(names) - {"n", "key"} == set(layout.record._fields)


def test_the_file_says_whose_it_is_and_how_many_migrations_it_has_seen(store: Store) -> None:
    assert store.connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    assert store.connection.execute("PRAGMA user_version").fetchone() == (SCHEMA,)
    assert len(MIGRATIONS.applied(Database(store.connection))) == SCHEMA
    assert MIGRATIONS.pending(Database(store.connection)) == []


def test_opening_again_applies_nothing_and_keeps_the_rows(path: Path, make: SimpleNamespace) -> None:
    with Store(path) as store:
        Journal(store).open_run(make.run())
        applied = MIGRATIONS.applied(Database(store.connection))
    with Store(path) as store:
        assert MIGRATIONS.applied(Database(store.connection)) == applied
        assert Journal(store).run("last").run == make.run()


@pytest.fixture
def dying_migration() -> Iterator[None]:
    """One more migration, behind the others, that fails half-way."""

    @MIGRATIONS()
    def m999_dies(db: Database) -> None:
        db.execute("CREATE TABLE half_done (x)")
        db.execute("INSERT INTO nowhere VALUES (1)")

    yield
    MIGRATIONS._migrations.pop()


@pytest.mark.usefixtures("dying_migration")
def test_a_migration_that_dies_half_way_leaves_nothing_behind_and_is_done_the_next_time(path: Path) -> None:
    with pytest.raises(StoreError, match="nowhere"):
        Store(path)
    assert path.read_bytes() == b""
    MIGRATIONS._migrations[-1].fn = lambda db: None
    with Store(path) as store:
        assert [each.name for each in MIGRATIONS.applied(Database(store.connection))] == [
            "m001_initial",
            "m002_speculation",
            "m003_learning",
            "m004_handbook",
            "m005_refusals",
            "m006_words_apart",
            "m007_traces",
            "m999_dies",
        ]
        assert columns_of(Database(store.connection)) == COLUMNS


def test_a_file_of_the_first_schema_keeps_its_calls_and_takes_new_ones(path: Path, make: SimpleNamespace) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    MIGRATIONS.apply(Database(connection), stop_before="m002_speculation")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute("PRAGMA user_version = 1")
    for number, text in enumerate(("draft", "small", "done"), 1):
        connection.execute("INSERT INTO texts VALUES (?, ?, ?)", (number, digest(text.encode()), text))
    connection.execute("INSERT INTO runs VALUES (1, '0000000000000001', NULL, 1, 0, 1, 1, 1, 1.0)")
    connection.execute("INSERT INTO intents VALUES (1, 0, 0, 0, 1, 2, 7, x'00', 12, 512, 1.0)")
    connection.execute("INSERT INTO results VALUES (1, 0, 3, 1, x'', 3, 3, 12, 8, 3, 0, 0.5, 0.1, 3, NULL)")
    connection.close()
    was = path.read_bytes()
    with Store(path, readonly=True) as store:
        (call,) = Journal(store).run("last").calls
        assert call.result is not None
        assert (call.result.output_tokens, call.result.drafts, call.result.queue_s) == (3, None, None)
    assert path.read_bytes() == was
    counted = make.result(seq=1, queue_s=0.25, drafts=4, drafted=20, accepted=9)
    with Store(path) as store:
        journal = Journal(store)
        journal.claim(1)
        journal.intent(make.intent(seq=1))
        journal.result(counted)
        journal.close()
        before, after = (call.result for call in journal.run("last").calls)
    assert before is not None
    assert (before.output_tokens, before.seconds, before.drafts, before.queue_s) == (3, 0.5, None, None)
    assert after == counted


def of_schema(path: Path, number: int, stop_before: str) -> None:
    """Make a file as an older version left it, with one run."""
    connection = sqlite3.connect(path, isolation_level=None)
    MIGRATIONS.apply(Database(connection), stop_before=stop_before)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {number}")
    connection.execute("INSERT INTO texts VALUES (1, ?, '{}')", (digest(b"{}"),))
    connection.execute("INSERT INTO runs VALUES (1, '0000000000000001', NULL, 1, 0, 1, 1, 1, 1.0)")
    connection.close()


@pytest.mark.parametrize(("number", "next_one"), [(1, "m002_speculation"), (2, "m003_learning"), (3, "m004_handbook")])
def test_an_older_file_is_read_as_one_whose_handbook_is_empty_and_then_takes_behaviors(
    path: Path, number: int, next_one: str
) -> None:
    of_schema(path, number, next_one)
    was = path.read_bytes()
    with Store(path, readonly=True) as store:
        handbook = Handbook(store)
        assert (handbook.behaviors(), handbook.changes(), handbook.snapshots(), handbook.head) == ([], [], [], 0)
    assert path.read_bytes() == was
    with Store(path) as store:
        Handbook(store).apply([Add("behavior_a", "One."), Credit(1, "r1", "helpful")])
        assert Handbook(store).behavior("behavior_a").uses == 1
        assert columns_of(Database(store.connection)) == COLUMNS


OLDER = [
    (1, "m002_speculation"),
    (2, "m003_learning"),
    (3, "m004_handbook"),
    (4, "m005_refusals"),
]


def test_a_file_from_before_successors_were_indexed_says_what_was_learned_from_what_and_then_finds_it_fast(
    path: Path,
) -> None:
    of_schema(path, 5, "m006_words_apart")
    connection = sqlite3.connect(path)
    connection.execute("INSERT INTO handbooks (key, name, created_s) VALUES (1, 'default', 1.0)")
    row = "INSERT INTO behaviors VALUES (?, 1, ?, ?, 'Add.', '', 'do', 1, ?, ?, '', NULL, ?, 0, 0, 0)"
    connection.executemany(row, [(1, 1, "behavior_a", 0, 2, "t1"), (2, 2, "behavior_b", 1, None, "t2")])
    connection.commit()
    connection.close()
    for options in ({"readonly": True}, {}):
        with Store(path, **options) as store:
            assert Handbook(store).learned_from({"t1"}, [1, 2]) == {1, 2}
            indexes = {each.name for each in Database(store.connection)["behaviors"].indexes}
            assert ("behaviors_by_successor" in indexes) is (options == {})


@pytest.mark.parametrize(("number", "next_one"), OLDER)
def test_an_older_file_is_read_as_one_that_refused_nothing_and_then_keeps_refusals(
    path: Path, number: int, next_one: str
) -> None:
    of_schema(path, number, next_one)
    was = path.read_bytes()
    with Store(path, readonly=True) as store:
        assert (Handbook(store).refused(), Handbook(store).has_studied("r1", "large")) == ([], False)
    assert path.read_bytes() == was
    refusal = Refusal("behavior_a", "Say 42.", "", "do", "answer", "it holds the answer", "r1")
    with Store(path) as store:
        handbook = Handbook(store)
        handbook.study("r1", "large", [Add("behavior_b", "Two.")], [refusal], reason="learned")
        assert [each.instruction for each in handbook.refused()] == ["Say 42."]
        assert handbook.has_studied("r1", "large") and not handbook.has_studied("r1", "small")
        assert columns_of(Database(store.connection)) == COLUMNS


@pytest.mark.parametrize(("number", "next_one"), [(4, "m005_refusals"), (5, "m006_words_apart")])
def test_an_older_file_whose_index_held_every_row_finds_what_may_be_found(
    path: Path, number: int, next_one: str
) -> None:
    of_schema(path, number, next_one)
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(
            "INSERT INTO handbooks (name, head, last_seq, last_id, created_s) VALUES ('default',0,0,3,1)"
        )
        for id, is_active, into in ((1, 1, None), (2, 0, None), (3, 0, 1)):
            connection.execute(
                "INSERT INTO behaviors VALUES (?1, 1, ?1, 'behavior_a', 'Carry.', 's', 'do', 1, ?2, ?3, '', NULL, '', "
                "0, 0, 0)",
                (id, is_active, into),
            )
    connection.close()
    was = path.read_bytes()
    for readonly in (True, False):
        with Store(path, readonly=readonly) as store:
            handbook = Handbook(store)
            found = (handbook.search("carry"), handbook.search("carry", sections=["s"]), handbook.gone("carry"))
            assert [[each.id for each, _ in some] for some in found] == [[1], [1], [2]]
            assert not readonly or path.read_bytes() == was
    with Store(path) as store:
        Handbook(store).apply([Retire(1), Add("behavior_a", "Carry on.")])
        assert [each.id for each, _ in Handbook(store).search("carry")] == [4]
        assert store.connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize(("number", "next_one"), [(1, "m002_speculation"), (2, "m003_learning")])
def test_an_older_file_is_read_as_one_where_nothing_was_learned_and_then_learns(
    path: Path, make: SimpleNamespace, number: int, next_one: str
) -> None:
    of_schema(path, number, next_one)
    was = path.read_bytes()
    with Store(path, readonly=True) as store:
        journal = Journal(store)
        assert (journal.learned("p"), journal.learned("p", 3), journal.reward_of(1)) == ((0, {}), (0, {}), None)
        assert (journal.counts()["states"], journal.run("last").calls) == (0, [])
    assert path.read_bytes() == was
    with Store(path) as store:
        journal = Journal(store)
        journal.claim(1)
        journal.conclude(make.outcome(), 0.5, [Lesson("p", lambda run, reward, state: {"seen": [run.run.id, reward]})])
        assert (journal.learned("p"), journal.reward_of(1)) == ((1, {"seen": ["0000000000000001", 0.5]}), 0.5)
        assert columns_of(Database(store.connection)) == COLUMNS


def test_every_version_of_a_state_stays_readable(journal: Journal, make: SimpleNamespace) -> None:
    for number in range(3):
        key = journal.open_run(make.run(id=f"run{number}"))
        lesson = Lesson("p", lambda run, reward, state: {"count": state.get("count", 0) + 1})
        journal.conclude(make.outcome(run=key), None, [lesson])
    assert [journal.learned("p", version).state for version in range(4)] == [{}, *({"count": n} for n in (1, 2, 3))]
    assert journal.learned("another") == (0, {})


def test_a_lesson_that_raises_leaves_neither_outcome_nor_reward_nor_state(
    journal: Journal, make: SimpleNamespace
) -> None:
    key = journal.open_run(make.run())
    with pytest.raises(ZeroDivisionError):
        journal.conclude(make.outcome(run=key), 1.0, [Lesson("p", lambda run, reward, state: {"x": 1 // 0})])
    assert (journal.run("last").outcome, journal.reward_of(key), journal.learned("p")) == (None, None, (0, {}))
    journal.conclude(make.outcome(run=key), 1.0, [Lesson("p", lambda run, reward, state: {"x": 1})])
    assert (journal.reward_of(key), journal.learned("p")) == (1.0, (1, {"x": 1}))


def test_a_run_that_has_its_reward_keeps_it(journal: Journal, make: SimpleNamespace) -> None:
    key = journal.open_run(make.run())
    journal.conclude(make.outcome(run=key), None, [Lesson("p", lambda run, reward, state: {})])
    journal.reward(key, 0.25)
    with pytest.raises(UserError, match=r"has its reward, 0\.25, and keeps it"):
        journal.reward(key, 1.0)
    told = []
    journal.conclude(make.outcome(run=key), 1.0, [Lesson("p", lambda run, reward, state: told.append(reward) or {})])
    assert (journal.reward_of(key), told) == (0.25, [None])
