"""The length with the most accepted tokens per second under the present load; none at all where drafting slows down.

Source: SmartSpec, goodput: expected tokens of a step, (1 - a^(K+1)) / (1 - a) at acceptance a, over the time of a
step of batch * (K+1) tokens. Differs: one running acceptance for all rows; a step's time is
`base_ms` + `token_ms` * batch * (K+1), which `orchestrator engines profile` measures; and while nothing is
drafted every `retry` choices one token is, or acceptance could never be seen to rise again.
"""

from __future__ import annotations

from math import inf

from orchestrator.engines.speculation.rows import Row

__all__ = ["Goodput", "best_length", "goodput"]

FADE = 0.02
"""Weight of the newest draft in the running acceptance."""


class Goodput:
    """Chooses from 0 to `most` tokens for all rows alike."""

    def __init__(self, most: int, base_ms: float = 10.0, token_ms: float = 0.05, retry: int = 50) -> None:
        if not (0 <= base_ms < inf and 0 <= token_ms < inf and base_ms + token_ms > 0):
            raise ValueError(f"base_ms = {base_ms} and token_ms = {token_ms} must be at least 0, and not both 0")
        if retry < 1:
            raise ValueError(f"retry = {retry} must be at least 1")
        self.most = most
        self.base_ms = base_ms
        self.token_ms = token_ms
        self.retry = retry
        self.acceptance = 0.7
        self._idle = 0

    def choose(self, row: Row, batch: int) -> int:
        """Return the best length at this batch size."""
        length = best_length(self.acceptance, batch, self.most, self.base_ms, self.token_ms)
        self._idle = 0 if length else self._idle + 1
        return 1 if self._idle and self._idle % self.retry == 0 else length

    def observe(self, row: Row, drafted: int, accepted: int) -> None:
        """Follow the share of tested tokens that stood; those behind the first that fell were not tested."""
        tested = min(drafted, accepted + 1)
        self.acceptance += FADE * (accepted / tested - self.acceptance)


def goodput(acceptance: float, batch: int, length: int, base_ms: float, token_ms: float) -> float:
    """Return tokens per millisecond of a batch that drafts `length` tokens per row."""
    expected = sum(acceptance**place for place in range(length + 1))
    return batch * expected / (base_ms + token_ms * batch * (length + 1))


def best_length(acceptance: float, batch: int, most: int, base_ms: float, token_ms: float) -> int:
    """Return the length from 0 to `most` with the greatest goodput, the shortest among equals."""
    return max(range(most + 1), key=lambda length: (goodput(acceptance, batch, length, base_ms, token_ms), -length))
