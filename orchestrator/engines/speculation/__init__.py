"""Draft tokens without a draft model: what was said before is guessed to be said again, and the engine verifies.

vLLM loads `Drafter` through its `custom_class` hook, in the worker process of the server:

    --speculative-config '{"method": "custom_class", "num_speculative_tokens": 5,
                           "model": "orchestrator.engines.speculation.drafter.Drafter"}'
    --additional-config '{"drafter": {"sources": ["suffix"], "length": "feedback"}}'

Nothing here can change what an engine writes: a draft that is not what the engine would have written is
thrown away by it. Nothing but numpy is imported.
"""

from __future__ import annotations

__all__ = ["LENGTHS", "SOURCES"]

SOURCES = {
    "ngrams": "orchestrator.engines.speculation.sources.ngrams:NGrams",
    "suffix": "orchestrator.engines.speculation.sources.suffix:Suffix",
    "siblings": "orchestrator.engines.speculation.sources.siblings:Siblings",
    "trigrams": "orchestrator.engines.speculation.sources.trigrams:TriGrams",
    "successors": "orchestrator.engines.speculation.sources.successors:Successors",
}
"""Where a draft comes from: a row of token ids in, its likely continuation out. A drafter tries several in order."""

LENGTHS = {
    "fixed": "orchestrator.engines.speculation.lengths.fixed:Fixed",
    "feedback": "orchestrator.engines.speculation.lengths.feedback:Feedback",
    "thompson": "orchestrator.engines.speculation.lengths.thompson:Thompson",
    "goodput": "orchestrator.engines.speculation.lengths.goodput:Goodput",
}
"""How long a draft may be: what was accepted so far in, a number of tokens out."""
