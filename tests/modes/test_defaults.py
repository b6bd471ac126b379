"""How much is thought where nobody says otherwise is what people are told."""

from __future__ import annotations

from typing import Any

import pytest
from defaults import check

from orchestrator import modes
from orchestrator.modes.by_kind import RETRY


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("effort", {"effort": 1.0, "least": 4, "free": 0.05, "similar": "length"}, "half the mean length of earlier"),
        (
            "lengths",
            {"slack": 1.25, "quantile": 0.95, "widen": 2.0},
            "1.25 x the 0.95 quantile of the thoughts of right",
        ),
        (
            "lengths",
            {"least": 4, "right": 1.0, "similar": "length"},
            "thoughts of right answers to similar tasks; doubled",
        ),
        ("agreement", {"threshold": 0.75, "num": 4}, "no thought where 3 of 4 forced answers agree"),
        ("agreement", {"cheap": "no_think", "then": "think", "confidence": 0.0}, "0 does not ask"),
        ("first-try", {"gate": "agreement", "threshold": 0.75, "num": 4}, "thinks where a gate doubts the answer"),
        ("first-try", {"first": "no_think", "then": "think", "on_unreadable": "reject"}, "answers without thinking"),
        (
            "first-try-by-kind",
            {"patience": 8, "similar": "numbers"},
            "Runs in a row that ended in a thought until no more",
        ),
        ("first-try-by-kind", {"gate": "written", "threshold": 0.9}, "as `first-try`, but thinks at once about kinds"),
        (
            "self-classified",
            {"threshold": 0.7, "cheap": "instant", "then": "think"},
            "as the engine itself says, if it is",
        ),
        ("auto", {"by": "kind", "threshold": None, "engine": None}, "`kind` (the default)"),
    ],
)
def test_a_default_is_what_people_are_told(name: str, options: dict[str, Any], said: str) -> None:
    check(modes.find(name), options, said)


def test_a_kind_that_is_thought_about_at_once_has_a_first_try_every_32nd_run() -> None:
    policy = modes.FirstTryByKind()
    tried = [doubted for doubted in range(80) if not policy.skips(doubted)]
    assert (RETRY, tried) == (32, [*range(8), 39, 71])
