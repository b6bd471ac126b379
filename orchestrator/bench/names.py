"""What policies and routers are called in tables and words: their labels, shortened where those are long."""

from __future__ import annotations

import re
from collections.abc import Sequence

from orchestrator.bench.policies import RANDOM

__all__ = ["short_names"]

_LABEL = 30
_FILE = re.compile(r"\.json@\w+$")
"""What a file's name says beside which one it is."""


def short_names(labels: Sequence[str]) -> dict[str, str]:
    """Return what each policy or router is called: its label, or what is left of it without the options' names.

    No two have the same name, but for random controls right behind their policy.
    """
    found: dict[str, str] = {}
    for before, label in zip(["", *labels], labels, strict=False):
        if before and label == f"{RANDOM}@{before}":
            found[label] = "  random, same large share"
        elif len(label) <= _LABEL:
            found[label] = label
        else:
            short = _shortened(label, _LABEL)
            mark = f"~{len(found)}"
            found[label] = short if short not in found.values() else f"{_shortened(label, _LABEL - len(mark))}{mark}"
    return found


def _shortened(label: str, letters: int) -> str:
    router, *options = label.split(":")
    values = [_FILE.sub("", option.partition("=")[2] or option) for option in options]
    short = ":".join([router, *values])
    return short if len(short) <= letters else f"{short[:10]}~{short[11 - letters :]}"
