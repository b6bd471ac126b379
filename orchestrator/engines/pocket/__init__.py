"""The pocket pair: two tiny models that ship with the package, to compare policies on without a GPU or a download.

They think in steps about arithmetic, rate each other's steps and call tools, and make real mistakes; a third
one only rates. They are a test bench and say nothing about large models; MODEL_CARD.md beside them says what
they can do, what they cannot, and how they were made.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from orchestrator.engines.spec import BehaviorPrompt, EngineSpec, JudgePrompt, ProbePrompt, ToolPrompt, VerdictPrompt
from orchestrator.types import Sampling

__all__ = ["BUNDLED", "PAIR_ID", "bundled", "pocket_pair", "pocket_scorer"]

PAIR_ID = "pocket-1"
"""Changes with the weights: results of one pair say nothing about another."""
BUNDLED = ("pocket-small", "pocket-large", "pocket-scorer")
"""Names that stand for the files of this package."""

_CONTEXT = 2048
_JUDGE = JudgePrompt(question="Rate the last step 0-9.", prefill="", think=False)
_VERDICT = VerdictPrompt(question="Is this right? CORRECT or INCORRECT.", think=False, max_tokens=1)
_TOOLS = ToolPrompt(told="Tools: {names}.", trained_on=("calc", "lookup", "list", "convert"))
_BEHAVIORS = BehaviorPrompt(head="Behaviors:", mark="")
_PROBE = ProbePrompt(closes="</think>\n")


def pocket_pair(**options: Any) -> dict[str, EngineSpec]:
    """Describe the pair as the engines of a pipeline; `options` go to both, as those of `embedded`."""
    return {name: _engine(f"pocket-{name}", options) for name in ("small", "large")}


def pocket_scorer(**options: Any) -> EngineSpec:
    """Describe the pair's step scorer, an engine that only measures: scorer `prm`, or `judge=` in a comparison."""
    return _engine("pocket-scorer", {"writes": False, **options})


def _engine(path: str, options: dict[str, Any]) -> EngineSpec:
    sampling = Sampling(**{name: options[name] for name in Sampling.__slots__ if name in options})
    others = {name: option for name, option in options.items() if name not in Sampling.__slots__}
    asked = {"judge": _JUDGE, "verdict": _VERDICT, "tools": _TOOLS, "behaviors": _BEHAVIORS, "probe": _PROBE}
    shared = {"context": _CONTEXT, "threads": 1, "think": True, **asked, **others}
    return EngineSpec(kind="embedded", path=path, sampling=sampling, **shared)


def bundled(path: str) -> str:
    """Return the file of a model that ships under this name; any other path is returned as it is."""
    return str(files(__name__) / f"{path}.gguf") if path in BUNDLED else path
