"""Which policy routed a stored run, made again from what the run keeps of it."""

from __future__ import annotations

from collections.abc import Mapping
from json import loads
from typing import Any

from orchestrator import policies
from orchestrator.errors import UserError
from orchestrator.memory.base import StoredRun
from orchestrator.routers.collect import Collect

__all__ = ["COLLECT", "router_of"]

COLLECT = "collect"
"""Name, in settings, of the policy of `orchestrator collect`, which no configuration can name."""


def router_of(stored: StoredRun, **options: Any) -> Any:
    """Return the router of a stored run as it was, but with other `options`.

    Raises UserError where the record does not suffice: a router without a registered name, or one read from a file;
    BadConfig for an option that it has not.
    """
    written = loads(stored.run.settings).get("router")
    if not isinstance(written, Mapping):
        raise UserError(f"run {stored.run.id} was routed by {written!r:.60}, which cannot be made again: name a router")
    given: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value  # JSON has no tuples, and options are no lists
        for name, value in written.items()
        if name != "policy" and value is not None
    }
    policy = str(written.get("policy", ""))
    if "learnt" in given:
        raise UserError(f"run {stored.run.id} was routed by {policy}, read from a file: name it with file=...")
    if ":" in policy:
        raise UserError(f"run {stored.run.id} was routed by {policy}, which has no registered name: name a router")
    name = policy.rpartition(" ")[0]
    if name != COLLECT:
        return policies.router(name, {**given, **options}, f"run {stored.run.id}")
    if options:
        raise UserError(f"run {stored.run.id} was collected, not routed by {', '.join(options)}: name a router")
    try:
        return Collect(**given)
    except TypeError as error:
        raise UserError(f"run {stored.run.id} cannot have been collected as it says: {error}") from error
