"""Everything a report says, computed from the samples alone: repeatable without any engine."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from math import ceil
from statistics import mean, median
from typing import Any

from orchestrator.bench.agents import agents
from orchestrator.bench.cost import Use, cost, flops, modelled_s, pte
from orchestrator.bench.pareto import Point, cheapest, front
from orchestrator.bench.policies import CONTROLS, LARGE, ORACLE, RANDOM, SMALL, is_routing
from orchestrator.bench.profiles import Hardware, Prices, varied
from orchestrator.bench.regret import regret
from orchestrator.bench.resampling import held_out, ratio_ends, speed_up_interval
from orchestrator.bench.rivals import rivals
from orchestrator.bench.sample import Sample
from orchestrator.bench.spec import parts
from orchestrator.intervals import paired, wilson
from orchestrator.runtime.discernment import ALIKE, advice
from orchestrator.types import Status

__all__ = ["FEW", "Rows", "summarise", "sweep_of", "warnings"]

FEW = 30
"""Below so many tasks an interval is too wide to say much, and the report warns."""
FEW_RATINGS = 20
"""So many ratings alike are no accident."""
BUDGET_SHARE = 0.9
"""The equal budget is what large-only needs for this share of its tasks."""

Rows = Mapping[str, Sequence[Sample]]
"""The samples of each policy, on the same tasks in the same order."""


@dataclass(frozen=True, kw_only=True)
class _Context:
    rows: Rows
    machine: Hardware
    prices: Sequence[Prices]
    budget: int
    """Output tokens of the comparison at equal budget."""
    looked_share: float | None
    """Chance of a step to be looked at, where that is known."""


def summarise(
    samples: Iterable[Sample], machine: Hardware, prices: Sequence[Prices], settings: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the report as plain data.

    Only tasks that every policy has finished are compared. Modelled figures are for `machine`. `settings`
    are those of the folder: what was asked for, so that the report can say what is missing.
    """
    asked = _asked(settings or {})
    rows, dropped = _aligned(samples, asked)
    if not rows.keys() >= {SMALL, LARGE} or not rows[LARGE]:
        return {"tasks": 0, "policies": {}, "warnings": ["no task was finished by every policy yet"]}
    number = len(rows[LARGE])
    budget = _quantile([sample.decode for sample in rows[LARGE]], BUDGET_SHARE)
    looked_share = (settings or {}).get("counterfactuals")
    context = _Context(rows=rows, machine=machine, prices=prices, budget=budget, looked_share=looked_share)
    policies = {name: _policy(name, context) for name in rows}
    return {
        "tasks": number,
        "hardware": machine.name,
        "prices": [each.name for each in prices],
        "equal_budget_tokens": budget,
        "policies": policies,
        "matched_accuracy": {
            family: found for family in _families(rows) if (found := _matched_accuracy(family, context)) is not None
        },
        "rivals": rivals(_routing(rows), sweep_of, _costs(machine, prices)),
        "agents": agents(rows, {each.name: priced(each) for each in prices}),
        "sensitivity": _sensitivity(context),
        "warnings": [*_missing(rows, settings or {}, asked, dropped), *warnings(rows)],
    }


def _costs(machine: Hardware, prices: Sequence[Prices]) -> dict[str, Callable[[Sample], float]]:
    """Return what a run costs, by the name of what is counted."""

    return {
        "modelled_s": lambda sample: modelled_s(sample.uses, machine),
        **{each.name: priced(each) for each in prices},
    }


def priced(of: Prices) -> Callable[[Sample], float]:
    """Return what a run costs under a price profile."""
    return lambda sample: cost(sample.uses, of)


def _routing(rows: Rows) -> Rows:
    """Return the policies that are compared by who writes which step: those with monitors are another table's."""
    return {label: samples for label, samples in rows.items() if is_routing(label) or family_of(label) in CONTROLS}


