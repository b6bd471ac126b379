"""What is said in a run whose overlap is measured, and how long that run takes at the least.

The ideal is computed from the lengths and verdicts alone and knows nothing of the runtime: what is drafted ahead
begins the moment it may, and nothing takes time but the calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from random import Random
from typing import NamedTuple

from orchestrator.bench.profiles import Hardware
from orchestrator.engines.spec import JudgePrompt
from orchestrator.types import Overlap

FORESEEN = 0.8
"""Share of verdicts that the router foresees."""
QUESTION = "Compute 38*4 - 98*6."
ASKED = JudgePrompt(question="Rate the last step from 0 to 9, a digit only.", prefill="Rating: ")
_PROMPT = len(f"user: {QUESTION}\nassistant: ")


class Planned(NamedTuple):
    """What is said about one step, whoever listens."""

    draft: str
    rewrite: str
    is_rejected: bool
    is_feared: bool
    """The router foresees a rejection."""


def script(rate: float, num_steps: int, seed: int) -> list[Planned]:
    """Return the steps of a run; exactly the share `rate` of the drafts is rejected."""
    random = Random(seed)
    rejected = set(random.sample(range(num_steps), round(rate * num_steps)))
    steps = []
    for number in range(num_steps):
        lengths = [random.randint(20, 120) for _ in range(2)]
        draft, rewrite = (
            f"{name} {number} ".ljust(length - 2, ".") for name, length in zip("dr", lengths, strict=True)
        )
        foresees = random.random() < FORESEEN
        steps.append(Planned(draft + "\n\n", rewrite + "\n\n", number in rejected, foresees == (number in rejected)))
    return steps


def ideal_s(steps: Sequence[Planned], overlap: Overlap, machine: Hardware) -> float:
    """Return the seconds of a run in which nothing but calls takes time.

    A draft is written `ahead` steps or less behind the oldest one that is pending, its verdict is asked for one
    step later than that at the latest, and a rejected step is written anew before anything goes on behind it.
    """
    small, large = (partial(took_s, machine, name) for name in ("small", "large"))
    asks = len(f"\nuser: {ASKED.question}\nassistant: {ASKED.prefill}")
    ahead = overlap.ahead
    first, now_s = 0, 0.0
    unseen = _PROMPT
    while first < len(steps):
        begins: dict[int, float] = {}  # by step, when it is the oldest pending one
        written = asked = now_s
        rejected = None
        for number in range(first, len(steps)):
            step = steps[number]
            since = begins.get(number - ahead, now_s) if ahead else (asked if number > first else now_s)
            written = max(written, since) + small(unseen, len(step.draft))
            unseen = 0
            begins[number] = max(written, asked) if number > first else written
            may_ask = max(written, begins.get(max(first, number - ahead + 1), written)) if ahead else written
            verdict = may_ask + large(len(step.draft) + asks + (_PROMPT if number == 0 else 0), 1)
            asked = max(begins[number], verdict)  # it is decided: the next one is the oldest
            if step.is_rejected:
                rejected = number
                break
        if rejected is None:
            return asked
        step = steps[rejected]
        starts = begins[rejected] if overlap.hedge is not None and step.is_feared else asked
        now_s = max(asked, starts + large(0, len(step.rewrite)))
        unseen = len(step.rewrite)
        first = rejected + 1
    return now_s


def took_s(machine: Hardware, engine: str, uncached: int, output: int) -> float:
    """Return the seconds of one call."""
    of = machine.engines[engine]
    return machine.call_ms / 1e3 + uncached / of.prefill_per_s + output * of.decode_ms / 1e3
