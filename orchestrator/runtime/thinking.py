"""How much is thought: whether a think block is open behind the kept steps, and the tokens in it, step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestrator.engines.step_stream import StepStream
from orchestrator.think_tags import leaves_open
from orchestrator.types import Step, StepKind

__all__ = ["Thinking"]


class Thinking:
    """Follows the kept steps of a run. `tags` are the ids of the think tags, by engine; empty where it has none."""

    def __init__(self, stream: StepStream, tags: Mapping[str, tuple[Sequence[int], Sequence[int]]]) -> None:
        self._stream = stream
        self._tags = tags
        self._is_open: bool | None = None  # None where no tag was written yet: only the prompt says
        self._before: list[tuple[bool | None, int]] = []
        self.tokens = 0
        """Tokens of thought in all kept steps."""

    def is_open(self, engine: str) -> bool:
        """Say whether what `engine` writes next is a thought."""
        return self._stream.begins_open(engine) if self._is_open is None else self._is_open

    @property
    def was_closed(self) -> bool:
        """Whether a thought was closed in this turn, and none opened since."""
        return self._is_open is False

    def has_tags(self, engine: str) -> bool:
        """Say whether `engine` has a way to open and close a thought."""
        return all(self._tags.get(engine, ((), ())))

    def keep(self, step: Step) -> None:
        """Count a step that is about to be kept."""
        self._before.append((self._is_open, self.tokens))
        if step.kind is StepKind.OBSERVATION:
            self._is_open = None
            return
        was_open = self.is_open(step.writer)
        is_open = leaves_open(step.text)
        if is_open is not None:
            self.tokens += self._thought(step, was_open=was_open)
            self._is_open = is_open
        elif was_open:
            self.tokens += step.num_tokens
            self._is_open = True

    def roll_back(self, to_step: int) -> None:
        """Forget the steps from index `to_step` on."""
        if to_step < len(self._before):
            self._is_open, self.tokens = self._before[to_step]
            del self._before[to_step:]

    def _thought(self, step: Step, *, was_open: bool) -> int:
        """Return how many of a step's tokens are thought; the tags are none.

        Where the ids do not show them, all may be thought.
        """
        opens, closes = self._tags.get(step.writer, ((), ()))
        ids = step.ids
        if _place(ids, opens, 0) < 0 and _place(ids, closes, 0) < 0:
            return step.num_tokens
        is_open, start, total = was_open, 0, 0
        while True:
            tag = closes if is_open else opens
            place = _place(ids, tag, start)
            total += (len(ids) if place < 0 else place) - start if is_open else 0
            if place < 0:
                return total
            is_open, start = not is_open, place + len(tag)


def _place(ids: Sequence[int], tag: Sequence[int], start: int) -> int:
    wanted, number = list(tag), len(tag)
    places = (place for place in range(start, len(ids) - number + 1) if list(ids[place : place + number]) == wanted)
    return next(places, -1) if wanted else -1
