"""Pipelines whose engines write by prompt and seed, as real ones do: the same call, the same text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from orchestrator.decisions import Decision, handoff, keep, rollback
from orchestrator.doors import Ask
from orchestrator.engines.base import Request
from orchestrator.engines.scripted import Scripted
from orchestrator.memory.base import StoredRun
from orchestrator.runtime.fork import ancestors
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.types import Event, History, Signal, Step

ANSWER = "The answer is \\boxed{1}"


def draw(*parts: Any) -> int:
    """Return a number that follows from `parts`."""
    return int.from_bytes(blake2b(repr(parts).encode(), digest_size=4).digest())


def script(name: str, steps: int = 5) -> Callable[[Request], str]:
    """Write so many steps and an answer, rate with a digit, answer when made to."""

    def write(request: Request) -> str:
        assert request.prompt is not None
        ids = request.prompt.ids()
        drawn = draw(name, ids, request.seed)
        if request.purpose == "judge":
            return str(drawn % 10)
        if request.purpose == "probe":
            return f"{drawn % 2}}}"
        words = ("Wait, ", "so ", "yes, ")[drawn % 3]
        return ANSWER if bytes(ids).count(b"\n\n") >= steps else f"{words}{name} {drawn}\n\n"

    return write


class Check:
    """Stands for a verifier or a reward model."""

    engine = None
    logprobs = 0

    def __init__(self, name: str) -> None:
        self.name = name

    async def score(self, engine: str, stream: Any, draft: Step, call: Any) -> Signal:
        """Score by what is written."""
        return Signal(name=self.name, value=draw(draft.text) % 11 / 10)


def made(router: Any, **options: Any) -> Pipeline:
    """Return a pipeline of two scripts, with the journal in memory."""
    engines = {
        "small": Scripted(options.pop("small", script("small"))),
        "large": Scripted(options.pop("large", script("large"))),
    }
    scorers = {"verifier": Check("verifier"), "prm": Check("prm")}
    return Pipeline(
        engines, router, **{"db": ":memory:", "scorers": scorers, "seed": 1, "granularity": "fused", **options}
    )


def ran(router: Any, task: Any = "q", **options: Any) -> StoredRun:
    """Run a task and return the run as it is stored."""
    with made(router, **options) as pipeline:
        return pipeline.journal.run(pipeline.run(task).run_id)


def with_ancestors(pipeline: Pipeline, run_id: str) -> tuple[StoredRun, Sequence[StoredRun]]:
    """Return a run and those it was forked from."""
    stored = pipeline.journal.run(run_id)
    return stored, ancestors(pipeline.journal, stored)


@dataclass(frozen=True, kw_only=True)
class Wanders:
    """Decides all there is to decide about drafts."""

    async def after_draft(self, history: History, draft: Step, ask: Ask) -> Decision:
        """Keep, hand over for a while, or go back, by what is written."""
        match draw(draft.text) % 5:
            case 0:
                return handoff("large", until=draft.index + 2)
            case 1 if draft.attempt == 0 and draft.index:
                return rollback(draft.index - 1)
        return keep()


@dataclass(frozen=True, kw_only=True)
class Notes:
    """Notices something behind some steps."""

    kind: str = "stuck"
    raises = ("stuck", "drift", "milestone")

    def watch(self, history: History) -> Event | None:
        """Notice by what is written."""
        drawn = draw(self.kind, history.steps[-1].text, len(history.events), history.window)
        return Event(self.kind, f"{drawn % 7}", value=0.5) if drawn % 2 == 0 else None
