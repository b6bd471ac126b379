"""One candidate of a step, or one remark between candidates, as lines of a timeline.

#  writer  verdict    score  threshold  margin  tokens     ms  reason
1  small   x rejected   3.0        7.0    -4.0      28     98  rated too low
      | Then 98*6 = 580.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from textwrap import wrap

from rich.cells import cell_len
from rich.text import Span, Text

from orchestrator.memory.base import DecisionRow, SignalRow
from orchestrator.runtime.attempts import STANDS, Attempt
from orchestrator.runtime.colours import VERDICTS
from orchestrator.runtime.remarks import Remark
from orchestrator.visible import first_words, visible

__all__ = ["letters", "number", "reading", "row", "score", "titles"]

_REMARK_LINES = 4
_NAMED = 8  # letters of an engine's name that fit its column
_RUN = 10  # letters of a run's id: the moment it began
_WRITER, _VERDICT = (5, 13), (14, 27)  # where in a row they stand


def titles() -> Text:
    """Return the line above the rows."""
    return Text(_columns("#", "writer", "verdict", "score", "need", "margin", "tokens", "ms", "reason"), "dim")


def row(item: Attempt | Remark, width: int, colours: Mapping[str, str]) -> Iterator[Text]:
    """Yield the lines of one of them, of at most `width` characters; `colours` are those of the engines, by name."""
    return _remark(item, width) if isinstance(item, Remark) else _step(item, width, colours)


def _remark(remark: Remark, width: int) -> Iterator[Text]:
    """Yield all of it on several lines; of a long one the end, where it says what it is worth, and the beginning."""
    words = " ".join(visible(f"-- {remark.what}{f': {remark.reason}' if remark.reason else ''}").split())
    half = _REMARK_LINES * width // 2
    if len(words) > 2 * half:
        words = f"{words[:half]} … {words[-half:]}"
    for line in wrap(words, letters(words, width - 2), subsequent_indent="   "):
        yield Text("  " + line, "bold")


def letters(words: str, room: int) -> int:
    """Return how many letters fit into a line: half as many where some are wide, all of one line may be."""
    return room // 2 if cell_len(words) > len(words) else room


def _columns(*cells: str) -> str:
    step, writer, verdict, score, threshold, margin, tokens, ms, reason = cells
    measured = f"{threshold:>5} {margin:>6} {tokens:>6} {ms:>6}"
    rated = f"{verdict:<12} {score:>{5 - max(len(verdict) - 12, 0)}}"  # `x rolled back` takes a letter of the score's
    return f"{step:>4} {writer:<{_NAMED}} {rated} {measured}  {reason}"


def _step(each: Attempt, width: int, colours: Mapping[str, str]) -> Iterator[Text]:
    stands = each.verdict in STANDS
    colour = colours.get(each.writer, "")
    head, reason = _measured(each), f"from run {first_words(each.origin, _RUN)}" if each.origin else each.reason
    fits = len(reason) <= width - len(head)
    line = Text(head + first_words(reason, width) if fits else head.rstrip(), "" if stands else "dim")
    line.spans += [Span(*_WRITER, colour), Span(*_VERDICT, VERDICTS.get(each.verdict, ""))]
    yield line
    if not fits:
        yield Text(f"       {first_words(reason, width - 7)}", "dim")
    for detail in _details(each, width):
        yield Text(f"       {detail}", "dim")
    if each.text:
        words = first_words(each.text, width - 9)
        yield Text(f"       {words}", colour) if stands else Text(f"       | {words}", f"dim {colour}")


def _measured(each: Attempt) -> str:
    decision = each.decision
    return _columns(
        str(each.step),
        first_words(each.writer, _NAMED),
        each.verdict if each.verdict in STANDS else f"x {each.verdict}",
        score(each.signals[0], decision) if each.signals else "-",
        number(decision.threshold if decision else None),
        number(decision.margin if decision else None, sign="+"),
        f"{'~' if each.is_bound else ''}{each.output_tokens}",
        f"{1000 * each.seconds:.0f}",
        "",
    )


def _details(each: Attempt, width: int) -> Iterator[str]:
    if served := ", ".join(_served(each)):
        yield served
    for signal in each.signals[1:]:
        yield f"{first_words(signal.name, 20)} {reading(signal)} {first_words(signal.unit, 20)}"
    for signal in each.signals:
        if signal.value is None:
            name = first_words(signal.name, 20)
            yield f"no {name}: {first_words(signal.reason, width - 12 - len(name))}"


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
            return number(signal.value)
    return reading(signal)


def reading(signal: SignalRow) -> str:
    """Return a reading in its own unit, `none` where there is none."""
    return number(signal.value if signal.raw is None else signal.raw, missing="none")


def number(value: float | None, *, sign: str = "", missing: str = "-") -> str:
    """Return a number with as many places as a reader needs."""
    if value is None:
        return missing
    return f"{value:{sign}.3f}" if 0 < abs(value) < 1 else f"{value:{sign}.1f}"
