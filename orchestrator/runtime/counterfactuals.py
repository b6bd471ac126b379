"""Counterfactuals of a stored run: the steps at which the other engine's step was looked at, and both scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from json import dumps, loads
from typing import NamedTuple

from orchestrator.memory.base import CallRow, SignalRow, StoredRun
from orchestrator.routers.counterfactual import is_sampled
from orchestrator.runtime.attempts import Attempt, attempts
from orchestrator.runtime.calls import run_seed
from orchestrator.runtime.marks import ALTERNATIVE, BAND, plain

__all__ = ["Compared", "Counterfactuals", "compared", "counterfactuals_of", "own_calls", "own_signals"]

JUDGE = "judge"
"""Purpose of the calls that score."""


class Counterfactuals(NamedTuple):
    """What a run was told to look at."""

    share: float
    scorer: str
    """Empty for nobody."""
    seed: int
    """The run's."""

    def is_sampled(self, step: int) -> bool:
        """Return whether the step was to be looked at."""
        return is_sampled(self.seed, step, self.share)


class Compared(NamedTuple):
    """One kept step, and what was written in its place."""

    step: int
    is_large: bool
    """The largest engine's step stands."""
    kept: float | None
    """Score of the step that stands, in [0, 1]; None if nobody could score it."""
    other: float | None
    """Score of the one that does not."""


def counterfactuals_of(run: StoredRun) -> Counterfactuals | None:
    """Return what a run was told to look at, None for nothing."""
    settings = loads(run.run.settings)
    found = settings.get("counterfactuals")
    if found is None:
        return None
    seed = run_seed(settings["seed"], dumps(loads(run.run.task)["messages"]))
    return Counterfactuals(found["share"], found["scorer"], seed)


def compared(run: StoredRun) -> list[Compared]:
    """Return the steps that were looked at, in order; those are left out whose other step could not be had."""
    told = counterfactuals_of(run)
    if told is None:
        return []
    *_, large = loads(run.run.engines)
    tried: dict[int, list[Attempt]] = {}
    for each in attempts(run):
        tried.setdefault(each.step, []).append(each)
    found = []
    for row in run.kept():
        if not told.is_sampled(row.step):
            continue
        beside = [each for each in tried[row.step] if plain(each.attempt) == plain(row.attempt) and each.text]
        stands = [each for each in beside if each.attempt == row.attempt]
        others = [each for each in beside if _is_other(each, row.attempt)]
        if stands and others:
            kept, other = (_score(each, told.scorer) for each in (stands[0], others[0]))
            found.append(Compared(row.step, row.writer == large, kept, other))
    return found


def own_calls(run: StoredRun, asked: Collection[str]) -> list[CallRow]:
    """Return the calls of a run without those that only looked: what the policy itself cost.

    `asked` are the scorers that its router asks by itself. What wrote or scored an alternative that does not stand
    only looked; that is right for routers that do not ask for alternatives themselves. So did what scored a draft,
    where the router does not ask that scorer: it looks last, so its calls come behind the router's own. Where the
    router asks the same scorer, but not about every draft, a score that only the look has asked for stays in.
    """
    looked = counterfactuals_of(run)
    if looked is None:
        return list(run.calls)
    kept = {(row.step, row.attempt) for row in run.kept()}
    own = Counter((row.step, row.attempt) for row in own_signals(run, asked))
    found = []
    for call in run.calls:
        intent, result = call
        place = intent.step, intent.attempt
        if intent.attempt >= BAND and (intent.purpose != ALTERNATIVE or place not in kept):
            continue
        if intent.purpose == JUDGE and looked.scorer not in asked and looked.is_sampled(intent.step):
            if not own[place]:
                continue
            own[place] -= result is not None and result.status == "done"
        found.append(call)
    return found


def own_signals(run: StoredRun, asked: Collection[str]) -> list[SignalRow]:
    """Return the signals of a run without those that only looked; `asked` and what cannot be told as in `own_calls`."""
    looked = counterfactuals_of(run)
    if looked is None:
        return list(run.signals)
    return [row for row in run.signals if row.attempt < BAND and (row.name != looked.scorer or row.name in asked)]


def _is_other(each: Attempt, kept: int) -> bool:
    """Return whether it stood against the kept step: an alternative against a draft, or the draft against one."""
    return each.attempt != kept and (each.attempt < BAND) != (kept < BAND)


def _score(each: Attempt, scorer: str) -> float | None:
    return next((signal.value for signal in each.signals if signal.name == scorer), None)
