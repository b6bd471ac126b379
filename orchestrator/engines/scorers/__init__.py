"""How good is a draft?  Each scorer answers with a number in [0, 1] and its cost, or why it cannot."""

from __future__ import annotations

__all__ = ["PRM", "SCORERS"]

PRM = "prm"

SCORERS = {
    "judge": "orchestrator.engines.scorers.judge:Judge",
    "judge-average": "orchestrator.engines.scorers.judge:average",
    PRM: "orchestrator.engines.scorers.reward:prm",
}
