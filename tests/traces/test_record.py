"""Runs as typed records and JSON lines: complete, and the same again after a way through another journal."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import orchestrator as orc
from orchestrator.cli.app import app
from orchestrator.errors import RunTaken, StoreError, UserError
from orchestrator.memory.base import (
    REMOVED,
    CallIntent,
    CallResult,
    CallRow,
    DecisionRow,
    EventRow,
    OutcomeRow,
    RunRow,
    SignalRow,
    StepRow,
    StoredRun,
)
from orchestrator.memory.journal import Journal
from orchestrator.memory.store import Store
from orchestrator.traces.jsonl import import_runs, read, records
from orchestrator.traces.record import RunRecord
from orchestrator.traces.restored import stored_of


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments], prog_name="orchestrator")


def lines(path: Path) -> list[str]:
    done = call("trace", "export", "--all", "--db", path)
    assert done.exit_code == 0, done.output
    return done.stdout.splitlines()


@pytest.fixture
def file(db: Path, tmp_path: Path) -> Path:
    path = tmp_path / "runs.jsonl"
    assert call("trace", "export", "--all", "--out", path, "--db", db).exit_code == 0
    return path


def test_a_file_and_its_journal_are_read_alike_as_typed_records(db: Path, file: Path) -> None:
    from_file, from_journal = list(orc.traces.read(file)), list(orc.traces.read(db))
    assert from_file == from_journal
    assert [run.id for run in from_file if run.parent is None] == ["one", "two", "three"]
    one = from_file[0]
    assert isinstance(one, orc.traces.RunRecord)
    assert (one.question, one.router.split()[-1], one.outcome and one.outcome.answer) == ("What is 1+1?", "0.1.0", "2")


def test_a_rolled_back_step_is_in_a_record_though_it_does_not_stand(runs: dict[str, RunRecord]) -> None:
    written = runs["one"].written
    assert written is not None and any(row.kind == REMOVED for row in written)
    assert len(written) > len(runs["one"].steps)
    assert runs["two"].written is None


def test_export_import_and_export_again_give_the_same_lines(db: Path, file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    done = call("trace", "import", file, "--db", other)
    assert (done.exit_code, done.stderr) == (0, "4 imported\n")
    assert lines(other) == lines(db) == file.read_text().splitlines()


def test_an_imported_run_is_shown_as_it_was(db: Path, file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    call("trace", "import", file, "--db", other)
    for name in ("one", "two", "three", "last"):
        shown = [call("trace", "show", name, "--db", path).stdout for path in (db, other)]
        assert shown[0].replace("\\udcff", "�") == shown[1]
    listed = [call("trace", "list", "--db", path).stdout.replace("running    ", "interrupted") for path in (db, other)]
    assert listed[0] == listed[1]


def test_runs_that_are_there_stay_as_they_are_and_are_said(db: Path, file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    call("trace", "import", file, "--db", other)
    changed = tmp_path / "changed.jsonl"
    changed.write_text(file.read_text().replace('"What is 1+1?"', '"What is 1+2?"', 1))
    before = lines(other)
    done = call("trace", "import", changed, "--db", other)
    assert done.exit_code == 0
    said = done.stderr.splitlines()
    assert said[0] == "0 imported"
    assert said[1].startswith("3 passed over, they are there already: ")
    assert said[2] == "1 passed over, others of these ids are there: one"
    assert lines(other) == before


def test_a_fork_without_its_parent_is_refused_and_nothing_is_imported(
    runs: dict[str, RunRecord], tmp_path: Path
) -> None:
    file = tmp_path / "fork.jsonl"
    file.write_text("".join(runs[name].model_dump_json() + "\n" for name in ("two", "fork")))
    done = call("trace", "import", file, "--db", tmp_path / "other.db")
    assert done.exit_code == 2
    assert done.stderr.endswith(
        "is a fork of one, which is neither before it nor in the journal: export that one, too\n"
    )
    assert not (tmp_path / "other.db").exists()


def spoilt(change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, Any]], str]:
    def text(run: dict[str, Any]) -> str:
        change(run)
        return json.dumps(run)

    return text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (lambda run: "{", "is this the right file?"),
        (lambda run: "[]", "is this the right file?"),
        (lambda run: '{"prompt": "1+1"}', "is this the right file?"),
        (spoilt(lambda run: run.update(id="last")), "'last' is no id"),
        (spoilt(lambda run: run.update(id="a\x1b[2J")), "'a\\x1b[2J' is no id"),
        (spoilt(lambda run: run.update(engines={})), "engines: each needs its server and its model"),
        (spoilt(lambda run: run["task"].update(messages=[])), "the task has no message"),
        (spoilt(lambda run: run["steps"][0].update(step=-1)), "steps: -1 does not follow -1"),
        (spoilt(lambda run: run["steps"][0].update(step=3)), "steps: 3 does not follow -1"),
        (spoilt(lambda run: run.update(written=[])), "steps: not those that stand of `written`"),
        (spoilt(lambda run: run["calls"].append(run["calls"][0])), "calls: two have the same seq"),
        (spoilt(lambda run: run["calls"][0].update(ids=[-1])), "calls: 0 has an id that is none"),
        (spoilt(lambda run: run["calls"][0].update(ids=[1 << 31])), "calls: 0 has an id that is none"),
        (spoilt(lambda run: run["calls"][0].update(text=None)), "calls: 0 has a status and no result"),
        (spoilt(lambda run: run["calls"][0].update(digest="xyz0")), "calls: the digest of 0 is not hexadecimal"),
        (spoilt(lambda run: run["outcome"].update(status="fine")), "outcome: no run ends as 'fine'"),
        (spoilt(lambda run: run["outcome"]["ledger"][0].pop("cost")), "outcome.ledger: a row's cost is None"),
    ],
)
def test_a_line_that_is_no_run_is_refused_by_its_place_and_nothing_is_imported(
    runs: dict[str, RunRecord], tmp_path: Path, text: Callable[[dict[str, Any]], str], said: str
) -> None:
    file = tmp_path / "runs.jsonl"
    spoiled = runs["one"].model_dump(mode="json") | {"written": None}
    file.write_text(runs["two"].model_dump_json() + "\n\n" + text(spoiled) + "\n")
    with Store(":memory:") as store:
        journal = Journal(store)
        with pytest.raises(UserError) as raised:
            import_runs(journal, file)
        assert not journal.counts()["runs"]
    assert f"{file}:3: no run of `trace export`" in str(raised.value) and said in str(raised.value)


def event(kind: str, **detail: Any) -> dict[str, Any]:
    return {"step": 0, "kind": kind, "detail": detail, "at_s": 1.0}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda run: [each.update(detail={}) for each in run["decisions"] if each["door"] == "mode"],
        lambda run: run["events"].append(event("recalled")),
        lambda run: run["events"].append(event("recalled", by="words", behaviors=[{"name": "-"}])),
        lambda run: run["events"].append(event("lead", text="So")),
    ],
)
def test_a_run_that_no_timeline_could_show_is_not_imported(
    runs: dict[str, RunRecord], tmp_path: Path, spoil: Callable[[dict[str, Any]], object]
) -> None:
    file = tmp_path / "runs.jsonl"
    one = runs["one"].model_dump(mode="json")
    spoil(one)
    file.write_text(json.dumps(one) + "\n")
    done = call("trace", "import", file, "--db", tmp_path / "other.db")
    assert done.exit_code == 2 and "run one could not be shown: a detail of its decisions or events" in done.stderr
    assert not (tmp_path / "other.db").exists()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda run: run.update(schema_version=2), "schema_version is not 1, which is all that this version"),
        (lambda run: run.update(more=1), "more is unknown to this version"),
        (lambda run: run["steps"][0].update({"\x1b[2J" + "x" * 99: 1}), r"steps.0.\x1b[2Jxx"),
    ],
)
def test_an_export_of_a_newer_version_is_told_as_such(
    runs: dict[str, RunRecord], tmp_path: Path, spoil: Callable[[dict[str, Any]], None], said: str
) -> None:
    newer = runs["two" if "more" in said else "one"].model_dump(mode="json")
    spoil(newer)
    (tmp_path / "runs.jsonl").write_text(json.dumps(newer))
    done = call("trace", "import", tmp_path / "runs.jsonl", "--db", tmp_path / "journal.db")
    assert done.exit_code == 2 and len(done.stderr.splitlines()) == 1
    assert said in done.stderr and ": upgrade it, if this is the right file" in done.stderr
    assert "x" * 61 not in done.stderr


def test_a_file_that_an_editor_has_marked_as_utf8_is_read(file: Path, db: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert list(read(file)) == list(read(db))


def test_a_pipe_is_refused_because_a_file_is_read_twice(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(writer)
    with pytest.raises(UserError, match="cannot be read: it is a pipe, and read twice"):
        list(read(f"/dev/fd/{reader}"))
    os.close(reader)


@pytest.mark.parametrize("kind", ["jsonl", "otel", "inspect", "csv"])
@pytest.mark.parametrize("out", ["", "/", ".", "..", "nowhere/runs"])
def test_what_cannot_be_written_is_one_line(
    db: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, out: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = call("trace", "export", "one", "--db", db, "--format", kind, "--out", out)
    assert done.exit_code == 2 and len(done.stderr.splitlines()) == 1 and done.stderr.startswith("error: ")
    assert not list(tmp_path.iterdir())


def test_a_run_that_is_named_twice_is_exported_once_and_how_many_is_said(db: Path, tmp_path: Path) -> None:
    done = call("trace", "export", "last", "thr", "one", "--db", db, "--out", tmp_path / "runs.jsonl")
    assert done.stderr == f"2 runs in {tmp_path / 'runs.jsonl'}\n"
    assert [run.id for run in read(tmp_path / "runs.jsonl")] == ["three", "one"]


@pytest.mark.parametrize("name", ["nowhere.jsonl", "."])
def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        list(read(tmp_path / name))


def test_a_run_that_cannot_be_stored_leaves_nothing_behind(runs: dict[str, RunRecord]) -> None:
    stored = stored_of(runs["one"])
    with Store(":memory:") as store:
        journal = Journal(store)
        too_large = [replaced._replace(num_tokens=1 << 70) for replaced in stored.steps]
        with pytest.raises(StoreError, match="run one cannot be stored"):
            journal.add(stored._replace(steps=too_large))
        assert not any(journal.counts().values())
        journal.add(stored)
        with pytest.raises(RunTaken, match="run one is in :memory: already"):
            journal.add(stored)
        assert journal.counts()["runs"] == 1


# ---- every run that a journal can hold

TEXTS = st.text(st.characters(codec=None), max_size=12)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
SECONDS = st.floats(0, 1e9)
COUNTS = st.integers(0, 1 << 40)
PLACES = st.integers(-1, 5)
DATA = st.dictionaries(TEXTS, NUMBERS | TEXTS | st.none() | st.lists(COUNTS, max_size=2), max_size=3)
DETAIL = st.just("") | DATA.filter(bool).map(json.dumps)


ZERO = st.just(0)
PLACED = {"run": ZERO, "step": PLACES, "attempt": PLACES}
NAMES = st.lists(st.text("abc", min_size=1, max_size=3), max_size=3).map(",".join)
IDS = st.lists(st.integers(0, (1 << 31) - 1), max_size=3)
ALTERNATIVES = st.lists(st.tuples(COUNTS, TEXTS), max_size=2)

INTENTS = st.builds(CallIntent, **PLACED, purpose=TEXTS, engine=TEXTS, seed=COUNTS, digest=st.binary(max_size=4),
    prompt_tokens=COUNTS, max_tokens=COUNTS, started_s=SECONDS)  # fmt: skip
RESULTS = st.builds(CallResult, run=ZERO, seq=ZERO, status=st.sampled_from(["done", "failed"]), text=TEXTS,
    ids=IDS.map(lambda ids: b"".join(each.to_bytes(4, "little") for each in ids)), stop=TEXTS, stop_text=TEXTS,
    prompt_tokens=COUNTS, cached_tokens=st.none() | COUNTS, output_tokens=COUNTS, uncertain=st.integers(0, 1),
    seconds=SECONDS, first_token_s=st.none() | SECONDS, error=TEXTS,
    logprobs=st.none() | ALTERNATIVES.map(json.dumps), queue_s=st.none() | SECONDS, drafts=st.none() | COUNTS,
    drafted=st.none() | COUNTS, accepted=st.none() | COUNTS)  # fmt: skip
SIGNALS = st.builds(SignalRow, **PLACED, name=TEXTS, value=st.none() | NUMBERS, raw=st.none() | NUMBERS, unit=TEXTS,
    reason=TEXTS, output_tokens=COUNTS, seconds=SECONDS)  # fmt: skip
DECISIONS = st.builds(DecisionRow, **PLACED, door=TEXTS, action=TEXTS, engine=TEXTS, reason=TEXTS,
    threshold=st.none() | NUMBERS, margin=st.none() | NUMBERS, alternatives=NAMES, policy=TEXTS,
    detail=DETAIL)  # fmt: skip
STEPS = st.builds(StepRow, **PLACED, kind=st.sampled_from(["thought", "action", "observation", "answer", REMOVED]),
    writer=TEXTS, text=TEXTS, stop=TEXTS, num_tokens=COUNTS, seconds=SECONDS)  # fmt: skip
EVENTS = st.builds(EventRow, run=ZERO, step=PLACES, kind=TEXTS, detail=DETAIL, at_s=SECONDS)
OUTCOMES = st.builds(OutcomeRow, run=ZERO, status=st.just("completed"), answer=st.none() | TEXTS, error=TEXTS,
    reason=TEXTS, seconds=SECONDS, ledger=st.just("[]"), finished_s=SECONDS)  # fmt: skip
TASKS = st.tuples(TEXTS, st.none() | TEXTS, st.none() | TEXTS, st.sampled_from([{}, {"topic": "sums"}])).map(
    lambda each: json.dumps({"messages": [["user", each[0]]], "id": each[1], "answer": each[2], **each[3]})
)
RUNS = st.builds(RunRow, id=st.text("abcdefgh0123456789", min_size=1, max_size=16), parent=st.none(), batch=TEXTS,
    position=COUNTS, task=TASKS, settings=DATA.map(json.dumps),
    engines=st.just(json.dumps({"e": {"server": "s", "model": "m"}})), created_s=SECONDS)  # fmt: skip


@st.composite
def stored_runs(draw: st.DrawFn) -> StoredRun:
    calls = []
    for seq, intent in enumerate(draw(st.lists(INTENTS, max_size=3))):
        result = draw(st.none() | RESULTS)
        calls.append(CallRow(intent._replace(seq=seq), result and result._replace(seq=seq)))
    steps: list[StepRow] = []
    standing = 0
    for attempt, row in enumerate(draw(st.lists(STEPS, max_size=5))):
        step = draw(st.integers(0, standing - (row.kind == REMOVED and standing > 0)))
        if row.kind == REMOVED and not standing:
            continue
        steps.append(row._replace(step=step, attempt=attempt))
        standing = step + (row.kind != REMOVED)
    some = (draw(st.lists(each, max_size=2)) for each in (SIGNALS, DECISIONS))
    return StoredRun(0, draw(RUNS), calls, *some, steps, draw(st.lists(EVENTS, max_size=2)), draw(st.none() | OUTCOMES))


@settings(max_examples=25, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(stored_runs())
def test_any_run_comes_back_equal_from_another_journal(
    tmp_path_factory: pytest.TempPathFactory, made: StoredRun
) -> None:
    file = tmp_path_factory.mktemp("any") / "runs.jsonl"
    with Store(":memory:") as here, Store(":memory:") as there:
        Journal(here).add(made)
        (before,) = records(Journal(here))
        file.write_text(before.model_dump_json() + "\n")
        assert import_runs(Journal(there), file).added == 1
        (after,) = records(Journal(there))
        assert after == before
        has_lone_surrogates = "\\ufffd" in ascii(before)
        if not has_lone_surrogates:
            assert same(Journal(there).run(before.id)) == same(Journal(here).run(before.id))


def same(run: StoredRun) -> StoredRun:
    """Return a run without what an export is known to leave out."""
    counted = [
        each._replace(intent=each.intent._replace(prompt_tokens=0)) if each.result else each for each in run.calls
    ]
    return run._replace(key=0, calls=counted)
