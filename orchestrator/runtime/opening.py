"""Make a run ready to be executed: a new one from a task, or a stored one where its journal ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from json import dumps, loads
from time import time
from typing import Any

from orchestrator.behaviors import Behavior
from orchestrator.doors import Needs
from orchestrator.engines.base import Capabilities, Engine
from orchestrator.engines.retry import RetryPolicy
from orchestrator.engines.scorers import VERDICT
from orchestrator.engines.scorers.base import Scorer
from orchestrator.engines.spec import BehaviorPrompt, EngineSpec, ProbePrompt, ToolPrompt
from orchestrator.engines.step_stream import StepStream
from orchestrator.errors import ResumeRefused, UserError
from orchestrator.handbook.prompts import lines, with_behaviors
from orchestrator.handbook.recall import Recall, Recalled
from orchestrator.ledger import Ledger
from orchestrator.memory.base import EventRow, RunRow, StoredRun
from orchestrator.memory.journal import Journal
from orchestrator.modes.base import ModePolicy
from orchestrator.runtime import build, ending, following, identity, learning, moding, recalling, tooling, turn
from orchestrator.runtime.answer import Extractor
from orchestrator.runtime.budget import Spender
from orchestrator.runtime.calibration import Calibration
from orchestrator.runtime.calling import told_of
from orchestrator.runtime.calls import Calls, run_seed
from orchestrator.runtime.circumstances import difference
from orchestrator.runtime.following import Following
from orchestrator.runtime.foreign import brought
from orchestrator.runtime.fork import ancestors
from orchestrator.runtime.in_force import recalled_in
from orchestrator.runtime.lookahead import LookAhead
from orchestrator.runtime.readings import Readings
from orchestrator.runtime.resume import restore, spent_s
from orchestrator.runtime.run import Approver, Doors, Reward, Run
from orchestrator.runtime.thinking import Thinking
from orchestrator.tools.base import Tool
from orchestrator.tools.toolset import LISTING, Toolset
from orchestrator.types import Budget, History, Message, Mode, Overlap, Status, Task

__all__ = ["Ready", "Recipe", "ToolsFor", "begin", "is_over", "probed", "reopen", "task_json", "task_of"]

ToolsFor = Callable[[Task], Sequence[Any]]
"""Tools that are made for a task, and for it alone: a simulation, whose calls can be made again from the start."""
UNTRAINED = "untrained"
"""Kind of the event that says that engines were not trained on tools that they are given."""
Ready = Mapping[str, Capabilities]
"""What the engines can do; empty before they were started."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What all runs of a pipeline are made of."""

    engines: Mapping[str, Engine]
    specs: Mapping[str, EngineSpec]
    router: Any
    doors: Doors
    monitors: Sequence[Any]
    """Each has a door of monitors/base.py, or both."""
    scorers: Mapping[str, Scorer]
    budget: Budget
    answer: str | Extractor | Sequence[str | Extractor]
    find_answer: Extractor
    stop_on_answer: bool
    delimiter: str
    think: bool | None
    seed: int
    failover: bool
    retries: RetryPolicy
    overlap: Overlap
    tools: Sequence[Tool] | ToolsFor = ()
    tool_prompt: ToolPrompt = ToolPrompt()  # noqa: RUF009 - frozen
    approve: Approver | None = None
    mode: Mode | ModePolicy | None = None
    fallback: Mode | None = None
    """The mode where none could be chosen, or the engines cannot honour it; None: such a run is refused."""
    calibration: Calibration | None = None
    counterfactuals: Mapping[str, Any] | None = None
    """Share of steps and scorer; None for none."""
    recall: Recall | None = None
    """How behaviors are recalled; None where there is no handbook."""
    reward: Reward | None = None
    experience: str = ""
    resting: dict[str, float] = field(default_factory=dict)
    """Engines that every run leaves alone for a while."""
    readings: Readings = field(default_factory=Readings)
    """What the scorers of all runs read."""

    @property
    def thinks(self) -> dict[str, bool | None]:
        """The thinking switch of each engine: the pipeline's, or else its own."""
        return {name: spec.think if self.think is None else self.think for name, spec in self.specs.items()}

    @property
    def _calibrated(self) -> dict[str, str] | None:
        of = self.calibration
        return None if of is None else {"said": str(of), "digest": of.digest}

    @property
    def _learns(self) -> bool:
        return self.doors.after_run is not None or hasattr(self.mode, "after_run")

    @property
    def _asked_scorers(self) -> dict[str, Scorer]:
        """The scorers; the verdict only where a policy names it, as journals of before know of none."""
        asking = (self.router, *self.monitors, self.mode)
        asked = {name for policy in asking for name in getattr(policy, "needs", Needs()).scorers}
        return {name: scorer for name, scorer in self.scorers.items() if name != VERDICT or name in asked}

    @property
    def _tools(self) -> Any:
        if callable(self.tools):
            return {"tools": self.tools, "prompt": self.tool_prompt}
        listed = {each.name: tooling.tool_settings(each) for each in self.tools}
        return {"tools": listed, "order": list(listed), "prompt": self.tool_prompt}

    @property
    def shows(self) -> BehaviorPrompt:
        """How behaviors are shown."""
        return build.behavior_prompt_of(self.specs)

    @property
    def follows(self) -> bool:
        """Whether each step is shown what is recalled for it."""
        return self.recall is not None and self.recall.every == "step"

    def said(self, behaviors: Sequence[Behavior]) -> str:
        """Return behaviors as they stand between two steps."""
        told = lines(behaviors, head=self.shows.head, mark=self.shows.mark)
        return f"{told}{self.delimiter}" if told else ""

    def toolset(self, task: Task) -> Toolset | None:
        """Return the tools of a run, None for none."""
        tools: Any = self.tools
        if callable(tools):
            with brought("the function that makes a task's tools"):
                tools = tools(task)
            tools = tooling.tools_of(tools)
        tooling.check_tools(tools, self.engines)
        asked = self.tool_prompt
        return Toolset(tools, asked.format, template=asked.told or LISTING) if tools else None

    @cached_property
    def settings(self) -> str:
        """Everything that shapes a run, as canonical JSON; a resume must match it."""
        return dumps(
            identity.settings_of(
                {
                    "engines": self.specs,
                    "order": list(self.specs),
                    "router": self.router,
                    "monitors": self.monitors,
                    "scorers": self._asked_scorers,
                    "budget": {**identity.settings_of(self.budget)},
                    "answer": self.answer,
                    "stop_on_answer": self.stop_on_answer,
                    "delimiter": self.delimiter,
                    "think": self.think,
                    "seed": self.seed,
                    "failover": self.failover,
                    # Null as in runs of before there were these: they can be resumed.
                    "calibration": self._calibrated,
                    "counterfactuals": self.counterfactuals,
                    **({"overlap": self.overlap} if self.overlap.is_on else {}),  # journals of before have none
                    **({"tools": self._tools} if self.tools else {}),
                    **({"mode": self.mode, "fallback": self.fallback} if self.mode is not None else {}),
                    **({"recall": self.recall, "behaviors": self.shows} if self.recall is not None else {}),
                    **({"experience": self.experience} if self.experience and self._learns else {}),
                }
            ),
            sort_keys=True,
        )


