"""Limits hold whatever runs side by side: granted in advance, settled afterwards."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import LimitExceeded, UserError
from orchestrator.ledger import Entry, Price
from orchestrator.runtime.budget import Spender
from orchestrator.types import Budget

PRICES = {"small": Price(prompt=0.1, cached=0.01, output=1.0), "large": Price(prompt=1.0, output=10.0)}


def test_a_call_is_granted_what_is_left_and_then_nothing() -> None:
    spender = Spender(Budget(tokens=100), {})
    assert spender.reserve("small", 5, 60) == 60
    assert spender.reserve("small", 5, 60) == 40
    with pytest.raises(LimitExceeded) as exceeded:
        spender.reserve("small", 5, 1)
    assert (exceeded.value.kind, exceeded.value.value, exceeded.value.limit) == ("tokens", 100, 100)


def test_settling_gives_back_what_was_not_used() -> None:
    spender = Spender(Budget(tokens=100), {})
    granted = spender.reserve("small", 5, 100)
    spender.settle("small", 5, granted, Entry(prompt_tokens=5, output_tokens=30))
    assert spender.reserve("small", 5, 100) == 70


def test_one_engines_limit_leaves_the_others_free() -> None:
    spender = Spender(Budget(tokens=100, engines={"large": Budget(tokens=10)}), {})
    assert spender.reserve("large", 1, 50) == 10
    with pytest.raises(LimitExceeded, match=r"large\.tokens"):
        spender.reserve("large", 1, 50)
    assert spender.reserve("small", 1, 500) == 90


def test_a_prompt_that_passes_the_prompt_limit_is_not_sent() -> None:
    spender = Spender(Budget(prompt_tokens=10), {})
    assert spender.reserve("small", 10, 5) == 5
    with pytest.raises(LimitExceeded, match="prompt_tokens"):
        spender.reserve("small", 1, 5)


def test_cost_limits_the_tokens_a_call_may_have() -> None:
    spender = Spender(Budget(cost=25.0), PRICES)
    assert spender.reserve("large", 5, 100) == 2
    spender = Spender(Budget(cost=25.0), PRICES)
    assert spender.reserve("small", 50, 100) == 20
    with pytest.raises(LimitExceeded, match="cost"):
        spender.reserve("small", 10, 100)


def test_seconds_and_steps_run_out() -> None:
    now = [0.0]
    spender = Spender(Budget(seconds=2.0, steps=3), {}, clock=lambda: now[0])
    assert spender.remaining_s() == 2.0
    now[0] = 2.0
    with pytest.raises(LimitExceeded, match="seconds"):
        spender.reserve("small", 1, 1)
    spender.check_steps(2)
    with pytest.raises(LimitExceeded, match="steps"):
        spender.check_steps(3)


def test_time_spent_in_earlier_sessions_counts() -> None:
    assert Spender(Budget(seconds=10.0), {}, spent_s=4.0, clock=lambda: 100.0).remaining_s() == 6.0


calls = st.lists(
    st.tuples(st.sampled_from(["small", "large"]), st.integers(0, 30), st.integers(1, 40), st.floats(0, 1)), max_size=30
)


@given(
    calls,
    st.integers(1, 200),
    st.integers(1, 200),
    st.floats(1.0, 500.0),
    st.integers(1, 60),
)
def test_no_mix_of_calls_passes_any_limit(
    mix: list[tuple[str, int, int, float]], tokens: int, prompt_tokens: int, cost: float, large: int
) -> None:
    limits = Budget(tokens=tokens, prompt_tokens=prompt_tokens, cost=cost, engines={"large": Budget(tokens=large)})
    spender = Spender(limits, PRICES)
    spent = {"small": Entry(), "large": Entry()}
    open_calls = []
    for engine, prompt, wanted, share in mix:
        try:
            granted = spender.reserve(engine, prompt, wanted)
        except LimitExceeded:
            continue
        assert 1 <= granted <= wanted
        used = Entry(prompt_tokens=prompt, output_tokens=round(granted * share))
        spent[engine].add(used)
        open_calls.append((engine, prompt, granted, used))
        if len(open_calls) > 2:
            spender.settle(*open_calls.pop(0))
    assert sum(entry.output_tokens for entry in spent.values()) <= tokens
    assert sum(entry.prompt_tokens for entry in spent.values()) <= prompt_tokens
    assert sum(PRICES[engine].of(entry) for engine, entry in spent.items()) <= cost + 1e-6
    assert spent["large"].output_tokens <= large


@pytest.mark.parametrize("limit", ["tokens", "prompt_tokens", "seconds", "cost", "steps"])
def test_a_limit_of_nothing_is_a_mistake(limit: str) -> None:
    with pytest.raises(UserError, match=limit):
        Budget(**{limit: 0})
