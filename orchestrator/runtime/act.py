"""Call the tools that an engine asked for: the intent is on disk first, and nothing is called twice in silence.

What a call answered is the observation; what is wrong with a call is one, too, so that the engine can mend it. A call
that a process died in the middle of, or that was cut off, is not made again unless its tool says that it may be: the
engine is told that nobody knows whether it was made, and where a person can be asked, a person decides.
"""

from __future__ import annotations

from hashlib import blake2b
from inspect import isawaitable
from json import dumps
from typing import Any

from langgraph.types import interrupt

from orchestrator.runtime.calling import called_in
from orchestrator.runtime.decisions import Approve, Deny, record
from orchestrator.runtime.interrupts import can_interrupt, door
from orchestrator.runtime.run import Approval, Run, Turn
from orchestrator.runtime.step import keep_step
from orchestrator.runtime.watch import advance
from orchestrator.tools.base import ERROR, Called, Observation, Tool
from orchestrator.types import Decision, Step, StepKind, Stop

__all__ = ["act"]

INTERRUPTED = f"{ERROR}the call was interrupted, and whether it was made is not known"
SILENT = "(no output)"


async def act(run: Run, turn: Turn) -> str:
    """Make the calls of the last step, keep what they answered, and return the node to visit next."""
    action = run.history.steps[-1]
    await _catch_up(run)
    seen: list[Observation] = []
    calls = called_in(run, action)
    for number, called in enumerate(calls):
        seen.append(await _observe(run, turn, number, called))
    run.caught_up = len(run.history.steps)
    texts = [each.text.strip() or SILENT for each in seen]
    observation = Step(
        index=len(run.history.steps),
        attempt=turn.attempt,
        writer=",".join(dict.fromkeys(called.name or "?" for called in calls)),
        text="\n".join(texts),
        num_tokens=0,
        stop=Stop.END,
        kind=StepKind.OBSERVATION,
        seconds=sum(each.seconds for each in seen),
    )
    keep_step(run, observation)
    return advance(run)


async def _catch_up(run: Run) -> None:
    """Bring the tools of a simulation to where they were when the run was cut off, by the calls it had made."""
    if not run.is_simulation:
        return
    for step in run.history.steps[run.caught_up : -1]:
        if step.kind is StepKind.ACTION:
            for called in called_in(run, step):
                if not called.error:
                    await _tool(run, called)(called.arguments)


def _tool(run: Run, called: Called) -> Tool:
    assert run.tools is not None
    return run.tools[called.name]


async def _observe(run: Run, turn: Turn, number: int, called: Called) -> Observation:
    if called.error:
        return Observation(f"{ERROR}{called.error}", is_error=True)
    tool, place = _tool(run, called), (len(run.history.steps), turn.attempt)
    digest = blake2b(
        dumps([number, called.name, dict(called.arguments)], default=str).encode(), digest_size=16
    ).digest()
    was_cut_off = run.call.was_cut_off(called.name, place, digest)
    why = _why_ask(tool, was_cut_off=was_cut_off and not run.is_simulation)
    if why:
        decision = await _approved(run, turn, number, called, why, may_decide=tool.needs_approval)
        if isinstance(decision, Deny):
            return Observation(f"{ERROR}{decision.reason}", is_error=True)
    return await run.call.tool(called.name, place, digest, lambda: tool(called.arguments))


def _why_ask(tool: Tool, *, was_cut_off: bool) -> str:
    """Say why a person is to be asked before a call, empty where nobody is."""
    if was_cut_off and not tool.is_idempotent:
        return "it was begun before and interrupted; whether it was made is not known"
    return "the tool asks for approval" if tool.needs_approval else ""


async def _approved(run: Run, turn: Turn, number: int, called: Called, why: str, *, may_decide: bool) -> Decision:
    """Return what a person decided about a call, or what follows where nobody can be asked; it is recorded."""
    name = f"approval {number}: {why}"
    stored = run.stored.decisions.get((len(run.history.steps), turn.attempt, name))
    if stored is not None:
        return stored
    with door("approval"):
        said = await _ask(run, Approval(run.id, called.name, dict(called.arguments), why))
    decision: Decision
    if said is True:
        decision = Approve(reason=f"a person let {called.name} be called")
    elif said is None:
        decision = Deny(reason=INTERRUPTED.removeprefix(ERROR) if not may_decide else _NOBODY)
    else:
        decision = Deny(reason=said if isinstance(said, str) and said else f"{called.name} was not approved")
    record(run, turn.attempt, name, decision)
    return decision


_NOBODY = "the call needs approval and nobody can be asked"


async def _ask(run: Run, approval: Approval) -> Any:
    """Ask a person: through the pipeline's function, or by an interrupt where a graph can keep the question.

    Returns None where nobody can be asked.
    """
    if run.approve is not None:
        said = run.approve(approval)
        return await said if isawaitable(said) else said
    if can_interrupt():
        return interrupt(approval._asdict())
    return None
