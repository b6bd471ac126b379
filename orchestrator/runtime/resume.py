"""Bring a run back to where its journal ends, without calling any engine.

Kept steps, the ledger and the budget are rebuilt from the journal. What was already generated,
measured and decided at the step in hand is laid ready, so that the loop, taking that step from its
start, is answered from the journal until it reaches new ground. A call without a result was cut off
by the death of its process: nobody knows what the server made of it, so it is booked as
interrupted and charged everything it had reserved.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from json import loads
from typing import Any

from orchestrator.decisions import StopRun
from orchestrator.ledger import Fate
from orchestrator.memory.base import (
    REMOVED,
    CallIntent,
    CallResult,
    DecisionRow,
    SignalRow,
    StepRow,
    StoredRun,
)
from orchestrator.runtime.ask import ANSWERS
from orchestrator.runtime.calls import TOOL, WRITING, completion_of, entry_of
from orchestrator.runtime.decisions import Moded, Planned, decision_of
from orchestrator.runtime.hidden import dropped
from orchestrator.runtime.in_force import Lead, failovers, leads_of, mode_of, noticed
from orchestrator.runtime.marks import AGAIN, ANSWERED, LATE, RAISED, plain
from orchestrator.runtime.moding import enter
from orchestrator.runtime.run import Ending, Forced, Run
from orchestrator.runtime.write import led
from orchestrator.types import Event, Mode, Signal, Status, Step, StepKind, Stop

__all__ = ["restore", "spent_s", "step_of"]


def restore(run: Run, stored: StoredRun, ancestors: Sequence[StoredRun] = ()) -> None:
    """Put `run`, fresh from construction, where `stored` ends.

    `ancestors`, oldest first, are the runs it was forked from: the calls behind its first steps are theirs.
    """
    kept = stored.kept()
    tip = len(kept)
    places = {(row.step, row.attempt) for row in kept}
    writers: dict[tuple[int, int], list[CallResult]] = {}
    leads: dict[tuple[int, int], Lead] = {}
    for each in (*ancestors, stored):
        writers.update(_writing_calls(each))
        leads.update(leads_of(each))
        run.answers.update(answers_of(each))
        _recall_tools(run, each, None if each is stored else places)
    run.leads = leads_of(stored)
    turned = _enter_mode(run, stored)
    spoken = {each.key: _tokenizers(each) for each in (*ancestors, stored)}
    standing: set[int] = set()
    for row in kept:
        lead = leads.get((row.step, row.attempt))
        calls = _behind(row, writers.get((row.step, row.attempt), []), lead)
        standing.update(result.seq for result in calls if result.run == stored.key)
        step = step_of(row, calls, lead)
        run.thinking.keep(step)
        if calls and spoken[calls[0].run].get(row.writer) != spoken[stored.key].get(row.writer):
            step = replace(step, ids=[])  # a fork may have other engines: they read the text
        run.history.steps.append(step)
        run.history.num_tokens += step.num_tokens
        run.stream.keep(step)
        run.written.append([])
    run.taken_over.update((row.step, row.attempt + 1) for row in failovers(stored))
    run.history.thought_tokens = run.thinking.tokens
    _count_attempts(run, stored, tip, turned)
    _restore_events(run, stored, tip)
    _end_if_stopped(run, stored)
    _lay_ready(run, stored, tip)
    _plan_as_before(run, stored)
    carried_out = [
        row for row in stored.decisions if row.door == "after_draft" and row[1:4] not in run.stored.decisions
    ]
    run.verdicts += [row.action in ("keep", "stop") for row in carried_out]
    _book(run, stored, standing, tip)
    run.call.next_seq = len(stored.calls)


def spent_s(stored: StoredRun) -> float:
    """Return the seconds that earlier sessions took: each from its start to the last thing it stored.

    How long a session lived on after that, until its process died, nobody knows.
    """
    starts = [stored.run.created_s, *(event.at_s for event in stored.events if event.kind == "resumed")]
    ends = list(starts)
    for intent, result in stored.calls:
        session = max(place for place, start in enumerate(starts) if start <= intent.started_s or not place)
        ends[session] = max(ends[session], intent.started_s + (result.seconds if result else 0.0))
    return sum(end - start for start, end in zip(starts, ends, strict=True))


def _tokenizers(stored: StoredRun) -> dict[str, str]:
    return {name: can["tokenizer"] for name, can in loads(stored.run.engines).items()}


def _writing_calls(stored: StoredRun) -> dict[tuple[int, int], list[CallResult]]:
    calls: dict[tuple[int, int], list[CallResult]] = {}
    over = dropped(stored)
    for intent, result in stored.calls:
        if result is not None and result.status == "done" and intent.purpose in WRITING and intent.seq not in over:
            calls.setdefault((intent.step, intent.attempt), []).append(result)
    return calls


def answers_of(stored: StoredRun) -> dict[tuple[int, int], Sequence[int]]:
    """Return the lengths of what calls were answered, by step and attempt, where one step holds several answers."""
    told = [(event.step, loads(event.detail)) for event in stored.events if event.kind == ANSWERED]
    return {(step, each["attempt"]): each["lengths"] for step, each in told}


def _recall_tools(run: Run, stored: StoredRun, places: set[tuple[int, int]] | None) -> None:
    """Remember which tools were called, at `places` only or, for None, at all."""
    for intent, result in stored.calls:
        if intent.purpose == TOOL and (places is None or (intent.step, intent.attempt) in places):
            run.call.recall(intent, is_done=result is not None and result.status == "done")


def _behind(row: StepRow, calls: list[CallResult], lead: Lead | None) -> list[CallResult]:
    """Return the calls whose texts make up the step: the last ones, where an earlier session's were not used again."""
    text = row.text.removeprefix(lead.text) if lead else row.text
    for first in range(len(calls)):
        if "".join(result.text for result in calls[first:]) == text:
            return calls[first:]
    return calls


