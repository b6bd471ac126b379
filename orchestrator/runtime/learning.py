"""What a learning router, or mode's policy, knows at the start of a run, and what it is told at the end.

A run sees one version of what was learned, the newest when it begins, and the journal keeps which one
it was; so a resumed run decides as it would have. What the run teaches goes on top of whatever is the
newest when it ends. Reward and new state are written in one transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from json import dumps, loads
from time import time
from typing import Any, NamedTuple

from orchestrator import config, modes, registry, routers
from orchestrator.engines.base import Capabilities
from orchestrator.errors import UserError
from orchestrator.memory.base import LEARNED, DecisionRow, EventRow, Lesson, StoredRun
from orchestrator.memory.handbook import Handbook
from orchestrator.memory.journal import Journal
from orchestrator.runtime import build, identity, recalling
from orchestrator.runtime.run import Known, Run
from orchestrator.runtime.tasks import is_correct
from orchestrator.types import Message, Mode, Outcome, Status, Taken, question_of

__all__ = [
    "LEARNED",
    "MODE",
    "ROUTER",
    "THOUGHT",
    "UNREWARDED",
    "Rewarded",
    "checked",
    "give_reward",
    "lesson_of",
    "lessons_of",
    "look_up",
    "note_thought",
    "outcome_of",
    "policy_key",
    "reward_at_end",
]

ROUTER, MODE = "router", "mode"
"""Who learns."""
THOUGHT = "thought"
"""Kind of the event that says in which mode a run ended, and how much it had thought."""
UNREWARDED = "unrewarded"
"""Kind of the event that says why a run has no reward though there is a function for it."""


def policy_key(
    policy: Any, writers: Sequence[str], ready: Mapping[str, Capabilities], experience: str, kind: str = ROUTER
) -> str:
    """Return what names the state of a learning policy, as JSON: its name, its options, the engines it chooses from.

    Another one, other options, other engines or another name of the experience learn apart from it.
    """
    options = identity.settings_of(policy) if is_dataclass(policy) else {}
    return dumps(
        {
            kind: identity.policy_of(policy).name,
            "options": {name: value for name, value in options.items() if name != "policy"},
            "engines": [[name, ready[name].model] for name in writers],
            "experience": experience,
        },
        sort_keys=True,
    )


def look_up(run: Run, policy: str, stored: StoredRun | None = None, kind: str = ROUTER) -> None:
    """Give a run of a learning policy what is known: what it knew before, if `stored` says, else the newest."""
    before = _known(stored, kind) if stored is not None else None
    if before is not None:
        run.known[kind] = before
        _give(run, kind, run.journal.learned(*before).state)
        return
    newest = run.journal.learned(policy)
    run.known[kind] = Known(policy, newest.version)
    _give(run, kind, newest.state)
    said = {"policy": policy, "version": newest.version, "reason": f"version {newest.version}"}
    run.journal.event(EventRow(run.key, len(run.history.steps), LEARNED, dumps(said), time()))


def _give(run: Run, kind: str, state: Mapping[str, Any]) -> None:
    if kind == ROUTER:
        run.history.learned = state
    else:
        run.history.lengths = state


def _known(stored: StoredRun, kind: str = ROUTER) -> Known | None:
    details = (loads(event.detail) for event in stored.events if event.kind == LEARNED)
    found = (Known(each["policy"], each["version"]) for each in details if kind in loads(each["policy"]))
    return next(found, None)


def note_thought(run: Run, mode: Mode) -> None:
    """Note how much a run that ends has thought, and in which mode."""
    tokens = run.thinking.tokens
    said = {"reason": f"{tokens} tokens in mode {mode.name}", "mode": mode.name, "tokens": tokens}
    run.journal.event(EventRow(run.key, len(run.history.steps), THOUGHT, dumps(said), time()))


def reward_at_end(run: Run, status: Status, answer: str | None) -> float | None:
    """Return what a run that has just ended was worth, None if nobody can say: one that failed may be tried again.

    A function of the pipeline that raises, or says what is no reward, leaves this run without one, and an event says
    why: the answer is there all the same, and so are the runs beside it.
    """
    task = run.history.task
    if status is Status.FAILED:
        return None
    if run.reward is None:
        return None if task.answer is None else float(is_correct(answer, task.answer))
    try:
        value = run.reward(task, answer)
        return None if value is None else checked(value, "the pipeline's reward function")
    except UserError as error:
        reason = str(error)
    except Exception as error:
        reason = f"the pipeline's reward function raised {type(error).__name__}: {error}"
    run.journal.event(EventRow(run.key, len(run.history.steps), UNREWARDED, dumps({"reason": reason}), time()))
    return None


def checked(value: Any, whose: str) -> float:
    """Return a reward as a plain number. Raises UserError, which says `whose` it is, if it is not in [0, 1]."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if not 0 <= number <= 1:
        raise UserError(f"{whose}: {value!r} is no reward: give a number from 0 to 1")
    return number


def lesson_of(after_run: Any, policy: str, *, is_late: bool) -> Lesson:
    """Return the lesson that the door `after_run` makes of a run."""
    engines = tuple(name for name, _ in loads(policy)["engines"])

    def learn(stored: StoredRun, reward: float | None, state: Mapping[str, Any]) -> Mapping[str, Any]:
        new: Mapping[str, Any] = after_run(outcome_of(stored, reward, engines, is_late=is_late), state)
        return new

    return Lesson(policy, learn)


