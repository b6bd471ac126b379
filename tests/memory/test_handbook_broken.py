"""Handbooks in files that are damaged, in the way, or older; and every way back and forth between snapshots."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.behaviors import Add, Credit, Merge, Retire, Update
from orchestrator.errors import StoreCorrupt, StoreError, UnknownName, UserError
from orchestrator.memory.handbook import Handbook
from orchestrator.memory.store import Store


def fill(path: Path) -> None:
    with Store(path) as store:
        handbook = Handbook(store)
        handbook.apply(Add(f"behavior_n{each}", f"Look at {each} first.", section=f"s{each % 3}") for each in range(40))
        handbook.apply(Credit(each, "r1", "helpful") for each in range(1, 20))
        handbook.snapshot("good")
        handbook.apply([Retire(3), Update(5, instruction="Look elsewhere."), Merge(7, (8, 9))])


READS: list[Callable[[Handbook], object]] = [
    lambda handbook: handbook.behaviors(retired=True),
    lambda handbook: handbook.search("look first"),
    lambda handbook: handbook.behavior("behavior_n5"),
    lambda handbook: handbook.changes(),
    lambda handbook: handbook.snapshots(),
]
WRITES: list[Callable[[Handbook], object]] = [
    lambda handbook: handbook.apply([Add("behavior_new", "Do.")]),
    lambda handbook: handbook.apply([Credit(2, "r2", "harmful")]),
    lambda handbook: handbook.rollback("good"),
    lambda handbook: handbook.rollback(0),
]


def damaged(whole: bytes, rng: random.Random) -> bytes:
    found = bytearray(whole)
    for _ in range(rng.choice([1, 3, 30])):
        found[rng.randrange(100, len(found))] ^= 1 << rng.randrange(8)
    if rng.random() < 0.3:
        page = 4096 * rng.randrange(1, len(found) // 4096)
        found[page : page + 4096] = rng.choice([bytes(4096), rng.randbytes(4096), whole[4096:8192]])
    return bytes(found)


def test_a_damaged_file_says_so_or_is_read_and_no_refusal_changes_a_byte(path: Path) -> None:
    fill(path)
    whole, rng, refused = path.read_bytes(), random.Random(3), 0
    for place in range(40):
        path.write_bytes(was := damaged(whole, rng))
        for actions, readonly in ((READS, True), (WRITES, False)):
            try:
                with Store(path, readonly=readonly) as store:
                    actions[place % len(actions)](Handbook(store))
            except (StoreError, UserError) as error:  # a flipped name is another name
                assert str(path) in str(error) or isinstance(error, UnknownName), error
                assert path.read_bytes() == was, error
                refused += 1
    assert refused > 10


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE behaviors SET name = 'x' WHERE id = 5", "a behavior cannot be read: behavior name 'x'"),
        ("UPDATE behaviors SET instruction = 'a' || char(10) || 'b' WHERE id = 5", "a behavior cannot be read"),
        ("UPDATE changes SET after = '[{]' WHERE seq = 60", "change 60 cannot be read"),
        ("UPDATE changes SET before = '[{\"nime\": 1}]' WHERE seq = 60", "change 60 cannot be read"),
    ],
)
def test_a_row_that_holds_what_nobody_wrote_is_damage(path: Path, statement: str, said: str) -> None:
    fill(path)
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(statement)
    connection.close()
    with Store(path) as store:
        with pytest.raises(StoreCorrupt, match=f"is damaged .{said}"):
            Handbook(store).behaviors(), Handbook(store).changes()
        with pytest.raises(StoreCorrupt, match="is damaged"):
            Handbook(store).apply([Update(5, section="x")]), Handbook(store).rollback("good")


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        ("x'010203'", "the vector of behavior 2 cannot be read"),
        ("x''", "the vector of behavior 2 cannot be read"),
        ("'ab'", "the vector of behavior 2 cannot be read"),
        ("x'003c'", "the vector of behavior 2 cannot be read: it has 1 numbers, the others 2"),
        ("x'007e003c'", "the vector of behavior 2 cannot be read: not all of it are numbers"),
    ],
)
def test_a_vector_that_nobody_wrote_is_damage_for_whoever_reads_it(path: Path, stored: str, said: str) -> None:
    with Store(path) as store:
        handbook = Handbook(store)
        handbook.apply([Add("behavior_a", "One."), Add("behavior_b", "Two.")])
        handbook.put_vectors("s", {each: [1.0, 0.0] for each in handbook.behaviors()})
        store.connection.execute(f"UPDATE vectors SET vector = {stored} WHERE behavior = 2")
        for read in (lambda: handbook.nearest("s", [1.0, 0.0]), handbook.meanings):
            with pytest.raises(StoreCorrupt, match=f"is damaged .{said}"):
                read()


def test_what_sqlite_says_of_a_schema_that_is_no_text_is_damage(path: Path) -> None:
    fill(path)
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_master SET sql = CAST(x'435245415445ff' AS TEXT) WHERE name = 'snapshots'")
    connection.close()
    was = path.read_bytes()
    for readonly in (True, False):
        with pytest.raises(StoreCorrupt, match="is damaged"):
            Store(path, readonly=readonly)
    assert path.read_bytes() == was


def test_there_and_back_between_snapshots_whatever_was_merged_and_credited(path: Path) -> None:
    with Store(path) as store:
        handbook = Handbook(store)
        seen: dict[int | str, Any] = {0: []}

        def note(name: str, *deltas: Any) -> None:
            handbook.apply(deltas)
            handbook.snapshot(name)
            seen[name] = seen[handbook.head] = handbook.behaviors(retired=True)

        note("two", Add("behavior_a", "One."), Add("behavior_b", "Two."), Credit(1, "r1", "helpful"))
        note("merged", Credit(2, "r1", "harmful"), Merge(1, (2,), "Both."), Credit(2, "r2", "neutral"))
        handbook.rollback("two")
        note("branch", Retire(1), Add("behavior_a", "Again."), Credit(3, "r3", "helpful"))
        handbook.rollback(0)
        note("new", Add("behavior_c", "Three."))
        assert [each.id for each in handbook.behaviors()] == [4]  # no number is given twice
        for to in ("merged", "branch", 0, "new", "two", "merged", *seen):
            handbook.rollback(to)
            assert handbook.behaviors(retired=True) == seen[to]
            assert handbook.rollback(handbook.head) == 0
        with pytest.raises(UserError, match="there is a snapshot 'two' already"):
            handbook.snapshot("two")
        assert [each.name for each in handbook.snapshots()] == ["two", "merged", "branch", "new"]
        handbook.rollback("new")
        with pytest.raises(UnknownName, match="no behavior 1 in this handbook"):
            handbook.apply([Credit(1, "late", "helpful")])  # of a run that recalled it before somebody went back
        assert store.connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_reason_that_no_database_takes_is_spelled_out(path: Path) -> None:
    with Store(path) as store:
        (change,) = Handbook(store).apply([Add("behavior_a", "One.")], reason="from \udcff\x1b[2J")
        assert change.reason == Handbook(store).changes()[0].reason == r"from \udcff\x1b[2J"


def test_what_was_gated_before_somebody_else_learned_is_not_added_but_looked_at_again(path: Path) -> None:
    with Store(path) as store, Store(path) as another:
        handbook, head = Handbook(store), Handbook(store).head
        Handbook(another).apply([Add("behavior_a", "Carry over.")])
        with pytest.raises(UserError, match="stands on change 1 by now, not on 0: look again"):
            handbook.study("r1", "large", [Add("behavior_b", "Carry over.")], [], reason="learned", behind=head)
        assert [each.name for each in handbook.behaviors()] == ["behavior_a"]
        assert not handbook.has_studied("r1", "large")
        assert handbook.study("r1", "large", [], [], reason="learned", behind=handbook.head) == []
        assert handbook.has_studied("r1", "large")
