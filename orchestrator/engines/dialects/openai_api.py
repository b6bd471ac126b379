"""What every server with an OpenAI-style interface has in common: its list of models and its token counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orchestrator.errors import BadConfig, EngineRejected

__all__ = ["cached_tokens", "chosen"]

_SHOWN = 20


def chosen(engine: str, model: str | None, cards: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the card of `model` from a server's list; of its only model if `model` is None.

    Raises EngineRejected if it is not served, BadConfig if none is named and there are several.
    """
    served = {str(card["id"]): card for card in cards}
    if model is not None and model in served:
        return served[model]
    listed = ", ".join([*list(served)[:_SHOWN], *(["..."] if len(served) > _SHOWN else [])]) or "nothing"
    if model is not None:
        raise EngineRejected(
            f"engine {engine!r}: the server has no model {model!r}; it serves: {listed}", engine=engine
        )
    if len(served) != 1:
        raise BadConfig(f"engine {engine!r}: name the model; the server serves: {listed}")
    return next(iter(served.values()))


def cached_tokens(usage: dict[str, Any]) -> int | None:
    """Return how many prompt tokens came from the prefix cache, or None where the server does not say."""
    details = usage.get("prompt_tokens_details") or {}
    count = details.get("cached_tokens")
    return count if isinstance(count, int) else None
