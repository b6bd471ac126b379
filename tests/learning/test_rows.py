"""Files of rows: what is written comes back, and what cannot be learnt from is refused by its line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from learned import ABOUT, PAIR, row, rows

from orchestrator.errors import UserError
from orchestrator.learning.files import MAX_LINE_BYTES, check_out
from orchestrator.learning.rows import About, Distinct, Row, digest, export, read

HUGE = 10**400


def written(path: Path, *lines: Any) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@given(st.floats(0, 1), st.integers(1, 7))
def test_a_tie_is_a_tie_however_many_targets_share_it(score: float, number: int) -> None:
    made = row(score=score, targets=(score,) * number)
    assert made.advantage == 0
    assert not made.pays


@pytest.mark.parametrize(
    ("score", "targets", "advantage", "pays"),
    [
        (0.5, (0.9,), 0.4, True),
        (0.9, (0.5,), -0.4, False),
        (0.5, (0.4, 0.8), 0.1, True),
        (0.5, (0.1, 0.8), -0.05, False),
    ],
)
def test_the_advantage_is_the_mean_of_the_targets_less_the_draft(
    score: float, targets: tuple[float, ...], advantage: float, pays: bool
) -> None:
    made = row(score=score, targets=targets)
    assert made.advantage == pytest.approx(advantage)
    assert made.pays is pays


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    made = list(rows(5))
    file = tmp_path / "rows.jsonl"
    assert export(file, ABOUT, made) == 25
    about, found = read([file])
    assert about == ABOUT
    assert list(found) == made


def test_joined_files_of_one_collection_are_one_collection(tmp_path: Path) -> None:
    one, other = tmp_path / "one.jsonl", tmp_path / "other.jsonl"
    export(one, ABOUT, [row("a")])
    export(other, ABOUT, [row("b")])
    assert [each.task for each in read([one, other])[1]] == ["a", "b"]
    joined = tmp_path / "joined.jsonl"
    joined.write_text(one.read_text() + other.read_text())
    assert [each.task for each in read([joined])[1]] == ["a", "b"]


def other_about(**changes: Any) -> About:
    return About(**{**{name: getattr(ABOUT, name) for name in About.__slots__}, **changes})


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"pair": {"writers": [*PAIR["writers"], PAIR["writers"][0]]}}, "pair"),
        ({"scorer": "verifier"}, "scorer 'prm' and 'verifier'"),
        ({"large": "larger"}, "large 'large' and 'larger'"),
        ({"logprobs": 5}, "logprobs 2 and 5"),
    ],
)
def test_rows_of_another_pair_or_scorer_mixed_in_are_refused(
    tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    one, other = tmp_path / "one.jsonl", tmp_path / "other.jsonl"
    export(one, ABOUT, [row()])
    export(other, other_about(**changes), [row()])
    with pytest.raises(UserError, match=rf"other.jsonl:1: rows of two collections .*{told}"):
        list(read([one, other])[1])


def broken(**changes: Any) -> dict[str, Any]:
    return {**row().to_json(), **changes}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (broken(score=float("nan")), "numbers in"),
        (broken(score=1.5), "numbers in"),
        (broken(score=None), "numbers in"),
        (broken(score=True), "numbers in"),
        (broken(targets=[]), "a row needs a target"),
        (broken(targets=[["x", 1, float("nan"), {}]]), "numbers in"),
        (broken(also={"judge": float("inf")}), "numbers in"),
        (broken(stop="never"), "never"),
        (broken(score=HUGE), "numbers in"),
        (broken(targets=[["x", 1, HUGE, {}]]), "numbers in"),
        (broken(targets=[["x", 1, 0.5, 5]]), "also = 5 is no table"),
        (broken(targets=5), "targets has 5 for a list"),
        (broken(draft=5), "draft = 5 is no text"),
        (broken(task=None), "task = None is no text"),
        (broken(num_tokens="x"), "num_tokens = 'x' is no count"),
        (broken(num_tokens=HUGE), "is no count"),
        (broken(messages=[["user", 5]]), "messages = 5 is no text"),
        (broken(messages="ab"), "messages has 'ab' for a list"),
        (broken(before=[["small", 3]]), "before = 3 is no text"),
        (broken(before=[["small"]]), "for a list of 2"),
        (broken(also=5), "also = 5 is no table"),
        (broken(stop=[]), "Stop"),
        (broken(logprobs=[["1", "7", -0.1, []]]), "logprobs hold"),
        (broken(logprobs=[[1, "7", HUGE, []]]), "logprobs hold"),
        (broken(logprobs=[[1, "7", -0.1, [[2, 8, -0.3]]]]), "logprobs hold"),
        ({"score": 1.0}, "it lacks"),
    ],
)
def test_a_row_that_cannot_be_learnt_from_is_refused_by_its_line(
    tmp_path: Path, line: dict[str, Any], told: str
) -> None:
    file = written(tmp_path / "rows.jsonl", ABOUT.to_json(), row().to_json(), line)
    with pytest.raises(UserError, match=rf"rows.jsonl:3: no row to learn from: .*{told}"):
        list(read([file])[1])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "rows.jsonl: no file of rows: write one with `orchestrator collect"),
        ("{}\n", "rows.jsonl:1: no file of rows"),
        ("[1]\n", "rows.jsonl:1: not a JSON object"),
        ("{\n", "rows.jsonl:1: not JSON"),
        (json.dumps({**ABOUT.to_json(), "version": 2}), "rows of version 2; this version of the program reads 1"),
        (json.dumps({"format": "orchestrator-rows", "version": 1}), "lacks 'small'"),
        (json.dumps({**ABOUT.to_json(), "pair": 5}), "rows.jsonl:1: in the first line .*its pair"),
        (json.dumps({**ABOUT.to_json(), "small": None}), "rows.jsonl:1: in the first line .*small = None is no text"),
        (json.dumps({**ABOUT.to_json(), "scorer": 5}), "scorer = 5 is no text"),
        (json.dumps({**ABOUT.to_json(), "logprobs": 200}), "more than 100"),
    ],
)
def test_what_is_no_file_of_rows_is_refused(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(text)
    with pytest.raises(UserError, match=told):
        read([file])


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none.jsonl: No such file"):
        read([tmp_path / "none.jsonl"])


def test_an_export_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    export(file, ABOUT, [row()])

    def failing() -> Any:
        yield row()
        raise KeyError("stop")

    with pytest.raises(KeyError):
        export(file, ABOUT, failing())
    assert len(list(read([file])[1])) == 1
    with pytest.raises(UserError, match="cannot write"):
        export(tmp_path / "no" / "rows.jsonl", ABOUT, [])


def test_a_digest_names_all_that_is_in_a_row() -> None:
    assert digest(row()) == digest(Row.from_json(json.loads(json.dumps(row().to_json()))))
    assert digest(row()) != digest(row(score=0.8))


def test_a_row_that_is_there_twice_counts_once() -> None:
    made = list(rows(3))
    distinct = Distinct([*made, *made[:4]])
    assert list(distinct) == made
    assert (distinct.repeated, distinct.samples) == (4, 1)


def test_means_over_different_numbers_of_targets_are_not_learnt_from_together() -> None:
    with pytest.raises(UserError, match=r"run run-b, step 0: 2 targets, and 1 in rows before it"):
        list(Distinct([row("a"), row("b", targets=(0.9, 0.8))]))


@pytest.mark.parametrize("name", [".", "no/rows.jsonl", "folder"])
def test_where_no_file_can_be_is_said_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    with pytest.raises(UserError, match=f"cannot write {name}: "):
        check_out(Path(name))
    with pytest.raises(UserError, match=f"cannot write {name}: "):
        export(Path(name), ABOUT, [row()])
    assert [each.name for each in tmp_path.iterdir()] == ["folder"]


def test_a_line_too_long_is_refused_by_its_place(tmp_path: Path) -> None:
    file = written(tmp_path / "rows.jsonl", ABOUT.to_json())
    with file.open("ab") as more:
        more.write(b"[" * (MAX_LINE_BYTES + 1))
    with pytest.raises(UserError, match=r"rows.jsonl:2: the line is longer than 16 MiB"):
        list(read([file])[1])
