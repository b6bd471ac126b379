"""Which runs are meant, found without reading what they say."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.errors import UnknownName, UserError
from orchestrator.memory.base import LEARNS
from orchestrator.memory.journal import Journal
from orchestrator.memory.owners import this_process
from orchestrator.memory.store import Store
from orchestrator.memory.which import Span, Which

ENGINES = '{"small": {"model": "tiny"}, "large": {"model": "huge"}}'


def ledger(tokens: int, cost: float) -> str:
    return json.dumps([{"engine": "large", "prompt_tokens": 1, "output_tokens": tokens, "cost": cost}])


def routed(policy: str) -> str:
    return json.dumps({"router": {"policy": policy, "threshold": 7.0}})


@pytest.fixture
def kept(store: Store, make: SimpleNamespace) -> Journal:
    """Seven runs, the newest last: a b c e have ended, d is running, f was interrupted, g is a learner's question."""
    journal = Journal(store)

    def run(name: str, at_s: float, batch: str, policy: str, **more: Any) -> int:
        settings = policy if policy.startswith("{") else routed(policy)
        return journal.open_run(
            make.run(id=name, created_s=at_s, batch=batch, settings=settings, **{"engines": ENGINES, **more})
        )

    def end(key: int, **fields: Any) -> None:
        journal.outcome(make.outcome(run=key, **fields))

    end(run("a", 100.0, "file:x#1", "specreason 0.1.0"), seconds=1.0, ledger=ledger(10, 0.5))
    end(run("b", 200.0, "file:x#2", "random 0.1.0", engines='{"solo": {}}'), seconds=2.0, ledger=ledger(20, 1.0))
    again = run("c", 300.0, "file:y\ud800", "specreason 0.2.0", parent="a")
    end(again, status="completed", seconds=9.0, ledger=ledger(99, 9.0))
    end(again, status="failed", seconds=3.0, ledger=ledger(30, 2.0))
    run("d", 400.0, "100%_[*", '{"router": "mine"}')
    end(run("e", 500.0, "", "my.policies:Own 3", parent="a"), status="budget", seconds=4.0, ledger="[]")
    left = run("f", 600.0, "", '{"no": "router"}', parent="c")
    end(run("g", 700.0, f"{LEARNS}book", "specreason 0.1.0"), seconds=5.0, ledger=ledger(50, 3.0))
    journal.commit()
    journal.release(left)
    return journal


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, "gfedcba"),
        ({"status": "completed"}, "gba"),
        ({"status": "failed"}, "c"),  # the last outcome counts
        ({"status": "degraded"}, ""),
        ({"status": "never stored"}, ""),
        ({"status": "running"}, "d"),
        ({"status": "interrupted"}, "f"),
        ({"policy": "specreason"}, "gca"),
        ({"policy": "mine"}, "d"),
        ({"policy": "my.policies:Own"}, "e"),
        ({"engine": "large"}, "gfedca"),
        ({"engine": "huge"}, "gfedca"),
        ({"engine": "solo"}, "b"),
        ({"batch": "file:"}, "cba"),
        ({"batch": "file:y\ud800"}, "c"),
        ({"batch": "100%_["}, "d"),
        ({"batch": ""}, "gfedcba"),
        ({"since_s": 300.0}, "gfedc"),
        ({"until_s": 300.0}, "ba"),
        ({"since_s": 300.0, "until_s": 300.0}, ""),
        ({"cost": Span(1.0, 2.0)}, "cb"),
        ({"cost": Span(high=0.5)}, "ea"),  # an empty ledger costs nothing; what has not ended has no cost
        ({"cost": Span(low=2.5)}, "g"),
        ({"seconds": Span(3.0)}, "gec"),
        ({"seconds": Span(float("nan"))}, ""),
        ({"output_tokens": Span(0, 0)}, "e"),
        ({"output_tokens": Span(20, 30)}, "cb"),
        ({"forks_of": "a"}, "ec"),
        ({"forks_of": "b"}, ""),
        ({"keys": {2, 4, 99}}, "db"),
        ({"keys": []}, ""),
        ({"without": (LEARNS,)}, "fedcba"),
        ({"without": (LEARNS, "file:", "nobody's")}, "fed"),
        ({"policy": "specreason", "status": "completed", "without": (LEARNS,)}, "a"),
        (
            {"status": "completed", "cost": Span(1.0), "seconds": Span(high=2.0), "since_s": 100.0, "engine": "solo"},
            "b",
        ),
    ],
)
def test_all_that_is_asked_for_holds(kept: Journal, asked: dict[str, Any], found: str) -> None:
    listing = kept.listed(Which(**asked))
    assert "".join(run.id for run in listing.runs) == found
    assert listing.matching == len(found)


