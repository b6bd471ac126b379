"""Modes as people write them: what each name is, and one clear line for what is none."""

from __future__ import annotations

from typing import Any

import pytest
from asked import Table, history
from hypothesis import example, given, settings
from hypothesis import strategies as st

from orchestrator import modes
from orchestrator.errors import UnknownName, UserError
from orchestrator.modes import MODES, Agreement, Effort, FirstTry, FirstTryByKind, Lengths, SelfClassified
from orchestrator.modes.fixed import AGENTIC, INSTANT, NO_THINK, THINK, Fixed, fixed_of
from orchestrator.modes.written import mode_of
from orchestrator.types import Mode

BUDGET = Mode(name="think(512)", think=True, budget=512)


@pytest.mark.parametrize("name", MODES)
def test_every_registered_name_is_a_policy_once_it_is_written(name: str) -> None:
    assert hasattr(mode_of(name), "choose")
    assert modes.find(name) is not None


@pytest.mark.parametrize(
    ("written", "mode"),
    [
        ("instant", INSTANT),
        ("no_think", NO_THINK),
        (" think ", THINK),
        ("think(512)", BUDGET),
        ("think ( 512 )", BUDGET),
        ("think(0512)", BUDGET),
        ("agentic", AGENTIC),
        ("agentic(64)", Mode(name="agentic(64)", needs_tools=True, budget=64)),
    ],
)
async def test_a_fixed_mode_is_chosen_for_every_task_and_nobody_is_asked(written: str, mode: Mode) -> None:
    ask = Table()
    chosen = await mode_of(written).choose(history(), ask)
    assert (chosen.mode, chosen.reason, ask.asked) == (mode, "as asked for", [])
    assert fixed_of(written) == mode


def test_an_instant_answer_is_short_and_neither_thinks_nor_acts_and_only_agentic_needs_tools() -> None:
    assert (INSTANT.think, INSTANT.tools, INSTANT.max_tokens) == (False, False, 400)
    assert [(each.think, each.tools) for each in (NO_THINK, THINK, AGENTIC)] == [
        (False, True),
        (True, True),
        (None, True),
    ]
    assert [each.needs_tools for each in (INSTANT, NO_THINK, THINK, AGENTIC)] == [False, False, False, True]


