"""Behavior-conditioned fine-tuning data: right runs, their behaviors taken out of the prompt."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from readable import check_chat, type_of

from orchestrator.behaviors import Add
from orchestrator.engines.scripted import Scripted
from orchestrator.exports.choosing import Chosen
from orchestrator.exports.lines import LeftOut
from orchestrator.exports.sft import Sft, line
from orchestrator.handbook.recall import Recall
from orchestrator.memory.handbook import Handbook
from orchestrator.memory.store import Store
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.types import Message, Task

SUM = Task(messages=(Message("system", "Be brief."), Message("user", "Add the digits of 17 and 25.")), answer="42")
CITES = "By behavior_add_digits and behavior_made_up: \\boxed{42}"


@pytest.fixture
def handbook(tmp_path: Path) -> Iterator[Handbook]:
    with Store(tmp_path / "handbook.db") as store:
        made = Handbook(store)
        made.apply([Add("behavior_add_digits", "Add the digits."), Add("behavior_carry_digits", "Carry digits.")])
        yield made


def ran(said: str | list[str], handbook: Handbook | None = None, task: Task = SUM, **options: Any) -> Chosen:
    """Return a run in which the engine says this, without reward."""
    texts = [said] if isinstance(said, str) else said
    with Pipeline({"small": Scripted(texts)}, "small", db=":memory:", handbook=handbook, **options) as pipeline:
        return Chosen(pipeline.journal.run(pipeline.run(task).run_id), None, task, "train")


def test_the_behaviors_are_gone_from_the_prompt_and_the_trace_stays_as_it_is(handbook: Handbook) -> None:
    run = ran(CITES, handbook)
    made = line(run)
    assert made["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Add the digits of 17 and 25."},
        {"role": "assistant", "content": CITES},
    ]
    assert made["behaviors"] == ["behavior_add_digits", "behavior_carry_digits"]
    assert (made["cited"], made["unprovided"]) == (["behavior_add_digits"], ["behavior_made_up"])
    assert made["engines"] == ["small"]
    assert made.items() >= {"schema_version": 1, **run.about}.items() and "tools" not in made
    assert type_of(made) == {"messages"}
    check_chat(made["messages"])
    Sft.model_validate(made)


def test_texts_that_name_what_was_made_up_can_be_left_out(handbook: Handbook) -> None:
    with pytest.raises(LeftOut, match="that they were not shown"):
        line(ran(CITES, handbook), made_up=False)
    assert line(ran(r"By behavior_add_digits: \boxed{42}", handbook), made_up=False)["unprovided"] == []


@pytest.mark.parametrize(
    ("answer", "reward", "why"),
    [
        ("41", None, "wrong"),
        (None, None, "nobody can say"),
        ("42", 0.0, "wrong"),
        ("42", 0.5, "nobody can say"),
        ("41", 1.0, ""),
        ("42.0", None, ""),
    ],
)
def test_only_what_is_known_to_be_right_is_learnt_from_and_a_reward_says_more_than_a_gold_answer(
    handbook: Handbook, answer: str | None, reward: float | None, why: str
) -> None:
    run = ran(CITES, handbook, replace(SUM, answer=answer))._replace(reward=reward)
    if why:
        with pytest.raises(LeftOut, match=why):
            line(run)
    else:
        assert line(run)["messages"][-1]["content"] == CITES


def test_a_run_that_was_shown_nothing_is_plain_and_only_taken_when_asked_for(handbook: Handbook) -> None:
    for run in (ran(CITES), ran(CITES, handbook, recall=Recall(withheld=1.0))):
        with pytest.raises(LeftOut, match="shown no behaviors"):
            line(run)
        assert line(run, plain=True)["behaviors"] == []


def test_a_run_that_recalled_at_each_step_names_all_that_its_text_was_written_in_sight_of(handbook: Handbook) -> None:
    handbook.apply([Add("behavior_draw_circles", "Draw circles.")])
    run = ran(["Think of circles.\n\n", CITES], handbook, recall=Recall(every="step", limit=2))
    assert line(run)["behaviors"] == ["behavior_add_digits", "behavior_carry_digits", "behavior_draw_circles"]
    assert line(run)["messages"][-1]["content"] == "Think of circles.\n\n" + CITES


def test_broken_text_and_hostile_text_come_out_as_text() -> None:
    said = "\x1b[2J </s> '; DROP TABLE runs; \ud800 \\boxed{42}"
    assert line(ran(said), plain=True)["messages"][-1]["content"] == said.replace("\ud800", "\ufffd")


@pytest.mark.parametrize(
    ("said", "content"),
    [
        ("17+25=42</think>\\boxed{42}", "<think>\n17+25=42</think>\\boxed{42}"),
        ("<think>17+25</think>\\boxed{42}", "<think>17+25</think>\\boxed{42}"),
        ("a</think>b<think>c</think>\\boxed{42}", "<think>\na</think>b<think>c</think>\\boxed{42}"),
        ("no thought \\boxed{42}", "no thought \\boxed{42}"),
    ],
)
def test_a_thought_that_the_prompt_opened_gets_its_tag_back(said: str, content: str) -> None:
    assert line(ran(said, stop_on_answer=False), plain=True)["messages"][-1]["content"] == content


def test_a_thought_that_stays_open_is_no_example() -> None:
    with pytest.raises(LeftOut, match="not closed"):
        line(ran("<think>\\boxed{42}", stop_on_answer=False), plain=True)
