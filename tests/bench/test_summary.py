"""Everything a report says, from samples made by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from orchestrator.bench.cost import Use
from orchestrator.bench.profiles import DEFAULT_HARDWARE, PRICES, hardware, prices
from orchestrator.bench.sample import Sample
from orchestrator.bench.summary import FEW, family_of, summarise
from orchestrator.intervals import paired, wilson

PAIR = ("small", "large")
MACHINE = hardware(DEFAULT_HARDWARE, PAIR)
PRICED = [prices(name, MACHINE, PAIR) for name in PRICES]
ASKED = "specreason:threshold=7"
CONTROL = f"random@{ASKED}"


def sample(policy: str, task: int, is_right: bool = True, small: int = 0, large: int = 0, **changes: Any) -> Sample:
    """A run in which the engines wrote so many tokens, in a call with a prompt of 100 tokens, 40 of them cached."""
    uses = {
        name: Use(calls=1, decode=decode, uncached=60, cached=40, context=0, seconds=0.5) if decode else Use()
        for name, decode in (("small", small), ("large", large))
    }
    made = Sample(
        policy=policy,
        seed=0,
        task=f"task-{task:03}",
        run_id="r",
        status="completed",
        answer="1",
        gold="1",
        score=float(is_right),
        score_error="",
        steps=4,
        large_steps=4 if not small else 1 if large else 0,
        escalations=0,
        seconds=2.0,
        uses=uses,
        purposes={f"{name}/draft/used": use.decode for name, use in uses.items() if use.calls},
    )
    return replace(made, **changes)


def samples(number: int = 40) -> list[Sample]:
    """Large-only solves all but every tenth task, small-only every other one, the policy what large-only does."""
    found = []
    for task in range(number):
        is_easy = task % 10 > 0
        found += [
            sample("small", task, task % 2 == 1, small=50, seconds=1.0),
            sample("large", task, is_easy, large=100 + task),
            sample(
                ASKED,
                task,
                is_easy,
                small=60,
                large=20,
                escalations=1,
                purposes={
                    "small/draft/used": 40,
                    "small/draft/discarded": 20,
                    "large/rewrite/used": 15,
                    "large/judge/used": 5,
                },
            ),
            sample(CONTROL, task, task % 3 > 0, small=40, large=25),
        ]
    return found


def report(found: Sequence[Sample] | None = None, settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return summarise(samples() if found is None else found, MACHINE, PRICED, settings)


def test_accuracies_have_wilsons_interval_and_differences_the_paired_one() -> None:
    policies = report()["policies"]
    hits = {name: [each.is_right for each in samples() if each.policy == name] for name in policies}
    for name, each in policies.items():
        assert each["accuracy"] == wilson(sum(hits[name]), 40)
        assert each["versus_large"] == paired(hits[name], hits["large"])
    assert policies["large"]["versus_large"].value == policies[ASKED]["versus_large"].value == 0
    assert policies["small"]["versus_large"].value == pytest.approx(0.5 - 0.9)


def test_only_a_full_score_is_right_but_the_mean_score_is_there() -> None:
    found = [replace(each, score=0.5) if each.policy == "small" else each for each in samples()]
    small = report(found)["policies"]["small"]
    assert (small["accuracy"].value, small["score"]) == (0, 0.5)


def test_the_equal_budget_is_what_large_only_needs_for_nine_tasks_in_ten() -> None:
    found = report()
    assert found["equal_budget_tokens"] == 135  # large-only needs 100 to 139
    large, policy = found["policies"]["large"], found["policies"][ASKED]
    assert large["accuracy_at_equal_budget"] == wilson(sum(task % 10 > 0 for task in range(36)), 40)
    assert policy["accuracy_at_equal_budget"] == policy["accuracy"]
    assert policy["versus_large_at_equal_budget"].value == pytest.approx(36 / 40 - 32 / 40)


def test_all_engines_tokens_count_against_the_equal_budget() -> None:
    found = [
        replace(each, uses={"small": Use(calls=1, decode=100), "large": Use(calls=1, decode=100)})
        if each.policy == ASKED
        else each
        for each in samples()
    ]
    assert report(found)["policies"][ASKED]["accuracy_at_equal_budget"].value == 0


def test_figures_are_per_task() -> None:
    policy = report()["policies"][ASKED]
    assert policy["engines"]["small"] == {
        "calls": 1,
        "decode": 60,
        "uncached": 60,
        "cached": 40,
        "unreported": 0,
        "seconds": 0.5,
        **dict.fromkeys(("queue_s", "queued", "first_token_s", "streamed", "drafts", "drafted", "accepted"), 0),
    }
    assert policy["modelled_s"] == pytest.approx(2 * 0.010 + 60 / 60_000 + 60 * 0.003 + 60 / 8000 + 20 * 0.016)
    assert policy["flops"] == pytest.approx(2 * 1.54e9 * 120 + 2 * 32.5e9 * 80)
    assert policy["cost"]["api"] == pytest.approx(60 * 0.0118 + 40 * 0.00118 + 60 * 0.047 + 60 * 0.25 + 40 * 0.025 + 20)
    assert policy["wall_s"] == {"mean": 2.0, "median": 2.0}
    assert policy["output_tokens_by_purpose"] == {
        "large/judge/used": 5,
        "large/rewrite/used": 15,
        "small/draft/discarded": 20,
        "small/draft/used": 40,
    }


def test_shares_escalations_and_ratios() -> None:
    policies = report()["policies"]
    assert policies[ASKED]["large_share_of_tokens"] == pytest.approx(20 / 80)
    assert policies[ASKED]["large_share_of_steps"] == pytest.approx(1 / 4)
    assert policies[ASKED]["escalations_per_task"] == 1
    assert policies[ASKED]["steps_per_task"] == 4
    assert policies[ASKED]["large_decode_versus_large_only"] == pytest.approx(20 / 119.5)
    assert policies["small"]["wall_speed_up"] == 2
    assert policies["large"]["modelled_speed_up_interval"] == (1, 1)
    for figure in ("modelled_speed_up", "large_decode_versus_large_only"):
        low, high = policies[ASKED][f"{figure}_interval"]
        assert low <= policies[ASKED][figure] <= high
    assert policies["large"]["modelled_speed_up"] == 1
    assert policies[ASKED]["modelled_speed_up"] == pytest.approx(
        policies["large"]["modelled_s"] / policies[ASKED]["modelled_s"]
    )


def test_a_budget_stop_is_counted() -> None:
    found = [replace(each, status="budget") if each.task == "task-003" else each for each in samples()]
    policy = report(found)["policies"][ASKED]
    assert policy["budget_stops"] == 1
    assert policy["statuses"] == {"budget": 1, "completed": 39}


def test_the_speed_up_at_matched_accuracy_is_read_off_the_front() -> None:
    found = report()
    policies, matched = found["policies"], found["matched_accuracy"]
    assert set(matched) == {"specreason", "random"}
    assert matched["specreason"]["accuracy"] == 0.9
    assert matched["specreason"]["modelled_s"] == pytest.approx(policies[ASKED]["modelled_s"])
    assert matched["specreason"]["speed_up"] == pytest.approx(policies[ASKED]["modelled_speed_up"])
    assert matched["specreason"]["front"] == ["small", ASKED]
    assert matched["random"]["speed_up"] == 1  # nothing on its front is as right as large-only
    low, high = matched["specreason"]["speed_up_interval"]
    assert low <= matched["specreason"]["speed_up"] <= high


def test_a_mixture_of_two_settings_counts_at_matched_accuracy() -> None:
    """One setting is a little below large-only's accuracy and one above it."""
    found = []
    for task in range(40):
        found += [sample("small", task, False, small=10), sample("large", task, task < 20, large=100)]
        found += [sample("specreason:threshold=3", task, task < 15, large=20)]
        found += [sample("specreason:threshold=9", task, task < 25, large=80)]
    matched = report(found)["matched_accuracy"]["specreason"]
    policies = report(found)["policies"]
    low, high = (policies[f"specreason:threshold={threshold}"]["modelled_s"] for threshold in (3, 9))
    assert matched["modelled_s"] == pytest.approx((low + high) / 2)


