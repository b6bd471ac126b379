"""What routers see in tests: histories, drafts with logprobs, and an ask that answers from a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log
from typing import Any

from orchestrator.errors import SignalUnavailable
from orchestrator.runtime.answer import extractor
from orchestrator.types import History, Signal, Step, Stop, Task, TokenLogprob

ANSWERS = extractor(("boxed", "marked", "after_think"))
THREE = ("small", "middle", "large")


def history(steps: Sequence[Step] = (), engines: tuple[str, ...] = ("small", "large")) -> History:
    num_tokens = sum(each.num_tokens for each in steps)
    return History(task=Task.of("q"), engines=engines, seed=7, steps=list(steps), num_tokens=num_tokens)


def step(
    text: str = "x\n\n",
    writer: str = "small",
    *,
    index: int = 0,
    attempt: int = 0,
    stop: Stop = Stop.DELIMITER,
    logprobs: Sequence[TokenLogprob] | None = None,
    num_tokens: int | None = None,
) -> Step:
    return Step(
        index=index,
        attempt=attempt,
        writer=writer,
        text=text,
        num_tokens=len(text) if num_tokens is None else num_tokens,
        stop=stop,
        logprobs=logprobs,
    )


def token(*ps: float, text: str = "t") -> TokenLogprob:
    """Return a token, the likeliest of those with probabilities `ps`."""
    top = tuple(TokenLogprob(place, f"{text}{place}" if place else text, log(p)) for place, p in enumerate(ps))
    return TokenLogprob(0, text, log(ps[0]), top)


class Table:
    """Answers every ask from tables: readings by scorer (None: unavailable), texts by engine, forced answers."""

    def __init__(
        self,
        scores: Mapping[str, float | None] | None = None,
        alternatives: Mapping[str, Sequence[Step]] | None = None,
        answers: Sequence[str] = (),
    ) -> None:
        self.scores, self.beside, self.forced = scores or {}, alternatives or {}, answers
        self.asked: list[str] = []

    async def score(self, name: str, draft: Step | Sequence[Step]) -> Any:
        self.asked.append(name)
        value = self.scores[name]
        if value is None:
            raise SignalUnavailable(name, "nobody knows")
        is_digit = name.startswith("judge")
        return Signal(name=name, value=value / 9 if is_digit else value, raw=value if is_digit else 9 * value)

    async def alternative(self, engine: str, draft: Step, *, sample: int = 0) -> Step:
        self.asked.append(f"{engine} {sample}")
        return self.beside[engine][sample]

    def answer_in(self, text: str) -> str | None:
        return ANSWERS(text)

    async def answers(self, engine: str, draft: Step | None = None, *, num: int = 1) -> list[str]:
        self.asked.append(f"{engine} answers {num}")
        return list(self.forced)
