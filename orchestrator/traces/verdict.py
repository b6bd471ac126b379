"""What does a router answer to a question of a stored run, and is that what was answered then?"""

from __future__ import annotations

from json import loads
from typing import Any, NamedTuple

from orchestrator.decisions import Decision, Keep, Plan, Rollback, StopRun, keep
from orchestrator.doors import Needs
from orchestrator.errors import EngineError, SignalUnavailable, UnknownName, UserError
from orchestrator.memory.base import DecisionRow
from orchestrator.routers.base import draft_small, keep_all
from orchestrator.runtime.deciding import unmeasured
from orchestrator.runtime.identity import policy_of, settings_of
from orchestrator.runtime.marks import LATE
from orchestrator.runtime.write import STEP_TOKENS, TURN_TOKENS
from orchestrator.traces.asked import AFTER_DRAFT, BEFORE_STEP, Question
from orchestrator.traces.by_place import Place, Record
from orchestrator.traces.offline import StoredAsk, Undecided
from orchestrator.traces.other import beside
from orchestrator.types import Step, Stop

__all__ = ["Verdict", "decided", "drafted", "told_apart", "told_of"]

_EFFECT = ("to_step", "until", "turns", "note", "status")
"""What shapes the run behind a decision, besides its action and engine."""

_PLANNED = ["max_tokens", "whole", "lead"]
"""What shapes a draft, besides who writes it."""


class Verdict(NamedTuple):
    """An answer, held against the stored one."""

    place: Place
    door: str
    row: DecisionRow | None
    """The stored one; None for a plan that told nothing, or events that nobody was asked about."""
    made: Decision | Plan
    is_alike: bool
    """It comes to the same; reasons, thresholds and margins may differ."""
    heard: frozenset[tuple[str, Place]]
    """What the router asked for: a name, and where the calls behind it are."""


async def decided(record: Record, router: Any, question: Question) -> Verdict:
    """Return what `router` answers. Raises Undecided where the record does not hold what it needs, and UserError for
    a router that names engines which the run has not, or answers what is no decision."""
    if hasattr(router, "after_run"):
        raise Undecided(f"{policy_of(router).name} learns: name another router")  # what it knew then is not stored
    ask = StoredAsk(record, question.history, question.place[1])
    made: Decision | Plan
    if question.door == BEFORE_STEP:
        made = _planned(router, question)
        is_alike = _is_same_plan(record, question, made)
    elif question.door == AFTER_DRAFT:
        made = await _about_draft(record, router, question, ask)
        is_alike = _is_same(question.row, made)
    else:
        made = await _about_events(record, router, question, ask)
        is_alike = isinstance(made, Keep) if question.row is None else _is_same(question.row, made)
    return Verdict(question.place, question.door, question.row, made, is_alike, frozenset(ask.heard))


async def drafted(record: Record, router: Any, question: Question, plan: Plan) -> Step | None:
    """Return the draft that would stand under another plan, None where nobody wrote it.

    An alternative has the text of a draft by its engine where nothing is drawn, at temperature 0. The router is asked
    about it, and has to keep it unasked: what it would ask for is not in the account.
    """
    is_plain = not plan.whole and not plan.lead and _limit(record, plan) == _limit(record, Plan(plan.engine))
    if not is_plain or record.settings["engines"][plan.engine]["sampling"]["temperature"] != 0:
        return None
    place = beside(record, question.place, plan.engine)
    if (step := record.step(place)) is None:
        return None
    ask = StoredAsk(record, question.history, place[1])
    try:
        made = await _about_draft(record, router, question._replace(place=place, draft=step), ask)
    except Undecided:
        return None
    return step if isinstance(made, Keep) and not ask.heard else None


def told_of(made: Decision | Plan | DecisionRow) -> str:
    """Return an answer in two words: what is done, and by whom."""
    action = "draft" if isinstance(made, Plan) else made.action
    return f"{action} {getattr(made, 'engine', '')}".strip()


def told_apart(question: Question, made: Decision | Plan) -> tuple[str, str]:
    """Return what was decided then and what is now; where both do the same by the same, with what they differ in."""
    was = question.plan or question.row or keep()
    then, now = told_of(was), told_of(made)
    if then != now or (question.plan is None and question.row is None):
        return then, now
    if isinstance(was, Plan) or isinstance(made, Plan):
        names, before = _PLANNED, {name: getattr(was, name, None) for name in _PLANNED}
    else:
        names, before = _own(made), loads(getattr(was, "detail", "") or "{}")
    others = [name for name in names if before.get(name, _default(name)) != getattr(made, name, None)]
    ends = [
        ", ".join(f"{name} {of(name)!r}" for name in others) for of in (before.get, lambda name: getattr(made, name))
    ]
    return f"{then}, {ends[0]}" if others else then, f"{now}, {ends[1]}" if others else now


