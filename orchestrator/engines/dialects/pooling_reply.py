"""What a pooling model behind vLLM answers: probabilities of its classes at the end of a prompt.

Measured on vLLM 0.32, POST /pooling:
- a model that reads a whole prompt answers with one row, one that reads tokens with a row for each, or, where it
  reads steps, with a row for each step tag of the prompt; the last one is about the end;
- of several classes a row is their softmax, of a single one it is the sigmoid of its logit;
- a number that is not finite makes it fail, or, by its source, comes as null where orjson is installed;
- `usage` counts the prompt and never says what came from the prefix cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

from orchestrator.engines.http import Transport

__all__ = ["POOL", "body", "probabilities"]

POOL = "/pooling"
_SLACK = 0.02
"""How far the sum may be from 1: a head may compute in 16 bits."""


def body(model: str, prompt: Sequence[int]) -> dict[str, Any]:
    """Return a request. The activation is asked for: for some reward models it is off unless one does."""
    return {"model": model, "input": list(prompt), "use_activation": True}


def probabilities(line: Transport, reply: Any, *, steps: int | None = None, tokens: int = 0) -> list[float]:
    """Return the probability of each class, two of them or more; a single class is the good one of two.

    `steps` is the number of steps that the prompt closed with a tag, None where its model reads no steps, `tokens`
    that of its tokens. A model that reads steps has to answer with a row for each of them, or for each token, or with
    one for the prompt; one that reads none with a row for each token, or one. Raises EngineProtocol, saying what came
    instead.
    """
    with line.reading(POOL):
        [answer] = reply["data"]
        rows = answer["data"]
        num_rows = len(rows) if rows and isinstance(rows[-1], list) else 0
        row = rows[-1] if rows and isinstance(rows[-1], list) else rows
        found = [float("nan") if value is None else float(value) for value in row]
    if steps is not None and num_rows not in (0, steps, tokens):
        raise line.misunderstood(POOL, f"{num_rows} scores for {steps} steps: is step_tag the one its model reads?")
    if not found:
        raise line.misunderstood(POOL, "no class at all: its model reads steps at a tag that the prompt has not")
    if steps is None and num_rows not in (0, 1, tokens):
        raise line.misunderstood(
            POOL, f"{num_rows} scores for a prompt of {tokens} tokens: its model reads steps, so name its step_tag"
        )
    if not all(isfinite(value) and 0 <= value <= 1 + _SLACK for value in found):
        raise line.misunderstood(POOL, f"numbers that are no probabilities: {_shown(found)}")
    if len(found) == 1:
        good = min(found[0], 1.0)
        return [1 - good, good]
    if not abs(sum(found) - 1) <= _SLACK:
        raise line.misunderstood(POOL, f"classes that do not add up to 1: {_shown(found)}")
    return found


def _shown(numbers: Sequence[float]) -> str:
    return ", ".join(f"{number:.4g}" for number in numbers[:5]) + (", ..." if len(numbers) > 5 else "")
