"""Code that the user brought into a run: what it raises says whose it is, and ends the run with what was kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from langgraph.errors import GraphBubbleUp

from orchestrator.errors import OrchestratorError, PartFailed
from orchestrator.visible import first_words

__all__ = ["brought"]

_MOST = 200
"""Characters of what it says that are told."""


@contextmanager
def brought(who: str) -> Iterator[None]:
    """Call code of `who` inside. Raises PartFailed for whatever it raises that is not meant for us or for the graph."""
    try:
        yield
    except (OrchestratorError, GraphBubbleUp):
        raise
    except Exception as error:
        said = ": ".join(filter(None, (type(error).__name__, first_words(str(error), _MOST))))
        raise PartFailed(f"{who} raised {said}: mend it, or leave it out") from error
