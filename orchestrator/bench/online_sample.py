"""What an arm of test-then-learn made of a task: its sample, from the runs in the journal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from json import loads

from orchestrator.behaviors import Behavior
from orchestrator.bench.cost import uses_of
from orchestrator.bench.sample import Sample
from orchestrator.learning.second_attempts import Attempted
from orchestrator.learning.strategist import Learnt
from orchestrator.memory.base import StoredRun
from orchestrator.runtime.calls import TOOL
from orchestrator.runtime.in_force import recalled_in
from orchestrator.runtime.marks import CITED
from orchestrator.types import Task

__all__ = ["answer_of", "of_attempt", "of_learning", "sample_of"]


def sample_of(
    arm: str,
    seed: int,
    task: Task,
    runs: Sequence[StoredRun],
    scored: tuple[float, str],
    engines: Sequence[str],
    told: Mapping[str, int],
) -> Sample:
    """Return what an arm made of a task in one run, or in two of which the last one's answer counts.

    `scored` is that answer's score and what was wrong with the scorer; `told` what is known of learning.
    """
    last, outcomes = runs[-1], [run.outcome for run in runs if run.outcome is not None]
    writers = [row.writer for row in last.kept() if row.writer in engines]
    purposes: Counter[str] = Counter()
    for row in (row for outcome in outcomes for row in loads(outcome.ledger) if row["purpose"] != TOOL):
        purposes[f"{row['engine']}/{row['purpose']}/{row['fate']}"] += row["output_tokens"]
    return Sample(
        policy=arm,
        seed=seed,
        task=str(task.id),
        run_id=last.run.id,
        status=outcomes[-1].status,
        answer=outcomes[-1].answer,
        gold=task.answer,
        score=scored[0],
        score_error=scored[1],
        steps=len(writers),
        large_steps=writers.count(engines[-1]),
        escalations=0,
        seconds=sum(outcome.seconds for outcome in outcomes),
        uses=uses_of((call for run in runs for call in run.calls), engines),
        purposes=dict(purposes),
        handbook={**_of_recall(last), **told},
    )


def answer_of(stored: StoredRun) -> str | None:
    """Return what a run that is over answered."""
    return None if stored.outcome is None else stored.outcome.answer


def of_learning(learnt: Learnt, behaviors: Sequence[Behavior]) -> dict[str, int]:
    """Return what learning from a run took, and what came of it; `behaviors` are those of the handbook behind it.

    Learning again, after a death, finds what it had added: that is not refused.
    """
    added = sum(each.run == learnt.run for each in behaviors)
    return {
        "added": added,
        "refused": len(learnt.refused) + len(learnt.new) - added,
        "unusable": int(bool(learnt.unusable)),
        "output_tokens": learnt.output_tokens,
        "prompt_tokens": learnt.prompt_tokens,
    }


def of_attempt(attempt: Attempted) -> dict[str, int]:
    """Return what learning from a first attempt took, and whether a second one was made."""
    output, prompt = attempt.learning
    return {"attempted": int(attempt.second is not None), "output_tokens": output, "prompt_tokens": prompt}


def _of_recall(stored: StoredRun) -> dict[str, int]:
    """Return how many behaviors a run was shown and cited."""
    recalled = recalled_in(stored)
    if recalled is None:
        return {}
    cited = [loads(event.detail)["cited"] for event in stored.events if event.kind == CITED]
    return {"shown": len(recalled.shown), "cited": len(cited[-1]) if cited else 0}
