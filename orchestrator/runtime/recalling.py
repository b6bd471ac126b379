"""A handbook beside a run: what is recalled when it begins, what it cited when it ends, and whose credit that is.

What a run was shown is an event of its journal, so a resumed run is shown the same, whatever the handbook says by then.
Credit goes to the behaviors that the text names, once the outcome is known, and comes before the end of the run is on
disk: a process that dies in between credits again, which counts once. A reward that comes later is on disk before its
credit: what is credited is what is stored, and saying it again makes up for a death in between.

Source: Metacognitive Reuse, arXiv:2509.13237 (behaviors in the prompt, cited by name). Differs: credit is not the
engine's own word but citation times outcome; a share of the runs can be shown nothing, so that what behaviors do can
be measured; no question is answered with what was learned from itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from json import dumps, loads
from pathlib import Path
from time import time
from typing import Any

from orchestrator.behaviors import Behavior, Credit, Effect
from orchestrator.engines.base import Engine
from orchestrator.engines.embedding import Embedding
from orchestrator.engines.spec import BehaviorPrompt
from orchestrator.errors import StoreError, UnknownName
from orchestrator.handbook.choosing import chosen
from orchestrator.handbook.citing import citations
from orchestrator.handbook.prompts import line
from orchestrator.handbook.recall import Recall, Recalled
from orchestrator.handbook.worth import worth
from orchestrator.memory.base import EventRow, StoredRun
from orchestrator.memory.handbook import Handbook
from orchestrator.memory.journal import Journal
from orchestrator.memory.store import Store
from orchestrator.runtime.in_force import read
from orchestrator.runtime.marks import CITED, RECALLED, UNCREDITED
from orchestrator.runtime.meaning import Ranked, ranked
from orchestrator.runtime.run import Run
from orchestrator.runtime.tasks import fingerprint, is_correct, question_print
from orchestrator.types import Status, Task, question_of

__all__ = [
    "credit_late",
    "is_from",
    "note",
    "recall",
    "settle",
    "standing",
    "was_right",
]

_LOOKED_AT = 4
"""As many times more behaviors are looked at as may be shown: some are of the question itself."""


async def recall(
    handbook: Handbook,
    options: Recall,
    task: Task,
    shows: BehaviorPrompt,
    counter: Engine,
    seed: int,
    embedding: Embedding | None,
    step: str = "",
) -> Recalled:
    """Return what `handbook` has for a task: by its topic, or by words, and with `embedding` by meaning as well.

    `step` is a text that is looked for beside the question, and before it, as a long question would leave nothing of
    it. `counter` counts the tokens of all that is shown: what `shows` makes of them. Raises EngineError, of the counter
    only, BadConfig for an embedding that cannot be had as it is described, or StoreError.
    """
    head, number = handbook.head, _LOOKED_AT * options.limit
    if options.by == "topic":
        ranking = _of_topic(handbook, task.topic)
    else:
        asked = question_of(task.messages)
        question = f"{step}\n{asked}" if step else asked
        ranking = await ranked(handbook, question, number, embedding, sections=options.sections)
    own = () if options.own else _own(handbook, task, [each for each, _ in ranking.behaviors])
    found = [(each, score) for each, score in ranking.behaviors if each.id not in own][:number]
    sizes = {each.id: len(await counter.encode(f"{line(each, shows.mark)}\n")) for each, _ in found}
    above = len(await counter.encode(f"{shows.head}\n\n"))  # a blank line ends it
    taken = chosen(
        found,
        most=options.limit,
        tokens=options.tokens - above,
        count=lambda each: sizes[each.id],
        mass=options.mass,
        least=options.least if ranking.has_cosines else float("-inf"),
    )
    num_tokens = taken.num_tokens + above if taken.behaviors else 0
    left_out = tuple(each.id for each in taken.behaviors if options.leaves_out(each.id, seed))
    return Recalled(
        _place(handbook.file),
        handbook.name,
        head,
        ranking.by,
        taken.behaviors,
        num_tokens,
        taken.left,
        options.withholds(seed),
        left_out,
    )


def _own(handbook: Handbook, task: Task, found: Sequence[Behavior]) -> set[int]:
    """Return the ids of what was learned from this very question, however it is set, alone or among others."""
    prints = {question_print(task), fingerprint(task)}  # handbooks of before have the latter
    return handbook.learned_from(prints, [each.id for each in found])


def _place(file: str) -> str:
    """Return where a handbook's file is, from wherever it is looked for."""
    return file if file == ":memory:" else str(Path(file).resolve())


def is_from(handbook: Handbook, file: str, name: str) -> bool:
    """Return whether what was recalled from a file, and from a handbook of this name there, was recalled from this."""
    return name == handbook.name and _place(file) == _place(handbook.file)


def _of_topic(handbook: Handbook, topic: str | None) -> Ranked:
    """Return the behaviors of a topic, those of most worth first, equal ones by id."""
    if topic is None:
        return Ranked([], "topic, and the task names none", False)
    found = sorted(handbook.behaviors(section=topic), key=lambda each: (-worth(each), each.id))
    return Ranked([(each, float(worth(each))) for each in found], f"topic {topic}", False)


