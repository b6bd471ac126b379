"""From stored runs and labels to a trained monitor: split by task, fit, choose, measure on tasks it never saw.

Source: the step-level cascade (StepWise), by its authors' code: labelled windows, classes balanced by weights, the best
pass by F1. Differs: the split is by task (theirs, on the desktop, is by row, so that windows of one run are on both
sides); the threshold is the best by F1 that also keeps false alarms rare; what it is worth is measured on tasks that
chose nothing; and a monitor that tells nothing there is not made.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from importlib.metadata import version
from itertools import islice
from math import floor, nextafter
from pathlib import Path
from typing import Any

import numpy as np

from orchestrator.errors import UserError
from orchestrator.learning import files
from orchestrator.learning.fitting import balanced
from orchestrator.learning.hashed import Texts, Weighed, descended, texts_of
from orchestrator.learning.looks import Watched
from orchestrator.learning.metrics import Bools, Floats, average_precision, best_f1, plain
from orchestrator.learning.monitor_report import Judged, measured
from orchestrator.learning.table import SPLITS, split_of
from orchestrator.monitors.monitor_file import MonitorFile, parse

__all__ = ["Labelled", "threshold_of", "train", "write"]

PASSES = 200
EVERY = 10
"""Passes between two looks at the validation tasks."""
PENALTIES = (1e-4, 1e-3)
_TINY = 1e-12

Labelled = tuple[Watched, Sequence[bool | None]]
"""A run, and what each of its looks is; None where nobody can say."""


@dataclass(frozen=True)
class _Split:
    """The looks of some runs as numbers."""

    runs: Sequence[Watched]
    texts: Texts
    labels: Floats
    """Of each look: 1, 0, or NaN for None."""

    @property
    def is_labelled(self) -> Bools:
        labelled: Bools = ~np.isnan(self.labels)
        return labelled

    @property
    def truth(self) -> Bools:
        """Of the labelled looks."""
        yes: Bools = self.labels[self.is_labelled] == 1
        return yes


def train(
    labelled: Iterable[Labelled], *, kind: str, window: int, min_moves: int, false_alarms: float, labels: Sequence[str]
) -> MonitorFile:
    """Return the monitor that the labelled looks make; `labels` says who gave them.

    `false_alarms` is the share of the healthy validation runs in which it may speak, see monitor_report. Raises
    UserError if there is nothing to learn from, or if what was learnt tells nothing.
    """
    if not 0 <= false_alarms <= 1:
        raise UserError(f"--false-alarms {false_alarms!r}: a share is in [0, 1]")
    given = list(labelled)
    splits = {name: _split([each for each in given if split_of(each[0].task) == name]) for name in SPLITS}
    _check(splits, labels)
    train_, validation = splits["train"], splits["validation"]
    fitted = _fitted(train_, validation)
    threshold = threshold_of(_judged(kind, fitted, validation), false_alarms)
    figures = measured(_judged(kind, fitted, splits["held-out"]), threshold)
    _check_worth(figures)
    rows = sorted((look.run, look.step, label) for run, of in given for look, label in zip(run.looks, of, strict=True))
    return MonitorFile(
        kind=kind,
        window=window,
        min_moves=min_moves,
        weights=fitted.weights.astype("<f4").tobytes(),
        bias=fitted.bias,
        threshold=threshold,
        measured=plain({**figures, "false_alarms_wanted": false_alarms}),
        data={
            "fingerprint": blake2b(json.dumps(rows).encode(), digest_size=10).hexdigest(),
            "labels": list(labels),
            "rows": sum(label is not None for *_, label in rows),
            "dropped": sum(label is None for *_, label in rows),
            "runs": len(given),
            "tasks": len({run.task for run, _ in given}),
            "fitted_on": sorted({run.task for run in (*train_.runs, *validation.runs)}),
        },
        made=datetime.now(UTC).date().isoformat(),
        package=version("reasoning-orchestrator"),
    )


def write(monitor: MonitorFile, path: Path) -> None:
    """Write the document. It appears whole or not at all. Raises UserError if it cannot be written, or not read."""
    made = monitor.to_json()
    parse(json.dumps(made, allow_nan=False).encode(), str(path))
    files.write(path, [made])


_UNLABELLED = {
    "rules": "rules find none stuck, and call none well but those of runs that were completed, with the gold answer "
    "where there is one; let more runs end, or give labels of your own",
    "engine": "the engine answered neither yes nor no: ask a larger one",
    "file": "the file names none of them: its lines have the `run` and the `step` that a move ends with",
}
"""Why there may be no label, by who was to give them."""


def _split(given: Sequence[Labelled]) -> _Split:
    labels = [np.nan if label is None else float(label) for _, of in given for label in of]
    texts = texts_of([look.text for run, _ in given for look in run.looks])
    return _Split([run for run, _ in given], texts, np.array(labels, dtype=float))


def _check(splits: dict[str, _Split], labels: Sequence[str]) -> None:
    num_runs, num_moves = (sum(len(getattr(of, what)) for of in splits.values()) for what in ("runs", "labels"))
    if not num_runs:
        raise UserError("there is no run to learn from: let some agents run, and let them end")
    if not any(len(split.truth) for split in splits.values()):
        why = "; ".join(_UNLABELLED[each] for each in dict.fromkeys(labels))
        raise UserError(f"none of the {num_moves} moves of {num_runs} runs has a label: {why}")
    for name, split in splits.items():
        truth = split.truth
        if not len(truth) or truth.all() or not truth.any():
            found = f"{int(truth.sum())} of the {len(truth)} labelled moves of the {name} tasks are a yes"
            raise UserError(f"{found}: both are needed in each split; label more, or run more tasks")


def _fitted(train_: _Split, validation: _Split) -> Weighed:
    """Return what does best on the validation tasks: by F1, by average precision, by the log loss."""
    texts, truth = _chosen(train_), train_.truth
    _, weights = balanced(truth, "weights")
    seen, wanted = _chosen(validation), validation.truth
    _, shares = balanced(wanted, "weights")

    def worth(fitted: Weighed) -> tuple[float, float, float]:
        chances = fitted.chances(seen)
        loss = -np.log(np.maximum(np.where(wanted, chances, 1 - chances), _TINY))
        return best_f1(chances, wanted)[0], average_precision(chances, wanted), -float(shares @ loss)

    tried = (
        fitted
        for penalty in PENALTIES
        for fitted in islice(descended(texts, truth, weights, penalty), EVERY - 1, PASSES, EVERY)
    )
    return max(tried, key=worth)


def _chosen(split: _Split) -> Texts:
    """Return the texts of the labelled looks alone."""
    places = np.cumsum(split.is_labelled) - 1
    here = split.is_labelled[split.texts.rows]
    rows = places[split.texts.rows[here]].astype(np.intp)
    return Texts(rows, split.texts.places[here], split.texts.values[here], len(split.truth))


def _judged(kind: str, fitted: Weighed, split: _Split) -> list[Judged]:
    """Return the runs of a split beside what the monitor, as it is stored, says of their looks."""
    stored = Weighed(fitted.weights.astype("<f4").astype(float), fitted.bias)
    ends = np.cumsum([len(run.looks) for run in split.runs])[:-1]
    chances, labels = np.split(stored.chances(split.texts), ends), np.split(split.labels, ends)
    return [Judged.of(kind, *each) for each in zip(split.runs, chances, labels, strict=True)]


def threshold_of(judged: Sequence[Judged], false_alarms: float) -> float:
    """Return the best threshold by F1, raised until false alarms are rare enough. Raises UserError if none is."""
    highest = sorted((each.highest_alarm for each in judged if each.is_healthy), reverse=True)
    if not highest:
        raise UserError("no validation run is healthy, so that false alarms could be counted: run more tasks")
    allowed = floor(false_alarms * len(highest) + 1e-9)
    least = 0.0 if allowed >= len(highest) else nextafter(highest[allowed], 2.0)
    chances = np.concatenate([each.chances[each.is_labelled] for each in judged])
    truth = np.concatenate([each.truth for each in judged])
    threshold = max(least, best_f1(chances, truth)[1])
    if threshold > chances[truth].max():
        raise UserError(
            f"it tells nothing: with false alarms in at most {false_alarms:g} of the healthy validation runs it never "
            "notices anything; look at the labels, run more tasks, or allow more with --false-alarms"
        )
    return threshold


def _check_worth(figures: dict[str, Any]) -> None:
    auc = figures["auc"]
    if not auc.low > 0.5:
        raise UserError(
            f"it tells nothing on tasks it was not fitted on: AUC {auc}, and 0.5 is chance; look at the labels, "
            "or run more tasks"
        )