def _asked(settings: Mapping[str, Any]) -> list[str]:
    """Return every policy that a comparison should have, each with its random control behind it."""
    found = []
    for label in settings.get("policies", ()):
        found += [label, f"{RANDOM}@{label}"] if is_routing(label) else [label]
    return found


def _aligned(samples: Iterable[Sample], asked: Sequence[str]) -> tuple[dict[str, list[Sample]], int]:
    """Return each policy's samples on the tasks that all have, and how many samples that leaves out.

    Controls come first, then policies as they were asked for, each with its random control behind it.
    """
    order = {label: place for place, label in enumerate(dict.fromkeys([SMALL, LARGE, ORACLE, *asked]))}
    found: dict[str, dict[tuple[int, str], Sample]] = {}
    for sample in samples:
        found.setdefault(sample.policy, {})[sample.seed, sample.task] = sample
    common = sorted(set.intersection(*(set(each) for each in found.values()))) if found else []
    names = sorted(found, key=lambda name: (order.get(name, len(order)), *_beside(name)))
    rows = {name: [found[name][key] for key in common] for name in names}
    return rows, sum(map(len, found.values())) - len(common) * len(found)


def _beside(label: str) -> tuple[str, bool]:
    """Return what sorts a random control behind its policy."""
    policy = label.removeprefix(f"{RANDOM}@")
    return policy, policy != label


def total(samples: Sequence[Sample]) -> dict[str, Use]:
    """Return the sums of several runs, by engine."""
    names = samples[0].uses
    return {name: reduce(Use.plus, (sample.uses[name] for sample in samples), Use()) for name in names}


def _policy(name: str, context: _Context) -> dict[str, Any]:
    samples, large = context.rows[name], context.rows[LARGE]
    number = len(samples)
    uses = total(samples)
    hits = [sample.is_right for sample in samples]
    within = [sample.is_right and sample.decode <= context.budget for sample in samples]
    large_within = [sample.is_right and sample.decode <= context.budget for sample in large]
    tokens = sum(use.decode for use in uses.values())
    steps = sum(sample.steps for sample in samples)
    *_, largest = uses
    seconds, large_seconds = ([modelled_s(each.uses, context.machine) for each in some] for some in (samples, large))
    by_large, all_large = ([each.uses[largest].decode for each in some] for some in (samples, large))
    purposes: Counter[str] = Counter()
    for sample in samples:
        purposes.update(sample.purposes)
    return {
        "accuracy": wilson(sum(hits), number),
        "score": mean(sample.score for sample in samples),
        "versus_large": paired(hits, [sample.is_right for sample in large]),
        "versus_random": _versus_random(name, context),
        "accuracy_at_equal_budget": wilson(sum(within), number),
        "versus_large_at_equal_budget": paired(within, large_within),
        "large_share_of_tokens": uses[largest].decode / tokens if tokens else 0.0,
        "large_share_of_steps": sum(sample.large_steps for sample in samples) / steps if steps else 0.0,
        "escalations_per_task": mean(sample.escalations for sample in samples),
        "steps_per_task": steps / number,
        "statuses": dict(sorted(Counter(sample.status for sample in samples).items())),
        "budget_stops": sum(sample.status == Status.BUDGET for sample in samples),
        "scorer_errors": sum(bool(sample.score_error) for sample in samples),
        "wall_s": {"mean": mean(s.seconds for s in samples), "median": median(s.seconds for s in samples)},
        "modelled_s": mean(seconds),
        "modelled_speed_up": _ratio(sum(large_seconds), sum(seconds)),
        "modelled_speed_up_interval": ratio_ends(large_seconds, seconds),
        "wall_speed_up": _ratio(sum(s.seconds for s in large), sum(s.seconds for s in samples)),
        "flops": flops(uses, context.machine) / number,
        "pte": pte(uses, context.machine) / number,
        "cost": {each.name: cost(uses, each) / number for each in context.prices},
        "engines": {name: _per_task(use, number) for name, use in uses.items()},
        "output_tokens_by_purpose": {key: value / number for key, value in sorted(purposes.items())},
        "large_decode_versus_large_only": _ratio(sum(by_large), sum(all_large)),
        "large_decode_versus_large_only_interval": ratio_ends(by_large, all_large),
        "regret": regret(samples, context.looked_share),
    }


