"""The policies of a comparison: the controls are always there, a sweep is one policy for each setting."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from learned import ABOUT, rows

from orchestrator.bench.policies import matched, policies_of
from orchestrator.bench.scoring import exact
from orchestrator.bench.summary import family_of
from orchestrator.bench.whole import Whole
from orchestrator.bench.workloads.base import Workload
from orchestrator.bench.workloads.generated import random_calculation
from orchestrator.engines.scorers.judge import Judge
from orchestrator.engines.scorers.reward import Reward
from orchestrator.engines.scorers.verifier import Verifier
from orchestrator.engines.spec import EngineSpec, JudgePrompt
from orchestrator.errors import UnknownName, UserError
from orchestrator.learning.table import names_of, table_of
from orchestrator.learning.training import learnt, write
from orchestrator.monitors import Milestone, Stuck
from orchestrator.routers import Cascade, LargeOnly, Oracle, Random, SpecReason

CHECKED = random_calculation()
UNCHECKED = Workload(name="words", settings={}, draw=lambda split, seed, count: [], score=exact)


def labels(*specs: str, workload: Workload = CHECKED) -> list[str]:
    return [policy.label for policy in policies_of(specs, workload)]


def test_the_controls_are_always_there_the_oracle_where_steps_can_be_checked() -> None:
    small, large, oracle = policies_of([], CHECKED)
    assert (small.router, large.router, oracle.router) == (Whole(engine="small"), Whole(engine="large"), Oracle())
    assert all(policy.is_control for policy in (small, large, oracle))
    assert labels(workload=UNCHECKED) == ["small", "large"]


def test_a_control_that_is_asked_for_is_there_once() -> None:
    assert labels("large", "random", "small", "oracle", "specreason") == ["small", "large", "oracle", "specreason"]


def test_a_sweep_is_a_policy_for_each_setting() -> None:
    *_, six, seven, eight = policies_of(["specreason:threshold=6..8:first_n=2"], CHECKED)
    assert [six.label, seven.label, eight.label] == [
        f"specreason:threshold={threshold}:first_n=2" for threshold in (6, 7, 8)
    ]
    assert [six.router, eight.router] == [SpecReason(threshold=6, first_n=2), SpecReason(threshold=8, first_n=2)]
    assert {six.family, seven.family, eight.family} == {"specreason"}
    assert not six.is_control


def test_random_shares_can_be_asked_for_by_number() -> None:
    *_, low, high = policies_of(["random:large_share=0.25|0.75"], CHECKED)
    assert (low.router, high.router) == (Random(large_share=0.25), Random(large_share=0.75))
    assert low.is_control


def test_the_verifier_takes_the_place_of_the_judge() -> None:
    *_, plain, verified = policies_of(["specreason:threshold=7", "specreason:judge=verifier:threshold=7"], CHECKED)
    assert verified.label == "specreason:judge=verifier:threshold=7"
    assert (plain.family, verified.family) == ("specreason", "specreason:judge=verifier")
    assert plain.router == verified.router == SpecReason(threshold=7)
    assert set(plain.scorers(CHECKED, {})) == {"verifier"}
    scorers = verified.scorers(CHECKED, {})
    assert set(scorers) == {"verifier", "judge", "judge-average", "prm"}
    assert all(isinstance(scorer, Verifier) for scorer in scorers.values())
    assert plain.scorers(UNCHECKED, {}) == {}


def test_an_engine_may_rate_in_the_place_of_the_largest_in_the_words_it_brings() -> None:
    words = JudgePrompt(question="Good?")
    *_, policy = policies_of(["specreason:judge=small:threshold=5"], UNCHECKED)
    assert (policy.label, policy.family) == ("specreason:judge=small:threshold=5", "specreason:judge=small")
    engines = {"small": EngineSpec(kind="scripted", judge=words), "large": EngineSpec(kind="scripted")}
    average = Judge(engine="small", prompt=words, reading="average")
    assert policy.scorers(UNCHECKED, engines) == {
        "judge": Judge(engine="small", prompt=words),
        "judge-average": average,
        "prm": average,
    }
    engines["small"] = replace(engines["small"], writes=False)
    assert set(policy.scorers(UNCHECKED, engines).values()) == {replace(average, name="prm")}
    pools = EngineSpec(kind="pooling", writes=False)
    assert set(policy.scorers(UNCHECKED, {"small": pools}).values()) == {Reward(engine="small")}
    with pytest.raises(UnknownName, match="no engine 'small' to rate; known: large, verifier"):
        policy.scorers(UNCHECKED, {"large": engines["large"]})


def test_a_matched_random_control_has_the_share_and_the_name() -> None:
    *_, policy = policies_of(["specreason:threshold=7"], CHECKED)
    control = matched(policy, 0.123456)
    assert control.label == "random@specreason:threshold=7"
    assert control.router == Random(large_share=0.1235)
    assert control.is_control


@pytest.mark.parametrize(
    "spec, said",
    [
        ("specreson", "no router named 'specreson'; known: answer-gate, .*small, specreason"),
        ("specreason:treshold=7", "treshold.*known: .*threshold"),
        ("specreason:threshold=high", "threshold"),
        ("specreason:threshold=11", r"threshold = 11\.?0? is not in"),
        ("specreason:threshold=9..3", "a range goes up"),
        ("specreason:judge=", "specreason:judge=: judge= names nobody"),
        ("small:judge=verifier", "small:judge=verifier: small asks no judge"),
        ("specreason:7", "'7' is no option"),
        (":threshold=7", "has no name"),
        ("random:large_share=2", "large_share = 2.* is not in"),
    ],
)
def test_a_policy_that_does_not_exist_is_one_clear_error(spec: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        policies_of([spec], CHECKED)


@pytest.mark.parametrize("spec", ["oracle", "oracle:threshold=0.5", "specreason:judge=verifier"])
def test_what_needs_checked_steps_is_refused_where_there_are_none(spec: str) -> None:
    with pytest.raises(UserError, match=f"{spec}: the workload words cannot check single steps"):
        policies_of([spec], UNCHECKED)


@pytest.mark.parametrize(
    "specs", [["specreason", "specreason"], ["specreason:threshold=5", "specreason:threshold=3|5"]]
)
def test_a_policy_is_asked_for_once(specs: list[str]) -> None:
    with pytest.raises(UserError, match="is asked for twice"):
        policies_of(specs, CHECKED)


def test_several_judges_are_swept() -> None:
    found = policies_of(["specreason:judge=small|verifier:threshold=7"], CHECKED)
    assert [policy.judge for policy in found if policy.judge] == ["small", "verifier"]


def test_without_a_check_the_oracle_asks_an_engine_that_measures() -> None:
    labels = [policy.label for policy in policies_of([], UNCHECKED, measuring=("scorer",))]
    assert labels == ["small", "large", "oracle"]
    *_, oracle = policies_of([], UNCHECKED, measuring=("scorer",))
    assert oracle.router.needs.scorers == ("prm",)
    assert [policy.label for policy in policies_of([], UNCHECKED)] == ["small", "large"]
    *_, exact_one = policies_of([], CHECKED, measuring=("scorer",))
    assert exact_one.router.needs.scorers == ("verifier",)


def test_a_trained_router_is_labelled_by_the_name_of_its_file_and_by_what_is_in_it(tmp_path: Path) -> None:
    table = table_of(ABOUT, rows(60), names_of(ABOUT, history=True))
    made = learnt(ABOUT, table, shape="logistic")
    write(made, tmp_path / "router.json")
    found = policies_of([f"arbitrage:file={tmp_path / 'router.json'}:threshold=0.1..0.3/0.1"], UNCHECKED)[2:]
    names = [f"arbitrage:file=router.json@{made.digest[:6]}:threshold={tau}" for tau in (0.1, 0.2, 0.3)]
    assert [policy.label for policy in found] == names
    assert {policy.family for policy in found} == {"arbitrage"}
    assert [policy.router.threshold for policy in found] == [0.1, 0.2, 0.3]
    assert all(policy.router.fitted_on == made.fitted_on for policy in found)
    assert [matched(policy, 0.25).label for policy in found] == [f"random@{name}" for name in names]


def test_monitors_and_a_mode_are_joined_to_a_router() -> None:
    *_, policy = policies_of(["cascade:turns=2+stuck+milestone:every=3+mode=no_think"], UNCHECKED)
    assert policy.label == "cascade:turns=2+stuck+milestone:every=3+mode=no_think"
    assert policy.family == family_of(policy.label) == "cascade+stuck+milestone+mode"
    assert (policy.router, policy.monitors) == (Cascade(turns=2), (Stuck(), Milestone(every=3)))
    assert (policy.mode, policy.is_control, policy.has_random) == ("no_think", False, False)
    assert policy.asked == ("verdict",)


def test_every_part_can_be_swept_with_every_other() -> None:
    specs = ["cascade:turns=1|2+every:moves=2..3+mode=think|no_think"]
    assert [policy.label for policy in policies_of(specs, UNCHECKED)[2:]] == [
        f"cascade:turns={turns}+every:moves={moves}+mode={mode}"
        for turns in (1, 2)
        for moves in (2, 3)
        for mode in ("think", "no_think")
    ]


def test_a_single_engine_goes_step_by_step_where_monitors_watch_it() -> None:
    *_, thinking, watched = policies_of(["large+mode=think(64)", "large+stuck:repeats=2"], UNCHECKED)
    assert (thinking.router, thinking.mode) == (Whole(engine="large"), "think(64)")
    assert (watched.router, watched.monitors) == (LargeOnly(), (Stuck(repeats=2),))
    assert not thinking.has_random and not watched.has_random


def test_a_router_in_a_mode_has_its_random_control_in_the_same_one() -> None:
    *_, policy = policies_of(["specreason+mode=think"], UNCHECKED)
    assert policy.has_random
    assert (matched(policy, 0.5).label, matched(policy, 0.5).mode) == ("random@specreason+mode=think", "think")


def test_a_table_or_a_list_is_labelled_as_it_is_written() -> None:
    text = 'cascade:others={drift="turns"}+milestone:subgoals=["regex:a","b"]:every=0'
    *_, policy = policies_of([text], UNCHECKED)
    assert policy.label == text
    assert policy.router == Cascade(others={"drift": "turns"})
    assert policy.monitors == (Milestone(subgoals=["regex:a", "b"], every=0),)


@pytest.mark.parametrize(
    "spec, said",
    [
        ("cascade+nobody", r"^cascade\+nobody: no monitor named 'nobody'; known: "),
        ("cascade+stuck:repeats=0", r"^cascade\+stuck:repeats=0: monitor stuck: repeats = 0 must be"),
        ("cascade+stuck+milestone+stuck", r"has the monitor stuck twice: give it once, or with other options$"),
        ("cascade+stuck+stuck:repeats=3", "has the monitor stuck:repeats=3 twice"),
        ("cascade+every:moves=2|3+every:moves=3", "has the monitor every:moves=3 twice"),
        ("cascade+stuck:moves=3", "stuck.moves: no such key"),
        ("cascade+every:moves=often", "every.moves must be a valid integer, not 'often'"),
        ("cascade+every:moves=0", "moves = 0 must be a whole number, at least 1"),
        ("cascade+classified", "classified needs file"),
        ("cascade+stuck+mode=think+mode=no_think", "has 2 modes"),
        ("cascade+mode=loud", "no mode named 'loud'"),
        ("cascade+mode=", "no mode named ''"),
        ("cascade+Stuck", "no such key|no option|no router"),
        ("nobody+stuck", "no router named 'nobody'"),
    ],
)
def test_a_part_that_is_wrong_is_refused(spec: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        policies_of([spec], UNCHECKED)
