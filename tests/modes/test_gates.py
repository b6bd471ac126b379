"""Policies that may think: a reading at the threshold is enough, a low one means thinking, and never the reverse."""

from __future__ import annotations

from dataclasses import replace
from math import log, nan
from typing import Any

import pytest
from asked import QUESTION, Table, history, trials

from orchestrator.doors import Choice, Trial
from orchestrator.errors import SignalUnavailable, UserError
from orchestrator.modes import Agreement, FirstTry, SelfClassified
from orchestrator.modes.fixed import AGENTIC, INSTANT, NO_THINK, THINK
from orchestrator.types import Mode, TokenLogprob

BUDGET = Mode(name="think(64)", think=True, budget=64)

# ---- agreement before anything is written


@pytest.mark.parametrize(
    ("answers", "mode", "share"),
    [
        (("42", "42", "42", "42"), NO_THINK, 1.0),
        (("42", "42", "41", "42"), NO_THINK, 0.75),
        (("41", "42", " 42 ", "42"), NO_THINK, 0.75),
        (("A  Cat", "a cat", "A cat", "dog"), NO_THINK, 0.75),
        (("$1,024$", "1024.", "1 024", "1.024"), NO_THINK, 0.75),
        (("42", "42", "41", "40"), THINK, 0.5),
        (("42", "42", "41", "41"), THINK, 0.5),
        (("42", "42", None, None), THINK, 0.5),
        ((None, None, None, None), THINK, 0.0),
        ((), THINK, 0.0),
        (("42", "42", "42"), NO_THINK, 0.75),
    ],
)
async def test_answers_that_agree_need_no_thought(answers: Any, mode: Mode, share: float) -> None:
    ask = Table(trials(*answers))
    chosen = await Agreement().choose(history(), ask)
    assert chosen.mode == mode
    [signal] = chosen.signals
    assert (signal.name, signal.value, signal.unit) == ("agreement", share, "share of 4")
    assert (chosen.threshold, chosen.margin) == (0.75, share - 0.75)
    assert ask.asked == [("small", None, 4)]


async def test_the_reason_tells_what_was_read() -> None:
    async def reason(*answers: str | None) -> str:
        return (await Agreement().choose(history(), Table(trials(*answers)))).reason

    assert await reason("1", "1", "1", "2") == "3 of 4 answers agree: at least 0.75, uncalibrated"
    assert await reason("1", "1", "3", "2") == "2 of 4 answers agree: below 0.75, uncalibrated"
    assert await reason(None) == "no answer came: below 0.75, uncalibrated"


@pytest.mark.parametrize(("logprob", "mode"), [(log(0.95), NO_THINK), (0.0, NO_THINK), (log(0.89), THINK)])
async def test_answers_that_agree_may_have_to_be_sure_as_well(logprob: float, mode: Mode) -> None:
    chosen = await Agreement(confidence=0.9).choose(history(), Table(trials("1", "1", "1", "2", logprob=logprob)))
    assert chosen.mode == mode
    assert [signal.name for signal in chosen.signals] == ["agreement", "confidence"]
    assert chosen.threshold == 0.9
    assert chosen.signals[1].value == pytest.approx(0.9 + (chosen.margin or 0.0))


async def test_only_the_trials_of_that_answer_say_how_sure_it_is() -> None:
    given = [Trial("1", log(0.8)), Trial("1", log(0.6)), Trial("1", None), Trial("2", log(0.1))]
    chosen = await Agreement(confidence=0.5).choose(history(), Table(given))
    assert chosen.signals[1].value == pytest.approx(0.7)


async def test_answers_that_differ_are_not_asked_how_sure_they_are() -> None:
    chosen = await Agreement(confidence=0.9).choose(history(), Table(trials("1", "2", "3", "4")))
    assert (chosen.mode, len(chosen.signals), chosen.threshold) == (THINK, 1, 0.75)


@pytest.mark.parametrize("logprob", [None, nan])
async def test_confidence_that_nobody_can_say_comes_through_as_unavailable(logprob: float | None) -> None:
    with pytest.raises(SignalUnavailable):
        await Agreement(confidence=0.9).choose(history(), Table(trials(*"1111", logprob=logprob)))


@pytest.mark.parametrize("policy", [Agreement(), SelfClassified()], ids=["agreement", "self-classified"])
async def test_what_cannot_be_asked_comes_through_for_the_pipeline_s_fallback(policy: Any) -> None:
    with pytest.raises(SignalUnavailable):
        await policy.choose(history(), Table())


@pytest.mark.parametrize(("threshold", "mode"), [(0.0, INSTANT), (1.0, BUDGET), (1.01, BUDGET)])
async def test_the_ends_of_the_threshold_and_other_modes_and_engines(threshold: float, mode: Mode) -> None:
    policy = Agreement(threshold=threshold, engine="large", cheap="instant", then="think(64)", num=2)
    ask = Table(trials("1", "2"))
    assert (await policy.choose(history(), ask)).mode == mode
    assert ask.asked == [("large", None, 2)]


