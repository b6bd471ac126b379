"""How long: `45s`, `10m`, `12h`, `30d` or `2w` as people type it, in seconds."""

from __future__ import annotations

import re

import click

__all__ = ["WRITTEN", "in_seconds", "seconds"]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
WRITTEN = re.compile(r"(\d{1,6}(?:\.\d{1,6})?)([smhdw])", re.ASCII)


def seconds(text: str) -> float:
    """Return how many seconds `text` names, such as 2592000.0 for `30d`. Raises ValueError for any other text."""
    found = WRITTEN.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r:.40} is no duration: write a number and s, m, h, d or w, such as 30d")
    return float(found[1]) * _UNITS[found[2]]


def in_seconds(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Make the value of an option seconds: its `callback`."""
    try:
        return None if value is None else seconds(value)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from error
