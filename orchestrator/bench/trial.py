"""A router at several thresholds on the calibration split, beside small-only and large-only; resumable."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

from orchestrator.bench.conformal import Scored, losses
from orchestrator.bench.conformal import threshold as controlled
from orchestrator.bench.folder import Folder
from orchestrator.bench.policies import LARGE, SMALL, Policy
from orchestrator.bench.race import Plan, Race
from orchestrator.bench.readings import Reading, keeps_high, readings, verified
from orchestrator.bench.resampling import ratio_interval
from orchestrator.bench.sample import Sample
from orchestrator.bench.summary import warnings
from orchestrator.bench.whole import Whole
from orchestrator.bench.workloads.base import Workload
from orchestrator.errors import OrchestratorError, UserError
from orchestrator.intervals import Interval
from orchestrator.memory.base import StoredRun
from orchestrator.runtime.calibration import name_of, options_of
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.types import Status, Task

__all__ = ["Failed", "Risky", "Trial", "realised", "risky"]

PILOT = 50
"""Tasks that are enough to see what readings there are."""


class Failed(OrchestratorError):
    """Runs failed, and a failure says nothing about a threshold; running the trial again tries them again."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What is tried. `pipeline` lends its engines.

    Running it raises Failed while a run has failed, and UserError for a value outside the router's range.
    """

    pipeline: Pipeline
    router: Any
    option: str
    """The router's option that is to be chosen."""
    workload: Workload
    split: str
    number: int
    """Tasks, at most."""
    concurrency: int
    folder: Path
    """Where results are kept; the same trial goes on there."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What the results depend on besides."""
    listener: Callable[[Any], None] = lambda event: None
    warn: Callable[[str], None] = lambda line: None
    """Is told what makes the results doubtful, each time they are read."""

    def __post_init__(self) -> None:
        if self.option not in (numbers := _numbers(self.router)):
            others = f"choose {', '.join(numbers)}" if numbers else "it has none"
            raise UserError(
                f"router {name_of(self.router)} has no option {self.option!r} that takes any number, and no other can "
                f"be chosen: {others}"
            )

    def tasks(self) -> list[Task]:
        """Return the tasks it is fitted on."""
        return self.workload.draw(self.split, 0, self.number)

    async def as_it_is(self, number: int | None = None) -> list[StoredRun]:
        """Run the router with the value that it has, on a few of the tasks or all, and return its runs."""
        plain = Policy(label=name_of(self.router), family=name_of(self.router), router=self.router)
        samples = await self._race("as_it_is", [plain], self.number if number is None else number)
        return self._stored(samples[plain.label])

    async def readings(self) -> list[Reading]:
        """Return what the router reads off the drafts of a few tasks."""
        return [each for run in await self.as_it_is(min(PILOT, self.number)) for each in readings(run)]

    async def at(self, values: Sequence[float]) -> tuple[dict[float, list[Sample]], list[Sample], list[Sample]]:
        """Run the router at each value and return its samples, then small-only's and large-only's: the same tasks."""
        policies = {value: self._policy(value) for value in values}
        small = Policy(label=SMALL, family=SMALL, router=Whole(engine="small"))
        large = Policy(label=LARGE, family=LARGE, router=Whole(engine="large"))
        found = await self._race("values", [small, large, *policies.values()], self.number)
        return {value: found[policy.label] for value, policy in policies.items()}, found[SMALL], found[LARGE]

    async def runs_at(self, value: float) -> list[StoredRun]:
        """Return the runs at a value that was tried."""
        rows, _, _ = await self.at([value])
        return self._stored(rows[value])

    def _stored(self, samples: Sequence[Sample]) -> list[StoredRun]:
        journal = self.pipeline.journal
        found = [run for sample in samples if (run := journal.stored(sample.run_id)) is not None]
        if len(found) < len(samples):
            raise UserError(
                f"the results in {self.folder} were made with another journal than {self.pipeline.db}, which lacks "
                "their runs: give that one with --db, or another folder with --work"
            )
        return found

    def _policy(self, value: float) -> Policy:
        name = name_of(self.router)
        router = replace(self.router, **{self.option: value})
        return Policy(label=f"{name}:{self.option}={value!r}", family=name, router=router)

    async def _race(self, name: str, policies: Sequence[Policy], number: int) -> dict[str, list[Sample]]:
        plan = Plan(self.workload, self.split, number, 1, policies, self.concurrency, has_randoms=False)
        folder = Folder(self.folder / name)
        race = Race(self.pipeline, plan, folder, self.listener)
        with folder.held():
            shared = {"engines": list(self.pipeline.engines), "router": repr(self.router)}
            folder.begin({**plan.settings(), **shared, **self.settings})
            await race.run()
        drawn = [str(task.id) for task in self.workload.draw(self.split, 0, number)]
        found = {policy.label: [folder.samples[policy.label, 0, task] for task in drawn] for policy in policies}
        _check_none_failed([sample for samples in found.values() for sample in samples])
        for line in warnings(found):
            self.warn(line)
        return found


