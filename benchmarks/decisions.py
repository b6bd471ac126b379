"""What each router's own work costs a step: whatever it does itself between two calls of engines, in CPU.

Run `python benchmarks/decisions.py`. Every router of the table goes through both of its doors with a draft of 150
tokens, five alternatives each, behind three kept steps, or at the beginning where that takes longer; who is asked
answers at once from a table, and answering is part of the figure. The arbitrage router is one that looks at everything
that can be looked at. Settings that ask an engine for something to read are marked: what they wait for is not in the
figure, and the bar does not speak of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import log
from time import process_time
from typing import Any

from measure import Options, Report, options

from orchestrator.decisions import Plan
from orchestrator.routers import ROUTERS, find
from orchestrator.routers.features import NAMES
from orchestrator.routers.forecast import Forecast, Logistic
from orchestrator.routers.router_file import RouterFile
from orchestrator.types import History, Signal, Step, Stop, Task, TokenLogprob

BAR_MS = 0.3
TOKENS = 150
IN_A_LAP = 50
"""Decisions that one reading of the clock is about."""
_ZEROS, _ONES = (0.0,) * len(NAMES), (1.0,) * len(NAMES)
_WRITER = dict.fromkeys(("serves", "tokenizer", "greedy"), "made up")
_SEES_ALL = RouterFile(
    features=NAMES,
    forecast=Forecast(shape=Logistic(means=_ZEROS, scales=_ONES, weights=_ONES, bias=0.0)),
    logprobs=5,
    scorer="prm",
    samples=1,
    pair={"writers": [{"name": name, **_WRITER} for name in ("small", "large")]},
    measured={},
    data={},
    made="",
    package="",
)
SETTINGS: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "arbitrage": [{"learnt": _SEES_ALL}],
    "answer-gate": [{}, {"gate": "agreement"}],
    "hybrid": [{}, {"keep": "prm > 0.9 or entropy_max < 0.4 and margin_min > 0.2"}],
}
"""Of routers that can be asked in more ways than by their defaults."""


@dataclass(frozen=True)
class Given:
    """Answers whatever is asked at once."""

    beside: Step

    async def score(self, name: str, draft: Any) -> Any:
        """Return a rating in the middle."""
        return Signal(name=name, value=0.5, raw=4.5)

    async def alternative(self, engine: str, draft: Step, *, sample: int = 0) -> Step:
        """Return what another engine wrote."""
        return self.beside

    async def answers(self, engine: str, draft: Step | None = None, *, num: int = 1) -> list[str]:
        """Return the same answer so many times."""
        return ["1"] * num

    def answer_in(self, text: str) -> str | None:
        """Return the answer that every draft here ends with."""
        return "1"


def token(text: str) -> TokenLogprob:
    """Return a token with five alternatives."""
    top = tuple(TokenLogprob(place, f"{text}{place}", log(p)) for place, p in enumerate((0.9, 0.05, 0.03, 0.01, 0.005)))
    return TokenLogprob(0, text, top[0].logprob, top)


def step(index: int, writer: str = "small") -> Step:
    """Return a step with numbers in it, and an answer at its end: there is nothing that a router need not look at."""
    words = [f"{place} and " if place % 9 == 0 else "it is " for place in range(TOKENS - 1)]
    texts = [*words, "\\boxed{1}"]
    logprobs = tuple(token(text) for text in texts)
    return Step(
        index=index,
        attempt=0,
        writer=writer,
        text="".join(texts),
        num_tokens=TOKENS,
        stop=Stop.END,
        logprobs=logprobs,
    )


def past_of(steps: Sequence[Step]) -> History:
    """Return what a router knows behind these steps."""
    task = Task.of("Compute 38*4 - 98*6.")
    return History(task=task, engines=("small", "large"), seed=7, steps=list(steps), num_tokens=len(steps) * TOKENS)


async def lap_ms(router: Any, draft: Step, past: History, ask: Given) -> float:
    """Return the CPU of one step through both doors, the mean of a lap."""
    began_s = process_time()
    for _ in range(IN_A_LAP):
        plan = router.before_step(past) if hasattr(router, "before_step") else None
        if hasattr(router, "after_draft") and isinstance(plan, Plan | None):
            await router.after_draft(past, draft, ask)
    return (process_time() - began_s) / IN_A_LAP * 1e3


async def measured(report: Report, chosen: Options) -> None:
    """Add a row for every setting of every router."""
    steps = [step(index, "large" if index == 1 else "small") for index in range(4)]
    places = [
        (replace(steps[3], index=number), past_of(steps[:number]), Given(replace(steps[3], index=number)))
        for number in (0, 3)
    ]
    for name in ROUTERS:
        for given in SETTINGS.get(name, [{}]):
            router = find(name)(**given)
            needs = getattr(router, "needs", None)
            asks = needs is not None and bool(needs.scorers or needs.redraws)
            laps = [[await lap_ms(router, *place) for place in places] for _ in range(chosen.times(20) + 1)]
            found = [max(each) for each in laps[1:]]  # what is made once is made in the first
            options = ", ".join(f"{key} {value}" for key, value in given.items() if key != "learnt")
            label = f"{name}{': ' if options else ''}{options}{', asks' if asks else ''}"
            report.add(label, found, "ms", bar=None if asks else BAR_MS)


def main(chosen: Options) -> None:
    """Measure and print."""
    report = Report("decisions", chosen)
    asyncio.run(measured(report, chosen))
    report.print()


if __name__ == "__main__":
    main(options(__doc__))
