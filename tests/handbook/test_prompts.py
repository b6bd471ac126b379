"""What is asked of the engine that learns, and what the one that uses behaviors is shown."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.behaviors import Behavior
from orchestrator.handbook.prompts import extraction, fenced, reflection, repair, with_behaviors
from orchestrator.types import Message

ONE = Behavior(id=1, name="behavior_check", instruction="Check the sum.")
TWO = Behavior(id=2, name="behavior_guess", instruction="Guess.", polarity="do_not")
TASK = (Message("user", "1 + 1?"),)


def test_a_prompt_holds_exactly_the_behaviors_that_were_recalled_in_their_order() -> None:
    system, user = with_behaviors(TASK, [ONE, TWO], head="Behaviors:", mark="- ")
    assert user == TASK[0] and system.role == "system"
    assert re.findall(r"^- (.*)$", system.content, re.MULTILINE) == [
        "behavior_check: Check the sum.",
        "behavior_guess: avoid: Guess.",
    ]
    assert system.content.startswith("Behaviors:\n") and with_behaviors(TASK, [], head="", mark="") == TASK


def test_the_system_message_of_a_task_stands_behind_the_behaviors() -> None:
    system, *rest = with_behaviors((Message("system", "Be brief."), *TASK), [ONE], head="", mark="")
    assert system.content.endswith("\n\nBe brief.") and system.content.index("behavior_check") and rest == [*TASK]


def test_the_outcome_is_told_as_far_as_it_is_known() -> None:
    for is_right, said in ((True, "is right"), (False, "is wrong"), (None, "Nobody has checked")):
        (message,) = reflection("q", "t", is_right=is_right)
        assert said in message.content
    first, *rest = extraction("q", "t", "It went well.", is_right=True)
    assert first.content == reflection("q", "t", is_right=True)[0].content
    assert [each.role for each in rest] == ["assistant", "user"] and "JSON" in rest[1].content
    assert [each.role for each in repair((first, *rest), "oops", "no JSON")][-2:] == ["assistant", "user"]


@given(st.text(alphabet="~a\n", max_size=40))
def test_no_trace_can_close_the_marks_around_it(trace: str) -> None:
    mark, *inside = fenced(trace).split("\n")
    assert set(mark) == {"~"} and inside[-1] == mark
    assert "\n".join(inside[:-1]) == trace and mark not in trace
