"""The policy that writes every step twice: whom it asks, and what the run goes on with."""

from __future__ import annotations

from typing import Any

import pytest
from learned import draft, history

from orchestrator.decisions import Plan
from orchestrator.errors import SignalUnavailable, UserError
from orchestrator.routers.collect import Collect
from orchestrator.types import Signal, Step


class Both:
    """Gives alternatives of these texts, and scores texts by a table; what is not in it has no score."""

    def __init__(self, texts: list[str], scores: dict[str, float]) -> None:
        self.texts, self.scores = texts, scores
        self.asked: list[tuple[str, str]] = []

    async def alternative(self, engine: str, of: Step, *, sample: int = 0) -> Step:
        assert engine == "large"
        return draft(writer=engine, attempt=100 + sample, text=self.texts[sample])

    async def score(self, name: str, of: Step) -> Any:
        self.asked.append((name, of.text))
        if of.text not in self.scores:
            raise SignalUnavailable(name, "no idea")
        return Signal(name=name, value=self.scores[of.text])


OURS = draft().text


@pytest.mark.parametrize(
    ("texts", "scores", "action"),
    [
        (["b"], {OURS: 0.5, "b": 0.6}, "rewrite"),
        (["b"], {OURS: 0.5, "b": 0.5}, "keep"),
        (["b"], {OURS: 0.5, "b": 0.4}, "keep"),
        ([OURS], {OURS: 0.5}, "keep"),
        (["b"], {OURS: 0.5}, "keep"),
        (["b"], {"b": 0.9}, "keep"),
        (["b", "c"], {OURS: 0.5, "b": 0.4, "c": 0.9}, "keep"),  # a run goes on with the first sample, or with the draft
        ([OURS, "c"], {OURS: 0.5, "c": 0.9}, "keep"),
        (["b", OURS], {OURS: 0.5, "b": 0.9}, "rewrite"),
    ],
)
async def test_a_run_goes_on_with_the_higher_score_and_ties_go_to_the_draft(
    texts: list[str], scores: dict[str, float], action: str
) -> None:
    decision = await Collect(samples=len(texts)).after_draft(history(), draft(), Both(texts, scores))
    assert decision.action == action


async def test_every_text_is_scored_once_by_each_scorer() -> None:
    ask = Both(["b", OURS], {OURS: 0.5, "b": 0.9})
    await Collect(samples=2, also=("verifier",)).after_draft(history(), draft(), ask)
    assert sorted(ask.asked) == sorted([(name, text) for name in ("prm", "verifier") for text in (OURS, "b")])


async def test_mixed_draws_whatever_the_scores_and_draws_the_same_again() -> None:
    async def actions(seed: int) -> list[str]:
        found = []
        for steps in range(30):
            before = history(writers=["small"] * steps)
            policy = Collect(go_on="mixed", seed=seed)
            found.append((await policy.after_draft(before, draft(), Both(["b"], {OURS: 0.9, "b": 0.1}))).action)
        return found

    assert await actions(0) == await actions(0)
    assert len({tuple(await actions(seed)) for seed in range(8)}) == 8
    shares = sorted([(await actions(seed)).count("rewrite") for seed in range(12)])
    assert shares[0] < 8 and shares[-1] > 22  # a share of its own for each run


async def test_a_step_that_the_large_engine_wrote_in_a_failing_ones_place_stands() -> None:
    decision = await Collect().after_draft(history(), draft(writer="large"), Both([], {}))
    assert decision.action == "keep"


def test_it_needs_whoever_scores_and_the_logprobs() -> None:
    policy = Collect(also=("verifier",), logprobs=3)
    assert (policy.needs.scorers, policy.needs.logprobs, policy.needs.engines) == (("prm", "verifier"), 3, 2)
    assert policy.before_step(history()) == Plan(engine="small", logprobs=3)


@pytest.mark.parametrize(
    "options", [{"samples": 0}, {"logprobs": -1}, {"go_on": "worse"}, {"scorer": "prm", "also": ("prm",)}]
)
def test_options_that_mean_nothing_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(iter(options))):
        Collect(**options)
