"""Thinking modes on the pocket pair: what choosing a mode by itself saves of what the best mode of each task would.

    python benchmarks/modes.py --split calibration --tasks 3000 --out results/pocket-1-modes
    python benchmarks/modes.py --split report --tasks 3000 --out results/pocket-1-modes
    python benchmarks/modes.py --live 1500 --out results/pocket-1-modes    # after the calibration split
    python benchmarks/modes.py --report --out results/pocket-1-modes

Every task is run twice: thought about, and answered at once with all that a gate could read of that. What a policy
comes to is then worked out task by task, because neither run depends on the other: a doubted first try costs its
tokens, its gate's and the thought's. `--live` runs policies as they are, on fewer tasks. Thresholds are chosen on the
calibration split.

The mixture `known` is half tasks that the large engine mostly knows without thinking, n - 0 and 0 * 0 * n. There are
few of the former, so that each is asked in all its wordings, and intervals are drawn by expression. It is answered
greedily. The other mixture, `hard` (`--mixture hard --out results/pocket-1-modes-hard`, 2000 and 5000 tasks,
`--live 150`), has no such tasks: one first try in sixteen is right there.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from measure import lines_in

from orchestrator.bench.mode_choice import Tried
from orchestrator.bench.mode_gates import GATES, calibrated, calibrated_by_kind, measured
from orchestrator.bench.mode_table import table
from orchestrator.bench.where import where
from orchestrator.bench.workloads import workload_of
from orchestrator.bench.workloads.steps import expression_in
from orchestrator.decisions import Plan
from orchestrator.doors import Ask, Needs
from orchestrator.engines.pocket import pocket_pair
from orchestrator.errors import SignalUnavailable
from orchestrator.intervals import Interval, paired
from orchestrator.learning.exits import PROBE
from orchestrator.modes.base import Chosen
from orchestrator.modes.first_try import FirstTry
from orchestrator.modes.fixed import NO_THINK
from orchestrator.modes.self_classified import SelfClassified
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.runtime.tasks import is_correct
from orchestrator.types import Budget, History, Task
from orchestrator.uncertainty import mean_logprob


class Mixture(NamedTuple):
    """Tasks of several presets, and how they are answered."""

    shares: Mapping[str, int]
    """Of ten tasks in a row."""
    sampling: Mapping[str, float]
    num: int
    """Answers that are forced; at temperature 0 they would all be the same."""
    every_wording: bool


GREEDY = {"temperature": 0.0, "top_p": 1.0}
MIXTURES = {
    "known": Mixture({"minus_zero": 2, "times_zero": 3, "direct": 2, "easy": 1, "mid": 2}, GREEDY, 1, True),
    "hard": Mixture({"direct": 5, "easy": 3, "mid": 2}, {}, 4, False),
}
RISK = 0.0075
"""What the live first tries may cost of accuracy: less than the point that is wanted, because the report split has its
own luck."""


class Writing:
    """Let one engine write everything, and show how sure it was of each token."""

    needs = Needs(logprobs=1)

    def __init__(self, engine: str) -> None:
        self.engine = engine

    def before_step(self, history: History) -> Plan:
        """Plan it."""
        return Plan(engine=self.engine, logprobs=1)


class Recording:
    """Answer at once, and ask before and after whatever a policy of modes might ask; on the report split, only what
    the calibration split found worth it."""

    def __init__(self, engine: str, num: int, *, asks_all: bool) -> None:
        self._engine = engine
        self._num = num
        self._asks_all = asks_all
        self.seen: dict[str, Any] = {}

    async def choose(self, history: History, ask: Ask) -> Chosen:
        """Force answers to the bare task, and let the engine classify it."""
        before = await ask.trials(self._engine, num=self._num)
        self.seen = {"before": [(each.answer, each.logprob) for each in before]}
        if self._asks_all:
            self.seen["self"] = await self._classified(history, ask)
        return Chosen(NO_THINK, "to be recorded")

    async def _classified(self, history: History, ask: Ask) -> dict[str, Any]:
        try:
            found = await SelfClassified(engine=self._engine).choose(history, ask)
        except SignalUnavailable as missing:
            return {"missing": missing.reason}
        return {"mode": found.mode.name, "share": found.signals[0].value}

    async def reconsider(self, history: History, answer: str | None, ask: Ask) -> Chosen:
        """Read the answer's own tokens, and force it again."""
        last = history.steps[-1]
        again = await ask.trials(self._engine, before=last, num=self._num if self._asks_all else 1)
        self.seen["again"] = [(each.answer, each.logprob) for each in again]
        self.seen["written"] = mean_logprob(last.logprobs or ())
        assert history.mode is not None
        return Chosen(history.mode, "recorded")