# ---- the engine's own word


@pytest.mark.parametrize(
    ("word", "share", "mode"),
    [
        ("instant", 0.9, INSTANT),
        ("instant", 0.7, INSTANT),
        ("instant", 0.69, THINK),
        ("think", 0.9, THINK),
        ("think", 0.4, THINK),
        ("tools", 0.9, AGENTIC),
        ("tools", 0.5, THINK),
    ],
)
async def test_a_word_that_is_sure_is_followed_and_any_other_means_thinking(
    word: str, share: float, mode: Mode
) -> None:
    ask = Table(choice=Choice(word, share))
    chosen = await SelfClassified(tools=True).choose(history(), ask)
    assert chosen.mode == mode
    [signal] = chosen.signals
    assert (signal.name, signal.value, signal.unit) == ("self-classified", share, f"share of {word}")
    assert (chosen.threshold, chosen.margin) == (0.7, share - 0.7)
    assert chosen.reason == f"{word} {share:.3g}: {'at least' if share >= 0.7 else 'below'} 0.7, uncalibrated"


async def test_tools_are_no_choice_unless_they_are_offered() -> None:
    for tools, words in ((False, ("instant", "think")), (True, ("instant", "think", "tools"))):
        ask = Table(choice=Choice("think", 1.0))
        await SelfClassified(tools=tools, engine="large").choose(history(), ask)
        [(engine, question, given)] = ask.asked
        assert (engine, given) == ("large", words)
        assert ("tools" in question) is tools and all(word in question for word in words)


async def test_a_share_that_is_no_number_is_no_reading() -> None:
    with pytest.raises(SignalUnavailable):
        await SelfClassified().choose(history(), Table(choice=Choice("instant", nan)))


# ---- a first try


async def test_it_begins_without_thinking_and_asks_nobody() -> None:
    for first, mode in (("no_think", NO_THINK), ("instant", INSTANT)):
        ask = Table()
        chosen = await FirstTry(first=first).choose(history(), ask)  # type: ignore[arg-type]
        assert (chosen.mode, chosen.threshold, ask.asked) == (mode, 0.75, [])
        assert chosen.reason == "a first try, behind the gate agreement"


@pytest.mark.parametrize(
    ("answers", "mode", "share"),
    [
        (("42", "42", "42", "41"), NO_THINK, 0.75),
        (("41", "41", "41", "41"), THINK, 0.0),
        (("42", "42", None, None), THINK, 0.5),
        ((), THINK, 0.0),
    ],
)
async def test_an_answer_that_others_agree_with_stands(answers: Any, mode: Mode, share: float) -> None:
    ask = Table(trials(*answers))
    past = history("so\n\n", "it is \\boxed{42}", mode=NO_THINK, writer="large")
    chosen = await FirstTry().reconsider(past, "42", ask)
    assert (chosen.mode, chosen.threshold, chosen.margin) == (mode, 0.75, share - 0.75)
    [signal] = chosen.signals
    assert (signal.name, signal.value) == ("agreement", share)
    assert ask.asked == [("large", 1, 4)], "whoever wrote it is asked, and has not read the step with the answer"
    assert (
        chosen.reason
        == f"agreement {share:.3g} of '42': {'at least' if mode is NO_THINK else 'below'} 0.75, uncalibrated"
    )


@pytest.mark.parametrize(
    ("trial", "mode"),
    [
        (Trial("42", log(0.9)), NO_THINK),
        (Trial("42", log(0.7)), THINK),
        (Trial("41", log(0.99)), THINK),
        (Trial(None), THINK),
    ],
)
async def test_confidence_is_that_of_the_same_answer_given_again(trial: Trial, mode: Mode) -> None:
    ask = Table([trial])
    chosen = await FirstTry(gate="confidence", engine="large").reconsider(history("42", mode=NO_THINK), "42", ask)
    assert chosen.mode == mode
    assert chosen.signals[0].value == pytest.approx(0.75 + (chosen.margin or 0.0))
    assert ask.asked == [("large", 0, 1)]


@pytest.mark.parametrize(
    ("logprobs", "read", "mode"),
    [
        ((log(0.5), 0.0), 0.5**0.5, THINK),
        ((log(0.75), log(0.75)), 0.75, NO_THINK),  # exactly at it
        ((0.0, 0.0), 1.0, NO_THINK),
        ((nan,), None, THINK),
        ((), None, THINK),
        (None, None, THINK),
    ],
)
async def test_how_sure_it_was_is_read_off_what_was_written_and_nobody_is_asked(
    logprobs: tuple[float, ...] | None, read: float | None, mode: Mode
) -> None:
    past, policy, ask = history("42", mode=NO_THINK), FirstTry(gate="written", threshold=0.75 - 1e-12), Table()
    shown = None if logprobs is None else [TokenLogprob(7, "4", logprob) for logprob in logprobs]
    past.steps[-1] = replace(past.steps[-1], logprobs=shown)
    chosen = await policy.reconsider(past, "42", ask)
    assert (chosen.mode, ask.asked, policy.needs.logprobs) == (mode, [], 1)
    assert chosen.signals[0].value == (None if read is None else pytest.approx(read))
    assert FirstTry(gate="written", check=_broken).needs.logprobs == 0


