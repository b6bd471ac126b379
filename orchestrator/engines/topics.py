"""Neutral prompts, for measuring a server whose own prompts nobody gave: every kind of text about every topic."""

from __future__ import annotations

from itertools import product

from orchestrator.types import Message

__all__ = ["prompts"]

KINDS = (
    "Explain in three paragraphs: {}.",
    "Write a commented Python program that simulates {}.",
    "Think step by step: what three numbers would one need to estimate the cost of {}? Estimate it.",
    "Write a table with ten rows about {}: name, year, country, one remark.",
    "Name five arguments for public money for {}, and five against it.",
    "Write a dialogue in which two friends disagree about {}.",
    "Write this sentence anew in five styles: Nobody in our town had expected that {} would change so much.",
    "Write a JSON list of eight objects about {}, each with id, title, tags and description.",
)
TOPICS = (
    "tidal power",
    "bread baking",
    "railway timetables",
    "bee keeping",
    "map making",
    "glass recycling",
    "chess tournaments",
    "weather balloons",
)


def prompts() -> list[tuple[Message, ...]]:
    """Return the conversations; neighbours differ in kind."""
    return [(Message("user", kind.format(topic)),) for topic, kind in product(TOPICS, KINDS)]
