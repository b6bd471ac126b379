"""Ask an engine a question of ours, to be answered with one of some words, and read how likely each is.

The question stands in a conversation of its own in which nothing is thought, so no step ever sees it. What is
read is not the word that the engine writes but the probability of each among the alternatives of its first
token. Words that begin with the same token are told apart one token later, on the way that the engine took;
likewise where it begins with a blank. What another way may have led to counts for no word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, takewhile
from math import exp, isnan
from typing import NamedTuple

from orchestrator.engines.answer_probe import Draw
from orchestrator.engines.base import Completion
from orchestrator.engines.step_stream import StepStream
from orchestrator.errors import SignalUnavailable, UserError
from orchestrator.types import Message, Sampling, Stop

__all__ = ["CHOICE", "ChoiceProbe", "Chosen"]

CHOICE = "choice"
"""What the calls are for, and the name of the signal that may be unavailable."""
_GREEDY = Sampling(temperature=0.0, top_p=1.0)
_BEFORE = " \n\"'*`"
"""May stand in front of the word."""


class Chosen(NamedTuple):
    """What an engine chose, and what that took."""

    word: str
    """The likeliest; of equally likely ones the first that was given."""
    share: float
    """Its probability among the words, in (0, 1]."""
    output_tokens: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class ChoiceProbe:
    """Asks one question. `words` are at least two, different whatever their case."""

    question: str
    words: tuple[str, ...]
    of_task: bool = True
    """The task stands before the question."""

    def __post_init__(self) -> None:
        if len({word.casefold() for word in self.words}) < max(2, len(self.words)) or not all(self.words):
            raise UserError(
                f"words = {self.words!r}: give at least two to choose from, each another one and none empty"
            )

    async def choose(self, engine: str, stream: StepStream, call: Draw, *, logprobs: int) -> Chosen:
        """Return what `engine` chooses; `logprobs` is how many alternatives per token it shows, and is asked for.

        Raises SignalUnavailable where it shows none, or none of the words is among its likeliest tokens.
        """
        if logprobs < 1:
            raise SignalUnavailable(CHOICE, f"engine {engine!r} shows no alternatives of its tokens")
        prompt = await stream.aside(engine, _asked(stream.messages if self.of_task else (), self.question))
        spelled = [await stream.encoded(engine, word) for word in self.words]
        tokens = 2 + max(_shared(*pair) for pair in combinations(spelled, 2))
        reply = await call(engine, CHOICE, prompt, sampling=_GREEDY, max_tokens=tokens, stop=(), logprobs=logprobs)
        likely = _likely(reply, self.words)
        word = max(self.words, key=likely.__getitem__)
        if not likely[word] > 0:
            raise SignalUnavailable(CHOICE, f"engine {engine!r} answered {reply.text[:20]!r}, none of {self.words!r}")
        return Chosen(word, likely[word] / sum(likely.values()), reply.output_tokens, reply.seconds)


def _asked(task: Sequence[Message], question: str) -> list[Message]:
    """Return the conversation that ends with the question; in the user's last turn, as many templates want turns."""
    if task and task[-1].role == "user":
        return [*task[:-1], Message("user", f"{task[-1].content}\n\n{question}")]
    return [*task, Message("user", question)]


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    """Return how many tokens both begin with."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _likely(reply: Completion, words: Sequence[str]) -> dict[str, float]:
    """Return the probability of each word, as far as it can be told."""
    likely = dict.fromkeys(words, 0.0)
    written, chance = "", 1.0
    for token in reply.logprobs or ():
        for other in token.top:
            fits = _fitting(written + other.text, words)
            if len(fits) == 1:
                likely[fits[0]] += chance * exp(other.logprob)
        written, chance = written + token.text, chance * exp(token.logprob)
        if len(_fitting(written, words)) < 2 or isnan(chance):
            return likely
    if reply.stop is Stop.END:  # the word that was written out is meant, not those that go on from it
        for word in words:
            likely[word] += chance if word.casefold() == _begun(written) else 0.0
    return likely


def _fitting(written: str, words: Sequence[str]) -> list[str]:
    """Return the words that a reply may be which begins so; all of them for a blank."""
    begun = _begun(written)
    growing = [word for word in words if word.casefold().startswith(begun)]
    ended = [word for word in words if _has_ended(word.casefold(), begun)]
    return growing or sorted(ended, key=len)[-1:]


def _begun(written: str) -> str:
    return written.lstrip(_BEFORE).casefold()


def _has_ended(word: str, begun: str) -> bool:
    """Say whether a reply is this word and something behind it."""
    behind = begun.removeprefix(word)[:1]
    return begun.startswith(word) and behind != "" and not (behind.isalnum() or behind in "_-")
