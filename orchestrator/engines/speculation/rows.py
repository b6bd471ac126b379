"""Recognise a request from one call to the next: the hook names none, and rows move as requests end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["Ids", "Row", "Rows"]

Ids = NDArray[np.int32]

PATIENCE = 32
"""Calls that a request may miss, because it waits for memory, before it counts as finished."""
ENDS = 32
"""Tokens at either end, with the length, by which a row is recognised: hashing all of a long one takes longer
than drafting. Two requests that are equal in all that are continued alike, so that mixing them up does no harm."""


@dataclass(eq=False, slots=True, weakref_slot=True)
class Row:
    """One request as it stands."""

    ids: Ids
    """Prompt and output so far, shape (tokens,)."""
    num_prompt: int
    """Tokens there were when it was first seen, the first sampled ones left out."""
    num_new: int = 0
    """Tokens that the last call brought; what was accepted of a draft and one more."""
    draft: list[int] = field(default_factory=list)
    """What was drafted last and has not been verified yet."""
    source: int = -1
    """Which source drafted it."""
    seen: int = 0


class Rows:
    """The requests that are being served."""

    def __init__(self, finished: Callable[[Row], None]) -> None:
        self._finished = finished
        self._waiting: dict[bytes, list[Row]] = {}
        self._calls = 0

    def follow(self, sampled: Sequence[Sequence[int]], lengths: Sequence[int], ids: Ids) -> list[Row]:
        """Return the request of every row of a call, brought up to date; one without sampled tokens has `num_new` 0.

        `ids` has shape (rows, tokens); row i holds lengths[i] of them, sampled[i] the last of these.
        """
        self._calls += 1
        rows = [self._row(ids[place, : int(lengths[place])], len(new)) for place, new in enumerate(sampled)]
        for row in rows:
            self._waiting.setdefault(_key(row.ids), []).append(row)
        if self._calls % PATIENCE == 0:
            self._retire()
        return rows

    def _row(self, ids: Ids, num_new: int) -> Row:
        before = len(ids) - num_new
        known = self._waiting.get(key := _key(ids[:before]))
        if known:
            row = known.pop()
            if not known:
                del self._waiting[key]
        else:
            row = Row(ids, before)
        row.ids, row.num_new, row.seen = ids.copy(), num_new, self._calls  # the server writes over its own array
        return row

    def _retire(self) -> None:
        for key, rows in list(self._waiting.items()):
            left = [row for row in rows if self._calls - row.seen < PATIENCE]
            for row in rows:
                if row not in left:
                    self._finished(row)
            if left:
                self._waiting[key] = left
            else:
                del self._waiting[key]


def _key(ids: Ids) -> bytes:
    return b"%d:" % len(ids) + ids[:ENDS].tobytes() + ids[-ENDS:].tobytes()
