"""Notice a call whose arguments name what nobody has told of: neither the task nor anything that was observed.

It compares words and numbers, not meaning: what an agent knows or has worked out by itself is ungrounded, too, so the
monitor is for tools that take names and figures from the task and from each other, not for those that take programs
or free text. What it does see it sees at the first such call, where rules about loops need several.

Source: none; the observation behind it is that of hallucinated tool arguments.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.monitors.reading import spaced, words
from orchestrator.monitors.window import moves_of
from orchestrator.options import check_lists, check_texts
from orchestrator.types import Event, History, StepKind, question_of

__all__ = ["Ungrounded"]

_IN_BRACKETS = re.compile(r"\((.*)\)", re.DOTALL)
_NAMES = re.compile(r"\b[A-Za-z_]\w*\s*=(?!=)")
"""Of arguments that are given by name."""
_REACH = 2_000
"""Steps that are looked at, the last ones, so that a long run costs no more."""
_LONGEST = 2_000
"""Characters of a call that are read, the first ones."""
_SHOWN = 5
"""Words that the event names."""


@dataclass(frozen=True, kw_only=True)
class Ungrounded:
    """Raise an event behind every call that has a word or number in its arguments that came from nowhere.

    An answer tells of nothing that its own call has brought up: `no such item: moon` makes no moon.
    """

    kind: str = "ungrounded"
    """What the event is called, and so what is done about it; `stuck` is what a cascade hands over for by itself."""
    ignore: Sequence[str] = ()
    """Words that need no ground, such as the names of options or 100; whatever the case."""

    def __post_init__(self) -> None:
        check_texts("monitor ungrounded", self, kind="name the event, such as ungrounded or stuck")
        check_lists("monitor ungrounded", self, ignore="words")
        for word in self.ignore:
            check_texts("monitor ungrounded", {"ignore": word}, ignore="")

    @property
    def raises(self) -> tuple[str, ...]:
        """The kind, and no other."""
        return (self.kind,)

    def watch(self, history: History) -> Event | None:
        """Look for the words of the last call in everything that came before it."""
        if history.steps[-1].kind is not StepKind.OBSERVATION:
            return None
        (move,) = moves_of(history, last=1)
        missing = dict.fromkeys(words(_given(move.action)))
        for word in (*(each.lower() for each in self.ignore), *words(question_of(history.task.messages))):
            missing.pop(word, None)
        for asked, answered in _answers_before(history):
            if not missing:
                break
            if _may_tell(answered, missing):
                for word in ({*words(answered)} - {*words(asked)}) & missing.keys():
                    del missing[word]
        if not missing:
            return None
        named = ", ".join(list(missing)[:_SHOWN])
        return Event(self.kind, f"nobody has told of {named}: {move.action[:200]}", value=len(missing), threshold=1)


def _may_tell(answer: str, missing: Iterable[str]) -> bool:
    """Whether an answer has one of the words, before it is split into its own, which costs twenty times more."""
    text = answer.lower()
    near = [word for word in missing if word in text]
    return bool(near) and any(f" {word} " in spaced(text) for word in near)


def _answers_before(history: History) -> Iterator[tuple[str, str]]:
    """Yield the calls and answers before the last ones, latest first, as far back as is looked."""
    steps = history.steps
    for place in range(len(steps) - 2, max(-1, len(steps) - _REACH), -1):
        if steps[place].kind is StepKind.OBSERVATION:
            yield steps[place - 1].text if place else "", steps[place].text


def _given(action: str) -> str:
    """Return the arguments of a call without their names: JSON's values, or what stands in the outermost brackets."""
    begin, text = action.find("{"), action[:_LONGEST]
    if '"arguments"' in text and begin >= 0:
        try:
            call, _ = json.JSONDecoder().raw_decode(text[begin:])
        except ValueError:
            return ""
        return " ".join(_values(call.get("arguments")))
    found = _IN_BRACKETS.search(text)
    return _NAMES.sub(" ", found[1]) if found else ""


def _values(given: Any) -> Iterator[str]:
    if isinstance(given, dict | list):
        for each in given.values() if isinstance(given, dict) else given:
            yield from _values(each)
    elif given is not None and not isinstance(given, bool):
        yield str(given)
