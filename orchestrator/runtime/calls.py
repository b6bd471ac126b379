"""Every engine call of a run goes through here: replayed if it was made before, else reserved,
journaled, sent, retried, settled and counted.

The intent is on disk before the request leaves and the result before anything is built on it, so a
process that dies at any instant leaves either a finished call, which a resume reads back, or an
intent without a result, which it books as interrupted.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from json import dumps, loads
from time import monotonic, time

from orchestrator.engines.base import Completion, Engine, Prefix, Progress, Request
from orchestrator.engines.retry import RetryPolicy, retry
from orchestrator.errors import ContextExceeded, EngineError, EngineUnavailable
from orchestrator.ledger import Entry, Fate, Ledger
from orchestrator.memory.base import CallIntent, CallResult
from orchestrator.memory.journal import Journal
from orchestrator.runtime.budget import Spender
from orchestrator.types import Message, Sampling, Stop, TokenLogprob

__all__ = ["WRITING", "Booked", "Calls", "call_seed", "completion_of", "entry_of"]

WRITING = frozenset({"draft", "rewrite", "answer"})
"""Purposes of calls whose text may become a step."""
REST_S = 30.0
"""An engine that stayed unavailable through all retries is left alone for this long."""

Booked = tuple[str, str, Entry]
"""Engine, purpose and sums of a call that was counted as used."""


def call_seed(run_seed: int, step: int, purpose: str, attempt: int) -> int:
    """Return the seed of a call, in [0, 2**31): the same call of the same run always draws the same."""
    named = f"{run_seed}:{step}:{purpose}:{attempt}".encode()
    return int.from_bytes(blake2b(named, digest_size=4).digest()) >> 1


class Calls:
    """The calls of one run. The loop says with `begin` which step and attempt they belong to."""

    def __init__(
        self,
        run: int,
        seed: int,
        engines: Mapping[str, Engine],
        contexts: Mapping[str, int],
        journal: Journal,
        ledger: Ledger,
        spender: Spender,
        policy: RetryPolicy,
        resting: dict[str, float],
    ) -> None:
        self.step = 0
        self.attempt = 0
        self.booked: list[Booked] = []
        """Writing calls of the current attempt, for the case that it is discarded."""
        self.next_seq = 0
        self._run = run
        self._seed = seed
        self._engines = engines
        self._contexts = contexts
        self._journal = journal
        self._ledger = ledger
        self._spender = spender
        self._policy = policy
        self._resting = resting
        self._finished: dict[tuple[int, int, str, str, bytes], list[CallResult]] = {}

    def begin(self, step: int, attempt: int) -> None:
        """Say which step and attempt the next calls belong to."""
        self.step = step
        self.attempt = attempt
        self.booked = []

    def replay(self, intent: CallIntent, result: CallResult) -> None:
        """Remember a finished call of an earlier session: asked for again, it is answered from here."""
        key = (intent.step, intent.attempt, intent.purpose, intent.engine, intent.digest)
        self._finished.setdefault(key, []).append(result)

    def leftovers(self) -> list[Booked]:
        """Return, once, the replayed writing calls that nobody asked for again: their text did not stand."""
        left = [
            (engine, purpose, entry_of(result))
            for (_, _, purpose, engine, _), results in self._finished.items()
            for result in results
            if purpose in WRITING
        ]
        self._finished.clear()
        return left

    async def __call__(
        self,
        engine: str,
        purpose: str,
        prompt: Prefix,
        *,
        sampling: Sampling,
        max_tokens: int,
        logprobs: int = 0,
        stop: tuple[str, ...] = (),
    ) -> Completion:
        """Return what `engine` answers.

        Raises LimitExceeded before sending if the budget leaves the call no token, and EngineError
        when retries are used up.
        """
        room = self._contexts[engine] - len(prompt)
        if room < 1:
            raise _too_long(engine, len(prompt), self._contexts[engine])
        ask = Request(
            prompt=prompt,
            sampling=sampling,
            max_tokens=min(max_tokens, room),
            seed=call_seed(self._seed, self.step, purpose, self.attempt),
            purpose=purpose,
            stop=stop,
            logprobs=logprobs,
        )
        return await self._ask(engine, ask, prompt.digest, len(prompt))

    async def turn(self, engine: str, messages: tuple[Message, ...], purpose: str, sampling: Sampling) -> Completion:
        """Return the whole turn that a chat-only engine answers with; how long its prompt is only the server knows."""
        ask = Request(
            messages=messages,
            sampling=sampling,
            max_tokens=sampling.max_tokens,
            seed=call_seed(self._seed, self.step, purpose, self.attempt),
            purpose=purpose,
        )
        return await self._ask(engine, ask, blake2b(dumps(messages).encode(), digest_size=16).digest(), 0)

    async def _ask(self, engine: str, ask: Request, digest: bytes, prompt_tokens: int) -> Completion:
        if self._finished:
            earlier = self._finished.get((self.step, self.attempt, ask.purpose, engine, digest), [])
            # Two scorers may have asked the same thing, only one of them with logprobs.
            needs_logprobs = ask.logprobs > 0 and ask.purpose not in WRITING
            fitting = next((result for result in earlier if result.logprobs or not needs_logprobs), None)
            if fitting is not None:
                earlier.remove(fitting)
                return self._again(engine, ask.purpose, fitting)
        self._check_rest(engine)

        async def attempt(number: int) -> Completion:
            return await self._send(engine, ask, digest, prompt_tokens, is_first=number == 0)

        try:
            return await self._within_time(retry(attempt, self._policy))
        except EngineUnavailable:
            self._resting[engine] = monotonic() + REST_S
            raise

    def _again(self, engine: str, purpose: str, result: CallResult) -> Completion:
        completion = completion_of(result)
        if purpose in WRITING:
            self.booked.append((engine, purpose, entry_of(result)))
        return completion

    def _check_rest(self, engine: str) -> None:
        until = self._resting.get(engine)
        if until is not None and monotonic() < until:
            message = f"engine {engine!r} did not answer a moment ago and is left alone for {REST_S:g} s"
            raise EngineUnavailable(message, engine=engine)

    async def _send(
        self, engine: str, ask: Request, digest: bytes, prompt_tokens: int, *, is_first: bool
    ) -> Completion:
        granted = self._spender.reserve(engine, prompt_tokens, ask.max_tokens)
        request = ask
        if granted != ask.max_tokens or not is_first:  # every attempt counts its tokens for itself
            request = replace(ask, max_tokens=granted, progress=Progress())
        seq = self.next_seq
        self.next_seq += 1
        started = time()
        self._journal.intent(
            CallIntent(
                self._run,
                seq,
                self.step,
                self.attempt,
                request.purpose,
                engine,
                request.seed,
                digest,
                prompt_tokens,
                granted,
                started,
            )
        )
        try:
            await self._journal.written()
            completion = await self._engines[engine].complete(request)
        except (EngineError, asyncio.CancelledError) as error:
            self._book_failure(seq, engine, request, prompt_tokens, error, time() - started)
            raise
        entry = Entry(
            calls=1,
            prompt_tokens=completion.prompt_tokens,
            cached_tokens=completion.cached_tokens or 0,
            output_tokens=completion.output_tokens,
            seconds=completion.seconds,
        )
        self._spender.settle(engine, prompt_tokens, granted, entry)
        is_writing = request.purpose in WRITING
        self._ledger.add(engine, request.purpose, Fate.USED, entry)
        if is_writing:
            self.booked.append((engine, request.purpose, entry))
        self._journal.result(_result_of(self._run, seq, completion))
        return completion

    async def _within_time(self, answer: Awaitable[Completion]) -> Completion:
        remaining_s = self._spender.remaining_s()
        if remaining_s is None:
            return await answer
        try:
            async with asyncio.timeout(remaining_s):
                return await answer
        except TimeoutError:
            self._spender.remaining_s()  # raises LimitExceeded: the run's time is up
            raise

    def _book_failure(
        self,
        seq: int,
        engine: str,
        request: Request,
        prompt_tokens: int,
        error: EngineError | asyncio.CancelledError,
        seconds: float,
    ) -> None:
        told = error.output_tokens if isinstance(error, EngineError) else 0
        arrived = max(request.progress.output_tokens, told)
        entry = Entry(calls=1, prompt_tokens=prompt_tokens, output_tokens=arrived, uncertain=1, seconds=seconds)
        self._spender.settle(engine, prompt_tokens, request.max_tokens, entry)
        self._ledger.add(engine, request.purpose, Fate.FAILED, entry)
        status = "failed" if isinstance(error, EngineError) else "aborted"
        self._journal.result(
            CallResult(
                self._run,
                seq,
                status,
                text="",
                ids=b"",
                stop="",
                stop_text="",
                prompt_tokens=prompt_tokens,
                cached_tokens=None,
                output_tokens=arrived,
                uncertain=1,
                seconds=seconds,
                first_token_s=None,
                error=str(error) if status == "failed" else "",
                logprobs=None,
            )
        )
        if status == "aborted":
            self._journal.commit()  # a failure goes to disk together with what is decided about it


def _too_long(engine: str, prompt_tokens: int, context: int) -> ContextExceeded:
    message = (
        f"the prompt has {prompt_tokens} tokens and engine {engine!r} a context of {context}: "
        "shorten the prompt or serve the model with a longer context"
    )
    return ContextExceeded(message, engine=engine, prompt_tokens=prompt_tokens, context=context)


def entry_of(result: CallResult) -> Entry:
    """Return what a stored call used."""
    return Entry(
        calls=1,
        prompt_tokens=result.prompt_tokens,
        cached_tokens=result.cached_tokens or 0,
        output_tokens=result.output_tokens,
        uncertain=result.uncertain,
        seconds=result.seconds,
    )


def _result_of(run: int, seq: int, completion: Completion) -> CallResult:
    return CallResult(
        run,
        seq,
        "done",
        completion.text,
        array("i", completion.ids).tobytes(),
        completion.stop.value,
        completion.stop_text,
        completion.prompt_tokens,
        completion.cached_tokens,
        completion.output_tokens,
        0,
        completion.seconds,
        completion.first_token_s,
        "",
        dumps(completion.logprobs) if completion.logprobs else None,
    )


def completion_of(result: CallResult) -> Completion:
    """Return a stored call as the engine answered it."""
    return Completion(
        text=result.text,
        ids=array("i", result.ids).tolist(),
        stop=Stop(result.stop),
        stop_text=result.stop_text,
        prompt_tokens=result.prompt_tokens,
        cached_tokens=result.cached_tokens,
        output_tokens=result.output_tokens,
        logprobs=_logprobs(loads(result.logprobs)) if result.logprobs else None,
        seconds=result.seconds,
        first_token_s=result.first_token_s,
    )


def _logprobs(rows: Sequence[Sequence]) -> tuple[TokenLogprob, ...]:  # type: ignore[type-arg]
    return tuple(TokenLogprob(row[0], row[1], row[2], _logprobs(row[3])) for row in rows)
