"""How many decisions of stored runs would be others at each value of an option, and what would each cost by itself?

A one-step counterfactual on the stored prefix: every decision is made again behind what the run had kept by then, as
if all decisions before it had been the stored ones. So flips do not add up to a run: only a run without any keeps its
text and its answer. What the others would have answered is said where they have a stored tree: that is no one-step
counterfactual, but each run decided to its end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from json import loads
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from orchestrator.decisions import Decision, Keep, Plan, Rewrite
from orchestrator.doors import Needs
from orchestrator.ledger import Entry
from orchestrator.memory.base import StoredRun
from orchestrator.memory.journal import Journal
from orchestrator.runtime.displayed import Displayed
from orchestrator.runtime.paper import as_text
from orchestrator.runtime.portal import run_sync
from orchestrator.runtime.tasks import is_correct
from orchestrator.traces.asked import Question, questions
from orchestrator.traces.by_place import Record
from orchestrator.traces.offline import Undecided
from orchestrator.traces.other import other_step, saved, written
from orchestrator.traces.policy import router_of
from orchestrator.traces.prices import costs_of
from orchestrator.traces.tree import afollowed
from orchestrator.traces.verdict import decided

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["OneStep", "WhatIf", "one_step"]


@dataclass(slots=True, kw_only=True)
class OneStep(Displayed):
    """What one value of the option does to each decision by itself."""

    value: Any
    decisions: int = 0
    """Those of the runs that a router of theirs made and this one could make, too."""
    to_rewrite: int = 0
    """Drafts that stood and would not."""
    to_keep: int = 0
    """Drafts that were thrown away and would stand."""
    to_other: int = 0
    """Other decisions that would be others: plans, hand-overs, ends."""
    undecided: int = 0
    """Decisions that need what the record has not."""
    reasons: dict[str, int] = field(default_factory=dict)
    """Why, and how often."""
    tokens: dict[str, int] = field(default_factory=dict)
    """By engine, output tokens that the flipped steps alone would have added (below 0: saved), where known."""
    cost: float = 0.0
    """The same in the unit of the prices, where known."""
    unpriced: int = 0
    """Flips of known tokens whose cost the ledgers do not tell."""
    unknown: int = 0
    """Flips whose step nobody wrote: neither tokens nor cost are in the sums."""
    runs: int = 0
    unchanged: int = 0
    """Runs without a flip or an open decision: they keep text and answer."""
    ended: int = 0
    """Runs whose end is known: the unchanged ones, and those that a stored tree leads to an end."""
    right: int = 0
    """Of these, runs with the right answer."""
    graded: int = 0
    """Of these, runs whose task has a gold answer."""

    @property
    def flips(self) -> int:
        """All decisions that would be others."""
        return self.to_rewrite + self.to_keep + self.to_other

    def drawn(self, width: int) -> Text:
        """Draw it as a table of one value."""
        return WhatIf("value", [self]).drawn(width)


class WhatIf(Displayed, list[OneStep]):
    """What each value of an option does, in the order of the values; a notebook shows the table."""

    def __init__(self, option: str, found: Iterable[OneStep]) -> None:
        super().__init__(found)
        self.option = option

    @property
    def values(self) -> list[Any]:
        """Of the option."""
        return [each.value for each in self]

    def drawn(self, width: int) -> Text:
        """Draw it as `orchestrator trace replay --what-if` prints it, with what it does not say."""
        from orchestrator.traces.replay_shown import caveats, table

        told = (line for each in caveats(self) for line in wrap(each, width))
        return as_text((*table(self.option, self), *told), width)


def one_step(
    runs: Iterable[StoredRun],
    option: str,
    values: Sequence[Any],
    *,
    journal: Journal | None = None,
    router: Callable[[StoredRun, Mapping[str, Any]], Any] | None = None,
) -> WhatIf:
    """Return what each value of `option` does to the decisions of stored runs.

    `router` makes a run's router with options; it is the run's own otherwise. With the runs' `journal` their trees are
    followed. Raises UserError for a run whose router cannot be made again, or has no such option, or not with that
    value.
    """
    make = router or (lambda stored, options: router_of(stored, **options))
    found = WhatIf(option, [OneStep(value=value) for value in values])
    made: dict[str, list[Any]] = {}
    for stored in runs:
        named = str(loads(stored.run.settings).get("router"))
        if named not in made:
            made[named] = [make(stored, {option: value}) for value in values]
        run_sync(_add(stored, made[named], found, journal))
    return found


async def _add(stored: StoredRun, routers: Sequence[Any], found: Sequence[OneStep], journal: Journal | None) -> None:
    needs = [getattr(router, "needs", Needs()) for router in routers]
    record = Record(stored, logprobs=max(each.logprobs for each in needs))
    costs = costs_of(loads(stored.outcome.ledger) if stored.outcome else [])
    before = [(each.flips, each.undecided) for each in found]
    for question in questions(record):
        for router, each in zip(routers, found, strict=True):
            try:
                verdict = await decided(record, router, question)
            except Undecided as missing:
                each.undecided += 1
                each.reasons[str(missing)] = each.reasons.get(str(missing), 0) + 1
                continue
            each.decisions += question.row is not None
            if not verdict.is_alike:
                _count(each, record, question, verdict.made, costs)
    for router, each, counted in zip(routers, found, before, strict=True):
        each.runs += 1
        if (each.flips, each.undecided) == counted and stored.outcome is not None:
            each.unchanged += 1
            _grade(each, stored, stored.outcome.answer)
        elif journal is not None and (made := await afollowed(journal, stored, router)).is_known:
            _grade(each, stored, made.answer)


def _count(each: OneStep, record: Record, question: Question, made: Decision | Plan, costs: Any) -> None:
    other = other_step(record, question, made)
    was_kept = question.row is not None and question.row.action in ("keep", "stop")
    if was_kept and isinstance(made, Rewrite):
        each.to_rewrite += 1
        added, sign = (written(record, (other.index, other.attempt)) if other else None), 1
    elif question.row is not None and question.row.action == "rewrite" and isinstance(made, Keep):
        each.to_keep += 1
        added, sign = saved(record, question), -1
    else:
        each.to_other += 1
        added, sign = None, 1
    if added is None:
        each.unknown += 1
        return
    for engine, entry in added.items():
        _book(each, engine, entry, sign, costs(engine, entry))


def _book(each: OneStep, engine: str, entry: Entry, sign: int, cost: float | None) -> None:
    each.tokens[engine] = each.tokens.get(engine, 0) + sign * entry.output_tokens
    each.cost += sign * (cost or 0.0)
    each.unpriced += cost is None


def _grade(each: OneStep, stored: StoredRun, answer: str | None) -> None:
    each.ended += 1
    gold = loads(stored.run.task)["answer"]
    if gold is not None:
        each.graded += 1
        each.right += is_correct(answer, gold)
