"""What a handbook of 100,000 behaviors costs: bringing them in, finding 40, and counting a use.

Run `python benchmarks/handbook.py`. Words are drawn as words are, a few often and most rarely; questions have 30.
Vectors have 384 numbers. Times are of the wall, of one process; the embedding of a question is its engine's and is
apart: by all-MiniLM-L6-v2 inside this process, if it is installed.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from measure import Options, Report, options

from orchestrator.behaviors import Add, Credit
from orchestrator.engines.embedding import EmbeddingSpec
from orchestrator.errors import BadConfig
from orchestrator.handbook.choosing import mixed
from orchestrator.memory.handbook import Handbook
from orchestrator.memory.store import Store

BEHAVIORS = 100_000
VOCABULARY = 20_000
NUMBERS = 384
FOUND = 40
QUESTION = (
    "A train leaves at ten past nine, stops twice for a quarter of an hour, and reaches the town on the coast at noon: "
    "how long is it under way?"
)
BAR_IMPORT_S = 30.0
BAR_FIND_MS = 25.0


class Words:
    """Draws words; the one of rank n comes up as often as 1 / n."""

    def __init__(self) -> None:
        chances = 1 / np.arange(1, VOCABULARY + 1)
        self.random = np.random.default_rng(1)
        self._chances = chances / chances.sum()

    def text(self, number: int) -> str:
        """Return so many words."""
        return " ".join(f"w{rank}" for rank in self.random.choice(VOCABULARY, number, p=self._chances))


def millis(do: Callable[[], Any], times: int) -> list[float]:
    """Return how long each of so many turns takes."""
    found = []
    for _ in range(times):
        began = perf_counter()
        do()
        found.append(1000 * (perf_counter() - began))
    return found


def added(words: Words, number: int) -> Iterator[Add]:
    """Yield behaviors of twenty topics."""
    for place in range(number):
        yield Add(f"behavior_b{place}", words.text(14), section=f"topic {place % 20}")


def main(how: Options) -> None:
    """Measure and print."""
    number, times = (2_000, 5) if how.is_quick else (BEHAVIORS, how.times(300))
    report, words = Report("handbook", how), Words()
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "handbook.db") as store:
        handbook, deltas = Handbook(store), list(added(words, number))
        began = perf_counter()
        handbook.apply(deltas)
        report.add(f"import {number:,}", [perf_counter() - began], "s", bar=BAR_IMPORT_S)
        vectors = words.random.standard_normal((number, NUMBERS)).astype("float32")
        for start in range(0, number, 10_000):
            some = handbook.without_vector("bench", 10_000)
            handbook.put_vectors("bench", dict(zip(some, vectors[start : start + 10_000], strict=True)))
        asked = iter([words.text(30) for _ in range(3 * times)])
        handbook.nearest("bench", vectors[0]), handbook.without_vector("bench")  # reads the vectors once

        def by_both() -> None:
            found = handbook.search(next(asked), FOUND)
            assert handbook.num_without_vector("bench") == 0
            near = handbook.nearest("bench", vectors[1], FOUND, beside=[each for each, _ in found])
            mixed([(each.id, score) for each, score in found], {each.id: cosine for each, cosine in near})

        report.add("find 40 by words, p95", [p95(millis(lambda: handbook.search(next(asked), FOUND), times))], "ms")
        report.add(
            "find 40 by meaning, p95", [p95(millis(lambda: handbook.nearest("bench", vectors[1], FOUND), times))], "ms"
        )
        report.add("find 40 by both, p95", [p95(millis(by_both, times))], "ms", bar=BAR_FIND_MS)
        runs = iter(range(times))
        report.add(
            "count a use", millis(lambda: handbook.apply([Credit(7, f"run {next(runs)}", "helpful")]), times), "ms"
        )
    if taken := asyncio.run(embedded(times)):
        report.add("embed a question of 30 words", taken, "ms")
    report.print()


async def embedded(times: int) -> list[float]:
    """Return how long the small model of sentences takes for a question; nothing where it is not installed."""
    embedding, found = EmbeddingSpec(path="minilm").made(), []
    try:
        await embedding.space()
        for _ in range(times):
            began = perf_counter()
            await embedding.embed([QUESTION])
            found.append(1000 * (perf_counter() - began))
    except BadConfig as error:
        print(error)
    await embedding.close()
    return found


def p95(values: list[float]) -> float:
    """Return the 95th percentile."""
    return float(np.quantile(values, 0.95))


if __name__ == "__main__":
    main(options(__doc__))
