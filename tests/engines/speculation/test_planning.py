"""From points to a schedule: the best there is, never more tokens for more rows, and what a server takes."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations_with_replacement, pairwise
from math import log

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import model, points, trial

from orchestrator.engines.speculation.planning import advise, best_plan, drift, rows, variants, wins
from orchestrator.engines.speculation.profiles import CustomClass, DraftModel, Medusa, NGram, Profile, Suffix
from orchestrator.engines.speculation.profiling import Model, Point, points_of
from orchestrator.errors import UserError

TOKENS, BATCHES = (0, 1, 3, 5), (1, 2, 8, 32, 128)
models = st.builds(
    model, base_ms=st.floats(1, 50), token_ms=st.floats(0.001, 3), share=st.floats(0.1, 1), rate=st.floats(0.1, 0.95)
)
tables = st.lists(
    st.lists(st.floats(0.1, 10), min_size=1, max_size=3), min_size=len(TOKENS) * 4, max_size=len(TOKENS) * 4
)


def column(found: list[Point], batch: int) -> dict[int, Point]:
    return {each.tokens or 0: each for each in found if each.batch == batch}


def lost(found: list[Point], batch: int, tokens: int) -> float:
    """Return the goodput that a choice loses, as the docstring of best_plan says."""
    points_here = column(found, batch)
    best = max(points_here.values(), key=lambda each: each.goodput)
    chosen = points_here[tokens]
    return log(best.goodput / chosen.goodput) if best.goodputs[0] > chosen.goodputs[-1] else 0.0


@settings(max_examples=60)
@given(tables)
def test_the_plan_is_the_best_of_all_plans_that_never_draft_more_for_more_rows(table: list[list[float]]) -> None:
    batches = BATCHES[:4]
    places = [(tokens, batch) for tokens in TOKENS for batch in batches]
    found = points_of(
        trial(model(), *place, factor) for place, factors in zip(places, table, strict=True) for factor in factors
    )
    plan = best_plan(found)

    def cost(choice: tuple[int, ...]) -> tuple[float, int]:
        return (sum(lost(found, *pair) for pair in zip(batches, choice, strict=True)), sum(choice))

    best = min(map(cost, combinations_with_replacement(sorted(TOKENS, reverse=True), len(batches))))
    mine = cost(tuple(plan[batch] for batch in batches))
    assert mine[0] == pytest.approx(best[0], abs=1e-9)
    assert mine[0] > best[0] or mine[1] == best[1]
    assert all(more >= fewer for more, fewer in pairwise(plan[batch] for batch in batches))


@given(models)
def test_with_one_acceptance_at_every_batch_size_the_plan_is_the_argmax_of_the_measured_table(truth: Model) -> None:
    found = points(truth, TOKENS, BATCHES)
    for batch, tokens in best_plan(found).items():
        most = max(each.goodput for each in column(found, batch).values())
        assert column(found, batch)[tokens].goodput == pytest.approx(most)


def test_nothing_is_drafted_where_drafting_loses() -> None:
    assert best_plan(points(model(base_ms=10, token_ms=0.5, rate=0.4), TOKENS, BATCHES)) == {
        1: 3,
        2: 1,
        8: 1,
        32: 0,
        128: 0,
    }


def test_what_noise_may_explain_is_not_drafted() -> None:
    slow, fast = model(rate=0.01), model(rate=0.9)
    clear = points(slow, (0,), (1, 2), (0.9, 1.1)) + points(fast, (5,), (1, 2), (0.9, 1.1))
    assert best_plan(clear) == {1: 5, 2: 5}
    noisy = points(slow, (0,), (1, 2), (0.9, 1.1)) + points(fast, (5,), (1, 2), (0.1, 1.1, 1.2))
    assert best_plan(noisy) == {1: 0, 2: 0}


def test_a_point_that_is_out_of_line_does_not_stop_drafting_at_all_larger_batch_sizes() -> None:
    good = [trial(model(rate=0.9), tokens, batch) for tokens in (0, 5) for batch in (2, 4, 8)]
    stalled = [trial(model(rate=0.9), 0, 1), trial(model(rate=0.9), 5, 1, factor=0.2)]
    assert best_plan(points_of([*good, *stalled])) == {1: 5, 2: 5, 4: 5, 8: 5}


@given(models)
def test_a_schedule_is_what_a_profile_takes_and_says_what_the_plan_says(truth: Model) -> None:
    plan = best_plan(points(truth, TOKENS, BATCHES))
    schedule = rows(plan, truth)
    NGram(tokens=5, schedule=schedule)  # raises for gaps, disorder and too many tokens
    dense = [tokens for first, last, tokens in schedule for _ in range(first, last + 1)]
    assert len(dense) == max(BATCHES)
    assert {batch: dense[batch - 1] for batch in BATCHES} == plan
    assert dense == sorted(dense, reverse=True)
    assert all(before[2] != after[2] for before, after in pairwise(schedule))


@given(models)
def test_between_measured_batch_sizes_the_model_decides(truth: Model) -> None:
    plan = best_plan(points(truth, TOKENS, (1, 128)))
    schedule = rows(plan, truth)
    choices = set(plan.values())
    for first, last, tokens in schedule:
        for batch in range(first, last + 1):
            assert truth.goodput(batch, tokens) == pytest.approx(max(truth.goodput(batch, each) for each in choices))


def test_below_the_smallest_measured_batch_size_the_schedule_has_rows_too() -> None:
    truth = model(base_ms=10, token_ms=0.5, rate=0.4)
    assert rows(best_plan(points(truth, (0, 1), (8, 64))), truth)[0][:1] == [1]


def test_ngram_is_told_the_schedule_and_keeps_its_options() -> None:
    truth = model(base_ms=10, token_ms=0.5, rate=0.4)
    found = points(truth, (0, 1, 5), (1, 8, 64)) + points(model(base_ms=9.9, token_ms=0.5), (None,), (1, 8, 64))
    advice = advise(NGram(tokens=5, lookup_min=3), found)
    assert advice.plan == {1: 5, 8: 1, 64: 0}
    assert isinstance(advice.speculation, NGram)
    assert (advice.speculation.tokens, advice.speculation.lookup_min) == (5, 3)
    assert [row[2] for row in advice.speculation.schedule] == [5, 1, 0]
    assert advice.speculation.schedule[-1][1] == 64


def test_where_no_draft_beats_a_server_without_speculation_none_is_advised() -> None:
    truth = model(base_ms=10, token_ms=0.1, rate=0.4)
    plain = points(model(base_ms=1, token_ms=0.1), (None,), (1, 8))
    advice = advise(NGram(), points(truth, (0, 2, 5), (1, 8)) + plain)
    assert advice.speculation is None
    assert advice.plan[1] > 0  # the best of a server that speculates, which is still the slower one
    assert advise(CustomClass(), points(truth, (2, 5), (1, 8)) + plain).speculation is None


def test_a_gain_within_the_noise_is_no_gain() -> None:
    truth = model(rate=0.5)
    found = points(truth, (None,), (1, 8), (0.1, 1.0, 9.0)) + points(truth, (0, 5), (1, 8), (0.9, 1.0, 1.1))
    assert advise(NGram(), found).speculation is None


def said(goodputs: dict[tuple[int | None, int], float]) -> list[Point]:
    """Return points with these goodputs, of tokens and a batch size each."""
    return points_of(trial(model(), *key)._replace(goodput=each) for key, each in goodputs.items())


def test_a_small_win_does_not_make_up_for_what_is_lost_at_the_other_batch_sizes() -> None:
    """A server that can speculate is slower at batch size 8 even where its schedule has no draft."""
    goodputs = {(None, 1): 100.0, (0, 1): 90.0, (5, 1): 110.0, (None, 8): 300.0, (0, 8): 200.0, (5, 8): 150.0}
    advice = advise(NGram(tokens=5), said(goodputs))
    assert (advice.speculation, advice.plan) == (None, {1: 5, 8: 0})
    assert wins(said(goodputs)) == {(1, 5)}
    assert advise(NGram(tokens=5), said(goodputs | {(0, 8): 290.0})).speculation is not None


def test_our_own_drafter_may_lose_where_it_would_draft_nothing() -> None:
    truth = model(base_ms=10, token_ms=1.0, rate=0.5)
    points_here = points(truth, (None, 2, 5), (1, 64))
    assert [each for each in wins(points_here) if each[0] == 64] == []
    assert advise(CustomClass(), points_here).speculation is not None
    slow = [trial(truth, each, batch) for each in (2, 5) for batch in (1, 64)]
    fast = [trial(truth, None, 1, 1.05), trial(truth, None, 64, 2.0)]
    assert advise(CustomClass(), points_of([*slow, *fast])).speculation is None


def test_the_drafter_of_this_package_is_told_the_time_of_a_step() -> None:
    truth = model(base_ms=12.5, token_ms=0.25)
    advice = advise(CustomClass(sources=["suffix"]), points(truth, (None, 2, 5), (1, 8, 64)))
    assert isinstance(advice.speculation, CustomClass)
    assert advice.plan == {}
    assert advice.speculation.sources == ["suffix"]
    name, options = advice.speculation.length
    assert name == "goodput"
    assert options == pytest.approx({"base_ms": 12.5, "token_ms": 0.25}, rel=1e-3)


def test_a_draft_model_has_a_time_of_its_own() -> None:
    advice = advise(
        DraftModel(model="m"), points(model(draft_ms=2.0), (0, 2, 5), (1, 8)) + points(model(), (None,), (1, 8))
    )
    assert advice.model.step.draft_ms == pytest.approx(2.0, rel=1e-3)


def test_each_number_of_tokens_is_measured_at_every_batch_size_between_two_servers_that_draft_nothing() -> None:
    made = variants(NGram(tokens=5, lookup_min=3), (), 64)
    assert made[0] == made[-1] == (None, None)
    assert made[1:-1] == [(each, NGram(tokens=5, lookup_min=3, schedule=[[1, 64, each]])) for each in (0, 3, 5)]
    assert [each.tokens for each in variants(NGram(tokens=1), (), 8)] == [None, 0, 1, None]
    assert [each.tokens for each in variants(NGram(tokens=2), (7, 3, 3), 8)] == [None, 3, 7, None]


def test_our_own_drafter_is_measured_at_fixed_lengths() -> None:
    made = variants(CustomClass(tokens=4, sources=["suffix"], length="thompson"), (), 64)
    assert made[1:-1] == [(each, CustomClass(tokens=each, sources=["suffix"], length="fixed")) for each in (2, 4)]


def test_a_machine_that_became_slower_meanwhile_is_seen() -> None:
    before = [trial(model(), None, batch, factor) for factor in (0.9, 1.0, 1.1) for batch in (1, 8, 64)]
    between = [trial(model(), 5, 1)]
    assert drift([*before, *between, *before]) == 0.0
    after = [each._replace(goodput=each.goodput * 0.7) for each in before]
    assert drift([*before, *between, *after]) == pytest.approx(0.3)
    assert drift([*after, *between, *before]) == pytest.approx(3 / 7)


@pytest.mark.parametrize(("profile", "tokens"), [(NGram(), (0,)), (CustomClass(), (0, 2))])
def test_what_cannot_be_measured_is_refused(profile: NGram | CustomClass, tokens: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match="0 tokens"):
        variants(profile, tokens, 8)


@pytest.mark.parametrize("profile", [Suffix(tokens=5), Medusa(tokens=5, model="heads")])
def test_a_profile_without_a_schedule_is_measured_and_advised_one_number_for_all_batch_sizes(profile: Profile) -> None:
    assert [each.tokens for each in variants(profile, (), 8)] == [None, 3, 5, None]
    assert [each.speculation.tokens for each in variants(profile, (), 8) if each.speculation] == [3, 5]
    with pytest.raises(UserError, match=f"{profile.method} cannot be told to draft 0 tokens"):
        variants(profile, (0, 5), 8)
    truth = model(base_ms=10, token_ms=0.5, rate=0.6)
    found = points(truth, (None, 1, 5), (1, 8))
    advice = advise(profile, found)
    total = {tokens: sum(log(truth.goodput(batch, tokens)) for batch in (1, 8)) for tokens in (1, 5)}
    best = max(total, key=total.__getitem__)
    assert advice.speculation == replace(profile, tokens=best)
    assert advice.plan == {1: best, 8: best}
    losing = points(model(base_ms=1, token_ms=5, rate=0.1), (None, 1, 5), (1, 8))
    assert advise(profile, losing).speculation is None


def test_one_number_of_tokens_for_all_batch_sizes_is_one_that_beats_no_speculation() -> None:
    """5 tokens lose least, and never win; 3 win at batch size 1, and lose more or less at 8."""
    goodputs = {(None, 1): 100.0, (3, 1): 110.0, (5, 1): 100.0, (None, 8): 100.0, (3, 8): 50.0, (5, 8): 100.0}
    assert advise(Suffix(tokens=5), said(goodputs)).speculation is None
    advice = advise(Suffix(tokens=5), said(goodputs | {(3, 8): 92.0}))
    assert advice.speculation == Suffix(tokens=3)
    assert advice.plan == {1: 3, 8: 3}
