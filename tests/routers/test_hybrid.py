"""Hybrid: any combination of signals, and nobody is asked in vain."""

from __future__ import annotations

from math import nan
from typing import Any

import pytest
from seen import THREE, Table, history, step, token

from orchestrator import config
from orchestrator.decisions import Plan
from orchestrator.errors import BadConfig, UserError
from orchestrator.routers import Hybrid
from orchestrator.types import Step

RULE = "judge-average >= 7 and entropy_mean < 0.4 or prm > 0.9"
CALM = step(logprobs=[token(0.999, 0.001)] * 4)
TORN = step(logprobs=[token(0.5, 0.5)] * 4)


@pytest.mark.parametrize(
    ("draft", "scores", "action", "asked"),
    [
        (CALM, {"prm": 0.95}, "keep", ["prm"]),
        (CALM, {"prm": 0.5, "judge-average": 7}, "keep", ["prm", "judge-average"]),
        (CALM, {"prm": 0.5, "judge-average": 6.9}, "rewrite", ["prm", "judge-average"]),
        (TORN, {"prm": 0.9}, "rewrite", ["prm"]),  # the judge cannot change that
        (TORN, {"prm": 0.91}, "keep", ["prm"]),
    ],
)
async def test_cheap_signals_are_read_first_and_dear_ones_only_where_they_can_change_the_result(
    draft: Step, scores: dict[str, float], action: str, asked: list[str]
) -> None:
    ask = Table(scores)
    decision = await Hybrid(keep=RULE).after_draft(history(), draft, ask)
    assert (decision.action, ask.asked) == (action, asked)
    assert [signal.name for signal in decision.signals] == ["entropy_mean", *asked]
    assert all(name in decision.reason for name in ("entropy_mean", *asked))


async def test_the_cost_that_is_configured_decides_who_is_asked_first() -> None:
    ask = Table({"prm": 0.1, "judge": 3})
    await Hybrid(keep="prm > 0.5 or judge >= 7", costs={"prm": 5.0}).after_draft(history(), CALM, ask)
    assert ask.asked == ["judge", "prm"]


@pytest.mark.parametrize(
    ("prm", "judge", "action", "asked"),
    [(0.9, 0, "keep", 1), (0.1, 9, "keep", 2), (0.1, 6, "rewrite", 2), (0.0, 9, "rewrite", 1), (0.7, 0, "keep", 1)],
)
async def test_a_weighted_sum_asks_no_further_once_the_bounds_settle_it(
    prm: float, judge: float, action: str, asked: int
) -> None:
    policy = Hybrid(weights={"prm": 2.0, "judge": 0.15}, threshold=1.4)
    ask = Table({"prm": prm, "judge": judge})
    decision = await policy.after_draft(history(), CALM, ask)
    assert (decision.action, len(ask.asked)) == (action, asked)
    if asked == 2:
        assert (decision.threshold, decision.margin) == (1.4, pytest.approx(2 * prm + 0.15 * judge - 1.4))


async def test_a_sum_of_figures_and_scores_is_compared_exactly_at_its_threshold() -> None:
    policy = Hybrid(weights={"prm": 1.0, "margin_min": 1.0}, threshold=0.5)
    decision = await policy.after_draft(history(), TORN, Table({"prm": 0.5}))
    assert (decision.action, decision.margin) == ("keep", 0.0)


@pytest.mark.parametrize(
    ("keep", "action"),
    [("prm >= 0.5", "rewrite"), ("prm < 0.5", "keep"), ("prm <= 0.2", "rewrite"), ("prm > 0.2", "keep")],
)
async def test_the_margin_is_the_reading_minus_the_threshold_on_whichever_side_a_draft_stands(
    keep: str, action: str
) -> None:
    decision = await Hybrid(keep=keep).after_draft(history(), CALM, Table({"prm": 0.3}))
    assert decision.threshold is not None
    assert (decision.action, decision.margin) == (action, pytest.approx(0.3 - decision.threshold))


async def test_where_both_are_given_both_must_hold() -> None:
    policy = Hybrid(keep="judge >= 5", weights={"prm": 1.0}, threshold=0.5)
    for prm, judge, action in ((0.6, 5, "keep"), (0.6, 4, "rewrite"), (0.4, 9, "rewrite")):
        assert (await policy.after_draft(history(), CALM, Table({"prm": prm, "judge": judge}))).action == action


async def test_a_signal_that_is_missing_is_not_missed_where_the_others_settle_it() -> None:
    policy = Hybrid(keep="prm > 0.9 or judge >= 7")
    decision = await policy.after_draft(history(), CALM, Table({"prm": None, "judge": 8}))
    assert (decision.action, decision.reason) == ("keep", "passes: judge 8; no prm (nobody knows)")


