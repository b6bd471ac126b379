"""Labels for exits: what a watched run says about where it could have stopped."""

from __future__ import annotations

import json
from math import exp, inf

import pytest

from orchestrator.errors import UserError
from orchestrator.learning.exits import (
    Look,
    Thought,
    exit_options,
    name_of,
    thought_in,
    thought_of,
    thought_tokens,
    worst,
)
from orchestrator.memory.base import CallIntent, CallResult, CallRow, EventRow, OutcomeRow, RunRow, StepRow, StoredRun
from orchestrator.monitors import Convergence, Saturation, TrialAnswer
from orchestrator.types import Event, Stop

STEPS = [(True, "2+3\n\n", 10), (True, "5\n\n", 6), (True, "Wait.\n5\n\n", 8), (True, "5</think>5", 4)]


def look(step: int, value: float, answer: str | None) -> Event:
    return Event("trial-answer", "", value=value, answer=answer, step=step)


def test_looks_are_labelled_by_the_answer_given_there() -> None:
    thought = thought_of(
        "t",
        STEPS,
        [look(0, 0.3, "2"), look(1, 0.9, "5"), look(2, 0.0, None)],
        TrialAnswer(),
        is_right=lambda answer: answer == "5",
        ended_right=True,
        spent={0: 3, 1: 3},
    )
    assert thought == Thought(
        "t",
        (
            Look(0.3, False, 10, 3, True, 0),
            Look(0.9, True, 16, 3, True, 1),
            Look(0.0, False, 24, 0, False, 2),
        ),
        28,
        True,
    )
    assert [each.step for each in thought.at(lambda each: each.step > 0).looks] == [1, 2]


def test_scores_are_those_that_the_exit_holds_its_threshold_against() -> None:
    looks = [look(step, value, "5") for step, value in enumerate((0.9, 0.7, 0.8))]
    thought = thought_of("t", STEPS, looks, Saturation(), is_right=lambda _: True, ended_right=True)
    assert [each.score for each in thought.looks] == [0.0, 0.7, 0.7]


@pytest.mark.parametrize(
    ("steps", "totals"),
    [
        ([], []),
        ([(True, "a", 3), (True, "b</think>", 4), (True, "the answer", 9)], [3, 7, 7]),
        ([(True, "a</think>", 3), (False, "call", 5), (False, "seen", 0), (True, "b", 2)], [3, 3, 3, 5]),
        ([(True, "a</think>", 3), (True, "so", 5), (True, "<think>no", 2), (True, "b", 1)], [3, 3, 5, 6]),
    ],
)
def test_only_tokens_of_open_thoughts_count(steps: list[tuple[bool, str, int]], totals: list[int]) -> None:
    assert thought_tokens(steps) == totals


# ---- one point a task


def thought(task: str, *looks: tuple[float, bool], is_right: bool = True) -> Thought:
    return Thought(task, tuple(Look(score, right, 10) for score, right in looks), 100, is_right)


def test_a_task_is_one_point_by_its_highest_wrong_score() -> None:
    thoughts = [
        thought("a", (0.2, False), (0.6, False), (0.9, True)),
        thought("b", (0.9, True)),
        thought("c"),
        thought("d", (0.8, False), is_right=False),
        thought("a", (0.7, False)),  # the same task again
    ]
    assert worst(thoughts) == (0.7, -inf, -inf, 0.8)
    assert worst(thoughts, "harmful") == (0.7, -inf, -inf, -inf)


def test_a_look_without_an_answer_can_end_nothing_and_is_no_mistake() -> None:
    silent = Thought("a", (Look(0.9, False, 10, 0, False),), 100, True)
    assert worst([silent]) == (-inf,)


def test_without_any_thought_there_is_nothing_to_learn() -> None:
    with pytest.raises(UserError, match="no thought was watched"):
        worst([])


@pytest.mark.parametrize("exit", [TrialAnswer(when="steps"), Saturation(num=3), Convergence(engine="judge")])
def test_the_options_of_an_exit_make_it_again_but_for_its_threshold(
    exit: TrialAnswer | Saturation | Convergence,
) -> None:
    options = json.loads(json.dumps(exit_options(exit)))
    assert type(exit)(**options) == exit
    assert not {"threshold", "acts"} & options.keys()


def test_an_exit_is_named_as_its_events_are() -> None:
    assert [name_of(each) for each in (TrialAnswer(), Saturation(), Convergence())] == [
        "trial-answer",
        "saturation",
        "convergence",
    ]


# ---- from the journal


def stored(**changed: object) -> StoredRun:
    """A run of three steps with a look behind the second and the third, whose second step was written twice."""
    task = {"messages": [["user", "2+3"]], "answer": "5"}
    steps = [
        StepRow(1, index, 0, "thought", "small", text, "delimiter", tokens, 0.1)
        for index, text, tokens in ((0, "2+3\n\n", 10), (1, "6\n\n", 6), (1, "5\n\n", 6), (2, "Wait.\n5\n\n", 8))
    ]
    events = [
        EventRow(1, step, kind, json.dumps({"reason": "r", "value": value, "answer": answer}), 0.0)
        for step, kind, value, answer in (
            (1, "trial-answer", 0.2, "6"),
            (1, "trial-answer", 0.9, "5"),
            (2, "stalled", None, None),
            (2, "trial-answer", exp(-0.1), "5.0"),
        )
    ]
    calls = [
        CallRow(CallIntent(1, seq, step, 0, purpose, "small", 0, b"", 5, 9, 0.0), _result(seq, tokens))
        for seq, step, purpose, tokens in ((0, 1, "draft", 6), (1, 1, "probe", 2), (2, 2, "probe", 3))
    ]
    run = RunRow("r1", None, "", 0, json.dumps(task), "{}", "{}", 0.0)
    outcome = OutcomeRow(1, "completed", "5", "", "", 1.0, "[]", 1.0)
    return StoredRun(1, run, calls, [], [], steps, events, outcome)._replace(**changed)


def _result(seq: int, tokens: int) -> CallResult:
    return CallResult(1, seq, "done", "", b"", Stop.END, "", 5, None, tokens, 0, 0.1, None, "", None)


def test_a_stored_run_gives_the_looks_at_the_steps_that_stand() -> None:
    found = thought_in(stored(), TrialAnswer())
    assert found.looks == (Look(0.9, True, 16, 2, True, 1), Look(pytest.approx(exp(-0.1)), True, 24, 3, True, 2))
    assert (found.tokens, found.is_right) == (24, True)


def test_what_is_asked_for_the_labels_alone_is_no_cost_of_the_exit() -> None:
    told = json.dumps({"reason": "r", "value": 1.0, "answer": "5"})
    events = [EventRow(1, step, "convergence", told, 0.0) for step in (1, 2)]
    for exit, spent in ((Convergence(), [0, 0]), (Convergence(answers="trial"), [2, 3])):
        assert [look.spent for look in thought_in(stored(events=events), exit).looks] == spent


def test_a_run_that_cannot_be_judged_is_refused_by_name() -> None:
    run = stored().run._replace(task=json.dumps({"messages": [["user", "2+3"]]}))
    with pytest.raises(UserError, match="run r1: its task has no answer"):
        thought_in(stored(run=run), TrialAnswer())
    with pytest.raises(UserError, match="run r1 has not ended"):
        thought_in(stored(outcome=None), TrialAnswer())