def step_of(row: StepRow, calls: list[CallResult], lead: Lead | None = None) -> Step:
    """Return a stored step, its ids and logprobs taken from the calls that wrote it and from what it starts with."""
    written = [completion_of(result) for result in calls]
    ids: Sequence[int] = [id for completion in written for id in completion.ids] if calls else ()
    if lead is not None:
        ids = led(lead, row.text.removeprefix(lead.text), ids)
    return Step(
        index=row.step,
        attempt=row.attempt,
        writer=row.writer,
        text=row.text,
        ids=ids,
        num_tokens=row.num_tokens,
        stop=Stop(row.stop),
        kind=StepKind(row.kind),
        logprobs=[entry for completion in written for entry in completion.logprobs or ()] or None,
        seconds=row.seconds,
    )


def _enter_mode(run: Run, stored: StoredRun) -> DecisionRow | None:
    """Enter the mode that the run is in; return the decision that turned it to that mode after another one."""
    row = mode_of(stored)
    if row is None:
        return None
    mode = decision_of(row, ())
    assert isinstance(mode, Moded)
    enter(run, Mode(**mode.mode))
    run.has_reconsidered = row.door == AGAIN or row.attempt > 0  # a fork has only the mode that it began in
    return row if row.door == AGAIN else None


def _restore_events(run: Run, stored: StoredRun, tip: int) -> None:
    """Put back what was noticed before; behind the last kept step monitors look again, unless it was gone back to."""
    run.stored.went_back = tip > 0 and stored.steps[-1].kind == REMOVED
    for row in noticed(stored):
        if row.step >= tip - 1 and not run.stored.went_back:
            continue
        detail = loads(row.detail)
        known: dict[str, Any] = {name: detail.get(name) for name in ("value", "threshold", "answer")}
        event = Event(row.kind, detail["reason"], step=row.step, **known)
        run.history.events.append(event)
        since = run.history.steps[row.step + 1 : -1]
        if LATE in detail and not run.stored.went_back and all(step.kind is StepKind.ACTION for step in since):
            run.heard_late.append(event)  # behind an action nobody is told of anything


def _count_attempts(run: Run, stored: StoredRun, tip: int, turned: DecisionRow | None) -> None:
    removals = sum(row.kind == REMOVED for row in stored.steps) - (turned is not None)
    for row in stored.decisions:
        detail = loads(row.detail or "{}")
        goes_back = row.action in ("rollback", "handoff") and "to_step" in detail
        if (goes_back and removals) or row is turned:  # else its removal is still to be carried out
            removals -= row is not turned
            _start_above(run, row)
            to_step = 0 if row is turned else detail["to_step"]
            run.forced = _forced(row, detail, to_step) if row.action == "handoff" else None
            run.history.window = min(run.history.window, to_step)
        elif row.step >= tip:
            continue
        elif row.action == "handoff" and row.door != "runtime":
            run.forced = _forced(row, detail, row.step)
        elif row.action == "handback":
            run.forced, run.history.window = None, row.step
    standing: list[StepRow] = []
    for step in stored.steps:
        for removed in standing[step.step :]:
            _start_above(run, removed)
        del standing[step.step :]
        if step.kind != REMOVED:
            standing.append(step)


