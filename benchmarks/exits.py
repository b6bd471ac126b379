"""Exits at work on the pocket pair: what ending thoughts saves of what an oracle would, and how often it is a mistake.

    python benchmarks/exits.py --engine large --others 100 --out results/pocket-1-exits   # goes on where it was
    python benchmarks/exits.py --engine small --others 200 --out results/pocket-1-exits
    python benchmarks/exits.py --report --out results/pocket-1-exits      # the table of what is there

Thresholds are chosen on the calibration split, for each signal and risk, with confidence 0.95, and every way to end a
thought is then run, looks and all, on tasks of the report split. The bar is claimed for `harmful` mis-exits: what is
wrong however long an engine thinks is no exit's doing. Thresholds for `wrong` ones are run beside, one of them on all
tasks.
To go on from samples that are packed, unpack them first (`xz -d`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

from measure import lines_in

from orchestrator.bench.exit_controls import AtRandom, Knowing, Stated
from orchestrator.bench.exit_race import Ran, Way, run
from orchestrator.bench.exit_race_table import table
from orchestrator.bench.exits import ended
from orchestrator.bench.where import where
from orchestrator.bench.workloads import workload_of
from orchestrator.engines.pocket import PAIR_ID, pocket_pair
from orchestrator.errors import UserError
from orchestrator.learning.exits import Thought, exit_options, name_of, worst
from orchestrator.learning.watching import Watching
from orchestrator.monitors.convergence import Convergence
from orchestrator.monitors.exit_file import ExitFile, Mistake, parse, threshold_of
from orchestrator.monitors.overthinking import Exit, Overthinking
from orchestrator.monitors.repetition import Repetition
from orchestrator.monitors.saturation import Saturation
from orchestrator.monitors.trial_answer import TrialAnswer
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.types import Budget, Task

BAR: Mistake = "harmful"
"""The mistakes that the bar is claimed for."""
RISKS = (0.02, 0.05, 0.1)
WRONG = 0.1
"""The risk of a wrong end that is run on all tasks: the large engine's whole thoughts are wrong nearly as often."""
CONFIDENCE = 0.95
MAIN = "trial-answer candidates"
SIGNALS: dict[str, tuple[Exit, float]] = {
    MAIN: (TrialAnswer(acts=False), 1),
    "trial-answer steps": (TrialAnswer(when="steps", acts=False), 0.5),
    "saturation": (Saturation(when="candidates", num=3, patience=1, acts=False), 0.4),
    "convergence": (Convergence(acts=False), 0.5),
}
"""Each with the share of the calibration tasks it is watched on: what looks oftener takes longer."""
WHOLE, KNOWING = "whole thought", "knowing, at steps"
AT = 0.05
"""The risk at whose saving the controls are set."""


async def main(given: argparse.Namespace) -> None:
    """Calibrate where that was not done, then run what is not there yet."""
    stem = given.out / f"{given.engine}-{given.preset}"
    file, chosen = stem.with_suffix(".jsonl"), stem.with_suffix(".settings.json")
    given.out.mkdir(parents=True, exist_ok=True)
    workload = workload_of("random-calculation", {"preset": given.preset})
    lent = Pipeline(
        pocket_pair(), given.engine, budget=Budget(tokens=1500), monitors=(), granularity="fused", db=":memory:"
    )
    async with lent:
        if not chosen.exists():
            notes = await calibrated(lent, workload.draw("calibration", 0, given.calibration), stem)
            chosen.write_text(json.dumps(notes, indent=1) + "\n")
        ways = [(way, is_main, but(lent, way)) for way, is_main in ways_of(json.loads(chosen.read_text()), stem)]
        with (given.out / "where.jsonl").open("a") as places:
            places.write(json.dumps({"file": file.name, **where()}) + "\n")
        done = {(row.way, row.task) for row in rows_in(file)}
        with file.open("a") as out:
            for place, task in enumerate(workload.draw("report", 0, given.tasks)):
                for way, is_main, pipeline in ways:
                    if (way.name, str(task.id)) not in done and (is_main or place < given.others):
                        out.write(json.dumps((await run(pipeline, way, task))._asdict()) + "\n")
                out.flush()


def but(lent: Pipeline, way: Way) -> Pipeline:
    """Return the pipeline that ends its thoughts this way."""
    return lent.but(router=lent.router, scorers={}, seed=0, stop_on_answer=True, monitors=way.monitors, mode=way.mode)


def exits_in(stem: Path, signal: str) -> Path:
    """Return the file of a signal's calibration."""
    return stem.with_name(f"{stem.name}-{signal.replace(' ', '-')}.exits.json")


async def calibrated(lent: Pipeline, tasks: Sequence[Task], stem: Path) -> dict[str, Any]:
    """Return the thresholds of all ways, and how the controls save as much; each signal's calibration is written.

    Raises UserError where a run failed: what is left of the tasks would be no fair draw of them.
    """
    await lent.start()
    pair = (await lent.pair()).to_json()
    notes: dict[str, Any] = {"calibration tasks": len(tasks), "confidence": CONFIDENCE, "pair": PAIR_ID, "ways": {}}
    thoughts: dict[str, list[Thought]] = {}
    for signal, (exit, share) in SIGNALS.items():
        watched = but(lent, Way(signal, (exit,)))
        watching = Watching(watched, tasks[: int(share * len(tasks))], exit)
        await watching.run(2)
        if watching.failed:
            raise UserError(f"{signal}: {watching.failed} of {len(watching)} runs failed; no calibration is written")
        thoughts[signal] = watching.thoughts()
        known = ExitFile(
            signal=name_of(exit),
            options=exit_options(exit),
            mistake=BAR,
            worst=worst(thoughts[signal], BAR),
            pair=pair,
            under=await watched.circumstances(exit),
            measured={},
            workload=f"random-calculation:preset={stem.name.partition('-')[2]}",
            split="calibration",
            fitted_on=tuple(watching.fingerprints),
            made=where()["started"][:10],
            package=version("reasoning-orchestrator"),
        )
        exits_in(stem, signal).write_text(json.dumps(known.to_json()) + "\n")
        for mistake in get_args(Mistake):
            notes["ways"] |= at_each_risk(signal, mistake, worst(thoughts[signal], mistake))
    return {**notes, "controls": equal_saving(thoughts, notes)}


