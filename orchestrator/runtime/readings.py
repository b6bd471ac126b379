"""Does a scorer, or a prediction, tell drafts apart?  One that reads the same again and again decides nothing."""

from __future__ import annotations

__all__ = ["SAME", "Readings"]

SAME = 50
"""Equal readings in a row that are worth saying."""


class Readings:
    """Counts equal readings in a row over all runs of a pipeline: a single run is often too short to show them."""

    def __init__(self) -> None:
        self.told: dict[str, str] = {}
        """What was said, for people, by signal or monitor: a sentence each."""
        self._in_a_row: dict[str, tuple[float, int]] = {}

    def count(self, name: str, value: float) -> str:
        """Return what is to be said at this reading; empty for nothing, and after it was said."""
        last, number = self._in_a_row.get(name, (value, 0))
        number = number + 1 if last == value else 1
        self._in_a_row[name] = (value, number)
        if number < SAME or name in self.told:
            return ""
        self.told[name] = f"the last {SAME} readings of {name} in a row are all {value:.3f}: does it tell drafts apart?"
        return self.told[name]
