"""A stored run as a timeline: who wrote each step, how it was rated, what was thrown away, what it cost.

    run 06bk2v5x7q3m9d1p  completed  3 steps  large wrote 41% of tokens  2.1 s
    ...
        #  writer  verdict    score  threshold  margin  tokens     ms  reason
        0  small   kept         8.0        7.0    +1.0      34    120  rated high enough
              First, compute 38*4 = 152.
        1  small   x rejected   3.0        7.0    -4.0      28     98  rated too low
              | Then 98*6 = 580.
        1  large   kept           -          -       -      31    310  written without asking

Every text of a model or a stranger is made harmless first. Nothing depends on colour.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from json import loads
from textwrap import wrap
from typing import Any

from rich.cells import cell_len
from rich.text import Text

from orchestrator.engines.base import Drafting
from orchestrator.ledger import Fate, Ledger
from orchestrator.memory.base import DecisionRow, EventRow, SignalRow, StoredRun
from orchestrator.runtime.attempts import OBSERVED, Attempt, attempts
from orchestrator.runtime.calls import WRITING, entry_of
from orchestrator.runtime.counterfactuals import counterfactuals_of
from orchestrator.runtime.fork import FORKED
from orchestrator.runtime.hidden import DROPPED, dropped, hidden
from orchestrator.runtime.in_force import recalled_in
from orchestrator.runtime.marks import CITED, RECALLED, UNCALIBRATED
from orchestrator.runtime.remarks import Remark, remarks, told_between
from orchestrator.visible import first_words, visible

__all__ = ["candidates", "fields", "ledger_notes", "ledger_rows", "score", "timeline", "untold"]

MIN_WIDTH = 60
COUNTERFACTUAL = "counterfactual"

_STATUS_STYLES = {"completed": "green", "degraded": "yellow", "no_answer": "yellow", "budget": "yellow"}
_INDENT = 9
_FIELD_LINES = 3
_REMARK_LINES = 4
_NAMED = 8  # letters of an engine's name that fit its column
_RUN = 10  # letters of a run's id: the moment it began


def timeline(stored: StoredRun, ancestors: Sequence[StoredRun] = (), *, width: int = 80) -> Text:
    """Return the whole timeline as one text whose lines have at most `width` characters, at least 60.

    `ancestors`, oldest first, are the runs it was forked from; the ledger is that of the run alone.
    """
    width = max(width, MIN_WIDTH)
    drawn = Text(no_wrap=True, overflow="ignore")
    tried = candidates(stored, ancestors)
    steps = _steps(tried, remarks(stored, tried), width)
    for line in (*_head(stored, width), *steps, *_events(stored, width), *_account(stored)):
        line.truncate(width, overflow="ellipsis")
        drawn.append_text(line).append("\n")
    drawn.rstrip()
    return drawn


def _head(stored: StoredRun, width: int) -> Iterator[Text]:
    outcome = stored.outcome
    status = outcome.status if outcome else "unfinished"
    line = Text.assemble(("run ", "bold"), (stored.run.id, "bold"), "  ", (status, _STATUS_STYLES.get(status, "red")))
    line.append(f"  {_counted(len(stored.kept()), 'step')}")
    if outcome:
        line.append(f"  {outcome.seconds:.1f} s")
    yield line
    for name, value in fields(stored):
        yield from _field(name, value, width)


def fields(stored: StoredRun) -> list[tuple[str, str]]:
    """Return what there is to say about a run as a whole, by name; a name is empty where its line goes on."""
    started = datetime.fromtimestamp(stored.run.created_s).astimezone()
    said = [("started", f"{started:%Y-%m-%d %H:%M:%S %z}"), ("asked", _question(stored)), *_engines(stored)]
    said += [("router", _router(stored)), *_calibrated(stored)]
    if stored.run.parent:
        said.append(("fork of", stored.run.parent))
    return [*said, *_behaviors(stored), *_ending(stored)]


def _ending(stored: StoredRun) -> Iterator[tuple[str, str]]:
    outcome = stored.outcome
    if outcome is None:
        yield "ended", "not yet: it is running, or was interrupted and can be resumed"
        return
    yield "ended", outcome.reason
    if outcome.error and outcome.error != outcome.reason:
        yield "error", outcome.error
    yield "answer", "none found" if outcome.answer is None else outcome.answer


def _behaviors(stored: StoredRun) -> Iterator[tuple[str, str]]:
    """Say what the run was shown of a handbook, or would have been, and what of that its text cites."""
    recalled = recalled_in(stored)
    if recalled is None:
        return
    named = ", ".join(each.name for each in recalled.behaviors if each.id not in recalled.left_out) or "nothing"
    source = f"by {recalled.by}, from handbook {recalled.handbook} at change {recalled.head}"
    later = sum(event.kind == RECALLED and event.step > 0 for event in stored.events)
    source += f"; others from later steps on ({later})" if later else ""
    yield "withheld" if recalled.is_withheld else "shown", f"{named}, {source}"
    if recalled.left_out:
        yield "left out", ", ".join(each.name for each in recalled.behaviors if each.id in recalled.left_out)
    cited = [loads(event.detail) for event in stored.events if event.kind == CITED]
    if cited:
        yield "cited", ", ".join(cited[-1]["cited"]) or "nothing"
    if cited and cited[-1]["unprovided"]:
        yield "made up", ", ".join(cited[-1]["unprovided"])


def _field(name: str, value: str, width: int) -> Iterator[Text]:
    room = width - _INDENT
    words = first_words(value, _FIELD_LINES * room)
    lines = wrap(words, _letters(words, room), max_lines=_FIELD_LINES, placeholder=" …")
    for number, line in enumerate(lines or [""]):
        yield Text.assemble((f"{'' if number else name:<{_INDENT}}", "dim"), line)


def _letters(words: str, room: int) -> int:
    """Return how many letters fit into a line: half as many where some are wide, all of one line may be."""
    return room // 2 if cell_len(words) > len(words) else room


def _question(stored: StoredRun) -> str:
    messages = loads(stored.run.task)["messages"]
    asked: str = next((content for role, content in reversed(messages) if role == "user"), messages[-1][1])
    return asked


def _engines(stored: StoredRun) -> Iterator[tuple[str, str]]:
    for place, (name, can) in enumerate(loads(stored.run.engines).items()):
        yield "" if place else "engines", f"{name}: {can['model']} on {can['server']}"


def _router(stored: StoredRun) -> str:
    router = loads(stored.run.settings).get("router")
    if not isinstance(router, Mapping):
        return str(router)
    options = " ".join(f"{name}={value}" for name, value in router.items() if name != "policy")
    return f"{router.get('policy', '')}  {options}".strip()


def _calibrated(stored: StoredRun) -> Iterator[tuple[str, str]]:
    """Say what the router's threshold was chosen by, where it is a router that chooses."""
    settings = loads(stored.run.settings)
    router = settings.get("router")
    if calibration := settings.get("calibration"):
        yield "", calibration["said"]
    elif isinstance(router, Mapping) and "threshold" in router:
        yield "", UNCALIBRATED
    if told := counterfactuals_of(stored):
        scored = f", scored by {told.scorer}" if told.scorer else ""
        yield "", f"counterfactuals at {told.share:.0%} of the steps{scored}"


