"""Exits at a risk: thresholds from a file, refusals, and what is said without one."""

from __future__ import annotations

import json
from dataclasses import replace
from math import inf, log
from random import Random

import pytest
from exiting import Answers, history, watch
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.conformal import above
from orchestrator.doors import Trial
from orchestrator.errors import BadConfig, UserError
from orchestrator.monitors import Overthinking, Saturation, TrialAnswer
from orchestrator.monitors.exit_file import ExitFile, parse, threshold_of

STEPS = ("2+3\n\n", "5\n\n", "Wait.\n5\n\n")


def file(*worst: float, **changed: object) -> ExitFile:
    """A calibration on as many tasks as there are scores."""
    known = ExitFile(
        signal="trial-answer",
        options={"when": "candidates", "every": 1, "max_looks": 100},
        mistake="wrong",
        worst=worst,
        pair={"writers": []},
        under={"delimiter": "\n\n", "engines": {}, "scorers": {}, "router": "small", "mode": None, "budget": {}},
        measured={},
        workload="mine",
        split="calibration",
        fitted_on=tuple(f"task {place}" for place in range(len(worst))),
        made="2026-11-27",
        package="0.1.0",
    )
    return replace(known, **changed)


def with_file(known: ExitFile, **options: object) -> Overthinking:
    return Overthinking(**{"file": "exits.json", "signal": known.signal, **options}).with_file(lambda *_: known)


def sure(confidence: float) -> list[Trial]:
    return [Trial("5", log(confidence))]


async def test_without_a_file_the_published_threshold_runs_and_the_event_says_so() -> None:
    exit = Overthinking().with_file(lambda path, _: pytest.fail(path))
    assert exit.exit == TrialAnswer()
    (event,), kept = await watch(exit, STEPS, Answers(sure(0.96)))
    assert kept == 2
    assert event.reason == "it would answer '5' with confidence 0.96; 20 tokens were thought; uncalibrated"


async def test_with_a_file_the_threshold_is_that_of_the_risk() -> None:
    known = file(*[-inf] * 10, *[place / 100 for place in range(50, 59)])
    assert with_file(known, risk=0.05).exit.threshold == above(0.58)  # the 19th of 19
    assert with_file(known, risk=0.1).exit.threshold == above(0.57)  # the 18th
    assert with_file(known, risk=0.5).exit.threshold == 0.0  # the 10th was never wrong
    events, kept = await watch(with_file(known), STEPS, Answers(sure(0.5), sure(0.59)))
    assert kept == 3
    assert [event.kind for event in events] == ["trial-answer", "overthinking"]
    assert events[1].reason == "it would answer '5' with confidence 0.59; 30 tokens were thought; risk 0.05 (wrong)"


async def test_where_wrong_answers_are_as_sure_as_can_be_nothing_is_cut() -> None:
    exit = with_file(file(*[1.0] * 19))
    assert (await watch(exit, STEPS, Answers([Trial("5", 0.0)], [Trial("5", 0.0)])))[1] == 3


@pytest.mark.parametrize(("confidence", "needed"), [(None, 19), (0.95, 59)])
def test_too_few_tasks_for_the_risk_are_refused_with_the_number_that_is_needed(
    confidence: float | None, needed: int
) -> None:
    with pytest.raises(BadConfig, match=rf"exits.json: .* needs at least {needed} tasks; there are {needed - 1}$"):
        with_file(file(*[0.5] * (needed - 1)), confidence=confidence)
    assert with_file(file(*[0.5] * needed), confidence=confidence).exit.threshold == above(0.5)


def test_the_signal_runs_under_the_options_it_was_calibrated_with() -> None:
    options = {"when": "cues", "every": 2, "max_looks": 7, "num": 3, "patience": 4}
    exit = with_file(file(*[0.5] * 19, signal="saturation", options=options))
    assert exit.exit == Saturation(**options, threshold=above(0.5))
    assert exit.needs == Saturation.needs
    late = {"answers": "trial", "engine": "", "share": 0.9, "max_thoughts": 20}
    assert with_file(file(*[1.0] * 19, signal="convergence", options=late)).is_late
    assert not exit.is_late


def test_a_file_of_another_signal_is_refused() -> None:
    with pytest.raises(BadConfig, match=r"exits.json was made with signal = 'trial-answer', not 'saturation'"):
        with_file(file(*[0.5] * 19), signal="saturation")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"patience": 1}, r"\.patience: no such key; known: when, every, max_looks"),
        ({"acts": False}, r"\.acts: no such key"),
        ({"threshold": 0.1}, r"\.threshold: no such key"),
        ({"every": 0}, ": trial-answer: every = 0"),
        ({"every": 1.5}, r"\.every must be .*integer.*, not 1\.5"),
        ({"every": "x"}, r"\.every must be .*integer.*, not 'x'"),
        ({"max_looks": True}, r"\.max_looks must be .*integer.*, not True"),
        ({"when": ["steps"]}, r"\.when must be .*'candidates'"),
    ],
)
def test_options_in_a_file_are_checked_as_those_of_a_table_are(options: dict[str, object], told: str) -> None:
    with pytest.raises(BadConfig, match=rf"^overthinking: exits\.json: signal\.options{told}"):
        with_file(file(*[0.5] * 19, options=options))


