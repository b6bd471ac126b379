"""What was learned once?  How behaviors are read from what engines write, let in, chosen, shown, and counted."""

from orchestrator.handbook.recall import Recall

__all__ = ["Recall"]
