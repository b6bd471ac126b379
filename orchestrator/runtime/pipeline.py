"""A pipeline: engines, a router and limits, ready to run tasks."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from copy import copy
from dataclasses import replace
from functools import cached_property, partial
from json import dumps
from os import PathLike
from types import MappingProxyType
from typing import Any, Literal

from orchestrator.config import default_db
from orchestrator.engines.base import Capabilities, Engine
from orchestrator.engines.embedding import Embedding, EmbeddingSpec
from orchestrator.engines.retry import RetryPolicy
from orchestrator.engines.scorers.base import Scorer
from orchestrator.engines.spec import EngineSpec, ToolPrompt
from orchestrator.errors import RunTaken, UnknownName, UserError
from orchestrator.handbook.recall import Recall, Recalled
from orchestrator.ledger import Price
from orchestrator.memory.base import StoredRun
from orchestrator.memory.handbook import Handbook, Place
from orchestrator.memory.ids import run_id as new_id
from orchestrator.memory.journal import Journal
from orchestrator.memory.store import Store
from orchestrator.runtime import build, checks, moding, opening, tooling
from orchestrator.runtime.answer import Extractor, extractor
from orchestrator.runtime.calibration import Calibration, check_calibrated, check_fit, check_monitor, read
from orchestrator.runtime.calls import run_seed
from orchestrator.runtime.circumstances import circumstances
from orchestrator.runtime.foreign import brought
from orchestrator.runtime.fork import fork
from orchestrator.runtime.graph import State, build_graph
from orchestrator.runtime.lasting import unrepeatable
from orchestrator.runtime.learning import checked, give_reward
from orchestrator.runtime.opening import ToolsFor
from orchestrator.runtime.pairing import Pair, pair_of
from orchestrator.runtime.portal import run_sync
from orchestrator.runtime.readings import Readings
from orchestrator.runtime.recalling import recall as recalled_for
from orchestrator.runtime.result import RunResult
from orchestrator.runtime.run import Approver, Reward, Run
from orchestrator.runtime.untraced import untraced
from orchestrator.types import Budget, Message, Overlap, Task

__all__ = ["Pipeline"]

SAME: Any = object()
"""What a pipeline that differs in something else keeps."""
Given = str | Task | Sequence[Message]


class Pipeline:
    """Runs tasks step by step over several engines.

    `engines` are named cheapest first; the last one is the most capable. One that only measures
    (`writes=False`) has its place before them, wherever it was named. `router` is a name or an
    object with the doors of routers/base.py. `calibration` is a file that `orchestrator calibrate`
    wrote: it sets the router's threshold, and runs are refused where the engines are others.
    `counterfactuals` is a share of steps at which the other engine's step is written as well, scored
    by `verifier` or `prm` where there is one, and thrown away; it counts against the budget.
    `db` is the journal's file: None for the user's default, ":memory:" for none on disk.
    `granularity` "steps" gives one graph node per engine, "fused" the same loop in one node, for
    throughput; both keep the same texts. A router that learns is told what each answer is worth by
    `reward`, or else whether it is the task's gold one, and by `Pipeline.reward`; what it has learned
    is in the journal, and another name of `experience` starts afresh. `overlap` says what
    is begun before a verdict has come: it, too, keeps the same texts.

    `monitors` are names or objects (monitors/base.py); `tools` are typed functions, names or Tools, or a function that
    makes those of a task, which then are a simulation: a resumed run makes the calls again that bring them to where
    they were. `tool_prompt` says how engines are told of them and how they write calls. `approve` is asked before a
    tool that wants approval is called, and answers True, False, or a text: no, and why, for the engine to read;
    without it, and outside a graph with a checkpointer, such calls are denied.
    `mode` says how much to think: a name such as "no_think", "think(512)" or "auto", a Mode, or a policy
    (modes/base.py); None leaves every engine to its own switch. `fallback` is the mode of a run whose engines cannot
    honour the one that was chosen, or whose policy cannot choose; "refuse", or None, refuses such a run.
    `handbook` is what runs recall behaviors from, FILE or FILE#NAME, as `recall`, a Recall, says: by words, and by
    meaning where there is an `embedding`, such as `orchestrator.engines.embedding(path="minilm")`.

    Raises UserError for what cannot work. Engines are contacted at the first run, not here.
    """

    def __init__(
        self,
        engines: Mapping[str, EngineSpec | Engine],
        router: Any = "specreason",
        *,
        calibration: str | PathLike[str] | Calibration | None = None,
        counterfactuals: float = 0.0,
        monitors: Iterable[Any] = ("stalled",),
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
        overlap: Overlap = Overlap(),  # noqa: B008 - frozen
        tools: Sequence[Any] | ToolsFor = (),
        tool_prompt: ToolPrompt | None = None,
        approve: Approver | None = None,
        mode: Any = None,
        fallback: Any = "as-it-is",
        retries: RetryPolicy = RetryPolicy(),  # noqa: B008 - frozen
        handbook: str | PathLike[str] | Handbook | None = None,
        recall: Recall = Recall(),  # noqa: B008 - frozen
        embedding: EmbeddingSpec | Embedding | None = None,
        reward: Reward | None = None,
        experience: str = "",
        allow_langsmith: bool = False,
    ) -> None:
        if granularity not in ("steps", "fused"):
            raise UserError(f"granularity = {granularity!r}; known: steps, fused")
        if durability not in ("process", "power"):
            raise UserError(f"durability = {durability!r}; known: process, power")
        if db is not None and not os.fspath(db):
            raise UserError("db is empty: name a file, or leave it out")
        if approve is not None and not callable(approve):
            raise UserError(f"approve = {approve!r:.60}: give a function that is asked before a call, or leave it out")
        if not delimiter:
            raise UserError("the delimiter is empty: a step has to end somewhere")
        if not isinstance(recall, Recall):
            raise UserError(f"recall = {recall!r:.60}: give a Recall, as orchestrator.Recall(limit=3)")
        self.engines, self.specs = build.engines_of(engines)
        given = calibration if calibration is None or isinstance(calibration, Calibration) else read(calibration)
        self.calibration = given
        """What the router's threshold was chosen by; None for published defaults, or the caller's own."""
        self.router = build.router_of(router)
        if given is not None:
            self.router = given.laid_over(self.router)
        checks.check_engines(self.router, self.writers, self.specs)
        self.budget = budget
        self.monitors = build.monitors_of(monitors)
        """What watches its runs, in order."""
        self.tools = tooling.tools_of(tools)
        """What its runs may call, or the function that makes a task's own."""
        self.approve = approve
        """Is asked before a tool that wants approval is called; None where nobody can be asked."""
        self._mode, self._fallback = build.mode_of(mode), build.fallback_of(fallback)
        self._check_budget()
        self._handbook = handbook
        self.recall = recall
        """How its runs recall behaviors, where there is a handbook."""
        self._shelf: Store | None = None
        self._opened: Handbook | None = None
        self.embedding = embedding.made() if isinstance(embedding, EmbeddingSpec) else embedding
        """What embeds for its handbook; None where behaviors are recalled by words only."""
        self._scorers = build.scorers_of(scorers or {}, self.specs)
        self._counterfactual = build.counterfactual_of(self.router, counterfactuals, self._scorers)
        self._recipe_with = partial(
            opening.Recipe,
            doors=build.doors_of(self.router, self._counterfactual),
            calibration=given,
            counterfactuals=build.counterfactual_settings(self._counterfactual),
            monitors=self.monitors,
            tools=self.tools,
            tool_prompt=tooling.tool_prompt_of(tool_prompt, self.specs),
            mode=self._mode,
            fallback=self._fallback,
            scorers=self._scorers,
            answer=answer,
            find_answer=extractor(answer),
            stop_on_answer=stop_on_answer,
            delimiter=delimiter,
            think=think,
            seed=seed,
            failover=failover,
            retries=retries,
            recall=None if handbook is None else recall,
            reward=reward,
            experience=experience,
            overlap=overlap,
        )
        checks.check_heeded(self.router, self.monitors)
        checks.check_overlap(overlap, self._recipe_with.keywords)
        checks.check_followed(self._recipe_with.keywords["recall"], self.monitors)
        tooling.check_tools(self.tools, self.engines)
        checks.check_asked({"monitor": self.monitors, "mode": [self._mode]}, self.engines)
        self._db = db
        self._durability = durability
        self._allow_langsmith = allow_langsmith
        self._journal: Journal | None = None
        self._store: Store | None = None
        self._capabilities: dict[str, Capabilities] | None = None
        self._pairs: list[Pair] = []  # one, once it is known; shared with the pipelines that `but` gives
        self._is_fit = False
        self._is_experiment = False
        self._live: dict[str, Run] = {}
        self._driven: set[str] = set()
        self._granularity = granularity
        self._build_graph()

    def but(
        self,
        *,
        router: Any,
        scorers: Mapping[str, Scorer] = MappingProxyType({}),
        seed: int = SAME,
        stop_on_answer: bool = SAME,
        calibration: Calibration | None = None,
        counterfactuals: float = 0.0,
        reward: Reward | None = None,
        experience: str = "",
        monitors: Iterable[Any] = SAME,
        mode: Any = SAME,
        tools: Sequence[Any] | ToolsFor = SAME,
        handbook: Handbook | None = SAME,
        recall: Recall = SAME,
        budget: Budget = SAME,
    ) -> Pipeline:
        """Return a pipeline that differs in these and shares this one's engines and journal: close this one only.

        `scorers` are added to the ones there are; `reward`, `monitors`, `mode`, `tools`, `handbook`, `recall`, `seed`,
        `budget` and `stop_on_answer` are this one's unless given.
        It is for experiments: a router that needs a calibration runs without one, marked as uncalibrated, because how
        else would it get one.
        """
        other = copy(self)
        other.calibration = calibration
        other.router = build.router_of(router)
        if calibration is not None:
            other.router = calibration.laid_over(other.router)
        checks.check_engines(other.router, self.writers, self.specs)
        other._scorers = build.scorers_of({**self._scorers, **scorers}, self.specs)
        other._counterfactual = build.counterfactual_of(other.router, counterfactuals, other._scorers)
        if monitors is not SAME:
            other.monitors = build.monitors_of(monitors)
        if tools is not SAME:
            other.tools = tooling.tools_of(tools)
            tooling.check_tools(other.tools, self.engines)
        if mode is not SAME:
            other._mode = build.mode_of(mode)
        if handbook is not SAME:
            other._handbook = handbook
        if recall is not SAME:
            other.recall = recall
        if budget is not SAME:
            other.budget = budget
            other._check_budget()
        other._recipe = replace(
            self._recipe,
            router=other.router,
            doors=build.doors_of(other.router, other._counterfactual),
            scorers=other._scorers,
            seed=self._recipe.seed if seed is SAME else seed,
            stop_on_answer=self._recipe.stop_on_answer if stop_on_answer is SAME else stop_on_answer,
            calibration=calibration,
            counterfactuals=build.counterfactual_settings(other._counterfactual),
            reward=self._recipe.reward if reward is None else reward,
            readings=Readings(),
            experience=experience,
            monitors=other.monitors,
            mode=other._mode,
            tools=other.tools,
            recall=None if other._handbook is None else other.recall,
            budget=other.budget,
        )
        checks.check_heeded(other.router, other.monitors)
        checks.check_overlap(other._recipe.overlap, vars(other._recipe))
        checks.check_followed(other._recipe.recall, other.monitors)
        checks.check_asked({"monitor": other.monitors, "mode": [other._mode]}, self.engines)
        other._is_experiment, other._is_fit = True, False
        other._capabilities = None  # they have to be held against what the new router needs
        other._journal, other._store = self.journal, None
        other._live, other._driven = {}, set()
        other._build_graph()
        return other

    @property
    def db(self) -> str:
        """The journal's file, or ":memory:". It can be changed until the journal is opened; UserError after that."""
        return str(self._db or default_db())

    @db.setter
    def db(self, path: str) -> None:
        if self._journal is not None:
            raise UserError(f"the journal {self.db} is open already: choose another file before the first run")
        self._db = path

    @property
    def handbook(self) -> Handbook | None:
        """What its runs recall behaviors from, and credit, opened at first use; None for none."""
        if self._handbook is None or isinstance(self._handbook, Handbook):
            return self._handbook
        if self._shelf is None:
            place = Place.of(os.fspath(self._handbook))
            self._shelf = Store(place.file)
            self._opened = Handbook(self._shelf, place.name)
        return self._opened

    @property
    def handbook_place(self) -> Place | None:
        """Where that handbook is, which nothing is opened for; None for none."""
        if isinstance(self._handbook, Handbook):
            return Place(self._handbook.file, self._handbook.name)
        return None if self._handbook is None else Place.of(os.fspath(self._handbook))

    @property
    def writers(self) -> tuple[str, ...]:
        """The engines that write steps, cheapest first."""
        return build.writers_of(self.specs)

    @property
    def measuring(self) -> tuple[str, ...]:
        """The engines that only measure."""
        return tuple(name for name in self.engines if name not in self.writers)

    @property
    def scorers(self) -> Mapping[str, Scorer]:
        """The scorers that a router can ask, by name."""
        return self._scorers

    @property
    def thinks(self) -> Mapping[str, bool | None]:
        """The thinking switch of each engine."""
        return self._recipe.thinks

    @property
    def settings(self) -> str:
        """Everything that shapes a run, as canonical JSON: a resumed run is compared by it."""
        return self._recipe.settings

    @property
    def doubts(self) -> tuple[str, ...]:
        """What is to be said, so far, of scorers that read the same again and again, and of monitors that noticed what
        nothing is done about: a sentence each."""
        return tuple(self._recipe.readings.told.values())

    def _build_graph(self) -> None:
        fused, acts = self._granularity == "fused", bool(self.tools)
        self.graph = build_graph(self.writers, self._enter, self._leave, fused=fused, acts=acts)
        """The compiled LangGraph graph; give it `{"run": id}` of a run opened with `open`."""

    @cached_property
    def _recipe(self) -> opening.Recipe:
        """What runs are made of; until the first one the public attributes may be changed."""
        return self._recipe_with(
            engines=self.engines, specs=self.specs, router=self.router, budget=self.budget, approve=self.approve
        )

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
        task's place in a file, for resuming the file. `listener` is told of decisions, kept steps and
        events of monitors.

        Raises UserError, EngineError (an engine could not be started) or StoreError. What goes wrong
        in the course of a run is its status.
        """
        run = await self.open(task, run_id=run_id, batch=batch, position=position)
        if listener is not None:
            run.listeners.append(listener)
        return await self._drive(run)

    async def _drive(self, run: Run) -> RunResult:
        if run.id in self._driven:
            raise RunTaken(f"run {run.id} is being executed already: wait for it")
        self._driven.add(run.id)
        try:
            if run.outcome is None:
                with untraced(is_allowed=self._allow_langsmith):
                    await self.graph.ainvoke(_state(run), {"recursion_limit": 1_000_000})
            assert run.outcome is not None
            return run.outcome
        finally:
            self._driven.discard(run.id)
            await self._abandon(run)
            self._leave(run)

    def reward(self, run_id: str, value: float) -> str:
        """Say what a run that has ended was worth, in [0, 1], let its router learn from it, and return the run's id.

        For rewards that come later, in any order and from any process; a run is rewarded once. `run_id` may be
        the beginning of an id, or `last`. Raises UnknownName, UserError or StoreError.
        """
        return give_reward(self.journal, run_id, value, self.router, self._recipe.mode, self.handbook).run_id

    def worth(self, stored: StoredRun) -> float | None:
        """Return what a run that has ended was worth: its reward, or what this pipeline's function says of its answer;
        None where neither says anything. Raises UserError for a function that raises, or says what is no reward."""
        given, reward = self.journal.reward_of(stored.key), self._recipe.reward
        if given is not None or reward is None or stored.outcome is None:
            return given
        with brought("the pipeline's reward function"):
            value = reward(opening.task_of(stored), stored.outcome.answer)
        return None if value is None else checked(value, "the pipeline's reward function")

    async def stream(self, task: Given, **options: Any) -> AsyncIterator[Any]:
        """Run one task and yield Decided, Kept and monitors' Events as they happen, then the RunResult."""
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
        look_up = self._look_up(given)
        stored = self.journal.stored(run_id) if run_id else None
        if stored is None or not opening.is_over(stored):  # what is over needs no engine, not even one that answers
            await self.start()
            await self.check_fit()
            stored = self.journal.stored(run_id) if run_id else None
        if stored is None:
            run = opening.begin(
                self._recipe,
                self.journal,
                self._ready,
                given,
                run_id or new_id(),
                batch=batch,
                position=position,
                recalled=None if look_up is None else await look_up(),
            )
        elif live := self._live.get(stored.run.id):
            return live
        else:
            run = opening.reopen(self._recipe, self.journal, self._ready, stored, given)
        run.handbook = self.handbook
        if run.following is not None:
            run.following.look_up = look_up
        self._live[run.id] = run
        return run

    @asynccontextmanager
    async def lent(self, task: Task, *, run_id: str, batch: str) -> AsyncIterator[Run]:
        """Lend a run, new or stored, to whoever writes it without the graph; let go of it at the end."""
        run = await self.open(task, run_id=run_id, batch=batch)
        try:
            yield run
        finally:
            await self._abandon(run)
            self._leave(run)

    def _look_up(self, task: Task) -> Callable[..., Awaitable[Recalled]] | None:
        """Return what recalls for a task and a step of it, None without a handbook; the largest engine counts."""
        handbook, how = self.handbook, self._recipe.recall
        if handbook is None or how is None:
            return None
        seed = run_seed(self._recipe.seed, dumps(task.messages))
        counter = self.engines[self.writers[-1]]
        return partial(recalled_for, handbook, how, task, self._recipe.shows, counter, seed, self.embedding)

    async def _enter(self, state: State) -> Run:
        if live := self._live.get(state["run"]):
            return live
        stored = self.journal.run(state["run"])
        name, tip = stored.run.id, len(stored.kept())
        if (to_step := state.get("step", tip)) < tip:
            await self.start()
            probed, once = opening.probed(self._ready), unrepeatable(self.tools)
            name = fork(self.journal, stored, to_step, settings=self.settings, engines=probed, once=once)
        return await self.open(opening.task_of(stored), run_id=name)

    def _leave(self, run: Run) -> None:
        """Let go of a run; one that is not over can be opened again from its journal, by any process."""
        if self._live.pop(run.id, None) is not None and run.outcome is None:
            run.journal.commit(run.key)
            run.journal.release(run.key)

    async def _abandon(self, run: Run) -> None:
        """End what a run that is left has under way; nothing is left of one that is over."""
        if run.outcome is None:
            if run.ahead is not None:
                await run.ahead.abandon()
            await run.call.cut_off()

    # ---- life

    async def start(self) -> dict[str, Capabilities]:
        """Make every engine ready, check that they can do what the router needs, and return what they can do."""
        if self._capabilities is None:
            names = list(self.engines)
            found = await asyncio.gather(*(self.engines[name].start() for name in names))
            capabilities = dict(zip(names, found, strict=True))
            checks.check_needs(self._counterfactual or self.router, self._scorers, capabilities, self.writers)
            for monitor in self.monitors:
                if hasattr(monitor, "needs"):
                    checks.check_needs(monitor, self._scorers, capabilities, self.writers)
            moding.check(self._mode, self._fallback, self._scorers, capabilities, self.writers)
            checks.check_sampling(self.specs, capabilities)
            self._capabilities = capabilities
        return self._capabilities

    async def pair(self) -> Pair:
        """Return the identity of the engines that write; the first time, each writes a few tokens for it."""
        if not self._pairs:
            self._pairs.append(await pair_of(self.engines, await self.start(), self.writers))
        return self._pairs[0]

    async def circumstances(self, policy: Any) -> dict[str, Any]:
        """Return what a choice for a router, or a monitor, would be made under, besides the pair."""
        return circumstances(self._recipe, policy, await self.start(), self.writers[-1])

    async def check_fit(self) -> None:
        """Raise BadConfig or MissingCapability, once the engines are started, if the router or a monitor is not for
        these engines: it or its calibration was made for others, or a router needs a calibration and has none."""
        if not self._is_experiment:
            check_calibrated(self.router, self.calibration)
        fitted = [each for each in self.monitors if getattr(each, "pair", None) is not None]
        is_routed = self.calibration is not None or getattr(self.router, "pair", None) is not None
        if not self._is_fit and (is_routed or fitted):
            pair = await self.pair()
            check_fit(self.router, self.calibration, pair, await self.circumstances(self.router))
            for monitor in fitted:
                check_monitor(monitor, pair, await self.circumstances(monitor))
        self._is_fit = True

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
        await asyncio.gather(*map(self._abandon, self._live.values()))
        await asyncio.gather(*(engine.close() for engine in self.engines.values()))
        if self.embedding is not None:
            await self.embedding.close()
        self._capabilities = None
        self._pairs.clear()
        self._is_fit = False
        if self._store is not None and self._journal is not None:
            self._journal.close()
            self._store.close()
            self._journal = self._store = None
        if self._shelf is not None:
            self._shelf.close()
            self._shelf = self._opened = None

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


def _state(run: Run) -> State:
    return {"run": run.id, "step": len(run.history.steps), "next": run.place}
