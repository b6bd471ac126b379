"""What most other samples of the same prompt say after the row's last tokens.

Source: speculative decoding for multi-sample inference, the consensus of sibling paths. Differs: siblings are
recognised by their prompts' tokens, because the hook names no request; their texts are searched for the longest
common end rather than aligned.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from orchestrator.engines.speculation.matching import END, LEAST, after_pair, longest, voted
from orchestrator.engines.speculation.rows import Row
from orchestrator.engines.speculation.sources.base import Source

__all__ = ["Siblings"]

DEEPEST = 8


class Siblings(Source):
    """Drafts what the row's siblings agree on, weighted by how many say it; nothing for a row without any."""

    def draft(self, row: Row, rows: Sequence[Row], limit: int) -> list[int]:
        """Return the majority's continuation at the longest match."""
        others = [each.ids[each.num_prompt :] for each in rows if each is not row and _is_sibling(row, each)]
        if not others or len(row.ids) < LEAST:
            return []
        text = np.concatenate([part for other in others for part in (other, [END])]).astype(np.int32)
        places = after_pair(text, row.ids[-LEAST:])
        places = places[text[places] != END]
        if not len(places):
            return []
        best, _ = longest(text, places, row.ids, DEEPEST)
        return voted(text, best, limit, least_share=0.5)


def _is_sibling(one: Row, other: Row) -> bool:
    return one.num_prompt == other.num_prompt and bool(
        np.array_equal(one.ids[: one.num_prompt], other.ids[: other.num_prompt])
    )
