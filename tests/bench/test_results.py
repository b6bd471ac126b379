"""The tables in results/ are what the samples beside them come to."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import orchestrator as orc
from orchestrator.bench.workloads import workload_of
from orchestrator.cli.app import app
from orchestrator.monitors.exit_file import parse
from orchestrator.monitors.overthinking import Overthinking
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.types import Budget

ROOT = Path(__file__).parents[2]
PACKED = sorted(file.with_name("samples.jsonl.xz") for file in (ROOT / "results").glob("**/summary.json"))
PACKED = [file for file in PACKED if file.exists()]
LEARNED = [file.parent for file in sorted((ROOT / "results").glob("**/handbook.jsonl"))]
EXITS = sorted((ROOT / "results").glob("**/*.exits.json"))


@pytest.mark.parametrize(
    ("benchmark", "folder"),
    [
        ("exits", "pocket-1-exits"),
        ("modes", "pocket-1-modes"),
        ("modes", "pocket-1-modes-hard"),
        ("handbook_effect", "pocket-1-handbook"),
        ("handbook_effect", "pocket-1-handbook/several"),
    ],
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


@pytest.mark.parametrize("packed", PACKED, ids=lambda file: str(file.parent.relative_to(ROOT)))
def test_the_table_of_a_race_is_that_of_its_samples(packed: Path, tmp_path: Path) -> None:
    copy = tmp_path / "results"
    shutil.copytree(packed.parent, copy)
    known = (copy / "table.txt").read_text()
    done = CliRunner().invoke(app, ["bench", "report", str(copy)])
    assert done.exit_code == 0, done.output
    assert done.stdout == known == (copy / "table.txt").read_text()


@pytest.mark.parametrize("folder", LEARNED, ids=lambda folder: folder.name)
def test_the_table_of_test_then_learn_is_that_of_its_samples(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "results"
    shutil.copytree(folder, copy)
    (copy / "table.txt").unlink()
    done = CliRunner().invoke(app, ["bench", "report", str(copy)])
    assert done.exit_code == 0, done.output
    assert done.stdout == (folder / "table.txt").read_text() == (copy / "table.txt").read_text()


@pytest.mark.parametrize("file", EXITS, ids=lambda file: file.name)
def test_a_calibration_of_exits_among_the_results_can_be_read_and_gives_the_thresholds_that_were_run(
    file: Path,
) -> None:
    known = parse(file.read_bytes(), file.name)
    stem, signal = file.name.removesuffix(".exits.json").split("-mid-")
    chosen = json.loads((file.parent / f"{stem}-mid.settings.json").read_text())
    for risk in (0.02, 0.05, 0.1):
        exits = Overthinking(risk=risk, signal=known.signal, confidence=chosen["confidence"], learnt=known)
        name = f"{signal.replace('answer-', 'answer ')}, {risk:g} {known.mistake}"
        assert exits.exit.threshold == chosen["ways"][name]["threshold"]


@pytest.mark.embedded
async def test_a_calibration_of_exits_among_the_results_is_used_by_the_pair_it_names() -> None:
    file = ROOT / "results/pocket-1-exits/large-mid-trial-answer-candidates.exits.json"
    exits = Overthinking(risk=0.05, file=str(file))
    (task,) = workload_of("random-calculation", {"preset": "mid"}).draw("report", 0, 1)
    async with Pipeline(
        orc.engines.pocket_pair(),
        "large",
        monitors=[exits],
        mode="think",
        granularity="fused",
        budget=Budget(tokens=1500),
        db=":memory:",
    ) as pipeline:
        result = await pipeline.arun(task)
        events = pipeline.journal.run(result.run_id).events
    assert result.answer == task.answer
    assert any("risk 0.05 (harmful)" in event.detail for event in events)
