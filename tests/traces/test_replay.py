"""A stored run decided again: the same policy reproduces it, another one parts from it where it must."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from json import dumps, loads
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from replayable import ANSWER, Notes, Wanders, draw, made, ran, script, with_ancestors

from orchestrator.decisions import Decision, Plan, keep, rewrite
from orchestrator.engines.base import Request
from orchestrator.engines.retry import RetryPolicy
from orchestrator.errors import EngineUnavailable, UnknownName, UserError
from orchestrator.memory.base import StoredRun
from orchestrator.routers import (
    ROUTERS,
    RSD,
    AnswerGate,
    Cascade,
    Entropy,
    Hybrid,
    LargeOnly,
    LinUCB,
    Oracle,
    Random,
    SmallOnly,
    SpecReason,
    SpeculativeThinking,
)
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.runtime.portal import run_sync
from orchestrator.tools import tool
from orchestrator.traces.going_on import gone_on, other_settings
from orchestrator.traces.policy import router_of
from orchestrator.traces.replay import Replayed, replayed
from orchestrator.traces.replay_shown import lines
from orchestrator.types import Budget, History, Overlap, Step

REPLAYED = [
    SmallOnly(),
    LargeOnly(),
    Random(large_share=0.4),
    SpecReason(threshold=5, first_n=1),
    SpecReason(threshold=5, reading="average"),
    RSD(scorer="judge", threshold=0.5),
    RSD(threshold=0.4),
    Entropy(threshold=0.001),
    SpeculativeThinking(look_tokens=8, doubts=1),
    SpeculativeThinking(look_tokens=8, choose_large=False),
    AnswerGate(threshold=0.6, top=5),
    AnswerGate(gate="forced", threshold=0.5),
    AnswerGate(gate="agreement", threshold=0.5, num=2),
    Hybrid(keep="judge >= 5 or prm >= 0.5"),
    Hybrid(keep="num_tokens < 14"),
    Oracle(),
    Oracle(scorer="prm"),
    Wanders(),
]


def made_alike(replay: Replayed) -> bool:
    """Return whether reasons, thresholds and margins are the stored ones, too."""
    for verdict in replay.alike:
        row, decision = verdict.row, verdict.made
        assert row is not None
        if row.reason != decision.reason and not row.reason.startswith(decision.reason):
            return False
        if isinstance(decision, Decision) and (row.threshold, row.margin) != (decision.threshold, decision.margin):
            return False
    return True


def by_purpose(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(row["engine"], row["purpose"], row["fate"], row["calls"], row["output_tokens"]) for row in rows]


def check_reproduced(stored: StoredRun, router: Any, *, is_own_ledger: bool = True) -> None:
    again = replayed(stored, router)
    assert again.parted is None, again.parted
    assert again.left == 0
    assert made_alike(again)
    told = [row for row in stored.decisions if row.door in ("before_step", "after_draft", "on_events")]
    assert len(again.alike) == len(told)
    assert stored.outcome is not None
    assert again.answer == stored.outcome.answer
    if is_own_ledger:
        assert by_purpose(again.ledger.rows()) == by_purpose(loads(stored.outcome.ledger))
        assert not again.is_bound


@settings(max_examples=12, deadline=None)
@given(st.sampled_from(REPLAYED), st.integers(0, 50))
def test_the_same_policy_reproduces_every_decision_and_the_ledger(router: Any, seed: int) -> None:
    check_reproduced(ran(router, seed=seed, budget=Budget(steps=12)), router)


@settings(max_examples=3, deadline=None)
@given(st.sampled_from([*REPLAYED[3:8], REPLAYED[13]]), st.integers(0, 50))
def test_what_only_looked_or_was_begun_early_changes_no_decision(router: Any, seed: int) -> None:
    looked = ran(router, seed=seed, counterfactuals=0.6)
    check_reproduced(looked, router, is_own_ledger=False)
    plain = ran(router, seed=seed)
    tokens = [
        {engine: replayed(each, router).ledger.total(engine=engine).output_tokens for engine in ("small", "large")}
        for each in (looked, plain)
    ]
    assert tokens[0] == tokens[1]
    check_reproduced(ran(router, seed=seed, overlap=Overlap(ahead=2)), router)


def test_every_router_of_the_registry_is_replayed_or_says_why_not() -> None:
    names = {type(each).__module__ + ":" + type(each).__qualname__ for each in [*REPLAYED, Cascade()]}
    left = {name for name, target in ROUTERS.items() if target not in names}
    assert left == {"linucb", "arbitrage"}  # arbitrage is replayed in tests of the command: it needs a file
    told = replayed(ran(LinUCB()), LinUCB()).parted
    assert told is not None and told.reason == "linucb learns: name another router"


@pytest.mark.parametrize("seed", range(6))
def test_a_router_that_heeds_events_is_told_of_the_same_ones(seed: int) -> None:
    router = Cascade(turns=1, dwell=1, stay=1, on_milestone="turns", others={"drift": "retake"}, note="Once more:")
    monitors = [Notes(), Notes(kind="drift"), Notes(kind="milestone")]
    check_reproduced(ran(router, seed=seed, monitors=monitors, budget=Budget(steps=12)), router)


def test_events_that_nobody_heeded_then_are_brought_before_a_router_that_does() -> None:
    stored = ran(SmallOnly(), monitors=[Notes()])
    first = next(event.step for event in stored.events if event.kind == "stuck")
    parted = replayed(stored, Cascade()).parted
    assert parted is not None
    assert (parted.step, parted.door, parted.then, parted.now) == (first + 1, "on_events", "keep", "handoff large")


def test_the_run_s_own_router_is_made_from_its_record() -> None:
    stored = ran(SpecReason(threshold=6, first_n=2))
    assert router_of(stored) == SpecReason(threshold=6, first_n=2)
    assert router_of(stored, threshold=3.0) == SpecReason(threshold=3, first_n=2)
    with pytest.raises(UserError, match="no such key"):
        router_of(ran(SmallOnly()), threshold=3.0)
    with pytest.raises(UserError, match="no registered name"):
        router_of(ran(Wanders()))


def scored(*digits: int, steps: int = 5) -> Any:
    """A large engine whose ratings are these, in turn."""
    write, judged = script("large", steps), count()

    def large(request: Request) -> str:
        assert request.prompt is not None
        if request.purpose == "judge":
            return str(digits[next(judged) % len(digits)])
        return write(request)

    return large


@pytest.mark.parametrize(
    ("threshold", "step", "then", "now"),
    [
        (6, None, "", ""),
        (5, 2, "rewrite large", "keep"),
        (5.01, None, "", ""),
        (7, None, "", ""),  # a reading at the threshold stands
        (7.01, 1, "keep", "rewrite large"),
        (0, 2, "rewrite large", "keep"),
    ],
)
def test_another_threshold_parts_at_the_first_draft_on_the_other_side_of_it(
    threshold: float, step: int | None, then: str, now: str
) -> None:
    stored = ran(SpecReason(threshold=6), large=scored(9, 7, 5))
    again = replayed(stored, SpecReason(threshold=threshold))
    if step is None:
        assert again.parted is None
        return
    assert again.parted is not None
    assert (again.parted.step, again.parted.then, again.parted.now) == (step, then, now)
    assert again.flips and not again.is_undecided
    assert len(again.alike) + 1 + again.left == len(stored.decisions)


def test_the_account_ends_where_the_runs_part() -> None:
    stored = ran(SpecReason(threshold=6), large=scored(9, 7, 5))
    kept = replayed(stored, SpecReason(threshold=5))
    rows = by_purpose(kept.ledger.rows())
    first = sum(step.num_tokens for step in stored.kept()[:2])
    assert kept.parted is not None and kept.parted.other is not None
    assert rows == [
        ("small", "draft", "used", 3, first + kept.parted.other.num_tokens),
        ("large", "judge", "used", 3, 3),
    ]
    refused = replayed(stored, SpecReason(threshold=7.5))
    assert refused.parted is not None and refused.parted.other is None
    assert [row[:4] for row in by_purpose(refused.ledger.rows())] == [
        ("small", "draft", "discarded", 1),
        ("small", "draft", "used", 1),
        ("large", "judge", "used", 2),
    ]


def test_what_is_done_by_the_same_engine_in_another_way_says_in_what() -> None:
    heeded = ran(Cascade(turns=1, on_stuck="turns"), monitors=[Notes()], seed=2, budget=Budget(steps=12))
    found = replayed(heeded, Cascade(turns=3, on_stuck="turns")).parted
    assert found is not None
    assert (found.then.partition(", ")[0], found.now.partition(", ")[0]) == ("handoff large", "handoff large")
    assert found.then != found.now
    planned = replayed(ran(SmallOnly()), Leads()).parted
    assert planned is not None
    assert (planned.then, planned.now) == ("draft small, lead ''", "draft small, lead 'So'")


@dataclass(frozen=True, kw_only=True)
class Leads:
    """Begins each draft with a word."""

    def before_step(self, history: History) -> Plan:
        """Plan it."""
        return Plan("small", lead="So")


def test_what_was_drafted_ahead_and_dropped_makes_the_account_until_a_flip_a_bound() -> None:
    stored = ran(SpecReason(threshold=6), large=scored(2, 9, 5), overlap=Overlap(ahead=2))
    parted = replayed(stored, SpecReason(threshold=5))
    assert parted.parted is not None and parted.parted.step > 0
    assert parted.ledger.total(engine="small", fate="discarded").calls > 1
    assert parted.is_bound
    same = replayed(stored, SpecReason(threshold=6))
    assert not same.is_bound
    ahead = "drafts dropped ahead are this run's"
    assert [[line.startswith(ahead) for line in lines(each)].count(True) for each in (same, parted)] == [1, 0]
    assert "paid for until there, at most" in lines(parted)


def test_a_flip_shows_the_other_step_where_it_was_written_beside_the_draft() -> None:
    looked = ran(SpecReason(threshold=6), large=scored(9, 7, 5), counterfactuals=1.0)
    parted = replayed(looked, SpecReason(threshold=8)).parted
    assert parted is not None and parted.other is not None
    assert parted.other.writer == "large"
    forced = ran(SpecReason(threshold=8), large=scored(9, 7, 5))
    assert parted.other.text == forced.kept()[1].text


def test_a_run_is_known_to_its_end_where_the_flipped_step_ends_it() -> None:
    stored = ran(SpecReason(threshold=6), small=script("small", 1), large=scored(9, 5, steps=1))
    assert [step.writer for step in stored.kept()] == ["small", "large"]
    again = replayed(stored, SpecReason(threshold=5))
    assert again.parted is not None and again.parted.other is not None and again.parted.other.text == ANSWER
    assert again.is_known
    assert again.answer == "1"
    assert not replayed(ran(SpecReason(threshold=6), large=scored(9, 5)), SpecReason(threshold=5)).is_known


@pytest.mark.parametrize(
    ("router", "lacks"),
    [
        (SpecReason(threshold=6, reading="prm"), "prm did not score small's step 0"),
        (Oracle(), "verifier did not score small's step 0"),
        (Entropy(threshold=0.5), "entropy reads 5 alternatives per token; the run kept none"),
        (AnswerGate(gate="forced"), None),
    ],
)
def test_what_the_record_lacks_is_named_and_nothing_is_made_up(router: Any, lacks: str | None) -> None:
    stored = ran(SpecReason(threshold=6))
    again = replayed(stored, router)
    assert again.parted is not None
    if lacks is None:  # a whole turn is planned where a step was
        assert (again.parted.then, again.parted.door) == ("draft small, max_tokens 512, whole False", "before_step")
        return
    assert again.is_undecided
    assert again.parted.reason == lacks
    assert again.left == len([row for row in stored.decisions if row.action != "plan"])


def test_another_limit_of_tokens_matters_only_where_a_step_meets_it() -> None:
    stored = ran(SpecReason(threshold=6))
    lenient = replayed(stored, RSD(scorer="judge", threshold=6 / 9, step_tokens=4096))
    assert lenient.parted is None
    cut = ran(SpecReason(threshold=6, step_tokens=7))
    parted = replayed(cut, SpecReason(threshold=6, step_tokens=9)).parted
    assert parted is not None and not parted.now
    assert parted.reason == "step 0 has 7 tokens by a limit of 7; one of 9 may have written another"


def test_a_plan_for_another_engine_parts_before_the_draft_is_paid_for() -> None:
    again = replayed(ran(SpecReason(threshold=6)), LargeOnly())
    assert again.parted is not None
    assert (again.parted.step, again.parted.then, again.parted.now) == (0, "draft small", "draft large")
    assert list(again.ledger) == []


@dataclass(frozen=True, kw_only=True)
class Elsewhere:
    """Names an engine that no run has."""

    def before_step(self, history: History) -> Plan:
        """Plan nonsense."""
        return Plan(engine="huge")


def test_a_router_that_names_an_engine_which_the_run_has_not_is_refused() -> None:
    with pytest.raises(UnknownName, match="chose engine 'huge'; the run has small, large"):
        replayed(ran(SmallOnly()), Elsewhere())


def test_failures_are_decided_about_as_they_were() -> None:
    write = script("large")

    def large(request: Request) -> str:
        if request.purpose == "judge" and draw(request.seed) % 2:
            raise EngineUnavailable("away", engine="large")
        return write(request)

    router = SpecReason(threshold=5)
    check_reproduced(ran(router, large=large, retries=RetryPolicy(attempts=1)), router)


def test_a_draft_that_failed_was_planned_and_is_asked_about() -> None:
    def small(request: Request) -> str:
        raise EngineUnavailable("away", engine="small")

    stored = ran(SpecReason(threshold=5), small=small, retries=RetryPolicy(attempts=1))
    check_reproduced(stored, SpecReason(threshold=5))
    parted = replayed(stored, LargeOnly()).parted
    assert parted is not None and (parted.step, parted.now) == (0, "draft large")


def test_a_run_cut_off_by_its_budget_is_reproduced_as_far_as_it_goes() -> None:
    router = SpecReason(threshold=5)
    for tokens in (20, 45, 60):
        check_reproduced(ran(router, budget=Budget(tokens=tokens)), router)


def test_where_a_budget_ended_the_run_a_cheaper_policy_is_not_known_to_end() -> None:
    stored = ran(SpecReason(threshold=0, first_n=0), budget=Budget(tokens=45))
    assert stored.outcome is not None and stored.outcome.status == "budget"
    cheaper = replayed(stored, SmallOnly())
    assert cheaper.parted is None
    assert not cheaper.is_known
    assert replayed(stored).is_known


def fork_of(pipeline: Pipeline, to_step: int) -> str:
    parent = pipeline.run("q").run_id
    state = run_sync(pipeline.graph.ainvoke({"run": parent, "step": to_step}))
    return str(state["run"])


def test_of_a_fork_only_its_own_decisions_are_asked_again() -> None:
    router = SpecReason(threshold=5)
    with made(router) as pipeline:
        stored, parents = with_ancestors(pipeline, fork_of(pipeline, 2))
    again = replayed(stored, router, parents)
    assert again.parted is None
    assert {verdict.place[0] for verdict in again.alike} == set(range(2, len(stored.kept())))


def test_engines_go_on_from_where_a_run_parts_and_repeat_nothing_before() -> None:
    with made(SpecReason(threshold=6), large=scored(9, 7, 5)) as pipeline:
        stored = pipeline.journal.run(pipeline.run("q").run_id)
        other = SpecReason(threshold=5)
        again = replayed(stored, other)
        assert again.parted is not None
        forked = run_sync(gone_on(pipeline.but(router=other), stored, again))
    assert forked.run.parent == stored.run.id
    assert min(intent.step for intent, _ in forked.calls) == again.parted.step == 2
    with made(other, large=scored(9, 7, 5)) as anew:
        texts = [step.text for step in anew.run("q").steps]
    assert [step.text for step in forked.kept()] == texts
    with made(SpecReason(threshold=6)) as pipeline, pytest.raises(UserError, match="nothing open"):
        stored = pipeline.journal.run(pipeline.run("q").run_id)
        run_sync(gone_on(pipeline, stored, replayed(stored)))


@tool
def adds(left: int, right: int) -> int:
    """Add two numbers."""
    return left + right


def test_only_the_engines_that_wrote_a_run_go_on_with_it_and_what_else_is_other_is_named() -> None:
    with made(SpecReason(threshold=6), large=scored(9, 7, 5)) as pipeline:
        stored = pipeline.journal.run(pipeline.run("q").run_id)
        other = SpecReason(threshold=5)
        again = replayed(stored, other)
        engines = loads(stored.run.engines)
        engines["small"]["model"] = "another"
        foreign = stored._replace(run=stored.run._replace(engines=dumps(engines)))
        with pytest.raises(UserError, match="was made with 'another' as engine 'small'"):
            run_sync(gone_on(pipeline.but(router=other), foreign, again))
        less = stored._replace(run=stored.run._replace(engines=dumps({"small": engines["small"]})))
        with pytest.raises(UserError, match="was made with engines small, not small, large"):
            run_sync(gone_on(pipeline.but(router=other), less, again))
        with pytest.raises(UserError, match="had another mode and tools: give the pipeline"):
            switched = pipeline.but(router=other, mode="no_think", tools=[adds])
            run_sync(gone_on(switched, stored, again))
        assert other_settings(pipeline.but(router=other, seed=7), stored) == []
        assert other_settings(pipeline.but(router=other, budget=Budget(steps=9)), stored) == ["budget"]
        forked = run_sync(gone_on(pipeline.but(router=other, seed=7), stored, again))
        assert loads(forked.run.settings)["seed"] == loads(stored.run.settings)["seed"]


@dataclass(frozen=True, kw_only=True)
class Asks:
    """Asks for what is never stored in a form to be read back."""

    async def after_draft(self, history: History, draft: Step, ask: Any) -> Decision:
        """Keep where a trial has an answer."""
        [trial] = await ask.trials("small", draft)
        return keep() if trial.answer else rewrite("large")


def test_trials_are_not_read_back() -> None:
    stored = ran(Asks())
    parted = replayed(stored, Asks()).parted
    assert parted is not None
    assert parted.reason == "trial answers of small are not stored in a form that can be read back"
