"""A folder of results: what it refuses, and what it does about lines that death cut off."""

from __future__ import annotations

import json
import lzma
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.bench.cost import Use
from orchestrator.bench.folder import Folder
from orchestrator.bench.sample import Sample
from orchestrator.errors import UserError

SETTINGS = {"workload": {"preset": "mid"}, "tasks": 30, "policies": ["small", "large"], "engines": ["small", "large"]}
SAMPLE = Sample(
    policy="small",
    seed=0,
    task="calc-1",
    run_id="r",
    status="completed",
    answer="é\n\u2028",
    gold=None,
    score=0.5,
    score_error="",
    steps=3,
    large_steps=1,
    escalations=1,
    seconds=0.25,
    uses={"small": Use(calls=2, decode=9, uncached=4, cached=1, context=50, seconds=0.2), "large": Use()},
    purposes={"small/draft/used": 9},
)


def begun(path: Path, **changes: Any) -> Folder:
    folder = Folder(path)
    folder.begin({**SETTINGS, **changes})
    return folder


def test_a_sample_is_the_same_after_a_trip_to_disk(tmp_path: Path) -> None:
    folder = begun(tmp_path / "r")
    folder.add(SAMPLE)
    again = begun(tmp_path / "r")
    assert again.samples == {("small", 0, "calc-1"): SAMPLE} == folder.samples
    assert again.id == folder.id != begun(tmp_path / "other").id


def test_a_later_sample_of_the_same_run_replaces_the_earlier(tmp_path: Path) -> None:
    folder = begun(tmp_path / "r")
    folder.add(replace(SAMPLE, status="failed"))
    folder.add(SAMPLE)
    assert list(begun(tmp_path / "r").samples.values()) == [SAMPLE]


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"tasks": 40}, r"has results of tasks = 30, not 40: choose another folder"),
        ({"policies": ["small"]}, r'has results of policies = \["small", "large"\], not \["small"\]'),
        ({"workload": {"preset": "hard"}}, r'has results of workload\.preset = "mid", not "hard"'),
        ({"workload": {"preset": "mid", "more": 1}}, r"has results of workload\.more = null, not 1"),
        ({"seeds": 2}, r"has results of seeds = null, not 2"),
    ],
)
def test_results_of_other_settings_are_refused_and_the_difference_named(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    begun(tmp_path / "r").add(SAMPLE)
    before = {file.name: file.read_bytes() for file in (tmp_path / "r").iterdir()}
    with pytest.raises(UserError, match=said):
        begun(tmp_path / "r", **changes)
    assert {file.name: file.read_bytes() for file in (tmp_path / "r").iterdir()} == before


def test_settings_that_json_spells_otherwise_are_the_same(tmp_path: Path) -> None:
    begun(tmp_path / "r", policies=("small", "large"))
    assert begun(tmp_path / "r").path == tmp_path / "r"


def test_a_folder_or_file_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="is not empty and holds no results"):
        begun(tmp_path)
    with pytest.raises(UserError, match=r"thesis\.tex: (File exists|Not a directory): choose another folder"):
        begun(tmp_path / "thesis.tex")
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


def test_an_empty_folder_will_do(tmp_path: Path) -> None:
    begun(tmp_path)
    assert (tmp_path / "settings.json").exists()


