"""What a light router costs: training it on 20,000 steps, and one decision.

Run `python benchmarks/router_training.py`; needs the extra `train`. The steps are made up: a usual step of twenty
tokens with five alternatives each, a quarter of them wrong. Training reads the file of rows, makes the features, fits
both shapes, chooses one and measures it with its intervals; wall time, because that is what somebody waits for, and
CPU beside it. A decision is everything the router itself does about one draft, features included, in CPU, for drafts
of several lengths.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from math import log
from pathlib import Path
from random import Random
from time import perf_counter, process_time

from measure import Options, Report, options

from orchestrator.learning.rows import About, Before, Row, Target, export
from orchestrator.learning.table import drafted
from orchestrator.learning.training import train
from orchestrator.routers.features import features
from orchestrator.types import Message, Stop, TokenLogprob

STEPS = 20_000
STEPS_PER_TASK = 8
TOKENS = 20
LENGTHS = (20, 150, 500, 4096)
"""Tokens of the drafts that are decided about; the bar is for those up to BAR_TOKENS."""
BAR_TOKENS = 150
TRAINING_BAR_S = 60
DECISION_BAR_MS = 0.3
FORECAST_BAR_MS = 0.1
PAIR = {"writers": [dict.fromkeys(("name", "serves", "tokenizer", "greedy"), name) for name in ("small", "large")]}
ABOUT = About(small="small", large="large", scorer="prm", logprobs=5, pair=PAIR)


def token(random: Random, p: float) -> TokenLogprob:
    """Return a token with five alternatives, the likeliest with probability `p`."""
    rest = [(1 - p) * share for share in (0.5, 0.25, 0.15, 0.08)]
    top = tuple(TokenLogprob(random.randrange(500), "7", log(each)) for each in (p, *rest))
    return top[0]._replace(top=top)


def rows(number: int, num_tokens: int = TOKENS) -> Iterator[Row]:
    """Yield made-up rows: a wrong draft is now and then as sure as a right one. Text grows with the tokens."""
    random = Random(0)
    for place in range(number):
        is_wrong = random.random() < 0.25
        sure = 0.5 if is_wrong and random.random() < 0.9 else 0.8
        tokens = [token(random, 0.9 + 0.099 * random.random()) for _ in range(num_tokens - 1)]
        tokens.insert(random.randrange(num_tokens), token(random, sure + 0.19 * random.random()))
        index = place % STEPS_PER_TASK
        one, other = random.randrange(100), random.randrange(100)
        yield Row(
            run=f"run-{place // STEPS_PER_TASK}",
            task=f"{place // STEPS_PER_TASK:020x}",
            messages=(Message("user", f"Compute {one}*{other} - 98*6."),),
            before=tuple(Before("small", f"{one}*{other}-98*6\n\n") for _ in range(index)),
            writer="small",
            draft=f"98*6={random.randrange(900)}\n{one}*{other}-588\n" * (num_tokens // TOKENS) + "\n",
            num_tokens=num_tokens,
            stop=Stop.DELIMITER,
            logprobs=tuple(tokens),
            score=random.random() * 0.4 if is_wrong else 0.9,
            also={},
            targets=(Target("98*6=588\n", TOKENS, 0.9, {}),),
        )


def main(chosen: Options) -> None:
    """Measure and print."""
    report = Report("light router", chosen)
    number = 2_000 if chosen.is_quick else STEPS
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.jsonl"
        export(file, ABOUT, rows(number))
        walls, cpus = [], []
        for _ in range(chosen.times(3)):
            began_s, used_s = perf_counter(), process_time()
            router = train([file])
            walls.append(perf_counter() - began_s)
            cpus.append(process_time() - used_s)
        report.add(f"training on {number} steps", walls, "s", bar=TRAINING_BAR_S)
        report.add(f"training on {number} steps, CPU", cpus, "s")
        drafts = {length: [drafted(ABOUT, row) for row in rows(2_000 // length + 10, length)] for length in LENGTHS}
        lines = [features(router.features, each) for each in drafts[TOKENS]]
        for shape in ("logistic", "trees"):
            router = train([file], shape=shape)
            forecasts = []
            for _ in range(chosen.times(20)):
                began_s = process_time()
                for line in lines:
                    router.forecast.chance(line)
                forecasts.append((process_time() - began_s) / len(lines) * 1e3)
            report.add(f"{shape}: forecast", forecasts, "ms", bar=FORECAST_BAR_MS)
            for length, made in drafts.items():
                decisions = []
                for _ in range(chosen.times(20)):
                    began_s = process_time()
                    for each in made:
                        router.forecast.chance(features(router.features, each))
                    decisions.append((process_time() - began_s) / len(made) * 1e3)
                bar = DECISION_BAR_MS if length <= BAR_TOKENS else None
                report.add(f"{shape}: features and forecast, {length} tokens", decisions, "ms", bar=bar)
    report.print()


if __name__ == "__main__":
    main(options(__doc__))
