"""How the servers went about their calls: what they drafted and accepted, and how long calls waited."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.bench.columns import columns, wrapped

__all__ = ["served"]


def served(policies: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
    """Return a table for every engine whose server reports what it drafted, or how long calls waited."""
    engines = list(next(iter(policies.values()))["engines"])
    found = []
    for engine in engines:
        uses = {label: each["engines"][engine] for label, each in policies.items()}
        if not any(use["drafts"] or use["queued"] for use in uses.values()):
            continue
        rows = [
            (
                names[label],
                f"{use['drafted']:.0f}",
                f"{use['accepted']:.0f}",
                _over(use["accepted"], use["drafts"]),
                _over(1000 * use["first_token_s"], use["streamed"]),
                _over(1000 * use["queue_s"], use["queued"]),
            )
            for label, use in uses.items()
        ]
        header = (f"{engine}, as its server says", "drafted", "accepted", "per draft", "first ms", "queue ms")
        found.append(columns(header, rows))
    if found:
        note = (
            "drafted, accepted: tokens per task. per draft: accepted tokens, without the one that each pass adds. "
            "first, queue: mean time of a call to its first token, and in the queue of the server."
        )
        found[-1] += f"\n{wrapped(note)}"
    return found


def _over(sum_: float, number: float) -> str:
    return f"{sum_ / number:.2f}" if number else "-"