def _numbers(router: Any) -> list[str]:
    """Return the options that hold a number and can hold any: half a count, or half a seed, means nothing."""
    hints = get_type_hints(type(router))
    return [
        name
        for name, value in options_of(router).items()
        if type(value) in (int, float) and float in (hints[name], *get_args(hints[name]))
    ]


def _check_none_failed(samples: Sequence[Sample]) -> None:
    if failed := [sample for sample in samples if sample.status == Status.FAILED]:
        first = failed[0]
        raise Failed(
            f"{len(failed)} of {len(samples)} runs failed, first {first.policy} on task {first.task}: {first.error}; "
            "nothing is written: the same command tries them again"
        )


@dataclass(frozen=True, kw_only=True)
class Risky:
    """A threshold that controls the risk of accepting a wrong step, and what it was chosen by."""

    threshold: float | None
    """In the router's unit; None if only a router that accepts nothing would do."""
    tasks: int
    steps: int
    """Drafts that were rated and could be verified."""
    wrong: int
    """Of them."""
    loss: float
    """Mean over tasks at the threshold: share of a task's drafts that are accepted and wrong."""
    accepted: float
    """Share of the drafts that are accepted at the threshold."""


def risky(runs: Sequence[StoredRun], workload: Workload, alpha: float) -> Risky:
    """Choose the threshold that keeps the expected share of accepted wrong steps at `alpha` or below.

    It holds for drafts as they came in `runs`: at another threshold other steps stand before them.
    Raises UserError where nothing can be chosen.
    """
    if workload.check is None:
        raise UserError(f"the workload {workload.name} cannot check single steps: choose by accuracy, or by a ceiling")
    found = [verified(run, workload.check) for run in runs]
    every = [reading for run in found for reading, _ in run]
    if len({reading.value for reading in every}) < 2:
        raise UserError(f"{len(every)} drafts were rated, all alike or none: no threshold tells them apart")
    sign = 1 if keeps_high(every) else -1
    tasks = [[Scored(sign * reading.value, not is_right) for reading, is_right in run] for run in found]
    at = controlled(tasks, alpha)
    scores = [step for task in tasks for step in task]
    return Risky(
        threshold=None if at is None else sign * at,
        tasks=len(tasks),
        steps=len(scores),
        wrong=sum(step.is_bad for step in scores),
        loss=0.0 if at is None else float(sum(losses(tasks, at)) / len(tasks)),
        accepted=0.0 if at is None else sum(step.score >= at for step in scores) / len(scores),
    )


def realised(runs: Sequence[StoredRun], workload: Workload) -> Interval:
    """Return the share of a task's rated drafts that were kept and wrong: mean over tasks with its 95% interval."""
    assert workload.check is not None
    shares = [
        sum(each.is_kept and not is_right for each, is_right in found) / len(found) if found else 0.0
        for found in (verified(run, workload.check) for run in runs)
    ]
    found = ratio_interval(shares, [1.0] * len(shares))
    assert found is not None  # there is a task
    return found
