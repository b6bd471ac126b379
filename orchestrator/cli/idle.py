"""What a pipeline says of recalling that has no effect, as commands tell it before anybody waits for one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.handbook.recall import Recall
from orchestrator.memory.handbook import Handbook, Place
from orchestrator.memory.opening import MEMORY
from orchestrator.memory.store import Store

if TYPE_CHECKING:
    from orchestrator.runtime.pipeline import Pipeline

__all__ = ["idle", "looked_at"]


@contextmanager
def looked_at(pipeline: Pipeline) -> Iterator[Handbook | None]:
    """Open what runs recall from, to read it; None where there is none, or its file is still to be made, which it is
    not here. Raises StoreError."""
    place = pipeline.handbook_place
    if place is None or place.file == MEMORY:
        yield pipeline.handbook
    elif _is_empty(Path(place.file)):
        yield None
    else:
        with Store(place.file, readonly=True) as store:
            yield Handbook(store, place.name)


def _is_empty(file: Path) -> bool:
    return not file.exists() or (file.is_file() and not file.stat().st_size)


def idle(pipeline: Pipeline) -> Iterator[str]:
    """Yield a line for everything that has no effect. Raises StoreError for a handbook that cannot be read."""
    recall, place = pipeline.recall, pipeline.handbook_place
    if place is None:
        if recall != Recall():
            yield "[recall] has no effect without a handbook: give --handbook FILE, or `handbook` in [run]"
        return
    with looked_at(pipeline) as book:
        if book is None or not book.head:
            yield f"handbook {place} is {'new and ' if book is None else ''}empty: there is nothing to recall yet"
        else:
            yield from _sections(book, place, recall)
    if recall.least and pipeline.embedding is None:
        yield f"recall: least = {recall.least} has no effect without a table [embedding]: words have no scale"


def _sections(book: Handbook, place: Place, recall: Recall) -> Iterator[str]:
    for section in recall.sections:
        if not book.behaviors(section=section):
            known = ", ".join(sorted({each.section for each in book.behaviors()} - {""})) or "none"
            yield f"recall: sections: no behavior of {place} has section {section!r}; there are: {known}"
