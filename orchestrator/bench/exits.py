"""What ending a thought early saves, and how often it is a mistake: any threshold, on thoughts that went on.

A policy ends a thought at its first look whose score reaches the threshold, and pays for every look up to there. The
oracle ends it right behind the first step where the engine would have answered rightly, and pays for no look; a
thought that never got there goes on. A mis-exit is an end on a wrong answer, whatever the whole thought came to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from orchestrator.errors import UserError
from orchestrator.intervals import upper
from orchestrator.learning.exits import Thought, worst
from orchestrator.learning.metrics import plain
from orchestrator.monitors.exit_file import Mistake, threshold_of

__all__ = ["Compared", "Ended", "at_risks", "compare", "ended", "oracle"]


class Ended(NamedTuple):
    """Where a policy ended a thought."""

    tokens: int
    """Thought up to there."""
    spent: int
    """Generated to look."""
    is_right: bool
    """The answer there is right."""
    is_early: bool
    """False: the thought went to its own end."""


class Compared(NamedTuple):
    """A policy beside the oracle, on the same tasks."""

    tasks: int
    exits: int
    """Thoughts that the policy ended."""
    saved: float
    """Share of all tokens of thought that the policy saves, in (-inf, 1]: looks count against it."""
    of_oracle: float
    """Its saving as a share of the oracle's; NaN where the oracle saves nothing."""
    spent: int
    """Tokens of all looks."""
    mis_exits: float
    """Share of the tasks whose thought the policy ended on a wrong answer."""
    mis_exits_most: float
    """Upper end of the one-sided 95% interval of that."""
    harmed: float
    """Share of the tasks whose thought it ended on a wrong answer, and whose whole thought came to a right one."""
    harmed_most: float
    """Upper end of the one-sided 95% interval of that."""
    accuracy: float
    whole_accuracy: float
    """Of the whole thoughts."""


def ended(thought: Thought, threshold: float) -> Ended:
    """Return where a threshold ends a thought; exactly at it counts."""
    spent = 0
    for look in thought.looks:
        spent += look.spent
        if look.can_exit and look.score >= threshold:
            return Ended(look.tokens, spent, look.is_right, True)
    return Ended(thought.tokens, spent, thought.is_right, False)


def oracle(thought: Thought) -> Ended:
    """Return where the oracle ends a thought: behind the first look whose answer is right."""
    first = next((look for look in thought.looks if look.is_right), None)
    if first is None:
        return Ended(thought.tokens, 0, thought.is_right, False)
    return Ended(first.tokens, 0, True, True)


def compare(
    thoughts: Sequence[Thought],
    threshold: float,
    *,
    every_step: Sequence[Thought] | None = None,
) -> Compared:
    """Compare a threshold with the oracle.

    `every_step` are the same thoughts with a look behind every step, which the oracle needs where the policy looks more
    seldom. There is at least one thought.
    """
    ours = [ended(thought, threshold) for thought in thoughts]
    best = [oracle(thought) for thought in every_step or thoughts]
    whole = sum(thought.tokens for thought in thoughts)
    spent = sum(each.spent for each in ours)
    saved = whole - sum(each.tokens for each in ours) - spent
    most = whole - sum(each.tokens for each in best)
    wrong = [each.is_early and not each.is_right for each in ours]
    harmed = sum(is_wrong and thought.is_right for is_wrong, thought in zip(wrong, thoughts, strict=True))
    number = len(thoughts)
    return Compared(
        tasks=number,
        exits=sum(each.is_early for each in ours),
        saved=saved / whole,
        of_oracle=saved / most if most else float("nan"),
        spent=spent,
        mis_exits=sum(wrong) / number,
        mis_exits_most=upper(sum(wrong), number),
        harmed=harmed / number,
        harmed_most=upper(harmed, number),
        accuracy=sum(each.is_right for each in ours) / number,
        whole_accuracy=sum(thought.is_right for thought in thoughts) / number,
    )


def at_risks(
    thoughts: Sequence[Thought],
    risks: Sequence[float],
    mistake: Mistake = "wrong",
    confidence: float | None = None,
    *,
    every_step: Sequence[Thought] | None = None,
) -> list[dict[str, Any]]:
    """Return what each risk's threshold comes to on the thoughts that it is chosen by, as plain data; see `compare`.

    Fitted and measured on the same tasks it flatters: report others. A risk that has too few of them says what it
    needs.
    """
    highest = worst(thoughts, mistake)
    found: list[dict[str, Any]] = []
    for risk in risks:
        try:
            threshold = threshold_of(highest, risk, confidence)
        except UserError as refusal:
            found.append({"risk": risk, "refused": str(refusal)})
        else:
            measured = plain(compare(thoughts, threshold, every_step=every_step)._asdict())
            found.append({"risk": risk, "threshold": threshold, **measured})
    return found
