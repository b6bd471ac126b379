"""Notice that a run answers something else than what it had thought.

Source: Think-Answer Mismatch, in the study "Are Reasoning Models More Prone to Hallucination?" (the final answer
differs from what was thought). Differs: rules, not an engine, find both answers, and numbers are compared as numbers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.answers import plain
from orchestrator.monitors.reading import number
from orchestrator.think_tags import CLOSES, OPENS
from orchestrator.types import Event, History, Step, StepKind, Stop

__all__ = ["ThinkAnswerMismatch"]

_KIND = "think-answer-mismatch"
_LONGEST = 4_000
"""Characters of either side that are read, its last ones."""
_STEPS = 64
"""Steps back that the end of the thought is looked for."""
_MARKED = re.compile(r"(?:\banswer(?: is| =|:)|####)[ *$]*(?=([^\n]{1,200}))", re.IGNORECASE)
_RIGHT_SIDE = re.compile(r"=[ $]*(-?\d[\d,]*(?:\.\d+)?(?:/\d+)?)(?! ?[-+*/×·^\d])")
_ANY = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:/\d+)?")


@dataclass(frozen=True, kw_only=True)
class ThinkAnswerMismatch:
    r"""Raise `think-answer-mismatch` when the answer differs from the thought's last one, once a window.

    An answer is what the last `\boxed{...}` or `answer is ...` holds; inside the thought, where there is none, the
    right side of the last equation, else the last number. Outside, where there is none, every number of the text may
    be meant. Silent where either side has none, or one is a number and the other is not.
    """

    raises = (_KIND,)

    def watch(self, history: History) -> Event | None:
        """Compare both sides of the last `</think>`, once there is an answer."""
        last = history.steps[-1]
        thought, answer = _sides(history.steps[history.window :][-_STEPS:])
        is_over = last.stop is Stop.END or last.kind is StepKind.ANSWER or _stated(answer)
        if not is_over or any(event.kind == _KIND and event.step >= history.window for event in history.events):
            return None
        inside = _stated(thought) or _last(_RIGHT_SIDE, thought) or _last(_ANY, thought)
        outside = [stated] if (stated := _stated(answer)) else _ANY.findall(answer)
        if inside is None or not outside or any(_agree(inside, each) for each in outside):
            return None
        return Event(_KIND, f"thought {inside[:80]!r}, answered {outside[-1][:80]!r}")


def _sides(steps: Sequence[Step]) -> tuple[str, str]:
    """The ends of the last thought and of what stands behind it; two empty texts while nothing does."""
    texts = [step.text for step in steps if step.kind is not StepKind.OBSERVATION]
    thought, closed, answer = "".join(texts).rpartition(CLOSES)
    if not closed and steps[-1].kind is StepKind.ANSWER:
        thought, closed, answer = "".join(texts[:-1]), "where the engine has no tags", texts[-1]
    return (thought.rpartition(OPENS)[2][-_LONGEST:], answer[-_LONGEST:]) if closed else ("", "")


def _stated(text: str) -> str | None:
    boxed, marked = text.rfind(r"\boxed{"), _last_match(_MARKED, text)
    if marked and marked.start() > boxed and r"\boxed{" not in marked.group(1):
        return _before_the_point(marked.group(1))
    return _braced(text[boxed + len(r"\boxed{") :]) if boxed >= 0 else None


def _before_the_point(text: str) -> str | None:
    return re.split(r"[.;!](?:\s|$)", text)[0].strip(" *$.") or None


def _braced(text: str) -> str | None:
    """What stands before the brace that closes the one before `text`."""
    depth = 1
    for place, char in enumerate(text):
        depth += (char == "{") - (char == "}")
        if not depth:
            return text[:place].strip() or None
    return None


def _last(pattern: re.Pattern[str], text: str) -> str | None:
    found = _last_match(pattern, text)
    return found.group(found.re.groups) if found else None


def _last_match(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    found = list(pattern.finditer(text))
    return found[-1] if found else None


def _agree(one: str, other: str) -> bool:
    """Whether two answers are the same, or cannot be compared."""
    left, right = number(one), number(other)
    if left is None and right is None:
        return plain(one) == plain(other)
    return left is None or right is None or left == right