def test_every_figure_of_the_profile_is_halved_and_doubled() -> None:
    found = report()
    assert len(found["sensitivity"]) == 10
    for row in found["sensitivity"].values():
        assert row.keys() == found["policies"].keys()
        assert row["large"] == 1
    slower = found["sensitivity"]["large decode_ms doubled"][ASKED]
    assert slower > found["policies"][ASKED]["modelled_speed_up"] > found["sensitivity"]["call_ms doubled"][ASKED]


def test_the_summary_is_json_and_the_same_in_whatever_order_the_samples_come() -> None:
    first = json.dumps(report())
    shuffled = samples()
    for seed in range(3):
        Random(seed).shuffle(shuffled)
        assert json.dumps(report(shuffled)) == first
    assert json.loads(first)["tasks"] == 40


def test_policies_come_as_they_were_asked_for_each_before_its_control() -> None:
    labels = ["small", "large", "specreason:threshold=9", "specreason:threshold=10"]
    found = []
    for label in ["random@specreason:threshold=10", "random@specreason:threshold=9", *reversed(labels)]:
        found += [sample(label, task, small=1, large=1) for task in range(3)]
    settings = {"policies": labels, "tasks": 3, "seeds": 1}
    in_order = [*labels[:3], "random@specreason:threshold=9", labels[3], "random@specreason:threshold=10"]
    assert list(report(found, settings)["policies"]) == in_order
    unasked = list(report(found)["policies"])
    assert unasked[:2] == ["small", "large"]
    assert all(other == f"random@{label}" for label, other in list(pairwise(unasked))[2::2])