def _planned(router: Any, question: Question) -> Plan | StopRun:
    planned = getattr(router, "before_step", draft_small)(question.history)
    if not isinstance(planned, Plan | StopRun):
        raise UserError(f"{policy_of(router).name} planned {planned!r:.60}, not a Plan(engine=...) or stop(...)")
    _check_engine(router, planned, question)
    return planned


async def _about_draft(record: Record, router: Any, question: Question, ask: StoredAsk) -> Decision:
    draft = _as_read(record, router, question)
    try:
        made = await getattr(router, "after_draft", keep_all)(question.history, draft, ask)
    except (SignalUnavailable, EngineError) as missing:
        made = unmeasured(question.history.large, draft, missing)
    return _checked(router, made, question)


async def _about_events(record: Record, router: Any, question: Question, ask: StoredAsk) -> Decision:
    if not hasattr(router, "on_events"):
        return keep(reason="this policy does nothing about events")
    if any(f'"{LATE}"' in event.detail for event in record.stored.events):
        raise Undecided("a monitor was heard late: what the router had been told by then is not stored")
    try:
        made = await router.on_events(question.history, question.events, ask)
    except (SignalUnavailable, EngineError) as missing:
        made = keep(reason=f"{missing}: nothing is done about it")
    return _checked(router, made, question)


def _checked(router: Any, made: Any, question: Question) -> Decision:
    if not isinstance(made, Decision):
        raise UserError(f"{policy_of(router).name} answered {made!r:.60}, not a decision")
    _check_engine(router, made, question)
    return made


def _check_engine(router: Any, made: Any, question: Question) -> None:
    engine = getattr(made, "engine", None)
    if engine is not None and engine not in question.history.engines:
        known = ", ".join(question.history.engines)
        raise UnknownName(f"{policy_of(router).name} chose engine {engine!r}; the run has {known}")


def _is_same(row: DecisionRow | None, made: Decision) -> bool:
    assert row is not None
    detail = loads(row.detail) if row.detail else {}
    if (row.action, row.engine) != (made.action, getattr(made, "engine", "")):
        return False
    if isinstance(made, Rollback) and row.reason.startswith(f"{made.reason}; but what "):
        return True  # it went as far back as tools let it
    return all(getattr(made, name, None) == detail.get(name, _default(name)) for name in _own(made))


def _own(made: Decision) -> list[str]:
    return [name for name in _EFFECT if hasattr(made, name)]


def _default(name: str) -> Any:
    return "" if name == "note" else None


# ---- plans


def _is_same_plan(record: Record, question: Question, made: Decision | Plan) -> bool:
    """Return whether the same draft follows. Raises Undecided where another limit may have written another one."""
    then = question.plan
    if then is None or not isinstance(made, Plan):
        return then is None and question.row is not None and isinstance(made, StopRun) and _is_same(question.row, made)
    if (made.engine, made.whole, made.lead) != (then.engine, then.whole, then.lead):
        return False
    before, now = _limit(record, then), _limit(record, made)
    if before != now:
        for step in _written_from(record, question.place[0]):
            if step.stop is Stop.LENGTH or step.num_tokens > now:
                raise Undecided(
                    f"step {step.index} has {step.num_tokens} tokens by a limit of {before}; one of {now} may have "
                    "written another"
                )
    return True


def _limit(record: Record, plan: Plan) -> int:
    own = None if plan.whole else record.settings["engines"][plan.engine]["sampling"]["max_tokens"]
    return min(filter(None, (plan.max_tokens, own)), default=TURN_TOKENS if plan.whole else STEP_TOKENS)


def _written_from(record: Record, index: int) -> list[Step]:
    places = [*((row.step, row.attempt) for row in record.stored.steps), *record.drafts]
    found = (record.step(place) for place in dict.fromkeys(places) if place[0] >= index)
    return [step for step in found if step is not None and step.writer in record.writers]


# ---- logprobs


def _as_read(record: Record, router: Any, question: Question) -> Step:
    """Return the draft with the alternatives per token that the router plans to read.

    Raises Undecided where the run was asked for fewer.
    """
    assert question.draft is not None
    planned = _planned(router, question)
    wanted = planned.logprobs if isinstance(planned, Plan) else 0
    if wanted and settings_of(router) != record.settings.get("router"):  # its own router read what there was
        _check_logprobs(record, router, min(wanted, record.engines[question.draft.writer].get("logprobs") or 0))
    if wanted <= record.logprobs:
        return question.draft
    record.logprobs = wanted  # it plans more than it said that it needs
    return record.step(question.place) or question.draft


def _check_logprobs(record: Record, router: Any, wanted: int) -> None:
    if wanted > record.logprobs_asked:
        kept = record.logprobs_asked or "none"
        raise Undecided(f"{policy_of(router).name} reads {wanted} alternatives per token; the run kept {kept}")
    if getattr(router, "needs", Needs()).reads_rewrites and not record.reads_rewrites:
        raise Undecided(f"{policy_of(router).name} reads logprobs of rewrites, which the run did not keep")