def test_a_file_is_read_once_and_names_pair_and_tasks() -> None:
    known = file(*[0.5] * 19)
    exit = with_file(known)
    assert exit.with_file(lambda path, _: pytest.fail(path)) is exit
    assert (exit.pair, exit.fitted_on) == ({"writers": []}, known.fitted_on)
    assert (Overthinking().pair, Overthinking().fitted_on) == (None, ())
    with pytest.raises(UserError, match="its file was not read"):
        _ = Overthinking(file="exits.json").exit


@pytest.mark.parametrize(
    "options", [{"risk": 0}, {"risk": 1}, {"risk": float("nan")}, {"confidence": 1}, {"signal": "mood"}]
)
def test_options_out_of_range_are_named(options: dict[str, object]) -> None:
    ((name, value),) = options.items()
    with pytest.raises(UserError, match=f"overthinking: {name} = {value!r}"):
        Overthinking(**options)


# ---- what the threshold promises


def looks(random: Random) -> list[tuple[float, bool]]:
    """A hard or easy task's looks: scores that lie more often where it is hard."""
    hardness = random.random()
    return [(random.random() ** (1 - hardness), random.random() > hardness / 2) for _ in range(random.randint(1, 8))]


def ends_wrongly(task: list[tuple[float, bool]], threshold: float) -> bool:
    return next((not is_right for score, is_right in task if score >= threshold), False)


def test_whole_runs_end_wrongly_no_more_often_than_the_risk_however_often_they_are_looked_at() -> None:
    """Over 1,000 draws of 39 tasks and a next one: 10% asked for, three standard errors are 2.85 points."""
    random = Random(5)
    wrong = 0
    for _ in range(1000):
        worst = [max([score for score, right in looks(random) if not right], default=-inf) for _ in range(39)]
        wrong += ends_wrongly(looks(random), threshold_of(worst, 0.1))
    assert wrong / 1000 <= 0.1 + 0.0285


@settings(max_examples=30)
@given(st.lists(st.floats(0, 1), min_size=40, max_size=60), st.floats(0.03, 0.9), st.floats(0.03, 0.9))
def test_a_smaller_risk_never_cuts_more(worst: list[float], one: float, other: float) -> None:
    strict, loose = sorted((one, other))
    assert threshold_of(worst, strict) >= threshold_of(worst, loose) >= 0


# ---- the file


def test_a_file_comes_back_as_it_was_written() -> None:
    known = file(-inf, 0.25, 1.0, measured={"risks": [{"risk": 0.05}]}, mistake="harmful")
    assert parse(json.dumps(known.to_json()).encode(), "x.json") == known
    assert known.digest != file(-inf, 0.25, 0.9).digest
    assert known.settings() == known.digest
    assert repr(known) == f"<exits by trial-answer {known.digest}>"


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"worst": [0.5, "x"]}, "worst = "),
        ({"worst": [True]}, "worst = "),
        ({"worst": {}}, "worst = "),
        ({"mistake": "late"}, "mistake = 'late'"),
        ({"signal": {"name": 3, "options": {}}}, r"signal.name = 3"),
        ({"signal": {"name": "saturation"}}, "signal has keys too many or too few: options"),
        ({"tasks": {"workload": "w", "split": "s", "fingerprints": [1]}}, r"tasks.fingerprints = \[1\]"),
        (
            {"tasks": {"workload": "w", "split": "s", "fingerprints": []}},
            "worst has 1 scores, and tasks 0 fingerprints",
        ),
        ({"under": {}}, "under has keys too many or too few: budget, delimiter, engines, mode, router, scorers"),
        ({"under": "mid"}, "under has keys too many or too few"),
        ({"more": 1}, "it has keys too many or too few: more"),
        ({"format": "other"}, "it has no format"),
    ],
)
def test_a_document_that_is_no_such_file_is_refused_by_what_is_wrong(changed: dict[str, object], told: str) -> None:
    document = {**file(0.5).to_json(), **changed}
    with pytest.raises(BadConfig, match=rf"x.json is no calibration of exits: {told}"):
        parse(json.dumps(document).encode(), "x.json")


@pytest.mark.parametrize("data", [b"", b"\xff", b'{"worst": [NaN]}', b"[" * 100_000])
def test_bytes_that_are_no_document_are_refused(data: bytes) -> None:
    with pytest.raises(BadConfig, match=r"x.json is no calibration of exits"):
        parse(data, "x.json")


async def test_a_look_is_all_there_is_where_the_thought_has_ended() -> None:
    assert await Overthinking().look(history("5\n</think>"), Answers()) is None
