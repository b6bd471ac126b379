"""What a pruning takes and what stays; beside writers, killed at any instant, what stays is as it was."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.behaviors import Add
from orchestrator.errors import StoreError, StoreLocked, UnknownName, UserError
from orchestrator.memory.base import LEARNED, Lesson, StoredRun
from orchestrator.memory.handbook import Handbook
from orchestrator.memory.journal import Journal
from orchestrator.memory.pruning import Pruned, Pruning, prune, take
from orchestrator.memory.pruning_plan import EXECUTED, FORKED, TAUGHT, Plan, Rules, plan
from orchestrator.memory.rows import TEXT_COLUMNS
from orchestrator.memory.store import Store
from orchestrator.memory.unused_texts import WANTED, sweep

DAY = 86400
NOW_S = 1_800_000_000.0
TAKE_ALL = Rules(older_than_s=0)


def dangling(connection: sqlite3.Connection) -> int:
    """Return how many places refer to a text that is not there."""
    missing = "SELECT count(*) FROM {0} WHERE {1} NOT NULL AND {1} NOT IN (SELECT id FROM texts)"
    return sum(connection.execute(missing.format(*place)).fetchone()[0] for place in TEXT_COLUMNS)


def unused(connection: sqlite3.Connection) -> int:
    """Return how many texts nothing refers to."""
    used = " UNION ".join(f"SELECT {column} FROM {table} WHERE {column} NOT NULL" for table, column in TEXT_COLUMNS)
    count: int = connection.execute(f"SELECT count(*) FROM texts WHERE id NOT IN ({used})").fetchone()[0]
    return count


def assert_sound(connection: sqlite3.Connection) -> None:
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    assert dangling(connection) == 0


def everything(store: Store) -> dict[str, StoredRun]:
    journal = Journal(store)
    return {each.run.id: journal.at(each.key) for each in journal.each_run()}


def prune_by(store: Store, rules: Rules, now_s: float = NOW_S) -> Pruned:
    return prune(store, plan(store, rules, now_s))


@pytest.fixture
def add(journal: Journal, make: SimpleNamespace) -> Any:
    """Store a run of two steps that has ended unless `status` is empty; returns its number."""

    def added(name: str, *, status: str = "completed", **fields: Any) -> int:
        key = journal.open_run(make.run(id=name, **fields))
        for step in range(2):
            journal.intent(make.intent(run=key, seq=step, step=step))
            journal.result(make.result(run=key, seq=step, text=f"{name} thinks {step}"))
            journal.decision(make.decision(run=key, step=step))
            journal.signal(make.signal(run=key, step=step))
            journal.step(make.step(run=key, step=step, text=f"{name} thinks {step}"))
        if status:
            journal.outcome(make.outcome(run=key, status=status))
        journal.commit()
        if not status:
            journal.release(key)
        return key

    return added


@pytest.mark.parametrize(
    ("rules", "taken"),
    [
        (Rules(older_than_s=3 * DAY), "ab"),
        (Rules(older_than_s=3 * DAY + 0.25), "a"),
        (Rules(older_than_s=0), "abcde"),
        (Rules(keep_last=0), "abcde"),
        (Rules(keep_last=2), "abc"),
        (Rules(keep_last=5), ""),
        (Rules(keep_last=9), ""),
        (Rules(status="failed"), "bd"),
        (Rules(status="interrupted"), "e"),
        (Rules(batch="one"), "ac"),
        (Rules(batch="tw"), "bde"),
        (Rules(batch="none"), ""),
        (Rules(batch="\ud800"), ""),
        (Rules(runs=("aaaaaaaaaaaaaaaa", "d")), "ad"),
        (Rules(runs=("last",)), "e"),
        (Rules(runs=("a", "b"), status="failed"), "b"),
        (Rules(status="failed", keep_last=1), "b"),
        (Rules(older_than_s=2 * DAY, status="failed", batch="two"), "b"),
    ],
)
def test_every_rule_narrows_what_is_taken(store: Store, add: Any, rules: Rules, taken: str) -> None:
    for place, (name, status, batch) in enumerate(
        zip(
            "abcde",
            ["completed", "failed", "completed", "failed", ""],
            ["one", "two", "one", "two", "two"],
            strict=True,
        )
    ):
        add(name * 16, status=status, batch=batch, created_s=NOW_S - (4 - place) * DAY)
    found = plan(store, rules, NOW_S)
    assert len(found.keys) == len(taken) and found.steps == 2 * len(taken)
    assert prune(store, found).runs == len(taken)
    assert {name[0] for name in everything(store)} == set("abcde") - set(taken)
    assert_sound(store.connection)


def test_no_rule_takes_no_run_and_a_name_that_is_none_is_refused(store: Store, add: Any) -> None:
    add("aa")
    add("ab")
    for refused in (
        {},
        {"with_forks": True},
        {"keep_last": -1},
        {"older_than_s": -1.0},
        {"older_than_s": float("nan")},
        {"batch": ""},
    ):
        with pytest.raises(UserError):
            Rules(**refused)
    with pytest.raises(UnknownName, match="nearest"):
        plan(store, Rules(runs=("zz",)))
    with pytest.raises(UserError, match="several"):
        plan(store, Rules(runs=("a",)))


def test_a_plan_writes_nothing_and_works_beside_whoever_writes(path: Path, store: Store, add: Any) -> None:
    add("aa")
    before = path.read_bytes()
    with store.transaction(), Store(path, readonly=True, wait_s=0) as other:
        assert len(plan(other, TAKE_ALL).keys) == 1
    assert path.read_bytes() == before


def test_what_is_being_executed_stays_and_so_does_what_it_goes_back_to(store: Store, add: Any) -> None:
    journal = Journal(store)
    add("aa")
    add("ab", parent="aa")
    key = add("ac", parent="ab", status="")
    journal.claim(key)
    found = plan(store, TAKE_ALL, NOW_S)
    assert found.keys == () and found.stays == {EXECUTED: 1, FORKED: 2}
    journal.release(key)
    assert prune_by(store, TAKE_ALL).runs == 3


def test_the_claim_of_a_process_that_died_protects_nothing(store: Store, add: Any) -> None:
    key = add("aa", status="")
    store.connection.execute("INSERT INTO claims VALUES (?, 999999999, '1', 'elsewhere', 'j')", (key,))
    assert prune_by(store, TAKE_ALL).runs == 1
    assert store.connection.execute("SELECT count(*) FROM claims").fetchone() == (0,)


def test_a_parent_stays_as_long_as_a_fork_of_it_unless_the_family_is_taken(store: Store, add: Any) -> None:
    for name, parent in (("aa", None), ("ab", "aa"), ("ac", "ab"), ("b", None)):
        add(name, parent=parent)
    assert plan(store, Rules(runs=("aa", "ab")), NOW_S).stays == {FORKED: 2}
    assert prune_by(store, Rules(runs=("ac",))).runs == 1
    assert plan(store, Rules(runs=("aa",)), NOW_S).keys == ()
    assert prune_by(store, Rules(runs=("aa",), with_forks=True)).runs == 2
    assert [*everything(store)] == ["b"]


@pytest.mark.parametrize("how", [prune, lambda store, found: take(store, found, len(found.keys))])
def test_what_came_to_depend_on_a_run_since_the_plan_saves_it(
    store: Store, journal: Journal, make: SimpleNamespace, add: Any, how: Callable[[Store, Plan], Pruned]
) -> None:
    keys = {name: add(name) for name in ("aa", "ab", "ac", "ad")}
    found = plan(store, TAKE_ALL, NOW_S)
    journal.claim(keys["aa"])
    journal.open_run(make.run(id="child", parent="ab"))
    journal.reward(keys["ac"], 1.0, [Lesson("p", lambda run, reward, state: {"n": 1})])
    assert how(store, found) == (1, 2, 3)
    assert [*everything(store)] == ["aa", "ab", "ac", "child"]
    assert_sound(store.connection)


def test_a_run_that_no_rule_chooses_any_more_stays(
    store: Store, journal: Journal, make: SimpleNamespace, add: Any
) -> None:
    keys = [add("aa", status="failed"), add("ab", status="failed")]
    found = plan(store, Rules(status="failed"), NOW_S)
    add("ac", status="failed")  # nobody was asked about this one
    journal.claim(keys[0])
    journal.outcome(make.outcome(run=keys[0], status="completed"))  # it was resumed meanwhile
    journal.commit()
    assert prune(store, found)._replace(texts=0) == (1, 0, 1)
    assert [*everything(store)] == ["aa", "ac"]


def test_last_is_the_run_that_was_the_last_when_somebody_was_asked(store: Store, add: Any) -> None:
    add("aa")
    found = plan(store, Rules(runs=("last",)), NOW_S)
    add("ab")
    assert prune(store, found).runs == 1
    assert [*everything(store)] == ["ab"]


def test_what_routers_learned_stays_whole_and_so_does_what_kept_runs_began_with(
    store: Store, journal: Journal, make: SimpleNamespace, add: Any
) -> None:
    """Runs 1 to 6 each taught a version; runs 5 and 6 are kept and began with versions 3 and 4."""
    policy = json.dumps({"router": "learner"})
    for number in range(1, 7):
        key = add(f"run{number}")
        began = {"policy": policy, "version": max(0, number - 2)}
        journal.event(make.event(run=key, kind=LEARNED, detail=json.dumps(began)))
        journal.commit()
        journal.reward(
            key, 0.5, [Lesson(policy, lambda run, reward, state: {"seen": [*state.get("seen", ()), run.run.id]})]
        )
    states = {version: journal.learned(policy, version) for version in range(7)}
    found = plan(store, Rules(keep_last=2), NOW_S)
    assert found.stays == {TAUGHT: 2}
    assert prune(store, found).runs == 2
    assert [*everything(store)] == ["run3", "run4", "run5", "run6"]
    assert journal.learned(policy) == states[6]
    assert all(journal.learned(policy, version) == states[version] for version in (0, 3, 4, 5, 6))
    with pytest.raises(UnknownName, match=r"version 2 .* pruned"):
        journal.learned(policy, 2)
    assert store.connection.execute("SELECT run FROM rewards").fetchall() == [(3,), (4,), (5,), (6,)]
    assert_sound(store.connection)


def test_a_handbook_in_the_same_file_stays_whole_with_the_names_of_its_runs(store: Store, add: Any) -> None:
    add("aa")
    book = Handbook(store)
    book.apply([Add("behavior_check", "Check the sum.", run="aa", step=1)])
    book.snapshot("before")
    before = (book.behaviors(), book.changes(), book.snapshots(), book.search("sum"))
    assert prune_by(store, TAKE_ALL).runs == 1
    assert (book.behaviors(), book.changes(), book.snapshots(), book.search("sum")) == before
    assert book.behavior("behavior_check").run == "aa"
    assert_sound(store.connection)


def test_texts_that_nothing_refers_to_go_and_shared_ones_stay(store: Store, add: Any) -> None:
    add("aa")
    add("ab")
    before = store.connection.execute("SELECT count(*) FROM texts").fetchone()[0]
    assert prune_by(store, Rules(runs=("aa",))) == (1, 2, 0)
    assert store.connection.execute("SELECT count(*) FROM texts").fetchone()[0] == before - 2
    assert prune_by(store, Rules(runs=("ab",))).runs == 1
    assert store.connection.execute("SELECT count(*) FROM texts").fetchone()[0] == 0


def test_a_number_of_a_run_is_never_given_again(
    store: Store, journal: Journal, make: SimpleNamespace, add: Any
) -> None:
    assert [add(f"run{number}") for number in range(3)] == [1, 2, 3]
    prune_by(store, TAKE_ALL)
    key = add("again")
    assert key > 3
    with pytest.raises(StoreError, match="pruned"):
        journal.claim(2)
    with pytest.raises(StoreError, match="pruned"):
        journal.at(2)
    with pytest.raises(StoreError):
        journal.reward(2, 1.0)


def test_a_run_that_was_pruned_meanwhile_is_not_forked(journal: Journal, make: SimpleNamespace) -> None:
    with pytest.raises(StoreError, match="run aa is gone"):
        journal.open_run(make.run(id="child", parent="aa"))
    assert journal.counts()["runs"] == journal.counts()["texts"] == 0


def test_whoever_misses_a_run_is_told_of_prunings(store: Store, journal: Journal, add: Any) -> None:
    add("aa")
    sweep(store, Pruning(store, "nothing"))
    with pytest.raises(UnknownName) as before:
        journal.run("zz")
    assert "pruned" not in str(before.value)
    prune_by(store, TAKE_ALL)
    with pytest.raises(UnknownName, match=r"no run 'aa' .*; 1 run was pruned, the last on \d{4}-\d\d-\d\d"):
        journal.run("aa")
    assert store.connection.execute("SELECT runs, why FROM prunings WHERE runs").fetchall() == [
        (1, "older than 0 days")
    ]


def test_a_journal_that_is_open_elsewhere_forgets_what_was_pruned(
    path: Path, store: Store, make: SimpleNamespace
) -> None:
    """It remembers the numbers of texts; those are gone, or belong to other texts, when it writes next."""
    with Store(path) as other:
        writer = Journal(other)
        key = writer.open_run(make.run(id="aa"))
        writer.step(make.step(run=key, text="remembered"))
        writer.outcome(make.outcome(run=key))
        writer.commit()
        prune_by(store, TAKE_ALL)
        Journal(store).open_run(make.run(id="ab", task='{"messages": [["user", "another"]]}', batch="other"))
        key = writer.open_run(make.run(id="ac"))
        writer.step(make.step(run=key, text="remembered"))
        writer.commit()
        assert writer.at(key).steps == [make.step(run=key, text="remembered")]
        assert_sound(other.connection)


def test_a_text_that_comes_to_be_needed_while_texts_are_swept_stays(
    path: Path, store: Store, make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look for unused texts and taking them a writer stores one of them again."""
    from orchestrator.memory import unused_texts

    with Store(path) as other:
        writer = Journal(other)
        gone = writer.open_run(make.run(id="aa", batch="gone"))
        for text in ("needed again", "never again"):
            writer.step(make.step(run=gone, text=text))
        writer.outcome(make.outcome(run=gone))
        writer.commit()
        kept = writer.open_run(make.run(id="ab"))
        take = unused_texts._taken

        def taken(store: Store, pruning: Pruning) -> int:
            writer.step(make.step(run=kept, text="needed again"))
            writer.commit()
            return take(store, pruning)

        monkeypatch.setattr(unused_texts, "_taken", taken)
        prune_by(store, Rules(runs=("aa",)))
        assert [step.text for step in writer.at(kept).steps] == ["needed again"]
        texts = {text for (text,) in other.connection.execute("SELECT text FROM texts")}
        assert "never again" not in texts and "needed again" in texts
        assert not other.connection.execute(f"SELECT 1 FROM sqlite_master WHERE name LIKE '{WANTED}%'").fetchall()
        assert_sound(other.connection)


