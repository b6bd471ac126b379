"""Convergence: equal answers in a row, thoughts that never agree, and a verifier that may be away."""

from __future__ import annotations

import pytest
from exiting import Answers, history, watch

from orchestrator.doors import Trial
from orchestrator.errors import UserError
from orchestrator.monitors import Convergence
from orchestrator.monitors.convergence import thoughts_in
from orchestrator.types import Mode


def thoughts(*answers: str) -> list[str]:
    """Thoughts of two steps, each stating an answer; the last one is only begun."""
    steps = [text for answer in answers for text in ("Wait, again.\n2+3\n\n", f"So\n{answer}\n\n")]
    return [*steps, "Wait, once more.\n\n"]


def test_a_thought_begins_with_the_first_step_and_with_each_that_begins_anew() -> None:
    steps = history("2+3\n\n", "5\n\n", "Wait, no.\n\n", "But then\n\n", "6\n\n").steps
    assert [[step.index for step in thought] for thought in thoughts_in(steps)] == [[0, 1], [2], [3, 4]]
    assert thoughts_in([]) == []


async def test_three_equal_answers_in_a_row_are_overthinking() -> None:
    ask = Answers([Trial("5 pens")])
    events, kept = await watch(Convergence(), thoughts("4", "5", "5", "5.", "5"), ask)
    assert kept == 9  # when the fourth thought has ended
    assert [(event.kind, event.value, event.answer) for event in events] == [
        ("convergence", 0.0, None),
        ("convergence", 0.0, None),
        ("convergence", 1.0, None),
        ("overthinking", 2.0, "5 pens"),  # what a text states is no forced answer, so it is asked for
    ]
    assert ask.asked == [("small", 1)]
    assert events[-1].concludes and events[-1].threshold == 2
    assert events[-1].reason == "3 thoughts in a row came to '5'; 90 tokens were thought; uncalibrated"


async def test_where_the_writer_has_no_answer_yet_the_thought_goes_on() -> None:
    events, kept = await watch(Convergence(), thoughts(*"5555"), Answers([Trial(None)], [Trial("5")]))
    assert kept == 9
    assert [(event.kind, event.value) for event in events[2:]] == [("convergence", 2.0), ("overthinking", 3.0)]


async def test_what_a_calibration_judges_is_what_the_run_would_have_answered() -> None:
    """The texts state 5; their writer, made to answer, says something else each time."""
    looking, acting = Answers([Trial("6")], [Trial("7")], [Trial("8")]), Answers([Trial("7")])
    looks, _ = await watch(Convergence(threshold=1, acts=False), thoughts("5", "5", "5"), looking)
    events, _ = await watch(Convergence(threshold=1), thoughts("5", "5", "5"), acting)
    assert [(look.value, look.answer) for look in looks] == [(0, "6"), (1, "7"), (2, "8")]
    assert events[-1].kind == "overthinking"
    assert (events[-1].value, events[-1].answer, events[-1].step) == (1, "7", looks[1].step)


async def test_another_answer_resets_the_count() -> None:
    events, kept = await watch(Convergence(), thoughts("5", "5", "6", "5", "5"), Answers())
    assert kept == 11
    assert [event.value for event in events] == [0, 1, 0, 0, 1]


async def test_a_thought_without_an_answer_is_passed_over() -> None:
    steps = thoughts("5", "5+", "5", "5")
    events, kept = await watch(Convergence(), steps, Answers([Trial("5")]))
    assert [event.value for event in events] == [0, 1, 2]
    assert kept == len(steps)


async def test_a_verifier_is_asked_only_about_answers_that_are_written_differently() -> None:
    ask = Answers([Trial("7/10")], verdicts={"1/2": "yes", "0.7": "no", "7/10": "yes"})
    exit = Convergence(engine="judge")
    events, _ = await watch(exit, thoughts("0.5", "1/2", "0.7", "0.7", "7/10"), ask)
    assert [event.value for event in events] == [0, 1, 0, 1, 2]
    assert events[-1].kind == "overthinking"
    assert len(ask.questions) == 3
    assert "First: 0.5\nSecond: 1/2\n" in ask.questions[0]


