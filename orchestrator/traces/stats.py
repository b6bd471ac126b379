"""What do many runs come to?  Who wrote, why drafts did not stand, what was paid for, and how runs are spread."""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from json import loads
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.memory.base import LEARNS
from orchestrator.memory.figures import Decided, Ended, Kept
from orchestrator.memory.which import Which
from orchestrator.runtime.displayed import Displayed
from orchestrator.runtime.paper import as_text

if TYPE_CHECKING:
    from rich.text import Text

    from orchestrator.memory.journal import Journal

__all__ = ["Percentiles", "Reason", "Spending", "Stats", "Which", "Writing", "by_policy", "stats_of"]

_PER_RUN = ("seconds", "output_tokens", "cost", "steps")
_NUMBER = re.compile(r"(?<![\w.-])[-+]?\d+(?:\.\d+)?(?!\w)")
_KINDS = ("thought", "action", "answer")
_TOLD_RUNS = 5000


class Writing(NamedTuple):
    """Who wrote the steps of one kind that stand."""

    kind: str
    steps: int
    large_steps: int
    """Of these, by the largest engine of their run."""
    tokens: int
    """In these steps; of what was thrown away only the ledgers tell."""
    large_tokens: int

    @property
    def large_share(self) -> float:
        """Share of the tokens that the largest engine wrote, in [0, 1]; 0 where there are none."""
        return self.large_tokens / self.tokens if self.tokens else 0.0


class Reason(NamedTuple):
    """Why something else was done than to keep what the cheapest engine drafts."""

    policy: str
    action: str
    """`rewrite`, `handoff`, `rollback`, `plan` of a larger engine, `conclude`, ..."""
    reason: str
    """Its numbers are N, so that equal reasons are one."""
    times: int


class Spending(NamedTuple):
    """What calls of one engine, purpose and fate came to, as in ledgers."""

    engine: str
    purpose: str
    fate: str
    calls: int
    prompt_tokens: int
    cached_tokens: int
    output_tokens: int
    seconds: float
    """Summed over calls; calls that ran side by side are both in it."""
    cost: float
    """In the unit of the prices."""


class Percentiles(NamedTuple):
    """The smallest values that half, 90% and 99% of the runs do not exceed."""

    p50: float
    p90: float
    p99: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats(Displayed):
    """Many runs together. Those without an outcome are counted in `statuses` and nowhere else."""

    statuses: Mapping[str, int]
    """How many runs ended, or stand, how; most frequent first. One that is tried again is `running`."""
    ended: int
    """Runs that have an outcome: everything below is about them."""
    large_share: float
    """Share of all their output tokens, discarded ones included, that the largest engine produced, in [0, 1]."""
    writing: tuple[Writing, ...]
    """By kind of step, but for what tools answered; the steps that a fork began with are its own here."""
    reasons: tuple[Reason, ...]
    """Most frequent first."""
    spending: tuple[Spending, ...]
    """By engine, purpose and fate; the sums of the ledgers."""
    per_run: Mapping[str, Percentiles]
    """Of `seconds`, `output_tokens`, `cost` and `steps`; empty where no run has ended."""

    @property
    def runs(self) -> int:
        """All runs, those that have not ended included."""
        return sum(self.statuses.values())

    @property
    def cost(self) -> float:
        """Of everything, in the unit of the prices."""
        return sum(each.cost for each in self.spending)

    @property
    def output_tokens(self) -> int:
        """Of everything, discarded ones included."""
        return sum(each.output_tokens for each in self.spending)

    def drawn(self, width: int) -> Text:
        """Draw it as `orchestrator trace stats` prints it."""
        from orchestrator.traces.stats_shown import lines

        return as_text(lines(self), width)


