"""Arbitrage: decided by its file alone, from context and draft; the large engine works on what is sent to it only."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from learned import PAIR, UNIT, draft, history, known
from marked import STEPS, calls, is_marked, pipeline, tasks

from orchestrator.config import router_file
from orchestrator.decisions import Plan
from orchestrator.errors import BadConfig, MissingCapability, SignalUnavailable, UserError
from orchestrator.learning.collecting import Collection
from orchestrator.learning.table import names_of, table_of
from orchestrator.learning.training import learnt, write
from orchestrator.memory.base import StoredRun
from orchestrator.routers.arbitrage import Arbitrage
from orchestrator.routers.collect import Collect
from orchestrator.routers.features import HISTORY
from orchestrator.routers.forecast import Forecast
from orchestrator.routers.router_file import RouterFile
from orchestrator.types import Signal, Status


class Scores:
    """Answers every ask with one value, or with none."""

    def __init__(self, value: float | None = None) -> None:
        self.value = value
        self.asked: list[str] = []

    async def score(self, name: str, draft: Any) -> Any:
        self.asked.append(name)
        if self.value is None:
            raise SignalUnavailable(name, "it is down")
        return Signal(name=name, value=self.value)


@pytest.mark.parametrize(
    ("p", "threshold", "action"),
    [
        (0.75, 0.5, "keep"),  # a chance of exactly the threshold is not above it
        (0.75, 0.499, "rewrite"),
        (0.7, 0.5, "rewrite"),
        (0.8, 0.5, "keep"),
    ],
)
async def test_a_draft_is_rewritten_where_the_chance_is_above_the_threshold(
    p: float, threshold: float, action: str
) -> None:
    ask = Scores()
    decision = await Arbitrage(threshold=threshold, learnt=known()).after_draft(history(), draft(p), ask)
    assert decision.action == action
    chance = decision.signals[0].value
    assert chance is not None
    assert decision.margin == pytest.approx(chance - threshold)
    assert (decision.threshold, ask.asked) == (threshold, [])
    assert getattr(decision, "engine", "large") == "large"


@pytest.mark.parametrize("unreadable", ["reject", "accept", "stop"])
async def test_at_the_ends_of_the_threshold_nothing_is_read(unreadable: Any) -> None:
    of = known(features=("signal:prm",))
    keeps, rewrites = (Arbitrage(threshold=end, on_unreadable=unreadable, learnt=of) for end in (1.0, 0.0))
    for policy, action in ((keeps, "keep"), (rewrites, "rewrite")):
        ask = Scores(None)
        assert (await policy.after_draft(history(), draft(logprobs=None), ask)).action == action
        assert ask.asked == []
        assert policy.prior is not None
        assert policy.prior(history(), draft(logprobs=None)) == float(action == "rewrite")
    assert keeps.before_step(history()) == Plan(engine="small")
    assert rewrites.before_step(history()).engine == "large"


def of_three() -> RouterFile:
    """Return a router that was trained where there were three engines."""
    small, large = PAIR["writers"]
    return known(pair={"writers": [small, {**large, "name": "middle"}, large]})


@pytest.mark.parametrize("to", ["small", "middle", "huge"])
def test_an_engine_that_its_file_was_not_trained_against_is_refused(to: str) -> None:
    with pytest.raises(UserError, match=rf"to = '{to}', and its file was trained against 'large'"):
        Arbitrage(to=to, file="x").with_file(read(of_three()))


def test_an_engine_that_is_not_there_is_refused_when_the_pipeline_is_built() -> None:
    small, large = PAIR["writers"]
    of = known(pair={"writers": [small, {**large, "name": "huge"}]})
    with pipeline() as made, pytest.raises(UserError, match="sends what it rejects to 'huge'; known: large"):
        made.but(router=Arbitrage(learnt=of, to="huge"), scorers={}, seed=0, stop_on_answer=True)


@pytest.mark.parametrize("p", [0.9, 0.501])
async def test_its_prior_is_its_own_decision_where_nobody_is_asked_and_none_elsewhere(p: float) -> None:
    policy = Arbitrage(learnt=known())
    decision = await policy.after_draft(history(), draft(p), Scores())
    assert policy.prior is not None
    assert policy.prior(history(), draft(p)) == float(decision.action == "rewrite")
    assert policy.prior(history(), draft(logprobs=None)) == 1.0
    assert Arbitrage(learnt=known(features=("signal:prm",))).prior is None


def test_it_drafts_with_the_small_engine_and_the_logprobs_that_its_file_reads() -> None:
    policy = Arbitrage(learnt=known(logprobs=3))
    assert policy.before_step(history()) == Plan(engine="small", logprobs=3)
    assert (policy.needs.engines, policy.needs.logprobs, policy.needs.calibrated) == (2, 3, True)


@pytest.mark.parametrize(("answer", "action"), [("reject", "rewrite"), ("accept", "keep"), ("stop", "stop")])
async def test_what_it_cannot_read_is_decided_as_configured_and_said(answer: Any, action: str) -> None:
    policy = Arbitrage(on_unreadable=answer, learnt=known())
    decision = await policy.after_draft(history(), draft(logprobs=None), Scores())
    assert decision.action == action
    assert decision.reason.startswith("no reading of uncertainty (no tokens with logprobs")
    assert decision.reason.endswith(f": {answer}")
    assert getattr(decision, "status", Status.FAILED) is Status.FAILED


async def test_a_prediction_that_is_no_number_is_unreadable() -> None:
    policy = Arbitrage(learnt=known(features=("signal:prm",)))
    decision = await policy.after_draft(history(), draft(), Scores(float("nan")))
    assert (decision.action, decision.reason) == (
        "rewrite",
        "no reading of arbitrage (the router's prediction is not a number): reject",
    )


async def test_a_scorer_that_the_file_names_is_asked_and_read() -> None:
    policy = Arbitrage(learnt=known(features=("signal:prm",)))
    assert policy.needs.scorers == ("prm",)
    low, high, none = Scores(0.1), Scores(0.9), Scores(None)
    assert (await policy.after_draft(history(), draft(), low)).action == "rewrite"
    assert (await policy.after_draft(history(), draft(), high)).action == "keep"
    assert (await policy.after_draft(history(), draft(), none)).reason.startswith("no reading of prm (")
    assert low.asked == high.asked == none.asked == ["prm"]


async def test_who_wrote_before_is_seen_or_hidden_as_configured() -> None:
    of = known(features=("large_share",), forecast=Forecast(shape=replace(UNIT, weights=(10.0,), bias=-5.0)))
    seen, hidden = (Arbitrage(learnt=of, history=shown) for shown in (True, False))
    assert of.has_history and not known().has_history
    for writers, actions in ((["large", "large"], ("rewrite", "keep")), (["small", "small"], ("keep", "keep"))):
        found = [await policy.after_draft(history(writers=writers), draft(), Scores()) for policy in (seen, hidden)]
        assert tuple(each.action for each in found) == actions


@pytest.mark.parametrize("to", ["", "large"])
async def test_with_more_engines_it_sends_to_the_largest_named_or_not(to: str) -> None:
    three = history(("small", "middle", "large"))
    policy = Arbitrage(learnt=of_three(), to=to)
    assert (await policy.after_draft(three, draft(0.55), Scores())).engine == "large"  # type: ignore[attr-defined]
    kept = await policy.after_draft(three, draft(0.55, writer="large"), Scores())
    assert (kept.action, kept.reason) == ("keep", "written by large")


@pytest.mark.parametrize(
    "options",
    [{"threshold": -0.1}, {"threshold": 1.1}, {"threshold": float("nan")}, {"on_unreadable": "guess"}],
)
def test_options_out_of_range_are_refused_by_name(options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(iter(options))):
        Arbitrage(**options)


# ---- the file


def read(of: RouterFile) -> Callable[[str], RouterFile]:
    return lambda _: of


def test_its_file_is_read_once_and_names_the_router() -> None:
    one, other = known(), known(samples=2)
    policy = Arbitrage(file="x").with_file(read(one))
    assert policy.learnt is one
    assert policy.with_file(read(other)) is policy
    assert (policy.pair, policy.fitted_on) == (PAIR, ("a", "b"))
    assert repr(policy) != repr(Arbitrage(file="x").with_file(read(other)))
    assert Arbitrage().pair is None and Arbitrage().fitted_on == ()
    with pytest.raises(UserError, match="arbitrage needs file"):
        Arbitrage().with_file(read(one))
    with pytest.raises(UserError, match="its file was not read"):
        Arbitrage().before_step(history())


def test_a_pipeline_reads_the_file_and_refuses_the_router_without_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="arbitrage needs file"):
        pipeline("arbitrage")
    with pytest.raises(BadConfig, match=r"none.json: No such file or directory; `orchestrator train-router` makes a"):
        pipeline(Arbitrage(file=str(tmp_path / "none.json")))
    write(known(), tmp_path / "router.json")
    with pipeline(Arbitrage(file=str(tmp_path / "router.json"))) as made:
        assert made.router.learnt == known()
        settings = json.loads(made.settings)["router"]
        assert settings == {
            "policy": settings["policy"],
            "threshold": 0.5,
            "history": True,
            "to": "",
            "on_unreadable": "reject",
            "learnt": known().digest,
        }


def test_without_a_calibration_for_its_pair_it_is_refused(tmp_path: Path) -> None:
    with pipeline(Arbitrage(learnt=known())) as made, pytest.raises(MissingCapability, match="has no calibration"):
        made.run("q")


def test_experiments_refuse_it_for_another_pair(tmp_path: Path) -> None:
    with pipeline() as made:
        other = made.but(router=Arbitrage(learnt=known()), scorers={}, seed=0, stop_on_answer=True)
        with pytest.raises(BadConfig, match="router arbitrage was trained for another pair"):
            asyncio.run(other.arun("q"))


# ---- trained on scripts


@pytest.fixture(scope="module")
def trained() -> RouterFile:
    with pipeline() as made:
        of = Collection(made, tasks(90), Collect(logprobs=2, go_on="mixed"))
        asyncio.run(of.run(8))
        about = asyncio.run(of.about())
        return learnt(about, table_of(about, of.rows(), names_of(about, history=True)), shape="logistic")


def runs(policy: Arbitrage, number: int = 12) -> list[tuple[str, StoredRun]]:
    """Return the question and the run of tasks that the router was not trained on."""
    with pipeline() as made:
        routed = made.but(router=policy, scorers={}, seed=0, stop_on_answer=True)
        found = [(task, routed.run(task)) for task in tasks(number, first=1000)]
        return [(task.messages[0].content, routed.journal.run(result.run_id)) for task, result in found]


def test_the_large_engine_is_called_exactly_where_it_is_better(trained: RouterFile) -> None:
    marked_steps = 0
    for question, run in runs(Arbitrage(learnt=trained)):
        marked = [step for step in range(STEPS) if is_marked(question, step)]
        assert calls(run, "large") == [(step, "rewrite") for step in marked]  # none at all on a step that is kept
        assert [step.step for step in run.kept() if step.writer == "large"] == marked
        assert not any("guess" in step.text for step in run.kept())
        marked_steps += len(marked)
    assert marked_steps > 10


def test_nobody_but_the_file_is_asked(trained: RouterFile) -> None:
    for _, run in runs(Arbitrage(learnt=trained), 3):
        assert {call.intent.purpose for call in run.calls} <= {"draft", "rewrite"}
        assert not run.signals


@pytest.mark.parametrize(("threshold", "writer"), [(1.0, "small"), (0.0, "large")])
def test_thresholds_at_their_ends_are_one_engine_alone(trained: RouterFile, threshold: float, writer: str) -> None:
    for _, run in runs(Arbitrage(learnt=trained, threshold=threshold), 4):
        assert {step.writer for step in run.kept()} == {writer}
        assert len(calls(run, "large")) == (0 if writer == "small" else STEPS + 1)


def test_a_higher_threshold_sends_no_more(trained: RouterFile) -> None:
    sent = [
        sum(len(calls(run, "large")) for _, run in runs(Arbitrage(learnt=trained, threshold=tau), 6))
        for tau in (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
    ]
    assert sent == sorted(sent, reverse=True)


def test_what_is_trained_is_refused_for_other_weights_under_the_same_name(trained: RouterFile, tmp_path: Path) -> None:
    write(trained, tmp_path / "router.json")
    policy = Arbitrage(learnt=router_file(str(tmp_path / "router.json")))
    with pipeline() as made:
        made.engines["large"]._answer = lambda request: "I write otherwise.\n\n"  # type: ignore[attr-defined]
        routed = made.but(router=policy, scorers={}, seed=0, stop_on_answer=True)
        with pytest.raises(BadConfig, match=r"trained for another pair: engine 'large'.*other weights"):
            asyncio.run(routed.arun("q"))


def test_its_file_sees_history_unless_told_not_to(trained: RouterFile) -> None:
    assert set(HISTORY) <= set(trained.features)