async def collect(given: argparse.Namespace) -> None:
    """Run what is not there yet."""
    given.out.mkdir(parents=True, exist_ok=True)
    file = given.out / f"{given.engine}-{given.split}.jsonl"
    done = {row["task"] for row in lines_in(file)}
    of = MIXTURES[given.mixture]
    recording = Recording(given.engine, of.num, asks_all=given.split == "calibration")
    async with lending(of, given.engine) as lent:
        at_once = but(lent, recording, Writing(given.engine))
        thinking = but(lent, "think", lent.router)
        with (given.out / "where.jsonl").open("a") as places:
            places.write(json.dumps({"file": file.name, **where()}) + "\n")
        with file.open("a") as out:
            for preset, task in drawn(of, given.split, given.tasks):
                if task.id not in done:
                    asked = task.messages[-1].content
                    row = {"task": task.id, "preset": preset, "expression": expression_in(asked), "gold": task.answer}
                    row |= await ran(at_once, task, "try") | recording.seen | await ran(thinking, task, "think")
                    out.write(json.dumps(row) + "\n")


async def live(given: argparse.Namespace) -> None:
    """Run the policies themselves on the first tasks of the report split."""
    file = given.out / f"{given.engine}-live.jsonl"
    fitted = lines_in(given.out / f"{given.engine}-calibration.jsonl")
    written = GATES["first try, written"]
    threshold, of = calibrated(fitted, written, RISK, 0.95), MIXTURES[given.mixture]
    policies: dict[str, Any] = {
        "think": "think",
        f"first-try(written, {threshold:.5f})": FirstTry(gate="written", threshold=threshold),
    }
    if of.sampling == GREEDY:
        sure = calibrated_by_kind(fitted, written, RISK)
        policies |= {name: name for name in ("auto", f"auto(threshold={sure:g})")}
    else:
        policies["first-try(agreement, 0.75)"] = FirstTry()
    policies |= {name: name for name in ("auto(self)", "auto(history)")}
    done = {(row["policy"], row["task"]) for row in lines_in(file)}
    async with lending(of, given.engine) as lent:
        pipelines = {name: but(lent, policy, lent.router) for name, policy in policies.items()}
        with file.open("a") as out:
            for _, task in drawn(of, "report", given.live):
                for name, pipeline in pipelines.items():
                    if (name, task.id) not in done:
                        row = {"policy": name, "task": task.id, **await ran(pipeline, task, "run")}
                        out.write(json.dumps(row) + "\n")
                        out.flush()


def report(folder: Path) -> None:
    """Write and print the table of all that is there."""
    parts = []
    for engine in sorted({file.name.partition("-report.")[0] for file in folder.glob("*-report.jsonl*")}):
        fitted, rows = (lines_in(folder / f"{engine}-{split}.jsonl") for split in ("calibration", "report"))
        parts.append(f"{engine} alone\n{table(fitted, rows)}\n")
        parts += ran_live(lines_in(folder / f"{engine}-live.jsonl"), rows)
    (folder / "table.txt").write_text("".join(parts))
    print("".join(parts), end="")


