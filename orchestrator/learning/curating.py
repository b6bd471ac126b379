"""Keep a stored handbook small; see handbook/curating.py for what is done to it."""

from __future__ import annotations

from orchestrator.behaviors import Merge, Retire
from orchestrator.errors import UserError
from orchestrator.handbook.curating import curated
from orchestrator.memory.changes import Change
from orchestrator.memory.handbook import Handbook

__all__ = ["curate", "planned"]


def planned(handbook: Handbook, *, most: int, min_uses: int = 8) -> list[Merge | Retire]:
    """Return what would be done so that at most `most` behaviors are left, none that harms after `min_uses` uses.

    Meanings are compared where vectors are stored; nothing is embedded.
    """
    return curated(handbook.behaviors(), most=most, min_uses=min_uses, vectors=handbook.meanings())


def curate(handbook: Handbook, *, most: int, min_uses: int = 8) -> list[Change]:
    """Do it, and return what was changed. Raises StoreError."""
    while True:
        head = handbook.head
        try:
            return handbook.apply(planned(handbook, most=most, min_uses=min_uses), reason="curated")
        except UserError:
            if handbook.head == head:
                raise  # else another process has changed what was looked at: look again