def note(run: Run, recalled: Recalled, step: int = 0, *, why: str = "", **more: Any) -> None:
    """Put into the journal what a run is shown from a step on; `why` begins the reason."""
    names = ", ".join(each.name for each in recalled.behaviors)
    reason = f"{names} ({recalled.num_tokens} tokens) by {recalled.by}" if names else f"nothing by {recalled.by}"
    left_out = ", ".join(each.name for each in recalled.behaviors if each.id in recalled.left_out)
    reason += f", without {left_out} for comparison" if left_out else ""
    told = {
        "reason": f"{why}withheld for comparison: {reason}" if recalled.is_withheld else f"{why}{reason}",
        **recalled._asdict(),
        "behaviors": [asdict(each) for each in recalled.behaviors],
        **more,
    }
    run.journal.event(EventRow(run.key, step, RECALLED, dumps(told), time()))


def standing(events: Iterable[EventRow]) -> list[tuple[int, Recalled]]:
    """Return the sets that the text of a run was written in sight of, each with the step it came into force at."""
    sets: list[tuple[int, Recalled]] = []
    for event in events:
        if event.kind == RECALLED:
            while sets and sets[-1][0] >= event.step:  # the run went back
                sets.pop()
            sets.append((event.step, read(event)))
    return sets


def settle(run: Run, reward: float | None) -> None:
    """At the end of a run: note what its text cites of what it was shown, and credit that if the outcome is known.

    Only text that stands is looked at, and of that only what engines wrote.
    """
    assert run.recalled is not None
    text = "".join(step.text for step in run.history.written)
    shown = _ids_of([(0, run.recalled)] if run.following is None else run.following.sets)
    found = citations(text, shown)
    said = [f"cited {', '.join(found.cited) or 'nothing'}"]
    said += [f"made up {', '.join(found.unprovided)}"] if found.unprovided else []
    told = {"reason": "; ".join(said), **found._asdict()}
    run.journal.event(EventRow(run.key, len(run.history.steps), CITED, dumps(told), time()))
    given = run.journal.reward_of(run.key)  # of one that failed, was rewarded and is tried again
    reward = reward if given is None else given
    if reward is not None and found.cited:
        lost = _uncredited(_credit([shown[name] for name in found.cited], run.handbook, run.id, reward))
        _tell_lost(run.journal, run.key, len(run.history.steps), lost)


def credit_late(
    journal: Journal, stored: StoredRun, reward: float, at_hand: Handbook | None
) -> tuple[tuple[str, ...], str]:
    """Credit what a run cited whose reward came after its end, once; `at_hand` is opened already, if it is the one.

    Return the names of those it counts for, and which get no credit, and why; the journal says so, too. Raises
    StoreError for a handbook that cannot be written.
    """
    cited = next((loads(event.detail)["cited"] for event in reversed(stored.events) if event.kind == CITED), ())
    if not cited:
        return (), ""
    shown = _ids_of(standing(stored.events))
    lost = _credit([shown[name] for name in cited], at_hand, stored.run.id, reward)
    _tell_lost(journal, stored.key, len(stored.kept()), _uncredited(lost))
    journal.commit(stored.key)
    gone = {id for ids in lost.values() for id in ids}
    return tuple(name for name in cited if shown[name][0] not in gone), _uncredited(lost)


class _Gone(StoreError):
    """The file that a run recalled from is not there any more."""


@contextmanager
def _source(recalled: Recalled, at_hand: Handbook | None) -> Iterator[Handbook]:
    """Give the handbook that something was recalled from: a run may be resumed beside another one, or none."""
    if at_hand is not None and is_from(at_hand, recalled.file, recalled.handbook):
        yield at_hand
        return
    if not Path(recalled.file).is_file():
        raise _Gone(f"its handbook, {recalled.handbook} at {recalled.file}, is not there any more")
    with Store(recalled.file) as store:
        yield Handbook(store, recalled.handbook)


def _ids_of(sets: Sequence[tuple[int, Recalled]]) -> dict[str, tuple[int, Recalled]]:
    """Return the ids of everything that was shown, by name, each with the set that it was shown in last."""
    return {each.name: (each.id, recalled) for _, recalled in sets for each in recalled.shown}


def _credit(
    cited: Sequence[tuple[int, Recalled]], at_hand: Handbook | None, run_id: str, reward: float
) -> dict[str, list[int]]:
    """Credit behaviors that are there still, one merged through its successor; return who gets none, by why."""
    effect: Effect = "helpful" if reward >= 1 else "harmful" if reward <= 0 else "neutral"
    lost: dict[str, list[int]] = {}
    for id, recalled in cited:
        try:
            with _source(recalled, at_hand) as handbook:
                handbook.apply([Credit(id, run_id, effect)], reason=f"run {run_id}")
        except UnknownName:  # somebody went back behind the change that added it
            lost.setdefault("not in the handbook any more", []).append(id)
        except _Gone as gone:
            lost.setdefault(str(gone), []).append(id)
    return lost


def _uncredited(lost: Mapping[str, Sequence[int]]) -> str:
    return "; ".join(f"no credit for behavior {', '.join(map(str, ids))}: {why}" for why, ids in lost.items())


def _tell_lost(journal: Journal, run: int, step: int, lost: str) -> None:
    if lost:
        journal.event(EventRow(run, step, UNCREDITED, dumps({"reason": lost}), time()))


def was_right(stored: StoredRun, reward: float | None) -> bool | None:
    """Return whether a run was right, by its reward or else by its gold answer; None where nobody can say.

    A reward in between is neither; one that failed may be tried again, and was neither so far.
    """
    if reward is not None:
        return True if reward >= 1 else False if reward <= 0 else None
    gold = loads(stored.run.task)["answer"]
    if gold is None or stored.outcome is None or stored.outcome.status == Status.FAILED:
        return None
    return is_correct(stored.outcome.answer, gold)
