"""One execution of a pipeline on a task: everything the loop knows between two steps."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from orchestrator.doors import Ask
from orchestrator.engines.scorers.base import Scorer
from orchestrator.engines.spec import ProbePrompt
from orchestrator.engines.step_stream import StepStream
from orchestrator.errors import OrchestratorError
from orchestrator.ledger import Ledger
from orchestrator.memory.journal import Journal
from orchestrator.monitors.base import Monitor
from orchestrator.runtime.answer import Extractor
from orchestrator.runtime.budget import Spender
from orchestrator.runtime.calls import Booked, Calls
from orchestrator.runtime.readings import Readings
from orchestrator.runtime.result import RunResult
from orchestrator.types import Decision, History, Outcome, Plan, Sampling, Signal, Status, Step, StopRun, Task

if TYPE_CHECKING:
    from orchestrator.runtime.lookahead import LookAhead

__all__ = ["ANSWER", "Decided", "Doors", "Ending", "Kept", "Known", "Lead", "Reward", "Run", "Stored", "Turn"]

Reward = Callable[[Task, str | None], float | None]
"""A task and what was answered, None for nothing -> what that is worth in [0, 1], or None for unknown."""
ANSWER = "answer"
"""The node where a run ends; no engine may have this name."""


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


class Lead(NamedTuple):
    """What a policy put at the start of a step."""

    text: str
    ids: Sequence[int]
    """In the tokenizer of the step's writer."""


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


@dataclass(slots=True)
class Stored:
    """What an earlier session had already measured and decided at the step where it stopped."""

    signals: dict[tuple[int, int, str], Signal] = field(default_factory=dict)
    """By step, attempt and scorer."""
    probes: dict[tuple[int, int, str], Signal] = field(default_factory=dict)
    """How far forced answers agreed, by step, attempt and unit, which says who was asked for how many."""
    decisions: dict[tuple[int, int, str], Decision] = field(default_factory=dict)
    """By step, attempt and door."""
    events: set[tuple[int, str]] = field(default_factory=set)
    """What monitors noticed at the last kept step, by step and kind."""


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
    scorers: Mapping[str, Scorer]
    samplings: Mapping[str, Sampling]
    probes: Mapping[str, ProbePrompt]
    """How each engine that writes is made to answer at once."""
    find_answer: Extractor
    delimiter: str
    stop_on_answer: bool
    can_fail_over: bool
    reward: Reward | None = None
    """Says what an answer is worth, for a router that learns; None: whether it is the gold one."""
    known: Known | None = None
    """None where the router learns nothing, or the run is over."""
    chat_only: frozenset[str] = frozenset()
    """Engines that write whole turns; where there is one, the run is a single turn."""
    stored: Stored = field(default_factory=Stored)
    turn: Turn | None = None
    """None once the run is ending."""
    step_tokens: int | None = None
    """Tokens the last planned step could have; what is written without a plan may have as many."""
    forced: tuple[str, int | None] | None = None
    """A hand-over in force: engine, and the index of the first step that is routed again."""
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

    def tell(self, event: Any) -> None:
        """Pass `event` to whoever listens."""
        for listener in self.listeners:
            listener(event)
