"""Budgets from how long thoughts were: none without history, worked out by hand, widened while answers are wrong."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from asked import QUESTION, Table, history, outcome
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import UserError
from orchestrator.modes import Effort, Lengths
from orchestrator.modes.base import Chosen
from orchestrator.modes.fixed import THINK
from orchestrator.modes.similar import KINDS, LATEST, kind_of
from orchestrator.types import Outcome

PLAIN = Lengths(slack=1.0, similar="all", least=1)
ALL = Effort(similar="all", least=1, free=0.0)


def taught(policy: Any, outcomes: Iterable[Outcome], state: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the state after these ends of runs, each stored and read back as the journal does."""
    state = dict(state or {})
    for each in outcomes:
        state = json.loads(json.dumps(policy.after_run(each, state), allow_nan=False, sort_keys=True))
    return state


async def chosen(policy: Any, state: Mapping[str, Any], question: str = QUESTION, seed: int = 7) -> Chosen:
    ask = Table()
    found: Chosen = await policy.choose(history(lengths=state, question=question, seed=seed), ask)
    assert not ask.asked
    return found


# ---- quantiles of right answers


@pytest.mark.parametrize(
    ("lengths", "quantile", "budget"),
    [
        ([100], 0.95, 100),
        ([100, 200], 0.0, 100),
        ([100, 200], 1.0, 200),
        ([100, 200], 0.5, 150),
        ([10, 20, 30, 40, 50], 0.95, 48),  # the place 3.8: 40 + 0.8 * 10
        ([50, 10, 40, 20, 30], 0.25, 20),
        ([1], 0.0, 1),
    ],
)
async def test_the_budget_is_the_quantile_worked_out_by_hand(lengths: list[int], quantile: float, budget: int) -> None:
    policy = Lengths(quantile=quantile, slack=1.0, similar="all", least=1)
    found = await chosen(policy, taught(policy, [outcome(1.0, each) for each in lengths]))
    assert (found.mode.name, found.mode.budget, found.mode.think) == (f"think({budget})", budget, True)
    assert (found.threshold, found.margin) == (1, len(lengths) - 1)
    assert [signal.name for signal in found.signals] == ["quantile_length", "failures"]


async def test_slack_is_multiplied_and_rounded_up() -> None:
    policy = Lengths(quantile=0.5, slack=1.25, similar="all", least=1)
    found = await chosen(policy, taught(policy, [outcome(1.0, 101)]))
    assert found.mode.budget == 127
    assert found.reason == "1.25 x the 0.5 quantile of 1 right answers, 101 tokens (all)"


@pytest.mark.parametrize("policy", [Lengths(), Effort(free=0.0)], ids=["lengths", "effort"])
async def test_without_enough_history_there_is_no_budget_and_the_reason_says_so(policy: Any) -> None:
    state = taught(policy, [outcome(1.0, 50)] * 3)
    for known, number in ((state, 3), ({}, 0)):
        found = await chosen(policy, known)
        assert found.mode == THINK
        assert found.reason.startswith(f"no budget: {number} of 4 ")
        assert (found.threshold, found.margin, found.signals) == (4, number - 4, ())
    enough = await chosen(policy, taught(policy, [outcome(1.0, 50)], state))
    assert enough.mode.budget is not None and enough.margin == 0


async def test_each_wrong_answer_in_a_row_widens_the_budget_and_a_right_one_takes_it_back() -> None:
    state = taught(PLAIN, [outcome(1.0, 100)])
    budgets = []
    for reward in (0.0, 0.0, 0.5, 1.0, 0.0):
        state = taught(PLAIN, [outcome(reward, 100)], state)
        budgets.append((await chosen(PLAIN, state)).mode.budget)
    assert budgets == [200, 400, 800, 100, 200]
    assert (await chosen(PLAIN, state)).reason.endswith(", x 2 after 1 wrong in a row")


