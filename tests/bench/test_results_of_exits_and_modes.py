"""The tables in results/ are what the samples beside them come to."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("benchmark", "folder"),
    [("exits", "pocket-1-exits"), ("modes", "pocket-1-modes"), ("modes", "pocket-1-modes-hard")],
)
def test_the_table_is_that_of_its_samples(benchmark: str, folder: str, tmp_path: Path) -> None:
    copy = tmp_path / folder
    shutil.copytree(ROOT / "results" / folder, copy)
    (copy / "table.txt").unlink()
    command = [sys.executable, str(ROOT / "benchmarks" / f"{benchmark}.py"), "--report", "--out", str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    known = (ROOT / "results" / folder / "table.txt").read_text()
    assert done.stdout == known == (copy / "table.txt").read_text()