async def test_a_verifier_that_fails_cuts_nothing_and_is_told_of() -> None:
    events, kept = await watch(Convergence(engine="judge"), thoughts("1", "2", "3", "4"), Answers())
    assert kept == 9
    assert [event.value for event in events] == [0, 0, 0, 0]
    assert events[1].reason.startswith("a thought came to '2'; no verdict whether that is new: ")
    assert "the verifier is away" in events[1].reason


async def test_a_forced_answer_can_stand_for_what_a_thought_says() -> None:
    ask = Answers(*[[Trial("5")]] * 3)
    events, kept = await watch(Convergence(answers="trial"), thoughts("a", "b", "c"), ask)
    assert kept == 7
    assert [event.value for event in events] == [0, 1, 2]


@pytest.mark.parametrize(
    ("exit", "is_late"),
    [(Convergence(), False), (Convergence(engine="judge"), True), (Convergence(answers="trial"), True)],
)
def test_whoever_is_asked_does_not_keep_the_next_step_waiting(exit: Convergence, is_late: bool) -> None:
    assert exit.is_late == is_late


async def test_a_part_of_the_budget_without_agreement_is_underthinking() -> None:
    mode = Mode(name="think(100)", think=True, budget=100)
    events, kept = await watch(Convergence(share=0.6), thoughts("4", "5", "6", "7"), Answers(), mode=mode)
    assert kept == 6
    last = events[-1]
    assert (last.kind, last.concludes, last.value, last.threshold) == ("underthinking", True, 0.6, 0.6)
    assert last.reason == (
        "60% of the thinking budget of 100 tokens is used without 2 equivalences in a row; 60 tokens were thought; "
        "uncalibrated"
    )


async def test_many_thoughts_without_agreement_are_underthinking() -> None:
    events, kept = await watch(Convergence(max_thoughts=3), thoughts("4", "5", "6", "7"), Answers())
    assert kept == 7
    assert (events[-1].kind, events[-1].value) == ("underthinking", 3.0)
    assert events[-1].reason.startswith("3 thoughts are completed without 2 equivalences in a row")


async def test_agreement_comes_before_too_many_thoughts() -> None:
    events, _ = await watch(Convergence(max_thoughts=3), thoughts("5", "5", "5", "5"), Answers([Trial("5")]))
    assert events[-1].kind == "overthinking"


async def test_nothing_is_cut_before_a_first_answer() -> None:
    mode = Mode(name="think(20)", think=True, budget=20)
    exit = Convergence(share=0.1, max_thoughts=1, threshold=0)
    events, kept = await watch(exit, thoughts("2+", "3+", "4+"), Answers(), mode=mode)
    assert (events, kept) == ([], 7)
    assert (await watch(exit, thoughts("2+", "3", "4+"), Answers([Trial("3")])))[1] == 5


async def test_each_trigger_fires_once() -> None:
    steps = thoughts("4", "5", "6", "7")
    told, _ = await watch(Convergence(max_thoughts=3), steps, Answers())
    ended = history(*steps)
    ended.events = told
    assert told[-1].concludes
    later = await Convergence(max_thoughts=3).look(ended, Answers())
    assert later is None or later.kind == "convergence"


async def test_an_exit_that_does_not_act_counts_and_cuts_nothing() -> None:
    exit = Convergence(acts=False, max_thoughts=1)
    events, kept = await watch(exit, thoughts("5", "5", "5", "5"), Answers(*[[Trial("5")]] * 4))
    assert kept == 9
    assert [(event.kind, event.value) for event in events] == [("convergence", float(each)) for each in range(4)]
    assert exit.scores(events) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "options", [{"threshold": -1}, {"max_thoughts": 0}, {"share": 0}, {"answers": "guess"}, {"threshold": float("nan")}]
)
def test_options_out_of_range_are_named(options: dict[str, object]) -> None:
    ((name, value),) = options.items()
    with pytest.raises(UserError, match=f"convergence: {name} = {value!r}"):
        Convergence(**options)
