"""Several workers at once over what is due, none left behind however they end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

__all__ = ["side_by_side"]


async def side_by_side(work: Callable[[], Awaitable[None]], count: int) -> None:
    """Run `work` in `count` tasks. The first error, or a cancellation, ends them all and is raised when they have."""
    workers = [asyncio.ensure_future(work()) for _ in range(count)]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