@pytest.mark.parametrize(
    "label, family",
    [
        ("small", "small"),
        (ASKED, "specreason"),
        ("specreason:judge=verifier:threshold=7", "specreason:judge=verifier"),
        (CONTROL, "random"),
        ("random:large_share=0.5", "random"),
    ],
)
def test_a_label_belongs_to_a_family(label: str, family: str) -> None:
    assert family_of(label) == family


SETTINGS = {"policies": ["small", "large", ASKED], "tasks": 40, "seeds": 1}


def warnings(found: Sequence[Sample], **changes: Any) -> list[str]:
    warned: list[str] = report(found, {**SETTINGS, **changes})["warnings"]
    return warned


def test_a_whole_comparison_has_no_warning() -> None:
    assert warnings(samples()) == []


def test_few_tasks_are_warned_of_and_thirty_are_not_few() -> None:
    assert warnings(samples(FEW - 1), tasks=FEW - 1) == [
        "29 tasks are few: with fewer than 30 the intervals say little"
    ]
    assert warnings(samples(FEW), tasks=FEW) == []


def test_only_tasks_that_every_policy_finished_are_compared() -> None:
    found = [each for each in samples() if each.policy != CONTROL or each.task < "task-035"]
    assert report(found)["tasks"] == 35
    assert report(found)["policies"]["small"]["accuracy"] == wilson(17, 35)
    assert warnings(found) == ["15 samples were left out: not every policy has finished their tasks"]


def test_a_policy_that_has_not_begun_is_named() -> None:
    found = [each for each in samples() if each.policy != CONTROL]
    assert warnings(found) == [f"not run yet: {CONTROL}"]


def test_fewer_tasks_than_were_asked_for_are_said_to_be_all() -> None:
    assert warnings(samples(), seeds=2) == ["40 tasks where 80 were asked for: there are no more"]


def test_tasks_that_two_seeds_drew_are_said_to_be_the_same() -> None:
    found = [replace(each, seed=seed) for seed in (0, 1) for each in samples()]
    [warning] = warnings(found, seeds=2)
    assert warning.startswith("only 40 of 80 tasks are different ones")


@pytest.mark.parametrize(
    "changes, said",
    [
        (
            {"score": 0.0, "score_error": "ValueError: oh"},
            f"{ASKED}: the scorer failed on 2 tasks, which count as wrong: ValueError: oh",
        ),
        ({"status": "failed", "error": "gone"}, f"{ASKED}: 2 runs failed and count as wrong: gone"),
        ({"status": "degraded"}, f"{ASKED}: in 2 runs another engine wrote for one that had failed"),
        (
            {"purposes": {"small/draft/interrupted": 512}},
            f"{ASKED}: 2 runs were interrupted and went on; calls cut off are charged as reserved",
        ),
        (
            {"uses": {"small": Use(calls=3, unreported=3), "large": Use()}},
            "6 calls of small did not report what was cached: their prompts count as uncached",
        ),
    ],
)
def test_what_went_wrong_is_said(changes: dict[str, Any], said: str) -> None:
    found = [
        replace(each, **changes) if each.policy == ASKED and each.task in ("task-001", "task-002") else each
        for each in samples()
    ]
    assert warnings(found) == [said]


@pytest.mark.parametrize(
    "found", [[], samples()[:1], [each for each in samples() if each.policy != "large"], samples()[:1] + samples()[5:6]]
)
def test_where_nothing_can_be_compared_yet_the_summary_says_so(found: list[Sample]) -> None:
    summary = report(found, SETTINGS)
    assert (summary["tasks"], summary["policies"]) == (0, {})
    assert summary["warnings"] == ["no task was finished by every policy yet"]


