"""From files of rows to a router: features, fit, figures on tasks it never saw, and one portable document."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import chain
from pathlib import Path

from orchestrator.errors import UserError
from orchestrator.learning import files
from orchestrator.learning.fitting import fit
from orchestrator.learning.metrics import plain
from orchestrator.learning.report import measured
from orchestrator.learning.rows import About, Row, read
from orchestrator.learning.summary import Counts, exact_first
from orchestrator.learning.table import Table, names_of, split_of, table_of
from orchestrator.routers.router_file import RouterFile, parse

__all__ = ["learnt", "train", "write"]


def train(
    paths: Sequence[Path],
    *,
    history: bool = True,
    uses: Sequence[str] = (),
    shape: str = "best",
    balance: str = "weights",
    seed: int = 0,
) -> RouterFile:
    """Return the router that the rows in files make; see `learnt`."""
    about, rows = read(paths)
    first = next(rows, None)
    if first is None:
        raise UserError(f"{paths[0]}: it holds no row; collect some with `orchestrator collect`")
    _check_uses(about, first, uses)
    counts = {about.scorer: Counts(), **{name: Counts(name) for name in first.also}}
    names = names_of(about, history=history, uses=uses)
    table = table_of(about, chain([first], rows), names, list(counts.values()))
    made = learnt(about, table, shape=shape, balance=balance, seed=seed)
    wasted = {name: plain(counts[name].summary().both_wrong) for name in exact_first(counts)}
    return replace(made, data={**made.data, "both_wrong": wasted})


def learnt(about: About, table: Table, *, shape: str = "best", balance: str = "weights", seed: int = 0) -> RouterFile:
    """Return the router that a table makes, with what it is worth on the held-out tasks.

    Its class accuracies are told at the base rate: where a balanced router would have its half. Raises UserError if
    there is nothing to learn from the rows.
    """
    fitted = fit(table, shape=shape, balance=balance, seed=seed)
    seen = [task for task in dict.fromkeys(table.tasks.tolist()) if split_of(task) != "held-out"]
    threshold = float(table.split("train").pays.mean())
    figures = measured(fitted.forecast, table.split("held-out"), threshold)
    return RouterFile(
        features=table.names,
        forecast=fitted.forecast,
        logprobs=about.logprobs,
        scorer=about.scorer,
        samples=table.samples,
        pair=about.pair,
        measured=plain({**figures, "validation_spearman": dict(fitted.ranked), "balance": balance}),
        data={
            "fingerprint": table.fingerprint,
            "rows": len(table),
            "repeated": table.repeated,
            "tasks": len(set(table.tasks.tolist())),
            "fitted_on": seen,
        },
        made=datetime.now(UTC).date().isoformat(),
        package=version("reasoning-orchestrator"),
    )


def write(router: RouterFile, path: Path) -> None:
    """Write the document. It appears whole or not at all. Raises UserError if it cannot be written, or not read."""
    made = router.to_json()
    parse(json.dumps(made, allow_nan=False).encode(), str(path))
    files.write(path, [made])


def _check_uses(about: About, row: Row, uses: Sequence[str]) -> None:
    known = [about.scorer, *row.also]
    for name in uses:
        if name not in known:
            raise UserError(f"no scorer {name!r} in these rows to use: they have {', '.join(known)}")
