"""What the engine that learns is asked, and how behaviors are shown to the one that uses them: words of our own.

A trace, an answer and a behavior are data. They stand between marks that are made longer than any run of the same
letter inside, so nothing in them can close a mark and speak for us; nor is anything in them a special token.

Source: Metacognitive Reuse, arXiv:2509.13237 (solution, reflection, extraction; behaviors shown with the request to
name each one that is used). Differs: the words are ours; the outcome of the run is told where it is known, so that
mistakes can become behaviors that say what not to do; what is asked for is short, as a small engine may read it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from orchestrator.behaviors import PREFIX, Behavior
from orchestrator.handbook.orders import tamed
from orchestrator.types import Message

__all__ = ["extraction", "fenced", "line", "lines", "reflection", "repair", "verdict", "with_behaviors"]

_WHAT = (
    "A behavior is a short instruction on how to think that can be reused on other problems: a strategy, a check, a "
    "shortcut, or a mistake to avoid. It is general, it can be acted on, and it is no solution: it never holds the "
    "numbers, the names or the answer of this problem."
)
_FORM = (
    f"Write one JSON object and nothing else. Each key is a name that begins with {PREFIX} and goes on in small "
    "letters, digits and underscores; each value is the instruction, one line, at most forty words. "
    "If there is nothing worth keeping, write {}."
)


def fenced(text: str) -> str:
    """Return a text between marks that it does not hold, tamed."""
    longest = max(map(len, re.findall("~+", text)), default=0)
    mark = "~" * max(3, longest + 1)
    return f"{mark}\n{tamed(text)}\n{mark}"


def reflection(question: str, trace: str, *, is_right: bool | None, is_judged: bool = False) -> tuple[Message, ...]:
    """Return what is asked first: what went well or wrong in a trace, and what would have helped.

    `is_judged` says that its outcome is an opinion.
    """
    who = "A reader holds its answer to be" if is_judged else "Its answer is"
    outcome = {True: f"{who} right.", False: f"{who} wrong.", None: "Nobody has checked its answer."}
    asked = (
        f"{_WHAT}\n\nHere is a problem:\n{fenced(question)}\n\n"
        f"Here is how somebody thought about it:\n{fenced(trace)}\n\n{outcome[is_right]}\n\n"
        "Reflect on it in a few sentences. Is every step true and called for; if not, where did it go wrong? Which "
        "behaviors would have made it shorter, or kept it from a mistake? Which would serve on problems like it?"
    )
    return (Message("user", asked),)


def extraction(
    question: str, trace: str, reflected: str, *, is_right: bool | None, is_judged: bool = False
) -> tuple[Message, ...]:
    """Return what is asked second, behind the reflection: the behaviors themselves."""
    asked = f"Now write down the behaviors that are worth keeping. {_FORM}"
    before = reflection(question, trace, is_right=is_right, is_judged=is_judged)
    return (*before, Message("assistant", tamed(reflected)), Message("user", asked))


def verdict(question: str, trace: str, answer: str) -> tuple[Message, ...]:
    """Return what a judge is asked about a run that nobody has checked."""
    asked = (
        f"Here is a problem:\n{fenced(question)}\n\nHere is how somebody thought about it:\n{fenced(trace)}\n\n"
        f"This is the answer they gave:\n{fenced(answer)}\n\n"
        "Check it by your own means. Is the answer right? End with one line: `Answer: yes` or `Answer: no`."
    )
    return (Message("user", asked),)


def repair(messages: Sequence[Message], said: str, error: str) -> tuple[Message, ...]:
    """Return what is asked, once, where what was written could not be read."""
    return (
        *messages,
        Message("assistant", tamed(said)),
        Message("user", f"That cannot be read: {tamed(error)}. {_FORM}"),
    )


def line(behavior: Behavior, mark: str = "") -> str:
    """Return how one behavior is shown, behind `mark`, tamed."""
    avoid = "avoid: " if behavior.polarity == "do_not" else ""
    return f"{mark}{behavior.name}: {avoid}{tamed(behavior.instruction)}"


def lines(behaviors: Sequence[Behavior], *, head: str, mark: str) -> str:
    """Return the lines that show behaviors: `head` above them, `mark` before each; empty where there are none."""
    return "\n".join([head, *(line(each, mark) for each in behaviors)]) if behaviors else ""


def with_behaviors(
    messages: Sequence[Message], behaviors: Sequence[Behavior], *, head: str, mark: str
) -> tuple[Message, ...]:
    """Return a conversation that begins with the behaviors, as the system's message; as it is where there are none.

    They stand first, so that tasks which recall the same ones share what an engine has cached of them. `head` is the
    line above them, `mark` what each begins with.
    """
    if not (said := lines(behaviors, head=head, mark=mark)):
        return tuple(messages)
    first, *rest = messages
    if first.role == "system":
        return (Message("system", f"{said}\n\n{first.content}"), *rest)
    return (Message("system", said), *messages)