def test_a_policy_is_held_against_its_random_control() -> None:
    found = report()["policies"][ASKED]["versus_random"]
    by_name = {name: [each for each in samples() if each.policy == name] for name in (ASKED, CONTROL)}
    hits = {name: [each.is_right for each in some] for name, some in by_name.items()}
    assert found["right"] == paired(hits[ASKED], hits[CONTROL])
    large = {name: sum(each.uses["large"].decode for each in some) for name, some in by_name.items()}
    assert found["large_decode"] == pytest.approx(large[ASKED] / large[CONTROL])
    assert report()["policies"]["large"]["versus_random"] is None


def test_ratings_that_could_not_be_had_are_a_warning() -> None:
    def asked(each: Sample) -> Sample:
        return replace(each, ratings=4, missing=("the server died",) * (each.task < "task-003"))

    found = [asked(each) if each.policy == ASKED else each for each in samples()]
    assert f"{ASKED}: 3 of 160 ratings could not be had, first: the server died" in report(found)["warnings"]


def rated(policy: str, values: tuple[float, ...], ratings: int = 1) -> list[str]:
    """Return the warnings of a comparison in which `policy` stands in the place of ASKED and was rated so."""
    changes = {"policy": policy, "ratings": ratings, "rated": values}
    found = [replace(each, **changes) if each.policy == ASKED else each for each in samples()]
    control = [replace(each, policy=f"random@{policy}") if each.policy == CONTROL else each for each in found]
    return warnings(control, policies=["small", "large", policy])


@pytest.mark.parametrize(
    ("values", "is_said"),
    [((0.5,), True), ((0.5, 0.505), True), ((0.5, 0.506), False), ((0.25, 0.5), False), ((), False)],
)
def test_ratings_that_are_all_alike_are_a_warning(values: tuple[float, ...], is_said: bool) -> None:
    """Alike are those that differ by less than 0.05 digits, a share of 0.0056."""
    said = f"{ASKED}: all 40 ratings are alike, 4.5: such ratings decide nothing; try reading=average or another judge"
    assert rated(ASKED, values) == ([said] if is_said else [])


@pytest.mark.parametrize("policy", ["specreason:reading=average", "specreason:judge=prm:threshold=7"])
def test_no_reading_is_advised_that_is_read_already_or_changes_nothing(policy: str) -> None:
    [said] = rated(policy, (0.5,))
    assert said.endswith("decide nothing; try another judge")


@pytest.mark.parametrize("policy", ["oracle", "specreason:judge=verifier:threshold=7"])
def test_a_control_or_a_verifier_may_find_every_step_alike(policy: str) -> None:
    assert rated(policy, (1.0,)) == []


def test_ratings_whose_values_an_older_folder_did_not_keep_are_not_counted() -> None:
    found = [
        replace(each, ratings=5, rated=(0.5,) if each.task < "task-003" else ()) if each.policy == ASKED else each
        for each in samples()
    ]
    assert warnings(found) == []


def test_a_few_equal_ratings_are_no_warning() -> None:
    found = [
        replace(each, ratings=1, rated=(1.0,)) if each.policy == ASKED and each.task < "task-019" else each
        for each in samples()
    ]
    assert warnings(found) == []


def test_wall_times_beside_counterfactuals_and_modelled_ones_of_overlap_are_warned_of() -> None:
    asked = {"tasks": 40, "seeds": 1, "policies": [ASKED]}
    assert not any("looked at" in each or "overlapped" in each for each in report(settings=asked)["warnings"])
    found = report(settings={**asked, "counterfactuals": 0.2, "pipeline": {"overlap": {"ahead": 1}}})["warnings"]
    assert any("the other engine's steps were looked at: wall times have that in them" in each for each in found)
    assert any("runs overlapped calls" in each for each in found)


def test_the_distance_to_the_oracle_at_equal_cost_is_there_for_seconds_and_every_price() -> None:
    oracle = [sample("oracle", task, small=50, large=10) for task in range(40)]
    found = report([*samples(), *oracle])["rivals"]["versus_oracle_at_cost"]
    assert set(found) == {"modelled_s", *PRICES}
    value, low, high = found["modelled_s"][ASKED]
    assert value == pytest.approx(0.1)  # the oracle is right on all tasks and costs less
    assert low < value < high