def at_each_risk(signal: str, mistake: Mistake, scores: Sequence[float]) -> dict[str, Any]:
    """Return each risk's threshold; risks that come to the same one are run once, as the first of them."""
    found: dict[str, Any] = {}
    named: dict[float, str] = {}
    for risk in RISKS:
        name = f"{signal}, {risk:g} {mistake}"
        try:
            threshold = threshold_of(scores, risk, CONFIDENCE)
        except UserError as refusal:
            found[name] = {"refused": str(refusal)}
            continue
        found[name] = {"threshold": threshold, "tasks": len(scores), "runs as": named.setdefault(threshold, name)}
    return found


def ways_of(notes: dict[str, Any], stem: Path) -> list[tuple[Way, bool]]:
    """Return all ways, and whether each is run on all tasks."""
    ways = [(Way(WHOLE), True), (Way(KNOWING, (Knowing(),)), True), (Way("states an answer", (Stated(),)), True)]
    for name, chosen in notes["ways"].items():
        signal, _, asked = name.partition(", ")
        risk, mistake = asked.split()
        if chosen.get("runs as") != name or (mistake != BAR and signal != MAIN):
            continue
        exit, _ = SIGNALS[signal]
        if mistake == BAR:
            known = parse(exits_in(stem, signal).read_bytes(), signal)
            exits = Overthinking(risk=float(risk), signal=known.signal, confidence=CONFIDENCE, learnt=known)
            assert exits.exit.threshold == chosen["threshold"]
            ways.append((Way(name, (exits,)), signal == MAIN))
        else:
            ways.append((Way(name, (replace(exit, threshold=chosen["threshold"], acts=True),)), float(risk) == WRONG))
    controls = notes["controls"]
    return [
        *ways,
        (Way("ends at random", (AtRandom(share=controls["at random"]),)), False),
        (Way("think(budget)", mode=f"think({controls['budget']})"), False),
        (Way("knowing, at candidates", (Knowing(when="candidates"),)), False),
        (Way("repetition", (Repetition(),)), False),
    ]


def equal_saving(thoughts: dict[str, list[Thought]], notes: dict[str, Any]) -> dict[str, float]:
    """Return the settings of the controls that save, on the calibration tasks, what the main signal does at AT."""
    main, every = thoughts[MAIN], thoughts["trial-answer steps"]
    threshold = notes["ways"][f"{MAIN}, {AT:g} {BAR}"].get("threshold", 1.01)
    ends = [ended(thought, threshold) for thought in main]
    wanted = sum(end.tokens + end.spent for end in ends) / sum(thought.tokens for thought in main)
    whole = sum(thought.tokens for thought in every)
    share = solved(lambda share: sum(expected(each, share) for each in every) / whole, 0.0, 1.0, wanted)
    budget = solved(lambda most: sum(min(each.tokens, most) for each in every) / whole, 2000.0, 1.0, wanted)
    return {"share of tokens": wanted, "at random": share, "budget": round(budget)}


def expected(thought: Thought, share: float) -> float:
    """Return the tokens of a thought that ends behind each step with chance `share`."""
    tokens, goes_on = 0.0, 1.0
    for look in thought.looks:
        tokens += goes_on * share * look.tokens
        goes_on *= 1 - share
    return tokens + goes_on * thought.tokens


def solved(share_at: Any, low: float, high: float, wanted: float) -> float:
    """Return where a function that falls from `low` to `high` comes to what is wanted."""
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if share_at(middle) > wanted else (low, middle)
    return (low + high) / 2


def report(folder: Path) -> None:
    """Write and print the table of all that was run."""
    parts = []
    for chosen in sorted(folder.glob("*.settings.json")):
        stem = chosen.name.removesuffix(".settings.json")
        notes = json.loads(chosen.read_text())
        alike = {name: of for name, of in notes["ways"].items() if of.get("runs as", name) != name}
        parts.append(f"{stem.replace('-', ' alone, ', 1)}, thresholds from up to {notes['calibration tasks']} tasks\n")
        parts.append(table(rows_in(folder / f"{stem}.jsonl"), WHOLE, KNOWING))
        parts += [f"{name}: the same threshold as {of['runs as']}\n" for name, of in alike.items()]
        parts += [f"{name}: {of['refused']}\n" for name, of in notes["ways"].items() if "refused" in of]
        parts.append("\n")
    (folder / "table.txt").write_text("".join(parts))
    print("".join(parts), end="")


def rows_in(file: Path) -> list[Ran]:
    """Return what was run."""
    return [Ran(**row) for row in lines_in(file)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--engine", choices=("small", "large"), default="large")
    parser.add_argument("--preset", default="mid")
    parser.add_argument("--calibration", type=int, default=1000)
    parser.add_argument("--tasks", type=int, default=1500)
    parser.add_argument("--others", type=int, default=400)
    parser.add_argument("--report", action="store_true")
    given = parser.parse_args()
    if given.report:
        report(given.out)
    else:
        asyncio.run(main(given))
