"""A handbook beside a run: what is recalled when it begins, what it cited when it ends, and whose credit that is.

What a run was shown is an event of its journal, so a resumed run is shown the same, whatever the handbook says by then.
Credit goes to the behaviors that the text names, once the outcome is known, and comes before the end of the run is on
disk: a process that dies in between credits again, which counts once.

Source: Metacognitive Reuse, arXiv:2509.13237 (behaviors in the prompt, cited by name). Differs: credit is not the
engine's own word but citation times outcome; a share of the runs can be shown nothing, so that what behaviors do can
be measured; no question is answered with what was learned from itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from json import dumps, loads
from time import time
from typing import NamedTuple

from orchestrator.behaviors import Behavior, Credit, Effect
from orchestrator.engines.base import Engine
from orchestrator.handbook.choosing import chosen
from orchestrator.handbook.citing import citations
from orchestrator.handbook.prompts import line
from orchestrator.handbook.recall import Recall
from orchestrator.memory.base import EventRow, StoredRun
from orchestrator.memory.handbook import Handbook
from orchestrator.runtime.run import Run
from orchestrator.runtime.tasks import fingerprint
from orchestrator.types import Task, question_of

__all__ = ["CITED", "RECALLED", "Recalled", "credit", "note", "note_citations", "recall", "recalled_in"]

RECALLED, CITED = "recalled", "cited"
"""Kinds of the events that say what a run was shown, and what of it its text names."""
_LOOKED_AT = 4
"""As many times more behaviors are looked at as may be shown: some are of the question itself."""


class Recalled(NamedTuple):
    """What a handbook has for a task."""

    handbook: str
    head: int
    """The change of the handbook that it stood on."""
    behaviors: tuple[Behavior, ...]
    """In the order they are shown; where nothing is shown, those that would have been."""
    num_tokens: int
    left: str
    """See choosing.Chosen."""
    is_withheld: bool

    @property
    def shown(self) -> tuple[Behavior, ...]:
        """What the engines read."""
        return () if self.is_withheld else self.behaviors


async def recall(handbook: Handbook, options: Recall, task: Task, engine: Engine, seed: int) -> Recalled:
    """Return what `handbook` has for a task; `engine` counts the tokens. Raises EngineError or StoreError."""
    head, own = handbook.head, "" if options.own else fingerprint(task)
    ranked = handbook.search(question_of(task.messages), _LOOKED_AT * options.most, sections=options.sections)
    ranked = [(each, score) for each, score in ranked if not own or each.task != own]
    sizes = {each.id: len(await engine.encode(f"{line(each)}\n")) for each, _ in ranked}
    found = chosen(
        ranked, most=options.most, tokens=options.tokens, count=lambda each: sizes[each.id], share=options.share
    )
    return Recalled(
        handbook.name, head, found.behaviors, found.num_tokens, found.left, is_withheld=options.withholds(seed)
    )


def note(run: Run, recalled: Recalled) -> None:
    """Put into the journal what a run is shown."""
    names = ", ".join(each.name for each in recalled.behaviors) or "nothing"
    reason = f"{names} ({recalled.num_tokens} tokens)" if recalled.behaviors else names
    told = {
        "reason": f"withheld for comparison: {reason}" if recalled.is_withheld else reason,
        **recalled._asdict(),
        "behaviors": [asdict(each) for each in recalled.behaviors],
    }
    run.journal.event(EventRow(run.key, 0, RECALLED, dumps(told), time()))


def recalled_in(stored: StoredRun) -> Recalled | None:
    """Return what a stored run was shown; None where no handbook was beside it, or it had not come to that."""
    for event in stored.events:
        if event.kind == RECALLED:
            told = loads(event.detail)
            behaviors = tuple(Behavior(**each) for each in told.pop("behaviors"))
            return Recalled(behaviors=behaviors, **{name: told[name] for name in Recalled._fields if name in told})
    return None


def note_citations(run: Run, recalled: Recalled) -> tuple[str, ...]:
    """Put into the journal what the run's text cites of what it was shown, and return that."""
    text = "".join(step.text for step in run.history.written)
    found = citations(text, [each.name for each in recalled.shown])
    if any((found.cited, found.unprovided, found.unused)):
        said = [f"cited {', '.join(found.cited) or 'nothing'}"]
        said += [f"made up {', '.join(found.unprovided)}"] if found.unprovided else []
        told = {"reason": "; ".join(said), **found._asdict()}
        run.journal.event(EventRow(run.key, len(run.history.steps), CITED, dumps(told), time()))
    return found.cited


def credit(handbook: Handbook, shown: Sequence[Behavior], cited: Sequence[str], run_id: str, reward: float) -> None:
    """Count a run, and what it was worth, for the behaviors that it was shown and cited. Counted once for each run."""
    effect: Effect = "helpful" if reward >= 1 else "harmful" if reward <= 0 else "neutral"
    ids: Mapping[str, int] = {each.name: each.id for each in shown}
    handbook.apply([Credit(ids[name], run_id, effect) for name in cited], reason=f"run {run_id}")