def begin(
    recipe: Recipe,
    journal: Journal,
    ready: Ready,
    task: Task,
    run_id: str,
    *,
    batch: str,
    position: int,
    recalled: Recalled | None = None,
) -> Run:
    """Return a new run of `task`, shown what was `recalled` for it."""
    row = RunRow(
        id=run_id,
        parent=None,
        batch=batch,
        position=position,
        task=task_json(task),
        settings=recipe.settings,
        engines=probed(ready),
        created_s=time(),
    )
    run = _assemble(recipe, journal, ready, task, run_id, lambda: journal.open_run(row), spent_s=0.0, recalled=recalled)
    if recalled is not None:
        recalling.note(run, recalled)
    for told in tooling.untrained(run.tools or (), recipe.specs):
        journal.event(EventRow(run.key, 0, UNTRAINED, dumps({"reason": told}), time()))
    _learn(recipe, ready, run)
    if isinstance(recipe.mode, Mode):
        moding.begin(run, recipe.mode)
    turn.settle(run)
    return run


def reopen(recipe: Recipe, journal: Journal, ready: Ready, stored: StoredRun, task: Task) -> Run:
    """Return a stored run, put where its journal ends; one that is over with its outcome.

    Raises ResumeRefused if it was made under other settings, by other models or for another task.
    """
    _compare(recipe, stored, task)
    if not is_over(stored):
        _compare_engines(ready, stored)
        journal.claim(stored.key)
        stored = journal.run(stored.run.id)  # whoever executed it may have written more since it was read
    run = _assemble(
        recipe,
        journal,
        ready,
        task,
        stored.run.id,
        lambda: stored.key,
        spent_s=spent_s(stored),
        recalled=recalled_in(stored),
    )
    restore(run, stored, ancestors(journal, stored))
    if run.following is not None:
        following.restore(run, stored)
    if not is_over(stored):
        _learn(recipe, ready, run, stored)
        if isinstance(recipe.mode, Mode) and run.history.mode is None and not run.history.steps:
            moding.begin(run, recipe.mode)
    if stored.outcome is not None and is_over(stored):
        ending.reopen(run, stored.outcome)
    else:
        journal.event(EventRow(run.key, len(run.history.steps), "resumed", "", time()))
        if isinstance(recipe.mode, Mode) and run.history.mode is None:  # a death, or a fork, came before it was chosen
            moding.begin(run, recipe.mode)
        turn.settle(run)
    return run


