"""Rows as a table of numbers: what a router would have seen of each draft, and whether the large engine was better."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from orchestrator.errors import SignalUnavailable, UserError
from orchestrator.learning.rows import About, Distinct, Row
from orchestrator.learning.summary import Counts, counting
from orchestrator.routers.features import HISTORY, POSITION, SIGNAL, TEXT, UNCERTAINTY, Drafted, features

__all__ = ["SPLITS", "Table", "drafted", "names_of", "split_of", "table_of"]

SPLITS = {"train": range(0, 70), "validation": range(70, 85), "held-out": range(85, 100)}
"""What is fitted on, what chooses, and what the figures are from -> its buckets of a hundred."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """One line per row, in the order of the rows."""

    names: tuple[str, ...]
    """Of the features."""
    values: NDArray[np.float64]
    """Shape (rows, features)."""
    advantages: NDArray[np.float64]
    scores: NDArray[np.float64]
    """Of the drafts."""
    tasks: NDArray[np.str_]
    """Fingerprint of the task of each row."""
    also: Mapping[str, NDArray[np.float64]]
    """Advantages by other scorers' words, where they scored every draft and target."""
    fingerprint: str
    """Names the rows, whatever their order."""
    samples: int = 0
    """Targets of each row; 0 if there is none."""
    repeated: int = 0
    """Rows that were there before and are left out."""

    @property
    def pays(self) -> NDArray[np.bool_]:
        """Whether the large engine was better; ties are no."""
        return self.advantages > 0

    def where(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Table:
        """Return the table of some of the rows."""
        return replace(
            self,
            values=self.values[chosen],
            advantages=self.advantages[chosen],
            scores=self.scores[chosen],
            tasks=self.tasks[chosen],
            also={name: values[chosen] for name, values in self.also.items()},
        )

    def split(self, name: str) -> Table:
        """Return the rows of `train`, `validation` or `held-out`: all rows of a task are in one of them."""
        return self.where(np.array([split_of(task) == name for task in self.tasks.tolist()], dtype=bool))

    def __len__(self) -> int:
        return len(self.advantages)


def split_of(task: str) -> str:
    """Return the split of a task, by its fingerprint: 70% train, 15% validation, 15% held-out."""
    bucket = int.from_bytes(blake2b(f"split:{task}".encode(), digest_size=4).digest()) % 100
    return next(name for name, buckets in SPLITS.items() if bucket in buckets)


def names_of(about: About, *, history: bool, uses: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the features that a router sees. `history` says whether that is who wrote before, `uses` adds scorers."""
    uncertain = UNCERTAINTY if about.logprobs else ()
    return (*uncertain, *TEXT, *POSITION, *(HISTORY if history else ()), *(SIGNAL + name for name in uses))


def drafted(about: About, row: Row) -> Drafted:
    """Return a row as a router sees it while it runs."""
    return Drafted(
        question=row.question,
        previous=row.before[-1].text if row.before else "",
        by_large=[step.writer != about.small for step in row.before],
        text=row.draft,
        num_tokens=row.num_tokens,
        stop=row.stop,
        logprobs=row.logprobs,
        signals={**row.also, about.scorer: row.score},
    )


def table_of(about: About, rows: Iterable[Row], names: Sequence[str], counts: Sequence[Counts] = ()) -> Table:
    """Return the table of the rows, see Distinct, and count each.

    Raises UserError if a row lacks what a feature needs.
    """
    values, advantages, scores, tasks = [], [], [], []
    also: dict[str, list[float]] = {}
    distinct = Distinct(rows)
    for row in counting(distinct, counts):
        try:
            values.append(features(names, drafted(about, row)))
        except SignalUnavailable as missing:
            raise UserError(f"run {row.run}, step {row.index}: {missing}; it cannot be learnt from") from missing
        for name, other in _others(row).items():
            also.setdefault(name, []).append(other)
        advantages.append(row.advantage)
        scores.append(row.score)
        tasks.append(row.task)
    return Table(
        names=tuple(names),
        values=np.array(values, dtype=float).reshape(len(values), len(names)),
        advantages=np.array(advantages, dtype=float),
        scores=np.array(scores, dtype=float),
        tasks=np.array(tasks, dtype=np.str_),
        also={name: np.array(each) for name, each in also.items() if len(each) == len(values)},
        fingerprint=blake2b(b"".join(sorted(distinct.digests)), digest_size=10).hexdigest(),
        samples=distinct.samples,
        repeated=distinct.repeated,
    )


def _others(row: Row) -> dict[str, float]:
    """Return the advantage by the words of each scorer that scored draft and targets besides."""
    number = len(row.targets)
    return {
        name: sum(target.also[name] - ours for target in row.targets) / number
        for name, ours in row.also.items()
        if all(name in target.also for target in row.targets)
    }