def stats_of(journal: Journal, which: Which | None = None, tell: Callable[[str], None] | None = None) -> Stats:
    """Return what the runs that are meant come to together; by default all but those of learners.

    `tell` is told now and then what has been read. Raises UnknownName for a policy, an engine, a batch or a run that
    the journal has not.
    """
    tell = tell or _nothing
    with journal.figures(which or Which(without=(LEARNS,))) as figures:
        statuses = figures.statuses()
        ledgers = _Ledgers()
        for run in figures.ended():
            ledgers.add(run)
            if ledgers.runs % _TOLD_RUNS == 0:
                tell(f"{ledgers.runs:,} of {statuses.total():,} runs")
        tell(f"all {ledgers.runs:,} ledgers")
        writing = _writing(figures.kept())
        tell("all steps")
        reasons = _reasons(figures.decided())
    return Stats(
        statuses=dict(statuses),
        ended=ledgers.runs,
        large_share=ledgers.large_tokens / ledgers.output_tokens if ledgers.output_tokens else 0.0,
        writing=writing,
        reasons=reasons,
        spending=ledgers.spending(),
        per_run=ledgers.percentiles(),
    )


def by_policy(
    journal: Journal, which: Which | None = None, tell: Callable[[str], None] | None = None
) -> dict[str, Stats]:
    """Return the same for each router by its name, without its version: they are read one after another."""
    which = which or Which(without=(LEARNS,))
    with journal.figures(which) as figures:
        names = figures.policies()
    return {name: stats_of(journal, replace(which, policy=name), tell) for name in names}


def _nothing(read: str) -> None:
    """Tell nobody."""


class _Ledgers:
    """Sums over ledgers, and what each run came to."""

    def __init__(self) -> None:
        self.runs = 0
        self.output_tokens = 0
        self.large_tokens = 0
        self._engines: dict[str, None] = {}
        """In the order of pipelines; tools and embedders, which ledgers have too, are in none."""
        self._sums: dict[tuple[str, str, str], list[float]] = {}
        self._values = {name: array("d") for name in _PER_RUN}

    def add(self, run: Ended) -> None:
        output_tokens, cost = 0, 0.0
        for row in loads(run.ledger):
            numbers = [row.get(name, 0) for name in Spending._fields[3:]]
            key = row["engine"], row.get("purpose", ""), row.get("fate", "")
            sums = self._sums.get(key)
            self._sums[key] = numbers if sums is None else [a + b for a, b in zip(sums, numbers, strict=True)]
            output_tokens += row["output_tokens"]
            cost += row.get("cost", 0.0)
            if row["engine"] == run.engines[-1]:
                self.large_tokens += row["output_tokens"]
        self.runs += 1
        self.output_tokens += output_tokens
        self._engines |= dict.fromkeys(run.engines)
        for name, value in zip(_PER_RUN, (run.seconds, output_tokens, cost, run.steps), strict=True):
            self._values[name].append(value)

    def spending(self) -> tuple[Spending, ...]:
        order = [*self._engines, *sorted({engine for engine, _, _ in self._sums} - {*self._engines})]
        rows = sorted(self._sums.items(), key=lambda item: (order.index(item[0][0]), item[0]))
        return tuple(Spending(*key, *numbers) for key, numbers in rows)  # type: ignore[arg-type]

    def percentiles(self) -> dict[str, Percentiles]:
        if not self.runs:
            return {}
        return {name: _percentiles(sorted(values)) for name, values in self._values.items()}


def _percentiles(ranked: Sequence[float]) -> Percentiles:
    return Percentiles(*(ranked[-(-share * len(ranked) // 100) - 1] for share in (50, 90, 99)))


def _writing(kept: Iterable[Kept]) -> tuple[Writing, ...]:
    sums: dict[str, list[int]] = {}
    for each in kept:
        numbers = (each.steps, each.steps * each.is_large, each.tokens, each.tokens * each.is_large)
        sums[each.kind] = [a + b for a, b in zip(sums.get(each.kind, [0] * 4), numbers, strict=True)]
    return tuple(Writing(kind, *sums[kind]) for kind in _KINDS if kind in sums)


def _reasons(decided: Iterable[Decided]) -> tuple[Reason, ...]:
    times: Counter[tuple[str, str, str]] = Counter()
    for each in decided:
        times[each.policy, each.action, _NUMBER.sub("N", each.reason)] += each.times
    return tuple(Reason(*key, number) for key, number in times.most_common())
