"""`orchestrator doctor`: one line for everything a run needs."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from orchestrator.cli.source import engine_flags

if TYPE_CHECKING:
    from orchestrator.engines.base import Capabilities, Engine
    from orchestrator.engines.embedding import Embedding
    from orchestrator.runtime.pipeline import Pipeline

__all__ = ["doctor"]

_PACKAGES = ("aiohttp", "click", "langgraph", "pydantic", "rich", "sqlite-utils", "xllamacpp")
_CALL_TOKENS = 16
_SLOWEST_CALL_S = 60.0
_ASKED = "How many tiles are needed for a floor of 3 by 4 metres, if each one is half a metre wide?"
_DOUBTS = {
    "samples": "what it samples is broken",
    "sampling_trial": "what it samples could not be tried",
    "prefix_cache": "its prefix cache is in doubt",
}
"""Of what is missing, that which spoils a run in silence."""


class Finding(NamedTuple):
    """One line of the report."""

    state: str
    """`ok`, `warn` or `fail`."""
    what: str
    found: str
    code: int = 0
    """Exit code it asks for; 0 unless it failed."""


@click.command(epilog="Example: orchestrator doctor --small http://127.0.0.1:8001 --large http://127.0.0.1:8002")
@engine_flags
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line of the report.")
def doctor(as_json: bool, **given: Any) -> int:
    """Check that everything a run needs is there: packages, database, configuration, engines.

    Each engine is started and asked for a few tokens. Exit code: 0 if nothing failed, 3 if only
    engines did, else 2.
    """
    return asyncio.run(_report(given, as_json=as_json))


async def _report(given: Mapping[str, Any], *, as_json: bool) -> int:
    from orchestrator.cli.streams import say, say_json

    codes: set[int] = {0}
    async for finding in _findings(given):
        codes.add(finding.code)
        if as_json:
            say_json({"state": finding.state, "what": finding.what, "found": finding.found})
        else:
            say(f"{finding.state:<4}  {finding.what:<12} {finding.found}")
    return 2 if 2 in codes else max(codes)


async def _findings(given: Mapping[str, Any]) -> AsyncIterator[Finding]:
    for finding in (*_machine(), _database(given)):
        yield finding
    async for finding in _engines(given):
        yield finding


def _machine() -> Iterator[Finding]:
    from importlib.metadata import PackageNotFoundError, version

    from orchestrator.memory.sqlite_features import sqlite_features

    yield Finding("ok", "python", sys.version.split()[0])
    for name in _PACKAGES:
        try:
            yield Finding("ok", name, version(name))
        except PackageNotFoundError:
            yield Finding("fail", name, "not installed: pip install reasoning-orchestrator", 2)
    features = sqlite_features()
    if features.has_fts5:
        yield Finding("ok", "sqlite", f"{features.version} with full-text search")
    else:
        yield Finding("warn", "sqlite", f"{features.version} without full-text search (FTS5): runs work without it")


def _database(given: Mapping[str, Any]) -> Finding:
    from pathlib import Path

    from orchestrator.cli.stored import journal_path
    from orchestrator.errors import BadConfig, StoreError
    from orchestrator.memory.journal import Journal
    from orchestrator.memory.store import Store

    try:
        path = journal_path(given)
        if str(path) == ":memory:":
            return Finding("warn", "database", "in memory: no run is kept")
        if not Path(path).exists():
            return Finding("ok", "database", f"{path} will be made by the first run")
        with Store(path, readonly=True) as store:
            held = f"{path}, runs: {Journal(store).counts()['runs']}"
        if os.access(path, os.W_OK) and os.access(Path(path).absolute().parent, os.W_OK):
            return Finding("ok", "database", held)
        return Finding("warn", "database", f"{held}; it cannot be written: choose another with --db")
    except BadConfig:
        return Finding("warn", "database", "unknown: the configuration cannot be read")
    except StoreError as error:
        return Finding("fail", "database", str(error), 2)


async def _engines(given: Mapping[str, Any]) -> AsyncIterator[Finding]:
    from orchestrator.cli.source import open_source
    from orchestrator.errors import EngineError, UserError
    from orchestrator.runtime.calibration import uncalibrated

    try:
        pipeline, _ = await open_source({**given, "quiet": True})  # the list says it all
    except UserError as error:
        yield Finding("fail", "engines", str(error), 2)
        return
    except EngineError as error:
        yield Finding("fail", error.engine, str(error), 3)
        return
    yield Finding("ok", "pipeline", f"engines {', '.join(pipeline.engines)}; router {type(pipeline.router).__name__}")
    if refusal := uncalibrated(pipeline.router, pipeline.calibration):
        yield Finding("warn", "calibration", f"no task can be run yet: {refusal}")
    async with pipeline:
        for finding in _handbook(pipeline):
            yield finding
        if pipeline.handbook_place is not None or pipeline.embedding is not None:
            yield await _recall(pipeline.embedding)
        are_ready = True
        for name, engine in pipeline.engines.items():
            async for finding in _engine(name, engine, measures=name in pipeline.measuring):
                are_ready = are_ready and finding.state != "fail"
                yield finding
        if are_ready:
            async for finding in _judges(pipeline):
                yield finding


async def _engine(name: str, engine: Engine, *, measures: bool) -> AsyncIterator[Finding]:
    from orchestrator.errors import EngineError, UserError

    try:
        can = await engine.start()
        speed = await _speed(engine, can, measures=measures)
    except UserError as error:
        yield Finding("fail", name, str(error), 2)
        return
    except EngineError as error:
        yield Finding("fail", name, str(error), 3)
        return
    said = f"{can.model} on {can.server}, context {can.context}, {_abilities(can)}, {speed}"
    if not can.continues:
        why = can.missing.get("continues", "it is a chat-only API")
        yield Finding("warn", name, f"{said}; it cannot continue a step: {why}")
        return
    yield Finding("ok", name, said)
    for capability, why in can.missing.items():
        if doubt := _DOUBTS.get(capability):
            yield Finding("warn", name, f"{doubt}: {why}")
        else:
            yield Finding("ok", name, f"without {capability.replace('_', ' ')}: {why}")


def _abilities(can: Capabilities) -> str:
    found = [
        "token ids" if can.token_ids else "no token ids",
        f"{can.logprobs} logprobs" if can.logprobs else "no logprobs",
        "cache report" if can.cached_tokens else "no cache report",
    ]
    more = {"call metrics": can.metrics, "speculation": can.speculates, "thinking budget": can.thinking_budget}
    return ", ".join([*found, *(name for name, is_there in more.items() if is_there)])


async def _judges(pipeline: Pipeline) -> AsyncIterator[Finding]:
    from orchestrator.errors import EngineError, UserError
    from orchestrator.runtime.discernment import discern

    try:
        async for judge in discern(pipeline):
            who = f"{judge.engine} rates"
            if judge.reason:
                yield Finding("warn", judge.scorer, f"{who} nothing: {judge.reason}")
                continue
            found = f"{who} a right step {judge.right:.1f} and a wrong one {judge.wrong:.1f}"
            if judge.flaw:
                yield Finding("warn", judge.scorer, f"{found}, {judge.flaw}")
            else:
                yield Finding("ok", judge.scorer, found)
    except UserError as error:
        yield Finding("fail", "pipeline", str(error), 2)
    except EngineError as error:
        yield Finding("fail", error.engine, str(error), 3)


def _handbook(pipeline: Pipeline) -> Iterator[Finding]:
    """Say what runs recall from, and what was said of it in vain."""
    from orchestrator.cli.idle import idle, looked_at
    from orchestrator.cli.streams import counted
    from orchestrator.errors import StoreError

    place = pipeline.handbook_place
    try:
        if place is None:
            yield Finding("ok", "recall", "no handbook is named: runs recall nothing")
        with looked_at(pipeline) as book:
            if book is not None:
                yield Finding("ok", "recall", f"handbook {place}, {counted(len(book.behaviors()), 'behavior')}")
        for told in idle(pipeline):
            yield Finding("warn", "recall", told)
    except StoreError as error:
        yield Finding("fail", "recall", str(error).replace("--db", "--handbook"), 2)


async def _recall(embedding: Embedding | None) -> Finding:
    """Say by what behaviors of a handbook are found."""
    from time import perf_counter

    from orchestrator.errors import EngineError, UserError

    if embedding is None:
        return Finding("ok", "recall", "by words only: no table [embedding] is configured")
    try:
        space = await embedding.space()
        began = perf_counter()
        (vector,) = await embedding.embed([_ASKED])
    except UserError as error:
        return Finding("fail", "recall", str(error), 2)
    except EngineError as error:
        return Finding("warn", "recall", f"by words only, not by meaning: {error}")
    seconds = perf_counter() - began
    return Finding("ok", "recall", f"by words and meaning: {space}, {len(vector)} numbers in {seconds:.3f} s")


async def _speed(engine: Engine, can: Capabilities, *, measures: bool) -> str:
    from orchestrator.engines.base import Chain, Request
    from orchestrator.types import Message, Sampling

    messages = (Message("user", "Count from one to ten."),)
    ids = await engine.render(messages) if can.continues else []
    if measures and can.continues:
        ids += await engine.encode("One, two, three, four, five, six, seven, eight, nine, ten.")
    request = Request(
        prompt=Chain(ids).prefix() if can.continues else None,
        messages=None if can.continues else messages,
        sampling=Sampling(temperature=0.0),
        max_tokens=_CALL_TOKENS,
        seed=0,
        purpose="doctor",
        timeout_s=_SLOWEST_CALL_S,
    )
    completion = await engine.complete(request)
    if measures:
        return f"a measurement in {completion.seconds:.2f} s"
    rate = completion.output_tokens / completion.seconds if completion.seconds else 0.0
    return f"{completion.output_tokens} tokens in {completion.seconds:.2f} s ({rate:.0f}/s)"
