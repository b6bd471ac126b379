"""Engines and pipelines without a model, for benchmarks: what they say costs next to nothing to make up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal

from orchestrator.engines.base import Completion, Request
from orchestrator.engines.scripted import Scripted
from orchestrator.routers.specreason import SpecReason
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.types import Budget

__all__ = ["KEPT", "REJECTED", "judged", "pipeline", "thought", "yielding"]

KEPT, REJECTED = "9", "2"
"""What the judge says for every draft to stand, or for none to."""
_NO_LIMIT = 1 << 40

Say = Callable[[Request], str | Awaitable[str]]


def thought(number: int) -> str:
    """Return a step of some 35 words that no other number gives."""
    return (
        f"Step {number}: we know that {number} times 38 is {number * 38}, so the two remaining terms of the sum stay "
        f"as they are, and when {number * 7} is taken away from it what is left over is {number * 31}, which we keep "
        "for the next line.\n\n"
    )


def judged(verdict: str) -> Say:
    """Return a script that writes thoughts, and gives `verdict` whenever it is asked to judge."""
    written = 0

    def say(request: Request) -> str:
        nonlocal written
        if request.purpose == "judge":
            return verdict
        written += 1
        return thought(written)

    return say


def yielding(say: Say) -> Say:
    """Return `say` behind one turn of the event loop, so that concurrent runs really take turns."""

    async def answer(request: Request) -> str:
        await asyncio.sleep(0)
        said = say(request)
        return said if isinstance(said, str) else await said

    return answer


def pipeline(say: Say, db: Path, steps: int, granularity: Literal["steps", "fused"], router: Any = None) -> Pipeline:
    """Return a pipeline whose two engines say `say` and whose runs end after `steps` steps.

    The default router is SpecReason with its judge. Both of its token limits and the budget's are
    there, and out of reach.
    """
    engines = {name: _Forgetful(say) for name in ("small", "large")}
    return Pipeline(
        engines,
        router or SpecReason(total_tokens=_NO_LIMIT),
        budget=Budget(tokens=_NO_LIMIT, steps=steps),
        db=db,
        granularity=granularity,
    )


class _Forgetful(Scripted):
    """A scripted engine that does not collect its requests: that is an aid to tests and not what is measured."""

    async def complete(self, request: Request) -> Completion:
        self.requests.clear()
        return await super().complete(request)
