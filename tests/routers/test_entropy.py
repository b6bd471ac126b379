"""Entropy: where it switches, how long it stays, and what it makes of bounds."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import inf, log, log2, nan
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seen import THREE, Table, history, step, token

import orchestrator as orc
from orchestrator.decisions import Plan, Rewrite
from orchestrator.engines.scripted import Reply, Scripted
from orchestrator.errors import EngineProtocol, UserError
from orchestrator.routers import Entropy
from orchestrator.runtime.result import RunResult
from orchestrator.types import History, Status, Step, TokenLogprob

SURE = token(1.0, 1e-9)
EVEN = token(0.5, 0.5)
"""One bit."""
ASK = Table()


def draft(tokens: Sequence[TokenLogprob], writer: str = "small", index: int = 0) -> Step:
    return step(writer=writer, index=index, logprobs=list(tokens))


async def run(policy: Entropy, bits: Sequence[float], engines: tuple[str, ...] = ("small", "large")) -> list[str]:
    """Return who wrote each step where every engine's step at a place has the entropy that `bits` says."""
    kept = history(engines=engines)
    for index, of_step in enumerate(bits):
        plan = policy.before_step(kept)
        written = draft([_of(of_step)] * 4 if plan.logprobs else [], plan.engine, index)
        decision = await policy.after_draft(kept, written, ASK)
        if isinstance(decision, Rewrite):
            logprobs = [_of(of_step)] * 4 if policy.needs.reads_rewrites else None
            written = step(writer=decision.engine, index=index, attempt=1, logprobs=logprobs)
        kept.steps.append(written)
    return [each.writer for each in kept.steps]


def _of(bits: float) -> TokenLogprob:
    """Return a token whose place has an entropy of about `bits`, from 0 to 1."""
    low, high = 1e-9, 0.5
    for _ in range(60):
        middle = (low + high) / 2
        found = -middle * log2(middle) - (1 - middle) * log2(1 - middle)
        low, high = (middle, high) if found < bits else (low, middle)
    return token(1 - low, low)


@pytest.mark.parametrize(
    ("tokens", "threshold", "action"),
    [
        ([SURE] * 12, 0.1, "keep"),
        ([SURE] * 8 + [EVEN] * 4, 0.4, "rewrite"),  # the last 8: half are even
        ([EVEN] * 4 + [SURE] * 20, 0.4, "rewrite"),  # and the first 8
        ([SURE] * 8 + [EVEN] * 4, 0.51, "keep"),
        ([EVEN] * 3, 0.9, "rewrite"),  # shorter than the window
    ],
)
async def test_a_draft_is_cut_where_any_full_window_is_above_the_threshold(
    tokens: list[TokenLogprob], threshold: float, action: str
) -> None:
    decision = await Entropy(threshold=threshold).after_draft(history(), draft(tokens), ASK)
    assert (decision.action, decision.threshold) == (action, threshold)
    [signal] = decision.signals
    assert signal.raw is not None
    assert decision.margin == pytest.approx(signal.raw - threshold)  # negative below it: the draft stands


async def test_exactly_at_the_threshold_a_draft_stands() -> None:
    decision = await Entropy(threshold=1.0).after_draft(history(), draft([EVEN] * 8), ASK)
    assert (decision.action, decision.margin) == ("keep", pytest.approx(0.0, abs=1e-9))


async def test_the_window_reaches_back_over_kept_steps_of_the_same_engine_only() -> None:
    policy = Entropy(threshold=0.6, window=4)
    before = [draft([EVEN] * 4)]
    assert (await policy.after_draft(history(before), draft([SURE] * 4), ASK)).action == "rewrite"
    before.append(draft([EVEN] * 4, "large"))
    assert (await policy.after_draft(history(before), draft([SURE] * 4), ASK)).action == "keep"


async def test_the_share_of_the_large_engine_never_grows_with_the_threshold() -> None:
    bits = [0.1, 0.8, 0.3, 0.9, 0.5, 0.2, 0.7, 0.05, 0.95, 0.4]
    shares = [
        (await run(Entropy(threshold=tau, window=4), bits)).count("large")
        for tau in (0.0, 0.15, 0.35, 0.6, 0.85, 0.97, inf)
    ]
    assert shares == sorted(shares, reverse=True)
    assert (shares[0], shares[-1]) == (len(bits), 0)
    assert len(set(shares)) > 4


