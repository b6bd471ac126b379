"""Generate one step: usually one call, sometimes several that belong together."""

from __future__ import annotations

from collections.abc import Sequence
from json import dumps
from time import time
from typing import NamedTuple

from orchestrator.engines.base import Completion
from orchestrator.engines.step_stream import is_open
from orchestrator.memory.base import EventRow
from orchestrator.runtime.calling import is_call
from orchestrator.runtime.in_force import Lead
from orchestrator.runtime.marks import LEAD
from orchestrator.runtime.run import ANSWER, Run, Turn
from orchestrator.think_tags import CLOSES, OPENS
from orchestrator.types import Step, StepKind, Stop

__all__ = ["led", "write"]


STEP_TOKENS = 512
"""Tokens a step may have where neither the router nor the engine's sampling says."""
TURN_TOKENS = 4096
"""The same for a whole turn: of a chat-only engine, or where a router plans the whole text at once."""
BLANK_CALLS = 3
"""Calls that may go into one step before a step of nothing but white space counts as empty."""


async def write(run: Run, turn: Turn) -> Step:
    """Generate one step; a delimiter inside an open fence or tool call, or before any text, does not end it.

    An alternative that lies ready is returned as it is.
    """
    index = len(run.history.steps)
    place = (index, turn.attempt)
    if (ready := run.alternatives.get(place)) is not None:
        return ready
    sampling = run.samplings[turn.engine]
    if (read := run.logprobs_read(turn.engine)) > turn.logprobs:
        turn = turn._replace(logprobs=read)  # who reconsiders reads what stands, whoever wrote it
    if turn.engine in run.chat_only:
        limit = _within(sampling.max_tokens or turn.max_tokens or TURN_TOKENS, run.words_left)
        tools = run.schemas if run.may_act else ()
        whole = await run.call.turn(turn.engine, run.conversation(), turn.purpose, place, sampling, limit, tools)
        return _step(run, turn, [whole], None, is_thinking=False)
    prompt = await run.stream.prefix(turn.engine)
    is_thinking = run.thinking.is_open(turn.engine)
    held = _FREE if run.history.mode is None else _held(run, turn, is_thinking=is_thinking)
    lead = await _lead(run, turn, held.closes + turn.lead, place)
    if lead is not None:
        prompt = prompt.extended(lead.ids)
    default = TURN_TOKENS if turn.whole or run.chat_only else STEP_TOKENS
    own = None if turn.whole else sampling.max_tokens  # which is a step's
    left = min(filter(None, (turn.max_tokens, own)), default=default)
    left = left if held.max_tokens is None else _within(left, held.max_tokens)
    stop = () if turn.whole or turn.purpose == ANSWER or run.chat_only else (run.delimiter,)
    if run.tools is not None and run.may_act:
        stop = (*stop, *run.tools.closers)
    stop = (*stop, *held.stops)
    parts: list[Completion] = []
    think_budget = held.served
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
            drawn_as=turn.drawn_as,
            think_budget=think_budget,
        )
        parts.append(part)
        left -= part.output_tokens
        think_budget = None if think_budget is None else max(1, think_budget - part.output_tokens)
        is_over = part.stop is not Stop.DELIMITER or part.stop_text in held.stops or left <= 0
        if is_over or not _goes_on(parts, lead):
            return _step(run, turn, parts, lead, is_thinking=is_thinking)
        prompt = prompt.extended(part.ids)


class _Held(NamedTuple):
    """What holds a step to the mode's limits."""

    closes: str = ""
    """What it begins with where no more of the thought may be written: its end."""
    max_tokens: int | None = None
    stops: tuple[str, ...] = ()
    """The tag at which it ends, so that thought and other text never share a limit."""
    served: int | None = None
    """What a server is told that ends thoughts by itself."""


_FREE = _Held()


def _held(run: Run, turn: Turn, *, is_thinking: bool) -> _Held:
    budget, closes = run.thought_left, ""
    is_thought = is_thinking and turn.purpose != ANSWER
    if is_thought and budget == 0:
        closes, is_thought = run.probes[turn.engine].closes, False
    limit = None if is_thought else run.words_left
    if budget is None:
        return _Held(closes, limit)
    if turn.engine in run.served_budgets and run.history.mode is not None and run.history.mode.budget is not None:
        return _Held(closes, limit, served=max(budget, 1))
    return _Held(closes, budget, (CLOSES,)) if is_thought else _Held(closes, limit, (OPENS,))


def _within(max_tokens: int, limit: int | None) -> int:
    return max_tokens if limit is None else max(1, min(max_tokens, limit))


async def _lead(run: Run, turn: Turn, text: str, place: tuple[int, int]) -> Lead | None:
    """Return what the step starts with; its ids are journaled before they are used, for they are part of the step's."""
    if not text:
        return None
    lead = run.leads.get(place)
    if lead is None:
        ids = list(await run.stream.words(turn.engine, text))
        lead = run.leads[place] = Lead(text, ids)
        told = {"reason": f"{turn.engine} starts with {text!r}", "attempt": turn.attempt, **lead._asdict()}
        run.journal.event(EventRow(run.key, place[0], LEAD, dumps(told), time()))
    return lead


def _goes_on(parts: list[Completion], lead: Lead | None) -> bool:
    text = parts[0].text if len(parts) == 1 else "".join(part.text for part in parts)
    text = text if lead is None else lead.text + text
    return is_open(text) or (not text.strip() and len(parts) < BLANK_CALLS)


def _step(run: Run, turn: Turn, parts: list[Completion], lead: Lead | None, *, is_thinking: bool) -> Step:
    first = parts[0]
    is_single = len(parts) == 1
    text = first.text if is_single else "".join(part.text for part in parts)
    ids = first.ids if is_single else [id for part in parts for id in part.ids]
    if lead is not None:
        ids = led(lead, text, ids)
        text = lead.text + text
    return Step(
        index=len(run.history.steps),
        attempt=turn.attempt,
        writer=turn.engine,
        text=text,
        ids=ids,
        num_tokens=sum(part.output_tokens for part in parts),
        stop=parts[-1].stop,
        kind=_kind(run, turn, text, is_thinking=is_thinking),
        logprobs=[entry for part in parts for entry in part.logprobs or ()] if turn.logprobs else None,
        seconds=sum(part.seconds for part in parts),
    )


def _kind(run: Run, turn: Turn, text: str, *, is_thinking: bool) -> StepKind:
    if run.tools is not None and is_call(run, text, is_thinking=is_thinking):
        return StepKind.ACTION
    return StepKind.ANSWER if turn.purpose == ANSWER else StepKind.THOUGHT


def led(lead: Lead, text: str, ids: Sequence[int]) -> Sequence[int]:
    """Return the ids of `text` with those of `lead` before them; none where the engine names none of its own."""
    return [*lead.ids, *ids] if ids or not text else ()
