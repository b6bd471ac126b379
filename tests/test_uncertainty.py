"""Bounds that hold for every distribution, and figures that can be checked by hand."""

from __future__ import annotations

from itertools import pairwise
from math import exp, inf, isnan, log, nan, sqrt
from timeit import repeat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import uncertainty
from orchestrator.errors import SignalUnavailable
from orchestrator.types import TokenLogprob

weights = st.lists(st.floats(1e-6, 1.0), min_size=2, max_size=40)


def token(ps: list[float], k: int, written: int = 0) -> TokenLogprob:
    """Return a token drawn from `ps`, most likely first, of which the k first are shown."""
    shown = tuple(TokenLogprob(place, f"t{place}", log(p)) for place, p in enumerate(ps[:k]))
    return TokenLogprob(written, f"t{written}", log(ps[written]), shown)


def normal(ws: list[float]) -> list[float]:
    return sorted((w / sum(ws) for w in ws), reverse=True)


def entropy(ps: list[float]) -> float:
    return -sum(p * log(p) for p in ps)


@given(st.lists(weights, min_size=1, max_size=5), st.data())
def test_the_bounds_bracket_the_true_entropy_whatever_is_shown_and_written(
    drawn: list[list[float]], data: st.DataObject
) -> None:
    size = max(map(len, drawn))
    full = [normal(ws) for ws in drawn]
    tokens = [token(ps, data.draw(st.integers(1, len(ps))), data.draw(st.integers(0, len(ps) - 1))) for ps in full]
    lower, upper = uncertainty.entropies(tokens, vocabulary=size)
    for place, ps in enumerate(full):
        assert lower[place] - 1e-9 <= entropy(ps) <= upper[place] + 1e-9


@given(weights)
def test_both_bounds_are_the_entropy_where_everything_is_shown(ws: list[float]) -> None:
    ps = normal(ws)
    lower, upper = uncertainty.entropies([token(ps, len(ps))], vocabulary=len(ps))
    assert lower[0] == pytest.approx(entropy(ps), abs=1e-6)
    assert upper[0] == pytest.approx(entropy(ps), abs=1e-6)


@given(weights)
def test_more_alternatives_never_loosen_a_bound(ws: list[float]) -> None:
    ps = normal(ws)
    bounds = [uncertainty.entropies([token(ps, k)], vocabulary=len(ps)) for k in range(1, len(ps) + 1)]
    for fewer, more in pairwise(bounds):
        assert more.lower[0] >= fewer.lower[0] - 1e-9
        assert more.upper[0] <= fewer.upper[0] + 1e-9


def test_without_the_vocabulary_there_is_no_upper_bound_but_where_nothing_is_left() -> None:
    half = token([0.5, 0.3, 0.2], 2)
    whole = token([0.5, 0.5], 2)
    assert uncertainty.entropies([half, whole]).upper.tolist() == [inf, pytest.approx(log(2))]


def test_the_written_token_counts_as_known_though_the_top_leaves_it_out() -> None:
    ps = [0.4, 0.3, 0.2, 0.1]
    for written, known in ((1, 2), (3, 3)):
        _, upper = uncertainty.entropies([token(ps, 2, written)], vocabulary=5)
        seen = [*ps[:2], *([ps[3]] if known == 3 else [])]
        left = 1 - sum(seen)
        assert upper[0] == pytest.approx(entropy(seen) + left * log((5 - known) / left))


def test_margins_are_probabilities_and_of_one_alternative_a_lower_bound() -> None:
    tokens = [token([0.7, 0.2, 0.1], 2), token([0.5, 0.5], 2), token([0.7, 0.3], 1), token([0.3, 0.3, 0.3, 0.1], 1)]
    assert uncertainty.margins(tokens).tolist() == pytest.approx([0.5, 0.0, 0.4, 0.0])


def test_separability_is_the_published_formula() -> None:
    logprobs = [-0.1, -3.0, -4.0]
    top = tuple(TokenLogprob(place, str(place), value) for place, value in enumerate(logprobs))
    mean = sum(logprobs) / 3
    std = sqrt(sum((value - mean) ** 2 for value in logprobs) / 3)
    [found] = uncertainty.separabilities([TokenLogprob(0, "0", -0.1, top)])
    assert found == pytest.approx((-0.1 - mean) / (std + 1e-6))


@given(weights, st.floats(-50, 0))
def test_separability_does_not_change_when_a_constant_is_added(ws: list[float], shift: float) -> None:
    one = token(normal(ws), len(ws))
    moved = one._replace(top=tuple(each._replace(logprob=each.logprob + shift) for each in one.top))
    before, after = (uncertainty.separabilities([each])[0] for each in (one, moved))
    assert after == pytest.approx(before, abs=1e-4)


def test_separability_grows_with_the_margin_up_to_its_bound_and_is_none_for_a_single_alternative() -> None:
    def of(first: float) -> float:
        rest = (1 - first) / 4
        return float(uncertainty.separabilities([token([first, rest * 1.5, rest * 1.2, rest * 0.8, rest * 0.5], 5)])[0])

    found = [of(first) for first in (0.4, 0.6, 0.8, 0.95, 0.999)]
    assert found == sorted(found)
    assert found[-1] < sqrt(5 - 1)
    alone = [token([0.9, 0.1], 2), token([1.0], 1)]
    with pytest.raises(SignalUnavailable, match="a single alternative"):
        uncertainty.separabilities(alone)
    assert isnan(uncertainty.uncertainty(alone).separability_min)


