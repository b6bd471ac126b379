"""What did tokens cost in a stored run?  Its ledger has costs and no prices; the prices follow from the sums."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from orchestrator.ledger import Entry

__all__ = ["costs_of"]

_CLOSE = 1e-6


def costs_of(rows: Sequence[Mapping[str, Any]]) -> Callable[[str, Entry], float | None]:
    """Return what gives the cost of work by an engine, None where the rows of a ledger do not determine it.

    A cost is linear in uncached prompt, cached prompt and output tokens. Where a ledger has too few different rows to
    tell the three prices apart, what is a sum of its rows in other proportions has no known cost.
    """
    by_engine: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_engine.setdefault(row["engine"], []).append(row)
    known = {engine: _solved(own) for engine, own in by_engine.items()}

    def cost(engine: str, entry: Entry) -> float | None:
        wanted = np.array([entry.prompt_tokens - entry.cached_tokens, entry.cached_tokens, entry.output_tokens], float)
        if engine not in known or not wanted.any():
            return None if wanted.any() else 0.0
        prices, spanned = known[engine]
        is_spanned = np.linalg.norm(wanted - spanned @ wanted) <= _CLOSE * np.linalg.norm(wanted)
        return float(prices @ wanted) if is_spanned or not prices.any() else None

    return cost


def _solved(rows: Sequence[Mapping[str, Any]]) -> tuple[Any, Any]:
    """Return the smallest prices that explain the costs, and the projection on the proportions they are known for."""
    tokens = np.array(
        [[row["prompt_tokens"] - row["cached_tokens"], row["cached_tokens"], row["output_tokens"]] for row in rows],
        float,
    )
    inverse = np.linalg.pinv(tokens, rcond=1e-9)
    return inverse @ np.array([row["cost"] for row in rows]), inverse @ tokens
