"""What is said above the steps of a stored run: what was asked, of whom, how it was routed and how it ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from json import loads
from textwrap import wrap

from rich.text import Span, Text

from orchestrator.memory.base import StoredRun, asked_last
from orchestrator.runtime.colours import STATUS, engine_colours
from orchestrator.runtime.counterfactuals import counterfactuals_of
from orchestrator.runtime.in_force import recalled_in
from orchestrator.runtime.marks import CITED, RECALLED, UNCALIBRATED
from orchestrator.runtime.rows import letters
from orchestrator.visible import counted, first_words

__all__ = ["begun", "ended", "field_lines", "fields", "heading", "title"]

Field = tuple[str, str]

_INDENT = 9
_FIELD_LINES = 3


def heading(stored: StoredRun, width: int) -> Iterator[Text]:
    """Yield the lines above the steps, of at most `width` characters."""
    yield title(stored)
    yield from field_lines(fields(stored), stored, width)


def title(stored: StoredRun) -> Text:
    """Return the first line: which run, how it ended, how many steps stand and how long it took."""
    style = STATUS.get(stored.status, "red")
    line = Text.assemble(("run ", "bold"), (stored.run.id, "bold"), "  ", (stored.status, style))
    line.append(f"  {counted(len(stored.kept()), 'step')}")
    if stored.outcome:
        line.append(f"  {stored.outcome.seconds:.1f} s")
    return line


def fields(stored: StoredRun) -> list[Field]:
    """Return what there is to say about a run as a whole, by name; a name is empty where its line goes on."""
    return [*begun(stored), *ended(stored)]


def begun(stored: StoredRun) -> list[Field]:
    """Return what of it was so from the beginning."""
    started = datetime.fromtimestamp(stored.run.created_s).astimezone()
    asked = asked_last(loads(stored.run.task)["messages"])
    said = [("started", f"{started:%Y-%m-%d %H:%M:%S %z}"), ("asked", asked), *_engines(stored)]
    said += [("router", _router(stored)), *_calibrated(stored)]
    if stored.run.parent:
        said.append(("fork of", stored.run.parent))
    return said


def ended(stored: StoredRun) -> list[Field]:
    """Return what of it came with the steps, and how they ended."""
    return [*_behaviors(stored), *_ending(stored)]


def field_lines(said: Sequence[Field], stored: StoredRun, width: int) -> Iterator[Text]:
    """Yield fields of a run as lines of at most `width` characters, each engine's name in its colour."""
    colours = engine_colours(stored)
    engines = dict(zip(_engines(stored), colours.items(), strict=True))
    for field in said:
        name, colour = engines.get(field, ("", ""))
        for number, text in enumerate(_field(*field, width)):
            if not number and colour:
                text.spans.append(Span(_INDENT, _INDENT + len(name), colour))
            yield text


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
    lines = wrap(words, letters(words, room), max_lines=_FIELD_LINES, placeholder=" …")
    for number, line in enumerate(lines or [""]):
        yield Text.assemble((f"{'' if number else name:<{_INDENT}}", "dim"), line)


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
