"""Made-up rows of a collection: a draft that the large engine betters is written less surely than one it does not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import log
from random import Random
from typing import Any

from orchestrator.learning.rows import About, Before, Row, Target
from orchestrator.routers.forecast import Forecast, Logistic
from orchestrator.routers.router_file import RouterFile
from orchestrator.types import History, Message, Step, Stop, Task, TokenLogprob

PAIR = {
    "writers": [
        {"name": name, "serves": name, "tokenizer": "utf-8", "greedy": name[0] * 20} for name in ("small", "large")
    ]
}
ABOUT = About(small="small", large="large", scorer="prm", logprobs=2, pair=PAIR)


def token(p: float, text: str = "7") -> TokenLogprob:
    """Return a token that was written with probability `p`, the likelier of two."""
    first, second = TokenLogprob(1, text, log(p)), TokenLogprob(2, "8", log(1 - p) if p < 1 else -99.0)
    return TokenLogprob(1, text, log(p), (first, second))


def row(
    task: str = "t0", *, index: int = 0, score: float = 0.9, targets: tuple[float | Target, ...] = (0.9,), **but: Any
) -> Row:
    """Return one row with these scores."""
    given: dict[str, Any] = {
        "run": f"run-{task}",
        "task": task,
        "messages": (Message("user", "Compute 3+4*2."),),
        "before": tuple(
            Before("large" if place % 2 else "small", f"step {place}: {place}+1\n\n") for place in range(index)
        ),
        "writer": "small",
        "draft": "4*2=8\n3+8\n\n",
        "num_tokens": 3,
        "stop": Stop.DELIMITER,
        "logprobs": (token(0.9), token(0.99), token(0.8)),
        "score": score,
        "also": {},
        "targets": tuple(
            Target("4*2=8\n3+8\n\n", 3, each, {}) if isinstance(each, float) else each for each in targets
        ),
    }
    return Row(**{**given, **but})


def rows(number: int, *, seed: int = 0, steps: int = 5, sharp: float = 1.0) -> Iterator[Row]:
    """Yield rows of `number` tasks: a quarter of the drafts is wrong, and written with less certainty.

    `sharp` is how far that can be told: 0 not at all.
    """
    random = Random(seed)
    for task in range(number):
        for index in range(steps):
            is_wrong = random.random() < 0.25
            low = 0.55 if is_wrong and random.random() < sharp else 0.85
            worst = token(low + 0.14 * random.random())
            yield row(
                f"{task:08x}",
                index=index,
                score=0.1 + 0.1 * random.random() if is_wrong else 0.9,
                targets=(Target("4*2=8\n3+8\n\n", 3, 0.9, {"verifier": 1.0}),),
                logprobs=(token(0.999), worst, token(0.99)),
                also={"verifier": float(not is_wrong)},
            )


def draft(p: float = 0.75, *, writer: str = "small", **changes: Any) -> Step:
    """Return a draft of one token, written with probability `p`."""
    given: dict[str, Any] = {
        "index": 1,
        "attempt": 0,
        "writer": writer,
        "text": "4*2=8\n\n",
        "num_tokens": 1,
        "stop": Stop.DELIMITER,
        "logprobs": [token(p)],
    }
    return Step(**{**given, **changes})


def history(engines: Sequence[str] = ("small", "large"), writers: Sequence[str] = ("small",)) -> History:
    """Return a history with one kept step by each of `writers`."""
    steps = [replace(draft(writer=writer), index=index) for index, writer in enumerate(writers)]
    return History(task=Task.of("q"), engines=tuple(engines), seed=7, steps=steps)


UNIT = Logistic(means=(0.0,), scales=(1.0,), weights=(-10.0,), bias=5.0)
"""Half a chance at a margin of 0.5, and the more the less sure a draft is."""


def known(**changes: Any) -> RouterFile:
    """Return a router that reads nothing but the smallest margin, by UNIT."""
    given: dict[str, Any] = {
        "features": ("margin_min",),
        "forecast": Forecast(shape=UNIT),
        "logprobs": 2,
        "scorer": "prm",
        "samples": 1,
        "pair": PAIR,
        "measured": {},
        "data": {"fitted_on": ["a", "b"]},
        "made": "2026-11-27",
        "package": "0.1.0",
    }
    return RouterFile(**{**given, **changes})
