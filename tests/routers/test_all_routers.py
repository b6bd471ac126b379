"""What holds for every router: it costs next to nothing, and at its ends it is one engine alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from statistics import median
from time import perf_counter
from typing import Any

import pytest
from learned import known
from seen import Table, history, step, token

import orchestrator as orc
from orchestrator.decisions import StopRun
from orchestrator.engines.base import Request
from orchestrator.engines.scripted import Scripted
from orchestrator.routers import (
    ROUTERS,
    RSD,
    AnswerGate,
    Entropy,
    Hybrid,
    LargeOnly,
    Random,
    SmallOnly,
    SpecReason,
    find,
)
from orchestrator.routers.features import NAMES
from orchestrator.routers.forecast import Forecast, Logistic
from orchestrator.types import History, Step, TokenLogprob

BAR_MS = 0.3
"""Own work per step; tests allow a busy machine thrice as much of the median."""
ALL = Logistic(means=(0.0,) * len(NAMES), scales=(1.0,) * len(NAMES), weights=(0.1,) * len(NAMES), bias=0.0)
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "arbitrage": [{"learnt": known(features=NAMES, forecast=Forecast(shape=ALL))}],
    "entropy": [{}, {"dwell": 3, "lower": 0.1, "bound": "upper", "vocabulary": 1000}],
    "answer-gate": [{}, {"gate": "agreement"}, {"gate": "forced"}],
    "hybrid": [
        {},
        {"keep": "judge-average >= 7 and entropy_mean < 0.4 or prm > 0.9"},
        {"weights": {"prm": 2.0, "margin_min": 1.0, "judge": 0.1}, "threshold": 2.0},
    ],
    "speculative-thinking": [{}, {"choose_large": False}, {"reasoning": False}],
}
"""Settings to look at besides the defaults."""
SETTINGS = [
    pytest.param(name, options, id=f"{name} {options or ''}".strip())
    for name in ROUTERS
    for options in OPTIONS.get(name, [{}])
]
TOKENS = [token(0.9, 0.05, 0.03, 0.01, 0.01, text=each) for each in "so it is wait \\boxed{1}"]
SCORES = {"judge": 6.0, "judge-average": 6.0, "prm": 0.5, "verifier": 1.0}


def kept(num_steps: int) -> History:
    """Return a history as a router of two engines might have it."""
    return history(
        [
            step("wait, so it is 4\n\n", "large" if index % 3 else "small", index=index, logprobs=TOKENS)
            for index in range(num_steps)
        ]
    )


def long(num_tokens: int) -> tuple[str, list[TokenLogprob]]:
    """Return a step of so many tokens with numbers in it, its answer last, and its logprobs."""
    words = [f"so {place} and " if place % 9 == 0 else "it is " for place in range(num_tokens - 1)]
    texts = [*words, "\\boxed{1}"]
    return "".join(texts), [token(0.9, 0.05, 0.03, 0.01, 0.01, text=each) for each in texts]


async def own_work_ms(
    router: Any,
    past: History,
    ask: Table,
    of: tuple[str, list[TokenLogprob]] = ("wait \\boxed{1}", TOKENS),
    times: int = 60,
    of_all: Callable[[list[float]], float] = median,
) -> float:
    """Return the median time of both doors together, or another one `of_all`."""
    taken = []
    for _ in range(times):
        started = perf_counter()
        plan = router.before_step(past) if hasattr(router, "before_step") else None
        if hasattr(router, "after_draft") and not isinstance(plan, StopRun):
            text, logprobs = of
            draft = step(text, plan.engine if plan else "small", index=len(past.steps), logprobs=logprobs)
            await router.after_draft(past, draft, ask)
        taken.append(perf_counter() - started)
    return 1e3 * of_all(taken)


@pytest.mark.parametrize("num_steps", [0, 30, 300])
@pytest.mark.parametrize(("name", "options"), SETTINGS)
async def test_a_router_s_own_work_is_a_fraction_of_a_millisecond_a_step(
    name: str, options: dict[str, Any], num_steps: int
) -> None:
    beside = {each: [step("\\boxed{1}", each, logprobs=TOKENS)] * 5 for each in ("small", "large")}
    ask = Table(SCORES, beside, answers=["1"] * 4)
    assert await own_work_ms(find(name)(**options), kept(num_steps), ask) <= 3 * BAR_MS


@pytest.mark.parametrize(("name", "options"), SETTINGS)
async def test_its_own_work_is_a_fraction_of_a_millisecond_at_150_tokens_and_grows_no_faster_than_a_step_beyond(
    name: str, options: dict[str, Any]
) -> None:
    def ask() -> Table:
        return Table(SCORES, {each: [step("\\boxed{1}", each)] * 5 for each in ("small", "large")}, answers=["1"] * 4)

    router = find(name)(**options)
    assert await own_work_ms(router, kept(3), ask(), long(150)) <= 3 * BAR_MS
    # The shortest: what grows is work, and what else the machine does is in every longer one. 8 x the tokens are more
    # than a cache holds, so that a plain pass was seen to take 25 x as long; what is quadratic would take 64 x.
    at_500 = await own_work_ms(router, kept(3), ask(), long(500), 15, min)
    assert await own_work_ms(router, kept(3), ask(), long(4000), 7, min) <= 5 * max(8 * at_500, BAR_MS)


STEPS = 5


def writer(name: str) -> Any:
    """Write numbered steps, then an answer; rate everything 5."""

    def script(request: Request) -> str:
        assert request.prompt is not None
        if request.purpose == "judge":
            return "5"
        written = bytes(request.prompt.ids()).decode().count("step of")
        rest = [f"{name}: a step of it, number {number}\n\n" for number in range(written, STEPS)]
        return "".join([*rest, f"{name} says \\boxed{{{name}}}"])

    return script


async def texts(router: Any) -> str:
    """Return everything that a run wrote. An engine goes on from wherever the prompt ends, to the end or a stop."""
    engines = {name: Scripted(writer(name)) for name in ("small", "large")}
    result = await orc.Pipeline(engines, router, db=":memory:").arun("q")
    return "".join(each.text for each in result.steps)


ENDS: Sequence[tuple[Any, Any]] = [
    (Random(large_share=0), Random(large_share=1)),
    (SpecReason(threshold=0), SpecReason(threshold=10)),
    (RSD(threshold=0), RSD(threshold=1.01)),
    (Entropy(threshold=inf), Entropy(threshold=0)),
    (AnswerGate(threshold=0), AnswerGate(threshold=1.01)),
    (Hybrid(keep="judge >= 0"), Hybrid(keep="judge > 9")),
    (Hybrid(keep="num_tokens >= 0"), Hybrid(keep="not num_tokens >= 0")),
]


@pytest.mark.parametrize(("small", "large"), ENDS, ids=lambda router: type(router).__name__)
async def test_at_its_ends_a_router_writes_what_one_engine_alone_would(small: Any, large: Any) -> None:
    assert await texts(small) == await texts(SmallOnly())
    assert await texts(large) == await texts(LargeOnly())


@pytest.mark.parametrize(("name", "options"), SETTINGS)
async def test_two_routers_of_the_same_settings_decide_the_same(name: str, options: dict[str, Any]) -> None:
    past: History = kept(4)
    draft: Step = step("wait \\boxed{1}", logprobs=TOKENS, index=4)
    found = []
    for router in (find(name)(**options), find(name)(**options)):
        beside = {each: [step("\\boxed{1}", each)] * 5 for each in ("small", "large")}
        ask = Table(SCORES, beside, answers=["1"])
        plan = router.before_step(past) if hasattr(router, "before_step") else None
        found.append((plan, await router.after_draft(past, draft, ask) if hasattr(router, "after_draft") else None))
    assert found[0] == found[1]
