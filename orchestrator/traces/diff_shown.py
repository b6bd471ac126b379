"""Two runs side by side in words and numbers, 80 columns wide; texts of strangers are made harmless."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from orchestrator.visible import first_words

if TYPE_CHECKING:
    from orchestrator.memory.base import DecisionRow
    from orchestrator.traces.diff import Deciding, Diff, Spending

__all__ = ["lines"]

_WORDS = 60
_LISTED = 20


def lines(found: Diff) -> Iterator[str]:
    """Yield it line by line."""
    yield f"A        {found.ours}  {found.statuses[0]}"
    yield f"B        {found.theirs}  {found.statuses[1]}"
    yield f"task     {'the same' if found.is_same_task else 'another one: texts part at once, costs do not compare'}"
    yield f"settings {'the same' if not found.settings else 'other: ' + ', '.join(found.settings)}"
    if found.first is None:
        yield "parted   nowhere: texts, writers and decisions are alike"
    else:
        yield f"parted   at step {found.first.step}, by {found.first.what}"
        yield f"      A  {first_words(found.first.ours, _WORDS) or '-'}"
        yield f"      B  {first_words(found.first.theirs, _WORDS) or '-'}"
    for name, answer in zip("AB", found.answers, strict=True):
        yield f"answer {name} {'none' if answer is None else first_words(answer, _WORDS)}"
    yield from _decisions(found.decisions)
    yield from _spending(found.spending)
    if "unfinished" in found.statuses:
        yield "of a run that has not ended, what it used so far and no costs"


def _decisions(decisions: tuple[Deciding, ...]) -> Iterator[str]:
    yield ""
    yield f"{len(decisions)} decisions differ, {sum(each.is_other for each in decisions)} of them in what was done"
    for each in decisions[:_LISTED]:
        mark = "*" if each.is_other else " "
        yield f"{mark}{each.step:>4} {each.door:<12} {_said(each.ours):<29} {_said(each.theirs)}".rstrip()
    if len(decisions) > _LISTED:
        yield f"     ... and {len(decisions) - _LISTED} more: --json has all"


def _said(row: DecisionRow | None) -> str:
    if row is None:
        return "-"
    words = first_words(f"{row.action} {row.engine}".strip(), 16)
    if row.threshold is None or row.margin is None:
        return words
    return f"{words} {row.threshold + row.margin:.3g} vs {row.threshold:.3g}"


def _spending(spending: tuple[Spending, ...]) -> Iterator[str]:
    has_cost = any(any(each.cost) for each in spending)
    yield ""
    yield f"{'engine':<8} {'purpose':<11} {'output A':>9} {'B':>9} {'B - A':>9}" + (
        "     cost B - A" if has_cost else ""
    )
    for each in spending:
        ours, theirs = each.output_tokens
        names = f"{first_words(each.engine, 8):<8} {first_words(each.purpose, 11):<11}"
        cost = f" {each.cost[1] - each.cost[0]:>+14.4g}" if has_cost else ""
        yield f"{names} {ours:>9} {theirs:>9} {theirs - ours:>+9}{cost}"
    if spending:
        ours, theirs = (sum(each.output_tokens[side] for each in spending) for side in (0, 1))
        cost = f" {sum(each.cost[1] - each.cost[0] for each in spending):>+14.4g}" if has_cost else ""
        yield f"{'all':<20} {ours:>9} {theirs:>9} {theirs - ours:>+9}{cost}"