def _steps(tried: Sequence[Attempt], said: Sequence[Remark], width: int) -> Iterator[Text]:
    yield Text()
    titles = ("#", "writer", "verdict", "score", "need", "margin", "tokens", "ms", "reason")
    yield Text(_columns(*titles), "dim")
    left = list(said)
    for place, each in enumerate(tried):
        while left and left[0].place <= place:
            yield from _remark(left.pop(0), width)
        yield from _step(each, width)
    for remark in left:
        yield from _remark(remark, width)


def _remark(remark: Remark, width: int) -> Iterator[Text]:
    """Yield all of it on several lines; of a long one the end, where it says what it is worth, and the beginning."""
    words = " ".join(visible(f"-- {remark.what}{f': {remark.reason}' if remark.reason else ''}").split())
    half = _REMARK_LINES * width // 2
    if len(words) > 2 * half:
        words = f"{words[:half]} … {words[-half:]}"
    for line in wrap(words, _letters(words, width - 2), subsequent_indent="   "):
        yield Text("  " + line, "bold")


def candidates(stored: StoredRun, ancestors: Sequence[StoredRun] = ()) -> list[Attempt]:
    """Return what was tried; a step that was only written to be compared says so."""
    told = counterfactuals_of(stored)
    return [
        each._replace(reason=COUNTERFACTUAL)
        if told and each.verdict == "not taken" and told.is_sampled(each.step)
        else each
        for each in attempts(stored, ancestors)
    ]


def _columns(*cells: str) -> str:
    step, writer, verdict, score, threshold, margin, tokens, ms, reason = cells
    measured = f"{threshold:>5} {margin:>6} {tokens:>6} {ms:>6}"
    rated = f"{verdict:<12} {score:>{5 - max(len(verdict) - 12, 0)}}"  # `x rolled back` takes a letter of the score's
    return f"{step:>4} {writer:<{_NAMED}} {rated} {measured}  {reason}"


