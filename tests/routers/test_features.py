"""What a light router sees: a table of drafts and numbers, and what has to be left alone."""

from __future__ import annotations

from math import inf, log, log1p, nan
from time import process_time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from learned import token

from orchestrator.errors import SignalUnavailable
from orchestrator.routers.features import HISTORY, NAMES, POSITION, TEXT, UNCERTAINTY, Drafted, features
from orchestrator.types import Stop, TokenLogprob

TOKENS = (token(0.9), token(0.6), token(0.99))


def draft(**changes: Any) -> Drafted:
    given: dict[str, Any] = {
        "question": "Compute 3+4*2.",
        "previous": "3+4*2\n\n",
        "by_large": [False],
        "text": "4*2=8\n3+8\n\n",
        "num_tokens": 3,
        "stop": Stop.DELIMITER,
        "logprobs": TOKENS,
    }
    return Drafted(**{**given, **changes})


def named(of: Drafted, names: tuple[str, ...] = NAMES) -> dict[str, float]:
    return dict(zip(names, features(names, of), strict=True))


def test_features_come_in_the_order_they_are_asked_for() -> None:
    assert features(("index", "digits"), draft()) == [log1p(1), log1p(5)]


def test_the_least_certain_tokens_come_first() -> None:
    found = named(draft())
    assert found["margin_min"] == pytest.approx(0.2)
    assert (found["margin_2nd"], found["margin_3rd"]) == (pytest.approx(0.8), pytest.approx(0.98))
    assert found["logprob_min"] == pytest.approx(log(0.6))
    assert found["logprob_sum"] == pytest.approx(log(0.9) + log(0.6) + log(0.99))
    assert found["entropy_max"] == pytest.approx(-0.6 * log(0.6) - 0.4 * log(0.4))
    assert found["entropy_max"] > found["entropy_2nd"] > found["entropy_3rd"]
    assert (found["behind_max"], found["behind_num"]) == (0, 0)


def test_a_token_that_was_not_the_likeliest_is_behind_it() -> None:
    second = TokenLogprob(2, "8", log(0.25), (TokenLogprob(1, "7", log(0.75)), TokenLogprob(2, "8", log(0.25))))
    found = named(draft(logprobs=(*TOKENS, second)))
    assert found["behind_max"] == pytest.approx(log(3))
    assert found["behind_num"] == 1


def test_a_step_of_one_token_says_its_token_three_times() -> None:
    found = named(draft(logprobs=TOKENS[:1]))
    assert found["margin_min"] == found["margin_2nd"] == found["margin_3rd"] == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {},
            {
                "numbers": log1p(5),
                "new_numbers": log1p(2),
                "numbers_from_nowhere": log1p(2),
                "largest_number": log1p(8),
            },
        ),
        ({"text": "3+4*2\n\n"}, {"is_repeat": 1, "new_numbers": 0, "copied_share": 1, "length_ratio": 0}),
        ({"previous": "8+8\n\n"}, {"new_numbers": log1p(3), "numbers_from_nowhere": 0, "lost_numbers": 0}),
        ({"text": "ab\n\n"}, {"numbers": 0, "largest_number": 0, "new_numbers_share": 0, "letters_share": 0.5}),
        ({"text": ""}, {"chars": 0, "letters_share": 0, "copied_share": 0, "lost_numbers": log1p(3)}),
        ({"stop": Stop.END}, {"is_end": 1, "is_cut": 0}),
        ({"stop": Stop.LENGTH}, {"is_end": 0, "is_cut": 1}),
        ({"by_large": []}, {"index": 0, "is_first": 1, "large_share": 0, "last_is_large": 0, "since_large": 0}),
        (
            {"by_large": [True, False, False, False]},
            {"large_share": 0.25, "last_is_large": 0, "last_two_large": 0, "since_large": log1p(3)},
        ),
        ({"by_large": [False, True, True]}, {"last_is_large": 1, "last_two_large": 1, "since_large": 0}),
    ],
)
def test_what_text_place_and_writers_say(changes: dict[str, Any], expected: dict[str, float]) -> None:
    found = named(draft(**changes))
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_in_front_of_the_first_step_the_question_is_what_came_before() -> None:
    found = named(draft(previous="", text="3+4*2\n\n", by_large=[]))
    assert (found["new_numbers"], found["lost_numbers"]) == (0, 0)


@given(st.text(max_size=80), st.text(max_size=80), st.text(max_size=30))
def test_features_of_any_text_are_finite_and_shares_are_shares(text: str, previous: str, question: str) -> None:
    found = named(draft(text=text, previous=previous, question=question))
    assert all(-inf < value < inf for value in found.values())
    for name in ("letters_share", "new_numbers_share", "copied_share", "asked_share", "large_share"):
        assert 0 <= found[name] <= 1


def test_who_wrote_before_changes_the_history_features_and_no_others() -> None:
    one, other = (named(draft(by_large=writers)) for writers in ([True, True, False, True, True], [False] * 5))
    assert {name for name in NAMES if one[name] != other[name]} == set(HISTORY)


def test_without_logprobs_only_what_needs_them_is_unavailable() -> None:
    without = draft(logprobs=None)
    assert len(features((*TEXT, *POSITION, *HISTORY), without)) == len(TEXT) + len(POSITION) + len(HISTORY)
    with pytest.raises(SignalUnavailable, match="no tokens with logprobs"):
        features(UNCERTAINTY, without)


def test_a_logprob_that_is_no_number_is_unavailable() -> None:
    broken = token(0.9)._replace(top=(TokenLogprob(1, "7", nan),))
    with pytest.raises(SignalUnavailable, match="which is no logprob"):
        features(UNCERTAINTY, draft(logprobs=(broken,)))


def test_a_scorers_word_is_a_feature_once_it_was_asked() -> None:
    assert features(("signal:prm",), draft(signals={"prm": 0.3})) == [0.3]
    with pytest.raises(SignalUnavailable, match="'prm' is unavailable: nobody asked"):
        features(("signal:prm",), draft())


def test_a_number_of_thousands_of_digits_is_a_number() -> None:
    assert named(draft(text="9" * 5000))["largest_number"] == pytest.approx(log1p(1e15), rel=1e-3)


def test_all_features_of_a_usual_step_take_a_fraction_of_a_millisecond() -> None:
    usual = draft(logprobs=TOKENS * 7)
    spent = []
    for _ in range(20):
        began_s = process_time()
        for _ in range(20):
            features(NAMES, usual)
        spent.append((process_time() - began_s) / 20)
    assert min(spent) < 0.0006  # 0.15 ms where nothing else runs
