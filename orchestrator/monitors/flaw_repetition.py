"""Notice that a claim is made again that was corrected before: the run has forgotten what it had found out.

Source: Flaw Repetition, in the study "Are Reasoning Models More Prone to Hallucination?" (the same flawed claim is
asserted again across attempts). Differs: rules, not an engine, find the claims and what contradicts them, so only
equations of two numbers and whole sentences count, and what a calculation confirms is never a flaw.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from orchestrator.monitors.reading import Claim, claims_in, rights_of, words
from orchestrator.monitors.window import Move, has_ended, moves_of
from orchestrator.options import check_whole
from orchestrator.types import Event, History

__all__ = ["FlawRepetition"]

_LONGEST = 2_000
"""Characters of a move that are read, its last ones."""
_MOST = 8
"""Claims of a move that are looked up, its last ones."""
_WRONG = re.compile(
    r"\b(?:that|this|it|which)(?: is|'s| was) (?:wrong|incorrect|not right|not correct|not true|a mistake)\b"
    r"|(?:^|[.!?\n] ?)no, (?!matter)|\bthat cannot be\b|\bthat can't be\b",
    re.IGNORECASE,
)
_HINTS = ("wrong", "correct", "not right", "not true", "mistake", "no, ", "cannot be", "can't be")
_SENTENCE = re.compile(r"[.!?;]+(?:\s|$)|\n")
_FILLERS = frozenset(("wait", "no", "hmm", "oh", "but", "so", "actually", "hold", "on"))


@dataclass(frozen=True, kw_only=True)
class FlawRepetition:
    """Raise `flaw-repetition` when the last move says again what was contradicted in one of the moves before it.

    Contradicted is an equation whose left side had another right side since, and a sentence or an equation right before
    "that is wrong" and the like.
    """

    reach: int = 20
    """How many moves back a correction is remembered."""
    shortest: int = 5
    """Words that a sentence without an equation must have to be a claim."""

    raises = ("flaw-repetition",)

    def __post_init__(self) -> None:
        check_whole("monitor flaw-repetition", self, reach=1, shortest=1)

    def watch(self, history: History) -> Event | None:
        """Look up what the last move claims in what was said before."""
        moves = moves_of(history, last=self.reach + 1)
        if not has_ended(history, moves):
            return None
        said = _said(moves[-1])
        claims = [claim for claim in claims_in(said)[-_MOST:] if not claim.is_true]
        if not claims and not _hints_at_flaws(moves[:-1]):
            return None
        past = "\n".join(map(_said, moves[:-1]))
        for claim in claims:
            if _was_replaced(claim, past):
                return _event(f"{claim.left} = {claim.right} was corrected before")
        wrong = _contradicted(past)
        for claim in claims:
            if any(claim[:2] == other[:2] for sentence in wrong for other in claims_in(sentence)):
                return _event(f"{claim.left} = {claim.right} was called wrong before")
        told = {tuple(words(sentence)) for sentence in wrong}
        for sentence in _SENTENCE.split(said) if told else ():
            if len(found := tuple(words(sentence))) >= self.shortest and found in told and not claims_in(sentence):
                return _event(f"called wrong before: {' '.join(sentence[:200].split())}")
        return None


def _event(reason: str) -> Event:
    return Event("flaw-repetition", reason)


def _said(move: Move) -> str:
    return " ".join((move.thought or move.action)[-_LONGEST:].split())


def _hints_at_flaws(moves: list[Move]) -> bool:
    """Whether anything can have been called wrong: many times cheaper than to look where."""
    folded = "\n".join(move.thought or move.action for move in moves).lower()
    return any(hint in folded for hint in _HINTS)


def _was_replaced(claim: Claim, past: str) -> bool:
    """Whether `past` has the claim, and another right side behind it."""
    rights = rights_of(claim.left, past)
    return claim.right in rights and any(right != claim.right for right in rights[rights.index(claim.right) :])


def _contradicted(past: str) -> list[str]:
    """The sentences that "that is wrong" and the like stand behind."""
    return [_sentence_before(past[max(0, found.start() - 400) : found.start()]) for found in _WRONG.finditer(past)]


def _sentence_before(text: str) -> str:
    parts = reversed(_SENTENCE.split(text))
    return next((part for part in parts if not _FILLERS.issuperset(words(part))), "")
