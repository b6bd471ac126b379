"""How much is thought: whether a think block is open behind the kept steps, and the tokens in it, step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestrator.engines.step_stream import StepStream
from orchestrator.types import Step, StepKind

__all__ = ["Thinking"]

_OPENS, _CLOSES = "<think>", "</think>"


class Thinking:
    """Follows the kept steps of a run. `tags` are the ids of the think tags, by engine; empty where it has none."""

    def __init__(self, stream: StepStream, tags: Mapping[str, tuple[Sequence[int], Sequence[int]]]) -> None:
        self._stream = stream
        self._tags = tags
        self._is_open: bool | None = None  # None where only the prompt says
        self._before: list[tuple[bool | None, int, int]] = []
        self.tokens = 0
        """Tokens of thought in all kept steps."""
        self.in_block = 0
        """Those of the block that is open, or was open last."""

    def is_open(self, engine: str) -> bool:
        """Say whether what `engine` writes next is a thought."""
        return self._stream.begins_open(engine) if self._is_open is None else self._is_open

    def may_begin(self, engine: str) -> bool:
        """Say whether `engine` may open a thought by itself: it can, and none was opened or closed yet in this turn."""
        return self._is_open is None and self.has_tags(engine)

    def has_tags(self, engine: str) -> bool:
        """Say whether `engine` has a way to open and close a thought."""
        return all(self._tags.get(engine, ((), ())))

    def keep(self, step: Step) -> None:
        """Count a step that is about to be kept."""
        self._before.append((self._is_open, self.tokens, self.in_block))
        if step.kind is StepKind.OBSERVATION:
            self._is_open, self.in_block = None, 0
            return
        was_open = self.is_open(step.writer)
        if "think>" in step.text:
            opened, closed = step.text.rfind(_OPENS), step.text.rfind(_CLOSES)
            is_open = was_open if opened == closed else opened > closed
        else:
            is_open = was_open
        thought = self._thought(step, was_open=was_open, is_open=is_open)
        self.tokens += thought
        self.in_block += thought
        self._is_open = is_open

    def roll_back(self, to_step: int) -> None:
        """Forget the steps from index `to_step` on."""
        if to_step < len(self._before):
            self._is_open, self.tokens, self.in_block = self._before[to_step]
            del self._before[to_step:]

    def _thought(self, step: Step, *, was_open: bool, is_open: bool) -> int:
        """Return how many of a step's tokens are thought; the tags themselves are none."""
        if was_open and is_open and "think>" not in step.text:
            return step.num_tokens
        if not was_open and not is_open and _OPENS not in step.text:
            return 0
        opens, closes = self._tags.get(step.writer, ((), ()))
        start = 0 if was_open else _behind(step.ids, opens)
        end = _place(step.ids, closes, start) if _CLOSES in step.text else -1
        return (len(step.ids) if end < 0 else end) - start


def _place(ids: Sequence[int], tag: Sequence[int], start: int) -> int:
    wanted, number = list(tag), len(tag)
    places = (place for place in range(start, len(ids) - number + 1) if list(ids[place : place + number]) == wanted)
    return next(places, -1) if wanted else -1


def _behind(ids: Sequence[int], tag: Sequence[int]) -> int:
    place = _place(ids, tag, 0)
    return 0 if place < 0 else place + len(tag)
