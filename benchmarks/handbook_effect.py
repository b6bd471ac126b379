"""What a handbook does for an engine that was taught to follow behaviors: with it, without it, and with it shuffled.

    python benchmarks/handbook_effect.py --tasks 600 --seed 1 --out results/pocket-1-handbook
    python benchmarks/handbook_effect.py --report --out results/pocket-1-handbook

A house has a style for each of 17 letters: what is done with a result before it is given. What each style means is
drawn once and lies in a handbook; tasks, calculations of one to three operations, name one style each, so that the
same behavior serves many of them. It is the positive control of the handbook: recall, prompt, citation and credit work
if and only if the large pocket engine, which was trained on such behaviors with other meanings, solves tasks that it
cannot solve without. The shuffled handbook has the same names and instructions, paired by
lot, so that no style keeps its meaning.

Every arm runs the same tasks, greedily; differences are paired by task.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from measure import lines_in

from orchestrator.behaviors import Add
from orchestrator.bench.workloads.behavior_tasks import ENDINGS, STYLES
from orchestrator.bench.workloads.expression import read_expression, tokens_of, value_of
from orchestrator.bench.workloads.random_calculation import PRESETS, draw_expression, spaced
from orchestrator.bench.workloads.splits import split_of
from orchestrator.engines.pocket import pocket_pair
from orchestrator.handbook.recall import Recall
from orchestrator.intervals import Interval, paired, wilson
from orchestrator.memory.handbook import Handbook
from orchestrator.memory.store import Store
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.types import Message, Task

ARMS = ("with", "without", "shuffled")
NAMES = ("swift", "calm", "bold", "tiny", "green", "late", "round", "plain", "north", "silver", "warm", "odd")
THINGS = ("lark", "stone", "river", "door", "wheel", "leaf", "cloud", "horn", "track", "field", "glass", "nail")
RECALL = Recall(limit=4, tokens=256)


def house() -> dict[str, str]:
    """Return what each style of the house means, drawn once."""
    random = Random("a house of styles")
    return {style: random.choice(ENDINGS).replace("k", str(random.randint(2, 9))) for style in STYLES}


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


def tasks(seed: int) -> Iterator[Task]:
    """Yield calculations that are to be answered in one of the house's styles; each of the report split."""
    random, meanings = Random(f"handbook/{seed}"), house()
    while True:
        expression = draw_expression(random, PRESETS["direct" if random.random() < 0.6 else "easy"])
        style = random.choice(STYLES)
        result = value_of(expression)
        answer = value_of(read_expression(meanings[style].replace("r", str(result)))) if result >= 0 else None
        prompt = f"Compute {spaced(tokens_of(expression), 'single')}. Answer in style {style}."
        if answer is not None and max(abs(answer), result) < 10_000 and split_of(prompt) == "report":
            yield Task(messages=(Message("user", prompt),), answer=str(answer))


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
            yield {
                "arm": arm,
                "task": task.messages[0].content,
                "is_right": result.answer == task.answer,
                "output_tokens": total.output_tokens,
                "prompt_tokens": total.prompt_tokens,
            }
    book.unlink(missing_ok=True)


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return what the arms come to."""
    by_arm = {arm: {row["task"]: row for row in rows if row["arm"] == arm} for arm in ARMS}
    shared = [task for task in by_arm["with"] if all(task in by_arm[arm] for arm in ARMS)]
    lines = [
        f"{len(shared)} tasks, pocket-large alone, greedy",
        f"{'handbook':<10} right %{'':<16} less without{'':<18} tokens out, in",
    ]
    for arm in ARMS:
        found = [by_arm[arm][task] for task in shared]
        right = [row["is_right"] for row in found]
        less = paired(right, [by_arm["without"][task]["is_right"] for task in shared])
        out, read = (sum(row[name] for row in found) / len(found) for name in ("output_tokens", "prompt_tokens"))
        lines.append(f"{arm:<10} {shown(wilson(sum(right), len(right))):<23} {shown(less):<30} {out:.1f}, {read:.1f}")
    return "\n".join(lines) + "\n"


def shown(found: Interval) -> str:
    """Return a share, or a difference of shares, in points."""
    return "{:.1f} [{:.1f}, {:.1f}]".format(*(100 * each for each in found))


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
