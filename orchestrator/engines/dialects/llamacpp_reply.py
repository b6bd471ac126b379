"""One completion of a llama.cpp server, put together from its events and made whole.

Measured on the native /completion of 2026-10:
- an event holds one token; its text is empty while it may be the beginning of a stop string, and the
  text held back that way is lost if the token limit comes first;
- tokens that are part of a character have no event: only the one that completes it has, and the count
  of tokens leaps. Their ids are found again by tokenising the character;
- the text is cut before the stop string, the ids are not; the end-of-text id is among the ids.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from orchestrator.engines.whole import Pieces, whole
from orchestrator.types import Stop, TokenLogprob

__all__ = ["Reply"]

_STOPS = {"word": Stop.DELIMITER, "eos": Stop.END, "limit": Stop.LENGTH}


class _Hole(NamedTuple):
    """Ids that no event brought."""

    place: int
    """Index in the known ids before which they belong."""
    num_ids: int
    text: str
    """The text of the event behind them, which ends with the character they belong to."""


class Reply:
    """What has arrived of one completion. KeyError, TypeError or ValueError: not as llama.cpp answers."""

    def __init__(self) -> None:
        self.text = ""
        self.ids: list[int] = []
        self.logprobs: list[TokenLogprob] = []
        self.output_tokens = 0
        self.stop: Stop | None = None
        """None until the last event has come."""
        self.stop_text = ""
        self.prompt_tokens = 0
        self.cached_tokens: int | None = None
        self._silent: list[int] = []
        self._released: list[tuple[list[int], str]] = []
        self._holes: list[_Hole] = []
        self._has_all = True

    def add(self, event: dict[str, Any]) -> None:
        """Take in one event of a stream, or a whole reply."""
        content, ids, predicted = str(event["content"]), list(event.get("tokens") or ()), int(event["tokens_predicted"])
        missing = predicted - self.output_tokens - len(ids)
        if missing > 0 and ids:
            self._holes.append(_Hole(len(self.ids), missing, content))
        if content and self._silent:
            self._released.append((self._silent, content))
            self._silent = []
        self._silent += [] if content else ids
        self.text += content
        self.ids += ids
        self.logprobs += [_logprob(entry) for entry in event.get("completion_probabilities") or ()]
        self.output_tokens = max(self.output_tokens, predicted)
        if event.get("stop_type"):
            self._finish(event, missing)

    def _finish(self, event: dict[str, Any], missing: int) -> None:
        self.stop = _STOPS[event["stop_type"]]
        self.stop_text = str(event.get("stopping_word") or "")
        self.prompt_tokens = int(event["tokens_evaluated"])
        cached = (event.get("timings") or {}).get("cache_n")
        self.cached_tokens = cached if isinstance(cached, int) else None
        self._has_all = missing <= 0

    async def settle(self, pieces: Pieces, encode: Callable[[str], Awaitable[list[int]]]) -> None:
        """Make `text` the decoding of `ids`, and `logprobs` one entry per id where there are any.

        `encode` tokenises text as data. A logprob that the server kept to itself is NaN.
        """
        assert self.stop is not None
        if not self.ids and self.output_tokens and self.text + self.stop_text:
            await self._read_again(encode)  # a server that returns no ids
        elif self._holes and not await self._fill(pieces, encode):
            await self._read_again(encode)
        else:
            text = self.text if await self._is_certain(pieces) else None
            has_end = self.stop is Stop.END and self._has_all
            self.text, self.ids = await whole(text, self.ids, self.stop, self.stop_text, pieces, has_end=has_end)
            if (
                self.stop is Stop.DELIMITER
                and len(self._silent) > 1
                and not self.text.endswith(await pieces.joined(self._silent))
            ):
                self.text = await pieces.decode(self.ids)
        self._match_logprobs()

    async def _is_certain(self, pieces: Pieces) -> bool:
        """Say whether `text` lacks nothing but the stop string and what follows it."""
        if self._holes or (self._silent and self.stop is Stop.LENGTH):
            return False
        for silent, content in self._released:  # a control token is silent for good
            if not content.startswith(await pieces.joined(silent)):
                return False
        return self.stop is not Stop.END or len(self._silent) <= 1  # the end-of-text token itself

    async def _fill(self, pieces: Pieces, encode: Callable[[str], Awaitable[list[int]]]) -> bool:
        """Put the ids back that no event brought; False if they cannot be told for certain."""
        for hole in reversed(self._holes):
            ids = await encode(hole.text)
            if len(ids) <= hole.num_ids or ids[-1] != self.ids[hole.place]:
                return False
            self.ids[hole.place : hole.place] = ids[-hole.num_ids - 1 : -1]
            if self.logprobs:
                self.logprobs[hole.place : hole.place] = [_unknown(id_) for id_ in ids[-hole.num_ids - 1 : -1]]
        return (await pieces.decode(self.ids)).startswith(self.text + self.stop_text)

    async def _read_again(self, encode: Callable[[str], Awaitable[list[int]]]) -> None:
        self.text += self.stop_text
        self.ids = await encode(self.text)
        self.logprobs = [_unknown(id_) for id_ in self.ids] if self.logprobs else []

    def _match_logprobs(self) -> None:
        known, self.logprobs = self.logprobs[: len(self.ids)], []
        if known:
            self.logprobs = known + [_unknown(id_) for id_ in self.ids[len(known) :]]


def _unknown(id_: int) -> TokenLogprob:
    return TokenLogprob(id_, "\ufffd", math.nan)


def _logprob(entry: dict[str, Any]) -> TokenLogprob:
    top = tuple(TokenLogprob(other["id"], other["token"], other["logprob"]) for other in entry["top_logprobs"])
    return TokenLogprob(entry["id"], entry["token"], entry["logprob"], top)
