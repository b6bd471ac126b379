"""Learning as commands do it: run by run, beside the tasks or behind them, with what came of it on stderr."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.streams import counted, note
from orchestrator.errors import OrchestratorError, UserError

if TYPE_CHECKING:
    from orchestrator.learning.strategist import Learnt, Strategist
    from orchestrator.memory.handbook import Handbook
    from orchestrator.runtime.pipeline import Pipeline

__all__ = ["Learner", "check_learning", "learner_of", "learning_flags"]

_FLAGS = ("strategist", "judge", "most")


def learning_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the flags that say how it learns."""
    for option in (
        click.option("--most", type=click.IntRange(1), metavar="N", help="Keep the handbook within N behaviors."),
        click.option("--judge", is_flag=True, help="Let an engine judge the runs that nobody has checked."),
        click.option("--strategist", metavar="ENGINE", help="Who reflects, and judges; the largest unless given."),
    ):
        command = option(command)
    return command


def learner_of(pipeline: Pipeline, given: Mapping[str, Any], handbook: Handbook | None = None) -> Learner:
    """Return what learns as the flags say, into the pipeline's handbook unless one is given."""
    from orchestrator.learning.judging import Judge
    from orchestrator.learning.strategist import Strategist

    engine = given["strategist"]
    judge = Judge(engine=engine) if given["judge"] else None
    strategist = Strategist(pipeline, handbook, engine=engine, judge=judge)
    return Learner(strategist, most=given["most"], is_quiet=given["quiet"])


def check_learning(given: Mapping[str, Any]) -> None:
    """Raise UserError where a command that does not learn is told how."""
    told = next((flag for flag in _FLAGS if given[flag]), None)
    if told and not given["learn"]:
        raise UserError(f"--{told} says how to learn: give --learn, too, or leave it out")


class Learner:
    """Learns from runs, keeps the handbook within `most` behaviors if that is given, and sums up."""

    def __init__(self, strategist: Strategist, *, most: int | None, is_quiet: bool) -> None:
        self.around: Callable[[], AbstractContextManager[None]] = nullcontext
        """What is held while something is printed."""
        self._strategist = strategist
        self._most = most
        self._is_quiet = is_quiet
        self._learnt: list[Learnt] = []
        self._curated = self._failed = 0
        self._compared: set[str] = set()

    async def learn(self, run: str) -> None:
        """Learn from one run. Raises as Strategist.alearn does."""
        from orchestrator.learning.curating import curate

        learnt = await self._strategist.alearn(run)
        self._learnt.append(learnt)
        self._tell(learnt)
        if learnt.added and self._most is not None:
            self._curated += len(curate(self._strategist.handbook, most=self._most))

    async def aside(self, run: str) -> None:
        """Learn from one run of many; what goes wrong with that is told, and costs the others nothing."""
        try:
            if not self._strategist.knows(run):
                await self.learn(run)
        except OrchestratorError as error:
            self._failed += 1
            self._note(f"run {run}: nothing learned: {error}")

    def end(self) -> None:
        """Sum up, when nothing else is on the screen any more."""
        if not self._is_quiet:
            note(" · ".join(self._summary()))

    @property
    def useless(self) -> str:
        """What is to be said of a strategist of whose texts none could be read; empty for any other."""
        tried = self._tried()
        if not tried or not all(each.unusable for each in tried):
            return ""
        texts = "its text" if len(tried) == 1 else f"any of its {len(tried)} texts"
        return f"no behaviors can be read in {texts}: engine {self._strategist.engine!r} is no strategist, name another"

    def _tried(self) -> list[Learnt]:
        return [each for each in self._learnt if not each.skipped]

    def _summary(self) -> Iterator[str]:
        tried = self._tried()
        new = sum(len(each.new) for each in tried)
        yield f"learned {counted(new, 'behavior')} from {counted(len(tried), 'run')}"
        if unusable := sum(bool(each.unusable) for each in tried):
            yield f"nothing usable from {unusable}"
        if refused := sum(not refused.is_known for each in tried for refused in each.refused):
            yield f"{refused} refused (`orchestrator handbook refused`)"
        for why, number in sorted(Counter(each.skipped for each in self._learnt if each.skipped).items()):
            yield f"{number} left alone: {why}"
        if self._curated:
            yield f"{counted(self._curated, 'change')} to keep it small"
        if self._failed:
            yield f"{self._failed} failed"
        output = sum(each.output_tokens for each in self._learnt)
        prompt = sum(each.prompt_tokens for each in self._learnt)
        yield f"{output:,} output and {prompt:,} prompt tokens of its own"

    def _tell(self, learnt: Learnt) -> None:
        if learnt.compared not in {"", *self._compared}:
            self._compared.add(learnt.compared)
            none = "no embedding is configured: " if learnt.compared == "words" else ""
            self._note(f"{none}proposals are compared with what is known by {learnt.compared}")
        if learnt.unusable:
            self._note(f"run {learnt.run}: nothing learned: {learnt.unusable}")
        elif not learnt.skipped and not learnt.new and not learnt.refused:
            self._note(f"run {learnt.run}: nothing worth keeping")
        for behavior in learnt.new:
            self._note(f"run {learnt.run}: {behavior.name}: {behavior.instruction}")
        for refused in learnt.refused:
            self._note(f"run {learnt.run}: left out ({refused.gate}): {refused.reason}")

    def _note(self, text: str) -> None:
        if not self._is_quiet:
            with self.around():
                note(text)