def test_two_prunings_at_once_leave_a_sound_file_and_the_first_one_says_so(path: Path, store: Store, add: Any) -> None:
    for number in range(3):
        add(f"run{number}")
    first = Pruning(store, "first")
    with store.transaction() as connection:
        first.note(connection)
    with Store(path) as other:
        assert prune_by(other, TAKE_ALL).runs == 3
    with pytest.raises(StoreLocked, match="pruned by another process"), store.transaction() as connection:
        first.note(connection)
    assert_sound(store.connection)


RUNS = st.lists(
    st.tuples(
        st.sampled_from(("completed", "failed", "")),
        st.sampled_from(("one", "two")),
        st.integers(0, 4),
        st.none() | st.integers(0, 5),
        st.booleans(),
    ),
    max_size=7,
)
RULES = st.builds(
    Rules,
    older_than_s=st.integers(0, 4).map(lambda days: float(days * DAY)),
    keep_last=st.none() | st.integers(0, 3),
    status=st.none() | st.sampled_from(("completed", "failed", "interrupted")),
    batch=st.none() | st.sampled_from(("one", "two")),
    with_forks=st.booleans(),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(runs=RUNS, rules=RULES)
def test_what_stays_reads_back_as_it_was_and_its_ancestors_are_there(
    make: SimpleNamespace, runs: list[tuple[str, str, int, int | None, bool]], rules: Rules
) -> None:
    with Store(":memory:") as store:
        journal = Journal(store)
        for place, (status, batch, days, parent, is_taught) in enumerate(runs):
            forked_from = None if parent is None or parent >= place else f"run{parent}"
            row = make.run(id=f"run{place}", batch=batch, parent=forked_from, created_s=NOW_S - days * DAY)
            key = journal.open_run(row)
            journal.step(make.step(run=key, text=f"thought {place % 3}"))
            if status:
                journal.outcome(make.outcome(run=key, status=status))
            journal.commit()
            journal.release(key)
            if is_taught:
                journal.reward(key, 0.5, [Lesson("p", lambda run, reward, state: {"last": run.run.id})])
        before, learned = everything(store), journal.learned("p")
        found = plan(store, rules, NOW_S)
        taken = {each.run.id for each in before.values() if each.key in found.keys}
        prune(store, found)
        after = everything(store)
        assert after == {name: run for name, run in before.items() if name not in taken}
        assert all(run.run.parent in (None, *after) for run in after.values())
        assert journal.learned("p") == learned
        assert_sound(store.connection)


PRUNER = """
import os, signal, sys
from orchestrator.memory.pruning import prune
from orchestrator.memory.pruning_plan import Rules, plan
from orchestrator.memory.store import Store

path, keep_last, last_statement = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
store = Store(path)
planned = plan(store, Rules(keep_last=keep_last))
seen = []

def count(statement):
    seen.append(statement)
    if len(seen) == last_statement:
        os.kill(os.getpid(), signal.SIGKILL)

store.connection.set_trace_callback(count)
print("pruning", flush=True)
prune(store, planned)
print(len(seen), flush=True)
"""


def start(path: Path, keep_last: int, last_statement: int = 0) -> subprocess.Popen[str]:
    """Start a pruning; it dies by SIGKILL before it executes that statement, the first one being 1."""
    arguments = [sys.executable, "-c", PRUNER, str(path), str(keep_last), str(last_statement)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


def filled(path: Path, make: SimpleNamespace, runs: int, steps: int = 20) -> dict[str, StoredRun]:
    with Store(path) as store:
        journal = Journal(store)
        for number in range(runs):
            key = journal.open_run(make.run(id=f"run{number:03}", parent=f"run{number - 1:03}" if number % 3 else None))
            for step in range(steps):
                text = f"run {number} thinks {step}" if step % 2 else f"all think {step}"
                journal.intent(make.intent(run=key, seq=step, step=step))
                journal.result(make.result(run=key, seq=step, text=text))
                journal.step(make.step(run=key, step=step, text=text))
            journal.outcome(make.outcome(run=key))
            journal.commit()
        return everything(store)


def test_killed_at_any_statement_a_pruning_leaves_each_run_whole_or_gone(path: Path, make: SimpleNamespace) -> None:
    before = filled(path, make, 12, steps=3)
    original = path.read_bytes()
    statements = int(start(path, 3).communicate()[0].splitlines()[-1])
    sizes, codes = set(), []
    for last_statement in range(2, statements, statements // 14):
        path.write_bytes(original)
        pruner = start(path, 3, last_statement)
        pruner.communicate()
        codes.append(pruner.returncode)
        with Store(path) as store:
            assert_sound(store.connection)
            after = everything(store)
            assert after == {name: before[name] for name in after}
            assert all(run.run.parent in (None, *after) for run in after.values())
            taken = store.connection.execute("SELECT ifnull(sum(runs), 0) FROM prunings").fetchone()[0]
            assert len(after) + taken == 12
            sizes.add(len(after))
            prune_by(store, Rules(keep_last=3))
            assert [*everything(store)] == ["run009", "run010", "run011"]
            assert unused(store.connection) == 0
            assert_sound(store.connection)
    assert {12, 3} <= sizes
    assert codes.count(-signal.SIGKILL) > 10  # how many statements it takes depends on how fast it is


def test_killed_at_any_instant_a_long_pruning_has_taken_the_newest_and_goes_on(
    path: Path, make: SimpleNamespace
) -> None:
    rng = random.Random(3)
    before = filled(path, make, 600)
    sizes = {600}
    for _ in range(8):
        pruner = start(path, 3)
        assert pruner.stdout is not None and pruner.stdout.readline() == "pruning\n"
        time.sleep(rng.uniform(0, 0.1))
        os.kill(pruner.pid, signal.SIGKILL)
        pruner.communicate()
        with Store(path) as store:
            assert_sound(store.connection)
            after = everything(store)
            assert after == {name: before[name] for name in after}
            assert all(run.run.parent in (None, *after) for run in after.values())
            sizes.add(len(after))
    start(path, 3).communicate()
    with Store(path) as store:
        assert [*everything(store)] == ["run597", "run598", "run599"]
        assert unused(store.connection) == 0


def test_writers_beside_a_pruning_wait_little_and_lose_nothing(path: Path, make: SimpleNamespace) -> None:
    filled(path, make, 400)
    longest_s, written = 0.0, {}
    pruner = start(path, 1)
    assert pruner.stdout is not None and pruner.stdout.readline() == "pruning\n"
    with Store(path) as store:
        journal = Journal(store)
        number = 0
        while pruner.poll() is None:
            name = f"new{number}"
            began_s = time.monotonic()
            key = journal.open_run(make.run(id=name))
            for step in range(6):  # shared texts, among them some that only pruned runs had
                journal.step(make.step(run=key, step=step, text=f"run {(7 * number + step) % 399} thinks {step}"))
                journal.commit()
            longest_s = max(longest_s, (time.monotonic() - began_s) / 7)
            journal.outcome(make.outcome(run=key))
            journal.commit()
            written[name] = number
            number += 1
            time.sleep(0.005)
        pruner.communicate()
        assert pruner.returncode == 0
        found = everything(store)
        assert_sound(store.connection)
    assert number > 3
    for name, place in written.items():
        assert [row.text for row in found[name].steps] == [
            f"run {(7 * place + step) % 399} thinks {step}" for step in range(6)
        ]
    assert found.keys() - written.keys() <= {"run399"}
    assert longest_s < 0.3
