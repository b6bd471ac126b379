"""The published router's training: what an update reads, how the rate moves, what is read of a text, and going on."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from orchestrator.learning import labelled
from orchestrator.learning.rows import About, Before, Row, Target
from orchestrator.types import Message, Stop

pytest.importorskip("transformers")

from train.escalation import head, run, texts
from train.escalation.recipe import Recipe
from train.escalation.report import rank
from train.folder import read_gguf, write_folder

GGUF = Path(__file__).parents[2] / "orchestrator/engines/pocket/pocket-small.gguf"
CPU = torch.device("cpu")
PAIR = {"writers": [dict.fromkeys(("name", "serves", "tokenizer", "greedy"), name) for name in ("small", "large")]}
ABOUT = About(small="small", large="large", scorer="verifier", logprobs=0, pair=PAIR)


def row(task: int, step: int) -> Row:
    """A draft that is wrong in every third task; the large engine never is."""
    right = f"{task}+{step}={task + step}\n\n"
    draft = right if task % 3 else f"{task}+{step}={task + step + 1}\n\n"
    return Row(
        run="r",
        task=f"{task:08x}",
        messages=(Message("user", f"Add {step} to {task}."),),
        before=tuple(Before("large", f"step {number}\n\n") for number in range(step)),
        writer="small",
        draft=draft,
        num_tokens=9,
        stop=Stop.DELIMITER,
        logprobs=(),
        score=float(draft == right),
        also={},
        targets=(Target(right, 9, 1.0, {}),),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pocket small for transformers."""
    made = tmp_path_factory.mktemp("small")
    write_folder(*read_gguf(GGUF), made)
    return made


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("data") / "data.jsonl"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(labelled, "version", lambda name: "0")  # where torch is, the package may not be installed
        labelled.export(file, ABOUT, [row(task, step) for task in range(90) for step in range(2)])
    return file


