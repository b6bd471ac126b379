"""Call the tools that an engine asked for: the intent is on disk first, and nothing is called twice in silence.

What a call answered is the observation; what is wrong with a call is one, too, so that the engine can mend it. A call
that a process died in the middle of, or that was cut off, is not made again unless its tool says that it may be: the
engine is told that nobody knows whether it was made, and where a person can be asked, a person decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from json import dumps
from time import time

from orchestrator.memory.base import EventRow
from orchestrator.runtime.approving import approved
from orchestrator.runtime.calling import called_in
from orchestrator.runtime.decisions import Deny
from orchestrator.runtime.marks import ANSWERED
from orchestrator.runtime.run import Run, Turn
from orchestrator.runtime.step import keep_step
from orchestrator.runtime.watch import advance
from orchestrator.tools.base import ERROR, Called, Observation, Tool
from orchestrator.tools.own import observed
from orchestrator.types import Step, StepKind, Stop

__all__ = ["act"]

SILENT = "(no output)"
NO_TOOL = "?"
"""Writer of an observation where no tool was called that there is."""


async def act(run: Run, turn: Turn) -> str:
    """Make the calls of the last step, keep what they answered, and return the node to visit next."""
    action, index = run.history.steps[-1], len(run.history.steps)
    await _catch_up(run, turn)
    calls = called_in(run, action)
    seen = [await _observe(run, turn, number, called) for number, called in enumerate(calls)]
    run.caught_up = index
    names = [called.name for called in calls if called.name in run.tool_names]
    texts = [each.text.strip() or SILENT for each in seen]
    if len(texts) > 1:
        _tell_apart(run, (index, turn.attempt), texts)
    observation = Step(
        index=index,
        attempt=turn.attempt,
        writer=",".join(dict.fromkeys(names)) or NO_TOOL,
        text="\n".join(texts),
        num_tokens=0,
        stop=Stop.END,
        kind=StepKind.OBSERVATION,
        seconds=sum(each.seconds for each in seen),
    )
    keep_step(run, observation)
    return advance(run)


def _tell_apart(run: Run, place: tuple[int, int], texts: Sequence[str]) -> None:
    """Note where in an observation the answer of each call is."""
    index, attempt = place
    run.answers[place] = lengths = [len(text) for text in texts]
    told = {"reason": f"{len(texts)} calls in one turn", "attempt": attempt, "lengths": lengths}
    run.journal.event(EventRow(run.key, index, ANSWERED, dumps(told), time()))


async def _catch_up(run: Run, turn: Turn) -> None:
    """Bring the tools of a simulation that were made anew to where they were, by the calls that were made."""
    if run.make_tools is None:
        return
    steps = run.history.steps
    for action in steps[run.caught_up :]:
        if action.kind is StepKind.ACTION:
            index = action.index + 1
            made = run.call.made.get((index, steps[index].attempt if index < len(steps) else turn.attempt), {})
            for number, called in enumerate(called_in(run, action)):
                if _digest(action, number) in made:
                    await observed(_tool(run, called), called.arguments)


def _digest(action: Step, number: int) -> bytes:
    """Name one of the calls of a step by what the engine wrote: that is the same in every process."""
    return blake2b(dumps([number, action.text]).encode(), digest_size=16).digest()


def _tool(run: Run, called: Called) -> Tool:
    assert run.tools is not None
    return run.tools[called.name]


async def _observe(run: Run, turn: Turn, number: int, called: Called) -> Observation:
    if called.error:
        return Observation(f"{ERROR}{called.error}", is_error=True)
    tool, place = _tool(run, called), (len(run.history.steps), turn.attempt)
    digest = _digest(run.history.steps[-1], number)
    times = 0 if tool.is_idempotent or run.make_tools else run.call.times_cut_off(called.name, place, digest)
    if times or tool.needs_approval:
        decision = await approved(run, turn, number, called, times)
        if isinstance(decision, Deny):
            return Observation(f"{ERROR}{decision.reason}", is_error=True)
    return await run.call.tool(called.name, place, digest, lambda: observed(tool, called.arguments))