def _learn(recipe: Recipe, ready: Ready, run: Run, stored: StoredRun | None = None) -> None:
    for kind, policy in ((learning.ROUTER, recipe.router), (learning.MODE, recipe.mode)):
        if hasattr(policy, "after_run"):
            key = learning.policy_key(policy, run.history.engines, ready, recipe.experience, kind)
            learning.look_up(run, key, stored, kind)


def is_over(stored: StoredRun) -> bool:
    """Return whether nothing is left to do; a failed run is tried again."""
    return stored.outcome is not None and stored.outcome.status != Status.FAILED


def _compare(recipe: Recipe, stored: StoredRun, task: Task) -> None:
    if found := difference(loads(stored.run.settings), loads(recipe.settings)):
        raise ResumeRefused(
            f"run {stored.run.id} was made with {found}: give the same settings, or start anew without --resume"
        )
    if stored.run.task != task_json(task):
        raise ResumeRefused(f"run {stored.run.id} was made for another task: give the same one, or start anew")


def _compare_engines(ready: Ready, stored: StoredRun) -> None:
    """Raise ResumeRefused if a server has another model now: token ids and trace would no longer be its own."""
    for name, before in loads(stored.run.engines).items():
        now = ready[name]
        if (before["model"], before["tokenizer"]) != (now.model, now.tokenizer):
            how = "the same name with another tokenizer" if before["model"] == now.model else repr(now.model)
            raise ResumeRefused(
                f"run {stored.run.id} was made with {before['model']!r} as engine {name!r}, which now serves {how}: "
                "start the server as it was, or start anew without --resume"
            )


