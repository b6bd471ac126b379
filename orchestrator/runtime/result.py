"""What a run gives back."""

from __future__ import annotations

from dataclasses import dataclass, field

from orchestrator.errors import OrchestratorError
from orchestrator.ledger import Ledger
from orchestrator.runtime.trace import Trace
from orchestrator.types import Status, Step

__all__ = ["RunResult"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """How a run ended, what it wrote and what it cost."""

    run_id: str
    status: Status
    answer: str | None
    """None if the extractor found none; after status `budget`, the best the partial text holds."""
    text: str
    """All kept steps."""
    steps: tuple[Step, ...]
    ledger: Ledger
    reason: str
    """Why the run stopped where it did."""
    seconds: float
    """Wall time, earlier sessions of a resumed run included."""
    error: OrchestratorError | None = None
    """Set when `status` is `failed` because an engine failed."""
    trace: Trace = field(repr=False, compare=False)
