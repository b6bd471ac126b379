"""Each decision by itself, at several values of an option: counted, priced, and no more than that."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import pytest
from replayable import ran, script

import orchestrator as orc
from orchestrator.engines.base import Request
from orchestrator.errors import UserError
from orchestrator.ledger import Entry, Price
from orchestrator.memory.base import StoredRun
from orchestrator.routers import SmallOnly, SpecReason
from orchestrator.traces.prices import costs_of
from orchestrator.traces.replay_shown import table
from orchestrator.traces.what_if import one_step
from orchestrator.types import Task


def rated(*digits: int, steps: int = 4) -> Callable[[Request], str]:
    """A large engine whose ratings are these, in turn."""
    write, judged = script("large", steps), count()
    return lambda request: str(digits[next(judged)]) if request.purpose == "judge" else write(request)


def stored(share: float = 0.0, gold: str | None = None) -> StoredRun:
    """Five steps rated 9, 8, 4, 6, 5 under a threshold of 6: the third and the last are rewritten."""
    task = Task(messages=(orc.Message("user", "q"),), answer=gold)
    steps = {"small": script("small", 4), "large": rated(9, 8, 4, 6, 5)}
    return ran(SpecReason(threshold=6), task, counterfactuals=share, **steps)


def test_flips_are_counted_on_both_sides_and_each_decision_by_itself() -> None:
    found = one_step([stored()], "threshold", [0, 4, 5, 6, 7, 9.5])
    assert [(each.to_keep, each.to_rewrite) for each in found] == [(2, 0), (2, 0), (1, 0), (0, 0), (0, 1), (0, 3)]
    assert [each.flips for each in found] == [2, 2, 1, 0, 1, 3]
    assert [each.unchanged for each in found] == [0, 0, 0, 1, 0, 0]
    assert all((each.runs, each.undecided, each.to_other) == (1, 0, 0) for each in found)


def test_a_step_alone_costs_what_was_written_and_is_unknown_where_nobody_wrote_it() -> None:
    run = stored()
    low, high = one_step([run], "threshold", [0, 9.5])
    rewritten = sum(step.num_tokens for step in run.kept() if step.writer == "large")
    assert (low.tokens, low.unknown) == ({"large": -rewritten}, 0)
    assert (high.tokens, high.unknown) == ({}, 3)
    told = [line.strip() for line in table("threshold", [low, high])]
    assert told[2] == f"flipped steps alone: large -{rewritten} tokens"
    assert told[4:] == ["3 of 3 flips lead to steps never written: tokens not known"]
    looked = stored(share=1.0)
    [high] = one_step([looked], "threshold", [9.5])
    beside = {(row.step, row.attempt) for row in looked.kept()}
    written = [
        call.result.output_tokens
        for call in looked.calls
        if call.result
        and call.intent.purpose == "alternative"
        and (call.intent.step, call.intent.attempt) not in beside
    ]
    assert (high.tokens, high.unknown) == ({"large": sum(written)}, 0)


def test_accuracy_is_that_of_the_runs_without_a_flip() -> None:
    [same, other] = one_step([stored(gold="1"), stored(gold="2"), stored()], "threshold", [6, 7])
    assert (same.unchanged, same.graded, same.right) == (3, 2, 1)
    assert (other.unchanged, other.graded, other.right) == (0, 0, 0)


def test_a_router_without_the_option_is_refused_by_name() -> None:
    with pytest.raises(UserError, match=r"router\.threshold: no such key"):
        one_step([ran(SmallOnly())], "threshold", [1.0])


def test_what_the_record_lacks_is_counted_with_its_reason() -> None:
    [found] = one_step([stored()], "reading", ["prm"])
    assert (found.undecided, found.flips, found.unchanged) == (5, 0, 0)
    assert sum(found.reasons.values()) == 5
    assert "prm did not score small's step 0" in found.reasons


def test_prices_follow_from_a_ledger_and_are_not_guessed() -> None:
    prices = {"small": Price(prompt=0.25, cached=0.025, output=1.0), "large": Price(prompt=2, output=8)}
    ledger = orc.Ledger(("small", "large"), prices)
    ledger.add("small", "draft", "used", Entry(calls=1, prompt_tokens=100, cached_tokens=40, output_tokens=10))
    ledger.add("small", "draft", "discarded", Entry(calls=1, prompt_tokens=90, cached_tokens=5, output_tokens=30))
    ledger.add("small", "probe", "used", Entry(calls=1, prompt_tokens=70, cached_tokens=60, output_tokens=2))
    ledger.add("large", "judge", "used", Entry(calls=1, prompt_tokens=100, output_tokens=1))
    cost = costs_of(ledger.rows())
    one = Entry(prompt_tokens=12, cached_tokens=4, output_tokens=7)
    assert cost("small", one) == pytest.approx(prices["small"].of(one))
    assert cost("large", Entry(prompt_tokens=200, output_tokens=2)) == pytest.approx(416)
    assert cost("large", Entry(prompt_tokens=200, output_tokens=9)) is None
    assert cost("large", Entry()) == 0
    assert cost("nobody", one) is None
    free = orc.Ledger(("small",))
    free.add("small", "draft", "used", Entry(calls=1, prompt_tokens=3, output_tokens=1))
    assert costs_of(free.rows())("small", one) == 0