@pytest.mark.parametrize(
    ("written", "policy"),
    [
        ("effort(0.5)", Effort(effort=0.5)),
        ("effort(effort=0.5, similar=all)", Effort(effort=0.5, similar="all")),
        ("effort(1, least=2)", Effort(effort=1.0, least=2)),
        ("lengths(0, slack=1)", Lengths(quantile=0.0, slack=1.0)),
        ("agreement(0.5, num=8, cheap=instant)", Agreement(threshold=0.5, num=8, cheap="instant")),
        ("first-try(judge)", FirstTry(gate="judge")),
        ("first-try(then=think(512))", FirstTry(then="think(512)")),
        ("self-classified(tools=true)", SelfClassified(tools=True)),
        ("auto", FirstTryByKind(gate="written", threshold=0.9)),
        ("auto()", FirstTryByKind()),
        ("auto(first-try)", FirstTry(gate="written", threshold=0.9)),
        ("auto(agreement, threshold=0.5)", Agreement(threshold=0.5)),
        ("auto(by=self, engine=large)", SelfClassified(engine="large")),
        ("auto(history)", Lengths()),
    ],
)
def test_options_stand_in_brackets_and_the_first_may_go_without_its_name(written: str, policy: Any) -> None:
    assert mode_of(written) == policy


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("think(0)", "mode think(0): a budget is a whole number of tokens above 0, as in think(512)"),
        ("think()", "mode think(): a budget is a whole number"),
        ("think(-5)", "a budget is a whole number"),
        ("think(1e3)", "a budget is a whole number"),
        ("think(٥)", "a budget is a whole number"),
        ("think(1_000)", "a budget is a whole number"),
        ("think(" + "9" * 5000 + ")", "a budget is a whole number"),
        ("think(512", "has a bracket that is not closed"),
        ("think(512) now", "has a bracket that is not closed"),
        ("no_think(512)", "no_think has no thought to limit"),
        ("effort(0)", "effort: effort = 0.0 is not in (0, 1]"),
        ("effort(1.5)", "effort: effort = 1.5 is not in (0, 1]"),
        ("effort(nan)", "effort: effort = nan is not in (0, 1]"),
        ("effort(much)", "mode effort: effort must be a valid number"),
        ("effort(0.5, 0.6)", "mode effort: option '0.6' is none; known: effort, similar, least, free"),
        ("effort(0.5, effort=0.6)", "mode effort: option 'effort' is given twice"),
        ("effort(size=1)", "mode effort: option 'size' is none"),
        ("effort(similar=mood)", "mode effort: similar must be 'all', 'length', 'numbers' or 'shape', not 'mood'"),
        ("lengths(1.1)", "lengths: quantile = 1.1 is not in [0, 1]"),
        ("lengths(widen=0.5)", "lengths: widen = 0.5 is not in [1, 10]"),
        ("lengths(slack=inf)", "lengths: slack = inf is not in (0, 100]"),
        ("agreement(nan)", "agreement: threshold = nan is not in [0, 1.01]"),
        ("agreement(num=0)", "agreement: num = 0 must be a whole number from 1 to 64"),
        ("agreement(num=1)", "agreement: num = 1 always agrees with itself"),
        ("agreement(then=no_think)", "agreement: then = 'no_think' does not think"),
        ("first-try(then=sleep)", "no fixed mode named 'sleep'; known: agentic, instant, no_think, think"),
        ("first-try(first=think)", "first must be 'no_think' or 'instant', not 'think'"),
        ("first-try(check=print)", "mode first-try: check must be"),
        ("auto(by=mood)", "mode auto: by must be 'kind', 'first-try', 'agreement', 'self' or 'history', not 'mood'"),
        ("auto(history, threshold=0.5)", "auto: history asks nobody, so there is no threshold: use lengths(...)"),
    ],
)
def test_what_is_no_mode_is_one_clear_line(written: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        mode_of(written)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 250


def test_an_unknown_name_lists_those_there_are() -> None:
    with pytest.raises(UnknownName) as caught:
        mode_of("ponder(3)")
    assert str(caught.value) == f"no mode named 'ponder'; known: {', '.join(sorted(MODES))}"


@pytest.mark.parametrize("what", [None, 3, FirstTry, object()])
def test_what_is_neither_a_name_nor_a_mode_nor_a_policy_is_refused(what: Any) -> None:
    with pytest.raises(UserError, match="a mode is a name, a Mode or a policy"):
        mode_of(what)


@pytest.mark.parametrize("target", ["json:JSONDecoder", "json:__name__"])
def test_what_a_package_registers_has_to_be_a_mode_or_to_make_a_policy(
    monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    monkeypatch.setitem(MODES, "broken", target)
    with pytest.raises(UserError, match=r"mode 'broken' is .*: mend its package"):
        mode_of("broken")


def test_a_mode_and_a_policy_are_taken_as_they_are() -> None:
    policy = Agreement()
    assert mode_of(policy) is policy
    assert mode_of(BUDGET) == Fixed(mode=BUDGET)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, (1 << 53) - 1))
def test_every_budget_can_be_written_and_its_name_is_read_back_as_the_same_mode(budget: int) -> None:
    mode = fixed_of(f"think({budget})")
    assert mode.budget == budget
    assert fixed_of(mode.name) == mode


@settings(max_examples=120, deadline=None)
@given(st.one_of(st.text(max_size=40), st.from_regex(r"[a-z_-]{1,9}\([^)]{0,9}\)?", fullmatch=True)))
@example("think\n(512)")
@example("effort(=)")
@example("effort(,)")
@example("think((512))")
@example("\0")
def test_any_text_is_a_policy_or_a_user_s_error(text: str) -> None:
    try:
        policy = mode_of(text)
    except UserError:
        return
    assert hasattr(policy, "choose")
