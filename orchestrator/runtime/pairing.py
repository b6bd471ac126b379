"""Which engines was this fitted on?  Names, what they serve, how they tokenise, and what they say greedily.

A threshold or a trained router is worth something for the engines it was fitted on and for no others. A
server's name for its model does not tell a fine-tune, a quantisation or other weights under the same name;
a few greedy tokens of fixed prompts do, nearly always. Two servers of the same model whose arithmetic rounds
differently may differ in such a token, too: then they count as another pair, and calibrating again mends it.
"""

from __future__ import annotations

from asyncio import gather
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from hashlib import blake2b
from typing import Any

from orchestrator.engines.base import Capabilities, Chain, Engine, Request
from orchestrator.errors import UserError
from orchestrator.types import Message, Sampling

__all__ = ["FINGERPRINT", "PROMPTS", "Pair", "Writer", "pair_of"]

PROMPTS = (
    "Compute 17*6 - 45.",
    "Which is the third planet from the sun?",
    "Continue: one, two, three,",
)
"""Every character is part of the fingerprint."""
FINGERPRINT = "fingerprint"
"""The purpose of the calls that ask for it."""

_TOKENS = 12
_GREEDY = Sampling(temperature=0.0, top_p=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """One engine of a pair."""

    name: str
    """In the pipeline."""
    serves: str
    """What its server calls the model."""
    tokenizer: str
    """Hash of the tokenizer's behaviour; empty for a chat-only API."""
    greedy: str
    """Hash of what it writes greedily to PROMPTS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The writing engines of a pipeline, cheapest first; two is common, any number is allowed."""

    writers: tuple[Writer, ...]

    def differs_from(self, other: Pair) -> str:
        """Return what differs, this pair's value first, in one line; empty if they are the same."""
        names, others = ([each.name for each in pair.writers] for pair in (self, other))
        if names != others:
            return f"its engines are {', '.join(names)}, not {', '.join(others)}"
        for ours, theirs in zip(self.writers, other.writers, strict=True):
            if ours.serves != theirs.serves:
                return f"engine {ours.name!r} is {ours.serves!r}, not {theirs.serves!r}"
            if ours.tokenizer != theirs.tokenizer:
                return f"engine {ours.name!r}: {ours.serves!r} with another tokenizer"
            if ours.greedy != theirs.greedy:
                return f"engine {ours.name!r}: {ours.serves!r}, but other weights: it writes other texts greedily"
        return ""

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {"writers": [asdict(writer) for writer in self.writers]}

    @classmethod
    def from_json(cls, given: Any) -> Pair:
        """Return the pair that `to_json` gave. Raises UserError for anything else."""
        wanted = {each.name for each in fields(Writer)}
        writers = given.get("writers") if isinstance(given, Mapping) and len(given) == 1 else None
        if not isinstance(writers, list) or not writers:
            raise UserError("no identity of a pair: it has to be a table of writers")
        for writer in writers:
            if not isinstance(writer, Mapping) or writer.keys() != wanted:
                raise UserError(f"no identity of a pair: a writer has {', '.join(sorted(wanted))}")
            if not all(isinstance(value, str) for value in writer.values()):
                raise UserError("no identity of a pair: what a writer has are texts")
        return cls(writers=tuple(Writer(**writer) for writer in writers))


async def pair_of(engines: Mapping[str, Engine], found: Mapping[str, Capabilities], writers: Iterable[str]) -> Pair:
    """Return the identity of the engines `writers`, which were started and `found` to be what they are.

    Three short greedy calls to each, outside of any run. Raises EngineError.
    """
    names = tuple(writers)
    said = await gather(*(_greedy(engines[name], found[name]) for name in names))
    return Pair(
        writers=tuple(
            Writer(name=name, serves=found[name].model, tokenizer=found[name].tokenizer, greedy=greedy)
            for name, greedy in zip(names, said, strict=True)
        )
    )


async def _greedy(engine: Engine, can: Capabilities) -> str:
    texts = [await _text(engine, can, prompt) for prompt in PROMPTS]
    return _hash(texts)


async def _text(engine: Engine, can: Capabilities, prompt: str) -> str:
    """Return the first few tokens that an engine writes to a prompt when nothing is drawn."""
    messages = (Message("user", prompt),)
    options: dict[str, Any] = {"sampling": _GREEDY, "max_tokens": _TOKENS, "seed": 0, "purpose": FINGERPRINT}
    if not can.continues:
        return (await engine.complete(Request(messages=messages, **options))).text
    prefix = Chain(await engine.render(messages)).prefix()
    return (await engine.complete(Request(prompt=prefix, **options))).text


def _hash(texts: Sequence[str]) -> str:
    named = "".join(f"{len(text)}:{text}" for text in texts)
    return blake2b(named.encode("utf-8", "surrogatepass"), digest_size=10).hexdigest()
