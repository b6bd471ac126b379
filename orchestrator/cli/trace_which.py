"""Which runs a command is about: the filters that lists and statistics share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from datetime import datetime

    from orchestrator.memory.journal import Journal
    from orchestrator.memory.summaries import Listing
    from orchestrator.memory.which import Span, Which

__all__ = ["STATUSES", "none_of", "which_flags", "which_of"]

STATUSES = ("completed", "no_answer", "budget", "degraded", "failed", "running", "interrupted")
"""How runs ended, or stand."""

_SPANS = {"--cost": ("0.5", "2"), "--seconds": ("1.5", "60"), "--tokens": ("100", "2000")}
"""A span of each, as an example."""
_FLAGS = (
    click.option("--status", type=click.Choice(STATUSES), help="Only runs that ended, or stand, like this."),
    click.option("--policy", metavar="NAME", help="Only runs that this router routed."),
    click.option("--engine", metavar="NAME", help="Only runs that had this engine, by its name or what it serves."),
    click.option("--batch", metavar="NAME", help="Only runs of batches whose names begin like this."),
    click.option(
        "--since", metavar="WHEN", help="Only runs begun since then: 2026-11-27, 2026-11-27T09:30, or 2d ago."
    ),
    click.option("--until", metavar="WHEN", help="Only runs begun until then; a day is meant to its end."),
    click.option("--cost", metavar="LOW..HIGH", help="Only runs that cost so much; one end may be left out: 0.5.."),
    click.option("--seconds", metavar="LOW..HIGH", help="Only runs that took so long."),
    click.option("--tokens", metavar="LOW..HIGH", help="Only runs of so many output tokens, discarded ones included."),
    click.option("--grep", metavar="WORDS", help='Only runs in which all of the words are: words, "a phrase", begin*.'),
    click.option("--forks-of", metavar="RUN", help="Only runs that were forked from this one."),
    click.option(
        "--all", "is_all", is_flag=True, help="Runs of learners too: their questions, and branches of `collect --tree`."
    ),
)


def which_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the filters to a command."""
    for flag in reversed(_FLAGS):
        command = flag(command)
    return command


def which_of(given: Mapping[str, Any]) -> Which:
    """Return what the filters say. Raises UserError for a time, a span or a search that is none."""
    from math import inf

    from orchestrator.cli.trace_grep import grepped
    from orchestrator.memory.base import LEARNS
    from orchestrator.memory.which import Which

    return Which(
        status=given["status"],
        policy=given["policy"],
        engine=given["engine"],
        batch=given["batch"],
        since_s=-inf if given["since"] is None else _moment("--since", given["since"]),
        until_s=inf if given["until"] is None else _moment("--until", given["until"], is_end=True),
        cost=_span("--cost", given["cost"]),
        seconds=_span("--seconds", given["seconds"]),
        output_tokens=_span("--tokens", given["tokens"]),
        forks_of=given["forks_of"],
        keys=None if given["grep"] is None else grepped(given["grep"], given),
        without=() if given["is_all"] else (LEARNS,),
    )


def none_of(journal: Journal, found: Listing) -> str:
    """Return what to say where `found` lists no run."""
    if journal.number_of_runs():
        return "no run is like that but runs of learners" if found.left_out else "no run is like that"
    return "no run is left" if found.pruned else "no run yet: run something first"


def _moment(flag: str, written: str, *, is_end: bool = False) -> float:
    """Return the seconds since the epoch that are meant, in this machine's time zone; of a day its end if asked for."""
    from datetime import datetime, timedelta
    from time import time

    from orchestrator.cli.durations import WRITTEN, seconds
    from orchestrator.errors import UserError

    ago = written.strip().removesuffix("ago").strip()
    if WRITTEN.fullmatch(ago):
        return time() - seconds(ago)
    try:
        when = datetime.fromisoformat(written.strip())
        is_day = len(written.strip()) <= len("2026-11-27")
        return _epoch(when + timedelta(days=1) if is_day and is_end else when)
    except (ValueError, OverflowError, OSError):
        raise UserError(
            f"{flag} {written!r}: write a day or time, such as 2026-11-27 or 2026-11-27T09:30, or how long ago: 2d, 3h"
        ) from None


def _epoch(when: datetime) -> float:
    return when.astimezone().timestamp() if when.tzinfo is None else when.timestamp()


def _span(flag: str, written: str | None) -> Span | None:
    from orchestrator.cli.spans import span
    from orchestrator.errors import UserError
    from orchestrator.memory.which import Span

    try:
        return None if written is None else Span(*span(written))
    except ValueError:
        raise UserError(f"{flag} {written!r:.40}: write it as {_spans(flag, str(written).strip())}") from None


def _spans(flag: str, written: str) -> str:
    """Return how spans are written, with the number that was given where it is one."""
    if written.replace(".", "", 1).isdecimal() and written.isascii():
        return f"{written}..{written} for exactly that; {written}.. is that or more, ..{written} is up to that"
    low, high = _SPANS[flag]
    return f"{low}..{high}, the lower end first; {low}.. and ..{high} have one end"
