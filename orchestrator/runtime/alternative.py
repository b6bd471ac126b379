"""What another engine would have written in a draft's place, as candidates with attempt numbers of their own.

Attempts that follow each other (a draft, its rewrite, a failover) count 0, 1, 2, ...; alternatives of
a draft are numbered above all of these, one band for each engine and sample, and within a band by the
draft. So no two candidates of a step share a number, and what a number stands for can be read from it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from orchestrator.decisions import Decision, Rewrite
from orchestrator.errors import UnknownName, UserError
from orchestrator.runtime.marks import ALTERNATIVE, BAND, plain
from orchestrator.runtime.run import Run, Turn
from orchestrator.types import Step

__all__ = [
    "Adopt",
    "adopted",
    "adopting",
    "alternative",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopt(Rewrite):
    """A rewrite that was written before it was decided on: the alternative `attempt` is kept as it is."""

    attempt: int


def alternative(run: Run, draft: Step, engine: str, sample: int) -> Turn:
    """Return the turn in which `engine` writes its alternative to `draft`, the draft of the turn in hand.

    Its draws are those of a rewrite, so that sample 0 has the text that a rewrite by that engine would have.
    Raises UnknownName for an engine that does not write here, and UserError for a sample below 0.
    """
    if engine not in run.samplings:
        known = ", ".join(run.samplings)
        raise UnknownName(f"{run.doors.policy} asks engine {engine!r} for an alternative; the pipeline has {known}")
    if sample < 0:
        raise UserError(f"{run.doors.policy} asks for sample {sample} of an alternative: samples count from 0")
    assert run.turn is not None
    engines, attempt = run.history.engines, plain(draft.attempt)
    band = 1 + engines.index(engine) + len(engines) * sample
    return Turn(
        engine,
        ALTERNATIVE,
        BAND * band + attempt,
        run.turn.max_tokens,
        run.turn.logprobs,
        stands=True,
        whole=run.turn.whole,
        drawn_as=(f"rewrite {sample}" if sample else "rewrite", attempt + 1),
        lead=run.turn.lead,
    )


def adopting(run: Run, draft: Step, decision: Decision) -> Decision:
    """Return a rewrite as an adoption where the same step lies ready as an alternative; else `decision` itself."""
    if not run.alternatives or not isinstance(decision, Rewrite) or run.turn is None:
        return decision
    turn = alternative(run, draft, decision.engine, 0)
    if (draft.index, turn.attempt) not in run.alternatives:
        return decision
    if decision.max_tokens not in (None, run.turn.max_tokens):
        return decision
    return adopted(decision, turn.attempt)


def adopted(decision: Rewrite, attempt: int) -> Adopt:
    """Return `decision` as the adoption of alternative `attempt`."""
    return Adopt(attempt=attempt, **{each.name: getattr(decision, each.name) for each in fields(Rewrite)})
