"""Labels by the large engine: at each of some looks it is asked whether the run is stuck, or has reached a milestone.

A question is a run of its own, so it is in the journal with its ledger, within the pipeline's budget, and never asked
twice: its id follows from what is asked and of whom.

Source: the step-level cascade (StepWise), by its authors' code, for what counts as stuck and as a milestone. Differs:
each look is one question (theirs shows a whole run and asks for the steps), so the engine sees what the monitor sees.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from json import loads
from random import Random

from orchestrator.learning.labelling import Labels
from orchestrator.learning.looks import ASKED, Look, Watched
from orchestrator.memory.ids import derived
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.runtime.result import RunResult
from orchestrator.runtime.workers import side_by_side
from orchestrator.types import Task, question_of

__all__ = ["QUESTIONS", "Asked", "asked", "drawn"]

QUESTIONS: Mapping[str, str] = {
    "stuck": (
        "Below are the last moves of an agent at work. It is stuck if it repeats itself without progress, is caught in "
        "errors, or has made no meaningful progress for several moves.\n\n{text}\n\nIs it stuck after the last move?"
    ),
    "milestone": (
        "Below are a task and the last moves of an agent at work on it. A milestone is meaningful progress that can be "
        "verified; not every move is one, and none is while the agent is stuck.\n\n{text}\n\n"
        "Has it reached a milestone with the last move?"
    ),
}
_HOW = "\nEnd with one line: `Answer: yes` or `Answer: no`."
_WORDS = {"yes": True, "no": False}


def asked(kind: str, text: str) -> str:
    """Return the question whether a run is, by its last moves, what a monitor of this kind looks for."""
    return (QUESTIONS[kind] + _HOW).replace("{text}", text)


class Asked:
    """The questions of one labelling after another. `pipeline` lends its engines, budget and journal."""

    def __init__(self, pipeline: Pipeline, kind: str, looks: Sequence[Look], votes: int = 1) -> None:
        seed: int = loads(pipeline.settings)["seed"]
        self._voters = [_bare(pipeline, seed + vote) for vote in range(votes)]
        self._looks: dict[str, list[Look]] = {}  # what reads the same is asked once
        for look in looks:
            self._looks.setdefault(look.text, []).append(look)
        self._kind = kind
        self._found: list[dict[tuple[str, int], bool]] = [{} for _ in self._voters]
        self.unanswered = 0
        """Questions without a yes or no."""
        self.output_tokens = 0
        """Of all answers, those that were there before included."""

    def __len__(self) -> int:
        return len(self._voters) * len(self._looks)

    @property
    def labellings(self) -> Sequence[Labels]:
        """What was answered: one labelling for each vote."""
        return self._found

    async def run(self, concurrency: int, listener: Callable[[RunResult], None] = lambda _: None) -> None:
        """Ask what was not asked before. Raises MissingCapability or EngineError where nobody can be asked."""
        waiting = iter([(vote, *each) for vote in range(len(self._voters)) for each in enumerate(self._looks)])

        async def work() -> None:
            for vote, place, text in waiting:
                listener(await self._ask(vote, place, text))

        await side_by_side(work, concurrency)

    async def _ask(self, vote: int, place: int, text: str) -> RunResult:
        voter = self._voters[vote]
        task = Task.of(asked(self._kind, text))
        name = blake2b(voter.settings.encode(), digest_size=10).hexdigest()
        run_id = derived("train-monitor", name, question_of(task.messages))
        result = await voter.arun(task, run_id=run_id, batch=ASKED + name, position=place)
        self.output_tokens += result.ledger.total().output_tokens
        label = _WORDS.get((result.answer or "").strip(" .*`").lower())
        if label is None:
            self.unanswered += 1
        else:
            self._found[vote].update({(look.run, look.step): label for look in self._looks[text]})
        return result


def drawn(runs: Iterable[Watched], number: int, seed: int) -> list[Look]:
    """Return `number` looks at the runs, or all if there are fewer, drawn at random; in their order."""
    looks = [look for run in runs for look in run.looks]
    chosen = set(Random(f"looks/{seed}").sample(range(len(looks)), min(number, len(looks))))
    return [look for place, look in enumerate(looks) if place in chosen]


def _bare(pipeline: Pipeline, seed: int) -> Pipeline:
    """Return a pipeline whose large engine answers a question and nothing else happens."""
    return pipeline.but(
        router="large", scorers={}, seed=seed, stop_on_answer=True, monitors=(), tools=(), mode=None, handbook=None
    )