def _assemble(
    recipe: Recipe,
    journal: Journal,
    ready: Ready,
    task: Task,
    run_id: str,
    opened: Callable[[], int],
    *,
    spent_s: float,
    recalled: Recalled | None,
) -> Run:
    """Return a run; `opened` gives the journal's number for it, once nothing is left that could be refused."""
    names = tuple(recipe.engines)
    writers = build.writers_of(recipe.specs)
    prices = {name: spec.price for name, spec in recipe.specs.items()}
    seed = run_seed(recipe.seed, dumps(task.messages))
    ledger = Ledger(names, prices)
    spender = Spender(recipe.budget, prices, spent_s=spent_s)
    tokenizers = {name: can.tokenizer for name, can in ready.items()}
    think_tags = {name: can.think_tags for name, can in ready.items()}
    contexts = {name: can.context for name, can in ready.items()}
    # Where nobody else can take over there is nothing to gain from leaving an engine alone.
    resting = recipe.resting if recipe.failover and len(writers) > 1 else None
    tools = recipe.toolset(task)
    untooled = task.messages
    if recalled is not None and not recipe.follows:
        untooled = with_behaviors(untooled, recalled.shown, head=recipe.shows.head, mark=recipe.shows.mark)
    messages = untooled if tools is None else told_of(untooled, tools, recipe.tool_prompt)
    stream = StepStream(
        recipe.engines,
        tokenizers,
        messages,
        think=recipe.thinks,
        think_tags=think_tags,
        switches={name: can.think_switch for name, can in ready.items()},
        opened={name: can.think_opened for name, can in ready.items()},
        tools=dict.fromkeys(recipe.engines, tools.schemas())
        if tools is not None and recipe.tool_prompt.is_native
        else {},
    )
    thinking = Thinking(stream, think_tags)
    chat_only = frozenset(name for name, can in ready.items() if not can.continues)
    if recalled is not None and recipe.follows and chat_only:
        raise UserError(
            f"recall: every = 'step' shows behaviors between steps, and {', '.join(sorted(chat_only))} writes whole "
            "turns: leave it out"
        )
    if isinstance(recipe.mode, Mode):
        can = moding.Abilities(writers, thinking, chat_only, has_tools=tools is not None)
        can.honour(recipe.mode, recipe.fallback)
    key = opened()
    run = Run(
        id=run_id,
        key=key,
        history=History(task=task, engines=writers, seed=seed, tools=tuple(each.name for each in tools or ())),
        stream=stream,
        messages=messages,
        untooled=untooled,
        recalled=recalled,
        thinking=thinking,
        thinks=recipe.thinks,
        shows={name: can.logprobs for name, can in ready.items()},
        served_budgets=frozenset(name for name, can in ready.items() if can.thinking_budget),
        mode_policy=None if isinstance(recipe.mode, Mode) else recipe.mode,
        mode_name="" if recipe.mode is None else identity.mode_name(recipe.mode),
        mode_lacks=moding.lacking(recipe.mode, recipe.scorers, ready, writers),
        fallback=recipe.fallback,
        tools=tools,
        schemas=tuple(tools.schemas()) if tools is not None and recipe.tool_prompt.is_native else (),
        make_tools=partial(recipe.toolset, task) if callable(recipe.tools) else None,
        approve=recipe.approve,
        call=Calls(key, seed, recipe.engines, contexts, journal, ledger, spender, recipe.retries, resting),
        ledger=ledger,
        spender=spender,
        journal=journal,
        doors=recipe.doors,
        monitors=[each for each in recipe.monitors if hasattr(each, "watch")],
        asking=[each for each in recipe.monitors if hasattr(each, "look")],
        scorers=recipe.scorers,
        readings=recipe.readings,
        samplings={name: recipe.specs[name].sampling for name in writers},
        probes={name: recipe.specs[name].probe or ProbePrompt() for name in writers},
        find_answer=recipe.find_answer,
        delimiter=recipe.delimiter,
        stop_on_answer=recipe.stop_on_answer,
        can_fail_over=recipe.failover,
        reward=recipe.reward,
        chat_only=chat_only,
    )
    if recalled is not None and recipe.follows:
        run.following = Following(recipe.said, [(0, recalled)])
        following.show(run, run.following.sets)
    if recipe.overlap.is_on:
        run.ahead = LookAhead(run, recipe.overlap)
    return run


def task_json(task: Task) -> str:
    """Return a task as the journal keeps it."""
    topic = {} if task.topic is None else {"topic": task.topic}  # journals of before know of none
    return dumps({"messages": task.messages, "id": task.id, "answer": task.answer, **topic})


def task_of(stored: StoredRun) -> Task:
    """Return the task of a stored run."""
    given = loads(stored.run.task)
    messages = tuple(Message(*message) for message in given["messages"])
    return Task(messages=messages, id=given["id"], answer=given["answer"], topic=given.get("topic"))


def probed(ready: Ready) -> str:
    """Return what the engines can do as the journal keeps it."""
    return dumps({name: {each: getattr(can, each) for each in Capabilities.__slots__} for name, can in ready.items()})
