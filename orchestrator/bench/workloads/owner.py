"""Which split owns a task, whoever ran it: so that nobody learns from what is to be reported.

A task that a workload made proves it by its id, which is that of what is asked; any other task is its user's own, and
is cut as `bench` cuts a file of tasks.
"""

from __future__ import annotations

import re
from hashlib import sha256

from orchestrator.bench.workloads import jsonl
from orchestrator.bench.workloads.splits import split_of as split_of_text
from orchestrator.bench.workloads.splits import split_of_number
from orchestrator.bench.workloads.steps import expression_in
from orchestrator.types import Task

__all__ = ["split_of"]

_BY_NUMBER = re.compile(r"(?:errand|behavior)-([0-9a-f]{12})")
_BY_TEXT = re.compile(r"\w+-([0-9a-f]{12})")


def split_of(task: Task) -> str:
    """Return `train`, `calibration` or `report`."""
    name = task.id or ""
    if found := _BY_NUMBER.fullmatch(name):
        return split_of_number(int(found[1], 16))
    if found := _BY_TEXT.fullmatch(name):
        prompt = task.messages[-1].content
        expression = expression_in(prompt) or prompt
        if found[1] == _digest(prompt):  # a calculation with an id for each wording is still cut by its expression
            return split_of_text(expression if name.startswith("calc-") else prompt)
        if found[1] == _digest(expression):
            return split_of_text(expression)
    return jsonl.split_of(task)


def _digest(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
