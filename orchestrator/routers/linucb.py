"""Learn from how runs end which engine a task, or a step, is worth: a contextual bandit over all engines that write.

Every engine is an arm with a linear estimate of the reward that a task of these features earns with it. The
engine with the highest estimate + alpha * uncertainty writes, so what is little known is tried, and less and
less as rewards come in. A reward may come long after its run, and in any order: it is credited to the features
that the run's own decisions were made by. Equal scores, as at the very beginning, are settled by a draw.

Source: Symphony-Coord, of which only the abstract is known here (LinUCB over engines with delayed reward at the
end of an episode), with the disjoint LinUCB of Li et al., arXiv:1003.0146: theta = A^-1 b, score = theta' x +
alpha * sqrt(x' A^-1 x). Differs:
- every engine is a candidate; the first stage, which keeps a small set of many, has nothing to do for a few;
- the features (routers/wording.py) are of the text and of the run's history, cheap and bounded: no embedding, no load;
- what is learned is reward - `cost_weight` * cost, with cost in [0, 1]: the engine's place in the row, 0 for the
  cheapest and 1 for the largest, or, with `cost_scale`, what it was charged;
- an arm begins with the expectation of the best reward instead of none, so that one bad draw is not the end of it;
- `discount` lets old outcomes fade from all arms at every reward, towards what an arm begins with;
- an engine that failed rests for `cooldown` ends of runs, twice as long each time it fails again at once, and is
  then tried whatever its score, by a drawn share of the runs until one of them tells;
- a decision whose step another engine had to write teaches nothing;
- all numbers below, alpha and ridge included, are ours: the abstract gives none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from orchestrator.decisions import Plan
from orchestrator.doors import Needs
from orchestrator.errors import UserError
from orchestrator.options import check_choice, check_range, check_whole
from orchestrator.routers.random import uniform
from orchestrator.routers.ridge import LEAST, MEND, Ridge
from orchestrator.routers.wording import PLACE, WORDING, of_place, of_task
from orchestrator.types import History, Outcome, Taken

__all__ = ["LinUCB"]

_FORMAT = 1
_LONGEST = 5
"""A cool-down is doubled at most this often."""
_EQUAL = 1e-9
TRIAL = 4
"""Of runs that find an engine rested, one in so many tries it: the others, side by side with it, need not fail."""


@dataclass(frozen=True, kw_only=True)
class LinUCB:
    """Let the engine write whose estimated reward, uncertainty added and cost taken off, is highest.

    What it has learned is in the journal, apart for other options, other engines and other names of the
    pipeline's `experience`.
    """

    needs = Needs(engines=2, steps=False)
    per: Literal["task", "step"] = "task"
    """Choose once, before the first step, or before every step."""
    alpha: float = 1.0
    """How much uncertainty counts; 0 never explores on purpose; well below 1, few bad draws end an engine."""
    ridge: float = 1.0
    """How many rewards' worth of doubt each feature starts with; from a millionth to a million."""
    discount: float = 1.0
    """In (0, 1]: what an outcome still counts after the next one; 1 forgets nothing, 0.99 most of it in 300 runs."""
    cost_weight: float = 0.25
    """Reward that the largest engine has to earn on top of the cheapest to be worth its cost; >= 0."""
    cost_scale: float | None = None
    """What a run may cost, in the unit of the engines' prices, to count as 1; None goes by the row of engines."""
    cooldown: int = 10
    """Ends of runs that an engine which failed is left alone for."""
    seed: int = 0
    """Of the draws between equal scores."""

    def __post_init__(self) -> None:
        check_choice("linucb", self, per=("task", "step"))
        check_range("linucb", self, alpha="[0, inf)", ridge=f"[{LEAST}, {1 / LEAST}]", discount="(0, 1]")
        check_range("linucb", self, cost_weight="[0, inf)", cost_scale="(0, inf)")
        check_whole("linucb", self, cooldown=0)

    def before_step(self, history: History) -> Plan:
        """Choose who writes; with `per="task"` whoever wrote the last step goes on."""
        if self.per == "task" and history.steps:
            return Plan(engine=history.last_writer)
        features = of_task(history.task)
        if self.per == "step":
            features += of_place(history)
        known = _Known(history.learned, history.engines, len(features), self.ridge)
        if (engine := known.due()) is not None and self._tries(history, engine, known):
            return Plan(engine=engine, reason="it failed and has rested: tried again", features=features)
        scores = {name: known.arms[name].estimate(features) for name in known.fit()}
        upper = {name: mean + self.alpha * spread for name, (mean, spread) in scores.items()}
        best = [name for name, score in upper.items() if score >= max(upper.values()) - _EQUAL]
        drawn = uniform("linucb", history.seed, self.seed, len(history.steps))
        engine = best[0] if len(best) == 1 else best[int(drawn * len(best))]
        shown = ", ".join(f"{name} {mean:.2f}+{self.alpha * spread:.2f}" for name, (mean, spread) in scores.items())
        resting = "".join(f", {name} rests" for name in history.engines if name not in scores)
        how = "highest" if len(best) == 1 else "drawn"
        return Plan(engine=engine, reason=f"{how} of {shown}{resting}", features=features)

    def _tries(self, history: History, engine: str, known: _Known) -> bool:
        """Return whether this run tries an engine that has rested, which runs side by side all see: a share of them.

        It is drawn, one run in TRIAL, anew for each task and each run that has ended, for runs know nothing of each
        other; whoever has nobody else has to.
        """
        if set(known.arms) <= set(known.failures):
            return True
        asked = history.task.messages[-1].content
        return uniform("trial", history.seed, self.seed, engine, known.num_runs, len(history.steps), asked) < 1 / TRIAL

    def after_run(self, outcome: Outcome, state: Mapping[str, Any]) -> Mapping[str, Any]:
        """Learn who failed from the end of a run, and what its decisions were worth from its reward."""
        size = len(WORDING) + (len(PLACE) if self.per == "step" else 0)
        known = _Known(state, outcome.engines, size, self.ridge)
        if not outcome.is_late:
            known.end(outcome, self.cooldown)
        if outcome.reward is not None:
            known.num_rewards += 1
            for arm in known.arms.values():
                arm.fade(self.discount)
            for taken in self._earned(outcome):
                cost = self._cost(outcome, taken.engine)
                known.arms[taken.engine].add(taken.features, outcome.reward - self.cost_weight * cost)
        return known.to_json()

    def _earned(self, outcome: Outcome) -> Sequence[Taken]:
        """Return the decisions that were carried out: the last ones at their steps, written by whom they chose."""
        last = {taken.step: taken for taken in outcome.decisions if taken.door == "before_step" and taken.features}
        if self.per == "task":
            first = last.get(0)
            return [first] if first is not None and {*outcome.writers} & {*outcome.engines} == {first.engine} else []
        writers = dict(enumerate(outcome.writers))
        return [taken for step, taken in sorted(last.items()) if writers.get(step) == taken.engine]

    def _cost(self, outcome: Outcome, engine: str) -> float:
        """Return what the run would have cost with this engine alone, in [0, 1]."""
        if self.cost_scale is None:
            return outcome.engines.index(engine) / max(len(outcome.engines) - 1, 1)
        share = outcome.writers.count(engine) / sum(map(outcome.writers.count, outcome.engines))
        return min(outcome.cost.get(engine, 0.0) / share / self.cost_scale, 1.0)


