"""Behaviors learned from runs: what a large engine reflects on and extracts, read, gated, and added to a handbook.

Reflecting and extracting are runs of their own: they are in the journal with their ledgers, within the pipeline's
budget, and never made twice, because their ids follow from what is asked and of whom. A learner that was killed goes
on where it was, and what it adds is added whole or not at all.

Source: Metacognitive Reuse, arXiv:2509.13237 (solution, reflection, extraction). Differs: only runs whose outcome is
known are learned from; the solution is the run's own; what cannot be read is asked for once more; and a behavior has
to pass the gates of handbook/gates.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from json import loads
from typing import NamedTuple

from orchestrator.answers import is_same
from orchestrator.errors import ModelMisbehaved
from orchestrator.handbook.gates import Passed, Refused, gated
from orchestrator.handbook.prompts import extraction, reflection, repair
from orchestrator.handbook.proposals import Proposal, proposals_in
from orchestrator.memory.base import StoredRun
from orchestrator.memory.handbook import Change, Handbook
from orchestrator.memory.ids import derived
from orchestrator.runtime.opening import task_of
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.think_tags import said
from orchestrator.types import Message, Task, question_of

__all__ = ["Learnt", "Strategist"]

LEARNS = "learn "
"""How the batch of a run begins that is no task of the user's, but a question of a strategist."""
_TRACE_CHARS = 24_000
"""Of a long trace its beginning and its end are shown, half of this each."""
_KNOWN = 40
"""Behaviors that a proposal is compared with: those that share most of its words."""


class Learnt(NamedTuple):
    """What came of learning from one run."""

    run: str
    added: tuple[Change, ...]
    refused: tuple[Refused, ...]
    unusable: str
    """Why nothing could be read in what the engine wrote; empty where it could."""
    output_tokens: int
    """Of all that was asked, what had been asked before included."""
