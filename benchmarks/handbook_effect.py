"""What a handbook does for an engine that was taught to follow behaviors: with it, without it, and with it shuffled.

    python benchmarks/handbook_effect.py --tasks 600 --seed 2 --out results/pocket-1-handbook
    python benchmarks/handbook_effect.py --report --out results/pocket-1-handbook

A house has a style for each of 17 letters: what is done with a result before it is given. What each style means is
drawn once, no two mean the same, and it lies in a handbook; tasks, calculations of one operation, name one style each,
so that the same behavior serves many of them. It is the positive control of the handbook: recall and prompt work if
and only if the large pocket engine, which was trained on such behaviors with other meanings, solves tasks that it
cannot solve without. The shuffled handbook has the same names and instructions, paired by lot, so that no style keeps
its meaning.

Two things keep the shuffled handbook from being right by accident. No other meaning of the house gives a task's
answer. And one behavior is recalled, not several: the engine tells styles apart badly, and where several are shown it
often applies another one than was asked for, which is the right one now and then.

Every arm runs the same tasks, greedily; differences are paired by task.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from measure import lines_in

from orchestrator.behaviors import Add
from orchestrator.bench.columns import columns
from orchestrator.bench.workloads.behavior_tasks import ENDINGS, STYLES
from orchestrator.bench.workloads.expression import read_expression, tokens_of, value_of
from orchestrator.bench.workloads.random_calculation import PRESETS, draw_expression, spaced
from orchestrator.bench.workloads.splits import split_of
from orchestrator.engines.pocket import pocket_pair
from orchestrator.handbook.recall import Recall
from orchestrator.intervals import Interval, paired, paired_means, wilson
from orchestrator.memory.handbook import Handbook
from orchestrator.memory.store import Store
from orchestrator.runtime.in_force import recalled_in
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.types import Message, Task

ARMS = ("with", "without", "shuffled")
NAMES = ("swift", "calm", "bold", "tiny", "green", "late", "round", "plain", "north", "silver", "warm", "odd")
THINGS = ("lark", "stone", "river", "door", "wheel", "leaf", "cloud", "horn", "track", "field", "glass", "nail")
RECALL = Recall(limit=1, tokens=256)
ONE_OPERATION = replace(PRESETS["direct"], num_operations=(1, 1))


def house() -> dict[str, str]:
    """Return what each style of the house means, drawn once, each something else."""
    every = [ending.replace("k", str(k)) for ending in ENDINGS for k in range(2, 10)]
    return dict(zip(STYLES, Random("a house of styles").sample(every, len(STYLES)), strict=True))


def behaviors(*, shuffled: bool) -> list[Add]:
    """Return the handbook: a behavior for each style, or the same ones with their meanings paired by lot."""
    random, meanings = Random("names"), house()
    names = random.sample([f"behavior_{first}_{second}" for first in NAMES for second in THINGS], len(meanings))
    formulas, lot = list(meanings.values()), Random("shuffled")
    while shuffled and any(formula == meaning for formula, meaning in zip(formulas, meanings.values(), strict=True)):
        lot.shuffle(formulas)
    return [
        Add(name, f"style {style} means {formula}")
        for name, style, formula in zip(names, meanings, formulas, strict=True)
    ]


def given_in(formula: str, result: int) -> int:
    """Return what is given for a result by a style of this meaning."""
    return value_of(read_expression(formula.replace("r", str(result))))


def tasks(seed: int) -> Iterator[Task]:
    """Yield different calculations that are to be answered in one of the house's styles, each of the report split and
    with an answer that no other style would give."""
    random, meanings, seen = Random(f"handbook/{seed}"), house(), set[str]()
    while True:
        expression = draw_expression(random, ONE_OPERATION)
        style, result = random.choice(STYLES), value_of(expression)
        prompt = f"Compute {spaced(tokens_of(expression), 'single')}. Answer in style {style}."
        if result < 0 or split_of(prompt) != "report" or prompt in seen:
            continue
        seen.add(prompt)
        answers = {letter: given_in(meaning, result) for letter, meaning in meanings.items()}
        if [*answers.values()].count(answers[style]) == 1:
            yield Task(messages=(Message("user", prompt),), answer=str(answers[style]))


def run(arm: str, wanted: Sequence[Task], folder: Path) -> Iterator[Mapping[str, Any]]:
    """Run the tasks in one arm and yield what came of each."""
    book = folder / f"{arm}.db"
    book.unlink(missing_ok=True)
    if arm != "without":
        with Store(book) as store:
            Handbook(store).apply(behaviors(shuffled=arm == "shuffled"))
    engines = {"large": pocket_pair(temperature=0.0)["large"]}
    given: dict[str, Any] = {} if arm == "without" else {"handbook": book, "recall": RECALL}
    with Pipeline(engines, "large", db=":memory:", monitors=(), **given) as made:
        for task in wanted:
            result = made.run(task)
            total = result.ledger.total()
            recalled = recalled_in(made.journal.run(result.run_id))
            yield {
                "arm": arm,
                "task": task.messages[0].content,
                "gold": task.answer,
                "answer": result.answer,
                "is_right": result.answer == task.answer,
                "shown": [] if recalled is None else [each.instruction for each in recalled.shown],
                "output_tokens": total.output_tokens,
                "prompt_tokens": total.prompt_tokens,
            }
    book.unlink(missing_ok=True)


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return what the arms come to, each difference paired by task."""
    by_arm = {arm: {row["task"]: row for row in rows if row["arm"] == arm} for arm in ARMS}
    shared = [task for task in by_arm["with"] if all(task in by_arm[arm] for arm in ARMS)]
    parts = [f"{len(shared)} tasks, pocket-large alone, greedy; 95% intervals, differences paired by task"]
    for name, of, alone, less, unit in (
        ("right, points", "is_right", share, paired, 100),
        ("output tokens", "output_tokens", mean, paired_means, 1),
        ("prompt tokens", "prompt_tokens", mean, paired_means, 1),
    ):
        values = {arm: [by_arm[arm][task][of] for task in shared] for arm in ARMS}
        lines = [
            (
                arm,
                shown(alone(ours), unit),
                *(
                    "-" if arm == other else shown(less(ours, values[other]), unit, "+")
                    for other in ("without", "shuffled")
                ),
            )
            for arm, ours in values.items()
        ]
        parts.append(columns((name, "mean", "less without", "less shuffled"), lines))
    return "\n\n".join(parts) + "\n"


def share(hits: Sequence[bool]) -> Interval:
    """Return the share of hits."""
    return wilson(sum(hits), len(hits))


def mean(values: Sequence[float]) -> Interval:
    """Return the mean of values: their difference from nothing."""
    return paired_means(values, [0.0] * len(values))


def shown(found: Interval, unit: int, sign: str = "") -> str:
    """Return an interval in units such as points, which are hundredths."""
    value, low, high = (f"{unit * each:{sign}.1f}" for each in found)
    return f"{value} [{low}, {high}]"


def main() -> None:
    """Run what is missing, and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tasks", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--report", action="store_true", help="print the table again from what was run")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    samples = given.out / "samples.jsonl"
    if not given.report:
        wanted = list(islice(tasks(given.seed), given.tasks))
        with samples.open("w") as written:
            for arm in ARMS:
                for row in run(arm, wanted, given.out):
                    written.write(json.dumps(row) + "\n")
    told = table(list(lines_in(samples)))
    (given.out / "table.txt").write_text(told)
    print(told, end="")


if __name__ == "__main__":
    main()
