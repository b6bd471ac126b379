"""What the monitors that work by rules cost a step, all of them together, in CPU.

Run `python benchmarks/monitors.py`. Two runs come by: a chain of thoughts, and an agent whose last step is a call or
what came of it; a call names what the task and the last answer told of. Steps have 150 tokens, about 100 words, with
equations in them. The bar does not speak of what comes at most a few times in a run: a last step of 4,000 tokens, and
a call that names what nobody has told of, for which `ungrounded` searches the whole run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from time import process_time
from typing import Any

from measure import Options, Report, options

from orchestrator.monitors import MONITORS, find
from orchestrator.think_tags import CLOSES
from orchestrator.types import History, Step, StepKind, Stop, Task

BAR_MS = 0.5
BAR_GROWTH = 1.3
WORDS = 100
LONG_WORDS = 2_700
EQUATION = 20
"""Words from one equation to the next."""
IN_A_LAP = 50
"""Steps that one reading of the clock is about."""
CONTROLS = ("every", "chance")
"""They notice nothing."""
RULES = [name for name in MONITORS if hasattr(find(name), "watch") and name not in ("classified", *CONTROLS)]
"""They read the history and nothing else: what has to ask an engine has no `watch`."""
VOCABULARY = ["the", "of", "so", "we", "price", "pens"] * 8
VOCABULARY += [
    first + last for first in ("pri", "lo", "ta", "se", "wor") for last in ("ce", "ok", "kes", "nds", "xting")
]


def text(number: int, num_words: int = WORDS) -> str:
    """Return a thought like no other, with equations in it."""
    random = Random(number)
    parts = [random.choice(VOCABULARY) for _ in range(num_words)]
    for place in range(0, num_words, EQUATION):
        parts[place] = f"{number + place}*{place} = {place * (number + place)}"
    return " ".join(parts)


def call(number: int) -> str:
    """Return a call that names what is asked for, and a number of the answer before it."""
    return f"<tool>lookup(pens, {number - 1 + EQUATION})</tool>"


def step(index: int, kind: StepKind, content: str) -> Step:
    """Return a kept step with token ids; an action is thought about before it is called."""
    if kind is StepKind.ACTION:
        content = f"{content}\n{CLOSES}\n{call(index)}"
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


def run_of(num_steps: int, last: StepKind, last_words: int = WORDS) -> History:
    """Return a run with so many kept steps, of thoughts or of an agent, that ends with a step of this kind."""
    agent = [StepKind.ACTION, StepKind.OBSERVATION]
    kinds = [last] if last is StepKind.THOUGHT else agent[:: 1 if last is agent[(num_steps - 1) % 2] else -1]
    steps = [
        step(index, kinds[index % len(kinds)], text(index, last_words if index == num_steps - 1 else WORDS))
        for index in range(num_steps)
    ]
    task = Task.of("What is the price of 3 pens, 4 cups and 9 bags in the shop at the river?")
    num = sum(each.num_tokens for each in steps)
    return History(task=task, engines=("small", "large"), seed=0, steps=steps, num_tokens=num, thought_tokens=num)


def astray(run: History) -> History:
    """Return a run of an agent whose last call names what nobody has told of, though many words begin like it."""
    *before, called, answer = run.steps
    return replace(run, steps=[*before, replace(called, text=called.text.replace("(pens,", "(pen,")), answer])


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
    monitors = {name: find(name)() for name in RULES}
    for last in (StepKind.THOUGHT, StepKind.ACTION, StepKind.OBSERVATION):
        runs = {num: run_of(num, last) for num in (10, 50, 1000)}
        long = run_of(1000, last, LONG_WORDS)
        together = list(monitors.values())
        rounds = [[lap_ms(together, run, laps) for run in (*runs.values(), long)] for _ in range(times + 1)]
        *found, at_long = map(list, zip(*rounds[1:], strict=True))
        for num, each in zip(runs, found, strict=True):
            report.add(f"{last}: all, step {num:,}", each, "ms", bar=BAR_MS)
        growth = [late / early for early, late in zip(*found[1:], strict=True)]
        report.add(f"{last}: all, step 1,000 / step 50", growth, "x", bar=BAR_GROWTH)
        report.add(f"{last}: all, one of 4,000 tokens", at_long, "ms")
        for name, monitor in monitors.items():
            report.add(f"{last}: {name}", [lap_ms([monitor], runs[1000], laps) for _ in range(times)], "ms")
    lost = [lap_ms([monitors["ungrounded"]], astray(runs[1000]), laps) for _ in range(times)]
    report.add("observation: ungrounded, of a name from nowhere", lost, "ms")
    report.print()


if __name__ == "__main__":
    main(options(__doc__))
