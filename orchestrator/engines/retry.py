"""Try again after a failure that may pass, waiting longer each time and never in step with others.

The wait before attempt n is drawn evenly from [0, min(cap, base * 2**(n-1))] ("full jitter"), so
that many runs which failed together do not come back together. A server's own wish (Retry-After)
is honoured first.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from orchestrator.errors import EngineError, EngineTimeout, EngineUnavailable

__all__ = ["RetryPolicy", "retry"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how patiently."""

    attempts: int = 4
    """Attempts in all, the first included; >= 1."""
    base_s: float = 0.25
    """Longest wait before the second attempt; doubles for each one after it."""
    cap_s: float = 8.0
    """No drawn wait is longer."""
    patience_s: float = 60.0
    """A server that wishes for a longer wait than this is not tried again."""

    def wait_s(self, failures: int, error: EngineError, draw: float) -> float | None:
        """Return the seconds to wait after `failures` failed attempts, or None to give up.

        `draw` is in [0, 1).
        """
        if failures >= self.attempts or error.was_retried or not isinstance(error, EngineUnavailable | EngineTimeout):
            return None
        wish_s = error.retry_after_s if isinstance(error, EngineUnavailable) else None
        if wish_s is None:
            return draw * min(self.cap_s, self.base_s * 2.0 ** (failures - 1))
        return None if wish_s > self.patience_s else wish_s + draw * self.base_s


async def retry(
    attempt: Callable[[int], Awaitable[T]],
    policy: RetryPolicy,
    *,
    draw: Callable[[], float] = random.random,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> T:
    """Return what `attempt(n)` returns, n = 0, 1, ...; raise its last error when the policy gives up.

    Only EngineUnavailable and EngineTimeout are worth another attempt.
    """
    number = 0
    while True:
        try:
            return await attempt(number)
        except EngineError as error:
            wait_s = policy.wait_s(number + 1, error, draw())
            if wait_s is None:
                raise
        await sleep(wait_s)
        number += 1
