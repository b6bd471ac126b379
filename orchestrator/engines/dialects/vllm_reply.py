"""One completion of a vLLM server, put together from its events and made whole.

Measured on vLLM 0.32:
- an event holds one token, or several with speculation on or when the reader was slow;
- the token that completes a stop string is in the ids with all it carries, but the text ends with the
  stop string; tokens that speculation had accepted behind it are in neither;
- the end-of-text token is in the ids, and in the text when special tokens are shown;
- a character cut in half by the token limit is in the ids and not in the text.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from orchestrator.engines.base import Drafting
from orchestrator.engines.whole import Pieces, whole
from orchestrator.types import Stop, TokenLogprob

__all__ = ["Reply"]


class Reply:
    """What has arrived of one completion. KeyError, TypeError or ValueError: not as vLLM answers."""

    def __init__(self, alternatives: int) -> None:
        self.text = ""
        self.ids: list[int] = []
        self.logprobs: list[TokenLogprob] = []
        """Each with at most `alternatives` others."""
        self.usage: dict[str, Any] = {}
        self.queue_s: float | None = None
        self.drafting: Drafting | None = None
        self.finish: str | None = None
        """None until the last event has come."""
        self._alternatives = alternatives
        self._stop_reason: object = None
        self._pieces = 0

    def add(self, event: dict[str, Any]) -> None:
        """Take in one event of a stream, or a whole reply."""
        self.usage = event.get("usage") or self.usage
        if metrics := event.get("metrics"):
            self._measure(metrics)
        for choice in event["choices"]:
            ids, text = choice.get("token_ids") or [], choice["text"]
            self.text += text
            self.ids += ids
            self._pieces += bool(ids or text)
            if choice.get("logprobs"):
                self.logprobs += _logprobs(ids, choice["logprobs"], self._alternatives)
            self.finish = choice.get("finish_reason") or self.finish
            self._stop_reason = choice.get("stop_reason", self._stop_reason)

    def _measure(self, metrics: dict[str, Any]) -> None:
        """Read what may be there: it is experimental, and no reason to lose a completion."""
        match metrics:
            case {"queue_time_ms": int() | float() as waited}:
                self.queue_s = waited / 1000
        match metrics.get("speculative_decoding"):
            case {
                "num_spec_steps": int(drafts),
                "num_draft_tokens": int(drafted),
                "num_accepted_draft_tokens": int(accepted),
            }:
                self.drafting = Drafting(drafts, drafted, accepted)

    @property
    def output_tokens(self) -> int:
        """Tokens that have arrived; a lower bound where the server returns no ids."""
        return max(len(self.ids), self._pieces, self.usage.get("completion_tokens") or 0)

    def stopped(self, stops: Collection[str], ending: Mapping[int, str]) -> tuple[Stop, str]:
        """Return why it ended, and which of `stops` did it if one did; `ending` are tokens to stop at that hold one."""
        if self.finish == "length":
            return Stop.LENGTH, ""
        if isinstance(self._stop_reason, str) and self._stop_reason in stops:
            return Stop.DELIMITER, self._stop_reason
        if isinstance(self._stop_reason, int) and self._stop_reason in ending:
            return Stop.DELIMITER, ending[self._stop_reason]
        return Stop.END, ""

    async def settle(self, stop: Stop, stop_text: str, pieces: Pieces) -> None:
        """Make `text` the decoding of `ids`, and `logprobs` one entry per id where there are any."""
        self.text, self.ids = await whole(self.text, self.ids, stop, stop_text, pieces, has_end=stop is Stop.END)
        del self.logprobs[len(self.ids) :]


def _logprobs(ids: list[int], columns: dict[str, Any], alternatives: int) -> Iterable[TokenLogprob]:
    tokens = columns["tokens"]
    # Alternatives are named by their text alone; so is the token itself where the server returns no ids.
    for id_, text, logprob, top in zip(
        ids or [-1] * len(tokens), tokens, columns["token_logprobs"], columns["top_logprobs"], strict=True
    ):
        # The token that was drawn is listed too where it is not among the most likely.
        ranked = sorted(top.items(), key=lambda item: -item[1])[:alternatives]
        yield TokenLogprob(id_, text, logprob, tuple(TokenLogprob(-1, other, value) for other, value in ranked))
