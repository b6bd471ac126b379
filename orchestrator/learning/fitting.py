"""Fit a light router: from a table of drafts to plain numbers that say where the large engine pays.

Two shapes are tried, a logistic regression on standardised features and a few dozen small trees, and the one that
ranks the validation tasks better is taken. Classes are balanced while it is fitted; a slope and an intercept, fitted
on the validation tasks as they are, then make a probability of its score.

Source: Arbitrage, arXiv:2512.05033, for the target (is the large engine's step strictly better), the balance, the
split by task, and Spearman's correlation with the advantage as what is selected by. Differs: regression and trees in
the place of a fine-tuned reward model; balance by weights unless downsampling is asked for (a few thousand rows are
all there is, and weights waste none); predictions are calibrated (there they are not); and a collection with one
class, or without any difference in its scores, is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.errors import UserError
from orchestrator.learning.calibrating import calibrated
from orchestrator.learning.metrics import spearman
from orchestrator.learning.table import SPLITS, Table
from orchestrator.routers.forecast import Forecast, Logistic, Tree, Trees

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingClassifier

__all__ = ["BALANCES", "SHAPES", "Fitted", "balanced", "check", "fit"]

SHAPES = ("best", "logistic", "trees")
BALANCES = ("weights", "downsample", "none")
_NAN = float("nan")
_CLOSE = 1e-6

Bools = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What came of it."""

    forecast: Forecast
    ranked: Mapping[str, float]
    """Spearman's correlation on the validation tasks, of each shape that was tried."""


def check(table: Table) -> None:
    """Raise UserError if there is nothing to learn from these rows."""
    if not len(table):
        raise UserError("there is no row to learn from: collect some with `orchestrator collect`")
    if not np.isfinite(table.values).all():
        name = table.names[int(np.argmin(np.isfinite(table.values).all(axis=0)))]
        raise UserError(f"feature {name} is not a finite number in some rows: are the engine's logprobs in order?")
    if len(set(table.scores.tolist())) < 2 and not table.advantages.any():
        score = table.scores[0]
        raise UserError(f"every draft and every target has the score {score:g}: the scorer tells nothing apart")
    for name in SPLITS:
        pays = table.split(name).pays
        if len(pays) < 2 or pays.all() or not pays.any():
            which = "better" if len(pays) and pays.all() else "not better"
            found = f"the large engine is {which} in all {len(pays)} rows" if len(pays) else "there is no row"
            raise UserError(f"{found} of the {name} tasks: both classes are needed in each split, collect more tasks")


def fit(table: Table, *, shape: str = "best", balance: str = "weights", seed: int = 0) -> Fitted:
    """Return what was fitted on the train tasks, chosen and calibrated on the validation tasks.

    Raises UserError without scikit-learn, if there is nothing to learn from, or if what was learnt does not carry
    over to the validation tasks.
    """
    _check_installed()
    check(table)
    train, validation = table.split("train"), table.split("validation")
    chosen, weights = balanced(train.pays, balance, seed)
    train = train.where(chosen)
    tried: dict[str, tuple[float, Logistic | Trees, NDArray[Any]]] = {}
    for name in SHAPES[1:] if shape == "best" else (shape,):
        made: Logistic | Trees = _SHAPES[name](train.values, train.pays, weights[chosen], seed)
        scores = np.array([made.score(line) for line in validation.values.tolist()])
        tried[name] = (spearman(scores, validation.advantages), made, scores)
    ranked = {name: rank for name, (rank, _, _) in tried.items()}
    best = max(tried, key=lambda name: -2.0 if ranked[name] != ranked[name] else ranked[name])
    _, chosen_shape, scores = tried[best]
    slope, intercept = calibrated(scores, validation.pays)
    return Fitted(forecast=Forecast(shape=chosen_shape, slope=slope, intercept=intercept), ranked=ranked)


def balanced(pays: Bools, balance: str, seed: int = 0) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the rows to fit on, and a weight for each row of all.

    `downsample` leaves out rows of the larger class, drawn at random, until both have as many; `weights` gives both
    classes the same sum of weights; `none` takes the rows as they are.
    """
    everything, ones = np.arange(len(pays)), np.ones(len(pays))
    if balance == "none":
        return everything, ones
    positives = int(pays.sum())
    negatives = len(pays) - positives
    if balance == "weights":
        return everything, np.where(pays, len(pays) / (2 * positives), len(pays) / (2 * negatives))
    random = np.random.default_rng(seed)
    least = min(positives, negatives)
    drawn = [random.choice(everything[of], least, replace=False) for of in (pays, ~pays)]
    return np.sort(np.concatenate(drawn)), ones


def _logistic(values: NDArray[np.float64], pays: Bools, weights: NDArray[np.float64], seed: int) -> Logistic:
    from sklearn.linear_model import LogisticRegression

    regression = LogisticRegression(C=0.3, max_iter=2000)
    means, scales = values.mean(axis=0), values.std(axis=0)
    scales = np.where(scales > _CLOSE, scales, 1.0)
    regression.fit((values - means) / scales, pays, sample_weight=weights)
    return Logistic(
        means=tuple(means.tolist()),
        scales=tuple(scales.tolist()),
        weights=tuple(regression.coef_[0].tolist()),
        bias=float(regression.intercept_[0]),
    )


def _trees(values: NDArray[np.float64], pays: Bools, weights: NDArray[np.float64], seed: int) -> Trees:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits

    boosted = HistGradientBoostingClassifier(
        max_iter=150, learning_rate=0.06, max_leaf_nodes=8, early_stopping=False, random_state=seed
    )
    with threadpool_limits(1):  # more wait for each other where cores are shared
        boosted.fit(values, pays, sample_weight=weights)
    made = _exported(boosted)
    sample = values[:: max(1, len(values) // 200)]
    ours = np.array([made.score(line) for line in sample.tolist()])
    if np.abs(ours - boosted.decision_function(sample)).max() > _CLOSE:
        raise UserError("this version of scikit-learn keeps its trees in another way: train with --shape logistic")
    return made


def _exported(boosted: HistGradientBoostingClassifier) -> Trees:
    """Return fitted trees as plain numbers. Their rows are not public: whoever calls this compares predictions."""
    return Trees(
        bias=float(np.ravel(boosted._baseline_prediction)[0]),
        trees=tuple(_tree(predictors[0].nodes) for predictors in boosted._predictors),
    )


def _tree(nodes: Any) -> Tree:
    is_leaf = nodes["is_leaf"].astype(bool)
    return Tree(
        features=tuple(np.where(is_leaf, -1, nodes["feature_idx"]).tolist()),
        thresholds=tuple(np.where(is_leaf, 0.0, np.clip(nodes["num_threshold"], -1e300, 1e300)).tolist()),
        lefts=tuple(np.where(is_leaf, 0, nodes["left"]).tolist()),
        rights=tuple(np.where(is_leaf, 0, nodes["right"]).tolist()),
        values=tuple(np.where(is_leaf, nodes["value"], 0.0).tolist()),
    )


def _check_installed() -> None:
    try:
        import sklearn  # noqa: F401 - said here in one line, and used where it is needed
    except ImportError as error:
        raise UserError("training needs scikit-learn: pip install 'reasoning-orchestrator[train]'") from error


_SHAPES: Mapping[str, Callable[..., Logistic | Trees]] = {"logistic": _logistic, "trees": _trees}
