"""Search over all runs, as programs see it: what each hit is, and where in it the words are."""

from __future__ import annotations

from pathlib import Path

import pytest

import orchestrator as orc
from orchestrator.errors import StoreError, UnknownName, UserError
from orchestrator.traces.searching import Hit, runs_with, search, snippet


def quiet(line: str) -> None:
    raise AssertionError(f"nothing is to be said: {line}")


def test_a_hit_says_what_came_of_what_it_is_in(db: Path) -> None:
    found = search(db, "idea OR* the", tell=quiet)
    assert (found.hits, found.total) == ((), 0)
    hits = search(db, "bad", tell=quiet).hits
    assert {(hit.run, hit.what, hit.step, hit.writer, hit.verdict) for hit in hits} == {
        ("one", "step", 1, "small", "rejected")
    }
    assert [hit.text[start:end] for hit in hits for start, end in hit.marks] == ["Bad"]
    by_run = {hit.run: hit.verdict for hit in search(db, "better", tell=quiet).hits}
    assert by_run["one"] == "rolled back" and set(by_run.values()) <= {"rolled back", "inherited"}
    assert [hit.verdict for hit in search(db, '"a pen"', run="one", tell=quiet).hits] == ["rolled back"]


def test_questions_and_answers_are_found_and_what_is_of_no_step_says_so(db: Path) -> None:
    (hit,) = search(db, "again", tell=quiet).hits
    assert (hit.run, hit.what, hit.step, hit.attempt, hit.writer, hit.verdict) == ("two", "question", *[None] * 4)
    assert "answer" in {hit.what for hit in search(db, "2", run="one", tell=quiet).hits}


def test_one_run_is_searched_by_its_id_and_at_most_so_many_hits_are_read(db: Path) -> None:
    everywhere = search(db, "first", tell=quiet)
    assert everywhere.total == len(everywhere.hits) >= 1
    assert {hit.run for hit in search(db, "first", run="on", tell=quiet).hits} == {"one"}
    one = search(db, "1", limit=1, tell=quiet)
    assert len(one.hits) == 1 < one.total
    assert len(runs_with(db, "1+1", tell=quiet)) >= 2


def test_what_cannot_be_searched_says_so(db: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="no run 'zzz'"):
        search(db, "first", run="zzz")
    with pytest.raises(UserError, match="nothing to search for"):
        search(db, "?")
    with pytest.raises(StoreError, match="run something first"):
        search(tmp_path / "none.db", "first")
    assert not (tmp_path / "none.db.words").exists()


def test_search_is_public() -> None:
    assert orc.traces.search is search and orc.traces.Hit is Hit


LONG = "x " * 100 + "needle\x1b[2J " + "y " * 100


@pytest.mark.parametrize(
    ("text", "marks", "room", "shown"),
    [
        ("needle", [(0, 6)], 80, "[needle]"),
        ("a needle\n\nb", [(2, 8)], 80, "a [needle] b"),
        ("a needle b", [(2, 8)], 3, "…[nee]…"),
        ("a b a", [(0, 1), (4, 5)], 80, "[a] b [a]"),
        ("abcd", [(0, 2), (1, 3)], 80, "[ab][c]d"),
        ("a b", [(0, 1), (0, 3)], 80, "[a][ b]"),
        (LONG, [(200, 206)], 20, "…x x [needle]\\x1b[2J y y y…"),
    ],
)
def test_a_snippet_is_one_harmless_line_around_the_first_mark(
    text: str, marks: list[tuple[int, int]], room: int, shown: str
) -> None:
    hit = Hit(run="r", what="step", step=0, attempt=0, writer="small", verdict="kept", text=text, marks=tuple(marks))
    pieces = [*snippet(hit, room)]
    assert "".join(f"[{piece}]" if is_marked else piece for piece, is_marked in pieces) == shown
