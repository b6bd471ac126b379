"""Routers against the oracle and each other, on samples whose figures are known."""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from samples import made_up

from orchestrator.bench.cost import Use
from orchestrator.bench.names import short_names
from orchestrator.bench.regret import regret
from orchestrator.bench.rivals import rivals
from orchestrator.bench.rivals_table import areas, in_words, regrets
from orchestrator.bench.sample import Sample
from orchestrator.bench.summary import sweep_of
from orchestrator.intervals import wilson

NUMBER = 40


def sample(policy: str, task: int, *, right: bool, large_steps: int, tokens: int, compared: Any = ()) -> Sample:
    uses = {"small": Use(), "large": Use(decode=tokens)}
    return made_up(policy, task, right=right, uses=uses, steps=10, large_steps=large_steps, compared=compared)


def row(policy: str, right: int, large_steps: int, tokens: int | None = None) -> list[Sample]:
    """The first tasks are right; every task has the same share."""
    spent = 10 * large_steps if tokens is None else tokens
    return [sample(policy, task, right=task < right, large_steps=large_steps, tokens=spent) for task in range(NUMBER)]


def made(*others: Sequence[Sample]) -> dict[str, list[Sample]]:
    rows = [
        row("small", 20, 0),
        row("large", 40, 10),
        row("oracle", 40, 2),
        row("good:threshold=1", 30, 2),
        row("good:threshold=2", 36, 4),
        row("random@good:threshold=1", 24, 2),
        row("random@good:threshold=2", 28, 4),
        row("bad:threshold=1", 24, 2),
        row("bad:threshold=2", 28, 4),
        *others,
    ]
    return {each[0].policy: list(each) for each in rows}


def found(rows: dict[str, list[Sample]] | None = None) -> dict[str, Any]:
    compared = rivals(made() if rows is None else rows, sweep_of)
    assert compared is not None
    return compared


def test_the_parts_of_the_oracles_area_are_those_worked_out_by_hand() -> None:
    figures = found()
    line, oracle = 0.6 * (0.5 + 0.8) / 2, 0.2 * 0.75 + 0.4 * 1.0  # random is on the line to large-only
    good = 0.2 * 0.625 + 0.2 * 0.825 + 0.2 * (0.9 + 0.9 + 0.2 * 0.1 / 0.6) / 2
    assert figures["random_area"][0] == pytest.approx(line)
    assert figures["oracle"]["area"][0] == pytest.approx(oracle)
    assert (figures["oracle"]["own_share"], figures["oracle"]["accuracy"]) == (0.2, 1.0)
    assert figures["families"]["good"]["share_of_oracle"][0] == pytest.approx((good - line) / (oracle - line))
    assert figures["families"]["good"]["mean_over_random"][0] == pytest.approx((good - line) / 0.6)
    assert figures["families"]["bad"]["share_of_oracle"][0] == pytest.approx(0.0)
    assert figures["families"]["good"]["settings"] == 2


def test_the_distance_to_the_oracle_is_at_the_policys_own_share() -> None:
    figures = found()["versus_oracle"]
    assert figures["good:threshold=1"][0] == pytest.approx(1 - 30 / 40)
    assert figures["good:threshold=2"][0] == pytest.approx(1 - 36 / 40)  # the oracle's curve is level there


def test_two_routers_are_compared_at_equal_share_and_by_tokens_at_equal_accuracy() -> None:
    [pair] = found()["pairs"]
    assert (pair["first"], pair["second"]) == ("good", "bad")
    assert pair["accuracy_difference"]["0.2"][0] == pytest.approx(0.15)
    assert pair["accuracy_difference"]["0.4"][0] == pytest.approx(0.2)
    # Half way is 30 of 40: good has it with 20 tokens, bad on the line to large-only with 50.
    assert pair["large_tokens_ratio"]["0.5"][0] == pytest.approx(2.5)
    assert pair["large_tokens_ratio"]["1"][0] == pytest.approx(1.0)


def test_intervals_hold_the_value_and_have_a_width_where_tasks_differ() -> None:
    figures = found()
    for interval in (figures["families"]["good"]["share_of_oracle"], figures["versus_oracle"]["good:threshold=1"]):
        value, low, high = interval
        assert low < value < high
    value, low, high = figures["pairs"][0]["accuracy_difference"]["0.2"]
    assert 0 < low < value < high  # paired: every task that bad has right good has right, too


def test_a_router_against_itself_differs_by_exactly_nothing() -> None:
    twin = [row(f"twin:threshold={place}", right, 2 * place) for place, right in ((1, 30), (2, 36))]
    rows = made(*twin)
    pair = next(each for each in found(rows)["pairs"] if (each["first"], each["second"]) == ("good", "twin"))
    assert set(map(tuple, pair["accuracy_difference"].values())) == {(0.0, 0.0, 0.0)}
    assert pair["large_tokens_ratio"]["0.5"] == (1.0, 1.0, 1.0)


