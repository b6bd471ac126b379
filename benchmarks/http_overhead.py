"""What the orchestrator adds over HTTP, in CPU of the client, to the same requests sent by a bare client.

Run `python benchmarks/http_overhead.py`. A stub of a vLLM server in a process of its own answers after a
set wait; 256 runs go on at once, each of some steps of 48 tokens, over a prompt that grows. The bare
client is aiohttp and nothing else: it sends the same requests in the same order and reads the same
replies, each taken in whole and parsed event by event. The CPU is that of this process alone,
journal on disk, opening of runs and of connections included, divided by steps.

The comparison uses router `small`, one call a step; `specreason` (a second, short call a step, every
draft kept) is a second line. `1 token an event` is what a vLLM server sends by default; `48` is the
whole step in one event, which shows how much of the cost goes by the event.
"""

from __future__ import annotations

import asyncio
import gc
import json
import tempfile
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, Literal, NamedTuple

import aiohttp
from measure import Options, Report, against, interleaved, options
from stub_server import STEP_TOKENS, serving

import orchestrator
from orchestrator import engines
from orchestrator.engines.spec import JudgePrompt
from orchestrator.routers.specreason import SpecReason

JUDGED_AT_MS = 200
OTHER_LATENCIES_MS = (0, 50, 500)
BARS_MS = {"fused": 0.35, "graph": 1.0}
_NO_LIMIT = 1 << 40
_QUESTION = "Compute 38*4 - 98*6. " * 8


class Size(NamedTuple):
    """How much is done in one batch."""

    runs: int
    steps: int


class Cost(NamedTuple):
    """What a batch took."""

    cpu_ms: float
    """Per step."""
    rate: float
    """Steps per second of the clock."""


Variant = Callable[[], Awaitable[Cost]]


async def timed(work: Callable[[int], Awaitable[Any]], size: Size) -> Cost:
    """Do `work` for every run at once."""
    gc.collect()
    wall_s, cpu_s = perf_counter(), process_time()
    await asyncio.gather(*(work(number) for number in range(size.runs)))
    wall_s, cpu_s = perf_counter() - wall_s, process_time() - cpu_s
    steps = size.runs * size.steps
    return Cost(cpu_s / steps * 1e3, steps / wall_s)


def ours(url: str, folder: Path, granularity: Literal["steps", "fused"], router: str, size: Size) -> Variant:
    """Return a batch of runs of the orchestrator; every batch has connections and a journal of its own."""
    names = count()
    chosen: Any = SpecReason(total_tokens=_NO_LIMIT) if router == "specreason" else router

    async def run() -> Cost:
        async with orchestrator.Pipeline(
            {name: engines.spec("vllm", url=url) for name in ("small", "large")},
            chosen,
            budget=orchestrator.Budget(tokens=_NO_LIMIT, steps=size.steps),
            db=folder / f"{granularity}-{router}-{next(names)}.db",
            granularity=granularity,
        ) as pipe:
            await pipe.start()
            await pipe.arun("Open the journal and learn what the tokens say.")
            return await timed(lambda number: pipe.arun(f"{_QUESTION}{number}"), size)

    return run


def bare(url: str, router: str, size: Size) -> Variant:
    """Return the same requests by a client that does nothing else."""

    async def run() -> Cost:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            asking = await ask(
                session,
                f"{url}/tokenize",
                {"model": "stub", "prompt": f"?{JudgePrompt().question}{JudgePrompt().prefill}"},
            )

            async def one(number: int) -> None:
                messages = [{"role": "user", "content": f"{_QUESTION}{number}"}]
                told = {"model": "stub", "messages": messages, "add_generation_prompt": True}
                prompt = (await ask(session, f"{url}/tokenize", told))["tokens"]
                for _ in range(size.steps):
                    ids = await step(session, f"{url}/v1/completions", prompt)
                    prompt = prompt + ids
                    if router == "specreason":
                        await ask(session, f"{url}/v1/completions", body(prompt + asking["tokens"], 1))

            return await timed(one, size)

    return run


async def ask(session: aiohttp.ClientSession, url: str, what: dict[str, Any]) -> Any:
    """Return a reply that comes in one piece."""
    async with session.post(url, data=json.dumps(what).encode()) as reply:
        return json.loads(await reply.read())


async def step(session: aiohttp.ClientSession, url: str, prompt: list[int]) -> list[int]:
    """Return the ids of a step."""
    what = body(prompt, 512) | {"stream": True, "stream_options": {"include_usage": True}}
    ids: list[int] = []
    text = ""
    async with session.post(url, data=json.dumps(what).encode()) as reply:
        for event in (await reply.read()).split(b"\n\n"):
            if event and event != b"data: [DONE]":
                for choice in json.loads(event[6:])["choices"]:
                    ids += choice["token_ids"]
                    text += choice["text"]
    assert len(ids) == STEP_TOKENS and text.endswith("\n\n")
    return ids


def body(prompt: list[int], max_tokens: int) -> dict[str, Any]:
    """Return a request as the orchestrator's vLLM engine makes it."""
    return {
        "model": "stub",
        "prompt": prompt,
        "max_tokens": max_tokens,
        "temperature": 0.6,
        "top_p": 0.95,
        "top_k": 0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "seed": 123456789,
        "stop": ["\n\n"],
        "include_stop_str_in_output": True,
        "skip_special_tokens": False,
        "return_token_ids": True,
    }


def variants(url: str, folder: Path, router: str, size: Size) -> dict[str, Variant]:
    """Return what is compared, by name."""
    return {
        "bare": bare(url, router, size),
        "fused": ours(url, folder, "fused", router, size),
        "graph": ours(url, folder, "steps", router, size),
    }


async def compare(
    lines: Report, server: str, latency_ms: int, router: str, tokens_per_event: int, size: Size, repeats: int
) -> None:
    """Measure one setting in turns and note its figures; only the setting of the bar is held against it."""
    name = f"{latency_ms} ms, {router}, {tokens_per_event} token{'s' * (tokens_per_event > 1)} an event"
    with tempfile.TemporaryDirectory() as folder:
        found = await interleaved(
            variants(f"{server}/{latency_ms}/{tokens_per_event}", Path(folder), router, size), repeats
        )
    for who, costs in found.items():
        lines.add(f"{name}: {who}", [cost.cpu_ms for cost in costs], "ms CPU")
        lines.add(f"{name}: {who}", [cost.rate for cost in costs], "step/s")
    is_judged = latency_ms == JUDGED_AT_MS and router == "small"
    for who, bar in BARS_MS.items():
        over = against([cost.cpu_ms for cost in found[who]], [cost.cpu_ms for cost in found["bare"]])
        lines.add(f"{name}: {who} - bare", over, "ms CPU", bar=bar if is_judged else None)


async def measure(chosen: Options) -> Report:
    """Run all settings."""
    size = Size(4, 2) if chosen.is_quick else Size(256, 10)
    lines = Report(f"CPU per step over HTTP, {size.runs} concurrent runs of {size.steps} steps", chosen)
    with serving() as server:
        await compare(lines, server, JUDGED_AT_MS, "small", 1, size, chosen.times(5))
        await compare(lines, server, JUDGED_AT_MS, "small", STEP_TOKENS, size, chosen.times(3))
        await compare(lines, server, JUDGED_AT_MS, "specreason", 1, size, chosen.times(3))
        for latency_ms in OTHER_LATENCIES_MS:
            await compare(lines, server, latency_ms, "small", 1, size, chosen.times(2))
    return lines


if __name__ == "__main__":
    asyncio.run(measure(options(__doc__))).print()