@pytest.mark.parametrize(("then", "action"), [("reject", "rewrite"), ("accept", "keep"), ("stop", "stop")])
async def test_what_missing_signals_leave_open_is_decided_as_configured(then: Any, action: str) -> None:
    policy = Hybrid(keep="prm > 0.9 or judge >= 7", on_unreadable=then)
    decision = await policy.after_draft(history(), CALM, Table({"prm": None, "judge": 3}))
    assert decision.action == action
    assert decision.reason.startswith("no reading of prm (")
    assert decision.reason.endswith(f"): {then}; judge 3")
    assert [signal.name for signal in decision.signals] == ["judge"]


async def test_figures_without_logprobs_are_missing_signals_like_any_other() -> None:
    decision = await Hybrid(keep="entropy_max < 1").after_draft(history(), step(), Table())
    assert (decision.action, decision.reason) == (
        "rewrite",
        "no reading of uncertainty (no tokens with logprobs): reject",
    )


async def test_of_three_engines_the_target_is_chosen_or_each_tries() -> None:
    def middle(text: str) -> Table:
        return Table({"prm": 0.1}, {"middle": [step(text, "middle", logprobs=CALM.logprobs)]})

    for options, engine in (({}, "large"), ({"to": "next"}, "middle")):
        decision = await Hybrid(keep="prm > 0.5", **options).after_draft(history(engines=THREE), CALM, middle("x"))
        assert getattr(decision, "engine", "") == engine
    climbing = Hybrid(keep="entropy_mean < 0.1", ladder=True)
    decision = await climbing.after_draft(history(engines=THREE), TORN, middle("x"))
    assert (getattr(decision, "engine", ""), len(decision.signals)) == ("middle", 2)
    decision = await Hybrid(keep="prm > 0.5", ladder=True).after_draft(history(engines=THREE), CALM, middle("x"))
    assert getattr(decision, "engine", "") == "large"


def test_it_needs_what_it_names_and_no_more() -> None:
    assert Hybrid(keep=RULE).needs.scorers == ("judge-average", "prm")
    assert (Hybrid(keep=RULE).needs.logprobs, Hybrid(keep="prm > 0.5").needs.logprobs) == (5, 0)
    assert Hybrid(keep="prm > 0.5").before_step(history()) == Plan(engine="small")
    assert Hybrid().needs.scorers == ("judge",)


def test_it_is_written_in_a_config_like_any_other() -> None:
    options = {"keep": "mine > 0.5", "costs": {"mine": 3.0}, "weights": {"prm": 2.0}, "threshold": 1.0}
    made = config.router("hybrid", options, "here")
    assert made.needs.scorers == ("mine", "prm")
    with pytest.raises(
        BadConfig, match=r"here.*no signal 'mine'; known: verifier, prm, judge, judge-average, num_tokens"
    ):
        config.router("hybrid", {"keep": "mine > 0.5"}, "here")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"keep": "entropy_men < 1"}, "keep = 'entropy_men < 1': no signal 'entropy_men'; known: verifier, prm, judge"),
        ({"weights": {"pmr": 1.0}, "threshold": 0.5}, "weights names 'pmr'; known: .*perplexity"),
        ({"weights": {"prm": nan}}, "weights gives prm nan"),
        ({"weights": {"prm": 1.0}, "threshold": nan}, "threshold = nan"),
        ({"weights": {"prm": 1.0}, "threshold": 1.5}, "threshold = 1.5 is outside what the sum can be"),
        ({"weights": {"prm": 1.0}, "threshold": -0.1}, "threshold = -0.1 is outside what the sum can be"),
        ({"threshold": 0.5}, "threshold = 0.5 is that of a sum"),
        ({"costs": {"prm": -1.0}}, "costs gives prm -1.0"),
        ({"costs": {"perplexity": 1.0}}, "costs names 'perplexity', which is no scorer"),
        ({"keep": "entropy_mean_upper < 1"}, "an upper bound needs vocabulary"),
        ({"to": "up"}, "to = 'up'"),
        ({"on_unreadable": "guess"}, "on_unreadable = 'guess'"),
        ({"top": 0}, "top = 0"),
    ],
)
def test_what_cannot_be_meant_is_refused_when_it_is_built(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=f"hybrid: {said}"):
        Hybrid(**options)


async def test_a_constant_condition_beside_a_sum_is_allowed_as_it_is_alone() -> None:
    for condition, keeps in (("judge > 9", False), ("judge >= 0", True)):
        policy = Hybrid(keep=condition, weights={"prm": 1.0}, threshold=0.5)
        decision = await policy.after_draft(history(), step(), Table({"prm": 0.9}))
        assert (decision.action == "keep") == keeps
