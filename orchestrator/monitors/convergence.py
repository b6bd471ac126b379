"""Stop thinking when one thought after another comes to the same answer, or when too many come to none.

The text is split into thoughts where a step begins with a word of reflection. The answer of a thought that has ended is
compared with that of the one before: equal when written alike, else as a verifier says, yes or no. `threshold`
equivalences in a row are overthinking. A part of the thinking budget, or a number of thoughts, that is used up without
as many is underthinking: the thought is concluded as well, once there is any answer to conclude with.

Source: TrimR, arXiv:2505.17155 (no code): split at "Wait", "But", "Alternatively"; a small verifier that answers yes or
no; M = 2 equivalences; the verifier runs beside the decoding. Differs:
- the answer of a thought is what its text states, or a forced one (`answers`); there the verifier is first asked
  whether the last sentences hold one, and a thought without any answer is passed over here as there;
- where thoughts agree on what they state, the writer is made to answer: that is what the run answers, and what a
  calibration calls right or wrong, whatever was stated. Where it has no answer yet, the thought goes on;
- answers that are written alike are not asked about, and without a verifier (`engine`) only these are equal;
- a verifier that fails cuts nothing: the event says so and the count begins again;
- the shares for underthinking are not in the paper; ours are 0.9 of the mode's budget, and 20 thoughts;
- both end with the pipeline's own words that close a thought, not with a prompt of their own; literal repetition is
  another monitor's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from orchestrator.answers import plain
from orchestrator.doors import Ask, Needs
from orchestrator.errors import EngineError, SignalUnavailable
from orchestrator.monitors.candidates import begins_anew, candidate_in
from orchestrator.monitors.exits import OVERTHINKING, UNCALIBRATED, is_thinking, looks_of, told
from orchestrator.options import check_choice, check_range, check_texts, check_whole
from orchestrator.types import Event, History, Step

__all__ = ["UNDERTHINKING", "Convergence", "thoughts_in"]

NAME = "convergence"
UNDERTHINKING = "underthinking"
"""Kind of the event that ends a thought which comes to no agreement."""


@dataclass(frozen=True, kw_only=True)
class Convergence:
    """Raise `overthinking` where thoughts come to one answer again and again, `underthinking` where they do not."""

    threshold: float = 2
    """The paper's M, >= 0: equivalences in a row, so one less than the number of equal answers."""
    answers: Literal["text", "trial"] = "text"
    """What a thought's answer is: what its text states, or what its writer answers when it has to."""
    engine: str = ""
    """The verifier of answers that are written differently; empty for none."""
    share: float = 0.9
    """Of the mode's thinking budget: used without agreement it is underthinking. Above 1, never."""
    max_thoughts: int = 20
    """As many completed thoughts without agreement are underthinking."""
    acts: bool = True
    """False: look and record what the run would have answered, and let the thought go on."""

    needs = Needs()
    raises = (OVERTHINKING, UNDERTHINKING)

    def __post_init__(self) -> None:
        check_choice(NAME, self, answers=("text", "trial"))
        check_texts(NAME, self, engine="")
        check_range(NAME, self, threshold="[0, inf]", share="(0, inf]")
        check_whole(NAME, self, max_thoughts=1)

    @property
    def is_free(self) -> bool:
        """Whether a look that ends nothing generates nothing, once it acts."""
        return self.answers == "text"

    @property
    def is_late(self) -> bool:
        """Whoever is asked answers while the next step is written; what is in the text is noticed at once."""
        return bool(self.engine) or self.answers == "trial"

    async def look(self, history: History, ask: Ask) -> Event | None:
        """Compare the thought that the last step ends with the one before; else see whether too much was used."""
        completed = _completed(history)
        budget = None if history.mode is None else history.mode.budget
        if not (completed or budget) or not is_thinking(history):
            return None
        look = await self._compared(history, completed, ask) if completed else None
        if look is not None and look.concludes:
            return look
        return self._too_much(history, len(completed), budget) or look

    def scores(self, looks: Sequence[Event]) -> list[float]:
        """Return what the threshold is held against at each of the looks of a thought: equivalences in a row."""
        return [look.value or 0.0 for look in looks]

    async def _compared(self, history: History, thoughts: Sequence[Sequence[Step]], ask: Ask) -> Event | None:
        is_text = self.answers == "text"
        answer = _stated(thoughts[-1]) if is_text else await self._forced(history, ask)
        if answer is None:
            return None
        look = next(reversed(looks_of(history, NAME)), None)
        before = _stated(*thoughts[:-1]) if is_text else look and look.answer
        number, seen = 0, f"a thought came to {answer[:40]!r}"
        try:
            if look is not None and await self._is_same(before or "", answer, ask):
                number = int(look.value or 0) + 1
                seen = f"{number + 1} thoughts in a row came to {answer[:40]!r}"
        except (SignalUnavailable, EngineError) as error:
            seen += f"; no verdict whether that is new: {error}"
        is_enough = number >= self.threshold
        if is_text:
            answer = await self._forced(history, ask) if is_enough or not self.acts else None
        now = Event(NAME, seen, value=float(number), threshold=self.threshold, answer=answer)
        return told(now, history, exits=self.acts and is_enough and answer is not None, why=seen)

    async def _forced(self, history: History, ask: Ask) -> str | None:
        trial, *_ = await ask.trials(history.steps[-1].writer, num=1)
        return trial.answer

    async def _is_same(self, before: str, answer: str, ask: Ask) -> bool:
        if plain(before) == plain(answer):
            return True
        if not self.engine:
            return False
        choice = await ask.choose(self.engine, _question(before, answer), ("yes", "no"), of_task=False)
        return choice.word == "yes"

    def _too_much(self, history: History, completed: int, budget: int | None) -> Event | None:
        if not self.acts or not looks_of(history, NAME):
            return None
        if any(event.kind == UNDERTHINKING for event in history.events):
            return None
        used = history.thought_tokens / budget if budget else 0.0
        if used >= self.share:
            why = f"{used:.0%} of the thinking budget of {budget} tokens is used"
            return self._cut(history, why, used, self.share)
        if completed >= self.max_thoughts:
            return self._cut(history, f"{completed} thoughts are completed", float(completed), float(self.max_thoughts))
        return None

    def _cut(self, history: History, why: str, value: float, threshold: float) -> Event:
        reason = f"{why} without {self.threshold:g} equivalences in a row; {history.thought_tokens} tokens were thought"
        return Event(UNDERTHINKING, reason + UNCALIBRATED, concludes=True, value=value, threshold=threshold)


def thoughts_in(steps: Sequence[Step]) -> list[list[Step]]:
    """Return the steps as thoughts, in order: one begins with the first step and with each that begins anew."""
    thoughts: list[list[Step]] = []
    for step in steps:
        if not thoughts or begins_anew(step.text):
            thoughts.append([])
        thoughts[-1].append(step)
    return thoughts


def _completed(history: History) -> list[list[Step]]:
    """Return the thoughts that have ended, the last of them just now; none where the last step ends no thought."""
    return thoughts_in(history.steps[history.window :])[:-1] if begins_anew(history.steps[-1].text) else []


def _stated(*thoughts: Sequence[Step]) -> str | None:
    """Return the last answer that the thoughts state; None where they state none."""
    stated = (candidate_in(step.text) for thought in reversed(thoughts) for step in reversed(thought))
    return next((answer for answer in stated if answer is not None), None)


def _question(before: str, answer: str) -> str:
    return (
        "Two attempts at the same problem came to these final answers.\n\n"
        f"First: {before}\nSecond: {answer}\n\n"
        "Are the two answers equivalent? Reply with yes or no."
    )