def _versus_random(name: str, context: _Context) -> dict[str, Any] | None:
    """Return how a policy compares with its random control, which wrote as many steps with the large engine."""
    control = context.rows.get(f"{RANDOM}@{name}")
    if control is None:
        return None
    samples = context.rows[name]
    *_, largest = samples[0].uses
    return {
        "right": paired([sample.is_right for sample in samples], [sample.is_right for sample in control]),
        "large_decode": _ratio(total(samples)[largest].decode, total(control)[largest].decode),
        "modelled_s": _ratio(
            sum(modelled_s(each.uses, context.machine) for each in samples),
            sum(modelled_s(each.uses, context.machine) for each in control),
        ),
    }


def _per_task(use: Use, number: int) -> dict[str, float]:
    return {key: value / number for key, value in use.to_json().items() if key not in ("context", "longest")}


def _ratio(over: float, under: float) -> float | None:
    return over / under if under else None


def _families(rows: Rows) -> list[str]:
    """Return the routers that have a front: every policy's name without its options, the random control among them."""
    return sorted({family_of(name) for name in rows} - {SMALL, LARGE})


def family_of(label: str) -> str:
    """Return the router that a policy's label belongs to, with the judge where that was replaced, and the names of its
    other parts."""
    if label.startswith(f"{RANDOM}@"):
        return RANDOM
    first, *others = parts(label)
    name, *options = first.split(":")
    router = ":".join([name, *(option for option in options if option.startswith("judge="))])
    return "+".join([router, *(re.split("[:=]", each)[0] for each in others)])


def sweep_of(label: str) -> str:
    """Return what a policy's label has in common with those that differ in numbers only: one curve's settings."""
    if (family := family_of(label)) in CONTROLS:
        return family
    return "+".join(map(_without_numbers, parts(label)))


def _without_numbers(part: str) -> str:
    name, *options = part.split(":")
    return ":".join([name, *(option for option in options if not _is_number(option.partition("=")[2]))])


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _matched_accuracy(family: str, context: _Context) -> dict[str, Any] | None:
    """Return what reaching large-only's accuracy costs on this router's front, small-only and large-only among it.

    None if that costs nothing, because no run got as far as a call.
    """
    members = [name for name in context.rows if family_of(name) == family] + [SMALL, LARGE]
    target = sum(sample.is_right for sample in context.rows[LARGE]) / len(context.rows[LARGE])
    seconds = [[modelled_s(sample.uses, context.machine) for sample in context.rows[name]] for name in members]
    points = [
        Point(mean(each), sum(s.is_right for s in context.rows[name]) / len(each), name)
        for name, each in zip(members, seconds, strict=True)
    ]
    least = cheapest(points, target)
    assert least is not None  # large-only is one of the points
    if not least.cost:
        return None
    hits = [[sample.is_right for sample in context.rows[name]] for name in members]
    return {
        "accuracy": target,
        "modelled_s": least.cost,
        "speed_up": points[-1].cost / least.cost,
        "speed_up_interval": speed_up_interval(seconds, hits),
        **dict(zip(("held_out_speed_up", "held_out_versus_large"), held_out(seconds, hits), strict=True)),
        "front": [point.label for point in front(points)],
    }


def _sensitivity(context: _Context) -> dict[str, dict[str, float | None]]:
    """Return each policy's modelled speed-up with every figure of the profile halved, then doubled."""
    sums = {name: total(samples) for name, samples in context.rows.items()}
    return {
        what: {name: _ratio(modelled_s(sums[LARGE], machine), modelled_s(uses, machine)) for name, uses in sums.items()}
        for what, machine in varied(context.machine)
    }


