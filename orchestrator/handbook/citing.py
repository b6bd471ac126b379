"""Which behaviors does a text refer to by name?"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from orchestrator.behaviors import PREFIX

__all__ = ["Citations", "citations"]

_CITED = re.compile(rf"(?<!\w)[{PREFIX[0]}{PREFIX[0].upper()}]{PREFIX[1:]}[a-z0-9]+(?:_[a-z0-9]+)*(?!\w)")


class Citations(NamedTuple):
    """Names, each once, in the order they come: of the text, or as they were provided."""

    cited: tuple[str, ...]
    """Provided, and named in the text."""
    unprovided: tuple[str, ...]
    """Named in the text, and made up."""
    unused: tuple[str, ...]
    """Provided, and not named."""


def citations(text: str, provided: Iterable[str]) -> Citations:
    """Return what `text` cites of the names that were `provided`. A name inside a longer one is not cited; one that is
    written as LaTeX wants it, `behavior\\_add`, or as a sentence begins, `Behavior_add`, is."""
    named = tuple(dict.fromkeys(name.lower() for name in _CITED.findall(text.replace("\\_", "_"))))
    given = tuple(dict.fromkeys(provided))
    return Citations(
        tuple(name for name in named if name in given),
        tuple(name for name in named if name not in given),
        tuple(name for name in given if name not in named),
    )
