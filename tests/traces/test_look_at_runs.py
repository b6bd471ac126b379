"""The example of a notebook runs, on the pocket pair, and says what it promises."""

from __future__ import annotations

import re
import runpy
import tempfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.embedded

EXAMPLE = Path(__file__).parents[2] / "examples/look_at_runs.py"


def test_the_notebook_answers_why_the_large_engine_was_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pandas")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left = runpy.run_path(str(EXAMPLE))
    said = capsys.readouterr().out
    rejected = re.findall(r"step \d+: (\d\.\d) < 7\.0, ", said)
    assert rejected and all(float(score) < 7 for score in rejected)
    assert said.count("x rejected") and "large produced" in said
    assert len(re.findall(r"^\S+ of \S+: \d+% of output tokens by the large engine$", said, re.MULTILINE)) == 3
    assert "threshold 7: 0 of" in said  # its own threshold flips nothing
    assert left["traces"].path.parent.parent == tmp_path
