"""The data set of the published router: every collected step as the text it reads and the label it learns.

One JSONL file: the first line says where the examples come from and how their texts are put together, each
further line is one drafted step. `pieces` are the texts that are encoded one by one, see
engines/scorers/annotated.py; `label` is 1 where the large engine's step was strictly better, ties are 0.

Source: Arbitrage, arXiv:2512.05033, section on training (label y = 1[advantage > 0], several target samples averaged).
Differs: rows of one task are all in one split, and the split that chooses is not the one that is reported (there
unsaid).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from orchestrator.document import is_number
from orchestrator.engines.scorers.annotated import STEP_END, TAGS, pieces_of
from orchestrator.errors import UserError
from orchestrator.learning.files import objects, write
from orchestrator.learning.rows import About, Distinct, Row
from orchestrator.learning.table import SPLITS, split_of
from orchestrator.routers.router_file import MAX_SAMPLES, check_pair

__all__ = ["FORMAT", "VERSION", "Example", "example_of", "export", "read"]

FORMAT = "orchestrator-router-data"
VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One drafted step for a classifier."""

    task: str
    """The task's fingerprint."""
    split: str
    """One of SPLITS; the same for every step of a task."""
    pieces: tuple[str, ...]
    """The problem, the kept steps, the draft: at least two."""
    label: int
    """1 where the large engine's step was strictly better, else 0."""
    advantage: float
    """Mean score of the targets less the draft's, in [-1, 1]."""


def example_of(row: Row, *, history: bool = True) -> Example:
    """Return a row as the published router learns it; without `history` it is not told who wrote earlier steps."""
    kept = [(before.writer, before.text) for before in row.before]
    return Example(
        task=row.task,
        split=split_of(row.task),
        pieces=tuple(pieces_of(row.question, kept, (row.writer, row.draft), history=history)),
        label=int(row.pays),
        advantage=row.advantage,
    )


# ---- files


def export(path: Path, about: About, rows: Iterable[Row], *, history: bool = True) -> dict[str, Any]:
    """Write the data set and return its first line. The file appears whole or not at all.

    A row that is there twice is one example. Raises UserError if there is nothing to learn: no rows, one label only,
    or a split without both.
    """
    distinct = Distinct(rows)
    examples = [example_of(row, history=history) for row in distinct]
    counted = {split: Counter(each.label for each in examples if each.split == split) for split in SPLITS}
    for split, labels in counted.items():
        if len(labels) < 2:
            raise UserError(
                f"{sum(labels.values())} {split} rows of {len(examples)}, with {len(labels)} of 2 labels: nothing to "
                "learn from; collect more tasks, or look at the scores, which may all be equal"
            )
    first = {
        "format": FORMAT,
        "version": VERSION,
        "small": about.small,
        "large": about.large,
        "scorer": about.scorer,
        "samples": distinct.samples,
        "pair": about.pair,
        "package": version("reasoning-orchestrator"),
        "tags": TAGS,
        "step_end": STEP_END,
        "history": history,
        "repeated": distinct.repeated,
        "tasks": len({each.task for each in examples}),
        "labels": {split: [labels[0], labels[1]] for split, labels in counted.items()},
    }
    write(path, (first, *map(_line, examples)))
    return first


def read(path: Path) -> tuple[dict[str, Any], list[Example]]:
    """Return the first line and the examples. Raises UserError, naming the line, for what is no such file."""
    lines = objects([path])
    where, first = next(lines, (f"{path}:1", {}))
    if first.get("format") != FORMAT or first.get("version") != VERSION:
        found = (first.get("format"), first.get("version"))
        raise UserError(f"{path}: not a data set for a router ({FORMAT} {VERSION}), but {found!r:.80}")
    _check_first(where, first)
    return first, [_example(where, line) for where, line in lines]


def _check_first(where: str, first: Mapping[str, Any]) -> None:
    samples = first.get("samples")
    checks = {
        **{name: isinstance(first.get(name), str) for name in ("small", "large", "scorer", "package")},
        "samples": type(samples) is int and 1 <= samples <= MAX_SAMPLES,
        "history": isinstance(first.get("history"), bool),
    }
    for name, is_good in checks.items():
        if not is_good:
            raise UserError(f"{where}: in the first line of a data set, {name} = {first.get(name)!r:.40}")
    try:
        check_pair(first.get("pair"))
    except UserError as error:
        raise UserError(f"{where}: in the first line of a data set, {error}") from error


def _line(example: Example) -> dict[str, Any]:
    return {name: getattr(example, name) for name in example.__slots__}


def _example(where: str, line: Mapping[str, Any]) -> Example:
    if line.keys() != set(Example.__slots__):
        raise UserError(f"{where}: no example: it has {', '.join(Example.__slots__)}")
    pieces, label, advantage = line["pieces"], line["label"], line["advantage"]
    checks = {
        "task": isinstance(line["task"], str),
        "split": isinstance(line["split"], str) and line["split"] in SPLITS,
        "pieces": isinstance(pieces, list) and len(pieces) > 1 and all(isinstance(each, str) for each in pieces),
        "label": type(label) is int and label in (0, 1),
        "advantage": is_number(advantage) and -1 <= advantage <= 1,
    }
    for name, is_good in checks.items():
        if not is_good:
            raise UserError(f"{where}: no example: {name} = {line[name]!r:.40}")
    return Example(**{**line, "pieces": tuple(pieces)})
