"""Time the same completions on a server that is started again with each way of speculating.

A number of rows are kept running side by side: where one ends, the next prompt is sent. The clock runs while all of
them are being written. Everything is greedy, and all prompts were read once before, so that it is decoding that is
timed as far as the server's prefix cache reaches.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path
from time import perf_counter

from orchestrator.engines.base import Chain, Completion, Drafting, Engine, Prefix, Progress, Request
from orchestrator.engines.dialects.vllm import Vllm
from orchestrator.engines.listening import is_taken
from orchestrator.engines.spec import EngineSpec
from orchestrator.engines.speculation.planning import Variant
from orchestrator.engines.speculation.profiling import Trial
from orchestrator.engines.supervisor import Supervisor
from orchestrator.errors import BadConfig, EngineProtocol, EngineTimeout, EngineUnavailable, UserError
from orchestrator.types import Message, Sampling

__all__ = ["Load", "measure", "trial"]

GREEDY = Sampling(temperature=0.0, top_p=1.0)
POLL_S = 0.005
LATE_S = 60.0
"""How much longer than it was to be a trial is, for rows that have no token yet."""
READ_SIDE_BY_SIDE = 8
"""Prompts that are read at once before anything is timed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What every server is measured with."""

    prompts: Sequence[tuple[Message, ...]]
    batches: Sequence[int]
    """Two at least: a line is laid through them."""
    repeats: int
    """Two at least: what one trial says may be noise."""
    seconds: float
    """Of one trial, longer where a row has no token yet; what is being written at its end is written to its end."""
    max_tokens: int
    """Of one completion."""

    def __post_init__(self) -> None:
        if len(set(self.batches)) < 2 or min(self.batches) < 1:
            raise UserError("the batch sizes are from 1 on, and at least two: a line is laid through them")
        if self.repeats < 2 or not self.seconds > 0 or self.max_tokens < 2:
            raise UserError("repeats are at least 2, as one trial may be noise, seconds above 0, max_tokens at least 2")


async def measure(
    name: str,
    spec: EngineSpec,
    variants: Sequence[Variant],
    load: Load,
    folder: Path,
    tell: Callable[[str], None],
) -> list[Trial]:
    """Return the trials of engine `name`, its server started once for each of `variants`.

    `folder` and `tell` are as for a Supervisor. Raises BadConfig, before any is started, for what one of them would
    not be started with, UserError if a server answers at its address already, and EngineError, the server's last words
    told before.
    """
    found: list[Trial] = []
    specs = [_served(name, spec, variant) for variant in variants]
    for number, ((tokens, _), served) in enumerate(zip(variants, specs, strict=True), 1):
        tell(f"{name}: {_what(tokens)}, server {number} of {len(variants)}")
        server, engine = Supervisor(name, served, folder, tell), Vllm.from_spec(name, served)
        with server.held():
            if await is_taken(name, server.url):
                raise UserError(
                    f"engine {name!r}: a server answers at {server.url} already: end it, so that it can be started "
                    "with each number of tokens"
                )
            try:
                await server.up()
                found += await _trials(engine, tokens, load, spec.think, lambda line: tell(f"{name}: {line}"))
            except (EngineUnavailable, EngineTimeout):
                tell(server.tail())
                raise
            finally:
                await engine.close()
                await server.down()
    return found


async def trial(engine: Engine, tokens: int | None, batch: int, prompts: Iterator[Prefix], load: Load) -> Trial:
    """Return what came of `batch` completions kept running side by side.

    Raises EngineError, and UserError where no token came in time.
    """
    done: list[Completion] = []
    made: list[list[Progress]] = [[] for _ in range(batch)]
    is_over = False

    async def keep_one_running(made: list[Progress]) -> None:
        while not is_over:
            request = Request(prompt=next(prompts), sampling=GREEDY, max_tokens=load.max_tokens, seed=0)
            made.append(request.progress)
            done.append(await engine.complete(request))

    rows = [asyncio.create_task(keep_one_running(each)) for each in made]
    try:
        while not all(map(_written, made)):
            await _passed(rows, POLL_S)
        began, before = perf_counter(), [_written(each) for each in made]
        await _passed(rows, load.seconds)
        while not all(_new(made, before)) and perf_counter() - began < load.seconds + LATE_S:
            await _passed(rows, POLL_S)
        seconds, written = perf_counter() - began, sum(_new(made, before))
        if not written:
            raise UserError(f"engine {engine.name!r}: no token came in {seconds:.3g} s: give more --seconds")
        is_over = True
        await asyncio.gather(*rows)
    finally:
        for row in rows:
            row.cancel()
        await asyncio.gather(*rows, return_exceptions=True)
    return Trial(
        tokens=tokens,
        batch=batch,
        goodput=written / seconds,
        completions=len(done),
        output_tokens=sum(each.output_tokens for each in done),
        drafting=_drafting(engine.name, done) if tokens is not None else Drafting(0, 0, 0),
        waited=sum(each.queue_s or 0.0 for each in done) / sum(each.seconds for each in done),
    )


def _served(name: str, spec: EngineSpec, variant: Variant) -> EngineSpec:
    assert spec.serving is not None
    try:
        return replace(spec, serving=replace(spec.serving, speculation=variant.speculation))
    except BadConfig as error:
        raise BadConfig(f"engine {name!r} cannot be measured with {_what(variant.tokens)}: {error}") from error


def _what(tokens: int | None) -> str:
    return "no speculation" if tokens is None else f"drafts of at most {tokens}"


async def _trials(
    engine: Engine, tokens: int | None, load: Load, think: bool | None, tell: Callable[[str], None]
) -> list[Trial]:
    """Return all trials of one server, its batch sizes in turn, `repeats` times."""
    prompts = [Chain(await engine.render(messages, think=think)).prefix() for messages in load.prompts]
    await _read(engine, prompts)
    await trial(engine, tokens, max(load.batches), cycle(prompts), replace(load, seconds=POLL_S))  # warms everything up
    found = []
    for repeat in range(load.repeats):
        for batch in load.batches:
            # Every server is given the same prompts in the same trial.
            begin = repeat * len(prompts) // load.repeats
            given = islice(cycle(prompts), begin, None)
            found.append(await trial(engine, tokens, batch, given, load))
            tell(f"round {repeat + 1} of {load.repeats}, {batch} at once: {found[-1].goodput:.1f} tokens/s")
    return found


async def _read(engine: Engine, prompts: Sequence[Prefix]) -> None:
    rest = iter(prompts)

    async def read() -> None:
        for prompt in rest:
            await engine.complete(Request(prompt=prompt, sampling=GREEDY, max_tokens=1, seed=0))

    readers = [asyncio.create_task(read()) for _ in range(READ_SIDE_BY_SIDE)]
    try:
        await asyncio.gather(*readers)
    finally:
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)


async def _passed(rows: Sequence[asyncio.Task[None]], seconds: float) -> None:
    """Wait; raise what ended a row."""
    ended, _ = await asyncio.wait(rows, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
    for row in ended:
        row.result()


def _written(made: Sequence[Progress]) -> int:
    return sum(each.output_tokens for each in made)


def _new(made: Sequence[Sequence[Progress]], before: Sequence[int]) -> list[int]:
    """Return how many tokens each row has more than before."""
    return [_written(each) - earlier for each, earlier in zip(made, before, strict=True)]


def _drafting(name: str, done: Sequence[Completion]) -> Drafting:
    counts = [each.drafting for each in done if each.drafting is not None]
    if len(counts) < len(done):
        raise EngineProtocol(f"engine {name!r}: its server does not say what it drafted; vLLM 0.32 does", engine=name)
    return Drafting.total(counts)
