"""A server's side of the hook: rows of tokens whose true continuations are known, verified as vLLM does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from orchestrator.engines.speculation.drafter import Drafter

WIDTH = 4096


def drafter(most: int = 5, **options: Any) -> Drafter:
    """Return a drafter as the server makes it."""
    return Drafter(
        SimpleNamespace(
            speculative_config=SimpleNamespace(num_speculative_tokens=most), additional_config={"drafter": options}
        )
    )


def serve(
    made: Drafter, requests: Mapping[str, tuple[Sequence[int], Sequence[int]]], order: Sequence[str] | None = None
) -> dict[str, list[list[int]]]:
    """Write every request's output, all at once, as (prompt, output); return the drafts that each one was given.

    A row's first token comes with its prompt. Rows are moved as requests end. Every draft is checked for its length.
    """
    live = {name: (list(prompt), list(output), 0) for name, (prompt, output) in requests.items()}
    drafts: dict[str, list[list[int]]] = {name: [] for name in live}
    waiting: dict[str, list[int]] = {name: [] for name in live}
    names = list(order or live)
    while names:
        table = np.zeros((len(names), WIDTH), dtype=np.int32)
        sampled, lengths = [], []
        for place, name in enumerate(names):
            prompt, output, done = live[name]
            stood = 0
            for guess, true in zip(waiting[name], output[done:], strict=False):
                if guess != true:
                    break
                stood += 1
            new = output[done : done + stood + 1]
            done += len(new)
            live[name] = (prompt, output, done)
            row = [*prompt, *output[:done]]
            table[place, : len(row)] = row
            sampled.append(new)
            lengths.append(len(row))
        found = made.propose(sampled, np.array(lengths), table, slot_mappings=None)
        table[:] = -7  # the server writes over its rows
        for name, draft in zip(names, found, strict=True):
            assert len(draft) <= made.most
            assert all(type(token) is int for token in draft)
            drafts[name].append(draft)
            waiting[name] = draft
        names = [name for name in names if live[name][2] < len(live[name][1])]
        names.reverse()
    return drafts


def settle(made: Drafter) -> None:
    """Let calls pass until requests that are gone count as finished."""
    for number in range(80):
        made.propose([[1]], [2], np.array([[100 + number, 1]], dtype=np.int32))