@given(zeros=st.integers(1, 40), ones=st.integers(1, 40), batch=st.integers(1, 30), seed=st.integers(0, 5))
def test_an_epoch_has_as_many_of_either_label_and_none_twice(zeros: int, ones: int, batch: int, seed: int) -> None:
    labels = [0] * zeros + [1] * ones
    fewest = min(zeros, ones)
    updates = -(-2 * fewest // batch)
    made = list(islice(texts.order(labels, batch, seed, balance=True), 2 * updates))
    for epoch in (made[:updates], made[updates:]):
        places = [place for update in epoch for place in update]
        assert len(set(places)) == len(places) == 2 * fewest
        assert sum(labels[place] for place in places) == fewest
        assert all(len(update) == batch for update in epoch[:-1])
    first, second = (sorted(chain.from_iterable(epoch)) for epoch in (made[:updates], made[updates:]))
    assert first == second  # drawn once, then mixed anew


@given(lengths=st.lists(st.integers(1, 50), max_size=30), tokens=st.integers(1, 200))
def test_parts_of_an_update_fit_and_hold_every_example_once(lengths: list[int], tokens: int) -> None:
    parts = list(texts.micro_batches(lengths, range(len(lengths)), tokens))
    assert sorted(place for part in parts for place in part) == list(range(len(lengths)))
    assert all(len(part) == 1 or len(part) * max(lengths[place] for place in part) <= tokens for part in parts)


def test_the_rate_rises_to_its_peak_and_falls_to_nothing() -> None:
    recipe = Recipe(rate=1.0, warm_up=0.1)
    rates = [recipe.rate_at(update, 50) for update in range(50)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert rates[5] == 1.0
    assert rates[-1] == pytest.approx(1 / 45)
    assert all(later < earlier for earlier, later in pairwise(rates[5:]))
    assert Recipe(rate=1.0, warm_up=0.0).rate_at(0, 1) == 1.0


def test_the_defaults_are_the_published_ones_and_three_epochs_are_counted() -> None:
    usual = Recipe()
    assert (usual.batch, usual.rate, usual.epochs, usual.balance) == (1024, 1e-5, 3, True)
    assert usual.num_updates(1024) == 3
    assert usual.num_updates(1025) == 6
    assert replace(usual, updates=7).num_updates(1025) == 7
    with pytest.raises(SystemExit, match=r"warm_up = 1\.0 is out of range"):
        Recipe(warm_up=1.0)


@pytest.mark.parametrize("kind", ["sequence", "token"])
def test_what_is_read_is_the_last_token_whatever_else_is_in_the_batch(folder: Path, kind: str) -> None:
    network, _ = head.load(str(folder), kind, CPU)
    network.eval()
    rows = [[70, 71, 256], [72, 256], [73, 74, 75, 76, 256]]
    of = texts.Encoded(rows, [0, 1, 0], [0.0] * 3, ["t"] * 3, 0)
    with torch.no_grad():
        together = head.logits(network, texts.padded(of, [0, 1, 2], 502, CPU))
        alone = torch.cat([head.logits(network, texts.padded(of, [place], 502, CPU)) for place in range(3)])
        theirs = torch.stack([_last(network(input_ids=torch.tensor([ids])).logits) for ids in rows])
    assert together.shape == (3, 2)
    assert torch.allclose(together, alone, atol=1e-5)
    assert torch.allclose(together, theirs, atol=1e-5)


def _last(logits: torch.Tensor) -> torch.Tensor:
    """Return the two logits of a whole text, or those of its last token."""
    return logits[0] if logits.ndim == 2 else logits[0, -1]


def test_what_does_not_fit_the_context_is_left_out_and_counted(folder: Path, data: Path) -> None:
    _, tokenizer = head.load(str(folder), "sequence", CPU)
    _, examples = labelled.read(data)
    lengths = list(map(len, texts.encode(tokenizer, examples, 2048).ids))
    found = texts.encode(tokenizer, examples, max(lengths) - 1)
    assert found.too_long == lengths.count(max(lengths)) < len(examples)
    assert len(found.ids) == len(found.tasks) == len(examples) - found.too_long
    assert max(map(len, found.ids)) < max(lengths)


def train(data: Path, folder: Path, out: Path, *more: str) -> list[dict[str, Any]]:
    command = [str(data), str(folder), str(out), "--batch", "16", "--rate", "1e-3", "--threads", "1", "--evaluate", "4"]
    run.main([*command, *more])
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def test_a_stopped_training_arrives_where_it_would_have(
    data: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(data, folder, tmp_path / "whole", "--updates", "8")
    evaluate = run.Training.evaluate

    def and_stop(training: run.Training) -> None:
        evaluate(training)
        training.is_stopped = True

    with monkeypatch.context() as patched:
        patched.setattr(run.Training, "evaluate", and_stop)
        train(data, folder, tmp_path / "stopped", "--updates", "8")
    went_on = train(data, folder, tmp_path / "stopped", "--updates", "8")
    losses = [[line["loss"] for line in log if "loss" in line] for log in (whole, went_on)]
    assert len(losses[0]) == 8
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)
    with pytest.raises(SystemExit, match="is of another training: batch, updates; go on with the same"):
        train(data, folder, tmp_path / "stopped", "--updates", "9", "--batch", "8")
    served = json.loads((tmp_path / "whole/router/router.json").read_text())
    assert (served["kind"], served["features"]) == ("served", ["signal:escalation"])
    _, examples = labelled.read(data)
    seen = {each.task for each in examples if each.split != "held-out"}
    assert set(served["data"]["fitted_on"]) == seen
    train_labels = [each.label for each in examples if each.split == "train"]
    assert served["measured"]["threshold"] == sum(train_labels) / len(train_labels)


def test_the_best_state_tells_both_labels_apart_before_it_ranks_well() -> None:
    labels, advantages = [0, 0, 1, 1], [0.0, 0.1, 0.5, 0.6]
    ranks_only = rank([0.6, 0.7, 0.8, 0.9], labels, advantages)
    tells = rank([0.2, 0.1, 0.9, 0.8], labels, advantages)
    constant = rank([0.5] * 4, labels, advantages)
    assert constant < ranks_only < tells
    assert ranks_only == (False, pytest.approx(1.0))


def test_a_state_that_tells_nothing_is_no_router_and_another_is_calibrated_on_the_tasks_that_choose(
    data: Path, folder: Path, tmp_path: Path
) -> None:
    place = run.Place(data=data, checkpoint=str(folder), out=tmp_path, context=4096, micro_tokens=9999, evaluate=None)
    made = run.Training(Recipe(batch=16), place)
    labels = made.splits["validation"].labels
    forecast = made.calibrated([0.9 if label else 0.6 for label in labels])
    assert forecast.chance([0.9]) > 0.8 and forecast.chance([0.6]) < 0.2
    made.keep([0.9 if label else 0.6 for label in labels])
    assert (tmp_path / "router/router.json").exists()
    made.keep([0.5] * len(labels))
    assert not (tmp_path / "router/router.json").exists() and list((tmp_path / "router").glob("*.safetensors"))
    assert "not calibrated" in (tmp_path / "log.jsonl").read_text()


def test_a_training_that_ends_without_a_router_says_so_however_often_and_keeps_its_state(
    data: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run.Training, "probabilities", lambda training, split: [0.5] * len(split.ids))
    command = [str(data), str(folder), str(tmp_path), "--batch", "16", "--threads", "1", "--updates", "1"]
    missing = tmp_path / "router/router.json"
    for _ in range(2):
        assert run.main(command) == 2
        line = capsys.readouterr().err.strip().splitlines()[-1]  # after what transformers says of the new head
        assert line.startswith(f"error: no {missing}: the best state, of update 1, says nothing about the validation")
        assert "Collect more steps" in line
    assert (tmp_path / "state.pt").exists() and list((tmp_path / "router").glob("*.safetensors"))


@pytest.mark.parametrize("text", ["", '{"format": "orchestrator-rows", "version": 1}\n'])
def test_a_data_set_that_is_none_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    (tmp_path / "data.jsonl").write_text(text)
    assert run.main([str(tmp_path / "data.jsonl"), "checkpoint", str(tmp_path / "out")]) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: ") and "not a data set for a router" in line
    assert not (tmp_path / "out").exists()
