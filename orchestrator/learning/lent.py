"""One engine of a pipeline, lent to answer questions of ours: nothing routes it or gives it tools, and it is stopped
where it repeats itself.

A question is a run of its own, so it is in the journal with its ledger, within the pipeline's budget, and never asked
twice: its id follows from what is asked and of whom. The runs of the pipeline's tasks know nothing of it.
"""

from __future__ import annotations

from asyncio import sleep
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from json import dumps, loads
from typing import Any

from orchestrator.decisions import Plan
from orchestrator.doors import Needs
from orchestrator.errors import EngineError, RunTaken, UnknownName
from orchestrator.ledger import Entry
from orchestrator.memory.base import LEARNS
from orchestrator.memory.ids import derived
from orchestrator.runtime.opening import is_over
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.runtime.result import RunResult
from orchestrator.types import History, Message, Status, Task

__all__ = ["Lent"]

_LOOK_AGAIN_S = 0.1
"""How long to wait before looking again whether another process has been answered."""


@dataclass(frozen=True, kw_only=True)
class _Only:
    """Let one engine write everything."""

    needs = Needs(steps=False)
    engine: str

    def before_step(self, history: History) -> Plan:
        """Plan that engine."""
        return Plan(engine=self.engine)


class Lent:
    """The engine of `pipeline` that is called `engine`, None for the largest. Raises UnknownName.

    Another `seed` draws other texts.
    """

    def __init__(self, pipeline: Pipeline, engine: str | None = None, *, seed: int = 0) -> None:
        if engine is not None and engine not in pipeline.writers:
            raise UnknownName(f"no engine {engine!r:.80} that writes; the pipeline has {', '.join(pipeline.writers)}")
        router: Any = "large" if engine is None else _Only(engine=engine)
        settings = loads(pipeline.settings)
        own: int = settings["seed"]
        self.engine = engine or pipeline.writers[-1]
        self.who = f"{self.engine} {_digest(dumps(settings['engines'][self.engine]))}"
        """Names the engine: one that serves another model is another one."""
        self._pipeline = pipeline.but(
            router=router,
            scorers={},
            seed=own + seed,
            stop_on_answer=False,
            reward=lambda task, answer: None,
            monitors=("stalled",),
            tools=(),
            mode=None,
            handbook=None,
        )
        self._name = _digest(self._pipeline.settings)
        self.new = Entry()
        """What it was asked by now, without what the journal had been told before."""

    async def ask(self, messages: Sequence[Message]) -> RunResult:
        """Return what the engine answers, or answered before.

        Raises EngineError where nobody can be asked, and UserError for a budget that leaves no room.
        """
        task = Task(messages=tuple(messages))
        asked = derived("learn", self._name, "\0".join(f"{role}:{text}" for role, text in messages))
        before = self._pipeline.journal.stored(asked)
        result = await self._answered(task, asked)
        if before is None or not is_over(before):
            self.new.add(result.ledger.total())
        if result.status is Status.FAILED:
            raise result.error or EngineError(f"it was asked and failed: {result.reason}", engine=self.engine)
        return result

    async def _answered(self, task: Task, run_id: str) -> RunResult:
        while True:
            try:
                return await self._pipeline.arun(task, run_id=run_id, batch=LEARNS + self._name)
            except RunTaken:  # another learner asks the same: what it is told will do
                await sleep(_LOOK_AGAIN_S)


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=10).hexdigest()
