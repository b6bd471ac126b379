"""The little language of conditions: what it takes, what it refuses, and when it is settled."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import UserError
from orchestrator.routers.conditions import Condition, parse

RANGES = {"prm": (0.0, 1.0), "judge-average": (0.0, 9.0), "entropy_mean": (0.0, inf)}
KNOWN = {"prm": 0.5, "judge-average": 7.0, "entropy_mean": 0.3}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("prm > 0.5", False),
        ("prm >= 0.5", True),
        ("prm<0.5", False),
        ("prm <= .5", True),
        ("judge-average >= 7 and entropy_mean < 0.4 or prm > 0.9", True),
        ("prm > 0.9 or judge-average >= 7 and entropy_mean < 0.1", False),
        ("(prm > 0.9 or judge-average >= 7) and entropy_mean < 0.4", True),
        ("not prm > 0.5 and not (entropy_mean > 1e-1 and prm < 0.1)", True),
        ("not not prm >= 0.5", True),
    ],
)
def test_a_condition_is_read_as_it_is_written(text: str, holds: bool) -> None:
    assert parse(text, RANGES).decided(KNOWN, RANGES) is holds


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "its end"),
        ("prm", "'nothing' behind 'prm'"),
        ("prm > ", "'nothing' is no number"),
        ("prm = 0.5", "cannot read '= 0.5'"),
        ("prm == 0.5", "cannot read"),
        ("0.5 < prm", "'0.5' stands where a comparison"),
        ("prm > 0.5 judge-average > 3", "'judge-average' is left over"),
        ("(prm > 0.5", "a parenthesis is not closed"),
        ("prm > 0.5)", "is left over"),
        ("prm > 0.5 and", "its end"),
        ("prm > nan", "'nan' is no number"),
        ("prm > inf", "'inf' is no number"),
        ("prm > 1e999", "is no number"),
        ("prm > 1.5", r"prm is in \[0, 1\], so never near 1.5"),
        ("entropy_mean < -1", r"entropy_mean is in \[0, inf\]"),
        ("entropy > 1", "no signal 'entropy'; known: prm, judge-average, entropy_mean"),
        ("__import__('os')", "cannot read"),
        ("__import__ > 1", "no signal '__import__'"),
        ("prm > 0.5; prm < 1", "cannot read"),
        ("prm + 1 > 0.5", "cannot read|behind 'prm'"),
        ("(" * 60 + "prm > 0.5" + ")" * 60, "nested deeper"),
        ("and > 1", "'and' stands where"),
    ],
)
def test_what_is_not_in_the_grammar_is_refused(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        parse(text, RANGES).decided(KNOWN, RANGES)


comparisons = st.builds(
    lambda name, sign, tenths: f"{name} {sign} {tenths / 10}",
    st.sampled_from(["prm", "judge-average"]),
    st.sampled_from(["<", "<=", ">", ">="]),
    st.integers(0, 10),
)
conditions = st.recursive(
    comparisons,
    lambda inner: st.one_of(
        inner.map(lambda one: f"not ({one})"),
        st.builds(lambda one, sign, other: f"({one}) {sign} ({other})", inner, st.sampled_from(["and", "or"]), inner),
    ),
    max_leaves=6,
)


def plain(text: str, known: dict[str, float]) -> bool:
    """Return what Python makes of it."""
    names = {name.replace("-", "_"): value for name, value in known.items()}
    return bool(eval(text.replace("-", "_"), {"__builtins__": {}}, names))


@given(conditions, st.floats(0, 1), st.floats(0, 9))
def test_it_says_what_python_would(text: str, prm: float, judge: float) -> None:
    known = {"prm": prm, "judge-average": judge}
    assert parse(text, RANGES).decided(known, RANGES) is plain(text, known)


@given(conditions, st.floats(0, 1), st.lists(st.floats(0, 9), min_size=1, max_size=8))
def test_what_is_settled_early_does_not_depend_on_the_rest(text: str, prm: float, judges: list[float]) -> None:
    found: Condition = parse(text, RANGES)
    early = found.decided({"prm": prm}, RANGES)
    assert (early is None) == bool({*found.open({"prm": prm}, RANGES)})
    if early is not None:
        assert {plain(text, {"prm": prm, "judge-average": judge}) for judge in judges} == {early}


def test_a_condition_that_is_too_long_is_refused_before_it_is_read() -> None:
    with pytest.raises(UserError, match="has 200008 characters, more than 10000"):
        parse("prm >0.5" + " " * 200_000, RANGES)
