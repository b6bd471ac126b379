"""Every engine call of a run goes through here: replayed if it was made before, else reserved,
journaled, sent, retried, settled and counted.

The intent is on disk before the request leaves and the result before anything is built on it, so a
process that dies at any instant leaves either a finished call, which a resume reads back, or an
intent without a result, which it books as interrupted.
"""

from __future__ import annotations

import asyncio
from array import array
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from json import dumps, loads
from time import monotonic, time
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.engines.base import Completion, Drafting, Engine, Prefix, Progress, Request, Schema
from orchestrator.engines.retry import RetryPolicy, retry
from orchestrator.errors import ContextExceeded, EngineError, EngineUnavailable, LimitExceeded
from orchestrator.ledger import Entry, Fate, Ledger
from orchestrator.memory.base import CallIntent, CallResult
from orchestrator.memory.journal import Journal
from orchestrator.runtime.budget import Spender
from orchestrator.tools.base import ERROR, Observation
from orchestrator.types import Message, Sampling, Stop, TokenLogprob

if TYPE_CHECKING:
    from orchestrator.runtime.ahead import AheadCalls

__all__ = ["TOOL", "WRITING", "Booked", "Calls", "call_seed", "completion_of", "drafting_of", "entry_of", "run_seed"]

WRITING = frozenset({"draft", "rewrite", "alternative", "answer"})
"""Purposes of calls whose text may become a step."""
TOOL = "tool"
"""Purpose of a call that is made to a tool: no tokens, and the tool's name stands for the engine's."""
REST_S = 30.0
"""An engine that stayed unavailable through all retries is left alone for this long."""

Booked = tuple[str, str, Entry]
"""Engine, purpose and sums of a call that was counted as used."""
Place = tuple[int, int]
"""The step and the attempt a call belongs to."""


class _Key(NamedTuple):
    """What two calls have in common of which the second is answered with the result of the first."""

    step: int
    attempt: int
    purpose: str
    engine: str
    seed: int
    digest: bytes


class Asked(NamedTuple):
    """A call before its first attempt."""

    engine: str
    place: Place
    request: Request
    digest: bytes
    prompt_tokens: int
    """What to reserve for the prompt: its tokens, or a bound where only the server can count them."""

    @property
    def key(self) -> _Key:
        """What it has in common with the same call of an earlier session."""
        ask = self.request
        return _Key(*self.place, ask.purpose, self.engine, ask.seed, self.digest)


class Sent(NamedTuple):
    """A call that was answered, not yet in the ledger."""

    completion: Completion
    entry: Entry


def run_seed(seed: int, messages: str) -> int:
    """Return a run's seed, in [0, 2**63): another one for every prompt, the same one every time."""
    named = f"{seed}:{messages}".encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(named, digest_size=8).digest()) >> 1


def call_seed(run_seed: int, step: int, purpose: str, attempt: int) -> int:
    """Return the seed of a call, in [0, 2**31): the same call of the same run always draws the same."""
    named = f"{run_seed}:{step}:{purpose}:{attempt}".encode()
    return int.from_bytes(blake2b(named, digest_size=4).digest()) >> 1


