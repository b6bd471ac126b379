"""Examples as ids, and ids as batches; the ids are made by the function that makes them when the router is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from orchestrator.engines.scorers.annotated import ids_of
from orchestrator.learning.fitting import balanced
from orchestrator.learning.labelled import Example
from torch import Tensor

__all__ = ["Encoded", "Padded", "encode", "micro_batches", "order", "padded"]


class Encoded(NamedTuple):
    """Examples as ids."""

    ids: list[list[int]]
    labels: list[int]
    advantages: list[float]
    tasks: list[str]
    too_long: int
    """Examples left out because they exceed the context."""


class Padded(NamedTuple):
    """A batch with its fill at the right, where causal attention does not see it."""

    ids: Tensor
    """(examples, longest)."""
    mask: Tensor
    last: Tensor
    """Place of each example's last token."""
    labels: Tensor


def encode(tokenizer: Any, examples: Sequence[Example], context: int) -> Encoded:
    """Tokenise; no text can become a special token, as when the router is asked."""

    @cache
    def text_ids(text: str) -> list[int]:
        return list(tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True))

    async def asked(text: str) -> list[int]:
        return text_ids(text)

    async def all_ids() -> list[list[int]]:
        return [await ids_of(each.pieces, asked) for each in examples]

    pairs = [(ids, each) for ids, each in zip(asyncio.run(all_ids()), examples, strict=True) if len(ids) <= context]
    return Encoded(
        [ids for ids, _ in pairs],
        [each.label for _, each in pairs],
        [each.advantage for _, each in pairs],
        [each.task for _, each in pairs],
        len(examples) - len(pairs),
    )


def order(labels: Sequence[int], batch: int, seed: int, *, balance: bool) -> Iterator[list[int]]:
    """Yield the places of each update's examples, epoch after epoch, for ever: a function of the arguments."""
    places, _ = balanced(np.array(labels, dtype=bool), "downsample" if balance else "none", seed)
    if not len(places):
        raise SystemExit("no example of one of the two labels is left to train on")
    epoch = 0
    while True:
        mixed = np.random.default_rng((seed, epoch)).permutation(places).tolist()
        yield from (mixed[start : start + batch] for start in range(0, len(mixed), batch))
        epoch += 1


def micro_batches(lengths: Sequence[int], places: Sequence[int], tokens: int) -> Iterator[list[int]]:
    """Yield `places` in parts of at most `tokens` padded tokens, one example at least; like lengths together."""
    part: list[int] = []
    for place in sorted(places, key=lambda place: lengths[place]):
        if part and (len(part) + 1) * lengths[place] > tokens:
            yield part
            part = []
        part.append(place)
    if part:
        yield part


def padded(encoded: Encoded, places: Sequence[int], fill: int, device: torch.device) -> Padded:
    """Return some examples as one batch."""
    rows = [encoded.ids[place] for place in places]
    longest = max(map(len, rows))
    ids = torch.full((len(rows), longest), fill)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = torch.tensor(row)
    last = torch.tensor([len(row) - 1 for row in rows])
    mask = (torch.arange(longest) <= last[:, None]).long()
    labels = torch.tensor([encoded.labels[place] for place in places])
    return Padded(ids.to(device), mask.to(device), last.to(device), labels.to(device))
