"""Let engines write what a replay cannot tell: a fork of the stored run goes on from where the two part."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.errors import UserError
from orchestrator.memory.base import StoredRun
from orchestrator.runtime.untraced import untraced
from orchestrator.traces.replay import Replayed

if TYPE_CHECKING:
    from orchestrator.runtime.pipeline import Pipeline

__all__ = ["gone_on"]


async def gone_on(pipeline: Pipeline, stored: StoredRun, made: Replayed) -> StoredRun:
    """Return the fork of `stored`, run to its end by `pipeline`, whose router is the one that `made` the replay.

    It begins with the kept steps before the one that parted, which cost nothing again; asked for again it is the same
    fork, and no call is repeated. Raises UserError where nothing parted, or the run has no kept step there to go back
    behind, and EngineError for an engine that does not start.
    """
    if made.parted is None:
        raise UserError(f"run {stored.run.id} does not part under {made.policy}: there is nothing to run")
    if made.parted.step >= len(stored.kept()):
        raise UserError(f"run {stored.run.id} ended in step {made.parted.step}, where it parts: run its task anew")
    with untraced(is_allowed=False):
        state = await pipeline.graph.ainvoke(
            {"run": stored.run.id, "step": made.parted.step}, {"recursion_limit": 1_000_000}
        )
    return pipeline.journal.run(state["run"])
