"""What monitors do where nobody says otherwise is what people are told."""

from __future__ import annotations

from typing import Any

import pytest
from defaults import check

from orchestrator import monitors


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("convergence", {"threshold": 2, "answers": "text", "engine": ""}, "M = 2 equivalences"),
        ("convergence", {"share": 0.9, "max_thoughts": 20}, "ours are 0.9 of the mode's budget, and 20 thoughts"),
        ("overthinking", {"risk": 0.05, "signal": "trial-answer"}, "at most `risk` of all runs end by mistake"),
        ("saturation", {"threshold": 0.9, "num": 5, "when": "steps"}, "5 forced answers behind every step"),
        ("saturation", {"patience": 2, "every": 1, "max_looks": 100}, "at `patience` looks in a row"),
        ("trial-answer", {"threshold": 0.95}, "exit above 0.95"),
        (
            "trial-answer",
            {"when": "candidates", "every": 1, "max_looks": 100},
            "by default it is taken where the thought",
        ),
        ("stuck", {"repeats": 3, "errors": 3, "stale": 8, "phrases": 4, "min_moves": 2}, "last 17 moves"),
        ("stuck", {"near": 0.8}, "From this likeness on a move is nearly the same"),
        ("milestone", {"every": 5}, "so many moves since the last milestone | last 5 moves"),
        ("drift", {"moves": 6, "threshold": 0.1}, "first and last 6 moves"),
        ("budget", {"marks": (0.5, 0.8, 0.95), "tokens": None, "thought_tokens": None}, "50, 80, 95% of a token limit"),
        ("flaw-repetition", {"reach": 20, "shortest": 5}, "last 21 moves"),
        ("failed-steps", {"reach": 50, "threshold": 0.3, "min_moves": 4}, "last 50 moves"),
        ("repetition", {"repeats": 4, "longest": 256, "shortest": 64}, "last 1,025 tokens"),
        (
            "redundant",
            {"tries": 2, "kind": "redundant"},
            "Times that an error may be seen before its call is redundant",
        ),
        ("every", {"moves": 5, "kind": "stuck"}, "a check every 5 steps"),
        ("chance", {"share": 0.2, "kind": "stuck", "seed": 0}, "a share of the moves, drawn (control)"),
    ],
)
def test_a_default_is_what_people_are_told(name: str, options: dict[str, Any], said: str) -> None:
    check(monitors.find(name), options, said)
