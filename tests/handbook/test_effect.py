"""What showing a behavior does."""

from __future__ import annotations

from random import Random

import pytest

from orchestrator.handbook.effect import Trial, effect_of, own_effect_of
from orchestrator.handbook.recall import Recall
from orchestrator.intervals import Interval
from orchestrator.runtime.calls import run_seed


def test_a_behavior_that_helps_is_told_from_one_that_was_only_shown_beside_it() -> None:
    random = Random(1)
    trials = []
    for number in range(800):
        is_withheld, helps = random.random() < 0.3, random.random() < 0.5
        chance = 0.8 if helps and not is_withheld else 0.5
        ids = (1, 2) if helps else (2,)
        trials.append(
            Trial(f"{number}", ids, (), is_withheld, random.random() < chance, 40 if is_withheld else 30, 100)
        )
    helped, beside = effect_of(1, trials), effect_of(2, trials)
    assert helped.right.low > 0.15 and helped.output_tokens.value == -10 and helped.prompt_tokens.value == 0
    assert helped.right.value > beside.right.value > 0
    assert helped.shown + helped.withheld < beside.shown + beside.withheld == 800


def test_runs_without_an_outcome_and_of_other_behaviors_count_for_nothing() -> None:
    trials = [Trial("a", (1,), (), False, None, 1, 1), Trial("b", (2,), (), True, True, 1, 1)]
    found = effect_of(1, trials)
    assert (found.shown, found.withheld, found.right[1:]) == (0, 0, (-1.0, 1.0))


PLANTED = {1: (0.2, -10.0), 2: (-0.2, 15.0), 3: (0.0, 0.0)}
"""What each behavior adds to the chance of a right answer, and to the tokens, wherever it is shown."""


def experiment(seed: int, number: int) -> list[Trial]:
    """Return runs that recall all three at once, each left out by its lot."""
    recall, random = Recall(left_out=0.3, withheld=0.2), Random(seed)
    trials = []
    for run in range(seed * number, (seed + 1) * number):
        is_withheld = recall.withholds(run)
        left_out = tuple(id for id in PLANTED if recall.leaves_out(id, run))
        shown = [effect for id, effect in PLANTED.items() if not is_withheld and id not in left_out]
        is_right = random.random() < 0.5 + sum(right for right, _ in shown)
        tokens = round(100 + sum(tokens for _, tokens in shown) + random.gauss(0, 20))
        trials.append(Trial(f"{run}", tuple(PLANTED), left_out, is_withheld, is_right, tokens, 100))
    return trials


def covers(found: Interval, truth: float) -> bool:
    return found.low <= truth <= found.high


def test_what_helps_and_what_harms_are_told_apart_though_both_are_always_recalled_together() -> None:
    trials = experiment(0, 2000)
    helps, harms, idle = (own_effect_of(id, trials) for id in PLANTED)
    assert helps.right.low > 0.1 and helps.output_tokens.high < -5
    assert harms.right.high < -0.1 and harms.output_tokens.low > 10
    assert covers(idle.right, 0.0) and covers(idle.output_tokens, 0.0)
    assert helps.shown + helps.withheld == sum(not each.is_withheld for each in trials)
    together = [effect_of(id, trials).right.value for id in PLANTED]
    assert max(together) - min(together) < 0.15 and effect_of(2, trials).right.value > harms.right.high


def test_the_intervals_hold_what_was_planted_as_often_as_they_say() -> None:
    held = []
    for seed in range(40):
        trials = experiment(seed, 240)
        for id, (right, tokens) in PLANTED.items():
            found = own_effect_of(id, trials)
            held += [covers(found.right, right), covers(found.output_tokens, tokens)]
    assert sum(held) / len(held) >= 0.93


def asked_again(seed: int, repeats: int) -> list[Trial]:
    """Return runs of 40 questions, each asked so often, of which half are hard; what is shown does nothing at all."""
    recall, random = Recall(left_out=0.3, withheld=0.3), Random(seed)
    trials = []
    for number in range(40):
        name = f"question {number}"
        lot, is_easy = run_seed(seed, name), random.random() < 0.5
        left_out = (1,) if recall.leaves_out(1, lot) else ()
        tokens = random.gauss(100, 30)
        trials += [
            Trial(name, (1,), left_out, recall.withholds(lot), is_easy, round(tokens + random.gauss(0, 3)), 100)
            for _ in range(repeats)
        ]
    return trials


@pytest.mark.parametrize("repeats", [1, 5])
def test_a_question_that_is_asked_again_is_no_further_evidence(repeats: int) -> None:
    right, tokens = [], []
    for seed in range(120):
        trials = asked_again(seed, repeats)
        for found in (effect_of(1, trials), own_effect_of(1, trials)):
            assert found.shown + found.withheld <= 40
            right.append(covers(found.right, 0.0))
            tokens.append(covers(found.output_tokens, 0.0))
    assert sum(right) / len(right) >= 0.93 and sum(tokens) / len(tokens) >= 0.9  # of runs alone 0.56


def test_a_question_on_both_sides_counts_once_on_each_with_the_mean_of_its_runs() -> None:
    runs = [(False, True, 10), (False, False, 20), (True, True, 40), (True, True, 60)]
    trials = [Trial("a", (1,), (), held, right, tokens, 1) for held, right, tokens in runs]
    trials += [Trial("b", (1,), (), held, True, 30, 1) for held in (False, True)]
    found = effect_of(1, trials)
    assert (found.shown, found.withheld) == (2, 2)
    assert (found.right.value, found.output_tokens.value) == (0.75 - 1.0, (15 + 30) / 2 - (50 + 30) / 2)
