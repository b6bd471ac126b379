"""The data set of the published router: every collected step as the text it reads and the label it learns.

One JSONL file: the first line says where the examples come from and how their texts are put together, each
further line is one drafted step. `pieces` are the texts that are encoded one by one, see
engines/scorers/annotated.py; `label` is 1 where the large engine's step was strictly better, ties are 0.

Source: Arbitrage, arXiv:2512.05033, section on training (label y = 1[advantage > 0], several target samples averaged).
Differs: rows of one task are all in one split, and the split that chooses is not the one that is reported (there
unsaid).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from math import isfinite
from pathlib import Path
from typing import Any

from orchestrator.engines.scorers.annotated import STEP_END, TAGS, pieces_of
from orchestrator.errors import UserError
from orchestrator.learning.rows import About, Row
from orchestrator.learning.table import split_of

__all__ = ["FORMAT", "SPLITS", "VERSION", "Example", "example_of", "export", "read"]

FORMAT = "orchestrator-router-data"
VERSION = 1
SPLITS = ("train", "validation", "held-out")
"""What weights are fitted on, what chooses among them, and what the figures are from."""


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

    Raises UserError if there is nothing to learn: no rows, one label only, or a split without both.
    """
    examples, samples = [], 0
    for row in rows:
        examples.append(example_of(row, history=history))
        samples = max(samples, len(row.targets))
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
        "samples": samples,
        "pair": about.pair,
        "package": version("reasoning-orchestrator"),
        "tags": TAGS,
        "step_end": STEP_END,
        "history": history,
        "tasks": len({each.task for each in examples}),
        "labels": {split: [labels[0], labels[1]] for split, labels in counted.items()},
    }
    part = path.with_name(path.name + ".part")
    try:
        with part.open("w", encoding="ascii") as file:
            for line in (first, *map(_line, examples)):
                file.write(json.dumps(line, separators=(",", ":")) + "\n")
        part.replace(path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error
    return first


def read(path: Path) -> tuple[dict[str, Any], list[Example]]:
    """Return the first line and the examples. Raises UserError, naming the line, for what is no such file."""
    try:
        with path.open(encoding="utf-8") as file:
            lines = _objects(path, file)
            first = next(lines, {})
            if first.get("format") != FORMAT or first.get("version") != VERSION:
                found = (first.get("format"), first.get("version"))
                raise UserError(f"{path}: not a data set for a router ({FORMAT} {VERSION}), but {found}")
            return first, [_example(f"{path}:{number}", line) for number, line in enumerate(lines, 2)]
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


def _line(example: Example) -> dict[str, Any]:
    return {name: getattr(example, name) for name in example.__slots__}


def _objects(path: Path, file: Iterable[str]) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(file, 1):
        try:
            found = json.loads(line)
        except ValueError as error:
            raise UserError(f"{path}:{number}: not JSON: {error}") from error
        if not isinstance(found, dict):
            raise UserError(f"{path}:{number}: not a JSON object")
        yield found


def _example(where: str, line: Mapping[str, Any]) -> Example:
    try:
        made = Example(**{**line, "pieces": tuple(line["pieces"])})
    except (KeyError, TypeError) as error:
        raise UserError(f"{where}: no example: {error}") from error
    is_text = all(isinstance(piece, str) for piece in made.pieces) and len(made.pieces) > 1
    is_number = isinstance(made.advantage, int | float) and isfinite(made.advantage)
    if not (is_text and is_number and made.label in (0, 1) and made.split in SPLITS):
        raise UserError(f"{where}: no example: a text, a label, a split or an advantage is none")
    return made
