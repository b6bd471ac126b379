"""A replay in words and numbers: of one run, of many, and of an option's values; texts are made harmless."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from json import loads
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from orchestrator.runtime.hidden import dropped
from orchestrator.runtime.tasks import is_correct
from orchestrator.traces.prices import costs_of
from orchestrator.visible import first_words

if TYPE_CHECKING:
    from orchestrator.traces.many import Together
    from orchestrator.traces.replay import Parted, Replayed
    from orchestrator.traces.what_if import OneStep

__all__ = ["caveats", "lines", "rows_of", "summary", "table"]

_WORDS = 68
_REASONS = 5
_STEPS = 8


def lines(made: Replayed) -> Iterator[str]:
    """Yield what there is to say about the replay of one run."""
    yield f"run      {made.run}, decided by {first_words(made.then, _WORDS)}"
    yield f"now      {first_words(made.policy, _WORDS)}"
    yield f"alike    {len(made.alike)} decisions"
    if made.parted is None:
        is_whole = "text, answer and decisions are as they were" if made.is_known else "as far as what is known goes"
        yield f"parted   nowhere: {is_whole}"
    else:
        yield from _parted("parted", made.parted)
        yield from _path(made)
    if made.lacks is not None:
        yield f"left     {made.left} decisions that the record cannot tell about"
    answer = "none" if made.answer is None else first_words(made.answer, _WORDS)
    source = " (from the tree)" if made.path else ""
    yield f"answer   {answer + _grade(made) + source if made.is_known else 'not known'}"
    if made.lacks is None and not made.is_known:
        yield f"         {made.unknown}"
    yield ""
    where = "in all" if made.lacks is None and made.is_known else "until there"
    yield "paid for " + where + (", at most" if made.is_bound else "") + source
    yield from _account(made)
    if made.parted is None and dropped(made.stored):
        yield "drafts dropped ahead are this run's: a rerun may drop, and pay for, others"


def _grade(made: Replayed) -> str:
    gold = loads(made.stored.run.task)["answer"]
    return "" if gold is None else ", right" if is_correct(made.answer, gold) else ", wrong"


def _path(made: Replayed) -> Iterator[str]:
    """Yield where a replay went on in a stored tree, and where that ended."""
    if not made.path:
        return
    yield f"went on  in the stored tree, at {len(made.path)} steps"
    for each in made.path[:_STEPS]:
        yield f"         step {each.parted.step}: {_turn(each.parted)}, run {each.run}"
    if len(made.path) > _STEPS:
        yield f"         and {len(made.path) - _STEPS} more: --json has all"
    if made.lacks is not None:
        yield from _parted("ends", made.lacks)


def _parted(word: str, parted: Parted) -> Iterator[str]:
    if not parted.now:
        yield f"{word:<8} step {parted.step}: {parted.then} then; now it cannot be told"
        for line in wrap(first_words(parted.reason, 4 * _WORDS), _WORDS):
            yield f"         {line}"
        return
    numbers = ""
    if parted.threshold is not None and parted.margin is not None:
        numbers = f", {parted.threshold + parted.margin:.3g} against {parted.threshold:.3g}"
    yield f"{word:<8} step {parted.step}: {_turn(parted)}{numbers}"
    yield f"         {first_words(parted.reason, _WORDS)}"
    if parted.other is None:
        yield "         nobody wrote the step that would stand"
    else:
        yield f"         {parted.other.num_tokens} tokens: {first_words(parted.other.text, _WORDS - 16)}"


def _turn(parted: Parted) -> str:
    return first_words(f"{parted.then} -> {parted.now}", 60)


def _account(made: Replayed) -> Iterator[str]:
    rows = rows_of(made)
    has_cost = any(row["cost"] for row in rows)
    head = f"{'engine':<8} {'purpose':<11} {'fate':<11} {'calls':>6} {'prompt':>8} {'output':>8}"
    yield head + (f" {'cost':>10}" if has_cost else "")
    for row in rows:
        names = f"{first_words(row['engine'], 8):<8} {first_words(row['purpose'], 11):<11} {row['fate']:<11}"
        cost = (f" {row['cost']:>10.4g}" if row["cost"] is not None else f" {'-':>10}") if has_cost else ""
        yield f"{names} {row['calls']:>6} {row['prompt_tokens']:>8} {row['output_tokens']:>8}{cost}"


def rows_of(made: Replayed) -> list[dict[str, Any]]:
    """Return the account with costs, None where the run's ledger does not tell its prices."""
    cost = costs_of(loads(made.stored.outcome.ledger) if made.stored.outcome else [])
    costs = [cost(engine, entry) for engine, _, _, entry in made.ledger]
    return [{**row, "cost": each} for row, each in zip(made.ledger.without_seconds(), costs, strict=True)]


