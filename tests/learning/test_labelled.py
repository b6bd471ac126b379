"""Collected steps as the published router reads and learns them: exact texts, labels, splits, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.cli.app import app
from orchestrator.engines.scorers.annotated import ids_of, pieces_of
from orchestrator.errors import BadConfig, UserError
from orchestrator.learning import labelled, rows
from orchestrator.learning.rows import About, Before, Row, Target
from orchestrator.learning.served import served
from orchestrator.learning.table import split_of
from orchestrator.routers.forecast import Forecast, Served
from orchestrator.routers.router_file import parse
from orchestrator.types import Message, Stop

PAIR = {
    "writers": [
        {"name": name, "serves": name, "tokenizer": "utf-8", "greedy": name[0] * 20} for name in ("small", "large")
    ]
}
ABOUT = About(small="small", large="large", scorer="prm", logprobs=0, pair=PAIR)


def row(task: str = "t0", score: float = 0.4, targets: tuple[float, ...] = (0.9,), **but: Any) -> Row:
    given: dict[str, Any] = {
        "run": f"run-{task}",
        "task": task,
        "messages": (Message("user", "Compute 3+4*2."),),
        "before": (Before("large", "3+4*2\n\n"), Before("small", "4*2=8\n3+8\n\n")),
        "writer": "small",
        "draft": "3+8=12\n12\n\n",
        "num_tokens": 3,
        "stop": Stop.DELIMITER,
        "logprobs": (),
        "score": score,
        "also": {},
        "targets": tuple(Target("3+8=11\n11\n\n", 3, each, {}) for each in targets),
    }
    return Row(**{**given, **but})


def some(number: int = 60) -> list[Row]:
    return [row(f"{task:08x}", targets=(0.9 if task % 3 else 0.4,)) for task in range(number)]


def spoilt(line: str, **changes: Any) -> str:
    return json.dumps({**json.loads(line), **changes})


def test_the_text_is_the_published_one() -> None:
    assert labelled.example_of(row()).pieces == (
        "Compute 3+4*2.\n",
        "Model 1: 3+4*2",
        "Model 0: 4*2=8\n3+8",
        "Model 0: 3+8=12\n12",
    )


async def test_each_piece_is_encoded_for_itself_and_each_step_closed_by_the_last_id_of_the_delimiter() -> None:
    async def encode(text: str) -> list[int]:
        return [10, 11] if text == "\n\n" else list(text.encode())

    ids = await ids_of(["q\n", "Model 1: a", "Model 0: b"], encode)
    assert ids == [*b"q\n", *b"Model 1: a", 11, *b"Model 0: b", 11]


TEXTS = st.text(alphabet="ab12+=\n ", max_size=12)
KEPT = st.lists(st.tuples(st.sampled_from(["small", "medium", "large"]), TEXTS), max_size=5)


@given(problem=TEXTS, kept=KEPT, draft=TEXTS)
def test_without_history_only_the_tags_of_steps_of_others_change(
    problem: str, kept: list[tuple[str, str]], draft: str
) -> None:
    told = pieces_of(problem, kept, ("small", draft))
    untold = pieces_of(problem, kept, ("small", draft), history=False)
    assert (told[0], told[-1]) == (untold[0], untold[-1])
    for (writer, _), with_, without in zip(kept, told[1:-1], untold[1:-1], strict=True):
        assert without.startswith("Model 0: ")
        assert with_ == (without if writer == "small" else without.replace("Model 0: ", "Model 1: ", 1))


@pytest.mark.parametrize(
    ("score", "targets", "label"),
    [
        (0.5, (0.5,), 0),
        (0.5, (0.5 + 1e-9,), 1),
        (0.5, (0.4,), 0),
        (0.5, (0.9, 0.2), 1),
        (0.5, (0.9, 0.1, 0.4), 0),
        (0.1, (0.1, 0.1, 0.1), 0),
    ],
)
def test_a_label_is_one_where_the_mean_of_the_targets_is_strictly_better(
    score: float, targets: tuple[float, ...], label: int
) -> None:
    made = labelled.example_of(row(score=score, targets=targets))
    assert made.label == label
    assert made.advantage == pytest.approx(sum(targets) / len(targets) - score)


def test_a_written_data_set_is_read_back_and_says_where_it_comes_from(tmp_path: Path) -> None:
    given = some()
    first = labelled.export(tmp_path / "data.jsonl", ABOUT, given)
    read, examples = labelled.read(tmp_path / "data.jsonl")
    assert read == json.loads(json.dumps(first))
    assert examples == [labelled.example_of(each) for each in given]
    assert (read["pair"], read["scorer"], read["samples"], read["history"]) == (PAIR, "prm", 1, True)
    assert (read["tags"], read["step_end"], read["tasks"]) == (["Model 0: ", "Model 1: "], "\n\n", 60)
    assert {each.task: each.split for each in examples} == {each.task: split_of(each.task) for each in given}
    assert sum(map(sum, read["labels"].values())) == 60
    twice = labelled.export(tmp_path / "twice.jsonl", ABOUT, [*given, *given[:9]])
    assert twice == {**first, "repeated": 9}
    with pytest.raises(UserError, match="2 targets, and 1"):
        labelled.export(tmp_path / "mixed.jsonl", ABOUT, [*given, row("x", targets=(0.1, 0.2))])


def test_scores_that_are_all_equal_teach_nothing_and_leave_no_file(tmp_path: Path) -> None:
    constant = [replace(each, targets=(Target("x", 1, each.score, {}),)) for each in some()]
    for few, told in ((constant, "with 1 of 2 labels"), ([], "0 train rows of 0, with 0 of 2 labels")):
        with pytest.raises(UserError, match=told):
            labelled.export(tmp_path / "data.jsonl", ABOUT, few)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda lines: lines[1:], "not a data set for a router"),
        (lambda lines: [lines[0].replace('"version":1', '"version":2'), *lines[1:]], "not a data set for a router"),
        (lambda lines: [lines[0], "{"], ":2: not JSON"),
        (lambda lines: [lines[0], "[]"], ":2: not a JSON object"),
        (lambda lines: [lines[0], lines[1].replace('"label":', '"lable":')], ":2: no example"),
        (lambda lines: [lines[0], lines[1].replace('"split":"', '"split":"un')], ":2: no example"),
        (lambda lines: [lines[0], lines[1].replace('"advantage":', '"advantage":NaN,"was":')], ":2: no example"),
        (lambda lines: [], "not a data set for a router"),
        (lambda lines: [lines[0], "[" * 100_000], ":2: not JSON"),
        (lambda lines: [lines[0], "\udcff"], ":2: not JSON"),
        (lambda lines: [lines[0].replace('"small":"small"', '"small":null')], ":1: .*small = None"),
        (lambda lines: [lines[0].replace('"samples":1', '"samples":0')], ":1: .*samples = 0"),
        (lambda lines: [lines[0].replace('"pair":{', '"pair":5,"was":{')], ":1: .*its pair"),
        (lambda lines: [lines[0], spoilt(lines[1], label=True)], ":2: no example: label = True"),
        (lambda lines: [lines[0], spoilt(lines[1], advantage=10**400)], ":2: no example: advantage"),
        (lambda lines: [lines[0], spoilt(lines[1], task=5)], ":2: no example: task = 5"),
        (lambda lines: [lines[0], spoilt(lines[1], pieces=["a", 5])], ":2: no example: pieces"),
        (lambda lines: [lines[0], spoilt(lines[1], split=[])], ":2: no example: split"),
    ],
)
def test_a_file_that_is_no_data_set_is_refused_by_its_line(
    tmp_path: Path, spoil: Callable[[list[str]], list[str]], told: str
) -> None:
    file = tmp_path / "data.jsonl"
    labelled.export(file, ABOUT, some())
    file.write_text("\n".join(spoil(file.read_text().splitlines())), errors="surrogateescape")
    with pytest.raises(UserError, match=told):
        labelled.read(file)


def test_the_command_writes_it_and_tells_what_is_in_it(tmp_path: Path) -> None:
    rows.export(tmp_path / "rows.jsonl", ABOUT, some())
    out = tmp_path / "data.jsonl"
    done = CliRunner().invoke(app, ["export-router-data", str(tmp_path / "rows.jsonl"), "--out", str(out)])
    assert done.exit_code == 0, done.stderr
    assert done.stdout.splitlines()[0] == "60 steps of 60 tasks, scored by prm"
    assert "Model 1: " in out.read_text()
    command = ["export-router-data", str(tmp_path / "rows.jsonl"), "--out", str(out), "--no-history", "--json"]
    first = json.loads(CliRunner().invoke(app, command).stdout)
    assert first["history"] is False
    assert all("Model 1: " not in piece for each in labelled.read(out)[1] for piece in each.pieces)


def test_a_served_routers_file_is_read_back_and_its_chance_is_the_signal(tmp_path: Path) -> None:
    first = labelled.export(tmp_path / "data.jsonl", ABOUT, some())
    for history, asked in ((True, "escalation"), (False, "escalation-plain")):
        made = served({**first, "history": history}, Forecast(shape=Served()), {}, {"fitted_on": ["t0"]})
        found = parse(json.dumps(made.to_json()).encode(), "router.json")
        assert (found.uses, found.pair, found.logprobs) == ((asked,), PAIR, 0)
        for chance in (0.0, 1e-9, 0.25, 0.5, 0.9, 1.0):
            assert found.forecast.chance([chance]) == pytest.approx(chance, abs=1e-9)
        assert found.forecast.chance([float("nan")]) != found.forecast.chance([float("nan")])
    spoilt = {**made.to_json(), "features": ["signal:escalation", "signal:prm"]}
    with pytest.raises(BadConfig, match="a served router has one feature"):
        parse(json.dumps(spoilt).encode(), "router.json")
