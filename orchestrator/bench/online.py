"""Test, then learn: every task is answered with the handbook as it stands, which counts, and only then learned from.

The same tasks are answered without a handbook, and with its shuffled twin; where asked for, the answers without one get
second attempts. When all are learned from, other tasks are answered with the handbook as it is then, without learning.

Runs have ids that follow from the folder, the arm and the task, and a task's samples are written after it was learned
from: a command that was killed goes on with the task it was at, and asks nobody twice.

Source: ACE, arXiv:2510.04618, online adaptation. Differs: one task at a time where there a window of 15 is tested
first; the outcome comes from the workload's scorer; the shuffled twin, second attempts and the held-out tasks are
beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from orchestrator.behaviors import Behavior
from orchestrator.bench.folder import Folder
from orchestrator.bench.online_sample import answer_of, of_attempt, of_learning, sample_of
from orchestrator.bench.sample import Sample
from orchestrator.bench.shuffled import lay, shuffled
from orchestrator.bench.workloads.base import Workload, fingerprint, scored
from orchestrator.errors import UserError
from orchestrator.learning.second_attempts import SecondAttempts
from orchestrator.learning.strategist import Learnt, Strategist
from orchestrator.memory.base import StoredRun
from orchestrator.memory.handbook import Handbook
from orchestrator.memory.ids import derived
from orchestrator.memory.store import Store
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.runtime.result import RunResult
from orchestrator.types import Status, Task

__all__ = ["ARMS", "HELD_OUT", "LEARNED", "NONE", "SECOND", "SHUFFLED", "Online", "OnlinePlan"]

NONE, LEARNED, SHUFFLED = ARMS = ("no handbook", "handbook", "shuffled")
"""What each task is answered with."""
SECOND = ("guided", "revised")
"""Second attempts behind the answer without a handbook."""
HELD_OUT = "held out, "
"""Begins the name of an arm that answers the tasks that nothing is learned from."""
_BOOK, _TWIN = "handbook.db", "shuffled.db"


@dataclass(frozen=True, kw_only=True)
class OnlinePlan:
    """What is answered and learned from."""

    workload: Workload
    split: str
    tasks: int
    """To learn from, in this order."""
    held_out: int
    """Other tasks, answered behind them."""
    seed: int
    second: bool
    """Whether there are second attempts."""

    def settings(self) -> dict[str, Any]:
        """Return what the results depend on, for comparing folders."""
        plan = {name: getattr(self, name) for name in ("split", "tasks", "held_out", "seed", "second")}
        return {"protocol": "handbook", "workload": dict(self.workload.settings), **plan}


class Online:
    """Runs a plan in a folder that has begun. `pipeline` lends its engines, router, budget and options of recall.

    Raises UserError for a workload that has too few tasks.
    """

    def __init__(self, pipeline: Pipeline, plan: OnlinePlan, folder: Folder) -> None:
        self._plan, self._folder = plan, folder
        self._tasks, self._held_out = _drawn(plan)
        self._online_arms = (*ARMS, *(SECOND if plan.second else ()))
        self._behind = tuple(HELD_OUT + arm for arm in ARMS)
        self._stores = {name: Store(folder.path / name) for name in (_BOOK, _TWIN)}
        self._book, self._twin = Handbook(self._stores[_BOOK]), Handbook(self._stores[_TWIN])
        given: dict[str, Any] = {"router": pipeline.router, "calibration": pipeline.calibration, "seed": plan.seed}
        self._arms = {
            prefix + arm: pipeline.but(
                **given, handbook=handbook, reward=reward, experience=f"{folder.id} {prefix}{arm}"
            )
            for prefix, reward in (("", self._reward), (HELD_OUT, _unknown))
            for arm, handbook in zip(ARMS, (None, self._book, self._twin), strict=True)
        }
        self._journal = pipeline.journal
        self._engines = tuple(pipeline.engines)
        self._strategist = Strategist(self._arms[NONE], self._book)
        self._second = SecondAttempts(self._arms[NONE]) if plan.second else None

    @property
    def due(self) -> int:
        """How many samples are to be made."""
        passes = (self._online_arms, self._tasks), (self._behind, self._held_out)
        return sum(len(self._missing(arms, task)) for arms, tasks in passes for task in tasks)

    def _missing(self, arms: Sequence[str], task: Task) -> list[str]:
        return [arm for arm in arms if (arm, self._plan.seed, str(task.id)) not in self._folder.samples]

    async def run(self, listener: Callable[[Sample], None] = lambda _: None) -> None:
        """Run what is due, in order, and tell `listener` every finished sample.

        Raises EngineError where a run fails: what comes behind depends on it.
        """
        for task in self._tasks:
            if missing := self._missing(self._online_arms, task):
                samples = await self._test_then_learn(task)
                self._add(samples, missing, listener)
        for task in self._held_out:
            if missing := self._missing(self._behind, task):
                samples = [self._sample(arm, task, [await self._answered(arm, task)]) for arm in self._behind]
                self._add(samples, missing, listener)

    def _reward(self, task: Task, answer: str | None) -> float:
        return scored(self._plan.workload, task, answer)[0]

    async def _test_then_learn(self, task: Task) -> list[Sample]:
        found = {arm: [await self._answered(arm, task)] for arm in ARMS}
        (first,), (tested,) = found[NONE], found[LEARNED]
        told: dict[str, dict[str, int]] = {}
        if self._second is not None:
            for attempt in (await self._second.guided(first.run.id), await self._second.revised(first.run.id)):
                second = [] if attempt.second is None else [self._over(attempt.second)]
                found[attempt.way], told[attempt.way] = [first, *second], of_attempt(attempt)
        learnt = await self._learnt(tested, is_right=self._reward(task, answer_of(tested)) >= 1)
        behaviors = self._book.behaviors()
        lay(self._twin, shuffled(behaviors))
        told[LEARNED] = of_learning(learnt, behaviors)
        return [self._sample(arm, task, runs, told.get(arm, {})) for arm, runs in found.items()]

    async def _learnt(self, tested: StoredRun, *, is_right: bool) -> Learnt:
        """Learn from a run; where a command died behind that, the journal is asked again what it took."""
        learnt = await self._strategist.alearn(tested, is_right=is_right)
        if not learnt.skipped:
            return learnt
        with Store(":memory:") as store:
            return await Strategist(self._arms[NONE], Handbook(store)).alearn(tested, is_right=is_right)

    async def _answered(self, arm: str, task: Task) -> StoredRun:
        run_id = derived("handbook", self._folder.id, arm, str(task.id))
        return self._over(await self._arms[arm].arun(task, run_id=run_id))

    def _over(self, result: RunResult) -> StoredRun:
        if result.status is Status.FAILED:
            raise result.error or UserError(f"run {result.run_id} failed: {result.reason}")
        return self._journal.run(result.run_id)

    def _add(self, samples: Sequence[Sample], missing: Sequence[str], listener: Callable[[Sample], None]) -> None:
        for sample in samples:
            if sample.policy in missing:
                self._folder.add(sample)
                listener(sample)

    def _sample(
        self, arm: str, task: Task, runs: Sequence[StoredRun], told: Mapping[str, int] = MappingProxyType({})
    ) -> Sample:
        score = scored(self._plan.workload, task, answer_of(runs[-1]))
        return sample_of(arm, self._plan.seed, task, runs, score, self._engines, told)

    def close(self) -> None:
        """Let go of the handbooks' files."""
        for store in self._stores.values():
            store.close()

    def learned(self) -> list[Behavior]:
        """Return what the handbook holds."""
        return self._book.behaviors()


def _unknown(task: Task, answer: str | None) -> None:
    """Nobody says what an answer was worth: nothing is credited, and the handbook stays as it is."""


def _drawn(plan: OnlinePlan) -> tuple[list[Task], list[Task]]:
    """Return the tasks that are learned from, and those that are held out."""
    drawn = plan.workload.draw(plan.split, plan.seed, plan.tasks + plan.held_out)
    name, tasks, held_out = plan.workload.name, drawn[: plan.tasks], drawn[plan.tasks :]
    if len(drawn) < plan.tasks + plan.held_out:
        wanted = f"{plan.tasks} to learn from and {plan.held_out} held out are too many"
        raise UserError(f"{name} has {len(drawn)} tasks in split {plan.split}: {wanted}")
    if {*map(fingerprint, tasks)} & {*map(fingerprint, held_out)}:
        raise UserError(f"{name} asks the same question twice: what is held out must not have been learned from")
    return tasks, held_out
