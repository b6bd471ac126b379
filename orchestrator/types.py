"""The nouns of the house: one word per idea, used everywhere and never for anything else.

task      one thing to solve                      run       one execution of a pipeline on a task
step      one unit of progress of a run           draft     a candidate step that is not yet kept
engine    something that turns tokens into tokens history   the steps a run has kept
signal    a measured value with unit and cost     plan      who drafts the next step
decision  what a router chose, and why            budget    what a run may spend
event     something a monitor noticed             mode      how much to think
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from math import inf
from typing import Any, NamedTuple

from orchestrator.errors import BadTask, UserError

__all__ = [
    "Budget",
    "Event",
    "History",
    "Message",
    "Mode",
    "Outcome",
    "Overlap",
    "Sampling",
    "Signal",
    "Status",
    "Step",
    "StepKind",
    "Stop",
    "Taken",
    "Task",
    "TokenLogprob",
    "question_of",
]


_MOST = 1 << 53
"""Above every limit that means something, and within what a journal stores."""
_MOST_AHEAD = 64
"""Steps ahead; hardly anybody's verdict takes as long as three drafts."""


class Stop(StrEnum):
    """Why an engine stopped generating."""

    DELIMITER = "delimiter"
    """A stop string was produced; it is part of the text."""
    END = "end"
    """The engine ended its text (end-of-text or end-of-turn token)."""
    LENGTH = "length"
    """The token limit of the call was reached."""


class StepKind(StrEnum):
    """What a step is."""

    THOUGHT = "thought"
    ACTION = "action"
    OBSERVATION = "observation"
    ANSWER = "answer"


class Status(StrEnum):
    """How a run ended."""

    COMPLETED = "completed"
    NO_ANSWER = "no_answer"
    BUDGET = "budget"
    DEGRADED = "degraded"
    FAILED = "failed"


class Message(NamedTuple):
    """One chat message."""

    role: str
    """`system`, `user`, `assistant` or `tool`."""
    content: str


def question_of(messages: Sequence[Message]) -> str:
    """Return what a task asks, without roles: the contents of its messages, one under the other."""
    return "\n".join(message.content for message in messages)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One thing to solve."""

    messages: tuple[Message, ...]
    """The conversation so far, oldest first; at least one message with text."""
    id: str | None = None
    """The caller's own name for it, or None."""
    answer: str | None = None
    """The gold answer, or None. No engine is ever shown it."""
    topic: str | None = None
    """What it is about, as the sections of a handbook are named, or None. No engine is ever shown it."""

    def __post_init__(self) -> None:
        if not any(message.content.strip() for message in self.messages):
            raise BadTask("the prompt is empty: give a question or messages with text")
        if self.topic is not None and not (isinstance(self.topic, str) and self.topic.strip()):
            raise BadTask(f"topic = {self.topic!r:.60} must be a text: name the topic, or leave it out")

    @classmethod
    def of(cls, task: str | Task | Sequence[Message]) -> Task:
        """Return `task` as a Task; a string becomes one user message."""
        if isinstance(task, Task):
            return task
        if isinstance(task, str):
            return cls(messages=(Message("user", task),))
        if not isinstance(task, Sequence):
            raise BadTask(f"a task is a text, a Task or a list of messages, not {task!r}")
        return cls(messages=tuple(Message(*message) for message in task))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How an engine picks tokens. The defaults are SpecReason's (temperature 0.6, top_p 0.95)."""

    temperature: float = 0.6
    """0 is greedy; >= 0."""
    top_p: float = 0.95
    """In (0, 1]."""
    top_k: int = 0
    """0 keeps every token."""
    min_p: float = 0.0
    """In [0, 1)."""
    max_tokens: int | None = None
    """Tokens one call may generate, > 0; None leaves it to the router, and to 512 a step where it says nothing."""

    def __post_init__(self) -> None:
        checks = {
            "temperature": 0 <= self.temperature < inf,
            "top_p": 0 < self.top_p <= 1,
            "top_k": self.top_k >= 0,
            "min_p": 0 <= self.min_p < 1,
            "max_tokens": self.max_tokens is None or 0 < self.max_tokens < _MOST,
        }
        for name, is_good in checks.items():
            if not is_good:
                raise UserError(f"sampling option {name} = {getattr(self, name)!r} is out of range")