@pytest.mark.parametrize(("score", "mode"), [(0.75, NO_THINK), (0.7, THINK)])
async def test_a_scorer_reads_the_last_step_and_is_needed(score: float, mode: Mode) -> None:
    policy = FirstTry(gate="judge", first="no_think")
    ask = Table(scores={"judge": score})
    chosen = await policy.reconsider(history("first\n\n", "last", mode=NO_THINK), "42", ask)
    assert (chosen.mode, ask.asked, policy.needs.scorers) == (mode, [("judge", "last")], ("judge",))
    assert FirstTry().needs.scorers == ()


@pytest.mark.parametrize(("answer", "mode"), [("42", NO_THINK), ("41", THINK)])
async def test_a_check_of_the_user_s_stands_in_for_the_gate(answer: str, mode: Mode) -> None:
    policy = FirstTry(gate="judge", check=lambda question, answer: question == QUESTION and answer == "42")
    ask = Table()
    chosen = await policy.reconsider(history("x", mode=NO_THINK), answer, ask)
    assert (chosen.mode, ask.asked, policy.needs.scorers) == (mode, [], ())
    assert chosen.signals[0].name == "check"


def _broken(question: str, answer: str) -> bool:
    raise ZeroDivisionError("division by zero")


@pytest.mark.parametrize(
    ("options", "ask", "why"),
    [
        ({}, Table(), "a code fence is open there"),
        ({"gate": "prm"}, Table(), "nobody knows"),
        ({"gate": "confidence"}, Table(trials("42")), "the engine shows no logprobs of its answers"),
        ({"gate": "confidence"}, Table(trials("42", logprob=nan)), "nan is not in [0, 1]"),
        ({"check": _broken}, Table(), "it raised ZeroDivisionError: division by zero"),
    ],
)
async def test_an_answer_without_a_reading_is_thought_about_unless_the_option_accepts_it(
    options: dict[str, Any], ask: Table, why: str
) -> None:
    past = history("x", mode=NO_THINK)
    for then, mode in (("reject", THINK), ("accept", NO_THINK)):
        chosen = await FirstTry(**options, on_unreadable=then).reconsider(past, "42", ask)
        assert (chosen.mode, chosen.threshold, chosen.margin) == (mode, 0.75, None)
        [signal] = chosen.signals
        assert (signal.value, signal.reason) == (None, why)
        assert chosen.reason == f"no reading of {signal.name} ({why}): {then}"


@pytest.mark.parametrize("steps", [("no idea",), ()])
async def test_a_first_try_without_an_answer_is_thought_about_and_nobody_is_asked(steps: tuple[str, ...]) -> None:
    ask = Table()
    chosen = await FirstTry(then="think(64)", on_unreadable="accept").reconsider(
        history(*steps, mode=NO_THINK), None, ask
    )
    assert (chosen.mode, chosen.reason, ask.asked) == (BUDGET, "the first try has no answer", [])


@pytest.mark.parametrize("mode", [THINK, BUDGET, AGENTIC, INSTANT])
@pytest.mark.parametrize("answer", ["42", None])
async def test_a_run_that_is_not_in_its_first_try_stays_in_its_mode_whatever_it_answers(
    mode: Mode, answer: str | None
) -> None:
    ask = Table(trials("1", "2", "3", "4"))
    chosen = await FirstTry().reconsider(history("x", mode=mode), answer, ask)
    assert (chosen.mode, ask.asked) == (mode, [])


@pytest.mark.parametrize("then", ["think", "think(64)", "agentic"])
async def test_a_first_try_is_thought_about_at_most_once(then: str) -> None:
    policy, ask = FirstTry(then=then), Table(trials("1", "2", "3", "4"))
    first = await policy.choose(history(), ask)
    second = await policy.reconsider(history("x", mode=first.mode), "42", ask)
    third = await policy.reconsider(history("x", mode=second.mode), "42", ask)
    assert (first.mode.think, second.mode.name, third.mode) == (False, then, second.mode)


@pytest.mark.parametrize(
    "options", [{"first": "think"}, {"then": "no_think"}, {"then": "instant"}, {"on_unreadable": "stop"}, {"gate": ""}]
)
def test_options_under_which_it_would_think_first_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=f"first-try: {next(iter(options))}"):
        FirstTry(**options)
