"""Exits at work: each way to end a thought on the same tasks, its looks paid for, beside whole thoughts and the oracle.

A run's draws follow from the pipeline's seed and the task, so that two ways to end a thought write the same steps up to
where the first of them ends it. What an exit did to a task is therefore seen by itself: the same thought, whole.

A mis-exit is `wrong` where the run was ended and its answer is wrong, and `harmful` where besides the whole thought
came to the right one. Tokens are all that the run's engines wrote: thought, answer and looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from orchestrator.bench.resampling import ratio_interval
from orchestrator.intervals import Interval, paired, upper
from orchestrator.learning.exits import PROBE
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.runtime.tasks import is_correct
from orchestrator.types import Status, Task

__all__ = ["Against", "Ran", "Way", "against", "at_budget", "oracle", "run"]

EXIT = "exit"
"""Door of the decisions that end a thought."""


class Way(NamedTuple):
    """A way to end thoughts."""

    name: str
    monitors: tuple[Any, ...] = ()
    mode: Any = "think"


class Ran(NamedTuple):
    """What came of a task."""

    way: str
    task: str
    is_right: bool
    is_early: bool
    """The thought was ended; False where the engine ended it by itself."""
    tokens: int
    """Written by all engines, looks included."""
    looked: int
    """Tokens of the looks."""
    last_look: int
    """Of the last of them, which is the answer where it ended the thought; 0 without any."""
    answer: str | None


class Against(NamedTuple):
    """A way to end thoughts beside whole thoughts and the oracle, on the same tasks."""

    tasks: int
    exits: int
    tokens: float
    """A task."""
    saved: float
    """Share of the tokens that whole thoughts take; negative where looking costs more than it saves."""
    of_oracle: Interval | None
    """That saving as a share of the oracle's, and its 95% interval; None where the oracle saves nothing."""
    wrong: float
    wrong_most: float
    """Upper end of the one-sided 95% interval, as `harmful_most`."""
    harmful: float
    harmful_most: float
    accuracy: float
    gained: Interval
    """Accuracy less that of whole thoughts, 95%."""


async def run(pipeline: Pipeline, way: Way, task: Task) -> Ran:
    """Run a task that has a gold answer. `pipeline` has the way's monitors and mode; a run that failed is not right."""
    assert task.answer is not None
    result = await pipeline.arun(task)
    stored = pipeline.journal.stored(result.run_id)
    assert stored is not None
    calls = [(each.intent.purpose, each.result.output_tokens) for each in stored.calls if each.result is not None]
    looks = [tokens for purpose, tokens in calls if purpose == PROBE]
    return Ran(
        way=way.name,
        task=str(task.id),
        is_right=result.status is Status.COMPLETED and is_correct(result.answer, task.answer),
        is_early=any(decision.door == EXIT for decision in stored.decisions),
        tokens=sum(tokens for _, tokens in calls),
        looked=sum(looks),
        last_look=looks[-1] if looks else 0,
        answer=result.answer,
    )


def oracle(knowing: Ran) -> Ran:
    """Return what a run that knew the answer came to if its looks were free, all but the one that is its answer."""
    looked = knowing.looked - (knowing.last_look if knowing.is_early else 0)
    return knowing._replace(tokens=knowing.tokens - looked)


def against(ours: Sequence[Ran], whole: Sequence[Ran], best: Sequence[Ran]) -> Against:
    """Compare; `best` is the oracle's, and the three have the same tasks in the same order, one at least."""
    number = len(ours)
    saved = [all_of.tokens - own.tokens for own, all_of in zip(ours, whole, strict=True)]
    most = [all_of.tokens - oracles.tokens for oracles, all_of in zip(best, whole, strict=True)]
    wrong = [own.is_early and not own.is_right for own in ours]
    harmful = sum(is_wrong and all_of.is_right for is_wrong, all_of in zip(wrong, whole, strict=True))
    return Against(
        tasks=number,
        exits=sum(own.is_early for own in ours),
        tokens=sum(own.tokens for own in ours) / number,
        saved=sum(saved) / sum(all_of.tokens for all_of in whole),
        of_oracle=ratio_interval(saved, most),
        wrong=sum(wrong) / number,
        wrong_most=upper(sum(wrong), number),
        harmful=harmful / number,
        harmful_most=upper(harmful, number),
        accuracy=sum(own.is_right for own in ours) / number,
        gained=paired([own.is_right for own in ours], [all_of.is_right for all_of in whole]),
    )


def at_budget(rows: Sequence[Ran], budget: int) -> float:
    """Return the share of tasks that are right within so many tokens each, looks included."""
    return sum(row.is_right and row.tokens <= budget for row in rows) / len(rows)
