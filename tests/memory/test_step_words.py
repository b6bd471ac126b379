"""The index of the words of all runs: it says what a look at every text says, whatever happens to it or the journal."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.errors import StoreCorrupt
from orchestrator.memory import step_index
from orchestrator.memory.journal import Journal
from orchestrator.memory.step_words import StepWords
from orchestrator.memory.store import Store
from orchestrator.memory.wanted import Wanted
from orchestrator.memory.words_file import WordsFile, discard_words, words_path

Say = Callable[..., int]


def found(path: Path, words: str, told: list[str] | None = None) -> list[tuple[int, str, int | None, str]]:
    """Search by the index, look through all texts as well, and return what both found, newest first."""
    lines: list[str] = []
    with Store(path, readonly=True) as store:
        search, wanted = StepWords(store, lines.append), Wanted.of(words)
        texts = search.find(wanted, 1000)
        runs = search._runs()
        looked = [*search._looked_through(wanted, runs)]
        assert sorted(search.runs(wanted)) == sorted({text.run for text in looked})
    assert texts.texts == looked
    assert texts.total == len(looked)
    if told is None:
        assert not lines
    else:
        told += dict.fromkeys(lines)
    return [(text.run, text.kind, text.step, text.text) for text in texts.texts]


@pytest.fixture
def say(journal: Journal, make: SimpleNamespace) -> Say:
    """Store a run whose steps say these things; without `answer` it has not ended. Returns its number."""

    def write(*texts: str, question: str = "what", answer: str | None = "42", run: int | None = None) -> int:
        name = f"{time.monotonic_ns():x}"
        task = json.dumps({"messages": [["system", "secretary"], ["user", question]]})
        key = run or journal.open_run(make.run(id=name, task=task))
        first = len(journal.at(key).calls)
        for step, text in enumerate(texts, first):
            journal.intent(make.intent(run=key, seq=step, step=step))
            journal.result(make.result(run=key, seq=step, text=text))
            journal.step(make.step(run=key, step=step, text=text))
        if answer is not None:
            journal.outcome(make.outcome(run=key, answer=answer))
        journal.commit()
        return key

    return write


def test_every_text_of_a_run_is_found_once_and_the_newest_first(
    journal: Journal, say: Say, make: SimpleNamespace, path: Path
) -> None:
    first = say("red apple", "red pear", question="a red question", answer="red")
    second = journal.open_run(make.run(id="second"))
    journal.intent(make.intent(run=second, seq=0))
    journal.result(make.result(run=second, seq=0, text="red, turned away"))
    journal.intent(make.intent(run=second, seq=1, purpose="judge"))
    journal.result(make.result(run=second, seq=1, text="red is what a judge said"))
    journal.intent(make.intent(run=second, seq=2, attempt=1, purpose="rewrite", engine="large"))
    journal.result(make.result(run=second, seq=2, text=" red, kept  ", status="done"))
    journal.step(make.step(run=second, attempt=1, writer="large", text="red, kept"))
    journal.step(make.step(run=second, step=1, kind="observation", writer="look", text="a red thing"))
    journal.step(make.step(run=second, step=1, kind="removed", writer="", text="red, removed"))
    journal.commit()
    with Store(path, readonly=True) as store:
        texts = StepWords(store, print).find(Wanted.of("red"), 20).texts
    assert [(each.run, each.kind, each.step, each.attempt, each.writer, each.text.strip()) for each in texts] == [
        (second, "step", 1, 0, "look", "a red thing"),
        (second, "step", 0, 1, "large", "red, kept"),
        (second, "step", 0, 0, "small", "red, turned away"),
        (first, "answer", None, None, "", "red"),
        (first, "step", 1, 0, "small", "red pear"),
        (first, "step", 0, 0, "small", "red apple"),
        (first, "question", None, None, "", "a red question"),
    ]
    with Store(path, readonly=True) as store:
        assert StepWords(store, print).find(Wanted.of("red"), 2).texts == texts[:2]
        assert [each.run for each in StepWords(store, print).find(Wanted.of("red"), 9, first).texts] == [first] * 4
        assert not StepWords(store, print).find(Wanted.of("secretary"), 2).total


def test_what_a_run_says_after_it_was_indexed_is_found(
    journal: Journal, say: Say, make: SimpleNamespace, path: Path
) -> None:
    other, going_on = say("one"), say("one", answer=None)
    journal.intent(make.intent(run=going_on, seq=1, step=1))
    journal.intent(make.intent(run=going_on, seq=2, step=1, attempt=1))
    journal.result(make.result(run=going_on, seq=2, text="one beside"))
    journal.commit()
    assert len(found(path, "one")) == 3
    journal.result(make.result(run=going_on, seq=1, text="one late"))  # of a call begun before one that is done
    journal.commit()
    assert len(found(path, "one")) == 4
    say("one more", run=going_on, answer="one")
    assert len(found(path, "one")) == 6
    assert found(path, "other") == []
    journal.claim(other)  # it ended, and goes on
    say("other", run=other, answer=None)
    assert len(found(path, "other")) == 1
    journal.event(make.event(run=other))
    say("other again", run=other, answer=None)
    journal.release(other)
    assert len(found(path, "other")) == 2
    say("other at last", run=other, answer="other")
    assert len(found(path, "other")) == 4


WORDS = st.sampled_from(("a", "b", "c", "é", "中", "1", "\udc80", "-", "\x00", '"'))
TEXTS = st.lists(WORDS, max_size=5).map(" ".join)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.lists(TEXTS, max_size=3), st.none() | TEXTS), max_size=3),
    st.lists(
        st.lists(st.sampled_from(("a", "b", "c", "é", "中", "1")), min_size=1, max_size=3), min_size=1, max_size=3
    ),
)
def test_the_index_says_what_a_look_at_every_text_says(
    say: Say, path: Path, runs: list[tuple[list[str], str | None]], asked: list[list[str]]
) -> None:
    for texts, answer in runs:
        say(*texts, answer=answer)
    for words in asked:
        found(path, " ".join(words))
        found(path, f'"{" ".join(words)}"')


def test_a_journal_that_was_pruned_or_replaced_is_indexed_anew(
    journal: Journal, store: Store, say: Say, path: Path, tmp_path: Path
) -> None:
    gone, kept = say("word gone"), say("word kept")
    assert len(found(path, "word")) == 2
    with store.transaction() as connection:
        for table in ("steps", "outcomes", "results", "intents", "claims", "totals"):
            connection.execute(f"DELETE FROM {table} WHERE run = ?", (gone,))
        connection.execute("DELETE FROM runs WHERE key = ?", (gone,))
        connection.execute("INSERT INTO prunings (runs, why, at_s) VALUES (1, 'old', 0)")
    assert [run for run, *_ in found(path, "word")] == [kept]
    assert found(path, "gone") == []
    assert b"gone" not in words_path(str(path)).read_bytes()
    other = tmp_path / "other.db"
    with Store(other) as opened:
        make_run(Journal(opened), "another word")
    store.close()
    for name in ("journal.db-wal", "journal.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    os.replace(other, path)
    assert [text for *_, text in found(path, "word")] == ["another word"]


def make_run(journal: Journal, text: str) -> int:
    from orchestrator.memory.base import OutcomeRow, RunRow, StepRow

    key = journal.open_run(RunRow(text, None, "b", 0, '{"messages": [["user", "q"]]}', "{}", '{"small": {}}', 1.0))
    journal.step(StepRow(key, 0, 0, "thought", "small", text, "delimiter", 3, 0.5))
    journal.outcome(OutcomeRow(key, "completed", None, "", "", 1.0, "[]", 2.0))
    journal.commit()
    return key


def cut(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def scribble(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (path.stat().st_size - 4096))


@pytest.mark.parametrize("spoil", [cut, scribble])
def test_a_damaged_index_is_made_anew(spoil: Callable[[Path], None], say: Say, path: Path) -> None:
    for number in range(40):
        say(f"word {number}")
    assert len(found(path, "word")) == 40
    spoil(words_path(str(path)))
    told: list[str] = []
    assert len(found(path, "word", told)) == 40
    assert told == [f"{path}.words is damaged and is made anew; the journal is whole"]
    assert len(found(path, "word")) == 40


def foreign_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE words (text)")


@pytest.mark.parametrize(
    "make_foreign", [foreign_database, lambda path: path.write_text("my words " * 200), Path.mkdir]
)
def test_a_strangers_file_stays_and_every_text_is_looked_through(
    make_foreign: Callable[[Path], Any], say: Say, path: Path
) -> None:
    say("word")
    stranger = words_path(str(path))
    make_foreign(stranger)
    before = None if stranger.is_dir() else stranger.read_bytes()
    told: list[str] = []
    assert len(found(path, "word", told)) == 1
    assert len(told) == 1 and str(stranger) in told[0] and "looking through every text" in told[0]
    discard_words(str(path)) if before else None
    assert before is None or stranger.read_bytes() == before


def test_without_full_text_search_every_text_is_looked_through(
    say: Say, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from orchestrator.memory import words_file
    from orchestrator.memory.sqlite_features import SqliteFeatures

    say("word")
    monkeypatch.setattr(words_file, "sqlite_features", lambda: SqliteFeatures("3.0", False))
    told: list[str] = []
    assert len(found(path, "word", told)) == 1
    assert "no FTS5" in told[0] and not words_path(str(path)).exists()


def test_a_folder_that_may_not_be_written_is_searched_by_an_index_of_today_or_looked_through(
    say: Say, store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    say("word")
    access = os.access
    monkeypatch.setattr(os, "access", lambda at, how: how != os.W_OK and access(at, how))  # root may write anywhere
    told: list[str] = []
    assert len(found(path, "word", told)) == 1
    assert "may not be written" in told[0] and not words_path(str(path)).exists()
    monkeypatch.undo()
    found(path, "word")
    monkeypatch.setattr(os, "access", lambda at, how: how != os.W_OK and access(at, how))
    assert len(found(path, "word")) == 1
    say("word")
    told.clear()
    assert len(found(path, "word", told)) == 2
    assert "is not up to date" in told[0]


def test_only_its_owner_may_read_the_index_and_nothing_is_left_beside_it(say: Say, path: Path) -> None:
    say("word")
    found(path, "word")
    assert words_path(str(path)).stat().st_mode & 0o777 == 0o600
    assert {each.name for each in path.parent.iterdir() if "words" in each.name} == {"journal.db.words"}
    discard_words(str(path))
    discard_words(str(path))
    assert not words_path(str(path)).exists()


SEARCH = """
import sys
from orchestrator.errors import StoreCorrupt
from orchestrator.memory import step_index
from orchestrator.memory.step_words import StepWords
from orchestrator.memory.store import Store
from orchestrator.memory.wanted import Wanted

