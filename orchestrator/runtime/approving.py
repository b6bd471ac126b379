"""Ask a person before a call is made: one that the tool wants asked for, and one of which nobody knows whether it was.

A person is asked once: what was decided is in the journal. Where nobody can be asked, the call is not made.
"""

from __future__ import annotations

import re
from inspect import isawaitable
from typing import Any

from langgraph.types import interrupt

from orchestrator.decisions import Decision
from orchestrator.errors import UserError
from orchestrator.runtime.decisions import Approve, Deny, record
from orchestrator.runtime.foreign import brought
from orchestrator.runtime.interrupts import can_interrupt, door
from orchestrator.runtime.run import Approval, Run, Turn
from orchestrator.tools.base import Called
from orchestrator.tools.observing import observe

__all__ = ["approved"]

INTERRUPTED = "the call was interrupted, and whether it was made is not known"
WANTED = "the tool asks for approval"
NOBODY = "the call needs approval and nobody can be asked"
_MOST = 2000
"""Characters of a refusal that the engine is told."""
_YES = ("y", "yes", "ok", "okay", "true", "sure", "approve", "approved")
"""First words that look like an answer: taken for a reason not to make a call, a yes would be a no."""
_NO = ("n", "no", "false")
"""Texts that look like one and tell the engine nothing; more words behind them are a reason."""


async def approved(run: Run, turn: Turn, number: int, called: Called, times: int) -> Decision:
    """Return what a person decided about a call that was cut off so many times, and record it."""
    often = f"{times} times " if times > 1 else ""
    why = f"it was begun {often}before and interrupted; whether it was made is not known" if times else WANTED
    name = f"approval {number}: {why}"
    stored = run.stored.decisions.get((len(run.history.steps), turn.attempt, name))
    if stored is not None:
        return stored
    if run.approve is None and not can_interrupt():
        decision: Decision = Deny(reason=INTERRUPTED if times else NOBODY, tool=called.name)
        record(run, turn.attempt, name, decision, policy="runtime")
        return decision
    with door("approval"):
        said = _meant(run, called, await _ask(run, Approval(run.id, called.name, dict(called.arguments), why)))
    if said is True:
        decision = Approve(reason=f"a person let {called.name} be called", tool=called.name)
    else:
        refused = INTERRUPTED if times else f"{called.name} was not approved"
        decision = Deny(reason=_words(said) or refused, tool=called.name)
    record(run, turn.attempt, name, decision, policy="a person")
    return decision


async def _ask(run: Run, approval: Approval) -> Any:
    """Ask a person through the pipeline's function, or by an interrupt of a graph that keeps the question."""
    if run.approve is None:
        return interrupt(approval._asdict())
    with brought("approve"):
        said = run.approve(approval)
        return await said if isawaitable(said) else said


def _meant(run: Run, called: Called, said: Any) -> bool | str:
    """Return an answer that is one. Raises UserError for anything else, be it a yes or no that is a text."""
    if isinstance(said, bool) or (isinstance(said, str) and not _is_an_answer(said)):
        return said
    who = f"a person, asked about {called.name}," if run.approve is None else "approve"
    raise UserError(
        f"{who} answered {said!r:.40}: return True to let it be called, False not to, or not to with a text that tells "
        "the engine why"
    )


def _is_an_answer(said: str) -> bool:
    words = re.findall(r"\w+", said.lower())
    return bool(words) and (words[0] in _YES or (len(words) == 1 and words[0] in _NO))


def _words(said: bool | str) -> str:
    """Return a refusal as the engine may read it, as short and printable as what a tool answers; empty for none."""
    return observe(said.strip(), _MOST).text if isinstance(said, str) else ""
