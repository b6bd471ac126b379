"""The trainer: a run that was killed and resumed ends where an uninterrupted one does."""

import json
from pathlib import Path

import pytest
import torch

from train import run, shards
from train.network import Shape


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A decoder and shards small enough for a test."""
    monkeypatch.setenv("PAIR_HOME", str(tmp_path))
    shape = Shape(vocab=512, width=32, layers=2, heads=1, hidden=64)
    monkeypatch.setitem(run.SHAPES, "small", shape)
    monkeypatch.setattr(shards.batches, "__defaults__", ((), 24))
    monkeypatch.setattr(run, "PLAN", {"small": (("steps", 0), ("forms", 6), ("own", 9))})
    monkeypatch.setattr(run, "MEASURE_TASKS", 4)
    monkeypatch.setattr(run.Trainer, "collect", lambda self: None)
    torch.set_num_threads(1)


def weights(trainer: run.Trainer) -> dict[str, torch.Tensor]:
    return {**trainer.decoder.state_dict(), **{f"average {k}": v for k, v in trainer.average.items()}}


def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run.Trainer("small")
    whole.run(11)
    monkeypatch.setenv("PAIR_HOME", str(tmp_path / "other"))
    for updates in (1, 4, 6):
        part = run.Trainer("small")
        part.run(updates)
    assert part.update == whole.update == 11
    for name, weight in weights(whole).items():
        assert torch.equal(weight, weights(part)[name]), name


def test_a_killed_run_repeats_what_it_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run.Trainer("small")
    first.run(3)
    monkeypatch.setattr(first, "save", lambda: None)
    first.is_stopped = False
    first.run(2)  # lost: never saved
    second = run.Trainer("small")
    assert second.update == 3
    second.run(2)
    for name, weight in weights(first).items():
        assert torch.equal(weight, weights(second)[name]), name


def test_a_damaged_write_leaves_the_state_readable(tmp_path: Path) -> None:
    run.Trainer("small").run(1)
    trainer = run.Trainer("small")
    trainer.run(1)
    (trainer.folder / "state.writing").write_bytes(b"half")
    assert run.Trainer("small").update == 2
    (trainer.folder / "state.pt").unlink()  # killed between the two renames
    assert run.Trainer("small").update == 1


def test_finishing_keeps_the_state_from_before(tmp_path: Path) -> None:
    run.Trainer("small").run(4)
    trainer = run.Trainer("small", finish=3)
    assert trainer.rate() == pytest.approx(5 / run.WARM_UP)
    trainer.run()
    assert trainer.update == 7
    assert torch.load(trainer.folder / "final.pt", weights_only=True)["update"] == 7
    assert run.Trainer("small").update == 4
    assert run.Trainer("small").finishing is None


def test_a_finished_state_can_be_finished_again_from_a_lower_peak(tmp_path: Path) -> None:
    first = run.Trainer("small", finish=3)
    first.run()
    folder = first.folder
    (folder / "final.pt").replace(folder / "state.pt")
    trainer = run.Trainer("small", finish=run.WARM_UP, peak=0.5)
    assert trainer.rate() == pytest.approx(0.5 / run.WARM_UP)
    trainer.run(2)
    again = run.Trainer("small", finish=run.WARM_UP, peak=0.5)  # as the same command does after a stop
    assert (again.finishing, again.warmed_from) == ((3, run.WARM_UP), 3)
    again.update = 3 + run.WARM_UP // 2
    assert again.rate() == pytest.approx(0.5 * 0.5 * 0.5, rel=0.02)


def test_stages_follow_the_plan_and_own_mistakes_are_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = run.Trainer("small")
    asked: list[int] = []
    monkeypatch.setattr(trainer, "collect", lambda: asked.append(trainer.update))
    trainer.run(12)
    assert asked and asked[0] >= 9
    lines = (trainer.folder / "log.jsonl").read_text().splitlines()
    stages = [entry["stage"] for entry in map(json.loads, lines) if entry["event"] == "shard"]
    assert stages[0] == "steps"
    assert stages[-1] == "forms"
    record = {
        "prompt": "Compute 1+2.",
        "expression": "1+2",
        "steps": ["1+2", "1+2=4\n4"],
        "answer": "4",
        "is_right": False,
    }
    (tmp_path / "mistakes-001.jsonl").write_text(json.dumps(record) + "\n")
    trainer.is_stopped = False
    trainer.run(8)
    assert (trainer.place.stage, trainer.place.mistakes) == ("own", "mistakes-001.jsonl")


def test_measuring_counts_steps_by_kind(tmp_path: Path) -> None:
    found = run.Trainer("small").measure()
    assert found["step_accuracy"] == 0
    assert "setup" in found["by_kind"]
