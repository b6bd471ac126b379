"""Runs of an agent on errands, as the journal keeps them: one that works, and one that loops where a tool is busy."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from random import Random
from typing import Any

from orchestrator.bench.workloads.tool_tasks import SYSTEM, Errand, draw_errand, plan
from orchestrator.memory.base import DecisionRow, OutcomeRow, RunRow, StepRow
from orchestrator.memory.ids import derived
from orchestrator.memory.journal import Journal
from orchestrator.types import Event, History, Message, Step, StepKind, Stop, Task

Turn = tuple[str, str, str]
"""What was thought, called and answered."""


class Loops:
    """A monitor of rules for tests: stuck where the last three turns are the same; a milestone at a good answer."""

    def watch(self, history: History) -> Event | None:
        last = [step.text for step in history.steps if step.kind is StepKind.OBSERVATION][-3:]
        is_stuck = len(last) == 3 and len(set(last)) == 1 and last[0].startswith("error")
        return Event("stuck", "three times the same error") if is_stuck else None


class Goods:
    """A milestone wherever a tool answered and no milestone was noted at the step before."""

    def watch(self, history: History) -> Event | None:
        step = history.steps[-1]
        is_good = step.kind is StepKind.OBSERVATION and not step.text.startswith("error")
        return Event("milestone", "an answer") if is_good else None


def errands_drawn(number: int, seed: int = 0) -> list[Errand]:
    random = Random(f"runs/{seed}")
    return list(islice((draw_errand(random) for _ in range(10 * number)), number))


def worked(errand: Errand) -> list[Turn]:
    """The turns of a good worker."""
    shop, worker, turns = errand.shop(), plan(errand), []
    thought, call = next(worker)
    while True:
        name, _, argument = call.partition("(")
        seen = shop.call(name, argument.removesuffix(")"))
        turns.append((thought, f"<tool>{call}</tool>", seen))
        try:
            thought, call = worker.send(seen)
        except StopIteration:
            return turns


def looping(errand: Errand, repeats: int = 8) -> list[Turn]:
    """A good beginning, and then the same call again and again."""
    first = worked(errand)[:1]
    _, call, _ = first[0]
    return first + [("Busy, try again.", call, "error: busy")] * repeats


def steps_of(turns: Sequence[Turn], answer: str = "", writer: str = "small") -> list[Step]:
    steps: list[Step] = []
    for turn in turns:
        kinds = (StepKind.THOUGHT, StepKind.ACTION, StepKind.OBSERVATION)
        for kind, text in zip(kinds, turn, strict=True):
            ends = "\n\n" if kind is StepKind.THOUGHT else ""
            steps.append(_step(len(steps), kind, text + ends, writer))
    if answer:
        steps.append(_step(len(steps), StepKind.ANSWER, f"Answer: {answer}", writer))
    return steps


def _step(index: int, kind: StepKind, text: str, writer: str) -> Step:
    stop = Stop.DELIMITER if kind is StepKind.THOUGHT else Stop.END
    return Step(
        index=index, attempt=0, writer=writer, text=text, ids=(), num_tokens=len(text.split()), stop=stop, kind=kind
    )


def task_of(errand: Errand) -> Task:
    return Task(
        messages=(Message("system", SYSTEM), Message("user", errand.prompt)), id=errand.id, answer=errand.answer
    )


def history_of(errand: Errand, steps: Sequence[Step]) -> History:
    return History(task=task_of(errand), engines=("small", "large"), seed=0, steps=list(steps))


def store(
    journal: Journal, errand: Errand, steps: Sequence[Step], *, answer: str | None, name: str = "", **also: Any
) -> str:
    """Write a run that has ended; `also` may give its batch, and the step at which it was handed over."""
    task, run_id = task_of(errand), derived("errand", errand.id, name)
    given = json.dumps({"messages": task.messages, "id": task.id, "answer": task.answer})
    engines = json.dumps({"small": {}, "large": {}})
    key = journal.open_run(RunRow(run_id, None, also.get("batch", ""), 0, given, "{}", engines, 1.7e9))
    for step in steps:
        row = StepRow(key, step.index, 0, step.kind, step.writer, step.text, step.stop, step.num_tokens, 0.0)
        journal.step(row)
    if "handed_over" in also:
        row = DecisionRow(key, also["handed_over"], 0, "on_events", "handoff", "large", "", None, None, "", "", "")
        journal.decision(row)
    status = "completed" if answer is not None else "no_answer"
    journal.outcome(OutcomeRow(key, status, answer, "", "", 1.0, "[]", 1.7e9))
    journal.commit()
    return run_id


def stored_errands(journal: Journal, number: int = 80, seed: int = 0) -> Iterator[tuple[str, Errand, bool]]:
    """Write a run for each of `number` errands, every other one looping, and yield its id, the errand and whether."""
    for place, errand in enumerate(errands_drawn(number, seed)):
        errand = replace(errand, id=f"{errand.id}-{place}", prompt=f"{errand.prompt} ({place})")
        is_looping = place % 2 == 1
        turns = looping(errand, 3 + place % 5) if is_looping else _long(worked(errand))
        answer = None if is_looping else errand.answer
        yield store(journal, errand, steps_of(turns, answer or ""), answer=answer), errand, is_looping


def _long(turns: list[Turn]) -> list[Turn]:
    """Turns enough to be looked at: a careful worker checks the sum."""
    checks = [("Check it.", f"<tool>calc({number}+{number})</tool>", str(2 * number)) for number in (3, 11, 7)]
    return turns + checks