async def test_however_many_answers_are_wrong_a_budget_stays_a_number_of_tokens() -> None:
    policy = Lengths(slack=100, widen=10, similar="all", least=1)
    state = taught(policy, [outcome(1.0, 10**6), *[outcome(0.0)] * 40])
    budget = (await chosen(policy, state)).mode.budget
    assert budget is not None and 10**8 < budget < 1 << 53


@pytest.mark.parametrize(
    "nothing",
    [outcome(None, 100), outcome(1.0, 0), outcome(0.0, 0)],
    ids=["no reward", "right without a thought", "wrong without a thought"],
)
async def test_what_has_no_reward_or_no_thought_teaches_nothing(nothing: Outcome) -> None:
    state = taught(PLAIN, [outcome(1.0, 100)])
    assert taught(PLAIN, [nothing], state) == state
    assert taught(PLAIN, [nothing]) == {}


async def test_a_reward_that_comes_late_teaches_once() -> None:
    state = taught(PLAIN, [outcome(None, 70), outcome(1.0, 70, is_late=True)])
    found = await chosen(PLAIN, state)
    assert (found.mode.budget, found.margin) == (70, 0)


async def test_a_partly_right_answer_is_right_from_the_reward_on_that_the_option_says() -> None:
    policy = Lengths(similar="all", least=1, right=0.5)
    assert (await chosen(policy, taught(policy, [outcome(0.5, 70)]))).mode.budget is not None
    assert (await chosen(policy, taught(policy, [outcome(0.49, 70)]))).mode.budget is None


# ---- effort


@pytest.mark.parametrize(("effort", "budget"), [(1.0, 200), (0.5, 100), (0.25, 50), (1e-9, 1)])
async def test_effort_is_the_share_of_the_mean_and_1_is_the_mean(effort: float, budget: int) -> None:
    policy = Effort(effort=effort, similar="all", least=1, free=0.0)
    state = taught(policy, [outcome(1.0, 100), outcome(0.0, 200), outcome(None, 300)])
    found = await chosen(policy, state)
    assert found.mode.budget == budget
    assert found.reason == f"{effort:g} of the mean of 3 earlier thoughts, 200 tokens (all)"
    assert [(signal.name, signal.raw) for signal in found.signals] == [("mean_length", 200)]


@pytest.mark.parametrize(
    "nothing",
    [
        outcome(1.0, 0),
        outcome(1.0, 9, mode="think(9)"),
        outcome(1.0, 9, mode="no_think"),
        outcome(1.0, 9, is_late=True),
    ],
    ids=["no thought", "cut by a budget", "another mode", "told before"],
)
async def test_only_a_thought_that_ended_by_itself_says_what_is_usual(nothing: Outcome) -> None:
    state = taught(ALL, [outcome(1.0, 100)])
    assert taught(ALL, [nothing], state) == state


async def test_a_share_of_the_runs_has_no_budget_and_it_is_the_same_ones_again() -> None:
    policy = Effort(effort=0.5, similar="all", least=1, free=0.25)
    state = taught(policy, [outcome(1.0, 100)])
    first = [await chosen(policy, state, seed=seed) for seed in range(400)]
    assert first == [await chosen(policy, state, seed=seed) for seed in range(400)]
    free = [each for each in first if each.mode.budget is None]
    assert 60 < len(free) < 140
    assert free[0].reason == "no budget: one of the 0.25 of runs that say what is usual"


async def test_budgets_do_not_shrink_from_run_to_run() -> None:
    policy = Effort(effort=0.5, similar="all", least=1, free=0.0)
    state = taught(policy, [outcome(1.0, 100)])
    for _ in range(5):
        mode = (await chosen(policy, state)).mode
        assert mode.budget == 50
        state = taught(policy, [outcome(1.0, 50, mode=mode.name)], state)


# ---- alike


