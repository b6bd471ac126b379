"""What the monitors that work by rules cost a step, all of them together, in CPU.

Run `python benchmarks/monitors.py`. Two runs come by, a chain of thoughts and an agent with a tool, at step 10 and at
step 1,000; steps have 150 tokens, about 100 words, with numbers in them. `one of 4,000 tokens` is a last step of
that length, which comes at most a few times in a run: the bar does not speak of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from time import process_time
from typing import Any

from measure import Options, Report, options

from orchestrator.monitors import MONITORS, find
from orchestrator.types import History, Step, StepKind, Stop, Task

BAR_MS = 0.5
BAR_GROWTH = 1.3
WORDS = 100
IN_A_LAP = 50
"""Steps that one reading of the clock is about."""
VOCABULARY = [
    f"{first}{last}" for first in ("pri", "lo", "ta", "se", "wor", "ne") for last in ("ce", "ok", "ke", "nd", "xt")
] * 2
VOCABULARY += [f"{word}{end}" for word in VOCABULARY[:30] for end in ("s", "ing", "ed")] + [
    "the",
    "of",
    "so",
    "we",
    "price",
    "pens",
] * 6


def text(number: int, num_words: int = WORDS) -> str:
    """Return a thought like no other, with equations in it."""
    random = Random(number)
    parts = [f"{number + place}*{place} = {place * (number + place)}" if place % 20 == 0 else random.choice(VOCABULARY)
             for place in range(num_words)]  # fmt: skip
    return " ".join(parts)


def step(index: int, kind: StepKind, content: str) -> Step:
    """Return a kept step with token ids."""
    ids = [hash((index, place)) % 30_000 for place in range(len(content.split()) * 3 // 2)]
    return Step(
        index=index,
        attempt=0,
        writer="small",
        text=content,
        ids=ids,
        num_tokens=len(ids),
        stop=Stop.DELIMITER,
        kind=kind,
    )


def run_of(num_steps: int, *, is_agent: bool, last_words: int = WORDS) -> History:
    """Return a run with so many kept steps; an agent's last one is an observation."""
    kinds = [StepKind.ACTION, StepKind.OBSERVATION] if is_agent else [StepKind.THOUGHT]
    steps = [
        step(index, kinds[index % len(kinds)], text(index, last_words if index >= num_steps - len(kinds) else WORDS))
        for index in range(num_steps)
    ]
    task = Task.of("What is the price of 3 pens, 4 cups and 9 bags in the shop at the river?")
    num = sum(each.num_tokens for each in steps)
    return History(task=task, engines=("small", "large"), seed=0, steps=steps, num_tokens=num, thought_tokens=num)


def lap_ms(monitors: Sequence[Any], run: History, laps: int) -> float:
    """Return the CPU of one step, the mean of a lap."""
    began_s = process_time()
    for _ in range(laps):
        for monitor in monitors:
            monitor.watch(run)
    return (process_time() - began_s) / laps * 1e3


def main(chosen: Options) -> None:
    """Measure and print."""
    report = Report("monitors", chosen)
    laps, times = (2, 1) if chosen.is_quick else (IN_A_LAP, chosen.times(10))
    names = [name for name in MONITORS if hasattr(find(name), "watch")]
    together = [find(name)() for name in names]
    for who in ("thoughts", "agent"):
        young, old, long = (
            run_of(*given, is_agent=who == "agent", last_words=words)
            for given, words in (((10,), WORDS), ((1000,), WORDS), ((1000,), 2700))
        )
        found = [[lap_ms(together, run, laps) for run in (young, old, long)] for _ in range(times + 1)][1:]
        at_10, at_1000, at_long = map(list, zip(*found, strict=True))
        report.add(f"{who}: all, step 10", at_10, "ms", bar=BAR_MS)
        report.add(f"{who}: all, step 1,000", at_1000, "ms", bar=BAR_MS)
        growth = [late / early for late, early in zip(at_1000, at_10, strict=True)]
        report.add(f"{who}: step 1,000 / step 10", growth, "x")
        report.add(f"{who}: all, one of 4,000 tokens", at_long, "ms")
        for name, monitor in zip(names, together, strict=True):
            report.add(f"{who}: {name}", [lap_ms([monitor], old, laps) for _ in range(times)], "ms")
    report.print()


if __name__ == "__main__":
    main(options(__doc__))
