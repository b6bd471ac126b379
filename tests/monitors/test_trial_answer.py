"""Trial answers: where they are asked for, and what ends a thought."""

from __future__ import annotations

from math import exp, log, nan

import pytest
from exiting import Answers, history, step, watch

from orchestrator.doors import Trial
from orchestrator.errors import SignalUnavailable, UserError
from orchestrator.monitors import TrialAnswer
from orchestrator.types import Mode, StepKind, Stop

STEPS = ("2+3\n\n", "2+3=5\n5\n\n", "Wait, is it right? Yes.\n5\n\n", "6\n\n")


def sure(confidence: float, answer: str | None = "5") -> list[Trial]:
    return [Trial(answer, log(confidence))]


async def test_a_confident_answer_ends_the_thought_where_it_is_first_stated_before_the_re_check() -> None:
    ask = Answers(sure(0.97))
    events, kept = await watch(TrialAnswer(), STEPS, ask)
    assert kept == 2
    assert ask.asked == [("small", 1)]
    (event,) = events
    assert (event.kind, event.concludes, event.ends_run, event.answer) == ("overthinking", True, False, "5")
    assert (event.value, event.threshold) == (pytest.approx(0.97), 0.95)
    assert event.reason == "it would answer '5' with confidence 0.97; 20 tokens were thought; uncalibrated"


async def test_an_unsure_answer_is_recorded_and_the_thought_goes_on() -> None:
    events, kept = await watch(TrialAnswer(), STEPS, Answers(sure(0.5), sure(0.94), sure(0.99, "6")))
    assert kept == 4
    assert [(event.kind, event.concludes, event.answer) for event in events] == [
        ("trial-answer", False, "5"),
        ("trial-answer", False, "5"),
        ("overthinking", True, "6"),
    ]


async def test_exactly_at_the_threshold_the_thought_ends() -> None:
    logprob = log(0.9)
    for threshold, kept in ((exp(logprob), 2), (exp(logprob) + 1e-9, 4)):
        exit = TrialAnswer(threshold=threshold)
        assert (await watch(exit, STEPS, Answers(*[[Trial("5", logprob)]] * 3)))[1] == kept


async def test_without_an_answer_nothing_is_cut_however_low_the_threshold() -> None:
    events, kept = await watch(TrialAnswer(threshold=0), STEPS, Answers(*[[Trial(None, 0.0)]] * 3))
    assert kept == 4
    assert [(event.kind, event.value, event.answer) for event in events] == [("trial-answer", 0.0, None)] * 3


@pytest.mark.parametrize("trial", [Trial("5"), Trial("5", nan)])
async def test_an_answer_without_a_probability_is_no_signal(trial: Trial) -> None:
    with pytest.raises(SignalUnavailable, match="engine 'small' shows no logprobs"):
        await TrialAnswer().look(history("5\n\n"), Answers([trial]))


@pytest.mark.parametrize(
    ("options", "looked"),
    [
        ({"when": "candidates"}, [1, 2, 3]),
        ({"when": "cues"}, [2]),
        ({"when": "steps"}, [0, 1, 2, 3]),
        ({"when": "steps", "every": 2}, [1, 3]),
        ({"when": "candidates", "every": 2}, [2]),
        ({"when": "candidates", "every": 9}, []),
        ({"when": "steps", "max_looks": 3}, [0, 1, 2]),
    ],
)
async def test_it_looks_where_its_options_say_and_no_oftener(options: dict[str, object], looked: list[int]) -> None:
    ask = Answers(*[sure(0.1)] * len(looked))
    events, _ = await watch(TrialAnswer(**options), STEPS, ask)
    assert [event.step for event in events] == looked


async def test_an_exit_that_does_not_act_sees_every_look_and_cuts_nothing() -> None:
    events, kept = await watch(TrialAnswer(acts=False), STEPS, Answers(*[sure(0.99)] * 3))
    assert kept == 4
    assert [(event.kind, event.concludes) for event in events] == [("trial-answer", False)] * 3


async def test_it_does_not_look_where_no_thought_is_open() -> None:
    ask, exit = Answers(), TrialAnswer(when="steps")
    assert await exit.look(history("5\n</think>\n\n"), ask) is None
    assert await exit.look(history("5\n</think>\n\n", "The answer is 5."), ask) is None
    assert await exit.look(history("5\n\n", mode=Mode(name="no_think", think=False)), ask) is None
    ended = history("5")
    ended.steps = [step(0, "5", stop=Stop.END)]
    assert await exit.look(ended, ask) is None
    acted = history("a\n\n", "call")
    acted.steps[1] = step(1, "call", kind=StepKind.ACTION)
    assert await exit.look(acted, ask) is None


async def test_the_turn_after_an_observation_thinks_anew() -> None:
    acted = history("2+3</think>", "", "5\n\n")
    acted.steps[1] = step(1, "5", kind=StepKind.OBSERVATION)
    event = await TrialAnswer().look(acted, Answers(sure(0.99)))
    assert event is not None and event.concludes


async def test_looks_before_the_window_do_not_count() -> None:
    now = history("5\n\n", "5\n\n", window=1)
    first = await TrialAnswer(acts=False).look(history("5\n\n"), Answers(sure(0.5)))
    assert first is not None
    now.events = [first._replace(step=0)]
    assert await TrialAnswer(max_looks=1).look(now, Answers(sure(0.5))) is not None
    now.events = [first._replace(step=1)]
    assert await TrialAnswer(max_looks=1).look(now, Answers()) is None


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"threshold": 1.02}, "threshold = 1.02 is not in"),
        ({"threshold": nan}, "threshold = nan is not in"),
        ({"when": "never"}, "when = 'never'; known: candidates, cues, steps"),
        ({"every": 0}, "every = 0 must be a whole number, at least 1"),
        ({"max_looks": 0}, "max_looks = 0 must be a whole number, at least 1"),
    ],
)
def test_options_out_of_range_are_named(options: dict[str, object], told: str) -> None:
    with pytest.raises(UserError, match=f"trial-answer: {told}"):
        TrialAnswer(**options)


async def test_a_thought_that_is_opened_again_is_looked_at_again() -> None:
    ask = Answers(sure(0.5), sure(0.97, "6"))
    events, kept = await watch(TrialAnswer(when="steps"), ("5\n\n", "so</think>\n\n", "<think>no, 6\n\n", "7\n\n"), ask)
    assert (kept, [event.answer for event in events]) == (3, ["5", "6"])
