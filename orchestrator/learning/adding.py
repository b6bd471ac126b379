"""Let what was learned from a run into a stored handbook: gated, compared by words and by meaning, all of it at once.

What is added, what is refused, and that the run was learned from, are on disk together or not at all. Where another
process changes the handbook in between, everything is looked at again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from orchestrator.behaviors import Behavior
from orchestrator.engines.embedding import Embedding
from orchestrator.errors import EngineError, UnknownName, UserError
from orchestrator.handbook.gates import Meaning, Passed, Refused, Source, formed, gated, normalised
from orchestrator.handbook.prompts import line
from orchestrator.handbook.proposals import Proposal
from orchestrator.memory.changes import Change
from orchestrator.memory.handbook import Handbook
from orchestrator.memory.refusals import Refusal
from orchestrator.runtime.meaning import embed

__all__ = ["Added", "Adding"]

_KNOWN = 40
"""Behaviors that a proposal is compared with: those that share its rarest words."""


class Added(NamedTuple):
    """What came of some proposals."""

    changes: tuple[Change, ...]
    refused: tuple[Refused, ...]
    compared: str
    """By `words`, by `words and meaning`, or by words and why not by meaning."""


class Adding:
    """Adds to a handbook what the strategist that `who` names proposes; `embedding` is None where nothing embeds."""

    def __init__(self, handbook: Handbook, who: str, embedding: Embedding | None) -> None:
        self._handbook = handbook
        self._who = who
        self._embedding = embedding
        self._one_at_a_time = asyncio.Lock()  # what two runs teach at a time is not to be the same twice

    def has_studied(self, run_id: str) -> bool:
        """Return whether its strategist has learned from a run."""
        return self._handbook.has_studied(run_id, self._who)

    async def add(self, proposals: Sequence[Proposal], source: Source, reason: str) -> Added:
        """Add what passes the gates and keep what does not. Raises StoreError, and BadConfig for an embedding that is
        described as it cannot be had."""
        async with self._one_at_a_time:
            while True:
                head = self._handbook.head
                meanings, compared = await self._meanings(proposals, source)
                results = gated(proposals, self._known(proposals), source, meanings)
                deltas = [delta for each in results if isinstance(each, Passed) for delta in each.deltas]
                refused = tuple(each for each in results if isinstance(each, Refused))
                kept = [_refusal(each, source) for each in refused if not each.is_known]
                try:
                    changes = self._handbook.study(source.run, self._who, deltas, kept, reason=reason, behind=head)
                except UserError:
                    if self._handbook.head == head:
                        raise
                else:
                    return Added(tuple(changes), refused, compared)

    def _known(self, proposals: Sequence[Proposal]) -> list[Behavior]:
        """Return what proposals could repeat: what shares their words or their names, and what was retired."""
        found = {each.id: each for each in self._handbook.gone()}
        for proposal in proposals:
            alike = self._handbook.search(f"{proposal.name} {proposal.instruction}", _KNOWN)
            found |= {each.id: each for each, _ in alike}
            with suppress(UnknownName):
                namesake = self._handbook.behavior(normalised(proposal.name))
                found[namesake.id] = namesake
        return [*found.values()]

    async def _meanings(self, proposals: Sequence[Proposal], source: Source) -> tuple[list[Meaning], str]:
        """Return what each proposal means, nothing where nothing can be embedded, and by what they are compared."""
        if self._embedding is None:
            return [], "words"
        try:
            space = await self._embedding.space()
            while await embed(self._handbook, self._embedding):
                pass
            vectors = await self._embedding.embed([_line(each, source) for each in proposals])
        except EngineError as error:
            return [], f"words, not by meaning: {error}"
        nearest = [next(iter(self._handbook.nearest(space, vector, 1)), None) for vector in vectors]
        found = [(near[0].name, near[1]) if near else ("", 0.0) for near in nearest]
        return [Meaning(vector, *near) for vector, near in zip(vectors, found, strict=True)], "words and meaning"


def _line(proposal: Proposal, source: Source) -> str:
    """Return what is embedded of a proposal: the line it would have; of one that is none, nothing."""
    try:
        return line(Behavior(id=1, **formed(proposal, source)._asdict()))
    except UserError:
        return ""


def _refusal(refused: Refused, source: Source) -> Refusal:
    return Refusal(*refused.proposal, refused.gate, refused.reason, source.run, source.task)
