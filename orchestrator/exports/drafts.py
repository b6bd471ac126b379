"""Logs that drafters learn from: what a small engine drafted at each step, whether it stood, and what stands there.

One line of a step that an engine drafted. As a log, which TRL reads as unpaired preferences:

    prompt       the conversation up to the assistant's turn, behaviors and all, as the engines saw it
    completion   the turn up to the step, and the draft: [{role: assistant, content}]
    label        whether the draft stands
    kept         the step that stands in its place, the draft's own text where that stood

As pairs, which are its preferences, only of drafts that did not stand:

    prompt       as above
    chosen       the turn up to the step, and what was kept
    rejected     the turn up to the step, and the draft

Both go on with

    tools        where tools were called before
    step         its index
    prefix_chars characters of completion, chosen and rejected that were there before the step: nobody learns from them
    draft, writer  engines
    reason       why the draft stands or not, as the router, or else the run, said it
    signals      what was measured of the draft, by name
    draft_ids    token ids of the draft, and of what was kept, by their own engines; empty where none are stored
    kept_ids
    acceptance   tokens that speculative decoding drafted and accepted inside the calls of what was kept; null where the
                 server does not say

The turn up to the step stands in every completion because trainers render a message as a whole; in a preference it
cancels out. Chat templates close every message: whoever trains on steps in mid-turn leaves the closing token out of
the loss. LLaMA-Factory wants `chosen` and `rejected` to be a message and no list of one.

Source: OSD, arXiv:2310.07177, and DistillSpec, arXiv:2310.08461 (a drafter learns from the target's text in its own
context), and Aurora, "When RL Meets Adaptive Speculative Training" (accepted drafts are positive, rejected ones
negative). Differs: a draft is a step, judged by whatever policy ran, where theirs are tokens that the target verifies;
those are in `acceptance`, in sum.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from json import loads
from typing import Any

from orchestrator.exports.chat import Message, open_turn, opening
from orchestrator.exports.choosing import Chosen
from orchestrator.exports.lines import LeftOut, Line, Record, checked
from orchestrator.handbook.prompts import with_behaviors
from orchestrator.memory.base import StepRow, StoredRun
from orchestrator.runtime.attempts import Attempt, attempts
from orchestrator.runtime.calls import WRITING, completion_of
from orchestrator.runtime.hidden import DROPPED, dropped
from orchestrator.runtime.in_force import leads_of, recalled_in
from orchestrator.runtime.marks import plain
from orchestrator.types import Message as Said
from orchestrator.types import StepKind

__all__ = ["Log", "Pair", "lines"]

_NO_DRAFTS = "no smaller engine drafted a step in them: run with a router that lets the small one, such as specreason"
DRAFT = "draft"
"""Purpose of the calls that draft."""
Place = tuple[int, int]
"""Step and attempt."""


class Acceptance(Record):
    """What speculative decoding did."""

    drafts: int
    drafted: int
    accepted: int


class _Step(Line):
    """What both kinds of lines have."""

    prompt: list[Message]
    tools: list[dict[str, Any]] | None = None
    step: int
    prefix_chars: int
    draft: str
    writer: str
    reason: str
    signals: dict[str, float | None]
    draft_ids: list[int]
    kept_ids: list[int]
    acceptance: Acceptance | None


class Log(_Step):
    """One line of the log."""

    completion: list[Message]
    label: bool
    kept: str


class Pair(_Step):
    """One line of the pairs."""

    chosen: list[Message]
    rejected: list[Message]


def lines(run: Chosen, *, pairs: bool = False) -> list[dict[str, Any]]:
    """Return the lines of a run. Raises LeftOut if it has none, or its conversation cannot be told."""
    log = _Journaled(run.stored)
    drafts = [(draft, kept) for draft, kept in log.drafts() if not pairs or draft.text != kept.text]
    if not drafts:
        raise LeftOut("no draft in them was replaced" if pairs else _NO_DRAFTS)
    if loads(run.stored.run.settings).get("recall", {}).get("every") == "step":
        raise LeftOut("behaviors stood between their steps, where a log of drafts has no place for them")
    return [_line(run, draft, kept, log, pairs=pairs) for draft, kept in drafts]


class _Journaled:
    """What the journal says about the candidates of a run."""

    def __init__(self, stored: StoredRun) -> None:
        self.kept = stored.kept()
        written = (each for each in attempts(stored) if each.text and each.verdict != DROPPED)
        self.tried = {(each.step, each.attempt): each for each in written}
        self.ids: dict[Place, list[int]] = {}
        self._drafted: dict[Place, str] = {}
        self._largest = list(loads(stored.run.engines))[-1]
        over, leads = dropped(stored), leads_of(stored)
        for intent, result in stored.calls:
            is_done = result is not None and result.status == "done" and intent.seq not in over
            if result is None or not is_done or intent.purpose not in WRITING:
                continue
            place = intent.step, intent.attempt
            if intent.purpose == DRAFT:
                self._drafted[place] = intent.engine
            if place not in leads:  # ids of what a policy put at its start are not the call's
                self.ids.setdefault(place, []).extend(completion_of(result).ids)

    def drafts(self) -> Iterator[tuple[Attempt, StepRow]]:
        """Yield each draft of a smaller engine with the step that stands in its place, by step.

        A draft that was rolled back stood behind another prefix than the one that is kept.
        """
        for kept in self.kept:
            for attempt in (plain(kept.attempt), plain(kept.attempt) - 1):
                engine = self._drafted.get((kept.step, attempt))
                if engine is not None:
                    if engine != self._largest and (kept.step, attempt) in self.tried:
                        yield self.tried[kept.step, attempt], kept
                    break

    def turn(self, index: int) -> str:
        """Return everything that was kept of the turn that a step is in."""
        ends = [row.step for row in self.kept if row.kind == StepKind.OBSERVATION]
        begins = max((end for end in ends if end < index), default=-1)
        until = min((end for end in ends if end > index), default=len(self.kept))
        return "".join(row.text for row in self.kept[begins + 1 : until])


def _line(run: Chosen, draft: Attempt, kept: StepRow, log: _Journaled, *, pairs: bool) -> dict[str, Any]:
    prompt, begun = open_turn(run.stored, run.task, log.kept[: draft.step])
    begun = opening(log.turn(draft.step)) + begun
    ours, theirs = ([{"role": "assistant", "content": begun + text}] for text in (draft.text, kept.text))
    shown: dict[str, Any] = {"prompt": _with_behaviors(run.stored, prompt.messages)}
    if prompt.tools:
        shown["tools"] = prompt.tools
    drafting = log.tried[kept.step, kept.attempt].drafting if (kept.step, kept.attempt) in log.tried else None
    told = {
        "step": draft.step,
        "prefix_chars": len(begun),
        "draft": draft.writer,
        "writer": kept.writer,
        "reason": draft.reason,
        "signals": {signal.name: signal.value for signal in draft.signals},
        "draft_ids": log.ids.get((draft.step, draft.attempt), []),
        "kept_ids": log.ids.get((kept.step, kept.attempt), []),
        "acceptance": drafting and drafting._asdict(),
    }
    if pairs:
        return checked(Pair, **run.about, **shown, chosen=theirs, rejected=ours, **told)
    label = kept.attempt == draft.attempt
    return checked(Log, **run.about, **shown, completion=ours, label=label, kept=kept.text, **told)


def _with_behaviors(stored: StoredRun, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the conversation as the engines saw it: it begins with the behaviors that were recalled."""
    recalled = recalled_in(stored)
    if recalled is None or not recalled.shown:
        return messages
    shown: Mapping[str, str] = loads(stored.run.settings)["behaviors"]
    first = [Said(message["role"], message["content"]) for message in messages[:1]]
    told = with_behaviors(first, recalled.shown, head=shown["head"], mark=shown["mark"])
    return [*({"role": role, "content": content} for role, content in told), *messages[1:]]