class TokenLogprob(NamedTuple):
    """One generated token as the engine saw it."""

    id: int
    """Token id; -1 where the server names tokens by text only."""
    text: str
    """The token decoded alone; may hold U+FFFD where it is part of a character."""
    logprob: float
    """Natural log, <= 0."""
    top: tuple[TokenLogprob, ...] = ()
    """The k most likely tokens at this place, most likely first; empty if none were asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One unit of progress. Before a router has kept it, it is a draft."""

    index: int
    """0 for the first step of a run."""
    attempt: int
    """0 for the first candidate at this index, 1 for the one that replaced it, ..."""
    writer: str
    """The engine's name."""
    text: str
    """Delimiter included, and whatever its last token carries past the delimiter."""
    ids: Sequence[int] = ()
    """The writer's token ids for `text`, end-of-text excluded; empty if the server gives none."""
    num_tokens: int
    """Tokens generated for it, end-of-text and dropped partial characters included."""
    stop: Stop
    kind: StepKind = StepKind.THOUGHT
    logprobs: Sequence[TokenLogprob] | None = None
    """One entry per generated token, or None where none were asked for."""
    seconds: float = 0.0
    """Wall time of the calls that wrote it."""


class Event(NamedTuple):
    """Something a monitor noticed behind a kept step."""

    kind: str
    """What, in one word: `stuck`, `milestone`, `overthinking`, `drift`, `budget`, ..."""
    reason: str
    """In one line, for people."""
    ends_run: bool = False
    """The run stops here."""
    concludes: bool = False
    """The thinking is over: the thought is closed here and the answer asked for."""
    value: float | None = None
    """The reading it was noticed by, None where it is no number."""
    threshold: float | None = None
    """What the reading was held against."""
    step: int = -1
    """Index of the last kept step when it was noticed; the runtime says it."""
    answer: str | None = None
    """What the last step's writer answered there when it had to; None where it had none, or nobody asked. Where the
    event concludes, it is what the run answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """How much to think about a task."""

    name: str
    """What the trace calls it: `no_think`, `think`, `think(512)`, ..."""
    think: bool | None = None
    """Whether the engines think before they answer; None leaves each to its own switch."""
    budget: int | None = None
    """Tokens of thought in a run, over all its steps and turns; None for no limit but the budget's."""
    tools: bool = True
    """Whether tools may be called, where the pipeline has any."""
    needs_tools: bool = False
    """Whether it means nothing in a pipeline without tools."""
    max_tokens: int | None = None
    """Tokens of what is written when nothing is thought; None for no limit of its own."""

    def __post_init__(self) -> None:
        for name in ("budget", "max_tokens"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or not 0 < value < _MOST):
                raise UserError(f"mode {self.name}: {name} = {value!r} must be a whole number above 0")


@dataclass(slots=True, kw_only=True)
class History:
    """What a run has kept so far. Policies read it; only the runtime changes it."""

    task: Task
    engines: tuple[str, ...]
    """Engine names, cheapest first."""
    seed: int
    """The run's seed; a policy that draws chances derives them from it, so that a resumed run draws the same."""
    steps: list[Step] = field(default_factory=list)
    """Kept steps, in order."""
    num_tokens: int = 0
    """Tokens of the kept steps."""
    learned: Mapping[str, Any] = field(default_factory=dict)
    """What the policy's `after_run` had made of earlier runs when this one began; empty if nothing yet, and
    for a policy without that door. A resumed run sees what it saw before."""
    lengths: Mapping[str, Any] = field(default_factory=dict)
    """The same of the mode's policy."""
    events: list[Event] = field(default_factory=list)
    """What monitors noticed behind the kept steps, in order."""
    window: int = 0
    """Index of the first step that monitors look at: that behind the last hand-over that ended, 0 before any did."""
    mode: Mode | None = None
    """How much to think; None until that is decided."""
    thought_tokens: int = 0
    """Tokens of thought in the kept steps."""
    tools: tuple[str, ...] = ()
    """Names of the tools that may be called in this run; empty where there are none."""

    @property
    def small(self) -> str:
        """The cheapest engine."""
        return self.engines[0]

    @property
    def large(self) -> str:
        """The most capable engine."""
        return self.engines[-1]

    @property
    def written(self) -> list[Step]:
        """The kept steps that engines wrote: what tools answered is left out."""
        return [step for step in self.steps if step.kind is not StepKind.OBSERVATION]

    @property
    def last_writer(self) -> str:
        """The engine that wrote last; the cheapest where nothing is written yet."""
        written = (step.writer for step in reversed(self.steps) if step.kind is not StepKind.OBSERVATION)
        return next(written, self.small)


