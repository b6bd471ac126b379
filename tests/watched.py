"""Runs that monitors watch: written down as texts, replayed step by step as the runtime does it."""

from __future__ import annotations

from typing import Any

from orchestrator.bench.workloads.tool_tasks import CALL, Errand, plan
from orchestrator.types import Event, History, Step, StepKind, Stop, Task

__all__ = ["agent", "errand_turns", "replay", "steps_of", "thinking"]


def steps_of(*parts: tuple[StepKind, str], writer: str = "small", stop: Stop = Stop.DELIMITER) -> list[Step]:
    """Return steps with these kinds and texts."""
    return [
        Step(index=index, attempt=0, writer=writer, text=text, num_tokens=len(text.split()), stop=stop, kind=kind)
        for index, (kind, text) in enumerate(parts)
    ]


def history(steps: list[Step], *, task: str = "q", **given: Any) -> History:
    """Return a history that has kept these steps."""
    num = sum(step.num_tokens for step in steps)
    return History(task=Task.of(task), engines=("small", "large"), seed=0, steps=steps, num_tokens=num, **given)


def thinking(*texts: str, **given: Any) -> History:
    """Return a run without tools: every text is a thought, and a move."""
    return history(steps_of(*((StepKind.THOUGHT, f"{text}\n\n") for text in texts)), **given)


def agent(*turns: tuple[str, ...], **given: Any) -> History:
    """Return a run with tools: a turn is (call, answer), or (thought, call, answer)."""
    parts = []
    for *thought, call, answer in turns:
        text = f"<think>{thought[0]}</think>{call}" if thought else call
        parts += [(StepKind.ACTION, text), (StepKind.OBSERVATION, answer)]
    return history(steps_of(*parts), **given)


def replay(monitor: Any, run: History) -> list[Event]:
    """Return what a monitor notices while the run comes to be, step by step, with the step of each."""
    seen = History(task=run.task, engines=run.engines, seed=run.seed, window=run.window, mode=run.mode)
    seen.events += run.events
    for step in run.steps:
        seen.steps.append(step)
        seen.num_tokens += step.num_tokens
        if step.index >= run.window and (event := monitor.watch(seen)):
            seen.events.append(event._replace(step=step.index))
    return seen.events[len(run.events) :]


def errand_turns(errand: Errand) -> list[tuple[str, str, str]]:
    """Return the turns of a good worker on an errand, as (thought, call, answer)."""
    shop, worker, turns = errand.shop(), plan(errand), []
    try:
        why, call = next(worker)
        while True:
            name, argument = CALL.fullmatch(f"<tool>{call}</tool>").groups()
            answer = shop.call(name, argument)
            turns.append((why, call, answer))
            why, call = worker.send(answer)
    except StopIteration:
        return turns
