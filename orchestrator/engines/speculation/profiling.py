"""What drafting costs and gains on one server: measured trials in, a model of its goodput out.

Source: SmartSpec: goodput is the tokens that a step is expected to yield over the time it takes, which is linear in
the tokens it verifies. Differs: what was really verified counts, not batch * (K+1), because n-gram and suffix drafters
often have no draft or a short one; a drafting model adds its own time per drafted token; all is fitted offline.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby
from statistics import median
from typing import NamedTuple

import numpy as np

from orchestrator.engines.base import Drafting

__all__ = ["Acceptance", "Model", "Point", "StepTime", "Trial", "fit_acceptance", "fit_step_time", "points_of"]

HALVINGS = 60
"""Of the interval in which the acceptance of a token lies: as exact as a float can be."""


class Trial(NamedTuple):
    """`batch` completions kept running side by side for a while."""

    tokens: int | None
    """Most tokens of a draft; None on a server that does not speculate."""
    batch: int
    goodput: float
    """Tokens per second of all rows together."""
    completions: int
    output_tokens: int
    """Of whole completions, and so are the counts of drafting."""
    drafting: Drafting
    waited: float = 0.0
    """Share of their time that completions waited in the server's queue, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """All trials of one number of tokens at one batch size."""

    tokens: int | None
    batch: int
    goodputs: Sequence[float]
    """Of each trial, lowest first."""
    steps: int
    """Tokens that no draft brought: each row has one in every step."""
    drafting: Drafting
    waited: float

    @property
    def goodput(self) -> float:
        """Return the median of the trials, tokens per second."""
        return median(self.goodputs)

    @property
    def tokens_per_step(self) -> float:
        """Return how many tokens a row gains in a step, at least 1."""
        return 1 + self.drafting.accepted / self.steps

    @property
    def drafted_per_step(self) -> float:
        """Return how many drafted tokens of a row a step verifies; steps without a draft count."""
        return self.drafting.drafted / self.steps

    @property
    def step_ms(self) -> float:
        """Return the time from one step to the next."""
        return 1000 * self.batch * self.tokens_per_step / self.goodput

    def is_better_than(self, other: Point) -> bool:
        """Return whether its worst trial is better than the best of the other's: less may be noise."""
        return self.goodputs[0] > other.goodputs[-1]


class StepTime(NamedTuple):
    """The time of a step: `base_ms`, `token_ms` per token it verifies, `draft_ms` per token of a row's draft."""

    base_ms: float
    token_ms: float
    draft_ms: float
    error: float
    """Mean distance from what was measured, as a share of it; `worst` is the greatest."""
    worst: float

    def ms(self, batch: int, drafted_per_step: float, tokens: int) -> float:
        """Return the time of a step."""
        return self.base_ms + self.token_ms * batch * (1 + drafted_per_step) + self.draft_ms * tokens


class Acceptance(NamedTuple):
    """What becomes of drafts, the same at every batch size."""

    share: float
    """Of a row's steps that verify a draft."""
    fill: float
    """Length of a draft, as a share of what it may have."""
    rate: float
    """Chance of a token to stand where those before it stood."""

    def tokens_per_step(self, tokens: int) -> float:
        """Return how many tokens a row gains in a step, on average."""
        return 1 + self.share * _standing(self.rate, self.fill * tokens)

    def drafted_per_step(self, tokens: int) -> float:
        """Return how many drafted tokens of a row a step verifies, on average."""
        return self.share * self.fill * tokens


class Model(NamedTuple):
    """Predicts the goodput of batch sizes that nobody measured."""

    step: StepTime
    acceptance: Acceptance

    def goodput(self, batch: int, tokens: int) -> float:
        """Return tokens per second of all rows together."""
        time = self.step.ms(batch, self.acceptance.drafted_per_step(tokens), tokens)
        return 1000 * batch * self.acceptance.tokens_per_step(tokens) / time


def points_of(trials: Iterable[Trial]) -> list[Point]:
    """Return the points of the trials: no speculation first, then by tokens, then by batch size."""

    def place(trial: Trial) -> tuple[int, int]:
        return (-1 if trial.tokens is None else trial.tokens, trial.batch)

    return [_point(list(group)) for _, group in groupby(sorted(trials, key=place), key=place)]


def fit_step_time(points: Sequence[Point], *, has_model: bool = False) -> StepTime:
    """Return the step time with the least squared relative error; no part of it is negative.

    `points` are of one speculating server, at two batch sizes at least. `has_model` is for drafters that run a model.
    """
    parts = [(1.0, point.batch * (1 + point.drafted_per_step), float(point.tokens or 0)) for point in points]
    share = np.array(parts) / np.array([[point.step_ms] for point in points])
    columns = range(3 if has_model else 2)
    fits = [_least_squares(share, kept) for size in columns for kept in combinations(columns, size + 1)]
    found = min((fit for fit in fits if min(fit) >= 0), key=lambda fit: float(((share @ fit - 1) ** 2).sum()))
    errors = np.abs(share @ found - 1)
    base_ms, token_ms, draft_ms = map(float, found)
    return StepTime(base_ms, token_ms, draft_ms, float(errors.mean()), float(errors.max()))


def fit_acceptance(points: Sequence[Point]) -> Acceptance:
    """Return the acceptance that explains how many drafted tokens stood; nothing stands where nothing was drafted."""
    drafting = [point for point in points if point.tokens and point.drafting.drafts]
    if not drafting:
        return Acceptance(0.0, 1.0, 0.0)
    drafts = sum(point.drafting.drafts for point in drafting)
    allowed = sum(point.drafting.drafts * (point.tokens or 0) for point in drafting)
    fill = sum(point.drafting.drafted for point in drafting) / allowed
    accepted = sum(point.drafting.accepted for point in drafting)
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        rate = (low + high) / 2
        standing = sum(point.drafting.drafts * _standing(rate, fill * (point.tokens or 0)) for point in drafting)
        low, high = (rate, high) if standing < accepted else (low, rate)
    steps = sum(point.steps for point in points if point.tokens)
    return Acceptance(drafts / steps, fill, (low + high) / 2)


def _point(trials: Sequence[Trial]) -> Point:
    drafting = Drafting.total(trial.drafting for trial in trials)
    return Point(
        tokens=trials[0].tokens,
        batch=trials[0].batch,
        goodputs=sorted(trial.goodput for trial in trials),
        steps=sum(trial.output_tokens for trial in trials) - drafting.accepted,
        drafting=drafting,
        waited=max(trial.waited for trial in trials),
    )


def _least_squares(share: np.ndarray, kept: tuple[int, ...]) -> np.ndarray:
    """Return what the three parts weigh if only those in `kept` weigh anything."""
    found = np.zeros(3)
    found[list(kept)] = np.linalg.lstsq(share[:, kept], np.ones(len(share)), rcond=None)[0]
    return found


def _standing(rate: float, length: float) -> float:
    """Return how many of `length` drafted tokens stand on average."""
    return length if rate >= 1 else rate * (1 - rate**length) / (1 - rate)
