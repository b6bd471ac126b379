"""The oracle of Arbitrage: whatever it escalates is better by more than the threshold, and no choice is better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.decisions import Decision
from orchestrator.errors import SignalUnavailable, UserError
from orchestrator.routers import Oracle
from orchestrator.types import History, Signal, Step, Stop, Task

EIGHTHS = st.integers(0, 8).map(lambda number: number / 8)
"""Scores whose differences are exact, so that ties are ties."""
PAIRS = st.lists(st.tuples(EIGHTHS, EIGHTHS), min_size=1, max_size=8)


def step(writer: str, text: str = "") -> Step:
    return Step(index=0, attempt=0, writer=writer, text=f"{text or writer}\n\n", num_tokens=3, stop=Stop.DELIMITER)


@dataclass
class Scores:
    """Scores a draft and the alternative to it; None is no score."""

    draft: float | None
    target: float | None = None
    wrote: str = ""
    """What the large engine writes; its name unless given."""
    asked: list[str] = field(default_factory=list)

    async def score(self, name: str, draft: Step | Sequence[Step]) -> Any:
        assert isinstance(draft, Step)
        self.asked.append(f"{name} {draft.writer}")
        value = self.draft if draft.writer == "small" else self.target
        if value is None:
            raise SignalUnavailable(name, "it cannot tell")
        return Signal(name=name, value=value)

    async def alternative(self, engine: str, draft: Step, *, sample: int = 0) -> Step:
        self.asked.append(f"write {engine}")
        return step(engine, self.wrote)

    async def answers(self, engine: str, draft: Step | None = None, *, num: int = 1) -> list[str]:
        raise NotImplementedError


async def decision(ask: Scores, threshold: float = 0.0) -> Decision:
    history = History(task=Task.of("q"), engines=("small", "large"), seed=7)
    return await Oracle(threshold=threshold).after_draft(history, step("small"), ask)


async def escalated(pairs: Sequence[tuple[float, float]], threshold: float) -> set[int]:
    """Return the steps at which the large engine's step is taken."""
    made = [await decision(Scores(*pair), threshold) for pair in pairs]
    return {place for place, each in enumerate(made) if each.action == "rewrite"}


@pytest.mark.parametrize(
    ("draft", "target", "threshold", "action", "margin"),
    [
        (0.2, 0.9, 0.0, "rewrite", 0.7),
        (0.5, 0.5, 0.0, "keep", 0.0),
        (0.9, 0.2, 0.0, "keep", -0.7),
        (0.25, 0.75, 0.5, "keep", 0.0),
        (0.25, 0.75, 0.25, "rewrite", 0.25),
        (0.5, 0.25, -0.5, "rewrite", 0.25),
        (0.5, 0.0, -0.5, "keep", 0.0),
    ],
)
async def test_it_takes_what_is_better_by_more_than_the_threshold(
    draft: float, target: float, threshold: float, action: str, margin: float
) -> None:
    ask = Scores(draft, target)
    made = await decision(ask, threshold)
    assert (made.action, made.threshold) == (action, threshold)
    assert made.margin == pytest.approx(margin)
    assert ask.asked == ["verifier small", "write large", "verifier large"]
    assert [signal.value for signal in made.signals] == [draft, target]


@pytest.mark.parametrize(("draft", "threshold"), [(1.0, 0.0), (0.75, 0.25), (0.5, 1.0)])
async def test_where_nothing_can_be_enough_better_no_alternative_is_written(draft: float, threshold: float) -> None:
    ask = Scores(draft, 1.0)
    assert (await decision(ask, threshold)).action == "keep"
    assert ask.asked == ["verifier small"]


async def test_the_same_text_is_no_better_whatever_a_second_rating_would_say() -> None:
    ask = Scores(0.5, 0.5001, wrote="small")
    made = await decision(ask)
    assert (made.action, made.margin, ask.asked) == ("keep", 0.0, ["verifier small", "write large"])


@pytest.mark.parametrize("ask", [Scores(None), Scores(0.5, None)])
async def test_a_step_without_a_score_is_the_large_engines_to_write(ask: Scores) -> None:
    made = await decision(ask)
    assert (made.action, made.reason) == ("rewrite", "signal 'verifier' is unavailable: it cannot tell")


@given(PAIRS)
async def test_nothing_is_escalated_without_an_advantage_at_threshold_0(pairs: list[tuple[float, float]]) -> None:
    taken = await escalated(pairs, 0.0)
    assert taken == {place for place, (draft, target) in enumerate(pairs) if target > draft}


@given(PAIRS)
async def test_for_every_number_of_escalations_no_choice_of_steps_is_better(pairs: list[tuple[float, float]]) -> None:
    advantages = [target - draft for draft, target in pairs]
    for threshold in {0.0, *(each for each in advantages if each > 0)}:
        taken = await escalated(pairs, threshold)
        best = max(sum(advantages[place] for place in some) for some in choices(len(pairs), len(taken)))
        assert sum(advantages[place] for place in taken) == best


def choices(num: int, most: int) -> list[tuple[int, ...]]:
    return [some for size in range(most + 1) for some in combinations(range(num), size)]


@given(PAIRS, EIGHTHS, EIGHTHS)
async def test_a_higher_threshold_escalates_no_step_more(pairs: list[Any], first: float, second: float) -> None:
    low, high = sorted((first, second))
    assert await escalated(pairs, high) <= await escalated(pairs, low)


@pytest.mark.parametrize("threshold", [7, -1.5, float("nan")])
def test_a_threshold_is_a_difference_of_scores(threshold: float) -> None:
    with pytest.raises(UserError, match=r"oracle: threshold = .* is not in \[-1, 1\]"):
        Oracle(threshold=threshold)


@pytest.mark.parametrize("scorer", ["verifier", "prm"])
def test_it_needs_two_engines_and_whoever_verifies(scorer: Any) -> None:
    assert (Oracle(scorer=scorer).needs.scorers, Oracle().needs.engines) == ((scorer,), 2)
