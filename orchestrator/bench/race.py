"""Run every policy on the same tasks, each with its controls; go on where an earlier command stopped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, pairwise
from json import loads
from typing import Any, NamedTuple

from orchestrator.bench.cost import uses_of
from orchestrator.bench.folder import Folder
from orchestrator.bench.policies import LARGE, ORACLE, SMALL, Policy, matched
from orchestrator.bench.sample import Key, Sample
from orchestrator.bench.workloads.base import Workload, fingerprint, scored
from orchestrator.errors import UserError
from orchestrator.memory.ids import derived
from orchestrator.memory.journal import Journal
from orchestrator.monitors.window import moves_in
from orchestrator.runtime.calls import TOOL
from orchestrator.runtime.counterfactuals import compared, own_calls, own_signals
from orchestrator.runtime.marks import RAISED
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.runtime.result import RunResult
from orchestrator.runtime.workers import side_by_side
from orchestrator.types import Status, Step, Task

__all__ = ["Plan", "Race"]


TURN = 10
"""Tasks that a policy runs before the next one has its turn."""


class Plan(NamedTuple):
    """What is compared."""

    workload: Workload
    split: str
    tasks: int
    """Per seed."""
    seeds: int
    policies: Sequence[Policy]
    concurrency: int
    has_randoms: bool = True
    """Every policy that is no control has a random one beside it, with the same large share."""
    counterfactuals: float = 0.0
    """Share of steps at which the other engine's step is looked at, under every policy but small-only, large-only
    (which are one step each) and the oracle (which looks at both by itself)."""
    mode: str | None = None
    """How much to think under every policy that does not say so itself; None leaves it to the pipeline."""
    first_seed: int = 0
    """The others follow it."""

    def settings(self) -> dict[str, Any]:
        """Return what the results depend on, for comparing folders."""
        return {
            "workload": dict(self.workload.settings),
            "split": self.split,
            "tasks": self.tasks,
            "seeds": self.seeds,
            "policies": [policy.label for policy in self.policies],
            "concurrency": self.concurrency,
            # Only where there are some: comparisons of before there was this option can go on.
            **({"counterfactuals": self.counterfactuals} if self.counterfactuals else {}),
            **({"mode": self.mode} if self.mode else {}),
            **({"first_seed": self.first_seed} if self.first_seed else {}),
        }


class Race:
    """Runs a plan. `pipeline` lends its engines, budget and extractors; its router is not used.

    `listener` is told how many runs of each policy are due, and then every finished sample.
    """

    def __init__(self, pipeline: Pipeline, plan: Plan, folder: Folder, listener: Callable[[Any], None]) -> None:
        self._pipeline = pipeline
        self._plan = plan
        self._folder = folder
        self._tell = listener
        seeds = range(plan.first_seed, plan.first_seed + plan.seeds)
        self._tasks = {seed: plan.workload.draw(plan.split, seed, plan.tasks) for seed in seeds}
        self._check()

    def _check(self) -> None:
        """Raise UserError if there is no task, or one that a policy was fitted on, or nobody of a judge's name."""
        plan = self._plan
        if not any(self._tasks.values()):
            raise UserError(f"workload {plan.workload.name} has no task in split {plan.split}")
        asked = {fingerprint(task) for tasks in self._tasks.values() for task in tasks}
        for policy in plan.policies:
            scorers = policy.scorers(plan.workload, self._pipeline.specs).values()
            fitted = [policy.router, *policy.monitors, policy.calibration, *scorers]
            if seen := asked & {each for part in fitted for each in getattr(part, "fitted_on", ())}:
                raise UserError(
                    f"{policy.label} was fitted on {len(seen)} of these {len(asked)} tasks: what it makes of them says "
                    "nothing; choose another --split"
                )

    async def run(self) -> None:
        """Run the policies, then the random controls at the shares that were measured.

        Raises MissingCapability before the first run if the engines cannot do what some policy needs.
        """
        randoms = [matched(self._plan.policies[0], 0.5)] if self._plan.has_randoms else []
        for policy in [*self._plan.policies, *randoms]:
            pipeline = self._pipelines(policy)[self._plan.first_seed]
            await pipeline.start()
            await pipeline.check_fit()
        await self._run(self._plan.policies)
        await self._run(self._randoms())

    @property
    def is_over(self) -> bool:
        """Return whether nothing of what was asked for is due."""
        return not any(map(self._due, self._plan.policies)) and not any(map(self._due, self._randoms()))

    def _randoms(self) -> list[Policy]:
        return [matched(policy, self.large_share(policy)) for policy in self._with_random()]

    def _with_random(self) -> list[Policy]:
        return [policy for policy in self._plan.policies if self._plan.has_randoms and policy.has_random]

    def large_share(self, policy: Policy) -> float:
        """Return the share of kept steps that the large engine wrote under a policy."""
        found = [sample for sample in self._folder.samples.values() if sample.policy == policy.label]
        steps = sum(sample.steps for sample in found)
        return sum(sample.large_steps for sample in found) / steps if steps else 0.0

    async def _run(self, policies: Sequence[Policy]) -> None:
        """Run what is due, a few tasks of each policy in turn: a machine that grows slower slows all of them."""
        pipelines = {policy.label: self._pipelines(policy) for policy in policies}
        due = {policy.label: self._due(policy) for policy in policies}
        for policy in policies:
            self._tell((policy, len(due[policy.label])))
        longest = max(map(len, due.values()), default=0)
        waiting = (
            (policy, pipelines[policy.label][seed], seed, task)
            for first in range(0, longest, TURN)
            for policy in policies
            for seed, task in due[policy.label][first : first + TURN]
        )
        await side_by_side(lambda: self._work(waiting), self._plan.concurrency)

    def _due(self, policy: Policy) -> list[tuple[int, Task]]:
        return [
            (seed, task)
            for seed, tasks in self._tasks.items()
            for task in tasks
            if self._is_due(policy, (policy.label, seed, str(task.id)))
        ]

    def _is_due(self, policy: Policy, key: Key) -> bool:
        """Return whether there is no sample yet, one of a failed run, or one of a random control at another share:
        a policy whose failed runs were tried again has another one than before."""
        sample = self._folder.samples.get(key)
        return sample is None or sample.status == Status.FAILED or sample.share != _share(policy)

    def _pipelines(self, policy: Policy) -> dict[int, Pipeline]:
        """Return a pipeline for each seed.

        None stops at an answer before its engine does: who writes the whole text in one call cannot, and a run
        that is shorter for it would look as if routing had saved something. A router that learns begins anew with
        each seed: they are independent draws.
        """
        scorers = policy.scorers(self._plan.workload, self._pipeline.specs)
        others: dict[str, Any] = {"monitors": (*self._pipeline.monitors, *policy.monitors)}
        if (mode := policy.mode or self._plan.mode) is not None:
            others["mode"] = mode
        if self._plan.workload.tools is not None:
            others["tools"] = self._plan.workload.tools
        return {
            seed: self._pipeline.but(
                router=policy.router,
                scorers=scorers,
                seed=seed,
                stop_on_answer=False,
                calibration=policy.calibration,
                counterfactuals=0.0 if policy.family in (SMALL, LARGE, ORACLE) else self._plan.counterfactuals,
                reward=lambda task, answer: scored(self._plan.workload, task, answer)[0],
                experience=f"{self._folder.id} seed {seed}",
                **others,
            )
            for seed in self._tasks
        }

    async def _work(self, waiting: Iterator[tuple[Policy, Pipeline, int, Task]]) -> None:
        for policy, pipeline, seed, task in waiting:
            run_id = derived("bench", self._folder.id, repr(policy), str(seed), str(task.id))
            result = await pipeline.arun(task, run_id=run_id)
            sample = self._sample(policy, seed, task, result, pipeline.journal)
            self._folder.add(sample)
            self._tell(sample)

    def _sample(self, policy: Policy, seed: int, task: Task, result: RunResult, journal: Journal) -> Sample:
        stored = journal.run(result.run_id)
        engines = tuple(self._pipeline.engines)
        signals = own_signals(stored, policy.asked)
        score, error = scored(self._plan.workload, task, result.answer)
        writers = [step.writer for step in result.steps if step.writer in engines]
        return Sample(
            policy=policy.label,
            seed=seed,
            task=str(task.id),
            run_id=result.run_id,
            status=result.status.value,
            answer=result.answer,
            gold=task.answer,
            score=score,
            score_error=error,
            steps=len(writers),
            large_steps=writers.count(engines[-1]),
            escalations=sum(row.door != "runtime" and row.action in ("rewrite", "handoff") for row in stored.decisions),
            returns=sum(engines.index(one) > engines.index(other) for one, other in pairwise(writers)),
            events=dict(Counter(row.kind for row in stored.events if RAISED in loads(row.detail or "{}"))),
            seconds=result.seconds,
            uses=uses_of(own_calls(stored, policy.asked), engines),
            purposes={
                f"{engine}/{purpose}/{fate}": entry.output_tokens
                for engine, purpose, fate, entry in result.ledger
                if purpose != TOOL
            },
            ratings=len(signals),
            rated=tuple(sorted({signal.value for signal in signals if signal.value is not None})),
            missing=tuple(signal.reason for signal in signals if signal.value is None),
            share=_share(policy),
            compared=tuple((each.is_large, each.kept, each.other) for each in compared(stored)),
            error=str(result.error or ""),
            in_a_row=_in_a_row(result.steps),
        )


def _share(policy: Policy) -> float | None:
    """Return the share of steps that a random control gives to the large engine."""
    share: float | None = getattr(policy.router, "large_share", None)
    return share


def _in_a_row(steps: Sequence[Step]) -> int:
    """Return how many calls in a row were the same and answered the same, at most."""
    calls = ((move.action, move.observation) for move in moves_in(steps) if move.action)
    return max((sum(1 for _ in same) for _, same in groupby(calls)), default=0)
