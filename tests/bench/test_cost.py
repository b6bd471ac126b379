"""What a run used and what that comes to: a trace made by hand, in closed form."""

from __future__ import annotations

import pytest

from orchestrator.bench.cost import Use, cost, flops, modelled_s, pte, uses_of
from orchestrator.bench.profiles import EngineHardware, Hardware, Prices
from orchestrator.ledger import Price
from orchestrator.memory.base import CallIntent, CallResult, CallRow

MACHINE = Hardware(
    name="by_hand",
    call_ms=100,
    batch=1,
    intensity=50.0,
    engines={
        "small": EngineHardware(decode_ms=10, prefill_per_s=1000, params=1e3, layers=1, width=10),
        "large": EngineHardware(decode_ms=40, prefill_per_s=200, params=4e3, layers=2, width=20),
    },
)
PRICES = Prices(
    name="by_hand",
    engines={"small": Price(prompt=1, cached=0.1, output=2), "large": Price(prompt=10, cached=1, output=20)},
)


def call(
    engine: str, prompt: int, output: int, cached: int | None = 0, seconds: float = 1.0, max_tokens: int = 99
) -> CallRow:
    intent = CallIntent(1, 0, 0, 0, "draft", engine, 0, b"", prompt, max_tokens, 0.0)
    result = CallResult(1, 0, "done", "", b"", "", "", prompt, cached, output, 0, seconds, None, "", None)
    return CallRow(intent, result)


def interrupted(engine: str, prompt: int, max_tokens: int) -> CallRow:
    return CallRow(call(engine, prompt, 0, max_tokens=max_tokens).intent, None)


DRAFT, NEXT = call("small", 3, 2, cached=2), call("small", 10, 4, cached=6)
VERDICT, REWRITE = call("large", 14, 1, cached=9, seconds=0.5), call("large", 10, 5, cached=8)
TRACE = [DRAFT, NEXT, VERDICT, REWRITE]


def test_a_trace_by_hand_is_summed_by_engine() -> None:
    uses = uses_of(TRACE, ("small", "large"))
    assert uses["small"] == Use(
        calls=2, decode=6, uncached=3 + 5, cached=5, context=(3 + 4) + (10 + 11 + 12 + 13), seconds=2, longest=14
    )
    assert uses["large"] == Use(
        calls=2, decode=6, uncached=14 + 2, cached=8, context=14 + (10 + 11 + 12 + 13 + 14), seconds=1.5, longest=15
    )


def test_what_another_run_left_in_the_cache_is_no_saving() -> None:
    """Policies run one after the other: with it, large-only would pay for prompts that later ones get for nothing."""
    cold, warm = (uses_of([call("large", 100, 5, cached=cached), REWRITE], ["large"]) for cached in (0, 96))
    assert warm == cold
    assert warm["large"].cached == 8


def test_an_engine_without_calls_has_zeros() -> None:
    assert uses_of([DRAFT], ("small", "large"))["large"] == Use()


def test_modelled_seconds_in_closed_form() -> None:
    small = 2 * 0.1 + 8 / 1000 + 6 * 0.010
    large = 2 * 0.1 + 16 / 200 + 6 * 0.040
    assert modelled_s(uses_of(TRACE, MACHINE.engines), MACHINE) == pytest.approx(small + large)


def test_flops_have_prefill_in_them() -> None:
    assert flops(uses_of(TRACE, MACHINE.engines), MACHINE) == 2 * 1e3 * (8 + 6) + 2 * 4e3 * (16 + 6)


def test_prefill_token_equivalents_in_closed_form() -> None:
    gamma_small, gamma_large = 2 * 1 * 10 * 50 / 1e3, 2 * 2 * 20 * 50 / 4e3
    small = (8 + gamma_small * 53) * 1e3 / 4e3
    large = 16 + gamma_large * 74
    assert pte(uses_of(TRACE, MACHINE.engines), MACHINE) == pytest.approx(small + large)


def test_a_price_in_closed_form() -> None:
    small = 8 * 1 + 5 * 0.1 + 6 * 2
    large = 16 * 10 + 8 * 1 + 6 * 20
    assert cost(uses_of(TRACE, MACHINE.engines), PRICES) == pytest.approx(small + large)


def test_a_verdict_costs_large_flops_though_it_decodes_one_token() -> None:
    with_verdict, without = uses_of(TRACE[:3], MACHINE.engines), uses_of(TRACE[:2], MACHINE.engines)
    assert flops(with_verdict, MACHINE) - flops(without, MACHINE) == 2 * 4e3 * 15


def test_every_figure_is_the_sum_over_the_calls() -> None:
    trace = [call("large", 14, 1), interrupted("large", 20, 7), call("small", 10, 4), call("small", 3, 2, cached=None)]
    whole = uses_of(trace, MACHINE.engines)
    parts = [uses_of([each], MACHINE.engines) for each in trace]
    for figure in (modelled_s, flops, pte):
        assert figure(whole, MACHINE) == pytest.approx(sum(figure(part, MACHINE) for part in parts))
    assert cost(whole, PRICES) == pytest.approx(sum(cost(part, PRICES) for part in parts))
    summed = {name: Use() for name in MACHINE.engines}
    for part in parts:
        summed = {name: summed[name].plus(part[name]) for name in summed}
    assert summed == whole


def test_a_call_whose_process_died_is_charged_what_it_had_reserved() -> None:
    use = uses_of([interrupted("large", 20, 7)], ("large",))["large"]
    assert use == Use(calls=1, decode=7, uncached=20, unreported=1, context=7 * 20 + 21, longest=27)


def test_an_unreported_cache_counts_as_uncached_and_is_flagged() -> None:
    silent = uses_of([call("small", 10, 4, cached=None)], ("small",))["small"]
    none_cached = uses_of([call("small", 10, 4, cached=0)], ("small",))["small"]
    assert (silent.uncached, silent.cached, silent.unreported) == (10, 0, 1)
    assert (none_cached.uncached, none_cached.cached, none_cached.unreported) == (10, 0, 0)


def test_a_use_is_plain_data_and_back() -> None:
    use = uses_of(TRACE, ("small", "large"))["large"]
    assert Use(**use.to_json()) == use


def test_what_the_servers_report_of_their_calls_is_summed() -> None:
    def counted(row: CallRow, **fields: float) -> CallRow:
        assert row.result is not None
        return CallRow(row.intent, row.result._replace(**fields))

    reported = counted(VERDICT, queue_s=0.25, drafts=2, drafted=9, accepted=4)
    streamed = counted(REWRITE, queue_s=0.5, first_token_s=0.125, drafts=1, drafted=5, accepted=5)
    use = uses_of([reported, streamed, call("large", 14, 1)], ["large"])["large"]
    assert (use.queue_s, use.queued, use.first_token_s, use.streamed) == (0.75, 2, 0.125, 1)
    assert (use.drafts, use.drafted, use.accepted) == (3, 14, 9)