def lessons_of(run: Run) -> list[Lesson]:
    """Return what the policies of a run that ends learn from it."""
    doors = {ROUTER: run.doors.after_run, MODE: getattr(run.mode_policy, "after_run", None)}
    return [lesson_of(doors[kind], known.policy, is_late=False) for kind, known in run.known.items()]


def outcome_of(stored: StoredRun, reward: float | None, engines: tuple[str, ...], *, is_late: bool) -> Outcome:
    """Return how a stored run ended."""
    outcome = stored.outcome
    assert outcome is not None
    output_tokens: dict[str, int] = {}
    cost: dict[str, float] = {}
    for row in loads(outcome.ledger):
        output_tokens[row["engine"]] = output_tokens.get(row["engine"], 0) + row["output_tokens"]
        cost[row["engine"]] = cost.get(row["engine"], 0.0) + row["cost"]
    thought: dict[str, Any] = next(
        (loads(event.detail) for event in reversed(stored.events) if event.kind == THOUGHT), {}
    )
    return Outcome(
        run_id=stored.run.id,
        status=Status(outcome.status),
        engines=engines,
        decisions=tuple(map(_taken, stored.decisions)),
        writers=tuple(row.writer for row in stored.kept()),
        failed=_failed(stored),
        seconds=outcome.seconds,
        output_tokens=output_tokens,
        cost=cost,
        reward=reward,
        is_late=is_late,
        mode=thought.get("mode", ""),
        thought_tokens=thought.get("tokens", 0),
        question=_question(stored),
    )


def _question(stored: StoredRun) -> str:
    return question_of([Message(*message) for message in loads(stored.run.task)["messages"]])


def _taken(row: DecisionRow) -> Taken:
    detail = loads(row.detail) if row.detail else {}
    return Taken(row.step, row.attempt, row.door, row.action, row.engine, tuple(detail.get("features", ())))


def _failed(stored: StoredRun) -> tuple[str, ...]:
    found = [loads(row.detail).get("failed") for row in stored.decisions if row.door == "runtime" and row.detail]
    assert stored.outcome is not None
    if stored.outcome.status == Status.FAILED and stored.calls:
        last = stored.calls[-1]
        if last.result is not None and last.result.status == "failed":
            found.append(last.intent.engine)
    return tuple(dict.fromkeys(name for name in found if name))


class Rewarded(NamedTuple):
    """What a reward was given to."""

    run_id: str
    learner: str
    """The router that has learned from it; empty where it does not learn."""
    uncredited: str
    """Which behaviors that it cited get no credit for it, and why; empty where all do."""
    credited: tuple[str, ...] = ()
    """Names of the behaviors that it counts for."""


def give_reward(
    journal: Journal, name: str, value: Any, router: Any = None, mode: Any = None, handbook: Handbook | None = None
) -> Rewarded:
    """Store what a run that has ended was worth, let its router learn from it, and credit the behaviors that it cited.

    `router` and `mode` are used if the run was made with them; any other is built again from the run's settings.
    Likewise `handbook`, which is opened if it was another one. Credit goes by what is stored, whoever stored it; where
    a process died before the credit, saying the reward again makes up for it, though it is refused.
    Raises UnknownName, listing near ids, or UserError: no reward, a run that has not ended or has its reward,
    a router that cannot be built.
    """
    number = checked(value, "reward")
    stored = journal.run(name)
    if stored.outcome is None:
        raise UserError(f"run {stored.run.id} has not ended: reward it when it has")
    lessons = []
    known = _known(stored)
    if known is not None:
        lessons.append(lesson_of(build.doors_of(_router_of(stored, router)).after_run, known.policy, is_late=True))
    if (of_mode := _known(stored, MODE)) is not None:
        lessons.append(lesson_of(_mode_of(stored, mode).after_run, of_mode.policy, is_late=True))
    try:
        journal.reward(stored.key, number, lessons)
    finally:
        given = journal.reward_of(stored.key)
        credited, lost = ((), "") if given is None else recalling.credit_late(journal, stored, given, handbook)
    return Rewarded(stored.run.id, loads(known.policy)[ROUTER] if known else "", lost, credited)


def _mode_of(stored: StoredRun, given: Any) -> Any:
    settings = loads(stored.run.settings)["mode"]
    if given is not None and identity.settings_of(given) == settings:
        return given
    options = dict(settings)
    name = options.pop("policy").rpartition(" ")[0]
    if name not in registry.names("modes", modes.MODES):
        raise UserError(
            f"run {stored.run.id} has the mode {name}, which has no registered name: reward it through its pipeline"
        )
    return modes.find(name)(**options)


def _router_of(stored: StoredRun, given: Any) -> Any:
    settings = loads(stored.run.settings)["router"]
    if given is not None and identity.settings_of(given) == settings:
        return given
    options = dict(settings) if isinstance(settings, dict) else {"policy": settings}
    name = options.pop("policy").rpartition(" ")[0]
    if name not in registry.names("routers", routers.ROUTERS):
        raise UserError(
            f"run {stored.run.id} was made by the router {name or settings!r}, which has no registered name: "
            "reward it through the pipeline it was made with"
        )
    return config.router(name, options, f"run {stored.run.id}")