@given(
    bits=st.lists(st.floats(0.01, 0.99), max_size=20),
    taus=st.tuples(st.floats(0.01, 0.99), st.floats(0.01, 0.99)).map(sorted),
)
async def test_at_a_dwell_of_0_a_higher_threshold_lets_the_large_engine_write_no_other_step(
    bits: list[float], taus: list[float]
) -> None:
    low, high = [await run(Entropy(threshold=tau, window=4), bits) for tau in taus]
    assert all(one == "large" for one, other in zip(low, high, strict=True) if other == "large")


def unsure(p: float, text: str) -> Reply:
    """Return a step whose first token is written with probability `p`; the step is read by it alone."""
    return Reply(text=text, top={text[0]: log(p), "?": log(1 - p)})


async def escalating(db: Path, policy: Entropy, run_id: str, small: Sequence[Any], large: Sequence[Any]) -> RunResult:
    engines = {"small": Scripted(small), "large": Scripted(large)}
    async with orc.Pipeline(engines, policy, db=db, failover=False) as pipeline:
        return await pipeline.arun("?", run_id=run_id)


@pytest.mark.parametrize(("dwell", "lower"), [(0, 0.3), (1, 0.3), (0, None)])
async def test_the_large_engine_keeps_control_while_its_own_entropy_is_above_lower_and_after_a_resume_too(
    tmp_path: Path, dwell: int, lower: float | None
) -> None:
    policy = Entropy(threshold=0.9, lower=lower, dwell=dwell, window=1)
    small = [unsure(0.5, "x, or y?\n\n"), unsure(0.99, "then z\n\n"), unsure(0.99, "\\boxed{1}")]
    large = [unsure(0.75, "x\n\n"), unsure(0.8, "of x\n\n"), unsure(0.99, "so x\n\n")]  # 0.81, 0.72 and 0.08 bits
    whole = await escalating(tmp_path / "whole.db", policy, "it", small, large)
    stays = ["large"] * 3 if lower else ["large"]
    assert [each.writer for each in whole.steps] == [*stays, "small", "small"]
    broken = EngineProtocol("not understood", engine="large")
    cut = await escalating(tmp_path / "cut.db", policy, "it", small[:1], [large[0], broken] if lower else large[:1])
    assert (cut.status, len(cut.steps)) == (Status.FAILED, 1)
    rest = await escalating(tmp_path / "cut.db", policy, "it", small[1:], large[1:])
    assert [(each.writer, each.text) for each in rest.steps] == [(each.writer, each.text) for each in whole.steps]


async def test_others_pay_for_no_logprobs_of_what_is_rewritten() -> None:
    engines = {"small": Scripted(["a\n\n", "\\boxed{1}"]), "large": Scripted(["b\n\n", "\\boxed{1}"])}
    policy = orc.routers.Hybrid(keep="entropy_mean < 0.1")
    async with orc.Pipeline(engines, policy, db=":memory:") as pipeline:
        await pipeline.arun("?")
    assert {(each.purpose, each.logprobs) for each in engines["large"].requests} == {("rewrite", 0)}


@pytest.mark.parametrize("p", [0.999, 0.5])
async def test_its_prior_is_its_own_decision(p: float) -> None:
    kept, of = history(), draft([token(p, 1 - p)] * 8)
    decision = await Entropy().after_draft(kept, of, ASK)
    assert Entropy().prior(kept, of) == float(decision.action == "rewrite") == float(p == 0.5)


async def test_hysteresis_prevents_flip_flop() -> None:
    bits = [0.2, 0.6, 0.4, 0.4, 0.6, 0.4, 0.4, 0.1, 0.1]
    flips = await run(Entropy(threshold=0.5, window=4), bits)
    steady = await run(Entropy(threshold=0.5, window=4, dwell=2, lower=0.3), bits)
    assert steady == ["small", *["large"] * 7, "small"]

    def switches(writers: list[str]) -> int:
        return sum(one != other for one, other in pairwise(writers))

    assert switches(flips) > switches(steady) == 2


