"""A step may start in words of the policy's own: they are part of it, and nobody generated them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from test_alternative import line

from orchestrator.decisions import Decision, Plan, keep, rewrite
from orchestrator.doors import Ask, Needs
from orchestrator.engines.scripted import Scripted
from orchestrator.errors import EngineUnavailable, UserError
from orchestrator.runtime.attempts import attempts
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.types import Budget, History, Step

LEAD = Plan(engine="small", lead="Wait, ")


async def keeps(history: History, draft: Step, ask: Ask) -> Decision:
    return keep()


def prompts(made: Pipeline, engine: str) -> Sequence[str]:
    scripted = made.engines[engine]
    assert isinstance(scripted, Scripted)
    return [bytes(each.prompt.ids()).decode().partition("assistant: ")[2] for each in scripted.requests if each.prompt]


async def test_a_step_starts_with_its_lead_which_costs_no_output() -> None:
    with line(keeps, small=["no\n\n", "yes"], plan=LEAD, budget=Budget(steps=2)) as made:
        result = await made.arun("q")
        stored = made.journal.run(result.run_id)
    assert prompts(made, "small") == ["Wait, ", "Wait, no\n\nWait, "]
    assert [(step.text, bytes(step.ids).decode(), step.num_tokens) for step in result.steps] == [
        ("Wait, no\n\n", "Wait, no\n\n", 4),
        ("Wait, yes", "Wait, yes", 3),
    ]
    assert result.ledger.total().output_tokens == 7
    assert [each.text for each in attempts(stored)] == ["Wait, no\n\n", "Wait, yes"]
    assert next(row.detail for row in stored.decisions if row.door == "before_step").endswith('"lead": "Wait, "}')


async def test_nothing_behind_a_lead_is_still_a_step() -> None:
    with line(keeps, small=["\n\n", ""], plan=LEAD, budget=Budget(steps=2)) as made:
        result = await made.arun("q")
    assert [step.text for step in result.steps] == ["Wait, \n\n", "Wait, "]


@pytest.mark.parametrize("small", [["bad\n\n"], [EngineUnavailable("gone", engine="small")]])
async def test_whoever_writes_the_step_in_the_end_starts_with_it(small: list[Any]) -> None:
    async def rejects(history: History, draft: Step, ask: Ask) -> Decision:
        return rewrite("large")

    with line(rejects, small=small, large=["good\n\n"], plan=LEAD) as made:
        assert (await made.arun("q")).text == "Wait, good\n\n"
    assert prompts(made, "large") == ["Wait, "]


async def test_an_open_fence_in_the_lead_keeps_a_step_open() -> None:
    plan = Plan(engine="small", lead="```\n")
    with line(keeps, small=["x\n\n", "y\n```\n\n"], plan=plan) as made:
        assert (await made.arun("q")).text == "```\nx\n\ny\n```\n\n"


class Counting(Scripted):
    """Counts what it has to read."""

    num_encoded = 0

    async def encode(self, text: str) -> list[int]:
        self.num_encoded += 1
        return await super().encode(text)


@pytest.mark.parametrize("at", [1, 2])
async def test_after_a_resume_the_steps_are_the_same_and_nothing_is_read_again(tmp_path: Path, at: int) -> None:
    """The router dies at the second draft, or at the third."""
    dies = True

    async def mortal(history: History, draft: Step, ask: Ask) -> Decision:
        if dies and draft.index == at:
            raise RuntimeError("the end")
        return keep()

    script = ["one\n\n", "two\n\n", "three"]
    db = tmp_path / "journal.db"
    with line(mortal, small=script, plan=LEAD, db=db, budget=Budget(steps=3)) as made, pytest.raises(RuntimeError):
        await made.arun("q", run_id="it")
    dies = False
    with line(mortal, small=script[at + 1 :], plan=LEAD, db=db, budget=Budget(steps=3)) as made:
        result = await made.arun("q", run_id="it")
    with line(mortal, small=script, plan=LEAD, budget=Budget(steps=3)) as made:
        whole = await made.arun("q")
    assert [(step.text, list(step.ids)) for step in result.steps] == [
        (step.text, list(step.ids)) for step in whole.steps
    ]
    assert result.ledger.without_seconds() == whole.ledger.without_seconds()


async def test_a_lead_is_read_once() -> None:
    engines = {"small": Counting(["no\n\n", "yes"]), "large": Scripted([])}

    class Leads:
        needs = Needs()

        def before_step(self, history: History) -> Plan:
            return LEAD

    with Pipeline(engines, Leads(), db=":memory:", budget=Budget(steps=2)) as made:
        await made.arun("q")
    assert engines["small"].num_encoded == 1


async def test_a_chat_only_engine_cannot_go_on_from_a_lead() -> None:
    class Leads:
        needs = Needs(steps=False)

        def before_step(self, history: History) -> Plan:
            return LEAD

    engines = {"small": Scripted(["x"], continues=False), "large": Scripted(["x"], continues=False)}
    with Pipeline(engines, Leads(), db=":memory:") as made, pytest.raises(UserError, match="cannot go on from it"):
        await made.arun("q")
