"""Tell by their behaviour whether two engines tokenise alike, and so may exchange token ids.

Vocabulary sizes and names do not tell: a model and its fine-tune often share every merge and differ
in one added tag. So the fixed texts below, tokenised as data, name the tokenizer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

__all__ = ["PROBES", "fingerprint"]

PROBES = (
    "The quick brown fox's 12 jumps, over 345,678.90 lazy dogs!",
    "First, compute 38*4 = 152.\n\nThen 152 - 588 = -436.\n\n\nSo \\boxed{-436}.",
    "def area(r):\n    return 3.14159 * r ** 2  # m²\n\tassert r >= 0\r\n",
    "Ärger, naïve café; Привет, мир; 你好，世界; こんにちは; שלום; 🙂👩‍🔬 ∑∫√≤≥",
    "   spaced    out\t\ttabs \n \n ends  ",
    "<think>\nwait, hmm\n</think>\n\n<tool_call></tool_call><answer>",
    "http://example.org/a_b?c=%20&d=e CamelCase snake_case SHOUTING x1y2z3",
)
"""The order and every character are part of the fingerprint."""


def fingerprint(encoded: Sequence[Sequence[int]]) -> str:
    """Return a name for the tokenizer that gave `encoded`, the ids of each of `PROBES` in order."""
    return hashlib.sha256(json.dumps([list(ids) for ids in encoded]).encode()).hexdigest()[:32]