def _step(each: Attempt, width: int) -> Iterator[Text]:
    stands = each.verdict in ("kept", "inherited", OBSERVED)
    reason = f"from run {first_words(each.origin, _RUN)}" if each.origin else each.reason
    style = "" if stands else "dim"
    decision = each.decision
    head = _columns(
        str(each.step),
        first_words(each.writer, _NAMED),
        each.verdict if stands else f"x {each.verdict}",
        score(each.signals[0], decision) if each.signals else "-",
        _number(decision.threshold if decision else None),
        _number(decision.margin if decision else None, sign="+"),
        f"{'~' if each.is_bound else ''}{each.output_tokens}",
        f"{1000 * each.seconds:.0f}",
        "",
    )
    fits = len(reason) <= width - len(head)
    yield Text(head + first_words(reason, width) if fits else head.rstrip(), style)
    if not fits:
        yield Text(f"       {first_words(reason, width - 7)}", "dim")
    if served := ", ".join(_served(each)):
        yield Text(f"       {served}", "dim")
    for signal in each.signals[1:]:
        yield Text(f"       {first_words(signal.name, 20)} {_reading(signal)} {signal.unit}", "dim")
    for signal in each.signals:
        if signal.value is None:
            yield Text(f"       no {signal.name}: {first_words(signal.reason, width - 12 - len(signal.name))}", "dim")
    if each.text:
        words = first_words(each.text, width - 9)
        yield Text(f"       {words}" if stands else f"       | {words}", style)


def _served(each: Attempt) -> Iterator[str]:
    """Say how the server went about it, where the server says."""
    if each.drafting is not None:
        yield str(each.drafting)
    if each.queue_s is not None:
        if each.first_token_s is not None:
            yield f"first token {1000 * each.first_token_s:.0f} ms"
        yield f"queued {1000 * each.queue_s:.0f} ms"


def score(signal: SignalRow, decision: DecisionRow | None) -> str:
    """Return a reading in the unit that the decision's threshold is in: not every policy goes by the raw one."""
    if decision is not None and None not in (signal.value, decision.threshold, decision.margin):
        assert signal.value is not None and decision.threshold is not None and decision.margin is not None
        if abs(signal.value - decision.threshold - decision.margin) < 1e-9:
            return _number(signal.value)
    return _reading(signal)


def _reading(signal: SignalRow) -> str:
    return _number(signal.value if signal.raw is None else signal.raw, missing="none")


def _number(value: float | None, *, sign: str = "", missing: str = "-") -> str:
    if value is None:
        return missing
    return f"{value:{sign}.3f}" if 0 < abs(value) < 1 else f"{value:{sign}.1f}"


def _events(stored: StoredRun, width: int) -> Iterator[Text]:
    for event, why in untold(stored):
        line = f"     event at step {event.step}: {event.kind}{f': {why}' if why else ''}"
        yield Text("     " + first_words(line, width - 5), "dim")


def untold(stored: StoredRun) -> Iterator[tuple[EventRow, str]]:
    """Yield the events that are not told between the steps or above them, each with its reason, "" where it has none.

    A fork begins, though it is opened as a resumed run is.
    """
    before = ""
    for event in stored.events:
        is_begun, before = before == FORKED and event.kind == "resumed", event.kind
        is_told = event.kind in (DROPPED, CITED) or (event.kind == RECALLED and event.step == 0)
        if not (is_begun or is_told or told_between(event.kind, event.detail)):
            yield event, loads(event.detail).get("reason", "") if event.detail else ""


# ---- the ledger


def _account(stored: StoredRun) -> Iterator[Text]:
    rows = ledger_rows(stored)
    described = loads(stored.run.engines)
    reports = _reports(described)
    has_cost = any(row["cost"] for row in rows)
    yield Text()
    titles = ("engine", "purpose", "fate", "calls", "prompt", "cached", "output", "s", "cost" if has_cost else "")
    yield Text(_ledger_columns(*titles), "dim")
    for row in rows:
        style = "" if row["fate"] == Fate.USED else "dim"
        yield Text(_ledger_line(row["engine"], row["purpose"], row["fate"], [row], reports, has_cost), style)
    for name in described:
        own = [row for row in rows if row["engine"] == name]
        if own:
            yield Text(_ledger_line(name, "all", "", own, reports, has_cost), "bold")
    yield Text(_ledger_line("all", "", "", rows, reports, has_cost), "bold")
    yield from ledger_notes(stored, rows)
    if "overlap" in loads(stored.run.settings):
        taken, num_dropped, seconds = hidden(stored)
        yield Text(
            f"overlap: {_counted(taken, 'text')} begun early, {_counted(num_dropped, 'call')} dropped, "
            f"{seconds:.2f} s hidden"
        )


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


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
