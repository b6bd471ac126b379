"""The exact check of single steps, for whatever workload asks about one expression."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

from orchestrator.bench.workloads.verify import Unreadable, evaluate, find_answer, state_after, verify_step
from orchestrator.errors import SignalUnavailable
from orchestrator.think_tags import CLOSES, leaves_open
from orchestrator.types import Message

__all__ = ["check_step", "expression_in"]

_EXPRESSION = re.compile(r"[-(\d][-+*/()\d\s]*[\d)]|\d")


def expression_in(prompt: str) -> str | None:
    """Return the longest part of a prompt that reads as an expression, blanks left out; None if there is none."""
    for found in sorted(_EXPRESSION.findall(prompt), key=len, reverse=True):
        try:
            evaluate(found)
        except Unreadable:
            continue
        return "".join(found.split())
    return None


def check_step(messages: Sequence[Message], kept: Sequence[str], draft: str) -> float:
    """Return 1 if `draft` is a right next step after the steps `kept`, 0 if it is wrong.

    A step is judged by what the step before it really left to do, right or wrong. One that closes
    the thought is right if the answer it gives is the value of what is left, or if it gives none and
    nothing is left to do. What stands before its last tag is thought. Raises SignalUnavailable where
    the task holds no expression.
    """
    problem = expression_in(messages[-1].content)
    if problem is None:
        raise SignalUnavailable("verifier", "the task holds no expression")
    state = state_after(kept[-1]) if kept else None
    thought, rest = draft, None
    if leaves_open(draft) is False:
        thought, _, rest = draft.rpartition(CLOSES)
    if thought.strip():
        if not verify_step(state, thought, problem).is_right:
            return 0.0
        state = state_after(thought)
    if rest is None:
        return float(bool(thought.strip()))
    answer = find_answer(rest)
    left = problem if state is None else state
    if answer is None:
        return float(left.lstrip("-").isdigit())
    return float(_value(answer) is not None and _value(answer) == _value(left))


def _value(text: str) -> Fraction | None:
    try:
        return evaluate(text)
    except Unreadable:
        return None
