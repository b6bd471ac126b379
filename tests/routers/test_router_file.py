"""The document of a trained router: read strictly, and refused in one line that says what is wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from learned import PAIR

from orchestrator.config import router_file
from orchestrator.document import MAX_BYTES
from orchestrator.engines.scorers import ESCALATION, PLAIN
from orchestrator.errors import BadConfig
from orchestrator.routers.forecast import Forecast, Logistic, Served
from orchestrator.routers.router_file import CLASSIFIERS, RouterFile, check_pair, parse
from orchestrator.runtime.pairing import Pair

MADE = RouterFile(
    features=("margin_min", "signal:prm"),
    forecast=Forecast(shape=Logistic(means=(0.0, 0.0), scales=(1.0, 1.0), weights=(1.0, -1.0), bias=0.0)),
    logprobs=5,
    scorer="prm",
    samples=1,
    pair=PAIR,
    measured={"auc": [0.9, 0.8, 1.0]},
    data={"fitted_on": ["a"], "rows": 3},
    made="2026-11-27",
    package="0.1.0",
)


SERVED = replace(MADE, forecast=Forecast(shape=Served()), features=("signal:escalation",), logprobs=0).to_json()
WRITER = PAIR["writers"][0]


def document(**changes: Any) -> bytes:
    given = {key: value for key, value in {**MADE.to_json(), **changes}.items() if value is not ...}
    return json.dumps(given).encode()


def test_a_document_reads_back_the_same() -> None:
    assert parse(document(), "router.json") == MADE
    assert MADE.uses == ("prm",)
    assert MADE.fitted_on == ("a",)


def test_a_digest_names_what_is_in_it_and_not_how_it_is_written() -> None:
    assert parse(json.dumps(MADE.to_json(), indent=2).encode(), "x").digest == MADE.digest
    assert parse(document(samples=2), "x").digest != MADE.digest
    assert repr(MADE) == f"<router {MADE.digest}>"


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "is no router: not JSON that can be read"),
        (b"\xff", "is no router: not JSON that can be read"),
        (b"[" * 100_000, "is no router: not JSON that can be read"),
        (b"[]", "is no router: it has no format 'orchestrator-router'; `orchestrator train-router` makes one"),
        (document(format="orchestrator-calibration"), "it has no format"),
        (document(version=2), "has format version 2, and this program knows 1: update it"),
        (document(version="1"), "version = '1'"),
        (document(version=True), "version = True"),
        (document(version=0), "version = 0"),
        (document(kind="neural"), "its kind is 'neural'; known: logistic, trees"),
        (document(pair=...), "it has no pair"),
        (document(pair="both"), "pair = 'both'"),
        (document(features=[]), r"features = \[\]"),
        (document(features=["margin_min", "margin_min"]), "features = "),
        (document(features=["margin_min", "magic"]), "does not know: magic"),
        (document(features=["margin_min", "signal:"]), "does not know: signal:"),
        (document(features=["margin_min"]), "means has to be a list of 1 numbers"),
        (document(logprobs=-1), "logprobs = -1"),
        (document(logprobs=1e9), "logprobs = 1000000000.0"),
        (document(data={}), "does not say which tasks"),
        (document(data={"fitted_on": [1]}), "does not say which tasks"),
        (document(weights=[float("nan"), 1.0]), "NaN is no number"),
        (document(weights=[float("inf"), 1.0]), "Infinity is no number"),
        (document(bias=10**400), "bias holds something that is no finite number"),
        (document(pair={}), "its pair has to be a table of the writers"),
        (document(pair={"engines": 5}), "its pair has to be a table of the writers"),
        (document(pair={"writers": [WRITER]}), "its pair has to be a table of the writers, two or more"),
        (document(pair={"writers": [WRITER, {**WRITER, "greedy": 5}]}), "which are texts"),
        (document(pair={"writers": [WRITER, {"name": "large"}]}), "a writer of its pair has name, serves"),
        (document(features=["chars", "entropy_mean"], logprobs=0), "sees entropy_mean and reads no logprobs"),
        (document(trees=[]), "it has keys that mean nothing here: trees"),
        (document(weigths=[]), "it has keys that mean nothing here: weigths"),
        (document(samples=0), "samples = 0"),
        (document(samples=10**9), "samples = 1000000000"),
        (document().replace(b'"bias"', b'"bias": 1.0, "bias"'), "bias is there twice"),
        (document().replace(b'"slope"', b'"slope": 1.0, "slope"'), "slope is there twice"),
        (json.dumps({**SERVED, "features": ["chars"]}).encode(), "a served router reads signal:escalation or"),
        (json.dumps({**SERVED, "features": ["signal:prm"]}).encode(), "not signal:prm and 0"),
        (json.dumps({**SERVED, "logprobs": 5}).encode(), "not signal:escalation and 5"),
        (b" " * (MAX_BYTES + 1), "longer than 16 MiB; is this the right file"),
    ],
)
def test_what_is_no_router_is_refused_in_one_line(tmp_path: Path, data: bytes, told: str) -> None:
    file = tmp_path / "router.json"
    file.write_bytes(data)
    with pytest.raises(BadConfig, match=rf"^{file}:? .*{told}") as caught:
        router_file(str(file))
    assert "\n" not in str(caught.value)


def test_a_mean_over_more_targets_than_a_token_has_alternatives_is_read() -> None:
    assert parse(document(samples=1000), "x").samples == 1000


def test_what_is_known_here_of_classifiers_and_pairs_is_what_makes_them() -> None:
    assert set(CLASSIFIERS) == {ESCALATION, PLAIN}
    check_pair(Pair.from_json(PAIR).to_json())


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match=r"none.json: No such file or directory; `orchestrator train-router`"):
        router_file(str(tmp_path / "none.json"))
    with pytest.raises(BadConfig, match="Is a directory"):
        router_file(str(tmp_path))
