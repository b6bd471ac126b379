"""From measured goodput to what a server should be told: how many tokens at which batch size, or no speculation.

Source: SmartSpec: the length with the most goodput under the present load, none where drafting slows down. Differs:
lengths are chosen once, for batch sizes, because that is all that vLLM can be told; more tokens have to be better in
every trial; and a server that does not speculate at all, which vLLM runs another way, is measured as well, twice:
before and after the others, so that a machine that changes meanwhile is seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import log
from statistics import median
from typing import NamedTuple

from orchestrator.engines.speculation.profiles import CustomClass, DraftModel, Eagle, Eagle3, Mtp, Profile
from orchestrator.engines.speculation.profiling import Model, Point, Trial, fit_acceptance, fit_step_time, points_of
from orchestrator.errors import UserError

__all__ = ["Advice", "Variant", "advise", "best_plan", "drift", "rows", "variants", "wins"]

WITH_MODEL = (DraftModel, Eagle, Eagle3, Mtp)
"""Drafting runs weights of its own: a pass per token, or, where they draft in parallel, one that is longer for more."""


class Variant(NamedTuple):
    """One way of serving."""

    tokens: int | None
    """Most tokens of a draft; None for no speculation."""
    speculation: Profile | None


class Advice(NamedTuple):
    """What came out."""

    speculation: Profile | None
    """What to serve with; None for no speculation."""
    model: Model
    plan: Mapping[int, int]
    """Batch size that was measured -> most tokens of a draft; empty where the drafter itself chooses."""


def variants(profile: Profile, tokens: Sequence[int], most_batch: int) -> list[Variant]:
    """Return what is to be measured, in order: one for each number of tokens, no speculation before and after them.

    No `tokens` are: none, half and all of what the profile allows. Raises UserError for a profile that takes no
    schedule and is to draft 0 tokens.
    """
    wanted = sorted(set(tokens or (0, (profile.tokens + 1) // 2, profile.tokens)))
    if not any(wanted):
        raise UserError("0 tokens alone are nothing to compare: give one number above 0 at least")
    if not profile.unscheduled:
        most = wanted[-1]
        own = [Variant(each, replace(profile, tokens=most, schedule=[[1, most_batch, each]])) for each in wanted]
    elif 0 in tokens:
        raise UserError(f"{profile.method} cannot be told to draft 0 tokens; no speculation is measured in any case")
    else:
        fixed = replace(profile, length="fixed") if isinstance(profile, CustomClass) else profile
        own = [Variant(each, replace(fixed, tokens=each)) for each in wanted if each]
    plain = Variant(None, None)
    return [plain, *own, plain]


def advise(profile: Profile, points: Sequence[Point]) -> Advice:
    """Return what the points say about the profile that was measured, as `variants` has it.

    Drafting has to beat no speculation at one batch size at least, and to win more than it loses over all of them.
    """
    drafting = [point for point in points if point.tokens is not None]
    model = Model(fit_step_time(drafting, has_model=isinstance(profile, WITH_MODEL)), fit_acceptance(drafting))
    plan = best_plan(drafting)
    if isinstance(profile, CustomClass):
        step = {"base_ms": round(model.step.base_ms, 4), "token_ms": round(model.step.token_ms, 6)}
        own = replace(profile, tokens=max(plan.values()), length=["goodput", step])
        return Advice(own if _pays(plan, points, model) else None, model, {})
    if profile.unscheduled:
        paying = [each for each in drafting if _pays(dict.fromkeys(plan, each.tokens or 0), points)]
        alone = _best_alone(paying or drafting)
        return Advice(replace(profile, tokens=alone) if paying else None, model, dict.fromkeys(plan, alone))
    if not _pays(plan, points):
        return Advice(None, model, plan)
    return Advice(replace(profile, tokens=max(plan.values()), schedule=rows(plan, model)), model, plan)


def best_plan(points: Sequence[Point]) -> dict[int, int]:
    """Return the most tokens of a draft for each batch size that was measured; never more at a larger one.

    Of all such plans it is the one with the least lost goodput, and of those the one with the fewest tokens. What is
    within the noise of the best is no loss. Every number of tokens has a point at every batch size.
    """
    table = {(point.batch, point.tokens or 0): point for point in points}
    batches, choices = (sorted({key[place] for key in table}) for place in (0, 1))
    plans: dict[int, tuple[float, int, tuple[int, ...]]] = dict.fromkeys(choices, (0.0, 0, ()))
    for batch in batches:
        column = [table[batch, tokens] for tokens in choices]
        ways = {}
        for tokens, point in zip(choices, column, strict=True):
            loss, total, before = min(plans[more] for more in choices if more >= tokens)
            ways[tokens] = (loss + _loss(point, column), total + tokens, (*before, tokens))
        plans = ways
    return dict(zip(batches, min(plans.values())[2], strict=True))


def rows(plan: Mapping[int, int], model: Model) -> list[list[int]]:
    """Return the plan as the rows of a schedule; the model decides between two measured batch sizes."""
    choices = sorted(set(plan.values()))
    dense: list[int] = []
    for batch in range(1, max(plan) + 1):
        tokens = plan.get(batch)
        if tokens is None:
            floor = plan[min(each for each in plan if each > batch)]
            ceiling = dense[-1] if dense else choices[-1]
            within = [each for each in choices if floor <= each <= ceiling]
            tokens = max(within, key=lambda each: (model.goodput(batch, each), -each))
        dense.append(tokens)
    found: list[list[int]] = []
    for batch, tokens in enumerate(dense, 1):
        if found and found[-1][2] == tokens:
            found[-1][1] = batch
        else:
            found.append([batch, batch, tokens])
    return found


def drift(trials: Sequence[Trial]) -> float:
    """Return by what share the server without speculation had become faster or slower when it came again.

    `trials` are in the order of `variants`; it is the median over the batch sizes.
    """
    plain = [trial for trial in trials if trial.tokens is None]
    middle = len(plain) // 2
    before, after = points_of(plain[:middle]), points_of(plain[middle:])
    return median(abs(late.goodput / early.goodput - 1) for early, late in zip(before, after, strict=True))


def wins(points: Sequence[Point]) -> set[tuple[int, int]]:
    """Return the batch sizes and tokens at which drafting beats a server that does not speculate."""
    plain = {point.batch: point for point in points if point.tokens is None}
    return {(each.batch, each.tokens) for each in points if each.tokens and each.is_better_than(plain[each.batch])}


def _best_alone(points: Sequence[Point]) -> int:
    """Return the number of tokens, the same at every batch size, that loses least; the fewest of equals."""
    losses: dict[int, float] = {}
    for point in points:
        column = [each for each in points if each.batch == point.batch]
        losses[point.tokens or 0] = losses.get(point.tokens or 0, 0.0) + _loss(point, column)
    return min(losses, key=lambda tokens: (losses[tokens], tokens))


def _loss(point: Point, column: Sequence[Point]) -> float:
    """Return the logarithm of the goodput that is lost against the best of the column; 0 within its noise."""
    best = max(column, key=lambda each: each.goodput)
    return log(best.goodput / point.goodput) if best.is_better_than(point) else 0.0


def _pays(plan: Mapping[int, int], points: Sequence[Point], model: Model | None = None) -> bool:
    """Return whether the plan wins somewhere by drafting, and more over all batch sizes than it loses.

    With `model`, the drafter itself drafts nothing where that loses less than the plan does.
    """
    table = {(point.batch, point.tokens): point for point in points}
    total = 0.0
    for batch, tokens in plan.items():
        plain = table[batch, None]
        gain = _gain(table[batch, tokens], plain)
        if model is not None and gain < 0:
            gain = max(gain, min(0.0, log(model.goodput(batch, 0) / plain.goodput)))
        total += gain
    return total > 0 and not wins(points).isdisjoint(plan.items())


def _gain(point: Point, plain: Point) -> float:
    """Return the logarithm of what is won against no speculation: the least of a gain, the median of a loss.

    0 within the noise.
    """
    if point.is_better_than(plain):
        return log(point.goodputs[0] / plain.goodputs[-1])
    return log(point.goodput / plain.goodput) if plain.is_better_than(point) else 0.0
