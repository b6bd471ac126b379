"""Trials of a server whose costs and acceptance are known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from orchestrator.engines.base import Drafting
from orchestrator.engines.speculation.profiling import Acceptance, Model, Point, StepTime, Trial, points_of

STEPS = 10**9
"""Of single rows in a trial: so many that rounding to whole tokens does not count."""


def model(
    base_ms: float = 10.0,
    token_ms: float = 0.1,
    draft_ms: float = 0.0,
    share: float = 1.0,
    fill: float = 1.0,
    rate: float = 0.7,
) -> Model:
    return Model(StepTime(base_ms, token_ms, draft_ms, 0.0, 0.0), Acceptance(share, fill, rate))


def trial(truth: Model, tokens: int | None, batch: int, factor: float = 1.0) -> Trial:
    """Return what a trial finds, its goodput times `factor`."""
    length = tokens or 0
    drafts = round(STEPS * truth.acceptance.share) if length else 0
    drafted = round(STEPS * truth.acceptance.drafted_per_step(length))
    accepted = round(STEPS * (truth.acceptance.tokens_per_step(length) - 1))
    return Trial(
        tokens=tokens,
        batch=batch,
        goodput=truth.goodput(batch, length) * factor,
        completions=batch,
        output_tokens=STEPS + accepted,
        drafting=Drafting(drafts, drafted, accepted),
    )


def points(
    truth: Model, tokens: Iterable[int | None], batches: Sequence[int], factors: Sequence[float] = (1.0,)
) -> list[Point]:
    """Return the points of every number of tokens at every batch size, a trial for each factor."""
    return points_of(trial(truth, each, batch, factor) for each in tokens for batch in batches for factor in factors)
