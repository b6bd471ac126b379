"""Was a run right that nobody has checked?  An engine is asked several times, and has to say so often enough.

What comes of it is an opinion: behaviors may be learned from it, and their changes say so, but no reward is given and
no counter moves. A run that gave no answer is not judged.

The scorer `verdict` asks about a run that goes on, in its prompt. Here the run is over, so the question is a run of its
own, an engine that shows no probabilities can answer it too, and the share is one of votes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from orchestrator.handbook.prompts import verdict
from orchestrator.learning.lent import Lent
from orchestrator.options import check_range, check_whole
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.think_tags import said

__all__ = ["Judge", "Judged"]

_VOTE = re.compile(r"^[^\w\n]*answer[^\w\n]*(yes|no)[^\w\n]*$", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Who judges, and when that counts. Raises UserError for options that mean nothing."""

    engine: str | None = None
    """One of the pipeline's engines; None for the largest."""
    votes: int = 3
    """Times that it is asked; at temperature 0 they are all one."""
    share: float = 1.0
    """Of the votes that have to say the same, in (0.5, 1]; one that says neither yes nor no says nothing."""

    def __post_init__(self) -> None:
        check_whole("judge", self, votes=1)
        check_range("judge", self, share="(0.5, 1]")

    def of(self, pipeline: Pipeline) -> Judging:
        """Return the judge at work. Raises UnknownName for an engine that is not the pipeline's."""
        return Judging(self, [Lent(pipeline, self.engine, seed=vote) for vote in range(self.votes)])


class Judged(NamedTuple):
    """What a judge says of a run."""

    is_right: bool | None
    """None where it does not agree with itself."""
    told: str
    """As people read it, such as `judged right (3 of 3)`."""
    output_tokens: int
    """Of all votes, those that were there before included; likewise below."""
    prompt_tokens: int


class Judging:
    """Judges one run after another."""

    def __init__(self, options: Judge, voters: Sequence[Lent]) -> None:
        self._share = options.share
        self._voters = voters

    @property
    def new_tokens(self) -> int:
        """Output and prompt tokens of what was asked by now, without what had been asked before."""
        return sum(each.new.output_tokens + each.new.prompt_tokens for each in self._voters)

    async def judge(self, question: str, trace: str, answer: str) -> Judged:
        """Return whether `answer` is right. Raises as Lent.ask does."""
        asked = verdict(question, trace, answer)
        results = [await voter.ask(asked) for voter in self._voters]
        votes = [_vote(said(result.text)) for result in results]
        used = [result.ledger.total() for result in results]
        tokens = sum(each.output_tokens for each in used), sum(each.prompt_tokens for each in used)
        for is_right, word in ((True, "right"), (False, "wrong")):
            if votes.count(is_right) >= self._share * len(votes):
                return Judged(is_right, f"judged {word} ({votes.count(is_right)} of {len(votes)})", *tokens)
        told = f"{votes.count(True)} yes, {votes.count(False)} no of {len(votes)}"
        return Judged(None, f"the judge does not agree with itself: {told}", *tokens)


def _vote(text: str) -> bool | None:
    """Return what the last line says that answers, None where none does."""
    found = _VOTE.findall(text)
    return found[-1].lower() == "yes" if found else None
