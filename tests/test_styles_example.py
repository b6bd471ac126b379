"""The handbook in examples/styles/, as README has it: what only it knows makes tasks right, and the effect is told."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from orchestrator.cli.app import app

pytestmark = pytest.mark.embedded

ROOT = Path(__file__).parent.parent


def test_what_runs_are_shown_makes_them_right_and_showing_it_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shutil.copytree(ROOT / "examples/styles", tmp_path / "styles"))

    def said(*arguments: str) -> str:
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code in (0, 1), done.output  # 1: a task was answered wrongly
        return done.output

    assert "17 added" in said("handbook", "import", "handbook.jsonl")
    said("run", "tasks.jsonl", "--temperature", "0", "--quiet", "--out", "results.jsonl")
    told = said("handbook", "show", "behavior_warm_nail")
    shown, left_out = map(int, re.findall(r"shown in (\d+), left out in (\d+)", told)[0])
    assert shown + left_out == 43 and left_out >= 8
    low = float(re.findall(r"right answers, shown less not: \+[\d.]+ \[([+-][\d.]+)", told)[0])
    assert low > 0