def _quantile(values: Sequence[int], share: float) -> int:
    return sorted(values)[max(0, ceil(share * len(values)) - 1)]


def _missing(rows: Rows, settings: Mapping[str, Any], asked: Sequence[str], dropped: int) -> list[str]:
    """Return what keeps the comparison from being the one that was asked for."""
    found = []
    number = len(rows[LARGE])
    different = len({sample.task for sample in rows[LARGE]})
    if number < FEW:
        found.append(f"{number} tasks are few: with fewer than {FEW} the intervals say little")
    if different < number:
        found.append(f"only {different} of {number} tasks are different ones, so the intervals are too narrow")
    if settings.get("pipeline", {}).get("overlap"):
        found.append("runs overlapped calls: modelled figures add them up one after another, dropped ones among them")
    if settings.get("counterfactuals"):
        found.append(
            "the other engine's steps were looked at: wall times have that in them, but not those of small, large and "
            "oracle, so they cannot be compared"
        )
    if dropped:
        found.append(f"{dropped} samples were left out: not every policy has finished their tasks")
    elif settings and number < settings["tasks"] * settings["seeds"]:
        found.append(f"{number} tasks where {settings['tasks'] * settings['seeds']} were asked for: there are no more")
    if absent := [label for label in asked if label not in rows]:
        found.append(f"not run yet: {', '.join(absent)}")
    return found


def _alike(label: str, samples: Sequence[Sample]) -> str:
    """Return that a judge's ratings are all alike and what to try, or nothing if they differ or are few."""
    options = label.split(":")
    if family_of(label) in CONTROLS or "judge=verifier" in options:
        return ""
    rated = [sample for sample in samples if sample.rated]  # an older folder has ratings without their values
    number = sum(sample.ratings - len(sample.missing) for sample in rated)
    values = {9 * value for sample in rated for value in sample.rated}
    if number < FEW_RATINGS or max(values) - min(values) >= ALIKE:
        return ""
    is_greedy = not any(option.startswith(("judge=", "reading=")) for option in options)
    return f"all {number} ratings are alike, {min(values):.1f}: {advice(is_greedy=is_greedy)}"


def warnings(rows: Rows) -> list[str]:
    """Return what else than a policy may have decided what its samples came to, a line each."""
    found = []
    silent: Counter[str] = Counter()
    for name, samples in rows.items():
        if failed := sum(bool(sample.score_error) for sample in samples):
            error = next(sample.score_error for sample in samples if sample.score_error)
            found.append(f"{name}: the scorer failed on {failed} tasks, which count as wrong: {error}")
        if failed := sum(sample.status == Status.FAILED for sample in samples):
            error = next(sample.error for sample in samples if sample.status == Status.FAILED)
            found.append(f"{name}: {failed} runs failed and count as wrong: {error}")
        if missing := [reason for sample in samples for reason in sample.missing]:
            number = sum(sample.ratings for sample in samples)
            found.append(f"{name}: {len(missing)} of {number} ratings could not be had, first: {missing[0]}")
        if alike := _alike(name, samples):
            found.append(f"{name}: {alike}")
        if degraded := sum(sample.status == Status.DEGRADED for sample in samples):
            found.append(f"{name}: in {degraded} runs another engine wrote for one that had failed")
        if cut := sum(any(key.endswith("/interrupted") for key in sample.purposes) for sample in samples):
            found.append(f"{name}: {cut} runs were interrupted and went on; calls cut off are charged as reserved")
        for sample in samples:
            silent.update({engine: use.unreported for engine, use in sample.uses.items()})
    for engine, number in silent.items():
        if number:
            found.append(f"{number} calls of {engine} did not report what was cached: their prompts count as uncached")
    return found
