"""What a proposed behavior has to pass before it is let in: form, harmlessness, no answer in it, nothing said twice.

A behavior ends up in prompts, and what proposes it is a text that anybody may have written. Each gate says in one line
why it turns a proposal away; what looks like an attempt to give orders to an engine is set aside for a person to see.
An answer is found as it is told right (answers.py), not where it is paraphrased: `forty-two` is not 42 here.

A name that is taken keeps its words, with one exception: those that harmed more often than they helped give way to
other ones, and the name's counters begin anew. What was retired does not come back by being learned again.

Source: dedupe in tiers without asking an engine, as users of ACE, arXiv:2510.04618, do it (the same name, the same
words, nearly the same words, nearly the same meaning). Differs: nothing is merged here, what is said already is not
added; ACE's curator may name any operation, here an engine proposes and never changes what others have learned, unless
outcomes speak against it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence, Set
from typing import Any, Literal, NamedTuple

from orchestrator.answers import normal
from orchestrator.behaviors import PREFIX, Add, Behavior, Retire
from orchestrator.errors import UserError
from orchestrator.handbook.likeness import NEAR, SAME_MEANING, alike, cosine, words_in
from orchestrator.handbook.orders import order_in, plain
from orchestrator.handbook.proposals import Proposal

__all__ = ["Gate", "Meaning", "Passed", "Refused", "Source", "formed", "gated", "normalised"]

_NUMBER = re.compile(r"(?<!\w)(?<!\d\.)[-+]?(?:\d+(?:,\d{3})*(?:\.\d+)?|\.\d+)(?!\w)")
_PART = re.compile(r"\w+|[^\w\s]")
_BETWEEN_DIGITS = re.compile(r"(?<=\d) (?=\d)")

Gate = Literal["form", "orders", "answer", "twice", "retired"]
"""What turned a proposal away."""


class Source(NamedTuple):
    """Where proposals come from."""

    run: str = ""
    step: int | None = None
    task: str = ""
    """Names what the run was asked."""
    answer: str | None = None
    """The gold answer, or else the given one; None where there is none."""


class Meaning(NamedTuple):
    """What a proposal means, where something embeds."""

    vector: Sequence[float]
    """Of its line; all of one length."""
    nearest: str
    """The active behavior that is nearest to it; empty where there is none."""
    likeness: float
    """The cosine of those two, in [-1, 1]."""


class Refused(NamedTuple):
    """A proposal that was turned away."""

    proposal: Proposal
    gate: Gate
    reason: str
    is_known: bool = False
    """Whether the very same words are there under this very name: nothing was lost."""


class Passed(NamedTuple):
    """A proposal that may be added."""

    delta: Add
    instead: Retire | None = None
    """What has to go before it, because it has its name."""

    @property
    def deltas(self) -> list[Add | Retire]:
        """What is to be done, in order."""
        return [self.delta] if self.instead is None else [self.instead, self.delta]


class _Said(NamedTuple):
    """What a proposal could repeat."""

    name: str
    instruction: str
    words: Set[str]
    id: int
    """0 for a proposal."""
    is_active: bool
    harms: bool
    vector: Sequence[float] | None


def normalised(name: str) -> str:
    """Return a name as names are written: small letters, single underscores. What it lacks, such as the prefix, it
    still lacks."""
    return "_".join(words_in(name))


def formed(proposal: Proposal, source: Source) -> Add:
    """Return a proposal as what would be added. Raises UserError for what cannot be a behavior."""
    name, section = normalised(proposal.name), " ".join(proposal.section.split())
    polarity: Any = proposal.polarity  # whatever was written; a behavior says what it can be
    add = Add(name, proposal.instruction.strip(), section, polarity, source.run, source.step, source.task)
    Behavior(id=1, **add._asdict())
    if not words_in(add.instruction):
        raise UserError(f"{name}: the instruction {add.instruction!r:.40} has no word: say what to do")
    return add


def gated(
    proposals: Sequence[Proposal], known: Iterable[Behavior], source: Source, meanings: Sequence[Meaning] = ()
) -> list[Passed | Refused]:
    """Return each proposal as what may be added, or with the reason why not, in order.

    `known` are the behaviors that a proposal could repeat, retired ones too; one that passes is known to those behind
    it. `meanings` has one entry for each proposal, or none: then words alone are compared.
    """
    said = [_said(each) for each in known]
    results: list[Passed | Refused] = []
    for place, proposal in enumerate(proposals):
        meaning = meanings[place] if meanings else None
        result = _gated(proposal, said, source, meaning)
        if isinstance(result, Passed):
            new, vector = result.delta, meaning.vector if meaning else None
            said = [each for each in said if result.instead is None or each.id != result.instead.id]
            words = {*words_in(new.instruction)}
            said.append(_Said(new.name, new.instruction, words, 0, is_active=True, harms=False, vector=vector))
        results.append(result)
    return results


def _said(behavior: Behavior) -> _Said:
    return _Said(
        behavior.name,
        behavior.instruction,
        {*words_in(behavior.instruction)},
        behavior.id,
        is_active=behavior.is_active,
        harms=behavior.harmful > behavior.helpful,
        vector=None,
    )


def _gated(proposal: Proposal, said: Sequence[_Said], source: Source, meaning: Meaning | None) -> Passed | Refused:
    try:
        add = formed(proposal, source)
    except UserError as error:
        return Refused(proposal, "form", str(error))
    words = add.name.removeprefix(PREFIX).replace("_", " ")
    if found := order_in(add.instruction, add.section, words):
        return Refused(proposal, "orders", f"{add.name} reads like an order to an engine: {found!r:.60}")
    if source.answer is not None and any(_holds(text, source.answer) for text in _texts(add, words)):
        return Refused(proposal, "answer", f"{add.name} holds the answer of the task that it was learned from")
    return _repeated(proposal, add, said, meaning)


def _repeated(proposal: Proposal, add: Add, said: Sequence[_Said], meaning: Meaning | None) -> Passed | Refused:
    """Return the proposal as passed, unless it says what is said already, or was."""
    instead, words = None, {*words_in(add.instruction)}
    for each in said:
        is_same = alike(each.words, words) >= NEAR
        if is_same and not each.is_active:
            return Refused(proposal, "retired", f"{add.name} says what {each.name} said, which is retired")
        if is_same or (each.is_active and each.name == add.name and not each.harms):
            is_known = (each.name, each.instruction) == (add.name, add.instruction)
            return Refused(proposal, "twice", f"{add.name} says what {each.name} says", is_known)
        if each.is_active and each.name == add.name:
            instead = Retire(each.id)
    if meaning is not None and (other := _meant(meaning, said, instead)):
        return Refused(proposal, "twice", f"{add.name} means what {other} means")
    return Passed(add, instead)


def _meant(meaning: Meaning, said: Sequence[_Said], instead: Retire | None) -> str:
    """Return what means the same as a proposal, empty for nothing; what gives way to it does not count."""
    gone = {each.name for each in said if instead is not None and each.id == instead.id}
    if meaning.nearest not in {"", *gone} and meaning.likeness >= SAME_MEANING:
        return meaning.nearest
    of_text = (each for each in said if each.vector is not None)
    return next((each.name for each in of_text if cosine(meaning.vector, each.vector or ()) >= SAME_MEANING), "")


def _texts(add: Add, words: str) -> list[str]:
    """Return the texts that could hold an answer. Digits of a name can be one number with a point or with commas."""
    return [add.instruction, add.section, words, *(_BETWEEN_DIGITS.sub(mark, words) for mark in ".,")]


def _holds(text: str, answer: str) -> bool:
    """Return whether a text holds an answer: as a number if it is one, however that is written, else as words of its
    own, however they are spaced or written large."""
    text, answer = (plain(each).casefold().replace("\N{MINUS SIGN}", "-") for each in (text, answer))
    if _NUMBER.fullmatch(value := normal(answer)):
        found = _NUMBER.findall(text)
        return value in {*map(normal, found), *(normal(each.lstrip("+-")) for each in found)}
    words = r"\s*".join(map(re.escape, _PART.findall(answer)))
    return bool(words) and re.search(rf"(?<!\w){words}(?!\w)", text) is not None
