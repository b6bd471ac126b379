"""Documents in batches: a shard is a pure function of (stage, index, mistakes), so nothing is stored.

A row holds one document, its branches behind its trunk. Documents are sorted by length (with some
jitter), so rows of one batch are about equally long and little is padding; every batch holds about
the same number of tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from train.text import STAGES, Document, Writer

__all__ = ["BATCH_TOKENS", "CONTEXT", "Batch", "batch_of", "batches"]

BATCH_TOKENS = 8192
"""Of a batch, padding included, at most."""
CONTEXT = 2048
"""Longer documents are left out."""
DOCUMENTS = 4096
"""Documents in a shard."""
SEED = 20_261_122


@dataclass(frozen=True, slots=True)
class Batch:
    """One document per row; every array is (rows, length)."""

    ids: Tensor
    positions: Tensor
    branch: Tensor
    """0 for the trunk, -1 for padding."""
    visible: Tensor
    """How much of the trunk a token sees."""
    weights: Tensor
    """Weight of predicting the *next* token from here; 0 in the last column."""

    def mask(self) -> Tensor:
        """True where a token may look, shape (rows, 1, length, length)."""
        column = torch.arange(self.ids.shape[1])
        in_trunk = (self.branch == 0).unsqueeze(1) & (column < self.visible.unsqueeze(2))
        in_branch = (self.branch.unsqueeze(2) == self.branch.unsqueeze(1)) & (column <= column.unsqueeze(1))
        return (in_trunk | in_branch).unsqueeze(1)

    def part(self, number: int, count: int) -> Batch | None:
        """Return every `count`-th row from row `number` on, cut to its longest; None where there is none."""
        rows = slice(number, None, count)
        length = int((self.branch[rows] >= 0).sum(1).max()) if number < len(self.ids) else 0
        if not length:
            return None
        arrays = (self.ids, self.positions, self.branch, self.visible, self.weights)
        return Batch(*(array[rows, :length] for array in arrays))

    def num_tokens(self) -> int:
        """Tokens that are no padding."""
        return int((self.branch >= 0).sum())


def batch_of(documents: Sequence[Document]) -> Batch:
    """These documents as one batch."""
    shape = (len(documents), max(map(len, documents)))
    ids, positions, visible = (np.zeros(shape, dtype=np.int64) for _ in range(3))
    branch = np.full(shape, -1, dtype=np.int64)
    weights = np.zeros(shape, dtype=np.float32)
    for row, document in enumerate(documents):
        first = 0
        trunk = (0, document.ids, document.weights)
        for number, part in enumerate([trunk, *((b.start, b.ids, b.weights) for b in document.branches)]):
            start, part_ids, part_weights = part
            last = first + len(part_ids)
            ids[row, first:last] = part_ids
            positions[row, first:last] = np.arange(start, start + len(part_ids))
            branch[row, first:last] = number
            visible[row, first:last] = np.arange(1, last + 1) if number == 0 else start
            weights[row, first : last - 1] = part_weights[1:]  # the first token of a branch is never predicted
            first = last
    return Batch(*map(torch.from_numpy, (ids, positions, branch, visible, weights)))


def batches(
    tokenizer: Tokenizer, stage: str, index: int, own: Sequence[Mapping[str, Any]] = (), count: int = DOCUMENTS
) -> list[Batch]:
    """Shard `index` of a stage, in its order."""
    random = Random(f"{SEED}/{stage}/{index}")
    writer = Writer(tokenizer, random, STAGES[stage], own)
    documents = [writer.document() for _ in range(count)]
    documents = [document for document in documents if len(document) <= CONTEXT]
    documents.sort(key=lambda document: len(document) * random.uniform(0.9, 1.0))
    groups: list[list[Document]] = [[]]
    longest = 0
    for document in documents:
        longest = max(longest, len(document))
        if groups[-1] and longest * (len(groups[-1]) + 1) > BATCH_TOKENS:
            groups.append([])
            longest = len(document)
        groups[-1].append(document)
    random.shuffle(groups)
    return [batch_of(group) for group in groups]
