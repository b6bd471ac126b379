"""What is answered is held against what was thought, as numbers, where there is something to compare."""

from __future__ import annotations

import pytest
from watched import history, replay, steps_of

from orchestrator.monitors import ThinkAnswerMismatch
from orchestrator.types import StepKind, Stop

CASES = {
    "other box": (r"<think>so \boxed{41}</think>\boxed{42}", r"thought '41', answered '42'"),
    "same box": (r"<think>so \boxed{42}</think>\boxed{42}", None),
    "same number": (r"<think>so \boxed{\frac{1}{2}}</think>The answer is 0.5.", None),
    "thousands": ("<think>3*400 = 1200</think>Answer: 1,200 pens.", None),
    "last equation": ("<think>3*4 = 12, so 12-2 = 10 of 99</think>Answer: 12", "thought '10', answered '12'"),
    "equation that goes on": ("<think>3*4 = 12 = 10 + 2</think>Answer: 12", None),
    "last number": ("<think>it is 7, no, 8</think>#### 7", "thought '8', answered '7'"),
    "last answer": (
        "<think>The answer is 5. No, the answer is 6.</think>The answer is 5.",
        "thought '6', answered '5'",
    ),
    "any number outside": ("<think>3*14 = 42</think>3 pens at 14 cost 42 in all, 2 less than 44.", None),
    "none of the numbers outside": ("<think>3*14 = 42</think>3 pens cost 43.", "thought '42', answered '43'"),
    "texts": (r"<think>\boxed{Paris}</think>\boxed{Rome}", "thought 'Paris', answered 'Rome'"),
    "same text": (r"<think>\boxed{ paris}</think>\boxed{Paris}", None),
    "same text but for spaces": (r"<think>\boxed{x = a+b}</think>\boxed{x=a + b}", None),
    "number and text": (r"<think>\boxed{7}</think>\boxed{Paris}", None),
    "nothing inside": ("<think>hm</think>Answer: 5", None),
    "nothing outside": ("<think>3*4 = 12</think>Done.", None),
    "no thought": ("3*4 = 12. Answer: 13", None),
    "open box": (r"<think>\boxed{4</think>Answer: 5", "thought '4', answered '5'"),
    "two thoughts": ("<think>3*4 = 12</think>x<think>1+1 = 2</think>Answer: 2", None),
    "empty": ("", None),
    "braces": ("<think>" + r"\boxed{" * 3000 + "</think>" + "{" * 5000, None),
}


@pytest.mark.parametrize("name", CASES)
def test_a_run_that_ends_is_compared(name: str) -> None:
    text, reason = CASES[name]
    events = replay(ThinkAnswerMismatch(), history(steps_of((StepKind.THOUGHT, text), stop=Stop.END)))
    assert [event.reason for event in events] == ([reason] if reason else [])


def test_it_waits_for_an_answer() -> None:
    parts = ["3*4 = 12</think>", "So we have", r"\boxed{13}", "as I said"]
    run = history(steps_of(*((StepKind.THOUGHT, f"{part}\n\n") for part in parts)))
    assert [event.step for event in replay(ThinkAnswerMismatch(), run)] == [2]


def test_an_engine_without_tags_has_thought_what_stands_before_its_answer() -> None:
    run = history(steps_of((StepKind.THOUGHT, "3*4 = 12\n\n"), (StepKind.ANSWER, r"The answer is \boxed{13}")))
    (event,) = replay(ThinkAnswerMismatch(), run)
    assert event.reason == "thought '12', answered '13'"


def test_thought_and_answer_may_be_steps_of_their_own() -> None:
    run = history(steps_of((StepKind.THOUGHT, "<think>3*4 = 12\n\n"), (StepKind.ANSWER, "</think>Answer: 13")))
    (event,) = replay(ThinkAnswerMismatch(), run)
    assert event[:2] == ("think-answer-mismatch", "thought '12', answered '13'") and event.step == 1
