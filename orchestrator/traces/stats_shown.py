"""Statistics of runs in words and numbers, 80 columns wide; texts of strangers are made harmless."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING

from orchestrator.visible import first_words

if TYPE_CHECKING:
    from orchestrator.traces.stats import Reason, Spending, Stats, Writing

__all__ = ["lines", "side_by_side"]

_WIDTH = 80
_REASONS = 10
_UNITS = {"seconds": "seconds", "output_tokens": "output tokens", "cost": "cost", "steps": "steps"}


def lines(found: Stats, reasons: int = _REASONS) -> Iterator[str]:
    """Yield it line by line, with so many of the reasons."""
    yield from wrap(_counts(found), _WIDTH, subsequent_indent=" " * 9)
    if not found.ended:
        return
    share = f"{found.large_share:.0%} of {found.output_tokens:,} output tokens"
    yield f"written  the largest engine produced {share}"
    yield from ("", *_per_run(found))
    if found.writing:
        yield from ("", *_writing(found.writing))
    if found.reasons:
        yield from ("", *_reasons(found.reasons, reasons))
    if found.spending:
        yield from ("", *_spending(found.spending))


def side_by_side(found: Mapping[str, Stats]) -> Iterator[str]:
    """Yield a line for each policy: its runs, and what half of them and 90% do not exceed."""
    yield f"{'':<18}{'runs':>9}{'large':>7}{'tokens p50':>12}{'p90':>9}{'s p50':>8}{'p90':>8}{'cost p50':>9}"
    for name, each in found.items():
        begin = f"{first_words(name, 18) or '-':<18}{each.ended:>9,}{each.large_share:>7.0%}"
        if not each.ended:
            yield f"{begin}  none has ended"
            continue
        tokens, seconds, cost = (each.per_run[measure] for measure in ("output_tokens", "seconds", "cost"))
        spent = f"{cost.p50:>9.4g}" if each.cost else f"{'-':>9}"
        yield f"{begin}{tokens.p50:>12,.0f}{tokens.p90:>9,.0f}{seconds.p50:>8.1f}{seconds.p90:>8.1f}{spent}"


def _counts(found: Stats) -> str:
    ended = ", ".join(f"{number:,} {status}" for status, number in found.statuses.items())
    apart = found.runs - found.ended
    told = f"; {apart:,} without an outcome, in nothing below" if apart else ""
    return f"runs     {found.runs:,}{': ' if ended else ''}{ended}{told}"


def _per_run(found: Stats) -> Iterator[str]:
    yield f"{'a run':<14} {'p50':>10} {'p90':>10} {'p99':>10}"
    for name, values in found.per_run.items():
        if name != "cost" or found.cost:
            yield f"{_UNITS[name]:<14} " + " ".join(f"{_number(value):>10}" for value in values)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.2f}" if value >= 1 else f"{value:.3g}"


def _writing(writing: Sequence[Writing]) -> Iterator[str]:
    yield f"{'kept':<14} {'steps':>10} {'by large':>10} {'tokens':>14} {'by large':>10}"
    for each in writing:
        by_large = each.large_steps / each.steps
        steps, tokens = f"{each.steps:>10,} {by_large:>10.0%}", f"{each.tokens:>14,} {each.large_share:>10.0%}"
        yield f"{each.kind:<14} {steps} {tokens}"


def _reasons(reasons: Sequence[Reason], number: int) -> Iterator[str]:
    yield f"{'times':>9}  {'decision':<9} {'by':<20} why"
    for each in reasons[:number]:
        why = first_words(each.reason, _WIDTH - 42) or "-"
        yield f"{each.times:>9,}  {first_words(each.action, 9):<9} {first_words(each.policy, 20):<20} {why}"
    if len(reasons) > number:
        rest = sum(each.times for each in reasons[number:])
        yield f"{rest:>9,}  for {len(reasons) - number:,} other reasons: --json has all"


def _spending(spending: Sequence[Spending]) -> Iterator[str]:
    has_cost = any(each.cost for each in spending)
    cost = f" {'cost':>10}" if has_cost else ""
    yield f"{'engine':<8} {'purpose':<8} {'fate':<11} {'calls':>10} {'prompt':>13} {'output':>12}{cost}"
    for each in spending:
        yield _spent(each.engine, each.purpose, each.fate, [each], has_cost)
    for engine in dict.fromkeys(each.engine for each in spending):
        yield _spent(engine, "all", "", [each for each in spending if each.engine == engine], has_cost)
    yield _spent("all", "", "", spending, has_cost)


def _spent(engine: str, purpose: str, fate: str, rows: Sequence[Spending], has_cost: bool) -> str:
    calls, prompt, output = (
        sum(getattr(each, name) for each in rows) for name in ("calls", "prompt_tokens", "output_tokens")
    )
    names = f"{first_words(engine, 8):<8} {first_words(purpose, 8):<8} {first_words(fate, 11):<11}"
    cost = f" {_number(sum(each.cost for each in rows)):>10}" if has_cost else ""
    return f"{names} {calls:>10,} {prompt:>13,} {output:>12,}{cost}"