def test_the_least_difference_over_the_shares_is_there_with_its_interval() -> None:
    [pair] = found()["pairs"]
    values = [each[0] for each in pair["accuracy_difference"].values()]
    value, low, high = pair["least_difference"]
    assert value == min(values)
    assert 0 < low < value < high


def test_at_equal_cost_the_oracle_is_the_front_through_itself() -> None:
    """Small-only costs nothing, the oracle 20 and large-only 100 for as many right."""
    costs = {"tokens": lambda sample: float(sample.uses["large"].decode)}
    compared = rivals(made(row("good:threshold=3", 36, 4, tokens=10)), sweep_of, costs)
    assert compared is not None
    distances = compared["versus_oracle_at_cost"]["tokens"]
    assert distances["good:threshold=1"][0] == pytest.approx(1.0 - 30 / 40)  # for 20: the oracle itself
    assert distances["good:threshold=2"][0] == pytest.approx(1.0 - 36 / 40)  # for 40: level behind it
    assert distances["good:threshold=3"][0] == pytest.approx(0.75 - 36 / 40)  # for 10: half way, and this is better
    value, low, high = distances["good:threshold=1"]
    assert low < value < high


def test_randoms_curve_goes_through_its_controls_where_they_were_measured() -> None:
    lucky = {**made(), "random@good:threshold=1": row("random@good:threshold=1", 30, 2)}
    assert found(lucky)["random_area"][0] > found()["random_area"][0]


def test_a_figure_that_some_draws_lack_keeps_its_value_and_one_that_many_lack_loses_the_ends() -> None:
    """The oracle has one task more right than the line to large-only: on many draws it gains nothing."""
    value, low, high = found(made(row("oracle", 22, 2)))["families"]["good"]["share_of_oracle"] or (1.0, None, None)
    assert value is not None
    assert (low, high) == (None, None)
    [pair] = found()["pairs"]
    assert None not in pair["large_tokens_ratio"]["1"]


def test_without_an_oracle_or_with_one_that_gains_nothing_there_is_no_share_of_it() -> None:
    without = {name: each for name, each in made().items() if name != "oracle"}
    assert found(without)["oracle"] is None
    assert found(without)["families"]["good"]["share_of_oracle"] is None
    assert found(without)["versus_oracle"] == {}
    useless = made(row("oracle", 20, 6))
    assert found(useless)["families"]["good"]["share_of_oracle"] is None


def test_controls_alone_are_no_rivals() -> None:
    assert (
        rivals({name: each for name, each in made().items() if sweep_of(name) not in ("good", "bad")}, sweep_of) is None
    )


def test_the_table_and_the_words_say_who_is_better_where() -> None:
    summary = {"rivals": found(), "policies": {}}
    names = {name: name for name in made()}
    text = "\n\n".join(areas(summary, names))
    assert max(map(len, text.splitlines())) <= 80
    assert "The oracle is right on 100.0% at its own share of 20.0%" in " ".join(text.split())
    against = text[text.index("good against") :].splitlines()
    assert " ".join(against[0].split()) == "good against right, at worst x fewer at 75% x fewer at 90%"
    assert re.fullmatch(r"bad +\+\d\S+ \[\S+, \S+\] +\d\.\d\d \[\S+, \S+\] +\d\.\d\d \[\S+, \S+\]", against[1])
    words = " ".join(in_words(summary, {}).split())
    assert "good is more accurate at 10%, 20%, 30%, 40%, 50%, 60% of steps by the large engine than bad." in words
    twin = made(*[row(f"twin:threshold={place}", right, 2 * place) for place, right in ((1, 30), (2, 36))])
    words = " ".join(in_words({"rivals": found(twin)}, {}).split())
    assert "good and twin cannot be told apart at equal large share from these tasks." in words


def test_routers_with_two_files_keep_apart_in_80_columns_and_are_called_the_same_in_the_words() -> None:
    files = ("arbitrage:file=pocket_router.json@089160", "arbitrage:file=mine_of_a_longer_name.json@1c0ffe")
    rows = made(*(row(f"{name}:threshold=0.0{place}", 30 + place, 2) for name in files for place in (3, 4)))
    summary = {"rivals": found(rows)}
    names = short_names([*rows, *summary["rivals"]["families"]])
    assert len(set(names.values()) - {"  random, same large share"}) >= len(rows) - 2
    assert names[f"{files[0]}:threshold=0.04"] == "arbitrage:pocket_router:0.04"
    text = "\n\n".join([*areas(summary, names), in_words(summary, names)])
    assert max(map(len, text.splitlines())) <= 80
    assert ".json" not in text.replace("summary.json", "")
    words = " ".join(in_words(summary, names).split())
    assert "arbitrage:pocket_router is " in words
    assert "The least difference at these shares is " in words
    assert "x fewer tokens of the large engine than" in words