class Signal(NamedTuple):
    """A measured value about a draft, with what it cost."""

    name: str
    """Who measured, e.g. `judge`."""
    value: float | None
    """In [0, 1] for scorers; None when unavailable."""
    raw: float | None = None
    """The reading before it was normalised, in `unit`."""
    unit: str = ""
    """Unit of `raw`, e.g. `digit 0-9`."""
    reason: str = ""
    """Why the value is missing; empty when it is there."""
    output_tokens: int = 0
    """Tokens generated to measure it."""
    seconds: float = 0.0


class Taken(NamedTuple):
    """A decision of a run that has ended, as the trace keeps it."""

    step: int
    attempt: int
    door: str
    """`before_step`, `after_draft`, or `runtime` for a failover."""
    action: str
    engine: str
    """Whom it chose; empty where the action names nobody."""
    features: tuple[float, ...]
    """What the plan gave with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a run ended: what a policy learns from."""

    run_id: str
    status: Status
    engines: tuple[str, ...]
    """Those that write, cheapest first."""
    decisions: tuple[Taken, ...]
    """In the order they were taken, those about steps that do not stand included."""
    writers: tuple[str, ...]
    """Who wrote each kept step."""
    failed: tuple[str, ...]
    """Engines that failed and had to be replaced, or ended the run; each once."""
    seconds: float
    """Wall time."""
    output_tokens: Mapping[str, int]
    """By engine, discarded and failed work included."""
    cost: Mapping[str, float]
    """By engine, in the unit of the engines' prices; 0 without prices."""
    reward: float | None
    """In [0, 1]; None if nobody can say yet. It comes once: with the end of the run, or by itself later."""
    is_late: bool = False
    """The policy was told of this end before, and now of the reward."""
    mode: str = ""
    """Name of the mode the run ended in; empty where nobody chose one."""
    thought_tokens: int = 0
    """Tokens of thought in the kept steps."""
    question: str = ""
    """What the task asks, see question_of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a run may spend; None is no limit. Every limit is hard: judge calls, retries and discarded drafts count."""

    tokens: int | None = None
    """Output tokens of all calls."""
    prompt_tokens: int | None = None
    """Prompt tokens of all calls, cached ones included."""
    seconds: float | None = None
    """Wall time of the run."""
    cost: float | None = None
    """In the unit of the engines' prices."""
    steps: int | None = None
    """Kept steps."""
    engines: Mapping[str, Budget] = field(default_factory=dict)
    """Limits of single engines (tokens, prompt_tokens, cost), by name."""

    def __post_init__(self) -> None:
        for name in ("tokens", "prompt_tokens", "seconds", "cost", "steps"):
            value = getattr(self, name)
            kinds = (int, float) if name in ("seconds", "cost") else (int,)
            if value is not None and (type(value) not in kinds or not 0 < value < _MOST):
                kind = "number" if len(kinds) > 1 else "whole number"
                raise UserError(f"budget {name} = {value!r}: a limit is a {kind} above 0")
        for engine, budget in self.engines.items():
            if budget.seconds is not None or budget.steps is not None or budget.engines:
                raise UserError(f"budget of engine {engine!r}: only tokens, prompt_tokens and cost can be limited")

    def but(self, **changes: Any) -> Budget:
        """Return a copy with `changes`."""
        return replace(self, **changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """What is begun before it is known to be needed, so that verdicts cost less waiting. By default nothing is.

    The kept text, who wrote it and the decisions are those of a run without overlap. The ledger has more in it, as
    discarded and interrupted work, and a hard budget counts that: a run that uses up its budget ends earlier.
    """

    ahead: int = 0
    """How many steps may be drafted behind the oldest draft whose verdict is pending; 0 for none. The drafts in
    between have their verdicts asked for as well, the last one has not."""
    hedge: float | None = None
    """The large engine begins to rewrite a draft together with the verdict where the chance that the draft is
    rejected is at least this, in [0, 1]; None: never. A router that has `prior` says the chance; without it, it is
    the share of rejections in the run, from the fifth verdict on."""

    def __post_init__(self) -> None:
        if type(self.ahead) is not int or not 0 <= self.ahead <= _MOST_AHEAD:
            raise UserError(f"overlap ahead = {self.ahead!r} must be a whole number from 0 to {_MOST_AHEAD}")
        if self.hedge is not None and not 0 <= self.hedge <= 1:
            raise UserError(f"overlap hedge = {self.hedge!r} is not in [0, 1]")

    @property
    def is_on(self) -> bool:
        """Whether anything is begun early at all."""
        return self.ahead > 0 or self.hedge is not None
