"""Stop thinking when several forced answers agree with confidence, and have for a while.

At each look the engine that wrote the last step is made to answer `num` times. Their saturation is the share that agree
on the most common answer, times the mean of exp(-sum of the token entropies) over those that do. The thought is closed
where it has been `threshold` or more at `patience` looks in a row, with the same answer.

Source: SPAE (step potentials), as its code probes: 5 forced answers behind every step with 20 logprobs each; above a
potential of 0.9 a thought counts as solved, and what follows as checking. Differs:
- there the potential needs the gold answer and shapes a training reward; without one, agreement stands for
  correctness, and the answer has to stay (`patience`);
- entropies are over the alternatives that the engine shows, so a confidence is an upper bound;
- of a tie the answer that was given first is taken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, fsum

from orchestrator.answers import plain
from orchestrator.doors import Ask, Needs, Trial
from orchestrator.errors import SignalUnavailable
from orchestrator.monitors.exits import OVERTHINKING, When, check_looks, is_place, looks_of, told
from orchestrator.options import check_range, check_whole
from orchestrator.types import Event, History

__all__ = ["SOLVED", "Saturation", "saturation"]

NAME = "saturation"
SOLVED = 0.9
"""The potential above which the code counts a thought as solved."""


@dataclass(frozen=True, kw_only=True)
class Saturation:
    """Raise `overthinking` where forced answers agreed with confidence at `patience` looks in a row."""

    threshold: float = SOLVED
    """In [0, 1.01]: above 1 nothing is ever cut."""
    patience: int = 2
    """Looks."""
    num: int = 5
    """Answers that are forced at a look; at temperature 0 they are all the same one."""
    when: When = "steps"
    every: int = 1
    """Looks behind each so-manyth of the steps that `when` means."""
    max_looks: int = 100
    """In a thought."""
    acts: bool = True
    """False: look and record, and let the thought go on."""

    needs = Needs(logprobs=20)
    raises = (OVERTHINKING,)

    def __post_init__(self) -> None:
        check_looks(NAME, self)
        check_range(NAME, self, threshold="[0, 1.01] (a saturation is in [0, 1])")
        check_whole(NAME, self, patience=1, num=1)

    async def look(self, history: History, ask: Ask) -> Event | None:
        """Force the answers. Raises SignalUnavailable where the engine does not say how sure it was."""
        if not is_place(history, NAME, self):
            return None
        reading, answer = saturation(await ask.trials(history.steps[-1].writer, num=self.num))
        seen = "it has no answer yet" if answer is None else f"it would answer {answer[:40]!r}"
        look = Event(NAME, f"{seen}, saturation {reading:.3g}", value=reading, threshold=self.threshold, answer=answer)
        stays = self.scores([*looks_of(history, NAME)[-self.patience :], look])[-1]
        is_enough = answer is not None and stays >= self.threshold
        why = f"{seen}, with a saturation of {stays:.3g} or more at {self.patience} looks in a row"
        return told(look, history, exits=self.acts and is_enough, why=why)

    def scores(self, looks: Sequence[Event]) -> list[float]:
        """Return what the threshold is held against at each of the looks of a thought.

        It is the least of the last `patience` readings where all had the same answer, else 0.
        """
        return [self._stays(looks[max(0, end - self.patience) : end]) for end in range(1, len(looks) + 1)]

    def _stays(self, last: Sequence[Event]) -> float:
        answers = {None if look.answer is None else plain(look.answer) for look in last}
        if len(last) < self.patience or len(answers) > 1 or None in answers:
            return 0.0
        return min(look.value or 0.0 for look in last)


def saturation(trials: Sequence[Trial]) -> tuple[float, str | None]:
    """Return agreement times confidence, in [0, 1], and the answer agreed on; 0 and None where there is none.

    Raises SignalUnavailable where one of those that agree has no entropy.
    """
    given = [trial for trial in trials if trial.answer is not None]
    if not given:
        return 0.0, None
    ((common, number),) = Counter(plain(trial.answer or "") for trial in given).most_common(1)
    agreeing = [trial for trial in given if plain(trial.answer or "") == common]
    entropies = [trial.entropy for trial in agreeing if trial.entropy is not None and trial.entropy == trial.entropy]
    if len(entropies) < number:
        raise SignalUnavailable(NAME, "an answer came without the entropies of its tokens")
    confidence = fsum(exp(-entropy) for entropy in entropies) / number
    return number / len(trials) * confidence, agreeing[0].answer
