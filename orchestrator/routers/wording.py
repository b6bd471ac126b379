"""What a text and a history look like from outside, as a few bounded numbers: no engine is asked.

Every feature is 0 or 1, or a share in [0, 1]. Counts are thermometers ("at least 4 numbers", "at least 8"),
because a linear rule over them can follow any curve, and learns each stretch of it from few examples.
"""

from __future__ import annotations

import re

from orchestrator.types import History, Task

__all__ = ["PLACE", "WORDING", "of_place", "of_task"]

_NUMBERS, _CHARS, _STEPS, _TOKENS = (4, 8, 16), (100, 400, 1600), (2, 4, 8, 16), (32, 128)
_SEEN_CHARS = 1000
"""Of a long text only its end is looked at: that is where the question is."""
_NUMBER = re.compile(r"\d+")
_MARK = re.compile(r"[^\w\s]")
_BRACKET = re.compile(r"[(\[{]")

WORDING = (
    "one",
    *(f"numbers>={least}" for least in _NUMBERS),
    *(f"chars>={least}" for least in _CHARS),
    "brackets",
    "marks",
    "answered before",
)
"""Names of the features of a task, in order."""
PLACE = (
    *(f"steps>={least}" for least in _STEPS),
    *(f"last step tokens>={least}" for least in _TOKENS),
    "last step large",
    "large share",
)
"""Names of the features of a place in a run, in order."""


def of_task(task: Task) -> tuple[float, ...]:
    """Return the features of what is asked, those of WORDING."""
    asked = next((each.content for each in reversed(task.messages) if each.role == "user"), task.messages[-1].content)
    seen = asked[-_SEEN_CHARS:]
    numbers = sum(1 for _ in _NUMBER.finditer(seen))
    marks = sum(1 for _ in _MARK.finditer(seen))
    return (
        1.0,
        *_at_least(numbers, _NUMBERS),
        *_at_least(len(asked), _CHARS),
        float(_BRACKET.search(seen) is not None),
        marks / len(seen) if seen else 0.0,
        float(any(each.role == "assistant" for each in task.messages)),
    )


def of_place(history: History) -> tuple[float, ...]:
    """Return the features of where a run is, those of PLACE; all 0 before the first step."""
    steps = history.steps
    if not steps:
        return (0.0,) * len(PLACE)
    by_large = sum(step.writer == history.large for step in steps)
    return (
        *_at_least(len(steps), _STEPS),
        *_at_least(steps[-1].num_tokens, _TOKENS),
        float(steps[-1].writer == history.large),
        by_large / len(steps),
    )


def _at_least(count: int, marks: tuple[int, ...]) -> tuple[float, ...]:
    return tuple(float(count >= least) for least in marks)