def test_two_files_of_one_name_are_told_apart_by_a_mark_and_keep_their_numbers() -> None:
    one, other = (f"arbitrage:file=pocket_router.json@{digest}:threshold=0.04" for digest in ("089160", "1c0ffe"))
    assert short_names([one, other]) == {one: "arbitrage:pocket_router:0.04", other: "arbitrage:pocket_router:0.04~1"}


def test_a_summary_of_before_has_no_such_tables() -> None:
    assert areas({"policies": {}}, {}) == []
    assert in_words({"policies": {}}, {}) == ""
    assert regrets({"small": {}}, {}) == ""


@pytest.mark.parametrize(
    ("label", "family"),
    [
        ("good:threshold=1", "good"),
        ("good:reading=prm:threshold=1e-3:first_n=2", "good:reading=prm"),
        ("good:judge=scorer:threshold=1", "good:judge=scorer"),
        ("good:calibration=c.json", "good:calibration=c.json"),
        ("random@good:reading=prm:threshold=1", "random"),
        ("random:large_share=0.3", "random"),
        ("oracle:threshold=0.3", "oracle"),
        ("small", "small"),
    ],
)
def test_settings_of_one_curve_differ_in_numbers_only(label: str, family: str) -> None:
    assert sweep_of(label) == family


# ---- regret


def looked(*compared: tuple[bool, float | None, float | None], task: int = 0) -> Sample:
    return sample("p", task, right=True, large_steps=4, tokens=0, compared=compared)


def test_a_large_step_is_wasted_at_a_tie_and_a_small_one_is_harmful_only_if_worse() -> None:
    figures = regret([looked((True, 1.0, 1.0), (True, 1.0, 0.0), (False, 1.0, 1.0), (False, 0.0, 1.0))], 0.4)
    assert figures is not None
    assert figures["wasted_large_steps"][0] == figures["harmful_small_steps"][0] == 0.5
    # Two of each were looked at, four in ten: five of each could have been, and half of them were a mistake.
    assert figures["wasted_per_task"][0] == figures["harmful_per_task"][0] == 2.5
    assert figures["looked_at"] == 4


def test_what_nobody_could_score_is_counted_apart() -> None:
    figures = regret([looked((True, None, 1.0), (False, 1.0, None), (False, 1.0, 0.0))])
    assert figures is not None
    assert (figures["looked_at"], figures["unscored"]) == (3, 2)
    assert figures["wasted_large_steps"] is None
    assert figures["harmful_small_steps"][0] == 0.0
    assert figures["harmful_small_steps"].high > 0.5  # one step proves little


def test_where_nothing_was_looked_at_there_is_no_regret() -> None:
    assert regret([looked()]) is None


def test_tasks_are_drawn_and_not_steps() -> None:
    """Two kinds of tasks, each all wrong or all right: a hundred steps know no more than ten tasks do."""
    tasks = [looked(*[(True, 1.0, float(task % 2))] * 10, task=task) for task in range(10)]
    figures = regret(tasks)
    assert figures is not None
    value, low, high = figures["wasted_large_steps"]
    assert value == 0.5
    assert high - low > 0.5


def test_a_draw_without_such_a_step_says_nothing_about_it() -> None:
    """One task in forty has large steps that were looked at, and all of them but one are wasted."""
    tasks = [looked(*[(True, 1.0, 1.0)] * 9, (True, 1.0, 0.0))]
    tasks += [looked((False, 1.0, 1.0), task=task) for task in range(1, 40)]
    figures = regret(tasks)
    assert figures is not None
    assert figures["wasted_large_steps"] == wilson(0.9, 1)  # and not from 0 on, as if other tasks had wasted none
    assert figures["wasted_per_task"] is None  # nobody said which share of steps was looked at


def test_steps_that_cannot_be_looked_at_are_no_mistakes_and_the_sampling_is_in_the_interval() -> None:
    """Runs with four large steps of which two can be looked at; a quarter of those are, all of them wasted or not."""
    random = Random(3)
    tasks = []
    for task in range(400):
        seen = [(True, 1.0, float(random.random() < 0.5)) for _ in range(2) if random.random() < 0.25]
        tasks.append(looked(*seen, task=task))
    figures = regret(tasks, 0.25)
    assert figures is not None
    value, low, high = figures["wasted_per_task"]
    assert low < 1.0 < high  # half of two, not of four
    known = figures["wasted_large_steps"]
    assert (high - low) / value > (known.high - known.low) / known.value


def test_the_table_of_regret() -> None:
    figures = regret([looked((True, 1.0, 1.0), (False, 0.0, 1.0))], 1.0)
    text = regrets({"p": {"regret": figures}, "q": {"regret": None}}, {"p": "p", "q": "q"})
    assert "regret" in text.splitlines()[0]
    assert max(map(len, text.splitlines())) <= 80
    assert "100 [21, 100]" in text
