"""What a pipeline says of recalling that has no effect, as commands tell it before anybody waits for one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.handbook.recall import Recall
from orchestrator.memory.handbook import Handbook
from orchestrator.memory.store import Store

if TYPE_CHECKING:
    from orchestrator.behaviors import Behavior
    from orchestrator.runtime.pipeline import Pipeline

__all__ = ["held", "idle"]


def held(pipeline: Pipeline) -> list[Behavior] | None:
    """Return the behaviors that runs may recall; None where the handbook's file is still to be made, which it is not
    here. Raises StoreError."""
    place = pipeline.handbook_place
    if place is None:
        return []
    if place.file == ":memory:":
        assert pipeline.handbook is not None
        return pipeline.handbook.behaviors()
    file = Path(place.file)
    if not file.exists() or (file.is_file() and not file.stat().st_size):
        return None
    with Store(file, readonly=True) as store:
        return Handbook(store, place.name).behaviors()


def idle(pipeline: Pipeline) -> Iterator[str]:
    """Yield a line for everything that has no effect. Raises StoreError for a handbook that cannot be read."""
    recall, place = pipeline.recall, pipeline.handbook_place
    if place is None:
        if recall != Recall():
            yield "[recall] has no effect without a handbook: give --handbook FILE, or `handbook` in [run]"
        return
    behaviors = held(pipeline)
    if not behaviors:
        yield f"handbook {place} is {'new and ' if behaviors is None else ''}empty: there is nothing to recall yet"
    known = {each.section for each in behaviors or ()}
    for section in recall.sections if known else ():
        if section not in known:
            there = ", ".join(sorted(known - {""})) or "none"
            yield f"recall: sections: no behavior of {place} has section {section!r}; there are: {there}"
    if recall.least and pipeline.embedding is None:
        yield f"recall: least = {recall.least} has no effect without a table [embedding]: words have no scale"
