"""Statistics of runs in words and numbers, at most 80 columns wide; texts of strangers are made harmless.

Where there is less room, the columns of a table stand closer together, and those that matter least are left out. Below
40 columns lines go on in the next one.
"""

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


def lines(found: Stats, reasons: int = _REASONS, width: int = _WIDTH) -> Iterator[str]:
    """Yield it line by line, with so many of the reasons."""
    room = min(width, _WIDTH)
    yield from wrap(_counts(found), room, subsequent_indent=" " * 9)
    if not found.ended:
        return
    share = f"{found.large_share:.0%} of {found.output_tokens:,} output tokens"
    yield from wrap(f"written  the largest engine produced {share}", room, subsequent_indent=" " * 9)
    yield from ("", *_per_run(found, room))
    if found.writing:
        yield from ("", *_writing(found.writing, room))
    if found.reasons:
        yield from ("", *_reasons(found.reasons, reasons, room))
    if found.spending:
        yield from ("", *_spending(found.spending, room))


def side_by_side(found: Mapping[str, Stats], width: int = _WIDTH) -> Iterator[str]:
    """Yield a line for each policy: its runs, and what half of them and 90% do not exceed.

    Left out first are 90% of the seconds, then 90% of the tokens, the seconds, the share of the largest engine,
    and the cost.
    """
    rows = [["", "runs", "large", "tokens p50", "p90", "s p50", "p90", "cost p50"]]
    for name, each in found.items():
        rows.append([first_words(name, 18) or "-", f"{each.ended:,}", f"{each.large_share:.0%}"])
        if not each.ended:
            rows[-1].append("none has ended")
            continue
        tokens, seconds, cost = (each.per_run[measure] for measure in ("output_tokens", "seconds", "cost"))
        rows[-1] += [f"{tokens.p50:,.0f}", f"{tokens.p90:,.0f}", f"{seconds.p50:.1f}", f"{seconds.p90:.1f}"]
        rows[-1].append(f"{cost.p50:.4g}" if each.cost else "-")
    yield from _table(rows, ("<18", ">8", ">6", ">11", ">8", ">7", ">7", ">8"), (6, 4, 5, 2, 7), min(width, _WIDTH))


def _table(rows: Sequence[Sequence[str]], columns: Sequence[str], least: Sequence[int], room: int) -> Iterator[str]:
    """Yield a line for each row, its cells laid out as `columns` say: `<` or `>`, and how wide.

    Where that has no room, columns are as wide as what is in them, and those in `least` are left out, one by one.
    """
    shown = dict(enumerate(columns))
    if _width(shown) > room:
        for place, column in shown.items():
            shown[place] = column[0] + str(max(len(row[place]) for row in rows if place < len(row)))
    for place in least:
        if _width(shown) <= room:
            break
        del shown[place]
    for row in rows:
        line = " ".join(f"{row[place]:{column}}" for place, column in shown.items() if place < len(row))
        yield from [line] if len(line) <= room else wrap(line, room, subsequent_indent="  ")


def _width(shown: Mapping[int, str]) -> int:
    return sum(int(column[1:]) + 1 for column in shown.values()) - 1


def _counts(found: Stats) -> str:
    ended = ", ".join(f"{number:,} {status}" for status, number in found.statuses.items())
    apart = found.runs - found.ended
    told = f"; {apart:,} without an outcome, in nothing below" if apart else ""
    return f"runs     {found.runs:,}{': ' if ended else ''}{ended}{told}"


def _per_run(found: Stats, room: int) -> Iterator[str]:
    rows = [["a run", "p50", "p90", "p99"]]
    for name, values in found.per_run.items():
        if name != "cost" or found.cost:
            rows.append([_UNITS[name], *(_number(value) for value in values)])
    yield from _table(rows, ("<14", ">10", ">10", ">10"), (3,), room)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.2f}" if value >= 1 else f"{value:.3g}"


def _writing(writing: Sequence[Writing], room: int) -> Iterator[str]:
    rows = [["kept", "steps", "by large", "tokens", "by large"]]
    for each in writing:
        by_large = each.large_steps / each.steps
        rows.append(
            [each.kind, f"{each.steps:,}", f"{by_large:.0%}", f"{each.tokens:,}", f"{each.large_share:.0%}"],
        )
    yield from _table(rows, ("<14", ">10", ">10", ">14", ">10"), (2, 1), room)


def _reasons(reasons: Sequence[Reason], number: int, room: int) -> Iterator[str]:
    has_policy = room >= _WIDTH - 20
    rows = [["times", " decision", *(["by"] if has_policy else []), "why"]]
    columns = [">9", "<10", *(["<20"] if has_policy else []), "<1"]
    before = sum(int(column[1:]) + 1 for column in columns[:-1])
    for each in reasons[:number]:
        policy = [first_words(each.policy, 20)] if has_policy else []
        why = first_words(each.reason, max(room - before, 9)) or "-"
        rows.append([f"{each.times:,}", f" {first_words(each.action, 9)}", *policy, why])
    yield from _table(rows, columns, (), room)
    if len(reasons) > number:
        rest = sum(each.times for each in reasons[number:])
        line = f"{rest:>9,}  for {len(reasons) - number:,} other reasons: --json has all"
        yield from wrap(line, room, subsequent_indent=" " * 11)


def _spending(spending: Sequence[Spending], room: int) -> Iterator[str]:
    has_cost = any(each.cost for each in spending)
    rows = [["engine", "purpose", "fate", "calls", "prompt", "output", *(["cost"] if has_cost else [])]]
    for each in spending:
        rows.append(_spent(each.engine, each.purpose, each.fate, [each], has_cost))
    for engine in dict.fromkeys(each.engine for each in spending):
        rows.append(_spent(engine, "all", "", [each for each in spending if each.engine == engine], has_cost))
    rows.append(_spent("all", "", "", spending, has_cost))
    columns = ["<8", "<8", "<11", ">10", ">13", ">12", ">10"]
    yield from _table(rows, columns[: len(rows[0])], (3, 4), room)


def _spent(engine: str, purpose: str, fate: str, rows: Sequence[Spending], has_cost: bool) -> list[str]:
    calls, prompt, output = (
        sum(getattr(each, name) for each in rows) for name in ("calls", "prompt_tokens", "output_tokens")
    )
    names = [first_words(engine, 8), first_words(purpose, 8), first_words(fate, 11)]
    cost = [_number(sum(each.cost for each in rows))] if has_cost else []
    return [*names, f"{calls:,}", f"{prompt:,}", f"{output:,}", *cost]
