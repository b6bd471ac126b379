"""The pocket pair: two tiny models that ship with the package, to compare policies on without a GPU or a download.

They think in steps about arithmetic, rate each other's steps and call tools, and make real mistakes.
They are a test bench and say nothing about large models; MODEL_CARD.md beside them says what they can
do, what they cannot, and how they were made. This pair is preliminary: its large one is to be trained further.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from orchestrator.engines.spec import EngineSpec, JudgePrompt
from orchestrator.ledger import Price
from orchestrator.types import Sampling

__all__ = ["LARGE", "PAIR_ID", "SMALL", "bundled", "pocket_pair"]

PAIR_ID = "pocket-0"
"""Changes with the weights: results of one pair say nothing about another."""
SMALL, LARGE = "pocket-small", "pocket-large"

_CONTEXT = 2048
_JUDGE = JudgePrompt(question="Rate the last step 0-9.", prefill="", think=False)


def pocket_pair(**options: Any) -> dict[str, EngineSpec]:
    """Describe the pair as the engines of a pipeline; `options` go to both, as in `embedded`."""
    sampling = Sampling(**{name: options.pop(name) for name in Sampling.__slots__ if name in options})
    price = options.pop("price", Price())
    shared = {"context": _CONTEXT, "threads": 1, "think": True, "judge": _JUDGE, **options}
    return {
        name: EngineSpec(kind="embedded", path=path, sampling=sampling, price=price, **shared)
        for name, path in (("small", SMALL), ("large", LARGE))
    }


def bundled(path: str) -> str:
    """Return the file of a model that ships under this name; any other path is returned as it is."""
    return str(files(__name__) / f"{path}.gguf") if path in (SMALL, LARGE) else path