@pytest.mark.parametrize(
    ("similar", "one", "other", "is_alike"),
    [
        ("all", "a", "something else", True),
        ("length", "a" * 16, "b" * 31, True),
        ("length", "a" * 16, "b" * 32, False),
        ("numbers", "What is 12+30?", "Add 7 to 1,000.5.", True),
        ("numbers", "What is 12+30?", "What is 12+30+1?", False),
        ("shape", "What is 12+30?", "what  is 7+1,000.5?", True),
        ("shape", "What is 12+30?", "What is 12-30?", False),
        ("shape", 'Reverse "abc".', 'Reverse "hello 7".', True),
        ("shape", "Reverse 'abc' now", "Reverse 'de' now", True),
        ("shape", "don't say it's", "don't think it's", False),
        ("shape", "", " ", True),
        ("shape", "\ud800", "\ud800", True),
    ],
)
def test_questions_are_alike(similar: Any, one: str, other: str, is_alike: bool) -> None:
    assert (kind_of(one, similar) == kind_of(other, similar)) is is_alike


async def test_what_one_kind_of_task_taught_is_not_known_of_another() -> None:
    policy = Lengths(similar="shape", least=1)
    state = taught(policy, [outcome(1.0, 100, question="What is 1+2?")])
    assert (await chosen(policy, state, "What is 30+4?")).mode.budget == 125
    assert (await chosen(policy, state, "Who is it?")).mode.budget is None


async def test_memory_is_bounded_and_what_was_taught_last_is_kept() -> None:
    policy = Lengths(quantile=0.0, slack=1.0, similar="shape", least=1)
    state = taught(policy, [outcome(1.0, 1 + each, question="first") for each in range(LATEST + 10)])
    assert (await chosen(policy, state, "first")).mode.budget == 11
    for each in range(KINDS - 1):
        state = dict(policy.after_run(outcome(1.0, 5, question="x" * (each + 1)), state))
    state = dict(policy.after_run(outcome(1.0, 5, question="first"), state))
    state = taught(policy, [outcome(1.0, 5, question="new")], state)
    assert len(state["kinds"]) == KINDS
    known = [(await chosen(policy, state, each)).mode.budget for each in ("first", "new", "x", "xx")]
    assert known == [5, 5, None, 5]


def test_the_state_it_is_given_is_left_as_it_is() -> None:
    for policy in (PLAIN, ALL):
        state = taught(policy, [outcome(1.0, 100)])
        before = json.dumps(state)
        policy.after_run(outcome(1.0, 200), state)
        policy.after_run(outcome(0.0, 200), state)
        assert json.dumps(state) == before


@pytest.mark.parametrize(
    "damaged",
    [
        {"format": 2},
        {"format": 1},
        {"format": 1, "kinds": 3},
        {"format": 1, "kinds": [["all", [1]]]},
        {"format": 1, "kinds": [["all", ["1"], 0]]},
        {"format": 1, "kinds": [["all", [1], -1]]},
        {"format": 1, "kinds": [["all", [True], 0]]},
    ],
)
async def test_a_damaged_state_is_refused_and_the_mend_named(damaged: dict[str, Any]) -> None:
    for policy in (Lengths(), Effort()):
        with pytest.raises(UserError, match=r"what was learned of lengths .* name another `experience`"):
            await chosen(policy, damaged)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([0.0, 1.0, None]), st.integers(0, 5000)), max_size=30),
    st.floats(0, 1),
)
async def test_a_budget_lies_among_the_lengths_of_right_answers_and_only_wrong_ones_widen_it(
    runs: list[tuple[float | None, int]], quantile: float
) -> None:
    policy = Lengths(quantile=quantile, slack=1.0, similar="all", least=1)
    state = taught(policy, [outcome(reward, length) for reward, length in runs])
    right = [length for reward, length in runs if reward == 1.0 and length]
    found = await chosen(policy, state)
    if not right:
        assert found.mode == THINK
        return
    assert found.mode.budget is not None and found.mode.budget >= min(right)
    state = taught(policy, [outcome(1.0, right[-1])], state)
    after = await chosen(policy, state)
    assert after.mode.budget is not None and min(right) <= after.mode.budget <= max(right)
