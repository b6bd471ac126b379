"""One execution of a pipeline on a task: everything the loop knows between two steps."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from orchestrator.decisions import Decision, Plan, StopRun
from orchestrator.doors import Ask, Needs
from orchestrator.engines.base import Schema
from orchestrator.engines.scorers.base import Scorer
from orchestrator.engines.spec import ProbePrompt
from orchestrator.engines.step_stream import StepStream
from orchestrator.errors import OrchestratorError
from orchestrator.handbook.recall import Recalled
from orchestrator.ledger import Ledger
from orchestrator.memory.handbook import Handbook
from orchestrator.memory.journal import Journal
from orchestrator.modes.base import ModePolicy
from orchestrator.monitors.base import Asking, Monitor
from orchestrator.runtime.answer import Extractor
from orchestrator.runtime.budget import Spender
from orchestrator.runtime.calls import Booked, Calls
from orchestrator.runtime.in_force import Lead
from orchestrator.runtime.readings import Readings
from orchestrator.runtime.result import RunResult
from orchestrator.runtime.thinking import Thinking
from orchestrator.tools.toolset import Toolset
from orchestrator.types import Event, History, Message, Mode, Outcome, Sampling, Signal, Status, Step, StepKind, Task

if TYPE_CHECKING:
    from orchestrator.runtime.following import Following
    from orchestrator.runtime.lookahead import LookAhead

__all__ = [
    "ACT",
    "ANSWER",
    "CHOOSE",
    "RECONSIDER",
    "WATCH",
    "Approval",
    "Approver",
    "Decided",
    "Doors",
    "Ending",
    "Forced",
    "Kept",
    "Known",
    "Reward",
    "Run",
    "Stored",
    "Turn",
]

Reward = Callable[[Task, str | None], float | None]
"""A task and what was answered, None for nothing -> what that is worth in [0, 1], or None for unknown."""
ANSWER = "answer"
"""The node where a run ends; no engine may have this name. Also the purpose of a turn that answers."""
ACT = "act"
"""The node where tools are called; no engine may have this name."""
CHOOSE, WATCH, RECONSIDER = "choose", "watch", "reconsider"
"""Purposes of turns in which nothing is written: the mode is chosen, monitors that ask are heard and events heeded,
the mode is thought over. They are spent at the node of an engine."""


class Approval(NamedTuple):
    """What a person is asked before a tool is called."""

    run_id: str
    tool: str
    arguments: Mapping[str, Any]
    reason: str
    """Why one is asked."""


Approver = Callable[[Approval], "bool | str | Awaitable[bool | str]"]
"""Answers True to let a tool be called, False not to, or not to with a text that the engine is told: no text lets it be
called, and UserError is raised for a bare "yes" or "no", and for whatever is neither bool nor text."""


class Turn(NamedTuple):
    """Who writes now, and how."""

    engine: str
    purpose: str
    """`draft`, or `rewrite` after a rejection."""
    attempt: int
    max_tokens: int | None = None
    logprobs: int = 0
    stands: bool = False
    """The step is kept without asking the router."""
    whole: bool = False
    """See Plan."""
    drawn_as: tuple[str, int] | None = None
    """Purpose and attempt whose seed its calls have; None for its own."""
    lead: str = ""
    """See Plan."""
    rewrite_logprobs: int = 0
    """Alternatives per token of what is written in its place."""


class Forced(NamedTuple):
    """A hand-over in force."""

    engine: str
    until: int | None = None
    """Index of the first step that is routed again; None for none."""
    turns: int | None = None
    """It lasts so many turns from step `since` on; None where it is not counted in turns."""
    since: int = 0
    note: str = ""
    """What the first step of it begins with."""
    whole: bool = False
    """Its steps are whole turns, as those before it were."""
    max_tokens: int | None = None
    """What its steps may have, as those before it had."""


class Ending(NamedTuple):
    """Why a run stops."""

    status: Status | None
    """None: whatever the answer extractor finds."""
    reason: str


class Decided(NamedTuple):
    """Told to listeners: a router chose."""

    draft: Step
    decision: Decision


class Kept(NamedTuple):
    """Told to listeners: a step stands and is on disk."""

    step: Step


class Known(NamedTuple):
    """What a learning router is, and knew when the run began."""

    policy: str
    """Names what is learned: runs of the same name share it."""
    version: int


class Doors(NamedTuple):
    """A router's doors, defaults filled in."""

    policy: str
    """Name and version, for the trace."""
    before_step: Callable[[History], Plan | StopRun]
    after_draft: Callable[[History, Step, Ask], Awaitable[Decision]]
    after_run: Callable[[Outcome, Mapping[str, Any]], Mapping[str, Any]] | None = None
    """None where the router learns nothing."""
    prior: Callable[[History, Step], float] | None = None
    """The chance that a draft is rejected, from what is at hand."""
    reads_rewrites: bool = False
    """See Needs."""
    on_events: Callable[[History, Sequence[Event], Ask], Awaitable[Decision]] | None = None
    """None where the router does nothing about what monitors notice."""
    heeds: tuple[str, ...] | None = None
    """The kinds of events it does something about; None where it does not say."""


