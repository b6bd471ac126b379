"""Routers against the oracle and against each other, setting by setting joined to curves; intervals by task.

Tasks are drawn again with replacement, all settings of all routers on the same draw, and everything is computed
anew: shares, accuracies, curves, areas. Source of the comparison: Arbitrage, accuracy against acceptance rate;
the oracle's area over random's is what there is to gain by choosing steps well. Random's curve goes through its
controls where they were measured, whatever straight line one expects.

At equal cost the oracle is the front of small-only, the oracle and large-only, mixtures in it. Its cost is what it was
measured to be, the large engine's steps that it asked for and did not take among it: it asks where a draft's score
leaves room, so with an exact check only where the draft is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

from orchestrator.bench.area import UP_TO, Curve, Knot, area, at, curve
from orchestrator.bench.pareto import Point, cheapest, front
from orchestrator.bench.policies import LARGE, ORACLE, RANDOM, SMALL
from orchestrator.bench.resampling import draws, spread
from orchestrator.bench.sample import Sample

if TYPE_CHECKING:
    import numpy as np

__all__ = ["rivals"]

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
"""Large shares at which two routers are compared."""
LEVELS = (0.5, 0.75, 0.9, 1.0)
"""Accuracies at which their large tokens are compared: parts of the way from small-only to large-only."""

Rows = Mapping[str, Sequence[Sample]]
Costs = Mapping[str, Callable[[Sample], float]]
"""What a run costs, by what is counted."""
Ends = tuple[float, float | None, float | None]
"""A value with its interval; ends are None where too many draws have no such figure."""


class _Draw(NamedTuple):
    """What every policy came to on one draw of the tasks."""

    shares: Mapping[str, float]
    accuracies: Mapping[str, float]
    tokens: Mapping[str, float]
    """Output tokens of the largest engine per task, judge and discarded ones in it."""
    costs: Mapping[str, Mapping[str, float]]
    """Per task, by what is counted and policy."""


class _Field:
    """All policies of a comparison, and curves of their families on any draw."""

    def __init__(self, rows: Rows, families: Mapping[str, Sequence[str]], costs: Costs) -> None:
        self.families = families
        self.names = list(rows)
        *_, largest = next(iter(rows.values()))[0].uses
        of: list[Callable[[Sample], float]] = [
            lambda sample: float(sample.is_right),
            lambda sample: float(sample.large_steps),
            lambda sample: float(sample.steps),
            lambda sample: float(sample.uses[largest].decode),
            *costs.values(),
        ]
        self.costs = list(costs)
        self._figures = [[[figure(sample) for sample in rows[name]] for name in self.names] for figure in of]

    def draws(self) -> Iterator[_Draw]:
        """Yield the tasks as they are, and then each draw of them."""
        import numpy as np

        number = len(self._figures[0][0])
        counts = np.vstack([np.ones(number), draws(number)])
        right, large, steps, tokens, *costs = (counts @ np.asarray(figure).T for figure in self._figures)
        shares = np.divide(large, steps, out=np.zeros_like(large), where=steps > 0)
        for row in range(len(counts)):
            yield _Draw(
                shares=self._named(shares[row]),
                accuracies=self._named(right[row] / number),
                tokens=self._named(tokens[row] / number),
                costs={what: self._named(each[row] / number) for what, each in zip(self.costs, costs, strict=True)},
            )

    def _named(self, values: np.ndarray) -> dict[str, float]:
        return dict(zip(self.names, values.tolist(), strict=True))

    def curve(self, family: str, draw: _Draw) -> Curve:
        """Return the curve of a family."""
        knots = [Knot(draw.shares[name], draw.accuracies[name]) for name in self.families[family]]
        end = None if family == ORACLE else draw.accuracies[LARGE]
        return curve(knots, draw.accuracies[SMALL], end)

    def oracle_at(self, draw: _Draw, what: str, cost: float) -> float:
        """Return how accurate the oracle is for so much a task; level below small-only and above the last one."""
        import numpy as np

        names = [*self.families[ORACLE], SMALL, LARGE]
        best = front([Point(draw.costs[what][name], draw.accuracies[name]) for name in names])
        return float(np.interp(cost, [each.cost for each in best], [each.accuracy for each in best]))

    def tokens(self, family: str, draw: _Draw) -> dict[float, float | None]:
        """Return, for each of LEVELS, the fewest large tokens per task with which a family, mixtures in it, is so
        accurate; None: never."""
        low, high = draw.accuracies[SMALL], draw.accuracies[LARGE]
        names = [*self.families[family], SMALL, LARGE]
        best = front([Point(draw.tokens[name], draw.accuracies[name]) for name in names])
        least = {level: cheapest(best, low + level * (high - low)) for level in LEVELS}
        return {level: each.cost if each else None for level, each in least.items()}


def rivals(rows: Rows, family_of: Callable[[str], str], costs: Costs | None = None) -> dict[str, Any] | None:
    """Return areas, distances to the oracle and comparisons as plain data; None where there is no router to compare.

    Every interval is a 95% percentile bootstrap over tasks; draws on which a figure does not exist (the oracle gains
    nothing over random) are left out, and where there are many of them it has no ends. `costs` are what policies are
    compared with the oracle at, beside their large share.
    """
    families: dict[str, list[str]] = {}
    for name in rows:
        families.setdefault(family_of(name), []).append(name)
    asked = [family for family in families if family not in (SMALL, LARGE, ORACLE, RANDOM)]
    if not asked or RANDOM not in families:
        return None
    field = _Field(rows, {name: each for name, each in families.items() if name not in (SMALL, LARGE)}, costs or {})
    found = [_figures(field, asked, draw) for draw in field.draws()]
    figures = {key: _interval([each[key] for each in found]) for key in found[0]}
    first = next(field.draws())
    return {
        "up_to_share": UP_TO,
        "random_area": figures["area", RANDOM],
        "oracle": _oracle(first, figures) if ORACLE in families else None,
        "families": {
            family: {
                "settings": len(families[family]),
                "area": figures["area", family],
                "mean_over_random": figures["over random", family],
                "share_of_oracle": figures.get(("of oracle", family)),
            }
            for family in asked
        },
        "versus_oracle": {
            name: figures["below oracle", name] for family in asked for name in families[family] if ORACLE in families
        },
        "versus_oracle_at_cost": {
            what: {
                name: figures["below oracle", name, what]
                for family in asked
                for name in families[family]
                if ORACLE in families
            }
            for what in costs or {}
        },
        "pairs": [_pair(one, other, figures) for one, other in combinations(asked, 2)],
    }


def _figures(field: _Field, asked: Sequence[str], draw: _Draw) -> dict[tuple[Any, ...], float | None]:
    curves = {family: field.curve(family, draw) for family in field.families}
    areas = {family: area(each) for family, each in curves.items()}
    found: dict[tuple[Any, ...], float | None] = {("area", family): each for family, each in areas.items()}
    for family in asked:
        over = areas[family] - areas[RANDOM]
        found["over random", family] = over / UP_TO
        if ORACLE in curves:
            room = areas[ORACLE] - areas[RANDOM]
            found["of oracle", family] = over / room if room > 0 else None
            for name in field.families[family]:
                found["below oracle", name] = at(curves[ORACLE], draw.shares[name]) - draw.accuracies[name]
                for what in field.costs:
                    most = field.oracle_at(draw, what, draw.costs[what][name])
                    found["below oracle", name, what] = most - draw.accuracies[name]
    tokens = {family: field.tokens(family, draw) for family in asked} if len(asked) > 1 else {}
    for one, other in combinations(asked, 2):
        for share in SHARES:
            found["at", one, other, share] = at(curves[one], share) - at(curves[other], share)
        found["least", one, other] = min(found["at", one, other, share] or 0.0 for share in SHARES)
        for level in LEVELS:
            ours, theirs = tokens[one][level], tokens[other][level]
            found["tokens", one, other, level] = theirs / ours if ours and theirs is not None else None
    return found


def _interval(values: Sequence[float | None]) -> Ends | None:
    """Return the first value with the interval of the others; None where it does not exist itself."""
    first, *drawn = values
    if first is None:
        return None
    low, high = spread(drawn) or (None, None)
    return first, low, high


def _oracle(first: _Draw, figures: Mapping[tuple[Any, ...], Ends | None]) -> dict[str, Any]:
    name = next(name for name in first.shares if name.split(":")[0] == ORACLE)
    return {"area": figures["area", ORACLE], "own_share": first.shares[name], "accuracy": first.accuracies[name]}


def _pair(one: str, other: str, figures: Mapping[tuple[Any, ...], Ends | None]) -> dict[str, Any]:
    return {
        "first": one,
        "second": other,
        "accuracy_difference": {f"{share:g}": figures["at", one, other, share] for share in SHARES},
        "least_difference": figures["least", one, other],
        "large_tokens_ratio": {f"{level:g}": figures["tokens", one, other, level] for level in LEVELS},
    }
