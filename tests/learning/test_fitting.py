"""Fitting on made-up rows: what is learnt, how classes are balanced, how tasks are split, and what is refused."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from learned import ABOUT, row, rows, token

from orchestrator.errors import UserError
from orchestrator.learning.calibrating import calibrated
from orchestrator.learning.fitting import balanced, fit
from orchestrator.learning.report import lines, measured, plot, wasted
from orchestrator.learning.rows import Row, export
from orchestrator.learning.table import Table, names_of, split_of, table_of
from orchestrator.learning.training import train, write
from orchestrator.routers.features import HISTORY
from orchestrator.routers.router_file import RouterFile, parse


def table(made: Iterator[Row] | list[Row], **options: Any) -> Table:
    return table_of(ABOUT, made, names_of(ABOUT, **{"history": True, **options}))


@pytest.fixture(scope="module")
def easy() -> Table:
    return table(rows(300))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    export(path, ABOUT, rows(150))
    return path


@pytest.fixture(scope="module")
def router(file: Path) -> RouterFile:
    return train([file])


@pytest.mark.parametrize(
    ("shape", "balance"),
    [("logistic", "weights"), ("logistic", "downsample"), ("logistic", "none"), ("trees", "weights")],
)
def test_what_can_be_told_is_told_on_tasks_it_never_saw(easy: Table, shape: str, balance: str) -> None:
    found = measured(fit(easy, shape=shape, balance=balance).forecast, easy.split("held-out"), 0.25)
    assert found["auc"].value > 0.99
    assert found["acc0"].value > 0.95 and found["acc1"].value > 0.95
    assert found["ece"].value < 0.05
    assert found["spearman"].value > 0.6


def test_what_cannot_be_told_is_not_claimed() -> None:
    blind = table(rows(300, sharp=0.0))
    try:
        found = measured(fit(blind, shape="logistic").forecast, blind.split("held-out"), 0.25)
    except UserError as error:
        assert "says nothing about tasks it was not fitted on" in str(error)
    else:
        assert found["auc"].low < 0.6


def test_a_prediction_is_a_probability_on_the_classes_as_they_are_however_they_were_balanced() -> None:
    half = table(rows(600, sharp=0.5))
    for balance in ("weights", "none"):
        forecast = fit(half, shape="logistic", balance=balance).forecast
        held_out = half.split("held-out")
        predicted = np.mean([forecast.chance(line) for line in held_out.values.tolist()])
        assert abs(predicted - held_out.pays.mean()) < 0.06


@given(st.lists(st.booleans(), min_size=2, max_size=60).filter(lambda pays: 0 < sum(pays) < len(pays)))
def test_a_balanced_sample_has_as_many_of_each_class(given: list[bool]) -> None:
    pays = np.array(given)
    chosen, weights = balanced(pays, "downsample")
    assert pays[chosen].sum() * 2 == len(chosen) == 2 * min(pays.sum(), (~pays).sum())
    assert len(set(chosen.tolist())) == len(chosen)
    chosen, weights = balanced(pays, "weights")
    assert len(chosen) == len(pays)
    assert weights[pays].sum() == pytest.approx(weights[~pays].sum()) == pytest.approx(len(pays) / 2)
    chosen, weights = balanced(pays, "none")
    assert len(chosen) == len(pays) and set(weights) == {1.0}


def test_all_rows_of_a_task_are_in_one_split_and_splits_have_their_shares(easy: Table) -> None:
    splits = {name: easy.split(name) for name in ("train", "validation", "held-out")}
    assert sum(map(len, splits.values())) == len(easy)
    tasks = [set(each.tasks.tolist()) for each in splits.values()]
    assert not tasks[0] & tasks[1] and not tasks[0] & tasks[2] and not tasks[1] & tasks[2]
    many = [split_of(str(number)) for number in range(4000)]
    shares = [many.count(name) / len(many) for name in splits]
    assert shares == pytest.approx([0.7, 0.15, 0.15], abs=0.03)


def test_hiding_who_wrote_before_takes_those_features_away_and_no_others() -> None:
    made = list(rows(4))
    seen, hidden = table(made), table(made, history=False)
    assert set(seen.names) - set(hidden.names) == set(HISTORY)
    places = [place for place, name in enumerate(seen.names) if name not in HISTORY]
    assert np.array_equal(seen.values[:, places], hidden.values)


def test_rows_without_logprobs_are_learnt_from_by_their_text() -> None:
    about = replace(ABOUT, logprobs=0)
    wrong, right = "Perhaps 4*2=9, or 3+8=12?\n\n", "4*2=8\n3+8\n\n"
    blind = [
        replace(each, logprobs=(), draft=wrong if each.pays and number % 10 else right)
        for number, each in enumerate(rows(300))
    ]
    made = table_of(about, blind, names_of(about, history=True))
    found = measured(fit(made, shape="logistic").forecast, made.split("held-out"), 0.25)
    assert found["auc"].low > 0.85
    with pytest.raises(UserError, match="no tokens with logprobs"):
        table(blind)


@pytest.mark.parametrize(
    ("made", "told"),
    [
        ([], "no row to learn from"),
        (
            [row(f"{task}", score=0.5, targets=(0.5,)) for task in range(99)],
            "has the score 0.5: the scorer tells nothing",
        ),
        ([row(f"{task}", score=0.1 + task / 999) for task in range(99)], "the large engine is better in all"),
        ([row(f"{task}", score=0.9 - task / 999, targets=(0.1,)) for task in range(99)], "is not better in all"),
        ([row("a", score=0.1), row("a")], "there is no row"),
    ],
)
def test_a_collection_from_which_nothing_follows_is_refused(made: list[Row], told: str) -> None:
    with pytest.raises(UserError, match=told):
        fit(table(made))


def test_a_row_whose_draft_lacks_its_logprobs_is_named() -> None:
    with pytest.raises(UserError, match=r"run run-t0, step 0: .*no tokens with logprobs"):
        table([row(logprobs=())])
    broken = token(0.9)._replace(top=(token(0.5)._replace(logprob=float("nan")),))
    with pytest.raises(UserError, match="no logprob"):
        table([row(logprobs=(broken,))])


def test_without_scikit_learn_it_says_what_to_install(easy: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(UserError, match=r"pip install 'reasoning-orchestrator\[train\]'"):
        fit(easy)


def test_a_router_says_all_that_it_is_good_for(router: RouterFile, tmp_path: Path) -> None:
    write(router, tmp_path / "router.json")
    read = parse((tmp_path / "router.json").read_bytes(), "router.json")
    assert read == router
    assert (read.pair, read.scorer, read.samples, read.logprobs) == (ABOUT.pair, "prm", 1, 2)
    assert read.data["rows"] == 750 and read.data["tasks"] == 150
    fitted = set(read.fitted_on)
    assert fitted == {f"{task:08x}" for task in range(150) if split_of(f"{task:08x}") != "held-out"}
    found = read.measured
    for name in ("base_rate", "spearman", "auc", "acc0", "acc1", "ece"):
        value, low, high = found[name]
        assert low <= value <= high
    assert found["tasks"] + len(fitted) == 150
    assert found["also"]["verifier"]["auc"][0] > 0.9
    assert set(found["validation_spearman"]) == {"logistic", "trees"}


def test_training_twice_gives_the_same_router(file: Path, router: RouterFile) -> None:
    assert train([file]).digest == router.digest


def test_its_prediction_needs_no_library_and_is_what_the_fit_said(router: RouterFile) -> None:
    line = table(rows(1)).values.tolist()[0]
    assert router.forecast.chance(line) == parse(json.dumps(router.to_json()).encode(), "x").forecast.chance(line)


def test_the_figures_are_lines_for_people_and_a_picture(router: RouterFile, tmp_path: Path) -> None:
    told = "\n".join(lines(router.measured))
    for word in ("Spearman", "AUC", "acc0 / acc1", "ECE", "base rate", "caught"):
        assert word in told
    plot(router.measured, tmp_path / "router.png")
    assert (tmp_path / "router.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UserError, match="cannot write"):
        plot(router.measured, tmp_path / "router.nothing")


def test_a_scorer_can_be_a_feature_and_must_be_in_the_rows(file: Path) -> None:
    made = train([file], uses=["verifier"], shape="logistic")
    assert made.uses == ("verifier",)
    assert made.measured["auc"][0] > 0.999  # it is told the label
    with pytest.raises(UserError, match="no scorer 'judge' in these rows to use: they have prm, verifier"):
        train([file], uses=["judge"])


def test_what_is_wasted_is_told_by_the_exact_check_first_and_rows_there_twice_count_once(
    file: Path, router: RouterFile
) -> None:
    assert list(router.data["both_wrong"]) == ["verifier", "prm"]
    assert router.data["both_wrong"]["verifier"][0] == 0
    assert wasted(router.data["both_wrong"]).startswith(
        "P(large also wrong | small wrong)  0.000 [0.000, 0.000] by ver"
    )
    twice = train([file, file])
    assert (router.data["repeated"], twice.data["repeated"], twice.data["rows"]) == (0, 750, 750)
    assert twice.measured == router.measured


def test_a_router_that_would_not_be_read_again_is_not_written(router: RouterFile, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="logprobs = 500"):
        write(replace(router, logprobs=500), tmp_path / "router.json")
    assert list(tmp_path.iterdir()) == []


@given(st.integers(0, 999), st.floats(-3, 3), st.floats(0.1, 40))
def test_a_calibration_is_the_regression_with_the_slope_held_back(seed: int, centre: float, spread: float) -> None:
    from sklearn.linear_model import LogisticRegression

    random = np.random.default_rng(seed)
    scores = centre + spread * random.normal(size=200)
    pays = random.random(200) < 1 / (1 + np.exp(-(scores - centre) / spread))
    slope, intercept = calibrated(scores, pays)
    theirs = LogisticRegression(C=1.0, solver="newton-cholesky", max_iter=10_000, tol=1e-9).fit(
        scores.reshape(-1, 1), pays
    )
    assert slope == pytest.approx(theirs.coef_[0, 0], rel=1e-3, abs=1e-5)
    assert intercept == pytest.approx(theirs.intercept_[0], rel=1e-3, abs=2e-3)


def test_a_calibration_of_rows_told_apart_perfectly_is_finite_and_one_that_points_back_is_refused() -> None:
    scores = np.array([-30.0, -20.0, 20.0, 30.0])
    slope, intercept = calibrated(scores, scores > 0)
    assert 0 < slope < 1 and abs(intercept) < 0.01
    for points in (scores < 0, np.array([True, False, True, False])):
        with pytest.raises(UserError, match="says nothing about tasks"):
            calibrated(np.abs(scores) if points[0] and points[2] else scores, points)
