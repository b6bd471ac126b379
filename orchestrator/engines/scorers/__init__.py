"""How good is a draft?  Each scorer answers with a number in [0, 1] and its cost, or why it cannot."""

from __future__ import annotations

__all__ = ["ESCALATION", "MEASURED", "PLAIN", "PRM", "SCORERS", "VERDICT"]

PRM = "prm"
VERDICT = "verdict"
ESCALATION = "escalation"
PLAIN = "escalation-plain"

SCORERS = {
    "judge": "orchestrator.engines.scorers.judge:Judge",
    "judge-average": "orchestrator.engines.scorers.judge:average",
    VERDICT: "orchestrator.engines.scorers.verdict:Verdict",
    PRM: "orchestrator.engines.scorers.reward:prm",
    ESCALATION: "orchestrator.engines.scorers.escalation:escalation",
    PLAIN: "orchestrator.engines.scorers.escalation:plain",
}

MEASURED = {PRM: PRM, ESCALATION: ESCALATION, PLAIN: ESCALATION}
"""Scorers that are there only with an engine that only measures -> what such an engine has to measure."""