step_index._BATCH_RUNS = step_index._CHUNK_RUNS = 20
print("begun", flush=True)
with Store(sys.argv[1], readonly=True) as store:
    print(StepWords(store, print).find(Wanted.of("word"), 5).total, flush=True)
"""


def searching(path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", SEARCH, str(path)], stdout=subprocess.PIPE, text=True)


def test_a_search_that_is_killed_leaves_an_index_that_goes_on(say: Say, path: Path) -> None:
    for number in range(300):
        say(f"word {number}")
    for delay_s in (0.0, 0.02, 0.06):
        with searching(path) as process:
            assert process.stdout is not None and process.stdout.readline() == "begun\n"
            time.sleep(delay_s)
            process.send_signal(signal.SIGKILL)
    assert len(found(path, "word")) == 300


def test_several_search_while_one_writes(say: Say, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(100):
        say(f"word {number}")
    found(path, "word")
    cleared: list[Path] = []
    clear = WordsFile.clear
    monkeypatch.setattr(WordsFile, "clear", lambda file: cleared.append(file.path) or clear(file))
    processes = [searching(path) for _ in range(2)]
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.05):
            with Store(path, readonly=True) as store:
                assert StepWords(store, print).find(Wanted.of("word"), 5).total >= 100

    thread = threading.Thread(target=look)
    thread.start()
    for number in range(100):
        say(f"word {number}")
    ended.set()
    thread.join()
    for process in processes:
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 0 and int(said.split()[-1]) >= 100
    assert len(found(path, "word")) == 200
    assert not cleared  # a journal that goes on is the same journal


def test_who_waits_for_an_index_of_many_runs_is_told(say: Say, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_index, "_TOLD_RUNS", 3)
    monkeypatch.setattr(step_index, "_BATCH_RUNS", 2)
    monkeypatch.setattr(step_index, "_TOLD_EVERY_S", 0.0)
    for _ in range(4):
        say("word")
    told: list[str] = []
    found(path, "word", told)
    assert told == ["indexing 4 runs, once: later searches add what is new", "indexing: 50%"]


def test_beginnings_of_two_letters_are_looked_up_and_not_put_together_word_by_word(say: Say, path: Path) -> None:
    say("banana baobab cherry", "ceylon")
    assert [text for *_, text in found(path, "ba* ce*")] == []
    assert [text for *_, text in found(path, "ba* ch*")] == ["banana baobab cherry"]
    with closing(sqlite3.connect(words_path(str(path)))) as index:
        (made,) = index.execute("SELECT sql FROM sqlite_master WHERE name = 'words'").fetchone()
    assert "prefix = '2'" in made  # without it what begins like a twentieth of all words takes ten times as long


@pytest.mark.parametrize("times", [1, 2])
def test_an_index_that_is_removed_under_a_search_is_made_anew_once(say: Say, path: Path, times: int) -> None:
    say("apple")
    removed: list[WordsFile] = []

    def ask(file: WordsFile) -> str:
        if len(removed) < times:
            removed.append(file)
            discard_words(str(path))
        with file.writing():
            file.rows("UPDATE about SET last = 7")
        return "found"

    told: list[str] = []
    with Store(path, readonly=True) as store:
        answer = StepWords(store, told.append)._indexed(ask)
    said = (
        f"looking through every text instead of an index: {words_path(str(path))} was removed meanwhile: search again"
    )
    assert (answer, told) == (("found", []) if times == 1 else (None, [said]))


@pytest.mark.parametrize("task", ["{}", "[]", '{"messages": []}', '{"messages": [["user"]]}'])
def test_a_task_without_messages_is_told_as_damage(
    journal: Journal, make: SimpleNamespace, path: Path, task: str
) -> None:
    journal.open_run(make.run(id="odd", task=task))
    journal.commit()
    with pytest.raises(StoreCorrupt, match="a task holds no messages"):
        found(path, "what")