def test_the_summary_is_what_the_single_figures_say() -> None:
    tokens = [token([0.7, 0.2, 0.1], 2), token([0.5, 0.3, 0.2], 3, 1), token([0.9, 0.06, 0.04], 2, 2)]
    found = uncertainty.uncertainty(tokens, vocabulary=3)
    lower, upper = uncertainty.entropies(tokens, 3)
    assert found.entropy_mean == pytest.approx(lower.mean())
    assert (found.entropy_max, found.entropy_last) == pytest.approx((lower.max(), lower[-1]))
    assert (found.entropy_mean_upper, found.entropy_max_upper) == pytest.approx((upper.mean(), upper.max()))
    margins, separabilities = uncertainty.margins(tokens), uncertainty.separabilities(tokens)
    at_once = uncertainty.entropies_and_margins(tokens)
    assert [each.tolist() for each in at_once] == [uncertainty.entropies(tokens).lower.tolist(), margins.tolist()]
    assert (found.margin_min, found.margin_mean) == pytest.approx((margins.min(), margins.mean()))
    assert (found.separability_min, found.separability_mean) == pytest.approx(
        (separabilities.min(), separabilities.mean())
    )
    assert found.logprob_mean == pytest.approx((log(0.7) + log(0.3) + log(0.04)) / 3)
    assert found.logprob_min == pytest.approx(log(0.04))
    assert found.perplexity == pytest.approx(exp(-found.logprob_mean)) == uncertainty.perplexity(tokens)


def test_a_token_that_the_server_kept_to_itself_is_left_out_and_counted() -> None:
    kept_back = TokenLogprob(7, "�", nan)
    one = token([0.7, 0.2, 0.1], 3)
    found = uncertainty.uncertainty([kept_back, one, kept_back])
    assert (found.num_tokens, found.num_read) == (3, 1)
    assert found.entropy_mean == found.entropy_last == pytest.approx(entropy([0.7, 0.2, 0.1]))
    assert found.logprob_mean == pytest.approx(log(0.7))


def test_a_written_token_of_no_known_logprob_still_has_its_alternatives_read() -> None:
    found = uncertainty.entropies([token([0.7, 0.2, 0.1], 3)._replace(logprob=nan)])
    assert found.lower[0] == pytest.approx(entropy([0.7, 0.2, 0.1]))


@pytest.mark.parametrize("value", [nan, inf, -inf, 0.5])
def test_a_number_that_is_no_logprob_is_refused_with_its_token(value: float) -> None:
    good = token([0.7, 0.2], 2)
    bad = good._replace(top=(good.top[0], TokenLogprob(9, "x", value)))
    with pytest.raises(SignalUnavailable, match=rf"an alternative of 't0' has {value!r}, which is no logprob"):
        uncertainty.uncertainty([good, bad])


def test_certainty_is_no_error() -> None:
    sure = TokenLogprob(0, "a", 0.0, (TokenLogprob(0, "a", 0.0), TokenLogprob(1, "b", -1e30)))
    found = uncertainty.uncertainty([sure], vocabulary=1000)
    assert (found.entropy_mean, found.entropy_mean_upper) == pytest.approx((0.0, 0.0), abs=1e-9)
    assert (found.margin_min, found.perplexity) == (1.0, 1.0)
    assert uncertainty.perplexity([TokenLogprob(1, "b", -1e30)]) < inf


@pytest.mark.parametrize(
    ("tokens", "said"),
    [
        (None, "no tokens with logprobs"),
        ([], "no tokens with logprobs"),
        ([TokenLogprob(0, "a", -0.1)], "no token has alternatives"),
        ([TokenLogprob(0, "a", -inf, (TokenLogprob(0, "a", -0.1),))], "-inf is no logprob"),
        ([TokenLogprob(0, "a", nan, (TokenLogprob(0, "a", -0.1),))], "no token has a logprob"),
        ([TokenLogprob(0, "a", -0.1, (TokenLogprob(0, "a", -0.1), TokenLogprob(1, "b", -0.1)))], "more than 1"),
    ],
)
def test_where_nothing_can_be_read_the_reason_is_given(tokens: list[TokenLogprob] | None, said: str) -> None:
    with pytest.raises(SignalUnavailable, match=said):
        uncertainty.uncertainty(tokens)


def test_a_step_of_20_tokens_is_summed_up_in_well_under_a_tenth_of_a_millisecond() -> None:
    tokens = [token([0.5, 0.2, 0.1, 0.1, 0.05, 0.05], 5, place % 6) for place in range(20)]
    best_s = min(repeat(lambda: uncertainty.uncertainty(tokens, 1000), number=50, repeat=20)) / 50
    assert best_s < 1e-4  # 0.04 ms on a free core; the bar leaves room for a busy one
