"""A trained classifier reads a live run as it read stored ones, and its file is refused where it is none."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from errand_runs import Errand, errands_drawn, history_of, looping, steps_of, store, worked
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.config import monitor_file
from orchestrator.errors import BadConfig, UserError
from orchestrator.learning.looks import watched
from orchestrator.memory.journal import Journal
from orchestrator.memory.store import Store
from orchestrator.monitors import find, ngrams
from orchestrator.monitors.classified import Classified, sample_text, text_behind
from orchestrator.monitors.monitor_file import MonitorFile, parse
from orchestrator.monitors.window import moves_of
from orchestrator.types import History, Message, Step, StepKind, Stop, Task

PLACES = np.zeros(ngrams.SIZE, dtype="<f4")


def made(text: str = "busy", kind: str = "stuck", **changes: Any) -> MonitorFile:
    """A monitor that is all but sure where `text` is among the words, and says 0.27 elsewhere."""
    weights = PLACES.copy()
    counted = ngrams.counted(text)
    weights[counted.places] = 40
    known = MonitorFile(
        kind=kind,
        window=6,
        min_moves=3,
        weights=weights.tobytes(),
        bias=-1.0,
        threshold=0.9,
        measured={},
        data={"fitted_on": ["a task"]},
        made="2026-11-27",
        package="0",
    )
    return replace(known, **changes)


@pytest.fixture
def errand() -> Errand:
    return errands_drawn(1)[0]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Store(tmp_path / "journal.db") as opened:
        made = Journal(opened)
        yield made
        made.close()


def grown(history: History) -> Iterator[History]:
    """Yield one live history as the runtime grows it: the same object, a step longer each time."""
    steps, history.steps = history.steps, []
    for step in steps:
        history.steps.append(step)
        yield history


@pytest.mark.parametrize("kind", ["stuck", "milestone"])
@pytest.mark.parametrize("turns", [worked, looping])
def test_a_stored_run_is_read_word_for_word_as_the_live_one_was(
    journal: Journal, errand: Errand, kind: str, turns: Any
) -> None:
    steps = steps_of(turns(errand), "12")
    run_id = store(journal, errand, steps, answer="12")
    live = [text_behind(kind, each, 4, 1) for each in grown(history_of(errand, steps))]
    stored = journal.stored(run_id)
    assert stored is not None
    [run] = watched([stored], kind, 4, 1)
    assert [look.text for look in run.looks] == [text for text in live if text is not None]
    assert [look.step for look in run.looks] == [place for place, text in enumerate(live) if text is not None]
    assert run.looks[-1].step == len(steps) - 2  # the answer is no move


def test_it_looks_where_a_move_ends_and_nowhere_else(errand: Errand) -> None:
    steps = steps_of(worked(errand)[:3], "12")
    looks = [text_behind("stuck", each, 6, 2) is not None for each in grown(history_of(errand, steps))]
    assert looks[3:] == [False, False, True, False, False, True, False]


def test_a_thought_is_a_move_where_there_are_no_tools() -> None:
    steps = [
        Step(index=n, attempt=0, writer="small", text=f"Think {n}.\n\n", num_tokens=2, stop=Stop.DELIMITER)
        for n in range(3)
    ]
    history = History(task=Task.of("q"), engines=("small", "large"), seed=0, steps=steps)
    assert text_behind("stuck", history, 2, 3) == "Step 2\nThought: Think 1.\nStep 3\nThought: Think 2."
    assert text_behind("stuck", history, 2, 4) is None


def test_it_speaks_at_the_threshold_and_not_below(errand: Errand) -> None:
    history = history_of(errand, steps_of(looping(errand)))
    known = made()
    chance = known.chance(text_behind("stuck", history, 6, 3) or "")
    assert 0.5 < chance < 1
    at = Classified(threshold=chance, learnt=known).watch(history)
    assert at is not None and (at.kind, at.value, at.threshold) == ("stuck", chance, chance)
    assert "reads" in at.reason and not at.ends_run and not at.concludes
    assert Classified(threshold=float(np.nextafter(chance, 1)), learnt=known).watch(history) is None


def test_it_never_speaks_before_its_moves_and_a_new_window_counts_them_anew(errand: Errand) -> None:
    steps = steps_of(looping(errand, 8))
    monitor = Classified(threshold=0.0, min_moves=4, learnt=made())

    def spoken(window: int) -> list[int]:
        events = []
        for number in range(1, len(steps) + 1):
            history = history_of(errand, steps[:number])
            history.window = min(window, number)
            events.append(monitor.watch(history) is not None)
        return [place for place, is_spoken in enumerate(events) if is_spoken]

    assert spoken(9)[0] == 9 + spoken(0)[0]
    assert spoken(0)[0] >= 3 * 3 - 1


def test_behind_a_handover_it_reads_what_it_would_read_of_a_run_that_begins_there(errand: Errand) -> None:
    turns = looping(errand, 8)
    whole, late = history_of(errand, steps_of(turns)), history_of(errand, steps_of(turns[3:]))
    whole.window = 9
    assert text_behind("stuck", whole, 6, 3) == text_behind("stuck", late, 6, 3)


def test_only_a_milestone_is_read_with_the_task_of_which_the_end_is_kept(errand: Errand) -> None:
    moves = moves_of(history_of(errand, steps_of(worked(errand))))
    stuck, milestone = (sample_text(kind, "x" * 5000 + "the end", moves, 3) for kind in ("stuck", "milestone"))
    assert milestone.endswith("\n" + stuck) and "the end\nStep" in milestone
    assert len(milestone) < len(stuck) + 1300


@pytest.mark.parametrize(
    "text", ["", "\0\x1b[2J", "\ud800 broken", "e\u0301 \u202e مرحبا 你好 🤖", "x" * 400, "\n" * 50]
)
def test_whatever_is_written_can_be_read(errand: Errand, text: str) -> None:
    steps = steps_of([(text, text, text)] * 3)
    chance = made().chance(text)
    assert 0 <= chance <= 1 and chance == made().chance(text)
    history = History(task=Task(messages=(Message("user", f"q {text}"),)), engines=("a", "b"), seed=0, steps=steps)
    for kind in ("stuck", "milestone"):
        event = Classified(kind=kind, threshold=0.0, learnt=made(kind=kind)).watch(history)  # type: ignore[arg-type]
        assert event is not None and event.kind == kind


def test_a_run_without_steps_or_with_an_empty_answer_of_a_tool_is_no_trouble(errand: Errand) -> None:
    assert text_behind("stuck", history_of(errand, []), 6, 1) is None
    steps = steps_of([("Try.", "<tool>list()</tool>", "")])
    assert steps[-1].kind is StepKind.OBSERVATION
    assert (text_behind("stuck", history_of(errand, steps), 6, 1) or "").endswith("Action: <tool>list()</tool>")


@given(st.text(max_size=200))
@settings(max_examples=30)
def test_numbers_of_any_text_are_finite_and_bounded(text: str) -> None:
    places, values = ngrams.counted(text)
    assert len(places) == len(values)
    assert all(0 <= place < ngrams.SIZE for place in places.tolist())
    assert np.isfinite(values).all() and (values > 0).all() and float((values**2).sum()) <= 2 + 4 + 1e-4


def test_the_numbers_of_a_text_are_these_on_every_machine() -> None:
    places, values = ngrams.counted("Step 1\nAction: lookup(é)\nAction: lookup(é)")
    assert (len(places), int(places.sum()), places[:3].tolist()) == (92, 849093, [897, 1283, 1405])
    assert values[-1] == pytest.approx(0.5)  # of the two actions one stands further up


@pytest.mark.parametrize(
    ("text", "shares"),
    [
        ("Action: a\nAction: a", [0.5]),
        ("Action: zz\nAction: zz", [0.5]),
        ("Action: a\nAction: b", []),
        ("Thought: <think>\none\nThought: <think>\nother", []),  # parts are held against each other, not lines
        ("Thought: <think>\none\nThought: <think>\none\nThought: <think>\none", [2 / 3]),
        ("Action: a\nObservation: x\nAction: a\nObservation: x", [0.5, 0.5]),
        ("one\none", []),
    ],
)
def test_what_is_said_again_reads_the_same_whatever_it_is(text: str, shares: list[float]) -> None:
    places, values = ngrams.counted(text)
    assert values[places >= ngrams.SIZE - 4].tolist() == pytest.approx(shares)


# ---- options and the file


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"kind": "drift"}, "notices stuck or milestone, not 'drift'"),
        ({"threshold": 1.1}, "threshold = 1.1 is not in [0, 1]"),
        ({"threshold": float("nan")}, "threshold = nan is not in [0, 1]"),
        ({"min_moves": 0}, "min_moves = 0 must be a whole number from 1 to"),
        ({"min_moves": True}, "min_moves = True must be a whole number"),
        ({"kind": "milestone", "learnt": made()}, "was trained to notice 'stuck'"),
    ],
)
def test_a_bad_option_is_refused_in_one_line(options: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError) as refused:
        Classified(**options)
    assert told in str(refused.value) and "\n" not in str(refused.value)


def test_its_file_is_read_once_and_has_to_be_named(tmp_path: Path, errand: Errand) -> None:
    path = tmp_path / "stuck.json"
    path.write_text(json.dumps(made().to_json()))
    monitor = find("classified")(file=str(path)).with_file(monitor_file)
    assert monitor.learnt == made() and monitor.fitted_on == ("a task",)
    assert monitor.with_file(pytest.fail) is monitor
    with pytest.raises(UserError, match="needs file ="):
        Classified().with_file(monitor_file)
    with pytest.raises(UserError, match="its file was not read"):
        Classified(file=str(path)).watch(history_of(errand, steps_of(worked(errand))))


def test_a_file_comes_back_as_it_was_written_and_its_digest_names_what_is_in_it() -> None:
    known = made()
    assert parse(json.dumps(known.to_json()).encode(), "f") == known
    assert known.settings() == known.digest == made().digest != made(bias=0.0).digest
    assert "weights" not in repr(Classified(learnt=known)) and len(repr(known)) < 80


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"version": 2}, "has format version 2, and this program knows 1"),
        ({"version": 0}, "version = 0"),
        ({"format": "orchestrator-router"}, "has no format 'orchestrator-monitor'"),
        ({"kind": "drift"}, "notices stuck or milestone"),
        ({"window": 0}, "window = 0"),
        ({"min_moves": 1.0}, "min_moves = 1.0"),
        ({"threshold": 2}, "threshold = 2"),
        ({"bias": True}, "bias = True"),
        ({"reads": "ngrams-9"}, "reads 'ngrams-9'"),
        ({"weights": "!"}, "are no base64"),
        ({"weights": "AAAA"}, "are 3 bytes long"),
        ({"weights": b64encode((PLACES + np.inf).tobytes()).decode()}, "not all finite"),
        ({"data": {}}, "which tasks it was fitted on"),
        ({"more": 1}, "keys that mean nothing here: more"),
        ({"measured": None}, "measured = None"),
        ({"made": "del"}, "it has no made"),
    ],
)
def test_what_is_no_monitor_is_refused_in_one_line(changes: dict[str, Any], told: str) -> None:
    document = {**made().to_json(), **changes}
    if changes == {"made": "del"}:
        del document["made"]
    with pytest.raises(BadConfig) as refused:
        parse(json.dumps(document).encode(), "stuck.json")
    assert told in str(refused.value) and "stuck.json" in str(refused.value) and "\n" not in str(refused.value)
    assert len(str(refused.value)) < 250


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"bias": NaN}', "NaN is no number"),
        (b" " * ((16 << 20) + 1), "longer than 16 MiB"),
    ],
)
def test_a_corrupt_or_huge_file_is_refused_in_one_line(tmp_path: Path, data: bytes, told: str) -> None:
    path = tmp_path / "m.json"
    path.write_bytes(data)
    with pytest.raises(BadConfig) as refused:
        monitor_file(str(path))
    assert told in str(refused.value) and "\n" not in str(refused.value)


@given(st.binary(max_size=200))
@settings(max_examples=30)
def test_no_bytes_are_read_as_a_monitor_by_chance(data: bytes) -> None:
    with pytest.raises(BadConfig):
        parse(data, "m.json")


KEYS = sorted(made().to_json().keys() - {"measured", "made", "package"})
JSON = st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.lists(st.integers(), max_size=2)


@given(st.sampled_from(KEYS), JSON)
@settings(max_examples=40)
def test_a_file_with_another_value_in_it_is_refused_or_means_that_value(key: str, value: Any) -> None:
    document = {**made().to_json(), key: value}
    try:
        known = parse(json.dumps(document).encode(), "m.json")
    except BadConfig as refused:
        assert "m.json" in str(refused) and "\n" not in str(refused)
    else:
        assert known.to_json() == document
