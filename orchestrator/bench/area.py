"""Accuracy against large share as a curve, the area under it, and how far it is from the oracle's.

A router's curve begins at small-only (share 0), goes through its settings by their share in straight lines, which
is what mixtures of two neighbouring settings give, and from its last one on to large-only (share 1). Nothing is
smoothed: where a higher share is less accurate, the curve falls. The oracle's curve begins there too, in a
straight line to its settings, and stays level behind the last: who knows which steps need the large engine gains
nothing by more of it. With a budget of escalations the best choice of steps would lie above that line, so a share
of this oracle's area flatters a little.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np

__all__ = ["UP_TO", "Curve", "Knot", "area", "at", "curve"]

UP_TO = 0.6
"""Areas go from share 0 to this one: behind it every router is nearly large-only."""


class Knot(NamedTuple):
    """A setting of a router."""

    share: float
    """Of kept steps, written by the largest engine; in [0, 1]."""
    accuracy: float
    """In [0, 1]."""


class Curve(NamedTuple):
    """A curve through knots, by their share, no share twice; level outside of them."""

    shares: np.ndarray
    accuracies: np.ndarray


def curve(settings: Sequence[Knot], small: float, large: float | None) -> Curve:
    """Return the curve from small-only's accuracy through the settings to large-only's; None: level at its end.

    Settings with the same share count as their mean.
    """
    import numpy as np

    ends = [Knot(0.0, small), *([] if large is None else [Knot(1.0, large)])]
    given = np.asarray([*settings, *ends], dtype=float)
    shares, places, numbers = np.unique(given[:, 0], return_inverse=True, return_counts=True)
    return Curve(shares, np.bincount(places.ravel(), weights=given[:, 1]) / numbers)


def at(of: Curve, share: float) -> float:
    """Return the accuracy at a share."""
    import numpy as np

    return float(np.interp(share, of.shares, of.accuracies))


def area(of: Curve, up_to: float = UP_TO) -> float:
    """Return the area under a curve between share 0 and `up_to`; exact, because the curve has no bends but knots."""
    import numpy as np

    inside = of.shares[(of.shares > 0) & (of.shares < up_to)]
    shares = np.concatenate(([0.0], inside, [up_to]))
    heights = np.interp(shares, of.shares, of.accuracies)
    return float(np.sum(np.diff(shares) * (heights[1:] + heights[:-1]) / 2))
