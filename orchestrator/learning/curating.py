"""Keep a stored handbook small; see handbook/curating.py for what is done to it.

What to do is worked out for the handbook as it is behind one change. What others do to a behavior in between, such as
crediting what was to be retired, leaves that one for the next time: a large handbook is never looked at without
somebody crediting something.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress

from orchestrator.behaviors import Merge, Retire
from orchestrator.errors import HandbookMoved
from orchestrator.handbook.curating import curated
from orchestrator.memory.handbook import Handbook

__all__ = ["curate", "planned"]


def planned(
    handbook: Handbook, *, most: int, min_uses: int = 8, new: Collection[int] | None = None
) -> list[Merge | Retire]:
    """Return what would be done so that at most `most` behaviors are left, none that harms after `min_uses` uses.

    Meanings are compared where vectors are stored; nothing is embedded. `new` are the ids of what has come since the
    rest was compared, None where nothing has been.
    """
    return curated(handbook.behaviors(), most=most, min_uses=min_uses, vectors=handbook.meanings(), new=new)


def curate(
    handbook: Handbook, *, most: int, min_uses: int = 8, new: Collection[int] | None = None
) -> list[Merge | Retire]:
    """Do it, and return what was done. Raises StoreError."""
    while True:
        head = handbook.head
        deltas = planned(handbook, most=most, min_uses=min_uses, new=new)
        with suppress(HandbookMoved):
            return handbook.tidy(deltas, behind=head, reason="curated")
