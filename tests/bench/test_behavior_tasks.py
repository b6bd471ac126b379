"""Behavior tasks: the behavior shown decides the answer."""

import re
from itertools import islice
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.bench.workloads import behavior_tasks as tasks
from orchestrator.bench.workloads.verify import evaluate


def meant(task: tasks.BehaviorTask) -> int:
    """The answer, from the prompt and the needed behaviors alone."""
    text = "".join(re.match(r"Compute (.*?)\.( Answer|$)", task.prompt)[1].split())
    style = re.search(r"Answer in style (\w)", task.prompt)
    for behavior in task.needed:
        sign = re.fullmatch(r"a(.)b means (.*)", behavior.instruction)
        if sign:
            formula = sign[2]
            text = re.sub(
                rf"(\d+){re.escape(sign[1])}(\d+)",
                lambda found, formula=formula: (
                    "(" + "".join({"a": found[1], "b": found[2]}.get(c, c) for c in formula) + ")"
                ),
                text,
            )
    value = evaluate(text)
    if style:
        ending = next(b.instruction for b in task.needed if b.instruction.startswith("style"))
        value = evaluate(ending.rpartition(" ")[2].replace("r", f"({value})"))
    return int(value)


@given(st.integers(0, 10**6), st.integers(0, 20))
@settings(max_examples=150, deadline=None)
def test_the_answer_is_what_the_behaviors_mean(seed: int, num_distractors: int) -> None:
    task = tasks.draw_task(Random(seed), num_distractors)
    assert int(task.answer) == meant(task)
    assert set(task.needed) <= set(task.behaviors)
    assert len(task.behaviors) == num_distractors + len(task.needed)
    assert len({behavior.name for behavior in task.behaviors}) == len(task.behaviors)


@given(st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_a_hidden_behavior_makes_the_answer_unknown(seed: int) -> None:
    task = tasks.draw_task(Random(seed), 3, hide=True)
    is_about_length = all(b.instruction in (tasks.CHECK_ONCE, tasks.NEVER_CHECK) for b in task.needed)
    assert is_about_length or task.answer == tasks.UNKNOWN
    assert not set(task.needed) & set(task.behaviors)


def test_a_step_names_the_behavior_it_uses() -> None:
    for task in islice(tasks.behavior_tasks("train", 0), 100):
        named = {name for step in task.steps for name in re.findall(r"behavior_\w+", step.text)}
        assert named == {behavior.name for behavior in task.needed if "check" not in behavior.instruction}


def test_the_handbook_is_one_line_per_behavior() -> None:
    assert tasks.handbook_text(()) == ""
    shown = (tasks.Behavior("behavior_a", "do x"), tasks.Behavior("behavior_b", "do y"))
    assert tasks.handbook_text(shown) == "Behaviors:\nbehavior_a: do x\nbehavior_b: do y"
