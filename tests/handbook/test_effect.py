"""What showing a behavior does."""

from __future__ import annotations

from random import Random

from orchestrator.handbook.effect import Trial, effect_of


def test_a_behavior_that_helps_is_told_from_one_that_was_only_shown_beside_it() -> None:
    random = Random(1)
    trials = []
    for _ in range(800):
        is_withheld, helps = random.random() < 0.3, random.random() < 0.5
        chance = 0.8 if helps and not is_withheld else 0.5
        ids = (1, 2) if helps else (2,)
        trials.append(Trial(ids, is_withheld, random.random() < chance, 40 if is_withheld else 30, 100))
    helped, beside = effect_of(1, trials), effect_of(2, trials)
    assert helped.right.low > 0.15 and helped.output_tokens.value == -10 and helped.prompt_tokens.value == 0
    assert helped.right.value > beside.right.value > 0
    assert helped.shown + helped.withheld < beside.shown + beside.withheld == 800


def test_runs_without_an_outcome_and_of_other_behaviors_count_for_nothing() -> None:
    trials = [Trial((1,), False, None, 1, 1), Trial((2,), True, True, 1, 1)]
    found = effect_of(1, trials)
    assert (found.shown, found.withheld, found.right[1:]) == (0, 0, (-1.0, 1.0))
