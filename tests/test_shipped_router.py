"""The trained router in examples/, as it is shipped: 402 tasks that it never saw, beside its controls, for real."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.embedded

EXAMPLES = Path(__file__).parents[1] / "examples"
ROUTER = "arbitrage:file=pocket_router.json:threshold=0.005"
DRAWS, TASKS = 3, 134
WITHIN, SURELY_WITHIN = 0.03, 0.05
"""What is lost against large-only, and the end of its interval: one that 400 tasks give is two points to each side,
and another processor, whose sums differ in their last digits, draws other texts. results/ has 5,000 tasks."""


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the summary of the comparison, made by the command."""
    out = tmp_path_factory.mktemp("compared") / "results"
    command = [str(Path(sys.executable).with_name("orchestrator")), "bench", "run", "--pipeline", "pocket.py:pipeline"]
    options = ["--workload", "random-calculation:preset=mid", "--seeds", str(DRAWS), "--tasks", str(TASKS)]
    subprocess.run([*command, *options, "--policies", ROUTER, "--out", str(out), "--quiet"], cwd=EXAMPLES, check=True)
    summary: dict[str, Any] = json.loads((out / "summary.json").read_text())
    return summary


@pytest.fixture(scope="module")
def routed(compared: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of the router itself."""
    (label,) = (each for each in compared["policies"] if each.startswith("arbitrage"))
    figures: dict[str, Any] = compared["policies"][label]
    return figures


def test_it_solves_about_as_many_tasks_as_the_large_engine_alone(routed: dict[str, Any]) -> None:
    lost, low, _ = routed["versus_large"]
    assert lost > -WITHIN
    assert low > -SURELY_WITHIN


def test_the_large_engine_writes_less_than_half(routed: dict[str, Any]) -> None:
    assert routed["large_decode_versus_large_only"] < 0.5


def test_it_is_faster_as_modelled(routed: dict[str, Any]) -> None:
    assert routed["modelled_speed_up"] >= 1.5


def test_the_same_share_of_large_steps_at_random_solves_fewer(routed: dict[str, Any]) -> None:
    assert routed["versus_random"]["right"][1] > 0


def test_it_has_most_of_what_the_oracle_gains_over_random(compared: dict[str, Any]) -> None:
    (family,) = (each for each in compared["rivals"]["families"] if each.startswith("arbitrage"))
    assert compared["rivals"]["families"][family]["share_of_oracle"][1] > 0.5
