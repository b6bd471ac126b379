"""What is written comes back, whole and in order; what fails is neither lost nor half written."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from orchestrator.errors import RunTaken, StoreError, StoreLocked, UnknownName, UserError
from orchestrator.memory.base import LEARNS, CallIntent, StoredRun
from orchestrator.memory.ids import run_id
from orchestrator.memory.journal import Journal
from orchestrator.memory.store import Store

NASTY = [
    "",
    "a\0b",
    "\ud800 alone \udfff",
    "é🙂",
    "\x1b[31mred\x1b[0m\x07",
    "x" * 1_000_000 + "\n",
    "'; DROP TABLE runs--",
]
texts = st.one_of(st.sampled_from(NASTY), st.text(st.characters(), max_size=20))
counts = st.integers(0, 2**62)
floats = st.floats(allow_nan=False)
ids = st.lists(st.integers(-(2**31), 2**31 - 1), max_size=5).map(
    lambda numbers: b"".join(number.to_bytes(4, "little", signed=True) for number in numbers)
)

FIELDS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "result": {
        "text": texts,
        "ids": ids,
        "error": texts,
        "logprobs": st.none() | texts,
        "cached_tokens": st.none() | counts,
    },
    "signal": {"name": texts, "value": st.none() | floats, "raw": st.none() | floats, "reason": texts, "step": counts},
    "decision": {"reason": texts, "margin": st.none() | floats, "detail": texts, "alternatives": texts},
    "step": {"step": counts, "text": texts, "kind": texts, "num_tokens": counts},
    "event": {"kind": texts, "detail": texts, "at_s": floats},
    "outcome": {"answer": st.none() | texts, "error": texts, "ledger": texts, "seconds": floats},
}
one_record = st.one_of(
    *(
        st.tuples(st.just(kind), st.integers(0, 2), st.fixed_dictionaries(fields), st.booleans())
        for kind, fields in FIELDS.items()
    )
)
RUNS = 3


def seen(stored: StoredRun) -> dict[str, list[Any]]:
    return {
        "intent": [call.intent for call in stored.calls],
        "result": [call.result for call in stored.calls if call.result],
        "signal": list(stored.signals),
        "decision": list(stored.decisions),
        "step": list(stored.steps),
        "event": list(stored.events),
        "outcome": [stored.outcome] if stored.outcome else [],
    }


@settings(max_examples=60, deadline=None)
@given(st.lists(one_record, max_size=25), st.booleans())
@example([("step", 0, {"text": text, "kind": "thought"}, True) for text in NASTY], True)
def test_any_interleaving_of_several_runs_reads_back_exactly(
    make: SimpleNamespace, records: list[tuple[str, int, dict[str, Any], bool]], again: bool
) -> None:
    with Store(":memory:") as store:
        journal = Journal(store)
        rows = [make.run(id=f"run{place}", position=place, task=f"\ud800{place}") for place in range(RUNS)]
        keys = [journal.open_run(row) for row in rows]
        written: list[dict[str, list[Any]]] = [{kind: [] for kind in ("intent", *FIELDS)} for _ in rows]
        for kind, place, fields, commits in records:
            if kind == "result":
                fields = fields | {"seq": len(written[place]["intent"])}
                intent = make.intent(run=keys[place], seq=fields["seq"])
                journal.intent(intent)
                written[place]["intent"].append(intent)
            row = getattr(make, kind)(**(fields | {"run": keys[place]}))
            getattr(journal, kind)(row)
            written[place][kind].append(row)
            if commits:
                journal.commit()
        journal.close()
        reader = Journal(store) if again else journal  # one that remembers no text
        for place, row in enumerate(rows):
            stored = reader.run(row.id)
            expected = written[place] | {"outcome": written[place]["outcome"][-1:]}
            assert stored.key == keys[place]
            assert stored.run == row
            assert seen(stored) == expected


def test_nothing_is_written_before_the_commit_and_everything_at_the_close(
    journal: Journal, path: Path, make: SimpleNamespace
) -> None:
    key = journal.open_run(make.run())
    with Store(path, readonly=True) as other:
        reader = Journal(other)
        journal.step(make.step(run=key))
        journal.event(make.event(run=key))
        assert reader.counts()["steps"] == 0
        journal.close()
        assert (reader.counts()["steps"], reader.counts()["events"]) == (1, 1)


def test_a_commit_with_nothing_to_write_touches_nothing(path: Path, make: SimpleNamespace) -> None:
    with Store(path) as holder, Store(path, wait_s=0) as store:
        holder.connection.execute("BEGIN IMMEDIATE")
        Journal(store).commit()


def test_a_failed_commit_keeps_its_rows_for_the_next(path: Path, make: SimpleNamespace) -> None:
    with Store(path) as holder, Store(path, wait_s=0) as store:
        journal = Journal(store)
        key = journal.open_run(make.run())
        journal.step(make.step(run=key, text="first"))
        holder.connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreLocked):
            journal.commit()
        journal.step(make.step(run=key, step=1, text="second"))
        holder.connection.execute("ROLLBACK")
        journal.commit()
        assert [row.text for row in journal.run("last").steps] == ["first", "second"]


def test_a_failed_commit_forgets_the_texts_it_undid(path: Path, make: SimpleNamespace) -> None:
    with Store(path) as store:
        journal = Journal(store)
        key = journal.open_run(make.run())
        journal.step(make.step(run=key, text="a text that only this commit knows"))
        store.connection.execute("PRAGMA max_page_count = 1")  # no room, so the disk is full
        journal.step(make.step(run=key, step=1, text="x" * 1_000_000))
        with pytest.raises(StoreError, match="the disk is full"):
            journal.commit()
        assert journal.counts()["steps"] == 0
        store.connection.execute("PRAGMA max_page_count = 1000000")
        journal.commit()
        assert [row.text[:6] for row in journal.run("last").steps] == ["a text", "xxxxxx"]


def test_a_call_cannot_be_written_twice_nor_a_result_without_its_call(store: Store, make: SimpleNamespace) -> None:
    key = Journal(store).open_run(make.run())
    for rows, message in (([make.intent(run=key)] * 2, "UNIQUE"), ([make.result(run=key, seq=5)], "FOREIGN KEY")):
        journal = Journal(store)
        for row in rows:
            (journal.intent if isinstance(row, CallIntent) else journal.result)(row)
        with pytest.raises(StoreError, match=message):
            journal.commit()
        assert journal.counts()["intents"] == 0


WRONG: dict[str, dict[str, Any]] = {
    "step without its writer": {"writer": None},
    "a type that SQLite does not know": {"seconds": {}},
    "a text that is none": {"text": 5},
    "a text that cannot even be looked up": {"text": []},
    "more than 64 bits": {"num_tokens": 2**64},
    "bytes for a number": {"seconds": b"1234"},
    "a word for a number": {"num_tokens": "many"},
}


@pytest.mark.parametrize("fields", WRONG.values(), ids=WRONG)
def test_a_row_that_can_never_be_written_ends_the_record_of_its_run_and_no_other(
    journal: Journal, make: SimpleNamespace, fields: dict[str, Any]
) -> None:
    bad, good = journal.open_run(make.run(id="the bad one")), journal.open_run(make.run(id="the good one"))
    journal.step(make.step(run=bad, text="before"))
    journal.commit()
    journal.step(make.step(run=good, text="shared"))
    journal.step(make.step(run=bad, step=1, text="shared"))
    journal.step(make.step(run=bad, step=2, **fields))
    journal.step(make.step(run=good, step=1, text="shared"))
    journal.commit(good)
    assert [row.text for row in journal.run("the good one").steps] == ["shared", "shared"]
    assert [row.text for row in journal.run("the bad one").steps] == ["before"]
    with pytest.raises(StoreError, match="the record of run the bad one ends here"):
        journal.step(make.step(run=bad, step=3))
    with pytest.raises(StoreError, match="the record of run the bad one ends here"):
        journal.commit(bad)
    journal.step(make.step(run=good, step=2, text="later"))
    journal.close()
    assert len(journal.run("the good one").steps) == 3


def test_the_commit_of_the_bad_run_itself_raises_and_writes_the_others(journal: Journal, make: SimpleNamespace) -> None:
    bad, good = journal.open_run(make.run(id="bad")), journal.open_run(make.run(id="good"))
    journal.step(make.step(run=good))
    journal.step(make.step(run=bad, writer=None))
    with pytest.raises(StoreError, match=r"run bad ends here.*NOT NULL"):
        journal.commit(bad)
    assert len(journal.run("good").steps) == 1
    journal.release(bad)
    assert [line.status for line in journal.runs()] == ["running", "interrupted"]


def test_a_text_that_only_the_bad_run_stored_is_stored_again_when_another_needs_it(
    journal: Journal, make: SimpleNamespace
) -> None:
    bad, good = journal.open_run(make.run(id="bad")), journal.open_run(make.run(id="good"))
    journal.step(make.step(run=bad, text="only here"))
    journal.step(make.step(run=bad, writer=None))
    journal.step(make.step(run=good, text="only here"))
    journal.commit(good)
    assert [row.text for row in journal.run("good").steps] == ["only here"]


def test_a_run_whose_record_ended_goes_on_once_it_is_claimed_again(journal: Journal, make: SimpleNamespace) -> None:
    key = journal.open_run(make.run())
    journal.step(make.step(run=key, text="first"))
    journal.step(make.step(run=key, writer=None))
    with pytest.raises(StoreError, match="NOT NULL"):
        journal.commit()
    journal.claim(key)
    journal.step(make.step(run=key, text="again"))
    journal.commit(key)
    assert [row.text for row in journal.run("last").steps] == ["again"]


def test_a_failure_that_may_pass_keeps_the_good_rows_beside_a_bad_one_waiting(
    path: Path, make: SimpleNamespace
) -> None:
    with Store(path) as holder, Store(path, wait_s=0) as store:
        journal = Journal(store)
        bad, good = journal.open_run(make.run(id="bad")), journal.open_run(make.run(id="good"))
        journal.step(make.step(run=good))
        journal.step(make.step(run=bad, writer=None))
        holder.connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreLocked):
            journal.commit(good)
        holder.connection.execute("ROLLBACK")
        journal.commit(good)
        assert len(journal.run("good").steps) == 1


async def _asked_together(*waits: Coroutine[Any, Any, None]) -> list[BaseException | None]:
    return await asyncio.wait_for(asyncio.gather(*waits, return_exceptions=True), 5)


def test_of_runs_that_commit_together_only_the_bad_one_hears_of_its_row(
    journal: Journal, make: SimpleNamespace
) -> None:
    keys = [journal.open_run(make.run(id=f"run{place}")) for place in range(3)]
    for key in keys:
        journal.step(make.step(run=key, writer=None if key == keys[1] else "small"))
    told = asyncio.run(_asked_together(*(journal.written(key) for key in keys)))
    assert told[0] is told[2] is None
    assert isinstance(told[1], StoreError) and "run run1 ends here" in str(told[1])
    assert [len(journal.run(f"run{place}").steps) for place in range(3)] == [1, 0, 1]


@pytest.mark.parametrize("error", [RuntimeError("no luck"), MemoryError()], ids=lambda error: type(error).__name__)
def test_whatever_a_common_commit_raises_reaches_everyone_who_waits(
    store: Store, make: SimpleNamespace, error: Exception
) -> None:
    class Failing(Store):
        def transaction(self, begin: str = "BEGIN IMMEDIATE") -> Any:
            raise error

    journal = Journal(store)
    keys = [journal.open_run(make.run(id=f"run{place}")) for place in range(2)]
    store.__class__ = Failing
    for key in keys:
        journal.step(make.step(run=key))
    assert asyncio.run(_asked_together(*(journal.written(key) for key in keys))) == [error, error]
    store.__class__ = Store
    journal.close()
    assert journal.counts()["steps"] == 2


def test_an_interrupt_in_a_common_commit_ends_the_loop(store: Store, make: SimpleNamespace) -> None:
    class Interrupted(Store):
        def transaction(self, begin: str = "BEGIN IMMEDIATE") -> Any:
            raise KeyboardInterrupt

    journal = Journal(store)
    keys = [journal.open_run(make.run(id=f"run{place}")) for place in range(2)]
    store.__class__ = Interrupted
    journal.step(make.step(run=keys[0]))
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(_asked_together(*(journal.written(key) for key in keys)))
    store.__class__ = Store
    journal.close()


@pytest.mark.parametrize(("library", "name"), [("decimal", "Decimal"), ("numpy", "float32"), ("numpy", "float64")])
def test_numbers_of_other_libraries_come_back_as_plain_ones(
    journal: Journal, make: SimpleNamespace, library: str, name: str
) -> None:
    number = getattr(pytest.importorskip(library), name)
    key = journal.open_run(make.run())
    journal.signal(make.signal(run=key, value=number(0.5), raw=7))
    journal.signal(make.signal(run=key, value=None, raw=number(1)))
    journal.decision(make.decision(run=key, threshold=number(0.25), margin=None))
    journal.decision(make.decision(run=key, threshold=1, margin=number(-0.5)))
    journal.commit()
    stored = journal.run("last")
    assert [(row.value, row.raw) for row in stored.signals] == [(0.5, 7.0), (None, 1.0)]
    assert [(row.threshold, row.margin) for row in stored.decisions] == [(0.25, None), (1.0, -0.5)]


def test_a_journal_with_nothing_waiting_is_closed_twice_even_behind_its_store(
    path: Path, make: SimpleNamespace
) -> None:
    with Store(path) as store:
        journal = Journal(store)
        key = journal.open_run(make.run())
        journal.step(make.step(run=key, writer=None))
        with pytest.raises(StoreError, match="NOT NULL"):
            journal.close()
        journal.close()
    journal.close()


def test_a_journal_that_is_dropped_with_rows_waiting_says_so(make: SimpleNamespace) -> None:
    with Store(":memory:") as store:
        journal = Journal(store)
        journal.step(make.step())
        with pytest.warns(ResourceWarning, match="1 rows of a journal were never committed"):
            del journal
            gc.collect()


def test_equal_texts_are_stored_once_also_by_another_process(path: Path, make: SimpleNamespace) -> None:
    for place in range(2):
        with Store(path) as store:
            journal = Journal(store)
            key = journal.open_run(make.run(id=f"run{place}"))
            for step in range(3):
                journal.step(make.step(run=key, step=step))
            journal.commit()
            texts_now = journal.counts()["texts"]
            if place == 0:
                texts_before = texts_now
    assert texts_now == texts_before


def test_a_second_writer_of_a_run_goes_on_where_the_first_ended(path: Path, make: SimpleNamespace) -> None:
    with Store(path) as store:
        journal = Journal(store)
        key = journal.open_run(make.run())
        journal.step(make.step(run=key, step=0, text="one"))
        journal.event(make.event(run=key))
        journal.close()
    with Store(path) as store:
        journal = Journal(store)
        journal.claim(key)
        journal.step(make.step(run=key, step=1, text="two"))
        journal.close()
        assert [row.text for row in journal.run("last").kept()] == ["one", "two"]


def test_a_claim_goes_on_behind_what_others_wrote_meanwhile(
    journal: Journal, path: Path, make: SimpleNamespace
) -> None:
    key = journal.open_run(make.run())
    journal.step(make.step(run=key, step=0, text="one"))
    journal.commit()
    with Store(path) as store:
        other = Journal(store)
        other.step(make.step(run=key, step=1, text="two"))
        other.close()
    journal.claim(key)
    journal.step(make.step(run=key, step=2, text="three"))
    journal.close()
    assert [row.text for row in journal.run("last").kept()] == ["one", "two", "three"]


def test_threads_share_a_journal_and_lose_nothing(journal: Journal, make: SimpleNamespace) -> None:
    keys = [journal.open_run(make.run(id=f"run{place}")) for place in range(4)]

    def write(key: int) -> None:
        for step in range(200):
            journal.step(make.step(run=key, step=step, text=f"{key} {step}"))
            journal.commit()

    threads = [threading.Thread(target=write, args=[key]) for key in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for place, key in enumerate(keys):
        assert [row.text for row in journal.run(f"run{place}").steps] == [f"{key} {step}" for step in range(200)]


def test_a_run_is_found_by_its_id_its_beginning_or_as_the_last(journal: Journal, make: SimpleNamespace) -> None:
    for name in ("01abc", "01abd", "01ab", "02xyz"):
        journal.open_run(make.run(id=name))
    assert journal.run("01abd").run.id == "01abd"
    assert journal.run("01ABC").run.id == "01abc"
    assert journal.run("02").run.id == "02xyz"
    assert journal.run("01ab").run.id == "01ab"
    assert journal.run("last").run.id == "02xyz"


def test_a_program_asks_for_exactly_one_id(journal: Journal, make: SimpleNamespace) -> None:
    for name in ("01ab", "01abc", "My Run é"):
        journal.open_run(make.run(id=name))
    for name in ("01ab", "My Run é"):
        assert (stored := journal.stored(name)) is not None
        assert stored.run.id == name
        assert journal.run(name) == stored
    assert journal.stored("01") is journal.stored("last") is journal.stored("\udc80") is None


def test_the_beginning_of_several_ids_lists_them(journal: Journal, make: SimpleNamespace) -> None:
    for place in range(7):
        journal.open_run(make.run(id=f"01{place}"))
    with pytest.raises(UserError, match=r"'01' is the beginning of several runs: 010, 011, 012, 013, 014, \.\.\."):
        journal.run("01")


@pytest.mark.parametrize("name", ["01abx", "é", "\udc80", "%", "01ab_"])
def test_an_unknown_run_lists_the_nearest(journal: Journal, make: SimpleNamespace, name: str) -> None:
    journal.open_run(make.run(id="01abc"))
    with pytest.raises(UnknownName, match=r"the nearest are 01abc"):
        journal.run(name)


@pytest.mark.parametrize("name", ["last", "01abc"])
def test_an_empty_journal_says_so(journal: Journal, name: str) -> None:
    with pytest.raises(UnknownName, match="holds no run yet"):
        journal.run(name)


def test_runs_are_listed_newest_first_with_how_they_went(journal: Journal, make: SimpleNamespace) -> None:
    done = journal.open_run(make.run(id="done"))
    journal.open_run(make.run(id="going", task='{"messages": [["system", "s"], ["user", "' + "word " * 50 + '"]]}'))
    left = journal.open_run(make.run(id="left"))
    for step, kind in enumerate(["thought", "thought", "thought"]):
        journal.step(make.step(run=done, step=step, kind=kind))
        journal.step(make.step(run=left, step=step, kind=kind))
    journal.step(make.step(run=left, step=1, kind="removed"))
    journal.outcome(make.outcome(run=done))
    journal.commit()
    journal.release(left)
    lines = journal.runs()
    assert [(line.id, line.status, line.steps) for line in lines] == [
        ("left", "interrupted", 1),
        ("going", "running", 0),
        ("done", "completed", 3),
    ]
    assert lines[1].question == ("word " * 16)[:79] + "…"
    finished = lines[2]
    assert finished == (
        done, "done", 1700000000.25, "completed", "Compute 38*4 - 98*6.", 3, "-436", 0.25, 2.5, 40, 0.0, "", None
    )  # fmt: skip
    assert (lines[0].answer, lines[0].large_share, lines[0].seconds) == (None, None, None)
    assert [line.id for line in journal.runs(limit=1, status="completed")] == ["done"]
    assert journal.runs(limit=0) == []
    assert len(journal.run("left").kept()) == 1


def test_every_run_comes_oldest_first_with_how_it_ended_and_is_read_when_asked_for(
    journal: Journal, make: SimpleNamespace
) -> None:
    assert [*journal.each_run()] == []
    keys = [journal.open_run(make.run(id=name)) for name in ("b", "a")]
    journal.outcome(make.outcome(run=keys[0]))
    journal.commit()
    reading = journal.each_run()
    first = next(reading)
    assert (first.key, first.run.id, first.outcome) == (keys[0], "b", make.outcome(run=keys[0]))
    late = journal.open_run(make.run(id="c"))
    assert [(each.key, each.run.id, each.outcome) for each in reading] == [(keys[1], "a", None), (late, "c", None)]
    assert journal.at(keys[0]) == journal.run("b")


def test_a_batch_is_the_newest_run_of_each_position(journal: Journal, make: SimpleNamespace) -> None:
    assert journal.latest_batch() is None
    journal.open_run(make.run(id="a0", batch="a", position=0))
    done = journal.open_run(make.run(id="a1", batch="a", position=1))
    journal.outcome(make.outcome(run=done))
    journal.commit()
    newer = journal.open_run(make.run(id="a2", batch="a", position=0))
    journal.open_run(make.run(id="b0", batch="b\ud800", position=0))
    found = journal.batch("a")
    assert [(each.key, each.run.id) for each in found] == [(newer, "a2"), (done, "a1")]
    assert found[0].outcome is None
    assert found[1].outcome == make.outcome(run=done)
    assert journal.batch("nobody's") == []
    assert journal.latest_batch() == "b\ud800"


def test_the_newest_run_is_no_question_of_a_strategist_unless_there_is_nothing_else(
    journal: Journal, make: SimpleNamespace
) -> None:
    journal.open_run(make.run(id="l0", batch=f"{LEARNS}x"))
    assert (journal.run("last").run.id, journal.latest_batch()) == ("l0", "learn x")
    journal.open_run(make.run(id="a0", batch="learned\ud800"))
    journal.open_run(make.run(id="l1", batch=f"{LEARNS}x"))
    assert (journal.run("last").run.id, journal.latest_batch()) == ("a0", "learned\ud800")
    assert [each.id for each in journal.runs()] == ["l1", "a0", "l0"]
    assert [each.id for each in journal.runs(limit=2, without=(LEARNS, "other"))] == ["a0"]


def test_the_last_outcome_counts(journal: Journal, make: SimpleNamespace) -> None:
    key = journal.open_run(make.run())
    for status in ("budget", "completed"):
        journal.outcome(make.outcome(run=key, status=status))
        journal.commit()
    stored = journal.run("last")
    assert stored.outcome is not None and stored.outcome.status == "completed"
    assert journal.runs()[0].status == "completed"
    assert journal.batch("batch")[0].outcome == stored.outcome


def test_two_runs_cannot_have_one_id(journal: Journal, make: SimpleNamespace) -> None:
    journal.open_run(make.run())
    with pytest.raises(RunTaken, match="has been begun already"):
        journal.open_run(make.run())


CLAIM = """
import sys, time
from orchestrator.memory.journal import Journal
from orchestrator.memory.store import Store
journal = Journal(Store(sys.argv[1]))
journal.claim(int(sys.argv[2]))
print("claimed", flush=True)
time.sleep(60)
"""


def test_a_run_that_another_process_executes_is_refused_until_that_process_is_gone(
    journal: Journal, path: Path, make: SimpleNamespace
) -> None:
    key = journal.open_run(make.run())
    journal.claim(key)  # our own claim is no obstacle
    journal.release(key)
    other = subprocess.Popen([sys.executable, "-c", CLAIM, path, str(key)], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None and other.stdout.readline() == "claimed\n"
        with pytest.raises(UserError, match=f"{make.run().id} is being executed by process {other.pid}"):
            journal.claim(key)
        journal.release(key)  # not ours to give up
        assert journal.runs()[0].status == "running"
    finally:
        other.kill()
        other.communicate()
    assert journal.runs()[0].status == "interrupted"
    journal.claim(key)
    assert journal.runs()[0].status == "running"


@pytest.mark.parametrize(
    ("column", "value"), [("started", "another boot:1"), ("host", "a container that is gone"), ("pid", 2**22 + 1)]
)
def test_a_claim_of_a_process_that_is_gone_is_taken_over(
    journal: Journal, store: Store, make: SimpleNamespace, column: str, value: object
) -> None:
    key = journal.open_run(make.run())
    with store.transaction() as connection:
        connection.execute("UPDATE claims SET pid = ?", (os.getppid(),))
        connection.execute(f"UPDATE claims SET {column} = ?", (value,))
    assert journal.runs()[0].status == "interrupted"
    journal.claim(key)
    assert journal.runs()[0].status == "running"


def test_an_outcome_ends_the_claim(journal: Journal, store: Store, make: SimpleNamespace) -> None:
    key = journal.open_run(make.run())
    journal.outcome(make.outcome(run=key))
    journal.commit()
    assert store.connection.execute("SELECT count(*) FROM claims").fetchone() == (0,)


def test_a_second_journal_of_this_process_is_refused_until_the_first_lets_go(path: Path, make: SimpleNamespace) -> None:
    refusal = f"{make.run().id} is being executed by process {os.getpid()}"
    with Store(path) as store, Store(path) as another:
        first, second = Journal(store), Journal(another)
        key = first.open_run(make.run())
        with pytest.raises(UserError, match=refusal):
            second.claim(key)
        second.release(key)  # not its own to give up
        first.claim(key)
        with pytest.raises(UserError, match=refusal):
            second.claim(key)
        first.release(key)
        second.claim(key)
        with pytest.raises(UserError, match=refusal):
            first.claim(key)


@pytest.mark.parametrize("is_closed", [True, False], ids=["closed", "dropped"])
def test_a_run_of_a_journal_that_was_closed_or_dropped_may_be_claimed_by_the_next(
    store: Store, make: SimpleNamespace, is_closed: bool
) -> None:
    first = Journal(store)
    key = first.open_run(make.run())
    if is_closed:
        first.close()
    else:
        del first
        gc.collect()
    Journal(store).claim(key)


def test_claiming_a_run_that_does_not_exist_is_an_error(journal: Journal) -> None:
    with pytest.raises(StoreError, match="no run number 12345"):
        journal.claim(12345)


def write_steps(journal: Journal, make: SimpleNamespace, key: int, steps: range) -> int:
    """Write judged steps and return the bytes of their texts and ids."""
    payload = 0
    for step in steps:
        text, token_ids = f"step {step} " + "of a thought " * 20, bytes(240)
        payload += len(text) + len(token_ids)
        for call, purpose, said in ((2 * step, "draft", text), (2 * step + 1, "judge", str(step % 10))):
            journal.intent(CallIntent(key, call, step, 0, purpose, "small", step, b"%16d" % call, step, 512, 1.7e9))
            journal.result(make.result(run=key, seq=call, text=said, ids=token_ids if call % 2 == 0 else b"1234"))
        journal.signal(make.signal(run=key, step=step))
        journal.decision(make.decision(run=key, step=step))
        journal.step(make.step(run=key, step=step, text=text))
        journal.commit()
    return payload


def test_the_file_grows_linearly_by_at_most_1200_bytes_a_step_beside_texts_and_ids(
    store: Store, journal: Journal, path: Path, make: SimpleNamespace
) -> None:
    key = journal.open_run(make.run())
    sizes, payloads = [], [0]
    for steps in (range(100), range(100, 1100), range(1100, 2100)):
        payloads.append(write_steps(journal, make, key, steps))
        store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        sizes.append(path.stat().st_size)
    first, second = sizes[1] - sizes[0], sizes[2] - sizes[1]
    assert (second - payloads[3]) / 1000 <= 1200
    assert 0.9 <= second / first <= 1.1


def test_a_run_of_a_thousand_steps_is_read_in_a_quarter_of_a_second(journal: Journal, make: SimpleNamespace) -> None:
    key = journal.open_run(make.run(id=run_id()))
    write_steps(journal, make, key, range(1000))
    best_s = 9.0
    for _ in range(3):
        began_s = time.perf_counter()
        assert len(journal.run("last").calls) == 2000
        best_s = min(best_s, time.perf_counter() - began_s)
    assert best_s <= 0.25


def test_batches_are_found_by_the_beginning_of_their_names_the_last_begun_first(
    journal: Journal, make: SimpleNamespace
) -> None:
    for number, batch in enumerate(["a#1", "b#1", "a#2", "a\udcff#1", "a#1"]):
        journal.open_run(make.run(id=f"r{number}", batch=batch))
    assert journal.batches("a#") == ["a#2", "a#1"]
    assert journal.batches("a\udcff") == ["a\udcff#1"]
    assert journal.batches("c") == []
