"""How much of the time that overlap can hide it does hide, on a stub that takes what the hardware profile says.

Run `python benchmarks/overlap.py`. Two engines in this process wait as long as the profile `h200_1p5b_32b` says a
call takes: 10 ms, the prompt tokens that are not in their prefix cache, and every output token. They say the same
steps and verdicts to every variant. The ideal is computed from the lengths and verdicts alone, by the recursion of
`ideal_s`, which knows nothing of the runtime: what is drafted ahead begins the moment it may, and nothing takes time
but the calls. The figure is the saving that was measured as a share of the saving that is ideal.

The stub's clock is the CPU time of this process and the waits, which are skipped and not waited for: the wall time of
a machine that does nothing else, whatever the machine does beside it. The lines called `wall` are a run by the clock
on the wall. The last lines are the embedded pocket pair on its tasks, with and without overlap, on the wall as well.

Predicted before the first run: at least 0.95 of the ideal at every rate of rejection, less where there is little
to save; the embedded pair, whose two engines share these cores and answer in milliseconds, gains nothing or loses.
Found (2026-11-27, commit fc8c10a, two virtual cores, load 6): 0.85 to 1.00 hidden, medians, in all 22 comparisons and
with the same kept text in each; every variant takes 1.001 to 1.004 times its ideal. The least, 0.85, is a hedge alone
with graph-routed steps, where 1.7% is to be saved; on the same machine minutes before it was 0.80 (0.77 to 0.81), just
below the bar, because the orchestration that stays is as large as a fifth of that. What there is to save at this
profile is modest, 16% with no rejection and 2% at 60% of them, 4.5% there with a hedge, because a verdict takes 45 ms
of 200 to 1,000; three steps ahead save as much as one. Where a verdict takes half a second one ahead saves 23% and
three 69%. On the wall, between other jobs, 0.89 hidden (0.83 to 0.90). On quiet
cores, the same day at 185e87a, 0.86 to 1.00 again, and 0.92 on the wall; the embedded pair took 226 ms a task without
overlap (215 to 232), 194 ms one ahead (184 to 213) and 190 ms one ahead and hedged (188 to 204), with the same texts:
the prediction that it would gain nothing was wrong.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from time import perf_counter
from typing import Literal

from measure import Options, Report, interleaved, options
from overlap_script import ASKED, QUESTION, Planned, ideal_s, script
from overlap_stub import Timed, skipping_loop

import orchestrator as orc
from orchestrator.bench.profiles import DEFAULT_HARDWARE, Hardware, hardware
from orchestrator.bench.workloads.random_calculation import calculations
from orchestrator.engines.scorers.judge import Judge
from orchestrator.routers.specreason import SpecReason
from orchestrator.types import History, Overlap, Step

BAR = 0.8
REJECTED = (0.0, 0.2, 0.4, 0.6)
VARIANTS = {
    "1 ahead": Overlap(ahead=1),
    "3 ahead": Overlap(ahead=3),
    "hedged": Overlap(hedge=0.5),
    "1 ahead, hedged": Overlap(ahead=1, hedge=0.5),
}
_NO_LIMIT = 1 << 40
_MACHINE = hardware(DEFAULT_HARDWARE, ("small", "large"))
_SLOW_VERDICTS = replace(
    _MACHINE, engines={**_MACHINE.engines, "large": replace(_MACHINE.engines["large"], prefill_per_s=200.0)}
)
"""The same with a large engine that takes half a second for a verdict, so that one step ahead is not enough."""


# ---- the stub


@dataclass(frozen=True, kw_only=True)
class Foresees(SpecReason):
    """SpecReason that has an idea of the verdict beforehand."""

    steps: tuple[Planned, ...] = ()

    def prior(self, history: History, draft: Step) -> float:
        return float(self.steps[draft.index].is_feared)


async def run_s(
    steps: Sequence[Planned],
    machine: Hardware,
    overlap: Overlap,
    granularity: Literal["steps", "fused"],
    texts: set[str],
) -> float:
    """Return the seconds of a run by the loop's clock; its kept text goes to `texts`."""
    clock = asyncio.get_running_loop().time
    async with orc.Pipeline(
        {name: Timed(steps, machine) for name in ("small", "large")},
        Foresees(total_tokens=_NO_LIMIT, steps=tuple(steps)),
        scorers={"judge": Judge(prompt=ASKED)},
        budget=orc.Budget(tokens=_NO_LIMIT, steps=len(steps)),
        overlap=overlap,
        granularity=granularity,
        db=":memory:",
    ) as pipe:
        await pipe.start()
        started = clock()
        result = await pipe.arun(QUESTION)
        seconds = clock() - started
    texts.add(result.text)
    return seconds


