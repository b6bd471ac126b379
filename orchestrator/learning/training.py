"""From files of rows to a router: features, fit, figures on tasks it never saw, and one portable document."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

from orchestrator.errors import UserError
from orchestrator.learning.fitting import fit
from orchestrator.learning.report import measured
from orchestrator.learning.rows import About, Row, read
from orchestrator.learning.table import Table, names_of, split_of, table_of
from orchestrator.routers.router_file import RouterFile

__all__ = ["learnt", "train", "write"]


def train(
    files: Sequence[Path],
    *,
    history: bool = True,
    uses: Sequence[str] = (),
    shape: str = "best",
    balance: str = "weights",
    seed: int = 0,
) -> RouterFile:
    """Return the router that the rows in `files` make; see `learnt`."""
    about, rows = read(files)
    first = next(rows, None)
    if first is None:
        raise UserError(f"{files[0]}: it holds no row; collect some with `orchestrator collect`")
    _check_uses(about, first, uses)
    table = table_of(about, chain([first], rows), names_of(about, history=history, uses=uses))
    return learnt(about, table, samples=len(first.targets), shape=shape, balance=balance, seed=seed)


def learnt(
    about: About, table: Table, *, samples: int = 1, shape: str = "best", balance: str = "weights", seed: int = 0
) -> RouterFile:
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
        samples=samples,
        pair=about.pair,
        measured=_plain({**figures, "validation_spearman": dict(fitted.ranked), "balance": balance}),
        data={
            "fingerprint": table.fingerprint,
            "rows": len(table),
            "tasks": len(set(table.tasks.tolist())),
            "fitted_on": seen,
        },
        made=datetime.now(UTC).date().isoformat(),
        package=version("reasoning-orchestrator"),
    )


def write(router: RouterFile, path: Path) -> None:
    """Write the document. It appears whole or not at all. Raises UserError if it cannot be written."""
    part = path.with_name(path.name + ".part")
    try:
        part.write_text(json.dumps(router.to_json(), allow_nan=False) + "\n", encoding="ascii")
        part.replace(path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error


def _check_uses(about: About, row: Row, uses: Sequence[str]) -> None:
    known = [about.scorer, *row.also]
    for name in uses:
        if name not in known:
            raise UserError(f"no scorer {name!r} in these rows to use: they have {', '.join(known)}")


def _plain(value: Any) -> Any:
    """Return figures as JSON knows them: what could not be told is null."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and value != value else value
