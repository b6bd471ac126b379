"""Engines that solve calculations like small models: one operation a step, wrong where they are told to be."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path

from orchestrator.bench.workloads.expression import read_expression
from orchestrator.bench.workloads.solution import solve
from orchestrator.bench.workloads.steps import check_step, expression_in
from orchestrator.engines.base import Request
from orchestrator.engines.scripted import Scripted
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.types import Message

Said = Callable[[Request], str]


def chance(*parts: object) -> float:
    """Return a number in [0, 1) that depends on nothing but `parts`."""
    return int.from_bytes(blake2b(repr(parts).encode(), digest_size=4).digest()) / 2**32


def asked_and_written(request: Request) -> tuple[str, list[str]]:
    """Return the question and the steps so far, as a request holds them."""
    assert request.prompt is not None
    question, _, written = bytes(request.prompt.ids()).decode().partition("assistant: ")
    written = written.partition("\nuser: ")[0]  # what the judge is asked comes behind it
    return question.partition("user: ")[2].strip(), [step.strip("\n") for step in written.split("\n\n") if step.strip()]


def next_step(question: str, steps: list[str]) -> str:
    """Return the right next step after `steps`, whatever they are worth."""
    problem = expression_in(question)
    assert problem is not None
    if not steps:
        return f"{problem}\n\n"
    state = steps[-1].rpartition("\n")[2]
    try:
        done = next(solve(read_expression(state)), None)
    except ValueError:  # a division that an error before it has made inexact
        return "</think>\n\\boxed{0}"
    return f"</think>\n\\boxed{{{state}}}" if done is None else f"{done.text}\n\n"


def spoilt(step: str) -> str:
    """Return a step whose result is wrong; one without a result as it was."""
    equation, newline, state = step.partition("\n")
    left, sign, result = equation.partition("=")
    if not sign:
        return step
    wrong = str(int(result) + 1) if result.lstrip("-").isdigit() else result
    return f"{left}={wrong}{newline}{state.replace(result, wrong, 1)}"


def text_of(request: Request, step_after: Callable[[str, list[str]], str]) -> str:
    """Return the next step, or all of them where no delimiter ends the call."""
    question, steps = asked_and_written(request)
    text = step = step_after(question, steps)
    while not request.stop and "</think>" not in step:
        steps.append(step.strip("\n"))
        step = step_after(question, steps)
        text += step
    return text


def small(error: float = 0.25) -> Said:
    """Return a script that spoils a share of its steps, always the same ones."""

    def step_after(question: str, steps: list[str]) -> str:
        step = next_step(question, steps)
        return spoilt(step) if chance(question, steps) < error else step

    return lambda request: text_of(request, step_after)


def large(request: Request) -> str:
    """Write right steps, and rate a draft by whether it is one, with a slip at one draft in ten."""
    if request.purpose != "judge":
        return text_of(request, next_step)
    question, steps = asked_and_written(request)
    is_right = check_step((Message("user", question),), steps[:-1], steps[-1]) == 1
    return "9" if is_right != (chance("slip", question, steps) < 0.1) else "2"


def pipeline(db: str | Path = ":memory:", *, first: Said | None = None, last: Said = large) -> Pipeline:
    """Return a pipeline of both."""
    return Pipeline({"small": Scripted(first or small()), "large": Scripted(last)}, "small", db=db)


def num_requests(made: Pipeline) -> int:
    """Return how often the engines of a pipeline were asked."""
    return sum(len(engine.requests) for engine in made.engines.values() if isinstance(engine, Scripted))
