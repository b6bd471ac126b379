"""Two scripts that differ on marked steps only: there the small one is unsure and wrong, elsewhere they agree."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from math import log
from typing import Any

from orchestrator.engines.base import Request
from orchestrator.engines.scorers.verifier import Verifier
from orchestrator.engines.scripted import Reply, Scripted
from orchestrator.memory.base import StoredRun
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.types import Message, Task

STEPS = 5
SURE, UNSURE = {"S": log(0.95), "T": log(0.04)}, {"S": log(0.55), "T": log(0.44)}


def tasks(number: int, first: int = 0) -> list[Task]:
    return [Task.of(f"Question {place}?") for place in range(first, first + number)]


def is_marked(question: str, step: int) -> bool:
    return blake2b(f"{question} {step}".encode(), digest_size=1).digest()[0] % 3 == 0


def place_of(request: Request) -> tuple[str, int]:
    """Return the question and the step that a request is for."""
    assert request.prompt is not None
    text = bytes(request.prompt.ids()).decode()
    return text.partition("user: ")[2].partition("\n")[0], text.count("\n\n")


def small(request: Request) -> Reply:
    question, step = place_of(request)
    if step == STEPS:
        return Reply(text=r"\boxed{7}", top=SURE)
    if is_marked(question, step):
        return Reply(text=f"Such a guess {step}.\n\n", top=UNSURE)
    return Reply(text=f"Some work {step}.\n\n", top=SURE)


def large(request: Request) -> Reply:
    _, step = place_of(request)
    if step == STEPS:
        return Reply(text=r"\boxed{7}", top=SURE)
    return Reply(text=f"Some work {step}.\n\n", top=SURE)


def check(messages: Sequence[Message], kept: Sequence[str], draft: str) -> float:
    return 0.2 if "guess" in draft else 0.9


def pipeline(router: Any = "small", *, db: str = ":memory:", **options: Any) -> Pipeline:
    """Return a pipeline of both scripts with the scorers `verifier` and `prm`, which say the same."""
    engines = {"small": Scripted(small), "large": Scripted(large)}
    scorers = {name: Verifier(check=check) for name in ("verifier", "prm")}
    return Pipeline(engines, router, scorers=scorers, db=db, **options)


def calls(stored: StoredRun, engine: str) -> list[tuple[int, str]]:
    """Return the step and the purpose of every call of an engine."""
    return [(call.intent.step, call.intent.purpose) for call in stored.calls if call.intent.engine == engine]
