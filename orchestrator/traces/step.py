"""Everything about one step of a stored run, as plain data.

    run, step           which; `steps` is how many the run has
    candidates          run, step, attempt, writer, verdict, reason, text, output_tokens, is_bound, seconds, as they
                        were begun; verdicts are those of runtime.attempts.Attempt
    decisions           run, attempt, door, action, engine, reason, threshold, margin, alternatives, policy, detail
    signals             run, attempt, name, value, raw, unit, output_tokens, seconds; `reason` where there is no value
    calls               run, seq, attempt, purpose, engine, seed, digest (of the prompt), max_tokens, started_s, status,
                        prompt_tokens, cached_tokens, output_tokens, uncertain, stop, stop_text, seconds, first_token_s,
                        queue_s, drafts, drafted, accepted, error, text; `status` is "in flight" without a result
    events              run, kind, detail, at_s
    counterfactuals     run, is_large (it stands), kept, other: the scores of what stands and of what was written beside

What a fork began with is looked up where it was written: `run` says in which run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from json import loads
from typing import Any

from orchestrator.errors import UserError
from orchestrator.memory.base import CallRow, StoredRun
from orchestrator.runtime.attempts import Attempt
from orchestrator.runtime.counterfactuals import compared
from orchestrator.runtime.timeline import candidates

__all__ = ["OF_A_CANDIDATE", "step_of"]

OF_A_CANDIDATE = ("step", "attempt", "writer", "verdict", "reason", "text", "output_tokens", "is_bound", "seconds")
"""What is told of a candidate."""


def step_of(stored: StoredRun, ancestors: Sequence[StoredRun], step: int) -> dict[str, Any]:
    """Return what the journal holds about step `step`, from 0; `ancestors`, oldest first, are what it was forked from.

    Raises UserError for a step that the run does not have.
    """
    tried = candidates(stored, ancestors)
    steps = 1 + max((each.step for each in tried), default=-1)
    if not 0 <= step < steps:
        has = {0: "none yet", 1: "step 0 alone"}.get(steps, f"steps 0 to {steps - 1}")
        raise UserError(f"run {stored.run.id} has no step {step}: it has {has}")
    wrote = {each.origin for each in tried if each.step == step}
    homes = [each for each in (*ancestors, stored) if each is stored or each.run.id in wrote]
    told: dict[str, Any] = {"run": stored.run.id, "step": step, "steps": steps}
    told["candidates"] = [each for home in homes for each in _candidates(home, tried, step)]
    for name in ("decisions", "signals", "events"):
        rows = ((home.run.id, row) for home in homes for row in getattr(home, name) if row.step == step)
        told[name] = [_row(run, row) for run, row in rows]
    told["calls"] = [_call(home.run.id, call) for home in homes for call in home.calls if call.intent.step == step]
    told["counterfactuals"] = [
        {"run": home.run.id, "is_large": each.is_large, "kept": each.kept, "other": each.other}
        for home in homes
        for each in compared(home)
        if each.step == step
    ]
    return told


def _candidates(home: StoredRun, tried: Sequence[Attempt], step: int) -> Iterator[dict[str, Any]]:
    """Yield what was tried in one run; what a fork began with has the verdict that the fork came to."""
    begun = {(each.origin, each.attempt, each.writer): each.verdict for each in tried if each.step == step}
    for each in candidates(home):
        if each.step == step:
            told = {name: getattr(each, name) for name in OF_A_CANDIDATE}
            verdict = begun.get((home.run.id, each.attempt, each.writer), each.verdict)
            yield {"run": home.run.id, **told, "verdict": verdict}


def _row(run: str, row: Any) -> dict[str, Any]:
    values: dict[str, Any] = {**row._asdict(), "run": run}
    del values["step"]
    if "detail" in values:
        values["detail"] = loads(row.detail) if row.detail else {}
    if "alternatives" in values:
        values["alternatives"] = [each for each in row.alternatives.split(",") if each]
    return values


def _call(run: str, call: CallRow) -> dict[str, Any]:
    intent, result = call
    values = {**intent._asdict(), "run": run, "digest": intent.digest.hex(), "status": "in flight"}
    if result is not None:
        came = result._asdict()
        values |= {name: came[name] for name in came if name not in ("run", "seq", "ids", "logprobs")}
        values["uncertain"] = bool(result.uncertain)
    del values["step"]
    return values
