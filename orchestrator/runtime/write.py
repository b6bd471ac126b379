"""Generate one step: usually one call, sometimes several that belong together."""

from __future__ import annotations

from orchestrator.engines.base import Completion
from orchestrator.engines.step_stream import is_open
from orchestrator.runtime.run import ANSWER, Run, Turn
from orchestrator.types import Step, StepKind, Stop

__all__ = ["write"]

STEP_TOKENS = 512
"""Tokens a step may have where neither the router nor the engine's sampling says."""
TURN_TOKENS = 4096
"""The same for a whole turn: of a chat-only engine, or where a router plans the whole text at once."""
BLANK_CALLS = 3
"""Calls that may go into one step before a step of nothing but white space counts as empty."""


async def write(run: Run, turn: Turn) -> Step:
    """Generate one step; a delimiter inside an open fence or tool call, or before any text, does not end it."""
    index = len(run.history.steps)
    place = (index, turn.attempt)
    sampling = run.samplings[turn.engine]
    if turn.engine in run.chat_only:
        limit = sampling.max_tokens or turn.max_tokens or TURN_TOKENS
        whole = await run.call.turn(turn.engine, run.history.task.messages, turn.purpose, place, sampling, limit)
        return _step(index, turn, [whole])
    prompt = await run.stream.prefix(turn.engine)
    default = TURN_TOKENS if turn.whole or run.chat_only else STEP_TOKENS
    own = None if turn.whole else sampling.max_tokens  # which is a step's
    left = min(filter(None, (turn.max_tokens, own)), default=default)
    stop = () if turn.whole or turn.purpose == ANSWER or run.chat_only else (run.delimiter,)
    parts: list[Completion] = []
    while True:
        part = await run.call(
            turn.engine,
            turn.purpose,
            prompt,
            place=place,
            sampling=sampling,
            max_tokens=left,
            logprobs=turn.logprobs,
            stop=stop,
        )
        parts.append(part)
        left -= part.output_tokens
        if part.stop is not Stop.DELIMITER or left <= 0 or not _goes_on(parts):
            return _step(index, turn, parts)
        prompt = prompt.extended(part.ids)


def _goes_on(parts: list[Completion]) -> bool:
    text = parts[0].text if len(parts) == 1 else "".join(part.text for part in parts)
    return is_open(text) or (not text.strip() and len(parts) < BLANK_CALLS)


def _step(index: int, turn: Turn, parts: list[Completion]) -> Step:
    first = parts[0]
    is_single = len(parts) == 1
    return Step(
        index=index,
        attempt=turn.attempt,
        writer=turn.engine,
        text=first.text if is_single else "".join(part.text for part in parts),
        ids=first.ids if is_single else [id for part in parts for id in part.ids],
        num_tokens=sum(part.output_tokens for part in parts),
        stop=parts[-1].stop,
        kind=StepKind.ANSWER if turn.purpose == ANSWER else StepKind.THOUGHT,
        logprobs=[entry for part in parts for entry in part.logprobs or ()] if turn.logprobs else None,
        seconds=sum(part.seconds for part in parts),
    )
