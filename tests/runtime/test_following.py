"""Recall before each step: what stands in which prompt, and that a resumed run reads what it read."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from json import loads
from pathlib import Path
from typing import Any

import pytest

from orchestrator.behaviors import Retire
from orchestrator.decisions import Decision, Plan, keep, rollback
from orchestrator.doors import Ask, Needs
from orchestrator.engines.base import Request
from orchestrator.engines.scripted import Scripted
from orchestrator.errors import UserError
from orchestrator.handbook.recall import Recall
from orchestrator.memory.base import StoredRun
from orchestrator.memory.handbook import Handbook
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.runtime.timeline import timeline
from orchestrator.types import History, Message, Overlap, Step, Task

SUM = Task(messages=(Message("user", "Add the digits of 17 and 25."),), answer="42")
STEPS = ("Think of circles.\n\n", "By behavior_draw_circles.\n\n", "Now carry on.\n\n", "Carry.\n\n", "\\boxed{42}")
EACH = Recall(every="step", limit=2)


class Writes:
    """Writes the step that follows those in the prompt, and remembers the prompts."""

    def __init__(self, steps: tuple[str, ...] = STEPS) -> None:
        self.steps, self.prompts = steps, list[str]()

    def __call__(self, request: Request) -> str:
        assert request.prompt is not None
        self.prompts.append(bytes(request.prompt.ids()).decode())
        return self.steps[sum(step in self.prompts[-1] for step in self.steps)]


def made(
    writes: Callable[[Request], str], path: Path, handbook: Handbook, recall: Recall = EACH, **options: Any
) -> Pipeline:
    options = {"router": "small", **options}
    return Pipeline({"small": Scripted(writes)}, db=path / "journal.db", handbook=handbook, recall=recall, **options)


def shown(prompt: str) -> list[str]:
    """Return the names of the behaviors in a prompt, and in braces how many steps stand before them."""
    before = sum(step in prompt.partition("Behaviors that helped")[0] for step in STEPS)
    lines = [line for line in prompt.splitlines() if line.startswith("- behavior_")]
    return [f"{{{before}}}", *(line.split(":")[0].removeprefix("- behavior_") for line in lines)]


def told(stored: StoredRun, kind: str = "recalled") -> list[tuple[int, Any]]:
    return [(event.step, loads(event.detail)) for event in stored.events if event.kind == kind]


WRITTEN = [
    ["{0}", "add_digits", "carry_digits"],
    ["{1}", "add_digits", "draw_circles"],
    ["{1}", "add_digits", "draw_circles"],
    ["{3}", "add_digits", "carry_digits"],
    ["{3}", "add_digits", "carry_digits"],
]
"""What each of the STEPS is written in sight of."""


def test_each_prompt_holds_what_was_recalled_for_its_step_where_that_came_into_force(
    handbook: Handbook, tmp_path: Path
) -> None:
    writes = Writes()
    with made(writes, tmp_path, handbook) as pipeline:
        run = pipeline.run(SUM).run_id
        stored = pipeline.journal.run(run)
    assert [shown(prompt) for prompt in writes.prompts] == WRITTEN
    assert [step for step, _ in told(stored)] == [0, 1, 3]  # only where it changes
    first, second, third, *_ = writes.prompts
    task, _, _ = first.partition("Behaviors that helped")
    assert second.startswith(task + STEPS[0] + "Behaviors") and third == second + STEPS[1]
    ((_, cited),) = told(stored, "cited")
    assert cited["cited"] == ["behavior_draw_circles"]
    assert cited["unused"] == ["behavior_add_digits", "behavior_carry_digits"]
    assert [each.helpful for each in handbook.behaviors()] == [0, 0, 1]


class Died(Exception):
    """What ends a session of a run half-way."""


def dying(place: int) -> Callable[[Any], None]:
    """Return a listener that ends the session at the event of this place, from 1."""
    seen: list[Any] = []

    def stop(event: Any) -> None:
        seen.append(event)
        if len(seen) == place:
            raise Died

    return stop


def calls(stored: StoredRun) -> list[Any]:
    """Return what was asked, with the digests of the prompts."""
    return [intent[2:9] for intent, _ in stored.calls]


@dataclass(frozen=True, kw_only=True)
class Asks:
    """Lets an engine answer behind each kept step."""

    is_late: bool = False
    needs = Needs()

    async def look(self, history: History, ask: Ask) -> None:
        await ask.answers(history.large)


def judged(writes: Writes, path: Path, handbook: Handbook) -> Pipeline:
    """Return a pipeline in which each draft is judged, and each kept step asked about."""

    def large(request: Request) -> str:
        return "9" if request.purpose == "judge" else "41}"

    engines = {"small": Scripted(writes), "large": Scripted(large)}
    return Pipeline(engines, db=path / "journal.db", handbook=handbook, recall=EACH, monitors=[Asks()])


def test_a_run_that_is_cut_off_anywhere_asks_what_it_would_have_asked(handbook: Handbook, tmp_path: Path) -> None:
    with judged(Writes(), tmp_path, handbook) as pipeline:
        pipeline.run(SUM, run_id="whole")
        whole = pipeline.journal.run("whole")
    assert {intent.purpose for intent, _ in whole.calls} == {"draft", "judge", "probe"}
    for place in (1, 4, 6):  # behind decisions and kept steps
        with judged(Writes(), tmp_path, handbook) as pipeline:
            with pytest.raises(Died):
                pipeline.run(SUM, run_id=f"cut {place}", listener=dying(place))
            assert pipeline.run(SUM, run_id=f"cut {place}").answer == "42"
            cut = pipeline.journal.run(f"cut {place}")
        assert calls(cut) == calls(whole)
        assert [(step, each["reason"]) for step, each in told(cut)] == [(s, e["reason"]) for s, e in told(whole)]


class DiesAt(Writes):
    """Ends the process, as it were, in the middle of a call."""

    def __call__(self, request: Request) -> str:
        step = super().__call__(request)
        if step == self.steps[1]:
            raise Died
        return step


def test_a_step_in_hand_is_shown_what_it_was_whatever_the_handbook_says_by_then(
    handbook: Handbook, tmp_path: Path
) -> None:
    before, behind = DiesAt(), Writes()
    with judged(before, tmp_path, handbook) as pipeline, pytest.raises(Died):
        pipeline.run(SUM, run_id="it")
    handbook.apply([Retire(1), Retire(3)])
    with judged(behind, tmp_path, handbook) as pipeline:
        pipeline.run(SUM, run_id="it")
        stored = pipeline.journal.run("it")
    assert behind.prompts[0] == before.prompts[-1] and shown(behind.prompts[0]) == WRITTEN[1]
    assert shown(behind.prompts[1]) == ["{2}", "carry_digits"]
    probes = [intent.step for intent, _ in stored.calls if intent.purpose == "probe"]
    assert probes == [1, 2, 3, 4, 5]  # what was asked in sight of the set before is not asked again


class GoesBack:
    """Takes the steps from the second on back, once, when the fourth is drafted."""

    needs = Needs()

    async def after_draft(self, history: History, draft: Step, ask: Ask) -> Decision:
        is_first = draft.index == 3 and history.steps[1].attempt == 0
        return rollback(1, reason="again") if is_first else keep(reason="good")


def test_a_run_that_goes_back_is_shown_again_what_those_steps_were_shown(handbook: Handbook, tmp_path: Path) -> None:
    writes = Writes()
    with made(writes, tmp_path, handbook, router=GoesBack()) as pipeline:
        pipeline.run(SUM, run_id="it")
        stored = pipeline.journal.run("it")
    assert [shown(prompt) for prompt in writes.prompts] == [*WRITTEN[:4], *WRITTEN[1:]]
    assert writes.prompts[4] == writes.prompts[1]
    assert [step for step, _ in told(stored)] == [0, 1, 3, 0, 1, 3]
    assert told(stored)[3][1]["reason"].startswith("again, as the run went back: behavior_add_digits")
    text = [line.strip() for line in timeline(stored, width=160).plain.splitlines()]
    heads = [re.sub(r" \(.*", "", line) for line in text if line[:2] == "--" or re.match(r"\d small", line)]
    assert [head[:7] if head[0].isdigit() else head for head in heads] == [
        "0 small",
        "-- recalled: behavior_add_digits, behavior_draw_circles",
        "1 small",
        "2 small",
        "-- recalled: behavior_add_digits, behavior_carry_digits",
        "3 small",
        "-- recalled: behavior_add_digits, behavior_draw_circles",
        "1 small",
        "2 small",
        "-- recalled: behavior_add_digits, behavior_carry_digits",
        "3 small",
        "4 small",
    ]
    with made(Writes(), tmp_path, handbook, router=GoesBack()) as pipeline:
        for place in (6, 7, 9):
            with pytest.raises(Died):
                pipeline.run(SUM, run_id=f"cut {place}", listener=dying(place))
            pipeline.run(SUM, run_id=f"cut {place}")
            assert calls(pipeline.journal.run(f"cut {place}")) == calls(stored)


def test_a_fork_goes_on_from_what_its_steps_were_shown(handbook: Handbook, tmp_path: Path) -> None:
    writes = Writes()
    with made(writes, tmp_path, handbook) as pipeline:
        parent = pipeline.run(SUM).run_id
        for step in (0, 1, 2, 4):
            writes.prompts.clear()
            pipeline.graph.invoke({"run": parent, "step": step})
            assert [shown(prompt) for prompt in writes.prompts] == WRITTEN[step:]


@pytest.mark.parametrize(
    ("recall", "most"),
    [
        (Recall(every="step", limit=1), 1),
        (Recall(every="step", tokens=70), 1),
        (Recall(every="step", tokens=10), 0),
        (Recall(every="step", withheld=1.0), 0),
        (Recall(every="step", left_out=0.999), 0),
    ],
)
def test_caps_hold_at_each_step_and_what_is_withheld_stays_so(
    handbook: Handbook, tmp_path: Path, recall: Recall, most: int
) -> None:
    writes = Writes()
    with made(writes, tmp_path, handbook, recall) as pipeline:
        stored = pipeline.journal.run(pipeline.run(SUM).run_id)
    assert len(writes.prompts) == len(STEPS)
    assert max(len(shown(prompt)) - 1 for prompt in writes.prompts) == most
    assert all(each["num_tokens"] <= recall.tokens for _, each in told(stored))


class Short:
    """Plans a first step of as many tokens as its thought up to the word `and` has."""

    def before_step(self, history: History) -> Plan:
        return Plan(engine=history.small, max_tokens=None if history.steps else len("Think of circles and"))


def test_nothing_is_put_into_the_middle_of_a_sentence(handbook: Handbook, tmp_path: Path) -> None:
    writes = Writes(("Think of circles and", " of angles.\n\n", "\\boxed{42}"))

    def says(request: Request) -> str:
        step = writes(request)
        return step + " of angles." if step == writes.steps[0] else step

    with made(says, tmp_path, handbook, router=Short()) as pipeline:
        stored = pipeline.journal.run(pipeline.run(SUM).run_id)
    assert [row.stop for row in stored.kept()] == ["length", "delimiter", "end"]
    assert [step for step, _ in told(stored)] == [0, 2]


def look(place: str) -> str:
    """Say what is to be seen."""
    return "Nothing but circles."


def test_what_a_tool_answers_is_recalled_for_and_stands_before_what_was_recalled(
    handbook: Handbook, tmp_path: Path
) -> None:
    writes = Writes(("<tool>look('there')</tool>", "\\boxed{42}"))
    with made(writes, tmp_path, handbook, tools=[look]) as pipeline:
        stored = pipeline.journal.run(pipeline.run(SUM).run_id)
    assert [row.kind for row in stored.kept()] == ["action", "observation", "thought"]
    assert [step for step, _ in told(stored)] == [0, 2]
    before, behind = writes.prompts
    assert shown(before)[1:] == ["add_digits", "carry_digits"] and shown(behind)[1:] == ["add_digits", "draw_circles"]
    assert behind.index("Nothing but circles.") < behind.index("- behavior_draw_circles")


def test_where_it_cannot_work_it_is_refused(handbook: Handbook, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="overlap does not go together with recall at every step"):
        made(Writes(), tmp_path, handbook, overlap=Overlap(ahead=1))
    with pytest.raises(UserError, match=r"every = 'step' does not go together with .*Asks .*, which asks late"):
        made(Writes(), tmp_path, handbook, monitors=[Asks(is_late=True)])
    with pytest.raises(UserError, match=r"every = 'step' means nothing where by = 'topic'"):
        Recall(every="step", by="topic")
    with pytest.raises(UserError, match="known: run, step"):
        Recall(every="turn")  # type: ignore[arg-type]
    whole = Pipeline({"chat": Scripted([], continues=False)}, "small", db=":memory:", handbook=handbook, recall=EACH)
    with whole as pipeline, pytest.raises(UserError, match="every = 'step' shows behaviors between steps, and chat"):
        pipeline.run(SUM)
    assert pipeline.journal.runs() == []
