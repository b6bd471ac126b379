"""Which tasks?  Each workload is a function of its options."""

from __future__ import annotations

import inspect
from typing import Any

from orchestrator import registry
from orchestrator.errors import UserError

__all__ = ["WORKLOADS", "workload_of"]

WORKLOADS = {
    "random-calculation": "orchestrator.bench.workloads.generated:random_calculation",
    "reasoning-gym": "orchestrator.bench.workloads.generated:reasoning_gym",
    "errands": "orchestrator.bench.workloads.errands:errands",
    "jsonl": "orchestrator.bench.workloads.jsonl:jsonl",
}


def workload_of(name: str, options: dict[str, Any]) -> Any:
    """Return the workload called `name` with `options`.

    Raises UnknownName, listing all, or UserError for an option it does not have.
    """
    make = registry.find("workloads", name, WORKLOADS)
    try:
        inspect.signature(make).bind(**options)
    except TypeError as error:
        known = ", ".join(inspect.signature(make).parameters)
        raise UserError(f"workload {name}: {error}; its options: {known}") from None
    return make(**options)
