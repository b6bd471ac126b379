"""A handbook beside a run: what is recalled when it begins, what it cited when it ends, and whose credit that is.

What a run was shown is an event of its journal, so a resumed run is shown the same, whatever the handbook says by then.
Credit goes to the behaviors that the text names, once the outcome is known, and comes before the end of the run is on
disk: a process that dies in between credits again, which counts once.

Source: Metacognitive Reuse, arXiv:2509.13237 (behaviors in the prompt, cited by name). Differs: credit is not the
engine's own word but citation times outcome; a share of the runs can be shown nothing, so that what behaviors do can
be measured; no question is answered with what was learned from itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from json import dumps, loads
from time import time

from orchestrator.behaviors import Behavior, Credit, Effect
from orchestrator.engines.base import Engine
from orchestrator.engines.embedding import Embedding
from orchestrator.handbook.choosing import chosen
from orchestrator.handbook.citing import citations
from orchestrator.handbook.effect import Trial
from orchestrator.handbook.prompts import line
from orchestrator.handbook.recall import Recall, Recalled
from orchestrator.memory.base import EventRow, StoredRun
from orchestrator.memory.handbook import Handbook
from orchestrator.memory.journal import Journal
from orchestrator.memory.store import Store
from orchestrator.runtime.meaning import ranked
from orchestrator.runtime.run import Run
from orchestrator.runtime.tasks import fingerprint, is_correct
from orchestrator.types import Task, question_of

__all__ = ["CITED", "RECALLED", "credit_late", "note", "recall", "recalled_in", "settle", "trials", "was_right"]

RECALLED, CITED = "recalled", "cited"
"""Kinds of the events that say what a run was shown, and what of it its text names."""
_LOOKED_AT = 4
"""As many times more behaviors are looked at as may be shown: some are of the question itself."""


async def recall(
    handbook: Handbook, options: Recall, task: Task, counter: Engine, seed: int, embedding: Embedding | None
) -> Recalled:
    """Return what `handbook` has for a task, by words, and with `embedding` by meaning as well.

    `counter` counts the tokens. Raises EngineError, of the counter only, BadConfig for an embedding that cannot be had
    as it is described, or StoreError.
    """
    head, own = handbook.head, "" if options.own else fingerprint(task)
    question, number = question_of(task.messages), _LOOKED_AT * options.limit
    ranking, by, _ = await ranked(handbook, question, number, embedding, sections=options.sections)
    found = [(each, score) for each, score in ranking if not own or each.task != own]
    sizes = {each.id: len(await counter.encode(f"{line(each)}\n")) for each, _ in found}
    taken = chosen(
        found, most=options.limit, tokens=options.tokens, count=lambda each: sizes[each.id], share=options.share
    )
    is_withheld = options.withholds(seed)
    return Recalled(handbook.file, handbook.name, head, by, *taken, is_withheld)


def note(run: Run, recalled: Recalled) -> None:
    """Put into the journal what a run is shown."""
    names = ", ".join(each.name for each in recalled.behaviors) or "nothing"
    reason = f"{names} ({recalled.num_tokens} tokens) by {recalled.by}" if recalled.behaviors else names
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
            behaviors = tuple(Behavior(**each) for each in told["behaviors"])
            return Recalled(**{**{name: told[name] for name in Recalled._fields}, "behaviors": behaviors})
    return None


def settle(run: Run, reward: float | None) -> None:
    """At the end of a run: note what its text cites of what it was shown, and credit that if the outcome is known."""
    assert run.recalled is not None
    text = "".join(step.text for step in run.history.written)
    found = citations(text, [each.name for each in run.recalled.shown])
    said = [f"cited {', '.join(found.cited) or 'nothing'}"]
    said += [f"made up {', '.join(found.unprovided)}"] if found.unprovided else []
    told = {"reason": "; ".join(said), **found._asdict()}
    run.journal.event(EventRow(run.key, len(run.history.steps), CITED, dumps(told), time()))
    if reward is not None:
        assert run.handbook is not None
        _credit(run.handbook, run.recalled, found.cited, run.id, reward)


def credit_late(stored: StoredRun, reward: float) -> None:
    """Credit what a run cited whose reward came after its end. Raises StoreError where its handbook is not there."""
    recalled = recalled_in(stored)
    cited = next((loads(event.detail)["cited"] for event in reversed(stored.events) if event.kind == CITED), ())
    if recalled is not None and cited:
        with Store(recalled.file) as store:
            _credit(Handbook(store, recalled.handbook), recalled, cited, stored.run.id, reward)


def _credit(handbook: Handbook, recalled: Recalled, cited: Sequence[str], run_id: str, reward: float) -> None:
    effect: Effect = "helpful" if reward >= 1 else "harmful" if reward <= 0 else "neutral"
    ids = {each.name: each.id for each in recalled.shown}
    handbook.apply([Credit(ids[name], run_id, effect) for name in cited], reason=f"run {run_id}")


def trials(journal: Journal, handbook: str) -> Iterator[Trial]:
    """Yield the runs of a journal that recalled from a handbook of this name, and have ended."""
    for each in journal.runs(limit=1 << 62):
        stored = journal.run(each.id)
        recalled = recalled_in(stored)
        if recalled is None or recalled.handbook != handbook or stored.outcome is None:
            continue
        used = loads(stored.outcome.ledger)
        yield Trial(
            tuple(behavior.id for behavior in recalled.behaviors),
            recalled.is_withheld,
            was_right(stored, journal.reward_of(stored.key)),
            sum(row["output_tokens"] for row in used),
            sum(row["prompt_tokens"] for row in used),
        )


def was_right(stored: StoredRun, reward: float | None) -> bool | None:
    """Return whether a run was right, by its reward or else by its gold answer; None where nobody can say.

    A reward in between is neither.
    """
    if reward is not None:
        return True if reward >= 1 else False if reward <= 0 else None
    gold = loads(stored.run.task)["answer"]
    if gold is None or stored.outcome is None:
        return None
    return is_correct(stored.outcome.answer, gold)
