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
Found (2026-11-27, commit 0aa95b4, two virtual cores, load 8 to 10): 0.97 to 1.04 of the ideal, medians, in all 19
comparisons and with the same kept text in each, so the prediction held. What there is to save at this profile is
modest, 16% with no rejection and 2% at 60% of them, 5% there with a hedge, because a verdict takes 45 ms of 200 to
1,000; three steps ahead save as much as one. Where a verdict takes half a second one ahead saves 23% and three 69%.
On the wall, between other jobs, 1.02 of the ideal (0.66 to 1.05). The embedded pair on those busy cores took 662 ms
a task without overlap (305 to 701), 486 ms one ahead (305 to 559) and 636 ms one ahead and hedged (431 to 642), with
the same texts: the fastest rounds are equal, so nothing is shown to be gained, and a hedge costs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from random import Random
from selectors import DefaultSelector, SelectorKey
from time import perf_counter, process_time
from typing import Literal, NamedTuple

from measure import Options, Report, interleaved, options

import orchestrator as orc
from orchestrator.bench.profiles import DEFAULT_HARDWARE, Hardware, hardware
from orchestrator.bench.workloads.random_calculation import calculations
from orchestrator.engines.base import Request
from orchestrator.engines.scorers.judge import Judge
from orchestrator.engines.scripted import Reply, Scripted
from orchestrator.engines.spec import JudgePrompt
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
FORESEEN = 0.8
"""Share of verdicts that the router foresees."""
QUESTION = "Compute 38*4 - 98*6."
ASKED = JudgePrompt(question="Rate the last step from 0 to 9, a digit only.", prefill="Rating: ")
_NO_LIMIT = 1 << 40
_MACHINE = hardware(DEFAULT_HARDWARE, ("small", "large"))
_SLOW_VERDICTS = replace(
    _MACHINE, engines={**_MACHINE.engines, "large": replace(_MACHINE.engines["large"], prefill_per_s=200.0)}
)
"""The same with a large engine that takes half a second for a verdict, so that one step ahead is not enough."""


class Planned(NamedTuple):
    """What is said about one step, whoever listens."""

    draft: str
    rewrite: str
    is_rejected: bool
    is_feared: bool
    """The router foresees a rejection."""


def script(rate: float, num_steps: int, seed: int) -> list[Planned]:
    """Return the steps of a run; exactly the share `rate` of the drafts is rejected."""
    random = Random(seed)
    rejected = set(random.sample(range(num_steps), round(rate * num_steps)))
    steps = []
    for number in range(num_steps):
        lengths = [random.randint(20, 120) for _ in range(2)]
        draft, rewrite = (
            f"{name} {number} ".ljust(length - 2, ".") for name, length in zip("dr", lengths, strict=True)
        )
        foresees = random.random() < FORESEEN
        steps.append(Planned(draft + "\n\n", rewrite + "\n\n", number in rejected, foresees == (number in rejected)))
    return steps


# ---- the ideal


def ideal_s(steps: Sequence[Planned], overlap: Overlap, machine: Hardware) -> float:
    """Return the seconds of a run in which nothing but calls takes time.

    A draft is written `ahead` steps or less behind the oldest one that is pending, its verdict is asked for one
    step later than that at the latest, and a rejected step is written anew before anything goes on behind it.
    """
    small, large = (partial(took_s, machine, name) for name in ("small", "large"))
    asks = len(f"\nuser: {ASKED.question}\nassistant: {ASKED.prefill}")
    ahead = overlap.ahead
    first, now_s = 0, 0.0
    unseen = _PROMPT
    while first < len(steps):
        begins: dict[int, float] = {}  # by step, when it is the oldest pending one
        written = asked = now_s
        rejected = None
        for number in range(first, len(steps)):
            step = steps[number]
            since = begins.get(number - ahead, now_s) if ahead else (asked if number > first else now_s)
            written = max(written, since) + small(unseen, len(step.draft))
            unseen = 0
            begins[number] = max(written, asked) if number > first else written
            may_ask = max(written, begins.get(max(first, number - ahead + 1), written)) if ahead else written
            verdict = may_ask + large(len(step.draft) + asks + (_PROMPT if number == 0 else 0), 1)
            asked = max(begins[number], verdict)  # it is decided: the next one is the oldest
            if step.is_rejected:
                rejected = number
                break
        if rejected is None:
            return asked
        step = steps[rejected]
        starts = begins[rejected] if overlap.hedge is not None and step.is_feared else asked
        now_s = max(asked, starts + large(0, len(step.rewrite)))
        unseen = len(step.rewrite)
        first = rejected + 1
    return now_s


def took_s(machine: Hardware, engine: str, uncached: int, output: int) -> float:
    """Return the seconds of one call."""
    of = machine.engines[engine]
    return machine.call_ms / 1e3 + uncached / of.prefill_per_s + output * of.decode_ms / 1e3


# ---- the stub


class Timed(Scripted):
    """Says a script's steps and takes as long as the machine would, its prefix cache of any size."""

    def __init__(self, steps: Sequence[Planned], machine: Hardware) -> None:
        super().__init__(self._say)
        self._steps = steps
        self._machine = machine
        self._seen: list[bytes] = []

    def _say(self, request: Request) -> Reply:
        assert request.prompt is not None
        self.requests.clear()
        prompt = bytes(request.prompt.ids())
        number = prompt.partition(b"assistant: ")[2].partition(b"\nuser:")[0].count(b"\n\n")
        if request.purpose == "judge":
            text = "0" if self._steps[number - 1].is_rejected else "9"
        else:
            text = self._steps[number].draft if request.purpose == "draft" else self._steps[number].rewrite
        cached = max((_common(prompt, each) for each in self._seen), default=0)
        self._seen = [prompt + text.encode(), *self._seen[:15]]
        return Reply(text=text, latency_s=took_s(self._machine, self.name, len(prompt) - cached, len(text)))


def _common(one: bytes, other: bytes) -> int:
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[:middle] == other[:middle] else (low, middle - 1)
    return low


class Skipping(DefaultSelector):
    """Lets an event loop skip its waits; `now` is its clock."""

    def __init__(self) -> None:
        super().__init__()
        self._skipped_s = 0.0

    def now(self) -> float:
        """Return seconds of CPU and of skipped waits."""
        return process_time() + self._skipped_s

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        """Return what is ready; where nothing is, the time that would be waited has passed."""
        ready = super().select(timeout if timeout is None else 0)
        self._skipped_s += 0 if ready or timeout is None else max(timeout, 0)
        return ready


def skipping_loop() -> asyncio.AbstractEventLoop:
    """Return an event loop that never waits."""
    selector = Skipping()
    loop = asyncio.SelectorEventLoop(selector)
    loop.time = selector.now  # type: ignore[method-assign]
    return loop


_PROMPT = len(f"user: {QUESTION}\nassistant: ")


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
    lines.add(f"{name}: none, measured / ideal", [each / ideal_s(steps, none, machine) for each in found["none"]], "x")
    for each in wanted:
        possible = ideal_s(steps, none, machine) - ideal_s(steps, VARIANTS[each], machine)
        saved = [slow - fast for slow, fast in zip(found["none"], found[each], strict=True)]
        lines.add(f"{name}: {each}, ideal saving", [possible / ideal_s(steps, none, machine)], "share")
        lines.add(f"{name}: {each}, saved / ideal", [one / possible for one in saved], "share", bar=bar, at_least=True)


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