async def compare(
    lines: Report,
    name: str,
    machine: Hardware,
    rate: float,
    granularity: Literal["steps", "fused"],
    wanted: Sequence[str],
    num_steps: int,
    repeats: int,
    bar: float | None,
) -> None:
    """Run variants in turn at one rate of rejection and note their savings."""
    steps = script(rate, num_steps, seed=round(100 * rate))
    texts: set[str] = set()
    none = Overlap()
    variants: dict[str, Callable[[], Awaitable[float]]] = {
        each: partial(run_s, steps, machine, VARIANTS.get(each, none), granularity, texts) for each in ("none", *wanted)
    }
    found = await interleaved(variants, repeats)
    assert len(texts) == 1, "overlap changed the kept text"
    none_s = ideal_s(steps, none, machine)
    lines.add(f"{name}: none, time / ideal", [each / none_s for each in found["none"]], "x")
    for each in wanted:
        best_s = ideal_s(steps, VARIANTS[each], machine)
        lines.add(f"{name}: {each}, ideal saving", [1 - best_s / none_s], "share")
        lines.add(f"{name}: {each}, time / ideal", [fast / best_s for fast in found[each]], "x")
        hidden = [(slow - fast) / (slow - best_s) for slow, fast in zip(found["none"], found[each], strict=True)]
        lines.add(f"{name}: {each}, hidden", hidden, "share", bar=bar, at_least=True)


async def stub(lines: Report, chosen: Options) -> None:
    """Compare everything on the stub, by the clock of the loop."""
    num_steps, repeats = 5 if chosen.is_quick else 40, chosen.times(3)
    settings: list[tuple[float, Literal["steps", "fused"]]] = [*((rate, "fused") for rate in REJECTED), (0.2, "steps")]
    for rate, granularity in settings:
        wanted = [name for name, each in VARIANTS.items() if rate or each.hedge is None]
        name = f"{granularity}, {rate:.0%} rejected"
        await compare(lines, name, _MACHINE, rate, granularity, wanted, num_steps, repeats, BAR)
    for rate in (0.0, 0.2):
        name = f"fused, {rate:.0%} rejected, slow verdicts"
        await compare(lines, name, _SLOW_VERDICTS, rate, "fused", ["1 ahead", "3 ahead"], num_steps, repeats, BAR)


# ---- the embedded pair


async def pair_s(pipe: orc.Pipeline, prompts: Sequence[str], texts: list[list[str]]) -> float:
    """Return the wall seconds of a task, on average."""
    started = perf_counter()
    texts.append([(await pipe.arun(prompt)).text for prompt in prompts])
    return (perf_counter() - started) / len(prompts)


async def embedded(lines: Report, num_tasks: int, repeats: int) -> None:
    """Run the pocket pair with and without overlap."""
    prompts = [each.prompt for each in islice(calculations("mid", "calibration", 0), num_tasks)]
    wanted = {"none": Overlap(), **{name: VARIANTS[name] for name in ("1 ahead", "1 ahead, hedged")}}
    pipes = {
        name: orc.Pipeline(orc.engines.pocket_pair(), SpecReason(threshold=7), overlap=each, db=":memory:")
        for name, each in wanted.items()
    }
    said: dict[str, list[list[str]]] = {name: [] for name in pipes}
    try:
        for pipe in pipes.values():
            await pipe.start()
        found = await interleaved(
            {name: partial(pair_s, pipe, prompts, said[name]) for name, pipe in pipes.items()}, repeats
        )
    finally:
        for pipe in pipes.values():
            await pipe.aclose()
    for name, seconds in found.items():
        lines.add(f"embedded pair: {name}, a task", [1e3 * each for each in seconds], "ms")
        alike = [
            sum(own == other for own, other in zip(mine, theirs, strict=True)) / num_tasks
            for mine, theirs in zip(said[name], said["none"], strict=True)
        ]
        lines.add(f"embedded pair: {name}, texts as without", alike, "share")


async def on_the_wall(lines: Report, chosen: Options) -> None:
    """Run one setting of the stub, and the pair, by the clock on the wall."""
    num_steps = 5 if chosen.is_quick else 15
    await compare(
        lines, "wall: fused, 0% rejected", _MACHINE, 0.0, "fused", ["1 ahead"], num_steps, chosen.times(3), None
    )
    await embedded(lines, 3 if chosen.is_quick else 15, chosen.times(3))


def measure(chosen: Options) -> Report:
    """Run everything."""
    lines = Report(f"Time that overlap hides, {DEFAULT_HARDWARE}", chosen)
    with asyncio.Runner(loop_factory=skipping_loop) as runner:
        runner.run(stub(lines, chosen))
    asyncio.run(on_the_wall(lines, chosen))
    return lines


if __name__ == "__main__":
    measure(options(__doc__)).print()
