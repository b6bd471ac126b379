"""Behaviors ranked for a question, by words and by what they mean; and the embedding of them that this needs.

What is not embedded yet is found by its words only, and how much that is, is said with what was found.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple
from weakref import WeakKeyDictionary

from orchestrator.behaviors import Behavior
from orchestrator.engines.embedding import Embedding
from orchestrator.errors import BadConfig, EngineError, EngineProtocol, UserError
from orchestrator.handbook.choosing import mixed
from orchestrator.handbook.prompts import line
from orchestrator.memory.handbook import Handbook

__all__ = ["AT_ONCE", "Ranked", "embed", "ranked", "vectors_of"]

AT_ONCE = 256
"""Behaviors without a vector that one question embeds; the others wait for the next one, or for somebody who embeds
them all."""
_TURNS: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()
"""Runs that begin at once embed one after the other, or each would embed what the others do."""


class Ranked(NamedTuple):
    """What is found for a question."""

    behaviors: list[tuple[Behavior, float]]
    """Best first. A score is the cosine, 0 for what is not embedded; BM25 where nothing is known of meaning; its worth
    where the topic found it."""
    by: str
    """See Recalled."""
    has_cosines: bool


async def ranked(
    handbook: Handbook, question: str, limit: int, embedding: Embedding | None, *, sections: Sequence[str] = ()
) -> Ranked:
    """Return what is found: at most `limit` behaviors by words, and as many by meaning if there is an `embedding`.

    An engine that cannot embed, or whose vectors are no directions in its space, leaves the words. Raises BadConfig
    for an embedding that cannot be had as it is described, and StoreError.
    """
    by_words = handbook.search(question, limit, sections=sections)
    if embedding is None:
        return Ranked(by_words, "words", False)
    try:
        space = await embedding.space()
        left = await embed(handbook, embedding)
        (vector,) = await vectors_of(embedding, [question])
        near = handbook.nearest(space, vector, limit, sections=sections, beside=[each for each, _ in by_words])
    except BadConfig:
        raise
    except (EngineError, UserError) as error:
        return Ranked(by_words, f"words, not by meaning: {error}", False)
    known = {each.id: each for each, _ in (*by_words, *near)}
    cosines = {each.id: cosine for each, cosine in near}
    order = mixed([(each.id, score) for each, score in by_words], cosines)
    yet = f", {left:,} not embedded yet" if left else ""
    return Ranked([(known[id], cosines.get(id, 0.0)) for id in order], f"words and meaning{yet}", True)


async def embed(handbook: Handbook, embedding: Embedding, most: int = AT_ONCE) -> int:
    """Embed at most so many behaviors that have no vector as they are now; return how many are left.

    Raises EngineError, BadConfig, StoreError, or UserError for vectors that are no directions in their space; what was
    embedded before is kept.
    """
    space = await embedding.space()
    async with _TURNS.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
        if missing := handbook.without_vector(space, most):
            vectors = await vectors_of(embedding, [line(each) for each in missing])
            handbook.put_vectors(space, dict(zip(missing, vectors, strict=True)))
    return handbook.num_without_vector(space)


async def vectors_of(embedding: Embedding, texts: Sequence[str]) -> list[list[float]]:
    """Return one vector for each text, all of one length. Raises EngineProtocol for any other answer, and what embeds
    may raise itself."""
    found = await embedding.embed(texts)
    lengths = sorted({len(each) for each in found})
    if len(found) != len(texts) or len(lengths) > 1:
        of = f" of {' and '.join(map(str, lengths))} numbers" if lengths else ""
        raise EngineProtocol(f"it gave {len(found)} vectors{of} for {len(texts)} texts", engine="embedding")
    return found
