"""Trying again."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator.engines.retry import RetryPolicy, retry
from orchestrator.errors import EngineError, EngineProtocol, EngineRejected, EngineTimeout, EngineUnavailable


def unavailable(wish_s: float | None = None) -> EngineUnavailable:
    return EngineUnavailable("down", engine="small", retry_after_s=wish_s)


class Play:
    """Attempts that fail as listed and then succeed; waits are noted, not slept."""

    def __init__(self, *failures: BaseException, draw: float = 1.0) -> None:
        self.failures = list(failures)
        self.draw = draw
        self.numbers: list[int] = []
        self.waits: list[float] = []

    async def attempt(self, number: int) -> str:
        self.numbers.append(number)
        if self.failures:
            raise self.failures.pop(0)
        return "done"

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)

    async def run(self, policy: RetryPolicy | None = None) -> str:
        return await retry(
            self.attempt,
            policy or RetryPolicy(),
            draw=lambda: self.draw,
            sleep=self.sleep,
        )


async def test_a_success_is_returned_at_once() -> None:
    play = Play()
    assert await play.run() == "done"
    assert (play.numbers, play.waits) == ([0], [])


async def test_waits_double_up_to_the_cap() -> None:
    play = Play(*(unavailable() for _ in range(7)))
    assert await play.run(RetryPolicy(attempts=8)) == "done"
    assert play.waits == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0]
    assert play.numbers == list(range(8))


async def test_waits_are_drawn_from_zero_up() -> None:
    play = Play(unavailable(), unavailable(), draw=0.0)
    await play.run()
    assert play.waits == [0.0, 0.0]


async def test_the_last_error_is_raised_when_attempts_run_out() -> None:
    errors = [unavailable() for _ in range(4)]
    play = Play(*errors)
    with pytest.raises(EngineUnavailable) as raised:
        await play.run()
    assert raised.value is errors[3]
    assert len(play.waits) == 3
    assert play.numbers == [0, 1, 2, 3]


async def test_a_timeout_is_worth_another_attempt() -> None:
    play = Play(EngineTimeout("slow", engine="small", limit_s=1, elapsed_s=1))
    assert await play.run() == "done"


@pytest.mark.parametrize("kind", [EngineRejected, EngineProtocol])
async def test_what_will_not_pass_is_raised_at_once(kind: type[EngineError]) -> None:
    play = Play(kind("no", engine="small"))
    with pytest.raises(kind):
        await play.run()
    assert (play.numbers, play.waits) == ([0], [])


async def test_the_server_s_wish_is_a_lower_bound() -> None:
    play = Play(unavailable(20.0), draw=1.0)
    await play.run()
    assert play.waits == [20.25]


async def test_a_wish_beyond_our_patience_ends_the_attempts() -> None:
    play = Play(unavailable(3600.0))
    with pytest.raises(EngineUnavailable):
        await play.run()
    assert play.waits == []


@pytest.mark.parametrize("foreign", [asyncio.CancelledError(), KeyError("ours"), TimeoutError()])
async def test_other_exceptions_pass_untouched(foreign: BaseException) -> None:
    play = Play(foreign)
    with pytest.raises(type(foreign)):
        await play.run()
    assert play.numbers == [0]


async def test_by_default_waits_really_pass() -> None:
    play = Play(unavailable(0.05))
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert await retry(play.attempt, RetryPolicy(base_s=0.001)) == "done"
    assert loop.time() - began >= 0.045
