"""Names of runs."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.memory.ids import derived, run_id

SHAPE = re.compile(r"[0-9a-hjkmnp-tv-z]{16}")


@given(st.floats(0, 4e9), st.floats(0, 4e9))
def test_an_id_is_sixteen_safe_characters_and_ids_sort_by_time(one_s: float, other_s: float) -> None:
    one, other = run_id(one_s), run_id(other_s)
    assert SHAPE.fullmatch(one) and SHAPE.fullmatch(other)
    if int(one_s * 1000) < int(other_s * 1000):
        assert one < other


def test_ids_of_the_same_millisecond_differ() -> None:
    assert len({run_id(1.7e9) for _ in range(1000)}) == 1000


def test_an_id_made_now_lies_between_its_neighbours_in_time() -> None:
    assert run_id(1.7e9) < run_id() < run_id(1e10)


@given(st.lists(st.text(st.characters()), max_size=4), st.lists(st.text(st.characters()), max_size=4))
def test_a_derived_id_depends_on_its_parts_and_nothing_else(one: list[str], other: list[str]) -> None:
    assert SHAPE.fullmatch(derived(*one))
    assert (derived(*one) == derived(*other)) == (one == other)


def test_where_one_part_ends_and_the_next_begins_matters() -> None:
    assert derived("a", "bc") != derived("ab", "c")


def test_a_derived_id_never_changes_between_versions() -> None:
    assert derived("thread", "solve") == "rsyyepddx6kvq74c"
