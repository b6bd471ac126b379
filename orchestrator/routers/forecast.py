"""A fitted function from features to a number, as plain numbers: evaluated without any library, in microseconds.

Three shapes: `logistic`, a weighted sum of standardised features, `trees`, a sum of small decision trees, and
`served`, the probability that a served classifier gives. All give a score, in log-odds; `calibration`, a slope and
an intercept, makes a probability of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, log
from typing import Any

from orchestrator.document import is_number
from orchestrator.errors import UserError

__all__ = ["KINDS", "Forecast", "Logistic", "Served", "Shape", "Tree", "Trees", "sigmoid"]

MAX_TREES = 1000
MAX_NODES = 1023
_FURTHEST = 36.0
"""Log-odds beyond which a probability is told as if here: still more than 0, and less than 1."""


def sigmoid(score: float) -> float:
    """Return the probability that log-odds stand for, in (0, 1); NaN for NaN."""
    if score != score:
        return score
    return 1 / (1 + exp(-min(max(score, -_FURTHEST), _FURTHEST)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Logistic:
    """A weighted sum: one mean, scale and weight per feature, in the order of the features."""

    kind = "logistic"
    means: tuple[float, ...]
    scales: tuple[float, ...]
    """Above 0."""
    weights: tuple[float, ...]
    bias: float

    def score(self, values: Sequence[float]) -> float:
        """Return the log-odds; NaN if a value is."""
        rows = zip(values, self.means, self.scales, self.weights, strict=True)
        return self.bias + sum((value - mean) / scale * weight for value, mean, scale, weight in rows)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_json(cls, given: Mapping[str, Any], width: int) -> Logistic:
        """Return what `to_json` gave for `width` features. Raises UserError for anything else."""
        names = ("means", "scales", "weights")
        means, scales, weights = (_numbers(given.get(name), name, width) for name in names)
        if not all(scale > 0 for scale in scales):
            raise UserError("a scale has to be above 0")
        if not any(weights):
            raise UserError("every weight is 0: it would say the same of every draft")
        (bias,) = _numbers([given.get("bias")], "bias", 1)
        return cls(means=means, scales=scales, weights=weights, bias=bias)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """One decision tree as rows, the root first."""

    features: tuple[int, ...]
    """The place of the feature that a node asks about; -1 at a leaf."""
    thresholds: tuple[float, ...]
    """A value up to it goes left."""
    lefts: tuple[int, ...]
    rights: tuple[int, ...]
    """Rows of the children, always further down; 0 at a leaf."""
    values: tuple[float, ...]
    """What a leaf adds."""

    def value(self, values: Sequence[float]) -> float:
        """Return what the leaf adds that the values lead to."""
        node = 0
        while (feature := self.features[node]) >= 0:
            node = self.lefts[node] if values[feature] <= self.thresholds[node] else self.rights[node]
        return self.values[node]

    @classmethod
    def from_json(cls, given: Any, width: int) -> Tree:
        """Return what `to_json` gave of a tree over `width` features. Raises UserError for anything else."""
        if not isinstance(given, Mapping) or set(given) != set(cls.__slots__):
            raise UserError(f"a tree has {', '.join(cls.__slots__)}")
        size = len(given["values"]) if isinstance(given["values"], list) else 0
        if not 1 <= size <= MAX_NODES:
            raise UserError(f"a tree has 1 to {MAX_NODES} nodes, not {size}")
        features, lefts, rights = (_whole(given[name], name, size) for name in ("features", "lefts", "rights"))
        for node, feature in enumerate(features):
            children = (lefts[node], rights[node])
            if not -1 <= feature < width or (feature >= 0 and not all(node < child < size for child in children)):
                raise UserError("a tree's node asks about a feature or leads to a node that is not there")
        asking = [node for node, feature in enumerate(features) if feature >= 0]
        if sorted(child for node in asking for child in (lefts[node], rights[node])) != list(range(1, size)):
            raise UserError("a tree's node has to be led to from one place: some are from two, or from none")
        return cls(
            features=features,
            thresholds=_numbers(given["thresholds"], "thresholds", size),
            lefts=lefts,
            rights=rights,
            values=_numbers(given["values"], "values", size),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Trees:
    """A sum of trees."""

    kind = "trees"
    bias: float
    trees: tuple[Tree, ...]

    def score(self, values: Sequence[float]) -> float:
        """Return the log-odds; NaN if a value is."""
        if sum(values) != sum(values):  # a comparison with NaN would lead somewhere
            return float("nan")
        return self.bias + sum(tree.value(values) for tree in self.trees)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        rows = [{name: getattr(tree, name) for name in Tree.__slots__} for tree in self.trees]
        return {"bias": self.bias, "trees": rows}

    @classmethod
    def from_json(cls, given: Mapping[str, Any], width: int) -> Trees:
        """Return what `to_json` gave for `width` features. Raises UserError for anything else."""
        trees = given.get("trees")
        if not isinstance(trees, list) or not 1 <= len(trees) <= MAX_TREES:
            raise UserError(f"it has to have 1 to {MAX_TREES} trees")
        found = tuple(Tree.from_json(tree, width) for tree in trees)
        if all(tree.features[0] < 0 for tree in found):
            raise UserError("no tree asks about anything: it would say the same of every draft")
        (bias,) = _numbers([given.get("bias")], "bias", 1)
        return cls(bias=bias, trees=found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """The one feature is the probability: what a classifier behind an engine says."""

    kind = "served"

    def score(self, values: Sequence[float]) -> float:
        """Return its log-odds, cut where `sigmoid` cuts them; NaN if it is."""
        (chance,) = values
        if chance != chance:
            return chance
        edge = sigmoid(-_FURTHEST)
        chance = min(max(chance, edge), 1 - edge)
        return log(chance / (1 - chance))

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {}

    @classmethod
    def from_json(cls, given: Mapping[str, Any], width: int) -> Served:
        """Return what `to_json` gave for one feature. Raises UserError for more."""
        if width != 1:
            raise UserError("a served router has one feature, the signal of the scorer that asks it")
        return cls()


Shape = Logistic | Trees | Served

KINDS: Mapping[str, type[Logistic] | type[Trees] | type[Served]] = {
    each.kind: each for each in (Logistic, Trees, Served)
}
"""The shapes a forecast can have, by the name they have in a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """How probable it is that the large engine pays, given the values of the features."""

    shape: Shape
    slope: float = 1.0
    """Of the calibration; above 0, so that it changes no order."""
    intercept: float = 0.0

    def chance(self, values: Sequence[float]) -> float:
        """Return the probability, in (0, 1); NaN if a value is."""
        return sigmoid(self.slope * self.shape.score(values) + self.intercept)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        calibration = {"slope": self.slope, "intercept": self.intercept}
        return {"kind": self.shape.kind, **self.shape.to_json(), "calibration": calibration}

    @classmethod
    def from_json(cls, given: Mapping[str, Any], width: int) -> Forecast:
        """Return what `to_json` gave for `width` features. Raises UserError for anything else."""
        kind = given.get("kind")
        if not isinstance(kind, str) or kind not in KINDS:
            raise UserError(f"its kind is {kind!r:.40}; known: {', '.join(KINDS)}")
        calibration = given.get("calibration")
        if not isinstance(calibration, Mapping) or set(calibration) != {"slope", "intercept"}:
            raise UserError("its calibration has to be a slope and an intercept")
        slope, intercept = _numbers([calibration["slope"], calibration["intercept"]], "calibration", 2)
        if slope <= 0:
            raise UserError("the slope of its calibration has to be above 0")
        return cls(shape=KINDS[kind].from_json(given, width), slope=slope, intercept=intercept)


def _numbers(given: Any, name: str, size: int) -> tuple[float, ...]:
    if not isinstance(given, list) or len(given) != size:
        raise UserError(f"{name} has to be a list of {size} numbers")
    if not all(map(is_number, given)):
        raise UserError(f"{name} holds something that is no finite number")
    return tuple(map(float, given))


def _whole(given: Any, name: str, size: int) -> tuple[int, ...]:
    if not isinstance(given, list) or len(given) != size or not all(type(each) is int for each in given):
        raise UserError(f"{name} has to be a list of {size} whole numbers")
    return tuple(given)
