"""What the exits share: where in a thought they look, and what they say about what they saw.

Every look is an event. One that ends the thought is called `overthinking`; any other has the exit's own name, so that
later looks know what earlier ones read, and so that a run which thought to its end holds all that is needed to say
where it could have stopped.
"""

from __future__ import annotations

from typing import Literal, Protocol, get_args

from orchestrator.monitors.candidates import candidate_in, has_cue
from orchestrator.options import check_choice, check_whole
from orchestrator.think_tags import leaves_open
from orchestrator.types import Event, History, Step, StepKind, Stop

__all__ = ["OVERTHINKING", "UNCALIBRATED", "When", "check_looks", "is_place", "is_thinking", "looks_of", "told"]

OVERTHINKING = "overthinking"
"""Kind of the events that end a thought."""

UNCALIBRATED = "; uncalibrated"
"""How the reason of an event ends that acts by a threshold nobody chose on these engines' own tasks."""

When = Literal["candidates", "cues", "steps"]
"""Where to look: behind steps that state an answer, behind those with a sentence that doubts one, behind any."""


class Looks(Protocol):
    """The options of an exit that say where it looks."""

    @property
    def when(self) -> When: ...
    @property
    def every(self) -> int:
        """Look behind each so-manyth of these steps."""

    @property
    def max_looks(self) -> int:
        """Looks in a thought, at most."""


def check_looks(name: str, exit: Looks) -> None:
    """Raise UserError for options that say no place."""
    check_choice(name, exit, when=get_args(When))
    check_whole(name, exit, every=1, max_looks=1)


def is_place(history: History, name: str, exit: Looks) -> bool:
    """Return whether the exit called `name` looks behind the last step."""
    if not _is_meant(history.steps[-1], exit.when):
        return False
    if exit.every > 1 and sum(_is_meant(step, exit.when) for step in history.steps[history.window :]) % exit.every:
        return False
    return len(looks_of(history, name)) < exit.max_looks and is_thinking(history)


def is_thinking(history: History) -> bool:
    """Return whether a thought is open behind the last step: no answer is being written, and the text has not ended."""
    last = history.steps[-1]
    is_off = history.mode is not None and history.mode.think is False
    if is_off or last.kind is not StepKind.THOUGHT or last.stop is Stop.END:
        return False
    for step in reversed(history.steps):
        if step.kind is not StepKind.THOUGHT:
            break  # a turn ended there, and the next one thinks anew
        if (is_open := leaves_open(step.text)) is not None:
            return is_open
    return True


def looks_of(history: History, name: str) -> list[Event]:
    """Return what the exit called `name` saw in the window, in order."""
    return [event for event in history.events if event.kind == name and event.step >= history.window]


def told(look: Event, history: History, *, exits: bool, why: str) -> Event:
    """Return a look as it is told: by itself, or as the end of the thought for the reason `why`."""
    if not exits:
        return look
    thought = f"{history.thought_tokens} tokens were thought"
    return look._replace(kind=OVERTHINKING, reason=f"{why}; {thought}{UNCALIBRATED}", concludes=True)


def _is_meant(step: Step, when: When) -> bool:
    if step.kind is not StepKind.THOUGHT:
        return False
    if when == "candidates":
        return candidate_in(step.text) is not None
    return when == "steps" or has_cue(step.text)