def test_what_is_left_out_is_counted_among_what_else_is_asked_for(kept: Journal) -> None:
    for asked, left_out in (({}, 1), ({"status": "completed"}, 1), ({"status": "failed"}, 0), ({"cost": Span(9.0)}, 0)):
        assert kept.listed(Which(without=(LEARNS,), **asked)).left_out == left_out
    assert kept.listed(Which()).left_out == 0


@pytest.mark.parametrize(
    ("by", "found"), [("started", "gfedcba"), ("cost", "gcbafed"), ("seconds", "gecbafd"), ("tokens", "gcbafed")]
)
def test_the_largest_come_first_and_those_without_a_figure_last(kept: Journal, by: str, found: str) -> None:
    assert "".join(run.id for run in kept.listed(Which(), by=by).runs) == found
    cut = kept.listed(Which(), 2, by)
    assert ("".join(run.id for run in cut.runs), cut.matching) == (found[:2], 7)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (
            {"policy": "specreason 0.1.0"},
            "routed by 'specreason 0.1.0'; there are mine, my.policies:Own, random, specr",
        ),
        ({"policy": "\ud800"}, "there are mine"),
        ({"engine": "middle"}, "has an engine 'middle'; there are huge, large, small, solo, tiny"),
        (
            {"batch": "file:z"},
            "begins with 'file:z'; the newest are learn book, 100%_[*, file:y\ud800, file:x#2, file:x#1",
        ),
        ({"forks_of": "zz"}, "no run 'zz'"),
    ],
)
def test_what_there_is_not_names_what_there_is(kept: Journal, asked: dict[str, Any], told: str) -> None:
    with pytest.raises(UnknownName) as caught:
        kept.listed(Which(**asked))
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"seconds": (0, 1)}, r"seconds = \(0, 1\) must be a span: Span\(low=..., high=...\)"),
        ({"cost": 2}, "cost = 2 must be a span"),
        ({"policy": 7}, "policy = 7 must be a text"),
        ({"since_s": "2d"}, "since_s = '2d' is not in"),
        ({"without": LEARNS}, "without = 'learn ' must be a list of beginnings of batches"),
    ],
)
def test_an_option_that_is_none_is_refused_by_its_name(asked: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=f"^which runs: {told}"):
        Which(**asked)


def test_an_empty_journal_has_no_policy_and_no_run(journal: Journal) -> None:
    assert journal.listed(Which(without=(LEARNS,))) == ([], 0, 0, "")
    with pytest.raises(UserError, match="there are none yet"):
        journal.listed(Which(policy="random"))


def test_a_run_that_is_tried_again_is_running_whatever_came_of_it_before(kept: Journal, store: Store) -> None:
    owner = (*this_process(), "another")
    store.connection.execute("INSERT INTO claims (run, pid, started, host, journal) VALUES (3, ?, ?, ?, ?)", owner)
    assert [run.id for run in kept.listed(Which(status="running")).runs] == ["d", "c"]
    assert [run.id for run in kept.listed(Which(status="failed")).runs] == []


def test_lines_tell_what_the_last_ledger_sums_to(kept: Journal) -> None:
    lines = {run.id: run for run in kept.listed(Which()).runs}
    assert (lines["c"].output_tokens, lines["c"].cost, lines["c"].large_share) == (30, 2.0, 1.0)
    assert (lines["c"].policy, lines["c"].parent) == ("specreason 0.2.0", "a")
    assert (lines["e"].output_tokens, lines["e"].cost, lines["e"].large_share) == (0, 0.0, 0.0)
    assert (lines["f"].output_tokens, lines["f"].cost, lines["f"].large_share, lines["f"].policy) == (*[None] * 3, "")
