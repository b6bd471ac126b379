"""Make a source or a length from how a configuration names it: a name, or [name, options]."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator import registry

__all__ = ["made"]


def made(wanted: str | list[Any], group: str, table: Mapping[str, str], **options: Any) -> Any:
    """Return what is registered as `wanted`, made with its options and ours.

    Raises UnknownName, TypeError for an option that it does not have, ValueError for one out of its range.
    """
    name, given = (wanted, {}) if isinstance(wanted, str) else (wanted[0], dict(wanted[1]))
    return registry.find(group, name, table)(**options, **given)
