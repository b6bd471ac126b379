"""What a training-free drafter costs: CPU per drafted row at 4,096 tokens of context, for each source.

Run `python benchmarks/drafters.py`. Rows hold a made-up agent's trace: forty phrases in random order, one token in
twenty replaced, so that matches are many and of all lengths. The suffix source remembers 250,000 tokens of such
traces. Each call adds one token to each of 16 rows, as a server does whose drafts never stand: the dearest case,
because every token is then a call. CPU counts user and system time of this process, per row and call.
"""

from __future__ import annotations

import statistics
import time
from types import SimpleNamespace

import numpy as np
from numpy.typing import NDArray

from orchestrator.engines.speculation import SOURCES
from orchestrator.engines.speculation.drafter import HIERARCHY, Drafter
from orchestrator.engines.speculation.rows import Row
from orchestrator.engines.speculation.sources.suffix import Suffix

CONTEXT = 4096
ROWS = 16
CALLS = 200
MOST = 5
REMEMBERED = 250_000
BAR_MS = 0.3


def trace(random: np.random.Generator, length: int) -> NDArray[np.int32]:
    """Return a trace of so many tokens."""
    phrases = [np.random.default_rng(number).integers(0, 30_000, 60) for number in range(40)]
    tokens = np.concatenate([phrases[number] for number in random.integers(0, 40, length // 60 + 1)])[:length]
    noise = random.random(length) < 0.05
    tokens[noise] = random.integers(0, 30_000, int(noise.sum()))
    return tokens.astype(np.int32)


def drafter(*sources: str) -> Drafter:
    """Return a drafter of these sources with a memory."""
    made = Drafter(
        SimpleNamespace(
            speculative_config=SimpleNamespace(num_speculative_tokens=MOST),
            additional_config={"drafter": {"sources": list(sources), "length": "fixed"}},
        )
    )
    random = np.random.default_rng(1)
    for source in made.sources:
        if isinstance(source, Suffix):
            for _ in range(REMEMBERED // 500):
                source.finish(Row(trace(random, 500), 0))
    return made


def measured(made: Drafter) -> tuple[list[float], float]:
    """Return milliseconds of CPU per row of every call, and the share of calls that had a draft."""
    random = np.random.default_rng(2)
    ids = np.stack([trace(random, CONTEXT + CALLS + 1) for _ in range(ROWS)])
    ids[: ROWS // 4, :CONTEXT] = ids[0, :CONTEXT]  # siblings
    spent, drafts = [], 0
    for call in range(CALLS + 1):
        length = CONTEXT + call
        sampled = ids[:, length - 1 : length].tolist()
        began = time.process_time()
        found = made.propose(sampled, np.full(ROWS, length), ids)
        spent.append((time.process_time() - began) * 1e3 / ROWS)
        drafts += sum(map(bool, found))
    return spent[1:], drafts / (ROWS * (CALLS + 1))


def main() -> None:
    """Print the table."""
    print(f"{'sources':32}{'median ms':>10}{'p95 ms':>10}{'rows with a draft':>20}")
    for names in [*((name,) for name in sorted(SOURCES)), HIERARCHY]:
        spent, share = measured(drafter(*names))
        p95 = statistics.quantiles(spent, n=20)[-1]
        print(f"{', '.join(names):32}{statistics.median(spent):>10.3f}{p95:>10.3f}{share:>20.0%}")
    print(f"bar: {BAR_MS} ms per drafted row at {CONTEXT:,} tokens of context")


if __name__ == "__main__":
    main()
