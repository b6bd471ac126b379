"""What a proposed behavior has to pass before it is let in: form, harmlessness, no answer in it, nothing said twice.

A behavior ends up in prompts, and what proposes it is a text that anybody may have written. Each gate says in one line
why it turns a proposal away; what looks like an attempt to give orders to an engine is set aside for a person to see.

Source: dedupe in tiers without asking an engine, as users of ACE do it (the same name, the same words, nearly the same
words). Differs: nothing is merged here, what is said already is not added.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

from orchestrator.behaviors import PREFIX, Add, Behavior
from orchestrator.errors import UserError
from orchestrator.handbook.likeness import NEAR, near, words_in
from orchestrator.handbook.orders import order_in, plain
from orchestrator.handbook.proposals import Proposal

__all__ = ["Passed", "Refused", "Source", "gated", "normalised"]


class Source(NamedTuple):
    """Where proposals come from."""

    run: str = ""
    step: int | None = None
    task: str = ""
    """Names what the run was asked."""
    answer: str | None = None
    """The gold answer, or else the given one; None where there is none."""


class Refused(NamedTuple):
    """A proposal that was turned away."""

    proposal: Proposal
    gate: Literal["form", "orders", "answer", "twice"]
    reason: str


class Passed(NamedTuple):
    """A proposal that may be added."""

    delta: Add


def normalised(name: str) -> str:
    """Return a name as names are written: small letters, single underscores. What it lacks, such as the prefix, it
    still lacks."""
    return "_".join(words_in(name))


def gated(proposals: Iterable[Proposal], known: Sequence[Behavior], source: Source) -> list[Passed | Refused]:
    """Return each proposal as what may be added, or with the reason why not, in order.

    `known` are the behaviors that a proposal could repeat; one that passes is known to those behind it.
    """
    said = [(each.name, each.instruction) for each in known]
    results: list[Passed | Refused] = []
    for proposal in proposals:
        result = _gated(proposal, said, source)
        if isinstance(result, Passed):
            said.append((result.delta.name, result.delta.instruction))
        results.append(result)
    return results


def _gated(proposal: Proposal, said: Sequence[tuple[str, str]], source: Source) -> Passed | Refused:
    name, section = normalised(proposal.name), " ".join(proposal.section.split())
    polarity: Any = proposal.polarity  # whatever was written; a behavior says what it can be
    add = Add(name, proposal.instruction.strip(), section, polarity, source.run, source.step, source.task)
    try:
        Behavior(id=1, **add._asdict())
    except UserError as error:
        return Refused(proposal, "form", str(error))
    if found := order_in(add.instruction, section, name.removeprefix(PREFIX).replace("_", " ")):
        return Refused(proposal, "orders", f"{name} reads like an order to an engine: {found!r:.60}")
    words = f"{add.instruction} {name.removeprefix(PREFIX).replace('_', ' ')}"
    if source.answer is not None and _holds(words, source.answer):
        return Refused(proposal, "answer", f"{name} holds the answer of the task that it was learned from")
    for other, instruction in said:
        if other == name or near(instruction, add.instruction) >= NEAR:
            return Refused(proposal, "twice", f"{name} says what {other} says")
    return Passed(add)


def _holds(text: str, answer: str) -> bool:
    """Return whether a text holds an answer as words of its own, however they are spaced or written large."""
    words = r"\s+".join(re.escape(word) for word in plain(answer).casefold().split())
    return bool(words) and re.search(rf"(?<!\w){words}(?!\w)", plain(text).casefold()) is not None
