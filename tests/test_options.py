"""Options that are wrong are refused in one line, whatever was given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import pytest

from orchestrator import modes, monitors, routers
from orchestrator.errors import UserError
from orchestrator.options import check_choice, check_lists, check_range, check_texts, check_whole

NAN = float("nan")


@dataclass
class Given:
    option: Any = None
    """None is its default, so None is right."""


@pytest.mark.parametrize(
    ("check", "wanted", "good", "bad", "told"),
    [
        (check_whole, 2, [2, 10**30], [1, True, 2.0, "2", NAN], "must be a whole number, at least 2"),
        (check_range, "[0, 1]", [0, 1, 0.5], [-0.1, 1.1, NAN, True, "0.5", [0.5]], "is not in [0, 1]"),
        (check_range, "(0, 1) (of all)", [0.5], [0, 1, 0.0, 1.0], "is not in (0, 1) (of all)"),
        (check_range, "[-1, inf)", [-1, 1e308, 10**400], [-1.1, float("inf")], "is not in [-1, inf)"),
        (check_range, "(0, inf]", [float("inf")], [0, -float("inf")], "is not in (0, inf]"),
        (check_choice, ("a", "b"), ["a", "b"], ["", "A", 3, [], {}], "; known: a, b"),
        (check_texts, "", ["a", "", " "], [3, b"a", ["a"]], "must be a text"),
        (check_texts, "name it", ["a"], ["", " \n"], "is empty: name it"),
        (check_lists, "words", [[], (), ["a"]], ["a", b"a", 3, {"a": 1}, {"a"}], "must be a list of words"),
    ],
)
def test_a_check_lets_pass_what_is_right_and_says_what_is_wrong(
    check: Callable[..., None], wanted: Any, good: list[Any], bad: list[Any], told: str
) -> None:
    for value in [*good, None]:
        check("who", Given(value), option=wanted)
    with pytest.raises(UserError, match="who: option = None"):
        check("who", {"option": None}, option=wanted)
    for value in bad:
        with pytest.raises(UserError) as caught:
            check("who", {"option": value}, option=wanted)
        assert str(caught.value).startswith("who: option ") and str(caught.value).endswith(told)


def test_a_whole_number_may_have_an_upper_end() -> None:
    check_whole("who", {"num": 64}, most=64, num=1)
    with pytest.raises(UserError, match="who: num = 65 must be a whole number from 1 to 64"):
        check_whole("who", {"num": 65}, most=64, num=1)


POLICIES = {
    **{f"monitor {name}": monitors.find(name) for name in monitors.MONITORS},
    **{f"mode {name}": found for name in modes.MODES if isinstance(found := modes.find(name), type)},
    **{f"router {name}": routers.find(name) for name in ("cascade", "rsd", "specreason", "answer-gate", "entropy")},
}
WRONG = (None, True, -1, 3, 0.5, NAN, 10**40, "x", "", b"x", [], ["x"], [3], [None], {}, {"x": "y"}, {3: []}, object())


@pytest.mark.parametrize("policy", POLICIES.values(), ids=list(POLICIES))
def test_no_value_of_an_option_comes_to_anything_but_a_policy_or_one_line(policy: type[Any]) -> None:
    for option in (each.name for each in fields(policy) if each.metadata.get("is_option", True)):
        for value in WRONG:
            try:
                made = policy(**{option: value})
            except UserError as error:
                assert "\n" not in str(error)
            else:
                assert getattr(made, option) is value or not isinstance(value, str | int)


@pytest.mark.parametrize(
    ("make", "options", "told"),
    [
        (
            routers.find("cascade"),
            {"others": None},
            "cascade: others = None must be a table, such as {'drift': 'verify'}",
        ),
        (routers.find("cascade"), {"note": 3}, "cascade: note = 3 must be a text"),
        (monitors.Stuck, {"near": "x"}, "monitor stuck: near = 'x' is not in (0, 1]"),
        (monitors.Drift, {"threshold": "x"}, "monitor drift: threshold = 'x' is not in [0, 1]"),
        (monitors.Spent, {"marks": 0.5}, "monitor budget: marks = 0.5 must be a list of shares"),
        (monitors.Spent, {"marks": [0.5, "x"]}, "monitor budget: marks = 'x' is not in (0, 1]"),
        (monitors.Ungrounded, {"ignore": [3]}, "monitor ungrounded: ignore = 3 must be a text"),
        (modes.Effort, {"effort": "x"}, "effort: effort = 'x' is not in (0, 1]"),
        (
            modes.FirstTryByKind,
            {"patience": "x"},
            "first-try-by-kind: patience = 'x' must be a whole number, at least 1",
        ),
        (modes.FirstTry, {"check": 3}, "first-try: check = 3 must be a function of the question and the answer"),
        (modes.FirstTry, {"then": 3}, "first-try: then = 3 must be a text"),
    ],
)
def test_a_value_of_another_type_is_told_like_one_out_of_range(
    make: type[Any], options: dict[str, Any], told: str
) -> None:
    with pytest.raises(UserError) as caught:
        make(**options)
    assert str(caught.value) == told