def test_a_torn_last_line_is_left_out_and_goes_when_the_bench_goes_on(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    folder.add(SAMPLE)
    file = tmp_path / "samples.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole + whole[:-20])

    reader = Folder(tmp_path)
    reader.read()
    assert len(reader.samples) == 1
    assert file.read_bytes() == whole + whole[:-20]  # its writer may be at work

    other = replace(SAMPLE, task="calc-2")
    begun(tmp_path).add(other)
    assert file.read_bytes().startswith(whole)
    assert list(begun(tmp_path).samples.values()) == [SAMPLE, other]


@pytest.mark.parametrize("line", ["{", "[]", "null", '"text"', "{}", '{"uses": []}', '{"uses": {"small": 3}}'])
def test_a_damaged_line_is_named(tmp_path: Path, line: str) -> None:
    folder = begun(tmp_path)
    folder.add(SAMPLE)
    with (tmp_path / "samples.jsonl").open("a") as file:
        file.write(line + "\n")
    folder.add(replace(SAMPLE, task="calc-2"))
    with pytest.raises(UserError, match=r"samples\.jsonl:2 is damaged"):
        begun(tmp_path)


def test_a_sample_with_a_field_of_another_version_is_damaged(tmp_path: Path) -> None:
    begun(tmp_path)
    (tmp_path / "samples.jsonl").write_text(json.dumps({**SAMPLE.to_json(), "mood": "good"}) + "\n")
    with pytest.raises(UserError, match=r"samples\.jsonl:1 is damaged: .*mood"):
        begun(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", "{}", "\x00"])
def test_damaged_settings_are_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "settings.json").write_text(text)
    with pytest.raises(UserError, match=r"settings\.json is damaged"):
        begun(tmp_path)


def test_a_place_without_results_says_how_to_get_some(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "nowhere", tmp_path, tmp_path / "file"):
        with pytest.raises(UserError, match="holds no results: `orchestrator bench run --out "):
            Folder(place).settings()


def test_packed_samples_are_read_until_unpacked_ones_lie_beside_them(tmp_path: Path) -> None:
    begun(tmp_path).add(SAMPLE)
    file = tmp_path / "samples.jsonl"
    (tmp_path / "samples.jsonl.xz").write_bytes(lzma.compress(file.read_bytes()))
    begun(tmp_path).add(replace(SAMPLE, task="calc-2"))
    beside, alone = Folder(tmp_path), Folder(tmp_path)
    beside.read()
    assert [sample.task for sample in beside.samples.values()] == ["calc-1", "calc-2"]
    file.unlink()
    alone.read()
    assert list(alone.samples.values()) == [SAMPLE]


def test_packed_samples_are_not_gone_on_from_because_new_ones_would_hide_them(tmp_path: Path) -> None:
    begun(tmp_path)
    (tmp_path / "samples.jsonl.xz").write_bytes(lzma.compress(json.dumps(SAMPLE.to_json()).encode() + b"\n"))
    with pytest.raises(UserError, match=r"samples\.jsonl\.xz is packed: `xz -dk .*samples\.jsonl\.xz`, then go on"):
        begun(tmp_path)
    assert not (tmp_path / "samples.jsonl").exists()


@pytest.mark.parametrize("cut", [0, 1, -1])
def test_damaged_packed_samples_are_named(tmp_path: Path, cut: int) -> None:
    begun(tmp_path)
    (tmp_path / "samples.jsonl.xz").write_bytes(lzma.compress(b"{}\n")[:cut])
    with pytest.raises(UserError, match=r"samples\.jsonl\.xz is damaged: "):
        Folder(tmp_path).read()


def test_places_are_kept_in_order(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    assert folder.places() == []
    folder.went_on({"machine": "one"})
    begun(tmp_path).went_on({"machine": "two"})
    assert [place["machine"] for place in folder.places()] == ["one", "two"]


def test_a_torn_line_about_a_place_is_left_out(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "f")
    folder.begin({"engines": []})
    folder.went_on({"machine": "one"})
    with (folder.path / "where.jsonl").open("a") as file:
        file.write('{"machine": "t')
    assert [place["machine"] for place in folder.places()] == ["one"]
    again = Folder(folder.path)
    again.begin({"engines": []})
    again.went_on({"machine": "two"})
    assert [place["machine"] for place in again.places()] == ["one", "two"]
    (folder.path / "where.jsonl").write_text("nonsense\n")
    with pytest.raises(UserError, match=r"where\.jsonl is damaged"):
        folder.places()


def test_a_folder_is_written_by_one_comparison_at_a_time(tmp_path: Path) -> None:
    one, other = Folder(tmp_path / "f"), Folder(tmp_path / "f")
    with one.held():
        one.begin({"engines": []})
        with pytest.raises(UserError, match=f"another comparison is writing to {tmp_path}/f: wait"), other.held():
            pass
    with other.held():
        other.begin({"engines": []})