class _Known:
    """The state, unpacked: an arm for every engine, how many runs have ended, and which engines rest."""

    def __init__(self, state: Mapping[str, Any], engines: Sequence[str], size: int, ridge: float) -> None:
        if state and state.get("format") != _FORMAT:
            found = state.get("format")
            raise UserError(f"linucb: what was learned has format {found!r}, not {_FORMAT}: use another `experience`")
        arms, failures = state.get("arms", {}), state.get("failures", {})
        counts = (state.get("runs", 0), state.get("rewards", 0))
        if not (isinstance(arms, Mapping) and isinstance(failures, Mapping) and all(map(_is_count, counts))):
            raise UserError(f"linucb: what was learned is damaged (its parts are others): {MEND}")
        for name, each in failures.items():
            if not isinstance(each, list | tuple) or len(each) != 2 or not all(map(_is_count, each)):
                raise UserError(f"linucb: what was learned is damaged (failures of {name!r}: {each!r:.40}): {MEND}")
        self.arms = {
            name: Ridge.from_json(arms[name], size, ridge) if name in arms else Ridge(size, ridge) for name in engines
        }
        self.num_runs, self.num_rewards = counts
        self.failures: dict[str, list[int]] = {name: list(each) for name, each in failures.items()}
        """By engine: failures in a row, and the number of runs at which it is tried again."""

    def due(self) -> str | None:
        """Return the first engine that failed and has rested, or None."""
        waited = (name for name, (_, until) in self.failures.items() if self.num_runs >= until and name in self.arms)
        return next(waited, None)

    def fit(self) -> list[str]:
        """Return the engines that do not rest; if all of them do, the one that has to for the shortest time."""
        found = [name for name in self.arms if name not in self.failures]
        return found or [min(self.arms, key=lambda name: self.failures[name][1])]

    def end(self, outcome: Outcome, cooldown: int) -> None:
        """Count the end of a run: who failed in it rests, who wrote in it without failing is well again."""
        self.num_runs += 1
        for name in self.arms:
            failures, until = self.failures.get(name, (0, 0))
            if name in outcome.failed:
                if self.num_runs > until:  # runs side by side meet the same breakdown: it counts once
                    rest = cooldown * 2 ** min(failures, _LONGEST)
                    self.failures[name] = [failures + 1, self.num_runs + rest]
            elif name in outcome.writers:
                self.failures.pop(name, None)

    def to_json(self) -> dict[str, Any]:
        """Return the state as plain data."""
        return {
            "format": _FORMAT,
            "runs": self.num_runs,
            "rewards": self.num_rewards,
            "arms": {name: arm.to_json() for name, arm in self.arms.items()},
            "failures": self.failures,
        }


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
