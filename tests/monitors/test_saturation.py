"""Saturation: agreement times confidence, and how long it has to last."""

from __future__ import annotations

from math import log, nan

import pytest
from exiting import Answers, watch

from orchestrator.doors import Trial
from orchestrator.errors import SignalUnavailable, UserError
from orchestrator.monitors import Saturation
from orchestrator.monitors.saturation import saturation

STEPS = tuple(f"step {number}\n\n" for number in range(6))


def five(*answers: str | None, confidence: float = 1.0) -> list[Trial]:
    return [Trial(answer, -0.1, -log(confidence)) for answer in answers]


@pytest.mark.parametrize(
    ("trials", "reading", "answer"),
    [
        (five("5", "5", "5", "5", "5"), 1.0, "5"),
        (five("5", "5", "5", "5", "6", confidence=0.5), 0.4, "5"),
        (five("6", "5", "6", "5"), 0.5, "6"),  # a tie: the one given first
        (five("5.", " 5", "$5$"), 1.0, "5."),
        (five("5", None, None, None), 0.25, "5"),
        (five(None, None), 0.0, None),
        ([Trial("5", entropy=0.0), Trial("5", entropy=log(2))], 0.75, "5"),
        ([Trial("5", entropy=0.0), Trial("5", entropy=0.0), Trial("6")], 2 / 3, "5"),
        ([], 0.0, None),
    ],
)
def test_a_reading_is_agreement_times_confidence(trials: list[Trial], reading: float, answer: str | None) -> None:
    assert saturation(trials) == (pytest.approx(reading), answer)


@pytest.mark.parametrize("entropy", [None, nan])
def test_without_entropies_there_is_no_reading(entropy: float | None) -> None:
    with pytest.raises(SignalUnavailable, match="without the entropies"):
        saturation([Trial("5", -0.1, entropy)])


async def test_agreement_that_rises_and_then_saturates_ends_the_thought() -> None:
    looks = [
        five("1", "2", "3", "4", "5"),
        five("5", "5", "5", "4", "1"),
        five("5", "5", "5", "5", "5"),
        five("5", "5", "5", "5", "5", confidence=0.95),
    ]
    ask = Answers(*looks)
    events, kept = await watch(Saturation(), STEPS, ask)
    assert kept == 4
    assert ask.asked == [("small", 5)] * 4
    assert [event.value for event in events] == pytest.approx([0.2, 0.6, 1.0, 0.95])
    assert [event.kind for event in events] == ["saturation"] * 3 + ["overthinking"]
    last = events[-1]
    assert (last.concludes, last.answer, last.threshold) == (True, "5", 0.9)
    assert last.reason == (
        "it would answer '5', with a saturation of 0.95 or more at 2 looks in a row; "
        "40 tokens were thought; uncalibrated"
    )


async def test_another_answer_and_a_dip_begin_the_count_again() -> None:
    sure, other, dip = five(*"55555"), five(*"66666"), five(*"55556")
    assert (await watch(Saturation(), STEPS, Answers(sure, other, sure, dip, sure, sure)))[1] == 6
    assert (await watch(Saturation(patience=3), STEPS, Answers(sure, sure, dip, sure, sure, sure)))[1] == 6
    assert (await watch(Saturation(patience=1), STEPS, Answers(sure)))[1] == 1


async def test_without_an_answer_nothing_is_cut_however_low_the_threshold() -> None:
    none = five(None, None)
    events, kept = await watch(Saturation(threshold=0), STEPS, Answers(*[none] * 6))
    assert kept == 6
    assert all(event.answer is None and not event.concludes for event in events)


async def test_an_exit_that_does_not_act_has_the_scores_that_one_which_acts_would_have_stopped_by() -> None:
    looks = [five(*"55556"), five(*"55555"), five(*"55555"), five(*"66666"), five(*"66666"), five(*"66666")]
    events, kept = await watch(Saturation(acts=False), STEPS, Answers(*looks))
    assert kept == 6
    assert Saturation().scores(events) == pytest.approx([0.0, 0.8, 1.0, 0.0, 1.0, 1.0])
    assert Saturation(patience=1).scores(events) == pytest.approx([0.8, 1.0, 1.0, 1.0, 1.0, 1.0])
    for threshold, end in ((0.8, 2), (0.9, 3)):
        assert (await watch(Saturation(threshold=threshold), STEPS, Answers(*looks)))[1] == end


@pytest.mark.parametrize("options", [{"patience": 0}, {"num": 0}, {"threshold": -0.1}, {"every": 0}])
def test_options_out_of_range_are_named(options: dict[str, float]) -> None:
    ((name, value),) = options.items()
    with pytest.raises(UserError, match=f"saturation: {name} = {value}"):
        Saturation(**options)
