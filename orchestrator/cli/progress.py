"""What people see on stderr while something runs: steps of a question, a bar for a file. Neither without a terminal."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any

from orchestrator.cli.streams import counted, note
from orchestrator.decisions import Decision
from orchestrator.runtime.run import Decided, Kept
from orchestrator.types import Event, StepKind
from orchestrator.visible import first_words

if TYPE_CHECKING:
    import rich.progress

__all__ = ["BenchProgress", "Progress", "RunBar", "StepLines"]

_WORDS = 48
_DOES = {StepKind.ACTION: "calls: ", StepKind.OBSERVATION: "answers: "}


class StepLines:
    """Prints a line for every step that is kept: who wrote it, how its draft was rated, its first words.

    A step that calls tools and what they answered say so; what monitors notice has a line of its own.
    """

    def __init__(self) -> None:
        self._decision: Decision | None = None

    @classmethod
    def if_watched(cls) -> StepLines | None:
        """Return one if stderr is a terminal."""
        return cls() if sys.stderr.isatty() else None

    def __call__(self, event: Any) -> None:
        """Take one event of a run."""
        if isinstance(event, Decided):
            self._decision = event.decision
        elif isinstance(event, Kept):
            step = event.step
            words = _DOES.get(step.kind, "") + first_words(step.text, _WORDS)
            note(f"{step.index:>4} {step.writer:<8} {_rating(self._decision):<14} {words}")
            self._decision = None
        elif isinstance(event, Event):
            note(f"     {event.kind}: {first_words(event.reason, 2 * _WORDS)}")


def _rating(decision: Decision | None) -> str:
    if decision is None or decision.margin is None or decision.threshold is None:
        return ""
    sign = "<" if decision.margin < 0 else ">="
    return f"{decision.threshold + decision.margin:.1f} {sign} {decision.threshold:.1f}"


class Progress:
    """Counts what came of a file's tasks, shows a bar while stderr is a terminal, and sums up at the end."""

    def __init__(self, *, is_quiet: bool, has_large: bool) -> None:
        self._is_quiet = is_quiet
        self._has_large = has_large
        self._statuses: Counter[str] = Counter()
        self._codes: set[int] = set()
        self._correct: Counter[bool] = Counter()
        self._tokens = 0
        self._large_tokens = 0.0
        self._bad = 0
        self._before = 0
        self._began_s: float | None = None
        self._bar: rich.progress.Progress | None = None

    def begin(self, num_tasks: int, *, num_bad: int, num_before: int) -> None:
        """Begin with `num_tasks` to run; `num_before` were finished by an earlier command."""
        self._began_s = monotonic()
        self._bad = num_bad
        self._before = num_before
        if not self._is_quiet and sys.stderr.isatty():
            self._bar = _bar()
            self._bar.add_task("tasks", total=num_tasks)
            self._bar.start()

    def advance(self, done: dict[str, Any], code: int) -> None:
        """Count one result line and what its task adds to the exit code."""
        self._codes.add(code)
        self._statuses[done["status"]] += 1
        self._tokens += done["output_tokens"]
        self._large_tokens += done["output_tokens"] * done["large_share"]
        if "correct" in done:
            self._correct[done["correct"]] += 1
        if self._bar is not None:
            self._bar.advance(self._bar.task_ids[0])

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Take the bar away for as long as something else has to be seen."""
        if self._bar is not None:
            self._bar.stop()
        yield
        if self._bar is not None:
            self._bar.start()

    def end(self) -> None:
        """Take the bar away and print one line about everything, unless nothing was begun."""
        if self._bar is not None:
            self._bar.stop()
        if not self._is_quiet and self._began_s is not None:
            note(self._summary(monotonic() - self._began_s))

    def _summary(self, seconds: float) -> str:
        num_tasks = self._statuses.total()
        parts = [counted(num_tasks, "task")]
        parts += [f"{number} {status}" for status, number in sorted(self._statuses.items())]
        if self._correct:
            parts.append(f"{self._correct[True]} of {self._correct.total()} correct")
        if self._tokens and self._has_large:
            parts.append(f"large {self._large_tokens / self._tokens:.0%} of tokens")
        if self._bad:
            parts.append(counted(self._bad, "bad line"))
        if self._before:
            parts.append(f"{self._before} finished before")
        return " · ".join([*parts, f"{seconds:.1f} s"])

    @property
    def exit_code(self) -> int:
        """2 if a task was the user's to mend, else 1 if one failed or has no answer, else 4 if a budget stopped one."""
        if 2 in self._codes:
            return 2
        if self._codes - {0, 4}:
            return 1
        return 4 if 4 in self._codes else 0


class BenchProgress:
    """Shows a bar per policy while stderr is a terminal, and a line per policy otherwise."""

    def __init__(self, *, is_quiet: bool) -> None:
        self._is_quiet = is_quiet
        self._bar: rich.progress.Progress | None = None
        self._rows: dict[str, rich.progress.TaskID] = {}

    def __call__(self, event: Any) -> None:
        """Take a policy with the number of its runs that are due, or a finished sample."""
        if self._is_quiet:
            return
        if isinstance(event, tuple):
            self._begin(*event)
        elif self._bar is not None:
            self._bar.advance(self._rows[event.policy])

    def _begin(self, policy: Any, due: int) -> None:
        if not sys.stderr.isatty():
            note(f"{policy.label}: {due} runs")
            return
        if self._bar is None:
            self._bar = _bar("[progress.description]{task.description}")
            self._bar.start()
        self._rows[policy.label] = self._bar.add_task(policy.label, total=due)

    def end(self) -> None:
        """Leave the bars as they are."""
        if self._bar is not None:
            self._bar.stop()


class RunBar:
    """Shows a bar of runs while stderr is a terminal."""

    def __init__(self, total: int, *, is_quiet: bool) -> None:
        self._bar: rich.progress.Progress | None = None
        if not is_quiet and sys.stderr.isatty():
            self._bar = _bar()
            self._bar.add_task("runs", total=total)
            self._bar.start()

    def advance(self, _: Any) -> None:
        """Count one run."""
        if self._bar is not None:
            self._bar.advance(self._bar.task_ids[0])

    def end(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()


def _bar(*words: str) -> rich.progress.Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns: tuple[str | ProgressColumn, ...] = (*words, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=not words)