def _forced(row: DecisionRow, detail: Mapping[str, Any], since: int) -> Forced:
    """Return the hand-over that a stored decision came to."""
    how = {key: value for key, value in detail.items() if key not in ("failed", "to_step")}
    return Forced(row.engine, since=since, **how)


def _start_above(run: Run, row: DecisionRow | StepRow) -> None:
    run.first_attempts[row.step] = max(run.first_attempts.get(row.step, 0), plain(row.attempt) + 1)


def _end_if_stopped(run: Run, stored: StoredRun) -> None:
    routed = [step for step in run.history.steps if step.kind is not StepKind.ANSWER]
    if not routed:
        return
    last = routed[-1]
    for row in stored.decisions:
        if row.action == "stop" and row[1:4] == (last.index, last.attempt, "after_draft"):
            decision = decision_of(row, ())
            assert isinstance(decision, StopRun)
            run.ending = Ending(decision.status, decision.reason)


def _lay_ready(run: Run, stored: StoredRun, tip: int) -> None:
    first = run.first_attempts.get(tip, 0)
    attempt = run.history.steps[-1].attempt if tip else 0
    run.stored.events = Counter(
        (row.step, row.kind)
        for row in stored.events
        if row.step == tip - 1 and loads(row.detail or "{}").get(RAISED, attempt) == attempt
    )
    for signal in stored.signals:
        if signal.step == tip and plain(signal.attempt) >= first:
            run.call.measured.add((signal.step, signal.attempt))
            known, name = run.stored.signals, signal.name
            if name == ANSWERS:
                known, name = run.stored.probes, signal.unit
            known[signal.step, signal.attempt, name] = signal_of(signal)
    tries_again = stored.outcome is not None
    for row in stored.decisions:
        if row.door == "runtime" and tries_again:
            continue
        if row.step == tip and plain(row.attempt) >= first:
            about = [signal_of(signal) for signal in stored.signals if signal[1:3] == row[1:3]]
            run.stored.decisions[row.step, row.attempt, row.door] = decision_of(row, tuple(about))


def _plan_as_before(run: Run, stored: StoredRun) -> None:
    """Write what nobody plans as the last planned step was; a plan for the step in hand is still to be taken up."""
    for row in stored.decisions:
        if row.action == "plan" and row[1:4] not in run.stored.decisions:
            planned = decision_of(row, ())
            assert isinstance(planned, Planned)
            run.step_tokens, run.writes_whole = planned.max_tokens, planned.whole


def signal_of(row: SignalRow) -> Signal:
    """Return a stored signal."""
    return Signal(
        name=row.name,
        value=row.value,
        raw=row.raw,
        unit=row.unit,
        reason=row.reason,
        output_tokens=row.output_tokens,
        seconds=row.seconds,
    )


def _book(run: Run, stored: StoredRun, standing: set[int], tip: int) -> None:
    over = dropped(stored)
    goes_on = stored.outcome is None or stored.outcome.status == Status.FAILED
    for intent, result in stored.calls:
        if result is None:
            result = _interrupted(intent)
            if goes_on:  # else nobody has claimed the run: whoever executed it may still write what came of the call
                run.journal.result(result)
        entry = entry_of(result)
        run.spender.charge(intent.engine, entry)
        is_over = intent.seq in over
        # Behind the tip there is what was begun ahead, and what was taken back: that is below the first attempt.
        is_ready = goes_on and not is_over and intent.step >= tip
        is_ready = is_ready and plain(intent.attempt) >= run.first_attempts.get(intent.step, 0)
        stands = is_ready or intent.seq in standing or (intent.purpose not in WRITING and not is_over)
        fate = _fate(result, stands=stands)
        run.ledger.add(intent.engine, intent.purpose, fate, entry)
        if result.status == "done" and is_ready:
            run.call.replay(intent, result)
        elif fate is Fate.USED and intent.purpose in WRITING:
            run.written[intent.step].append((intent.engine, intent.purpose, entry))
    if goes_on:
        run.journal.commit(run.key)


def _fate(result: CallResult, *, stands: bool) -> Fate:
    if result.status in ("interrupted", "aborted"):
        return Fate.INTERRUPTED
    if result.status != "done":
        return Fate.FAILED
    return Fate.USED if stands else Fate.DISCARDED


def _interrupted(intent: CallIntent) -> CallResult:
    return CallResult(
        intent.run,
        intent.seq,
        "interrupted",
        text="",
        ids=b"",
        stop="",
        stop_text="",
        prompt_tokens=intent.prompt_tokens,
        cached_tokens=None,
        output_tokens=intent.max_tokens,
        uncertain=int(intent.purpose != TOOL),
        seconds=0.0,
        first_token_s=None,
        error="",
        logprobs=None,
    )
