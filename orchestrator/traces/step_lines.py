"""Everything about one step of a stored run, as lines: what `step_of` finds, every text in full and made harmless."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from textwrap import wrap
from typing import Any

from rich.text import Text

from orchestrator.engines.base import Drafting
from orchestrator.memory.base import StoredRun
from orchestrator.runtime.attempts import STANDS
from orchestrator.runtime.calls import WRITING
from orchestrator.runtime.colours import VERDICTS, engine_colours
from orchestrator.runtime.paper import folded
from orchestrator.runtime.rows import letters, number
from orchestrator.traces.step import step_of
from orchestrator.visible import counted, visible

__all__ = ["step_text"]


def step_text(stored: StoredRun, ancestors: Sequence[StoredRun], step: int, *, width: int = 80) -> Text:
    """Return step `step`, from 0, as a text whose lines have at most `width` columns. Raises UserError as `step_of`."""
    told = step_of(stored, ancestors, step)
    colours = engine_colours(stored)
    places = {(each["run"], each["attempt"]): place for place, each in enumerate(told["candidates"], 1)}
    about = _About(stored.run.id, places)
    lines = [Text.assemble((f"run {stored.run.id}  step {step}", "bold"), f"  of 0 to {told['steps'] - 1}")]
    for place, each in enumerate(told["candidates"], 1):
        lines += [Text(), *_candidate(place, each, about, colours, width)]
    for name, tell in (
        ("decisions", _decision),
        ("signals", _signal),
        ("calls", _call),
        ("events", _event),
        ("counterfactuals", _counterfactual),
    ):
        if told[name]:
            lines += [Text(), Text(name, "bold")]
        for each in told[name]:
            head, *rest = (part for part in tell(each) if part)
            lines.append(Text(f"{about.mark(each):<3}{head}{about.origin(each)}"))
            lines += [line for part in rest for line in _body("     ", part, "dim", width)]
    return Text("\n").join(part for line in lines for part in folded(line, width))


class _About:
    """Which candidate something is about, by its number above, and which run it is of where that is another one."""

    def __init__(self, run: str, places: Mapping[tuple[str, int], int]) -> None:
        self._run, self._places = run, places

    def mark(self, each: Mapping[str, Any]) -> str:
        return str(self._places.get((each["run"], each.get("attempt", -1)), "-"))

    def origin(self, each: Mapping[str, Any]) -> str:
        return "" if each["run"] == self._run else f"  from run {each['run']}"


def _candidate(
    place: int, each: Mapping[str, Any], about: _About, colours: Mapping[str, str], width: int
) -> Iterator[Text]:
    stands, colour = each["verdict"] in STANDS, colours.get(each["writer"], "")
    verdict = each["verdict"] if stands else f"x {each['verdict']}"
    took = f"{'~' if each['is_bound'] else ''}{_cost(each)}"
    yield Text.assemble(
        f"{place:<3}",
        (_line(each["writer"]), colour),
        "  ",
        (verdict, VERDICTS.get(each["verdict"], "")),
        f"  {took}{about.origin(each)}",
    )
    if each["reason"]:
        yield from _body("     ", _line(each["reason"]), "dim", width)
    for line in visible(each["text"]).expandtabs(4).rstrip("\n").split("\n") if each["text"] else ():
        yield from _body("   " if stands else "   | ", line, colour if stands else f"dim {colour}", width)


def _decision(each: Mapping[str, Any]) -> Iterator[str]:
    yield f"{each['door']}: {each['action']} {_line(each['engine'])}".rstrip()
    yield _line(each["reason"])
    if each["threshold"] is not None and each["margin"] is not None:
        reading = number(each["threshold"] + each["margin"])
        yield f"{reading} against {number(each['threshold'])}, margin {number(each['margin'], sign='+')}"
    if each["alternatives"]:
        yield f"could have been: {_line(', '.join(each['alternatives']))}"
    if each["policy"]:
        yield f"by {_line(each['policy'])}"
    yield _detail(each["detail"])


def _signal(each: Mapping[str, Any]) -> Iterator[str]:
    cost = _cost(each)
    if each["value"] is None:
        yield f"{_line(each['name'])}  none  {cost}"
        yield _line(each["reason"]) or "nobody said why"
        return
    raw = "" if each["raw"] is None else f"  raw {each['raw']:.6g} {_line(each['unit'])}".rstrip()
    yield f"{_line(each['name'])}  {each['value']:.6g}{raw}  {cost}"
    yield _line(each["reason"])


def _call(each: Mapping[str, Any]) -> Iterator[str]:
    yield f"{each['purpose']} by {_line(each['engine'])}  {each['status']}  call {each['seq']}"
    yield f"seed {each['seed']}  prompt {each['digest']}"
    if "output_tokens" not in each:
        yield f"{each['prompt_tokens']} prompt, at most {each['max_tokens']} output tokens"
        return
    cached = "" if each["cached_tokens"] is None else f" ({each['cached_tokens']} cached)"
    bound = "~" if each["uncertain"] else ""
    yield (
        f"{each['prompt_tokens']} prompt tokens{cached}, {bound}{each['output_tokens']} output "
        f"of at most {each['max_tokens']}"
    )
    yield _ending(each)
    if each["drafts"] is not None:
        drafting = Drafting(each["drafts"], each["drafted"] or 0, each["accepted"] or 0)
        yield f"{counted(each['drafts'], 'draft')} verified: {drafting}"
    if each["error"]:
        yield f"error: {_line(each['error'])}"
    if each["text"] and each["purpose"] not in WRITING:
        yield f"answered: {_line(each['text'])}"


def _ending(each: Mapping[str, Any]) -> str:
    times = [f"{1000 * each['seconds']:.0f} ms"]
    if each["first_token_s"] is not None:
        times.append(f"first token {1000 * each['first_token_s']:.0f} ms")
    if each["queue_s"] is not None:
        times.append(f"queued {1000 * each['queue_s']:.0f} ms")
    stop = f"; stopped by {each['stop']}" if each["stop"] else ""
    return ", ".join(times) + stop + (f" {visible(ascii(each['stop_text']))}" if each["stop_text"] else "")


def _event(each: Mapping[str, Any]) -> Iterator[str]:
    detail = dict(each["detail"])
    yield _line(each["kind"])
    yield _line(str(detail.pop("reason", "")))
    yield _detail(detail)


def _counterfactual(each: Mapping[str, Any]) -> Iterator[str]:
    stands = "the largest engine's" if each["is_large"] else "the smaller engine's"
    if each["kept"] is None and each["other"] is None:
        yield f"{stands} stands; nobody scored the two"
        return
    kept, other = (number(each[name], missing="nothing") for name in ("kept", "other"))
    yield f"{stands} stands, scored {kept}; the other one, {other}"


def _cost(each: Mapping[str, Any]) -> str:
    return f"{counted(each['output_tokens'], 'token')}  {1000 * each['seconds']:.0f} ms"


def _detail(detail: Mapping[str, Any]) -> str:
    return _line("  ".join(f"{name}={value}" for name, value in detail.items()))


def _line(text: str) -> str:
    """Return all of `text` on one line, made harmless."""
    return " ".join(visible(text).split())


def _body(prefix: str, words: str, style: str, width: int) -> Iterator[Text]:
    """Yield `words` in as many lines as they need, each behind `prefix`."""
    room = max(width - len(prefix), 1)
    for piece in wrap(words, letters(words, room), replace_whitespace=False, break_on_hyphens=False) or [""]:
        yield Text(prefix + piece, style)