def ran_live(rows: Sequence[Mapping[str, Any]], reported: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a line for each policy that was run as it is; the best modes are those of the report's runs."""
    always = {row["task"]: row for row in rows if row["policy"] == "think"}
    fixed = {row["task"]: row for row in reported}
    for policy in dict.fromkeys(row["policy"] for row in rows):
        own = [row for row in rows if row["policy"] == policy and row["task"] in always.keys() & fixed.keys()]
        tokens, whole = (sum(map(spent, of)) for of in (own, [always[row["task"]] for row in own]))
        lost = paired([row["run_right"] for row in own], [always[row["task"]]["run_right"] for row in own])
        chosen = [Tried(row["task"], row["run_mode"], row["run_right"], spent(row)) for row in own]
        found = measured([fixed[row["task"]] for row in own], chosen)
        yield (
            f"live {policy:32} {len(own):4} tasks, at once {found.stands:6.1%}, tokens {tokens / len(own):6.1f}, saved "
            f"{1 - tokens / whole:6.1%}, of best {of_best(found.share):>25}, less always think "
            f"{100 * lost.value:+.2f} ({100 * lost.low:+.2f}..{100 * lost.high:+.2f})\n"
        )


def of_best(share: Interval | None) -> str:
    """Return a share of the best modes' saving, to a decimal: the bar is a share."""
    if share is None:
        return "-"
    return f"{100 * share.value:.1f}% ({100 * share.low:.1f}..{100 * share.high:.1f})"


def spent(row: Mapping[str, Any]) -> int:
    """Return all tokens of a live run."""
    return int(row["run_tokens"] + sum(row.get("probes", ())) + row.get("questions", 0))


def but(lent: Pipeline, mode: Any, router: Any) -> Pipeline:
    """Return the pipeline in another mode."""
    return lent.but(router=router, scorers={}, seed=0, stop_on_answer=True, mode=mode)


def lending(of: Mixture, engine: str) -> Pipeline:
    """Return a pipeline of the pair that others borrow the engines of."""
    pair = pocket_pair(**of.sampling)
    return Pipeline(pair, engine, budget=Budget(tokens=1500), monitors=(), granularity="fused", db=":memory:")


def drawn(of: Mixture, split: str, number: int) -> Iterator[tuple[str, Task]]:
    """Yield the first tasks of a split, each with its preset, in an order that keeps the shares all along; fewer where
    a preset has no more."""
    options: dict[str, Any] = {"every_wording": True} if of.every_wording else {}
    left = {
        preset: iter(
            workload_of("random-calculation", {"preset": preset, **options}).draw(split, 0, number * share // 10)
        )
        for preset, share in of.shares.items()
    }
    seen: set[str] = set()
    for _ in range(number // 10):
        for preset, share in of.shares.items():
            for task in islice(left[preset], share):
                if str(task.id) not in seen:  # presets overlap a little
                    seen.add(str(task.id))
                    yield preset, task


async def ran(pipeline: Pipeline, task: Task, name: str) -> dict[str, Any]:
    """Return what came of a task: whether it is right, tokens written, and those of each question on the way."""
    result = await pipeline.arun(task)
    stored = pipeline.journal.stored(result.run_id)
    assert stored is not None and task.answer is not None
    calls = [(each.intent.purpose, each.result.output_tokens) for each in stored.calls if each.result is not None]
    written = sum(tokens for purpose, tokens in calls if purpose in ("draft", "answer"))
    asked = [(purpose, tokens) for purpose, tokens in calls if purpose not in ("draft", "answer")]
    found: dict[str, Any] = {f"{name}_right": is_correct(result.answer, task.answer), f"{name}_tokens": written}
    found[f"{name}_answer"] = result.answer
    found[f"{name}_mode"] = "think" if "</think>" in result.text else "no_think"
    if asked:
        found["probes"] = [tokens for purpose, tokens in asked if purpose == PROBE]
        found["questions"] = sum(tokens for purpose, tokens in asked if purpose != PROBE)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--engine", choices=("small", "large"), default="large")
    parser.add_argument("--mixture", choices=MIXTURES, default="known")
    parser.add_argument("--split", choices=("calibration", "report"), default="calibration")
    parser.add_argument("--tasks", type=int, default=2000)
    parser.add_argument("--live", type=int, default=0, metavar="TASKS")
    parser.add_argument("--report", action="store_true")
    given = parser.parse_args()
    if given.report:
        report(given.out)
    else:
        asyncio.run(live(given) if given.live else collect(given))
