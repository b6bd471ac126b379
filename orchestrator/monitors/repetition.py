"""Notice that an engine says the same tokens over and over, and close the thought: nothing else is to come.

Source: TrimR's cut of literal repetition and vLLM's repetition detection (a pattern of tokens several times in a row
at the end of the text). Differs: behind kept steps and across them, not token by token; a stretch has to be long before
it counts, since rulers and decimals repeat themselves, too; every length of pattern is tried at once, by a rolling
hash, and what it finds is compared token by token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.monitors.reading import powers, words
from orchestrator.options import check_whole
from orchestrator.types import Event, History, Step, StepKind

__all__ = ["Repetition"]

_LONGEST_WORD = 20
"""Characters that a word and the space behind it have at most, on average."""


@dataclass(frozen=True, kw_only=True)
class Repetition:
    """Raise `repetition`, which closes the thought, when the last tokens are one pattern several times in a row.

    Tokens are the writer's ids, or words where one of the steps that are read has none. Where the thought cannot be
    closed the event is raised again only behind a whole new stretch.
    """

    repeats: int = 4
    """How often the pattern is there."""
    longest: int = 256
    """Tokens that a pattern may have."""
    shortest: int = 64
    """Tokens that all of its occurrences must have together."""

    raises = ("repetition",)

    def __post_init__(self) -> None:
        check_whole("monitor repetition", self, repeats=2, longest=1, shortest=2)

    def watch(self, history: History) -> Event | None:
        """Look at the end of what was written, with its last token, which may be half a delimiter, and without it."""
        if history.steps[-1].kind is StepKind.OBSERVATION:
            return None
        tokens = _tokens(self._last_steps(history), self.repeats * self.longest + 1)
        if len(tokens) < self.shortest or any(tokens.count(token) < self.repeats for token in tokens[-3:-1]):
            return None  # every token of a loop is there as often
        ids = np.asarray(tokens, np.int64)
        for end in (len(tokens), len(tokens) - 1):
            if length := self._pattern(ids[:end]):
                num = _times(tokens[:end], length)
                reason = f"the last {length} tokens, {num} times in a row"
                return Event("repetition", reason, concludes=True, value=num, threshold=self.repeats)
        return None

    def _last_steps(self, history: History) -> list[Step]:
        """The last steps that one engine wrote without a break, behind the last event; enough for the longest loop."""
        told = max((event.step for event in history.events if event.kind == "repetition"), default=-1)
        steps: list[Step] = []
        num = 0
        for step in reversed(history.steps[max(history.window, told + 1) :]):
            is_other = step.kind is StepKind.OBSERVATION or step.writer != history.steps[-1].writer
            if is_other or num > self.repeats * self.longest:
                break
            steps.append(step)
            num += step.num_tokens
        return steps[::-1]

    def _pattern(self, ids: NDArray[np.int64]) -> int:
        """The length of the shortest pattern that the tokens end with often enough; 0 for none."""
        for length in map(int, _candidates(ids, self.repeats, self.longest)):
            span = max(self.repeats * length, self.shortest)
            if span <= len(ids) and np.array_equal(ids[-span:-length], ids[len(ids) - span + length :]):
                return length
        return 0


def _tokens(steps: Sequence[Step], most: int) -> list[int]:
    """The last tokens of some steps, or numbers that stand for their last words."""
    if all(step.ids for step in steps):
        return [each for step in steps for each in step.ids[-most:]][-most:]
    numbers: dict[str, int] = {}
    found = [word for step in steps for word in words(step.text[-_LONGEST_WORD * most :])][-most:]
    return [numbers.setdefault(word, len(numbers)) for word in found]


def _candidates(ids: NDArray[np.int64], repeats: int, longest: int) -> NDArray[np.int64]:
    """The lengths, shortest first, of patterns that are `repeats` times at the end, as far as a hash can tell."""
    num = len(ids)
    lengths = np.arange(1, min(longest, num // repeats) + 1)
    if not len(lengths):
        return lengths
    base = powers(num + 1)
    sums = np.concatenate(([np.uint64(0)], np.cumsum((ids + 1).view(np.uint64) * base[:num], dtype=np.uint64)))
    begins = num - repeats * lengths
    earlier, later = sums[num - lengths] - sums[begins], sums[num] - sums[begins + lengths]
    found: NDArray[np.int64] = lengths[earlier * base[lengths] == later]
    return found


def _times(tokens: Sequence[int], length: int) -> int:
    num = 1
    while tokens[-(num + 1) * length :][:length] == tokens[-length:] and (num + 1) * length <= len(tokens):
        num += 1
    return num
