"""The account of a stored run, line by line: every call by engine, purpose and fate, and what that comes to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from json import loads
from typing import Any

from rich.text import Span, Text

from orchestrator.engines.base import Drafting
from orchestrator.ledger import Fate, Ledger
from orchestrator.memory.base import StoredRun
from orchestrator.runtime.calls import WRITING, entry_of
from orchestrator.runtime.colours import engine_colours
from orchestrator.runtime.hidden import dropped, hidden
from orchestrator.visible import counted, first_words

__all__ = ["ledger_lines", "ledger_notes", "ledger_rows"]

_NAMED = 8  # letters of an engine's name that fit its column


def ledger_lines(stored: StoredRun) -> Iterator[Text]:
    """Yield the ledger and what is to be said below it; of a run that has not ended, what it has used so far."""
    rows = ledger_rows(stored)
    described = loads(stored.run.engines)
    reports = _reports(described)
    has_cost = any(row["cost"] for row in rows)
    yield Text()
    titles = ("engine", "purpose", "fate", "calls", "prompt", "cached", "output", "s", "cost" if has_cost else "")
    yield Text(_ledger_columns(*titles), "dim")
    colours = engine_colours(stored)
    for row in rows:
        line = _ledger_line(row["engine"], row["purpose"], row["fate"], [row], reports, has_cost)
        yield _coloured(line, "" if row["fate"] == Fate.USED else "dim", colours.get(row["engine"], ""))
    for name in described:
        own = [row for row in rows if row["engine"] == name]
        if own:
            yield _coloured(_ledger_line(name, "all", "", own, reports, has_cost), "bold", colours[name])
    yield Text(_ledger_line("all", "", "", rows, reports, has_cost), "bold")
    yield from ledger_notes(stored, rows)
    if "overlap" in loads(stored.run.settings):
        taken, num_dropped, seconds = hidden(stored)
        yield Text(
            f"overlap: {counted(taken, 'text')} begun early, {counted(num_dropped, 'call')} dropped, "
            f"{seconds:.2f} s hidden"
        )


def _coloured(line: str, style: str, colour: str) -> Text:
    """Return a line of the ledger, the name of its engine in its colour."""
    return Text(line, style, spans=[Span(0, _NAMED, colour)])


def _ledger_columns(*cells: str) -> str:
    engine, purpose, fate, calls, prompt, cached, output, seconds, cost = cells
    spent = f"{calls:>6} {prompt:>8} {cached:>8} {output:>7} {seconds:>7} {cost:>9}"
    return f"{engine:<{_NAMED}} {purpose:<8} {fate:<11} {spent}".rstrip()


def _ledger_line(
    engine: str, purpose: str, fate: str, rows: Sequence[Mapping[str, Any]], reports: set[str], has_cost: bool
) -> str:
    def total(key: str) -> Any:
        return sum(row[key] for row in rows)

    tells_cached = any(row["engine"] in reports for row in rows)
    return _ledger_columns(
        first_words(engine, _NAMED),
        first_words(purpose, _NAMED),
        fate,
        str(total("calls")),
        str(total("prompt_tokens")),
        str(total("cached_tokens")) if tells_cached else "-",
        f"{'~' if total('uncertain') else ''}{total('output_tokens')}",
        f"{total('seconds'):.2f}",
        f"{total('cost'):.4g}" if has_cost else "",
    )


def ledger_rows(stored: StoredRun) -> list[dict[str, Any]]:
    """Return the rows of the ledger; of a run that has not ended what it has used so far, calls in flight left out."""
    rows: list[dict[str, Any]] = loads(stored.outcome.ledger) if stored.outcome else _unfinished(stored).rows()
    return rows


def ledger_notes(stored: StoredRun, rows: Sequence[Mapping[str, Any]]) -> Iterator[Text]:
    """Yield what is to be said below the ledger, line by line."""
    described = loads(stored.run.engines)
    engines, reports = list(described), _reports(described)
    everything = sum(row["output_tokens"] for row in rows)
    if everything and len(engines) > 1:
        by_large = sum(row["output_tokens"] for row in rows if row["engine"] == engines[-1])
        yield Text(f"{engines[-1]} produced {by_large / everything:.0%} of all output tokens")
    for name in engines:
        for said in _means(rows, name):
            yield Text(f"{name}: {said}")
    if any(row["uncertain"] for row in rows):
        yield Text("~ is a bound, not a count: a call was cut off", "dim")
    if any(row["engine"] in engines and row["engine"] not in reports for row in rows):
        yield Text("- under cached: the server does not report it", "dim")


def _reports(described: Mapping[str, Any]) -> set[str]:
    """Return the engines whose servers report cached tokens."""
    return {name for name, can in described.items() if can.get("cached_tokens")}


def _means(rows: Sequence[Mapping[str, Any]], engine: str) -> Iterator[str]:
    """Say how an engine's server went about its calls, where it told."""

    def total(key: str) -> Any:
        return sum(row.get(key, 0) for row in rows if row["engine"] == engine)  # runs of before did not count it

    if total("drafts"):
        yield str(Drafting(total("drafts"), total("drafted"), total("accepted")))
    if (queued := total("queued")) and (streamed := total("streamed")):
        first_token_s, queue_s = total("first_token_s") / streamed, total("queue_s") / queued
        yield f"first token {1000 * first_token_s:.0f} ms, queued {1000 * queue_s:.0f} ms, on average"


def _unfinished(stored: StoredRun) -> Ledger:
    """Return what a run without an outcome has used so far; calls in flight are left out."""
    ledger = Ledger(tuple(loads(stored.run.engines)))
    kept = {(row.step, row.attempt) for row in stored.kept()}
    over = dropped(stored)
    for intent, result in stored.calls:
        if result is None:
            continue
        if result.status != "done":
            fate = Fate.FAILED if result.status == "failed" else Fate.INTERRUPTED
        elif intent.seq in over:
            fate = Fate.DISCARDED
        else:
            stands = intent.purpose not in WRITING or (intent.step, intent.attempt) in kept
            fate = Fate.USED if stands else Fate.DISCARDED
        ledger.add(intent.engine, intent.purpose, fate, entry_of(result))
    return ledger