def summary(all_of: Together) -> Iterator[str]:
    """Yield what a policy makes of many runs."""
    yield (
        f"{all_of.runs} runs: {all_of.unchanged} unchanged, {all_of.flipped} part by another decision, "
        f"{all_of.undecided} cannot be told" + (f", {len(all_of.left_out)} left out" if all_of.left_out else "")
    )
    yield f"decisions: {all_of.alike} alike, {all_of.flipped} others, {all_of.left} the record cannot tell about"
    for reason, times in all_of.reasons.most_common(_REASONS):
        yield f"  {times} x {reason}"
    if len(all_of.reasons) > _REASONS:
        yield f"  and {len(all_of.reasons) - _REASONS} other reasons: --json has all"
    tokens = ", ".join(f"{engine} {count}" for engine, count in all_of.output_tokens.items())
    yield f"output tokens as far as that is known: {tokens or 'none'}"
    if all_of.followed:
        yield f"from the tree: {all_of.followed} runs went on in branches of theirs"
    if all_of.graded:
        yield f"right: {all_of.right} of the {all_of.graded} runs whose end is known and whose task has an answer"
        yield f"  as they ran: {all_of.then} of the same {all_of.graded}"
    if all_of.known < all_of.runs:
        yield f"  not decided to the end: {all_of.runs - all_of.known} of {all_of.runs} runs"


def table(option: str, found: Sequence[OneStep]) -> Iterator[str]:
    """Yield a line for each value of an option."""
    has_cost = any(each.cost for each in found)
    has_trees = any(each.ended > each.unchanged for each in found)
    yield (
        f"{option[:10]:>10} {'flips':>6} {'to keep':>8} {'to rewrite':>11} {'unknown':>8} "
        f"{'ended runs' if has_trees else 'unchanged runs':>15} {'right':>6}" + (f" {'cost':>10}" if has_cost else "")
    )
    for each in found:
        right = f"{each.right / each.graded:.0%}" if each.graded else "-"
        yield (
            f"{each.value:>10g} {each.flips:>6} {each.to_keep:>8} {each.to_rewrite:>11} {each.undecided:>8} "
            f"{each.ended if has_trees else each.unchanged:>6} of {each.runs:<5} {right:>6}"
            + (f" {each.cost:>+10.4g}" if has_cost else "")
        )
        yield from _alone(each)


def _alone(each: OneStep) -> Iterator[str]:
    if each.tokens:
        tokens = ", ".join(f"{engine} {count:+}" for engine, count in each.tokens.items())
        yield f"{'':>10} flipped steps alone: {tokens} tokens"
    if each.unknown:
        yield f"{'':>10} {each.unknown} of {each.flips} flips lead to steps never written: tokens not known"
    for reason, times in _most(each.reasons):
        yield f"{'':>10} cannot tell {times} x {reason}"


def _most(reasons: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(reasons.items(), key=lambda item: -item[1])[:2]


def caveats(found: Sequence[OneStep]) -> Iterator[str]:
    """Yield what a table does not say."""
    yield "a one-step counterfactual on the stored prefix: each decision by itself, so flips do not add up to a run"
    if any(each.ended > each.unchanged for each in found):
        yield "ended, right: of whole runs, those that would change followed in their trees"
