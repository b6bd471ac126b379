"""Behaviors ranked for a question, by words and by what they mean; and the embedding of them that this needs.

Source: reciprocal rank fusion; see handbook/choosing.py. What is not embedded yet is found by its words only, and how
much that is, is said with what was found.
"""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.behaviors import Behavior
from orchestrator.engines.embedding import Embedding
from orchestrator.errors import EngineError
from orchestrator.handbook.choosing import fused
from orchestrator.handbook.prompts import line
from orchestrator.memory.handbook import Handbook

__all__ = ["AT_ONCE", "embed", "ranked"]

AT_ONCE = 256
"""Behaviors without a vector that one question embeds; the others wait for the next one, or for somebody who embeds
them all."""


async def ranked(
    handbook: Handbook, question: str, limit: int, embedding: Embedding | None, *, sections: Sequence[str] = ()
) -> tuple[list[tuple[Behavior, float]], str]:
    """Return behaviors with their scores, best first, and by what they were found.

    At most `limit` are by words, and as many by meaning. An engine that cannot embed leaves the words, and its error
    is in the second. Raises BadConfig for an embedding that cannot be had as it is described, and StoreError.
    """
    by_words = handbook.search(question, limit, sections=sections)
    if embedding is None:
        return by_words, "words"
    try:
        space = await embedding.space()
        left = await embed(handbook, embedding)
        (vector,) = await embedding.embed([question])
    except EngineError as error:
        return by_words, f"words, not by meaning: {error}"
    near = handbook.nearest(space, vector, limit, sections=sections)
    known = {each.id: each for each, _ in (*by_words, *near)}
    scores = fused([[each.id for each, _ in ranking] for ranking in (by_words, near)])
    yet = f", {left:,} not embedded yet" if left else ""
    return [(known[id], score) for id, score in scores], f"words and meaning{yet}"


async def embed(handbook: Handbook, embedding: Embedding, most: int = AT_ONCE) -> int:
    """Embed at most so many behaviors that have no vector as they are now; return how many are left.

    Raises EngineError, BadConfig or StoreError; what was embedded before is kept.
    """
    space = await embedding.space()
    if missing := handbook.without_vector(space, most):
        vectors = await embedding.embed([f"{line(each)}" for each in missing])
        handbook.put_vectors(space, dict(zip(missing, vectors, strict=True)))
    return handbook.num_without_vector(space)