@dataclass(slots=True)
class Stored:
    """What an earlier session had already measured and decided at the step where it stopped."""

    signals: dict[tuple[int, int, str], Signal] = field(default_factory=dict)
    """By step, attempt and scorer."""
    probes: dict[tuple[int, int, str], Signal] = field(default_factory=dict)
    """How far forced answers agreed, by step, attempt and unit, which says who was asked for how many."""
    decisions: dict[tuple[int, int, str], Decision] = field(default_factory=dict)
    """By step, attempt and door."""
    events: Counter[tuple[int, str]] = field(default_factory=Counter)
    """How often monitors noticed something at the last kept step, by step and kind."""
    went_back: bool = False
    """The last kept step is one that it went back to: monitors have seen it."""


@dataclass(slots=True, kw_only=True)
class Run:
    """The state of one run. Only the functions of `step` change it."""

    id: str
    key: int
    """The journal's number for it."""
    history: History
    stream: StepStream
    call: Calls
    ledger: Ledger
    spender: Spender
    journal: Journal
    doors: Doors
    monitors: Sequence[Monitor]
    """Those that see what they look for in the history."""
    asking: Sequence[Asking]
    """Those that have to ask."""
    scorers: Mapping[str, Scorer]
    samplings: Mapping[str, Sampling]
    probes: Mapping[str, ProbePrompt]
    """How each engine that writes is made to answer at once."""
    find_answer: Extractor
    delimiter: str
    stop_on_answer: bool
    can_fail_over: bool
    handbook: Handbook | None = None
    """In which it is counted what its text cites; None where there is none."""
    recalled: Recalled | None = None
    """What the handbook had for its task; None where there is none beside it."""
    following: Following | None = None
    """What it has for each step; None where recall is once for each run."""
    reward: Reward | None = None
    """Says what an answer is worth, for a router that learns; None: whether it is the gold one."""
    known: dict[str, Known] = field(default_factory=dict)
    """What its router, and its mode's policy, knew; nothing of one that learns nothing, or where the run is over."""
    chat_only: frozenset[str] = frozenset()
    """Engines that write whole turns; where there is one, the run is a single turn."""
    stored: Stored = field(default_factory=Stored)
    turn: Turn | None = None
    """None once the run is ending."""
    step_tokens: int | None = None
    """Tokens the last planned step could have; what is written without a plan may have as many."""
    writes_whole: bool = False
    """Whether the last planned step was a whole turn; what is written without a plan is so, too."""
    forced: Forced | None = None
    thinking: Thinking
    thinks: Mapping[str, bool | None]
    """The thinking switch of each engine, where the mode does not say."""
    messages: Sequence[Message]
    """The task as engines are given it: behaviors and what tools there are are in it."""
    untooled: Sequence[Message]
    """The same without the tools."""
    shows: Mapping[str, int]
    """Alternatives per token that each engine shows."""
    served_budgets: frozenset[str] = frozenset()
    """Engines whose server ends a thought at its budget."""
    mode_policy: ModePolicy | None = None
    """None where the mode is fixed, or there is none."""
    mode_name: str = ""
    """Name and version of the mode's policy, for the trace."""
    mode_lacks: str = ""
    """What that policy needs and the engines cannot give; it is not asked then."""
    fallback: Mode | None = None
    """The mode of a run whose policy could not decide, or whose engines cannot honour what was chosen."""
    has_reconsidered: bool = False
    owed: Ending | None = None
    """How the run ends if the mode it has stands."""
    tools: Toolset | None = None
    schemas: tuple[Schema, ...] = ()
    """The tools as a chat API is given them; empty where the messages tell of them."""
    make_tools: Callable[[], Toolset | None] | None = None
    """Makes them anew where they are a simulation, made for this task alone: then the same calls bring them to where
    they were."""
    caught_up: int = 0
    """Kept steps whose calls the tools of a simulation have seen."""
    answers: dict[tuple[int, int], Sequence[int]] = field(default_factory=dict)
    """Lengths of what each call was answered, by the index and attempt of an observation that holds several."""
    approve: Approver | None = None
    noticed: list[Event] = field(default_factory=list)
    """Events behind the last kept step that nothing was done about yet."""
    late: list[asyncio.Task[tuple[Asking, Event | None]]] = field(default_factory=list)
    """Questions of late monitors about the last kept step."""
    heard_late: list[Event] = field(default_factory=list)
    """What they noticed: the router is told behind the next step."""
    first_attempts: dict[int, int] = field(default_factory=dict)
    """Where attempts of a step start counting; above 0 only after a rollback."""
    written: list[list[Booked]] = field(default_factory=list)
    """The writing calls behind each kept step."""
    alternatives: dict[tuple[int, int], Step] = field(default_factory=dict)
    """What was written beside the draft in hand, by step and attempt."""
    leads: dict[tuple[int, int], Lead] = field(default_factory=dict)
    """What the texts of candidates start with, by step and attempt."""
    failed_engines: set[str] = field(default_factory=set)
    """Engines given up on at the current step."""
    verdicts: list[bool] = field(default_factory=list)
    """Whether each draft that the router decided about stood, in order."""
    readings: Readings = field(default_factory=Readings)
    """What the scorers of all runs of the pipeline read."""
    ahead: LookAhead | None = None
    """What is begun before its turn; None where nothing is."""
    taken_over: set[tuple[int, int]] = field(default_factory=set)
    """Index and attempt of what an engine wrote in the place of one that failed."""
    ending: Ending | None = None
    error: OrchestratorError | None = None
    outcome: RunResult | None = None
    """Set once the run is over."""
    listeners: list[Callable[[Any], None]] = field(default_factory=list)

    @property
    def place(self) -> str:
        """The node that the run visits next."""
        return self.turn.engine if self.turn else ANSWER

    @property
    def is_degraded(self) -> bool:
        """Whether a failover is part of how the kept text came to be."""
        return any((step.index, step.attempt) in self.taken_over for step in self.history.steps)

    @property
    def last_writer(self) -> str:
        """The engine that wrote last; the cheapest where nothing is written yet."""
        return self.history.last_writer

    @property
    def tool_names(self) -> tuple[str, ...]:
        """The tools that there are."""
        return tuple(tool.name for tool in self.tools or ())

    @property
    def may_act(self) -> bool:
        """Whether tools can be called."""
        return self.tools is not None and (self.history.mode is None or self.history.mode.tools)

    def thinks_by(self, engine: str) -> bool | None:
        """Return whether `engine` is told to think, None where its template decides."""
        mode = self.history.mode
        return self.thinks.get(engine) if mode is None or mode.think is None else mode.think

    @property
    def can_reconsider(self) -> bool:
        """Whether the mode's policy still has to say that the answer will do."""
        return not (self.has_reconsidered or self.mode_lacks) and hasattr(self.mode_policy, "reconsider")

    def logprobs_read(self, engine: str) -> int:
        """Return how many alternatives per token the mode's policy reads of what it may still reconsider."""
        needs: Needs = getattr(self.mode_policy, "needs", Needs())
        return min(needs.logprobs, self.shows.get(engine, 0)) if self.can_reconsider else 0

    @property
    def thought_left(self) -> int | None:
        """Tokens of thought that the mode still allows, >= 0; None for no limit."""
        mode = self.history.mode
        if mode is None or (mode.budget is None and mode.think is not False):
            return None
        return max(0, (mode.budget or 0) - self.thinking.tokens)

    @property
    def words_left(self) -> int | None:
        """Tokens outside of thoughts that the mode still allows, >= 0; None for no limit."""
        mode, history = self.history.mode, self.history
        if mode is None or mode.max_tokens is None:
            return None
        return max(0, mode.max_tokens - history.num_tokens + history.thought_tokens)

    @property
    def shown(self) -> Sequence[Message]:
        """The task as engines are shown it: what tools there are is in it where they may be called."""
        return self.messages if self.may_act else self.untooled

    def conversation(self) -> tuple[Message, ...]:
        """Return the task and what was written since as messages, for an engine that writes whole turns."""
        messages = list(self.shown)
        said = ""
        for step in self.history.steps:
            if step.kind is StepKind.OBSERVATION:
                messages += [Message("assistant", said), *(Message("tool", text) for text in self._answers(step))]
                said = ""
            else:
                said += step.text
        return (*messages, Message("assistant", said)) if said else tuple(messages)

    def _answers(self, observation: Step) -> Iterator[str]:
        """Return what each call was answered."""
        start, place = 0, (observation.index, observation.attempt)
        for length in self.answers.get(place, [len(observation.text)]):
            yield observation.text[start : start + length]
            start += length + 1

    def text(self) -> str:
        """Return what engines wrote since a tool answered last: where the answer is."""
        steps = self.history.steps
        behind = next((each.index + 1 for each in reversed(steps) if each.kind is StepKind.OBSERVATION), 0)
        return "".join(step.text for step in steps[behind:])

    def tell(self, event: Any) -> None:
        """Pass `event` to whoever listens."""
        for listener in self.listeners:
            listener(event)
