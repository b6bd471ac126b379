"""A pipeline: engines, a router and limits, ready to run tasks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from functools import cached_property
from json import dumps, loads
from os import PathLike
from time import time
from typing import Any, Literal

from orchestrator.config import default_db
from orchestrator.engines.base import Capabilities, Engine
from orchestrator.engines.retry import RetryPolicy
from orchestrator.engines.scorers.base import Scorer
from orchestrator.engines.spec import EngineSpec
from orchestrator.engines.step_stream import StepStream
from orchestrator.errors import ResumeRefused, UnknownName, UserError
from orchestrator.ledger import Ledger, Price
from orchestrator.memory.base import EventRow, RunRow, StoredRun
from orchestrator.memory.ids import run_id as new_id
from orchestrator.memory.journal import Journal
from orchestrator.memory.store import Store
from orchestrator.monitors.base import Monitor
from orchestrator.monitors.stalled import Stalled
from orchestrator.runtime import build, ending, step
from orchestrator.runtime.answer import Extractor, extractor
from orchestrator.runtime.budget import Spender
from orchestrator.runtime.calls import Calls, run_seed
from orchestrator.runtime.fork import ancestors, fork
from orchestrator.runtime.graph import State, build_graph
from orchestrator.runtime.portal import run_sync
from orchestrator.runtime.result import RunResult
from orchestrator.runtime.resume import restore, spent_s
from orchestrator.runtime.run import Run
from orchestrator.runtime.untraced import untraced
from orchestrator.types import Budget, History, Message, Status, Task

__all__ = ["Pipeline"]

Given = str | Task | Sequence[Message]


class Pipeline:
    """Runs tasks step by step over several engines.

    `engines` are named cheapest first; the last one is the most capable. `router` is a name or an
    object with the doors of routers/base.py. `db` is the journal's file: None for the user's
    default, ":memory:" for none on disk. `granularity` "steps" gives one graph node per engine,
    "fused" the same loop in one node, for throughput; both keep the same texts.

    Raises UserError for what cannot work. Engines are contacted at the first run, not here.
    """

    def __init__(
        self,
        engines: Mapping[str, EngineSpec | Engine],
        router: Any = "specreason",
        *,
        monitors: Iterable[Monitor] = (Stalled(),),
        scorers: Mapping[str, Scorer] | None = None,
        budget: Budget = Budget(tokens=16384),  # noqa: B008 - frozen
        answer: str | Extractor | Sequence[str | Extractor] = ("boxed", "marked", "after_think"),
        stop_on_answer: bool = True,
        delimiter: str = "\n\n",
        think: bool | None = None,
        seed: int = 0,
        db: str | PathLike[str] | None = None,
        durability: Literal["process", "power"] = "process",
        granularity: Literal["steps", "fused"] = "steps",
        failover: bool = True,
        retries: RetryPolicy = RetryPolicy(),  # noqa: B008 - frozen
        allow_langsmith: bool = False,
    ) -> None:
        if granularity not in ("steps", "fused"):
            raise UserError(f"granularity = {granularity!r}; known: steps, fused")
        if not delimiter:
            raise UserError("the delimiter is empty: a step has to end somewhere")
        self.engines, self.specs = build.engines_of(engines)
        self.router = build.router_of(router)
        self.budget = budget
        self._check_budget()
        self._doors = build.doors_of(self.router)
        self._monitors = tuple(monitors)
        self._scorers = build.scorers_of(scorers or {}, tuple(self.engines))
        self._find_answer = extractor(answer)
        self._stop_on_answer = stop_on_answer
        self._delimiter = delimiter
        self._think = think
        self._seed = seed
        self._db = db
        self._durability = durability
        self._failover = failover
        self._retries = retries
        self._allow_langsmith = allow_langsmith
        self._answer = answer
        self._journal: Journal | None = None
        self._store: Store | None = None
        self._capabilities: dict[str, Capabilities] | None = None
        self._resting: dict[str, float] = {}
        self._live: dict[str, Run] = {}
        self._driven: set[str] = set()
        self.graph = build_graph(tuple(self.engines), self._enter, self._leave, fused=granularity == "fused")
        """The compiled LangGraph graph; give it `{"run": id}` of a run opened with `open`."""

    def _check_budget(self) -> None:
        limits = [self.budget, *self.budget.engines.values()]
        if any(limit.cost is not None for limit in limits) and all(
            spec.price == Price() for spec in self.specs.values()
        ):
            raise UserError("a budget of cost needs prices: give the engines price=Price(prompt=..., output=...)")
        for name in self.budget.engines:
            if name not in self.engines:
                raise UnknownName(f"budget for engine {name!r}; the pipeline has {', '.join(self.engines)}")

    # ---- running

    def run(self, task: Given, **options: Any) -> RunResult:
        """Run one task to its end; see `arun`. Works where an event loop is already running, too."""
        return run_sync(self.arun(task, **options))

    async def arun(
        self,
        task: Given,
        *,
        run_id: str | None = None,
        batch: str = "",
        position: int = 0,
        listener: Callable[[Any], None] | None = None,
    ) -> RunResult:
        """Run one task to its end and return what came of it.

        With the `run_id` of a stored run, that run is continued from where its journal ends, or,
        if it was finished, given back without calling any engine. `batch` and `position` name the
        task's place in a file, for resuming the file. `listener` is told of decisions and kept steps.

        Raises UserError, EngineError (an engine could not be started) or StoreError. What goes wrong
        in the course of a run is its status.
        """
        run = await self.open(task, run_id=run_id, batch=batch, position=position)
        if listener is not None:
            run.listeners.append(listener)
        return await self._drive(run)

    async def _drive(self, run: Run) -> RunResult:
        if run.id in self._driven:
            raise UserError(f"run {run.id} is being executed already: wait for it")
        self._driven.add(run.id)
        try:
            if run.outcome is None:
                with untraced(is_allowed=self._allow_langsmith):
                    await self.graph.ainvoke(_state(run), {"recursion_limit": 1_000_000})
            assert run.outcome is not None
            return run.outcome
        finally:
            self._driven.discard(run.id)
            self._leave(run)

    async def stream(self, task: Given, **options: Any) -> AsyncIterator[Any]:
        """Run one task and yield Decided and Kept events as they happen, then the RunResult."""
        events: asyncio.Queue[Any] = asyncio.Queue()
        running = asyncio.ensure_future(self.arun(task, listener=events.put_nowait, **options))
        running.add_done_callback(lambda _: events.put_nowait(None))
        try:
            while (event := await events.get()) is not None:
                yield event
            yield await running
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    # ---- opening

    async def open(self, task: Given, *, run_id: str | None = None, batch: str = "", position: int = 0) -> Run:
        """Make a run ready, new or stored; `graph` then finds it by its id."""
        given = Task.of(task)
        stored = self.journal.stored(run_id) if run_id else None
        if stored is None or not _is_over(stored):  # what is over needs no engine, not even one that answers
            await self.start()
            stored = self.journal.stored(run_id) if run_id else None
        if stored is not None:
            return self._reopen(stored, given)
        name = run_id or new_id()
        row = RunRow(
            id=name,
            parent=None,
            batch=batch,
            position=position,
            task=_task_json(given),
            settings=self._settings,
            engines=self._engines_json(),
            created_s=time(),
        )
        run = self._assemble(name, self.journal.open_run(row), given, spent_s=0.0)
        step.plan(run)
        self._live[name] = run
        return run

    def _reopen(self, stored: StoredRun, task: Task) -> Run:
        if live := self._live.get(stored.run.id):
            return live
        self._compare(stored, task)
        if not _is_over(stored):
            self.journal.claim(stored.key)
            stored = self.journal.run(stored.run.id)  # whoever executed it may have written more since it was read
        run = self._assemble(stored.run.id, stored.key, task, spent_s=spent_s(stored))
        restore(run, stored, ancestors(self.journal, stored))
        if stored.outcome is not None and _is_over(stored):
            ending.reopen(run, stored.outcome)
        else:
            run.journal.event(EventRow(run.key, len(run.history.steps), "resumed", "", time()))
            step.settle(run)
        self._live[run.id] = run
        return run

    def _compare(self, stored: StoredRun, task: Task) -> None:
        before, now = loads(stored.run.settings), loads(self._settings)
        for key in sorted(before.keys() | now.keys()):
            if before.get(key) != now.get(key):
                raise ResumeRefused(
                    f"run {stored.run.id} was made with {key} = {dumps(before.get(key))}, not {dumps(now.get(key))}: "
                    "give the same settings, or start anew without --resume"
                )
        if stored.run.task != _task_json(task):
            raise ResumeRefused(f"run {stored.run.id} was made for another task: give the same one, or start anew")

    def _assemble(self, run_id: str, key: int, task: Task, *, spent_s: float) -> Run:
        names = tuple(self.engines)
        prices = {name: spec.price for name, spec in self.specs.items()}
        seed = run_seed(self._seed, dumps(task.messages))
        ledger = Ledger(names, prices)
        spender = Spender(self.budget, prices, spent_s=spent_s)
        tokenizers = {name: can.tokenizer for name, can in self._ready.items()}
        contexts = {name: can.context for name, can in self._ready.items()}
        # Where nobody else can take over there is nothing to gain from leaving an engine alone.
        resting = self._resting if self._failover and len(names) > 1 else None
        return Run(
            id=run_id,
            key=key,
            history=History(task=task, engines=names, seed=seed),
            stream=StepStream(self.engines, tokenizers, task.messages, think=self._think),
            call=Calls(key, seed, self.engines, contexts, self.journal, ledger, spender, self._retries, resting),
            ledger=ledger,
            spender=spender,
            journal=self.journal,
            doors=self._doors,
            monitors=self._monitors,
            scorers=self._scorers,
            samplings={name: spec.sampling for name, spec in self.specs.items()},
            find_answer=self._find_answer,
            delimiter=self._delimiter,
            stop_on_answer=self._stop_on_answer,
            can_fail_over=self._failover,
            chat_only=frozenset(name for name, can in self._ready.items() if not can.continues),
        )

    async def _enter(self, state: State) -> Run:
        if live := self._live.get(state["run"]):
            return live
        stored = self.journal.run(state["run"])
        name, tip = stored.run.id, len(stored.kept())
        if (to_step := state.get("step", tip)) < tip:
            await self.start()
            name = fork(self.journal, stored, to_step, settings=self._settings, engines=self._engines_json())
        return await self.open(_task_of(stored), run_id=name)

    def _leave(self, run: Run) -> None:
        """Let go of a run; one that is not over can be opened again from its journal, by any process."""
        if self._live.pop(run.id, None) is not None and run.outcome is None:
            run.journal.commit(run.key)
            run.journal.release(run.key)

    def _engines_json(self) -> str:
        return dumps({name: _plain(can) for name, can in self._ready.items()})

    @cached_property
    def _settings(self) -> str:
        return dumps(
            build.settings_of(
                {
                    "engines": self.specs,
                    "router": self.router,
                    "monitors": self._monitors,
                    "scorers": self._scorers,
                    "budget": {**build.settings_of(self.budget)},
                    "answer": self._answer,
                    "stop_on_answer": self._stop_on_answer,
                    "delimiter": self._delimiter,
                    "think": self._think,
                    "seed": self._seed,
                    "failover": self._failover,
                }
            ),
            sort_keys=True,
        )

    # ---- life

    async def start(self) -> dict[str, Capabilities]:
        """Make every engine ready, check that they can do what the router needs, and return what they can do."""
        if self._capabilities is None:
            names = list(self.engines)
            found = await asyncio.gather(*(self.engines[name].start() for name in names))
            capabilities = dict(zip(names, found, strict=True))
            build.check_needs(self.router, self._scorers, capabilities)
            self._capabilities = capabilities
        return self._capabilities

    @property
    def _ready(self) -> dict[str, Capabilities]:
        """What the engines can do; empty before they were started."""
        return self._capabilities or {}

    @property
    def journal(self) -> Journal:
        """The journal, opened at first use."""
        if self._journal is None:
            self._store = Store(self._db or default_db(), durability=self._durability)
            self._journal = Journal(self._store)
        return self._journal

    async def aclose(self) -> None:
        """Let go of engines and of the journal's file."""
        await asyncio.gather(*(engine.close() for engine in self.engines.values()))
        self._capabilities = None
        if self._store is not None and self._journal is not None:
            self._journal.close()
            self._store.close()
            self._journal = self._store = None

    def close(self) -> None:
        """As `aclose`, from plain code."""
        run_sync(self.aclose())

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    async def __aenter__(self) -> Pipeline:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()


def _is_over(stored: StoredRun) -> bool:
    """Return whether nothing is left to do; a failed run is tried again."""
    return stored.outcome is not None and stored.outcome.status != Status.FAILED


def _state(run: Run) -> State:
    return {"run": run.id, "step": len(run.history.steps), "next": run.place}


def _task_json(task: Task) -> str:
    return dumps({"messages": task.messages, "id": task.id, "answer": task.answer})


def _task_of(stored: StoredRun) -> Task:
    given = loads(stored.run.task)
    return Task(
        messages=tuple(Message(*message) for message in given["messages"]), id=given["id"], answer=given["answer"]
    )


def _plain(capabilities: Capabilities) -> dict[str, Any]:
    return {name: getattr(capabilities, name) for name in Capabilities.__slots__}
