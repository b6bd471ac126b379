"""What a trainer reads is written once, however many runs wrote it: more of the same would only weigh it more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from json import dumps
from typing import Any

__all__ = ["AGAIN", "once"]

AGAIN = "an earlier one has the same messages"
"""Why a line is left out."""


def once(lines: Iterable[dict[str, Any]], left: Counter[str]) -> Iterator[dict[str, Any]]:
    """Yield the lines, those with the messages of an earlier one left out and counted in `left`; one that is no whole
    chat, such as a step of a log, is always yielded."""
    seen: set[bytes] = set()
    for line in lines:
        if "messages" in line:
            read = blake2b(dumps([line["messages"], line.get("tools")]).encode(), digest_size=16).digest()
            if read in seen:
                left[AGAIN] += 1
                continue
            seen.add(read)
        yield line