@pytest.mark.parametrize("dwell", [0, 1, 2, 3, 4])
async def test_no_two_switches_are_closer_than_the_dwell(dwell: int) -> None:
    writers = await run(Entropy(threshold=0.5, dwell=dwell), [0.9, 0.1, 0.9, 0.9, 0.1] * 6)
    changes = [place for place in range(1, len(writers)) if writers[place] != writers[place - 1]]
    assert all(later - earlier >= max(dwell, 1) for earlier, later in pairwise(changes))
    assert changes


async def test_of_three_engines_it_goes_one_up_or_down_at_a_time() -> None:
    policy = Entropy(threshold=0.5, dwell=2)
    writers = await run(policy, [0.9, 0.9, 0.9, 0.9, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1], THREE)
    places = [THREE.index(each) for each in writers]
    assert all(abs(one - other) <= 1 for one, other in pairwise(places))
    assert max(places) == 2
    assert places[-1] == 0


async def test_what_is_shown_is_a_lower_bound_and_the_upper_one_is_read_on_request() -> None:
    cut = draft([token(0.6, 0.2)] * 8)  # a fifth of the probability is not shown
    lower = await Entropy(threshold=5).after_draft(history(), cut, ASK)
    upper = await Entropy(threshold=5, bound="upper", vocabulary=1000).after_draft(history(), cut, ASK)
    full = -0.6 * log2(0.6) - 0.4 * log2(0.2)  # the rest as one token: the least it can be
    [low], [high] = lower.signals, upper.signals
    assert low.raw == pytest.approx(full)
    assert (low.unit, high.unit) == ("bits, lower bound", "bits, upper bound")
    assert high.raw is not None and low.raw is not None and high.raw > low.raw + 1


async def test_nats_are_bits_times_the_logarithm_of_2() -> None:
    bits, nats = [
        (await Entropy(unit=unit, threshold=5).after_draft(history(), draft([EVEN] * 8), ASK)).signals[0].raw
        for unit in ("bits", "nats")
    ]
    assert (bits, nats) == (pytest.approx(1.0), pytest.approx(0.6931, abs=1e-4))


@pytest.mark.parametrize(("then", "action"), [("reject", "rewrite"), ("accept", "keep"), ("stop", "stop")])
@pytest.mark.parametrize("tokens", [[], [TokenLogprob(1, "a", -0.1, (TokenLogprob(1, "a", nan),))]])
async def test_a_draft_without_a_reading_gets_what_is_configured(then: Any, action: str, tokens: Any) -> None:
    decision = await Entropy(on_unreadable=then).after_draft(history(), draft(tokens), ASK)
    assert (decision.action, decision.reason[:25]) == (action, "no reading of uncertainty")


def test_control_goes_back_where_there_is_nothing_to_read() -> None:
    rewritten = step(writer="large")
    plan = Entropy().before_step(history([rewritten]))
    assert plan == Plan(engine="small", logprobs=5, reason="nothing to read: back from large")


def test_it_needs_logprobs_unless_one_engine_writes_everything() -> None:
    assert [Entropy(threshold=tau).needs.logprobs for tau in (0.0, 0.5, inf)] == [0, 5, 0]


def test_what_is_due_depends_on_the_kept_steps_alone() -> None:
    steps = [draft([EVEN] * 4, "large", 0), draft([EVEN] * 4, "large", 1)]
    first: History = history(steps)
    assert Entropy().before_step(first) == Entropy().before_step(history(steps))


@pytest.mark.parametrize(
    "options",
    [
        {"threshold": -1},
        {"threshold": nan},
        {"lower": 0.6},
        {"lower": nan},
        {"window": 0},
        {"dwell": -1},
        {"top": 0},
        {"unit": "hartleys"},
        {"bound": "upper"},
        {"vocabulary": 1},
        {"on_unreadable": "guess"},
    ],
)
def test_options_out_of_range_are_refused_by_name(options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=f"entropy: {next(iter(options))}"):
        Entropy(**options)