class Calls:
    """The calls of one run. `resting` holds the engines that are left alone for a while; None: none ever is."""

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
        resting: dict[str, float] | None,
    ) -> None:
        self.booked: dict[Place, list[Booked]] = {}
        """Writing calls behind candidates that are neither kept nor thrown away yet, by step and attempt."""
        self.next_seq = 0
        self.ahead: AheadCalls | None = None
        """The calls that are sent before their turn; None where nothing is."""
        self.measured: set[Place] = set()
        """Places whose signals an earlier session stored: its calls that measured there count, asked again or not."""
        self._under_way: set[asyncio.Task[object]] = set()
        self._is_over = False
        self.means = (run, seed, engines, contexts, journal, ledger, spender, policy, resting)
        """What it was made with: others can be made to work beside it."""
        self._run = run
        self._seed = seed
        self._engines = engines
        self._contexts = contexts
        self._journal = journal
        self._ledger = ledger
        self._spender = spender
        self._policy = policy
        self._resting = resting
        self._finished: dict[_Key, list[CallResult]] = {}
        self._cut_off: Counter[_Key] = Counter()
        self.made: dict[Place, dict[bytes, str]] = {}
        """Tools that have answered, by the place and the digest of the call."""

    def replay(self, intent: CallIntent, result: CallResult) -> None:
        """Remember a finished call of an earlier session: asked for again, it is answered from here."""
        key = _Key(intent.step, intent.attempt, intent.purpose, intent.engine, intent.seed, intent.digest)
        self._finished.setdefault(key, []).append(result)

    def recall(self, intent: CallIntent, *, is_done: bool) -> None:
        """Remember a call of a tool that an earlier session made, or began and did not see the end of."""
        place = (intent.step, intent.attempt)
        if is_done:
            self.made.setdefault(place, {})[intent.digest] = intent.engine
        else:
            self._cut_off[_Key(*place, TOOL, intent.engine, 0, intent.digest)] += 1

    def times_cut_off(self, name: str, place: Place, digest: bytes) -> int:
        """Return how often the same call of a tool was begun while nobody knows what came of it."""
        return 0 if digest in self.made.get(place, {}) else self._cut_off[_Key(*place, TOOL, name, 0, digest)]

    def begun(self, place: Place) -> set[str]:
        """Return the tools that were called at a place; of some nobody may know whether they did anything."""
        cut_off = {key.engine for key in self._cut_off if (key.step, key.attempt) == place}
        return cut_off.union(self.made.get(place, {}).values())

    async def tool(
        self, name: str, place: Place, digest: bytes, make: Callable[[], Awaitable[Observation]]
    ) -> Observation:
        """Return what a tool answers to the call that `digest` names: journaled before and after, made once."""
        key = _Key(*place, TOOL, name, 0, digest)
        if self._finished.get(key):
            earlier = self._finished[key].pop()
            return Observation(earlier.text, earlier.seconds, earlier.text.startswith(ERROR))
        seq, started = self.number(), time()
        self._journal.intent(CallIntent(self._run, seq, *place, TOOL, name, 0, digest, 0, 0, started))
        seen: Observation | None = None
        try:
            await self._journal.written(self._run)
            seen = await make()
            self.made.setdefault(place, {})[digest] = name
        finally:
            status, text = ("done", seen.text) if seen else ("aborted", "")
            result = _tool_result(self._run, seq, status, text, time() - started)
            self._ledger.add(name, TOOL, Fate.USED if seen else Fate.INTERRUPTED, entry_of(result))
            self._journal.result(result)
            self._journal.commit(self._run)
        return seen

    def take(self, place: Place) -> list[Booked]:
        """Return, once, the writing calls of the candidate at `place`, which is kept."""
        return self.booked.pop(place, [])

    def leave(self, step: int | None = None) -> list[Booked]:
        """Return, once, the writing calls of every other candidate of `step`, None for all: their text did not stand.

        Replayed calls that nobody asked for again are among them. What was booked for other steps stays.
        """
        left: list[Booked] = []
        for place in [place for place in self.booked if step in (None, place[0])]:
            left += self.booked.pop(place)
        for key in [key for key in self._finished if step in (None, key.step)]:
            results = self._finished.pop(key)
            if key.purpose in WRITING:
                left += [(key.engine, key.purpose, entry_of(result)) for result in results]
        return left

    async def __call__(
        self,
        engine: str,
        purpose: str,
        prompt: Prefix,
        *,
        place: Place,
        sampling: Sampling,
        max_tokens: int,
        logprobs: int = 0,
        stop: tuple[str, ...] = (),
        drawn_as: tuple[str, int] | None = None,
        think_budget: int | None = None,
    ) -> Completion:
        """Return what `engine` answers to a call for the step and attempt at `place`.

        `drawn_as` names a purpose and an attempt whose seed it has, where these are not its own.
        Raises LimitExceeded before sending if the budget leaves the call no token, and EngineError
        when retries are used up.
        """
        prompt_tokens = len(prompt)
        room = self._contexts[engine] - prompt_tokens
        if room < 1:
            raise ContextExceeded.of(engine, prompt_tokens, self._contexts[engine])
        ask = Request(
            prompt=prompt,
            sampling=sampling,
            max_tokens=min(max_tokens, room),
            seed=call_seed(self._seed, place[0], *(drawn_as or (purpose, place[1]))),
            purpose=purpose,
            stop=stop,
            logprobs=logprobs,
            think_budget=think_budget,
        )
        return await self._ask(Asked(engine, place, ask, prompt.digest, prompt_tokens))

    async def turn(
        self,
        engine: str,
        messages: tuple[Message, ...],
        purpose: str,
        place: Place,
        sampling: Sampling,
        max_tokens: int,
        tools: tuple[Schema, ...] = (),
    ) -> Completion:
        """Return the whole turn that a chat-only engine answers with.

        How many tokens its prompt has only the server knows; no tokenizer makes more of them than bytes.
        """
        named = dumps(messages).encode()
        ask = Request(
            messages=messages,
            tools=tools,
            sampling=sampling,
            max_tokens=max_tokens,
            seed=call_seed(self._seed, place[0], purpose, place[1]),
            purpose=purpose,
        )
        texts = [*(message.content for message in messages), *(dumps(schema) for schema in tools)]
        bound = sum(len(text.encode("utf-8", "replace")) for text in texts)
        return await self._ask(Asked(engine, place, ask, blake2b(named, digest_size=16).digest(), bound))

    async def _ask(self, asked: Asked) -> Completion:
        if self._finished and (earlier := self.laid_ready(asked)) is not None:
            self._finished[asked.key].remove(earlier)
            return self._again(asked, earlier)
        if self.ahead is not None and (sent := await self.ahead.claim(asked)) is not None:
            return self._stands(asked, sent)
        self._check_rest(asked.engine)
        if self._is_over:
            raise asyncio.CancelledError("the run is over, or another session goes on with it")

        async def attempt(number: int) -> Completion:
            return await self._send(asked, is_first=number == 0)

        task = asyncio.current_task()
        assert task is not None
        self._under_way.add(task)
        try:
            return await retry(attempt, self._policy)
        except EngineUnavailable:
            if self._resting is not None:
                self._resting[asked.engine] = monotonic() + REST_S
            raise
        finally:
            self._under_way.discard(task)

    def laid_ready(self, asked: Asked) -> CallResult | None:
        """Return the result of the same call among those that an earlier session finished, None if there is none."""
        ask = asked.request
        # Two scorers may have asked the same thing, only one of them with logprobs.
        needs_logprobs = ask.logprobs > 0 and ask.purpose not in WRITING
        finished = self._finished.get(asked.key, ())
        return next((result for result in finished if result.logprobs or not needs_logprobs or not result.ids), None)

    def drop_laid_ready(self, is_dropped: Callable[[Place], bool]) -> list[int]:
        """Book what lies ready for the places that `is_dropped` names as discarded; return the numbers of the calls."""
        seqs: list[int] = []
        for key in [key for key in self._finished if is_dropped((key.step, key.attempt)) and not self._counts(key)]:
            for result in self._finished.pop(key):
                self._ledger.discard(key.engine, key.purpose, entry_of(result))
                seqs.append(result.seq)
        return seqs

    def _counts(self, key: _Key) -> bool:
        return key.purpose not in WRITING and (key.step, key.attempt) in self.measured

    async def cut_off(self) -> None:
        """Cancel what is still under way, such as what a router began and did not wait for; return when it has ended.

        A run ends, or is let go, only then: a result that comes later would have no run to be written to. No call is
        sent after that.
        """
        self._is_over = True
        loop = asyncio.get_running_loop()
        begun = [task for task in self._under_way if task.get_loop() is loop and task is not asyncio.current_task()]
        for task in begun:
            task.cancel()
        if begun:
            await asyncio.wait(begun)

    def _again(self, asked: Asked, result: CallResult) -> Completion:
        self._note(asked.place, (asked.engine, asked.request.purpose, entry_of(result)))
        return completion_of(result)

    def _note(self, place: Place, call: Booked) -> None:
        if call[1] in WRITING:
            self.booked.setdefault(place, []).append(call)

    def _check_rest(self, engine: str) -> None:
        until = self._resting.get(engine) if self._resting else None
        if until is not None and monotonic() < until:
            message = f"engine {engine!r} did not answer a moment ago and is left alone for {REST_S:g} s"
            raise EngineUnavailable(message, engine=engine, was_sent=False)

    async def _send(self, asked: Asked, *, is_first: bool) -> Completion:
        engine, place, request, digest, prompt_tokens = asked
        if self.ahead is None:
            granted = self._spender.reserve(engine, prompt_tokens, request.max_tokens)
        else:
            granted = await self._reserve(asked, self.ahead)
        if granted != request.max_tokens or not is_first:  # every attempt counts its tokens for itself
            request = replace(request, max_tokens=granted, progress=Progress())
            asked = Asked(engine, place, request, digest, prompt_tokens)
        return self._stands(asked, await self._exchange(asked, self.number()))

    async def _reserve(self, asked: Asked, ahead: AheadCalls) -> int:
        """Return the tokens that a call gets; what is under way ahead gives way where it would get fewer beside it."""
        wanted = (asked.engine, asked.prompt_tokens, asked.request.max_tokens)
        if ahead.is_busy:
            try:
                self._spender.reserve_whole(*wanted)
                return asked.request.max_tokens
            except LimitExceeded:
                await ahead.make_room()
        return self._spender.reserve(*wanted)

    def _stands(self, asked: Asked, sent: Sent) -> Completion:
        """Book an answered call as used."""
        self._ledger.add(asked.engine, asked.request.purpose, Fate.USED, sent.entry)
        self._note(asked.place, (asked.engine, asked.request.purpose, sent.entry))
        return sent.completion

    def number(self) -> int:
        """Return the number of the next call."""
        self.next_seq += 1
        return self.next_seq - 1

    async def _exchange(self, asked: Asked, seq: int) -> Sent:
        """Send a call whose tokens are reserved and return the answer; what it took is settled and journaled then."""
        engine, place, request, digest, prompt_tokens = asked
        granted = request.max_tokens
        started = time()
        self._journal.intent(
            CallIntent(
                self._run,
                seq,
                *place,
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
            await self._journal.written(self._run)
            completion = await self._engines[engine].complete(request)
        except (EngineError, asyncio.CancelledError) as error:
            self._book_failure(seq, engine, request, prompt_tokens, error, time() - started)
            raise
        result = _result_of(self._run, seq, completion)
        entry = entry_of(result)
        self._spender.settle(engine, prompt_tokens, granted, entry)
        self._journal.result(result)
        return Sent(completion, entry)

    def _book_failure(
        self,
        seq: int,
        engine: str,
        request: Request,
        prompt_tokens: int,
        error: EngineError | asyncio.CancelledError,
        seconds: float,
    ) -> None:
        is_ours = isinstance(error, asyncio.CancelledError)
        was_sent = not isinstance(error, EngineUnavailable) or error.was_sent
        told = error.output_tokens if isinstance(error, EngineError) else 0
        result = CallResult(
            self._run,
            seq,
            "aborted" if is_ours else "failed",
            text="",
            ids=b"",
            stop="",
            stop_text="",
            prompt_tokens=prompt_tokens if was_sent else 0,
            cached_tokens=None,
            output_tokens=max(request.progress.output_tokens, told),
            uncertain=int(was_sent),
            seconds=seconds,
            first_token_s=None,
            error="" if is_ours else str(error),
            logprobs=None,
        )
        entry = entry_of(result)
        self._spender.settle(engine, prompt_tokens, request.max_tokens, entry)
        self._ledger.add(engine, request.purpose, Fate.INTERRUPTED if is_ours else Fate.FAILED, entry)
        self._journal.result(result)
        if is_ours:
            self._journal.commit(self._run)  # a failure goes to disk together with what is decided about it


def entry_of(result: CallResult) -> Entry:
    """Return what a stored call used."""
    return Entry(
        calls=1,
        prompt_tokens=result.prompt_tokens,
        cached_tokens=result.cached_tokens or 0,
        output_tokens=result.output_tokens,
        uncertain=result.uncertain,
        drafts=result.drafts or 0,
        drafted=result.drafted or 0,
        accepted=result.accepted or 0,
        seconds=result.seconds,
        first_token_s=result.first_token_s or 0.0,
        streamed=int(result.first_token_s is not None),
        queue_s=result.queue_s or 0.0,
        queued=int(result.queue_s is not None),
    )


def _tool_result(run: int, seq: int, status: str, text: str, seconds: float) -> CallResult:
    return CallResult(
        run,
        seq,
        status,
        text=text,
        ids=b"",
        stop="",
        stop_text="",
        prompt_tokens=0,
        cached_tokens=None,
        output_tokens=0,
        uncertain=0,
        seconds=seconds,
        first_token_s=None,
        error="",
        logprobs=None,
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
        completion.queue_s,
        *(completion.drafting or (None, None, None)),
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
        queue_s=result.queue_s,
        drafting=drafting_of(result),
    )


def drafting_of(result: CallResult) -> Drafting | None:
    """Return what speculative decoding did in a stored call, None where its server did not say."""
    if result.drafts is None or result.drafted is None or result.accepted is None:
        return None
    return Drafting(result.drafts, result.drafted, result.accepted)


def _logprobs(rows: Sequence[Sequence]) -> tuple[TokenLogprob, ...]:  # type: ignore[type-arg]
    return tuple(TokenLogprob(row[0], row[1], row[2], _logprobs(row[3])) for row in rows)
