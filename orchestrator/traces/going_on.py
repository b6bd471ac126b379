"""Let engines write what a replay cannot tell: a fork of the stored run goes on from where what is known ends."""

from __future__ import annotations

from json import loads
from typing import TYPE_CHECKING

from orchestrator.errors import UserError
from orchestrator.memory.base import StoredRun
from orchestrator.runtime.untraced import untraced
from orchestrator.traces.replay import Parted, Replayed

if TYPE_CHECKING:
    from orchestrator.runtime.pipeline import Pipeline

__all__ = ["gone_on", "is_open", "other_settings"]

_CHOSEN = ("router", "calibration", "scorers", "counterfactuals", "seed", "stop_on_answer")
"""Settings that a replay with engines changes on purpose, or takes from the run."""

_FRAME = ("mode", "tools")
"""Settings that say what a step is: half a run of each kind would be nobody's."""


def is_open(made: Replayed) -> bool:
    """Return whether there is anything for engines to write: the replay parted, and its end is not known."""
    return made.parted is not None and not made.is_known


async def gone_on(pipeline: Pipeline, stored: StoredRun, made: Replayed) -> StoredRun:
    """Return the fork of `stored`, run to its end by the engines of `pipeline` and the router that `made` the replay.

    Where the replay went on in a stored tree, the last branch of it is forked. The fork begins with the kept steps
    before the one that is not known, which cost nothing again; asked for again it is the same fork, and no call is
    repeated. Draws are the run's. Raises UserError where nothing is open, where engines, mode or tools are others than
    the run's, or where it has no kept step to go back behind, and EngineError for an engine that does not start.
    """
    if not is_open(made):
        raise UserError(f"run {stored.run.id} has nothing open under {made.policy}: there is nothing to run")
    if frame := [name for name in other_settings(pipeline, stored) if name in _FRAME]:
        raise UserError(
            f"run {stored.run.id} had another {' and '.join(frame)}: give the pipeline that it was made with"
        )
    await _check_engines(pipeline, stored)
    parted = _ends(made)
    run = pipeline.journal.run(made.path[-1].run) if made.path and made.lacks is not None else stored
    if parted.step >= len(run.kept()):
        raise UserError(f"run {run.run.id} ended in step {parted.step}, where it parts: run its task anew")
    settings = loads(stored.run.settings)
    own = pipeline.but(router=pipeline.router, seed=settings["seed"], stop_on_answer=settings["stop_on_answer"])
    with untraced(is_allowed=False):
        state = await own.graph.ainvoke({"run": run.run.id, "step": parted.step}, {"recursion_limit": 1_000_000})
    return pipeline.journal.run(state["run"])


def other_settings(pipeline: Pipeline, stored: StoredRun) -> list[str]:
    """Return the names of the settings, besides who routes and what is drawn, that shaped the run otherwise."""
    before, now = loads(stored.run.settings), loads(pipeline.settings)
    return sorted(name for name in {*before, *now} if name not in _CHOSEN and before.get(name) != now.get(name))


def _ends(made: Replayed) -> Parted:
    """Return where engines have to go on: where what is known ends, or else at the first parting."""
    ends = made.lacks or made.parted
    assert ends is not None
    return ends


async def _check_engines(pipeline: Pipeline, stored: StoredRun) -> None:
    """Raise UserError if the engines are not the ones that wrote the run: the two halves would be nobody's."""
    now = await pipeline.start()
    before = loads(stored.run.engines)
    if list(before) != list(now):
        raise UserError(f"run {stored.run.id} was made with engines {', '.join(before)}, not {', '.join(now)}")
    for name, was in before.items():
        if (was["model"], was["tokenizer"]) != (now[name].model, now[name].tokenizer):
            raise UserError(
                f"run {stored.run.id} was made with {was['model']!r} as engine {name!r}, not {now[name].model!r}: "
                "give the engines it was made with"
            )
