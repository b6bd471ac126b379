"""Lines of a comparison as they are made up: what a test does not name is nothing out of the ordinary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.bench.cost import Use
from orchestrator.bench.sample import Sample

__all__ = ["made_up"]


def made_up(policy: str, task: int, *, right: bool, uses: Mapping[str, Use], **changes: Any) -> Sample:
    """Return the sample of a run that ended well."""
    usual: dict[str, Any] = {
        "seed": 0,
        "run_id": "",
        "status": "completed",
        "answer": None,
        "gold": None,
        "score_error": "",
        "steps": 4,
        "large_steps": 0,
        "escalations": 0,
        "seconds": 0.0,
        "purposes": {},
    }
    return Sample(policy=policy, task=str(task), score=float(right), uses=uses, **{**usual, **changes})
