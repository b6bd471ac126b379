"""The frame: who drafts, how long, for which request, and what is counted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from served import drafter, serve, settle

from orchestrator.engines.speculation import LENGTHS, SOURCES
from orchestrator.engines.speculation.rows import PATIENCE, Row, Rows
from orchestrator.errors import UnknownName

REPEATED = [*range(50, 80), *range(50, 80), *range(50, 80)]


def test_sources_are_tried_in_order_and_counted_apart() -> None:
    made = drafter(sources=["ngrams", "successors"], length="fixed")
    serve(made, {"a": ([1, 2], REPEATED)})
    own, table = made.tallies
    assert own.accepted >= 40
    assert own.accepted <= own.drafted
    assert table.drafts <= 2  # only where the row says nothing
    alone = drafter(sources=["successors"], length="fixed")
    serve(alone, {"a": ([1, 2], REPEATED)})
    assert alone.tallies[0].accepted >= 40


@pytest.mark.parametrize("source", sorted(SOURCES))
@pytest.mark.parametrize("length", sorted(LENGTHS))
def test_every_source_works_with_every_length(source: str, length: str) -> None:
    made = drafter(sources=[source], length=length)
    requests = {name: ([1, 2, 3], [*range(number), *REPEATED]) for number, name in enumerate("abc")}
    serve(made, requests)
    [tally] = made.tallies
    assert 0 < tally.accepted <= tally.drafted <= 5 * tally.drafts


def test_options_reach_what_they_are_for() -> None:
    made = drafter(most=3, sources=[["ngrams", {"highest": 7}]], length=["thompson", {"worth": 0.5}], limit_s=2.0)
    assert (made.sources[0].highest, made.length.worth, made.length.most, made.limit_s) == (7, 0.5, 3, 2.0)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"sources": ["tree"]}, UnknownName, "no draft_source named 'tree'; known: ngrams, siblings"),
        ({"length": "long"}, UnknownName, "no draft_length named 'long'; known: feedback, fixed"),
        ({"sources": [["ngrams", {"lowest": 1}]]}, TypeError, "lowest"),
        ({"sorces": []}, TypeError, "the drafter has no option sorces; known: sources, length, limit_s"),
    ],
)
def test_a_wrong_option_keeps_the_server_from_starting(options: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        drafter(**options)


def test_a_prompt_that_is_still_being_read_gets_no_draft() -> None:
    made = drafter(sources=["ngrams"])
    ids = np.array([[1, 2, 3, 1, 2]], dtype=np.int32)
    assert made.propose([[]], [4], ids) == [[]]
    assert made.propose([[2]], [5], ids) == [[3, 1, 2]]


def test_time_that_is_up_leaves_the_rest_without_drafts() -> None:
    made = drafter(sources=["ngrams"], limit_s=-1.0)
    assert made.propose([[2]], [5], np.array([[1, 2, 3, 1, 2]], dtype=np.int32)) == [[]]


def test_acceptance_is_what_came_back_less_the_token_that_the_engine_adds() -> None:
    made = drafter(sources=["ngrams"], length="fixed")
    ids = np.zeros((1, 32), dtype=np.int32)
    ids[0, :5] = [1, 2, 3, 1, 2]
    assert made.propose([[2]], [5], ids) == [[3, 1, 2]]
    ids[0, 5:8] = [3, 1, 9]
    made.propose([[3, 1, 9]], [8], ids)
    assert (made.tallies[0].drafts, made.tallies[0].drafted, made.tallies[0].accepted) == (1, 3, 2)


def test_a_request_is_recognised_wherever_its_row_has_moved() -> None:
    finished: list[Row] = []
    rows = Rows(finished.append)
    ids = np.array([[1, 2, 3, 0], [5, 6, 7, 0]], dtype=np.int32)
    a, b = rows.follow([[3], [7]], [3, 3], ids)
    moved = np.array([[5, 6, 7, 8], [1, 2, 3, 4]], dtype=np.int32)
    again_b, again_a = rows.follow([[8], [4]], [4, 4], moved)
    assert (again_a is a, again_b is b) == (True, True)
    assert a.ids.tolist() == [1, 2, 3, 4]
    assert (a.num_prompt, a.num_new) == (2, 1)


def test_a_request_that_is_gone_is_finished_once() -> None:
    finished: list[Row] = []
    rows = Rows(finished.append)
    rows.follow([[3]], [3], np.array([[1, 2, 3]], dtype=np.int32))
    for number in range(3 * PATIENCE):
        rows.follow([[1]], [2 + number], np.full((1, 2 + number), 1, dtype=np.int32))
    assert [row.ids.tolist() for row in finished] == [[1, 2, 3]]


def test_equal_requests_side_by_side_are_each_followed() -> None:
    made = drafter(sources=["ngrams"], length="fixed")
    drafts = serve(made, {name: ([1, 2], REPEATED) for name in "abc"})
    assert drafts["a"] == drafts["b"] == drafts["c"]


def test_the_frame_learns_from_requests_that_ended() -> None:
    made = drafter(length="fixed")
    output = list(np.random.default_rng(0).integers(0, 30_000, 60).tolist())
    serve(made, {"a": ([1, 2], output)})
    settle(made)
    before = sum(tally.accepted for tally in made.tallies)
    serve(made, {"b": ([3, 4], output)})
    assert sum(tally.accepted for tally in made.tallies) - before >= 40
