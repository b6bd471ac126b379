"""How behaviors are recalled for a task: how many, of what kind, and in which runs for comparison none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal, NamedTuple, get_args

from orchestrator.behaviors import Behavior
from orchestrator.errors import UserError
from orchestrator.options import check_choice, check_lists, check_range, check_whole

__all__ = ["Recall", "Recalled"]

By = Literal["question", "topic"]
Every = Literal["run", "step"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """What a run is shown of a handbook. Raises UserError for options that mean nothing.

    limit: behaviors, at most.
    tokens: that they may have in the prompt, with the line above them, counted by the largest engine.
    by: what finds them: what the question says, or the topic that the task names. By topic all behaviors of that
        section are found, those first that helped most often for what they harmed; a task without one is shown nothing.
    every: how often: once in a run, for the question, or before each step, for the question and the last step.
    mass: as many are taken as have this part of the score of the first `limit`, in (0, 1]; 1 takes `limit`. Those are
        few where a few stand out, many where all are alike. Scores are cosines where there are embeddings, else BM25.
    least: what a cosine with the question has to be, in [0, 1]: where all are below, nothing is shown. 0 also takes
        what shares words only. Without embeddings it is not looked at: BM25 has no scale.
    sections: the topics that are looked in; all of them if none is named.
    withheld: share of the runs, drawn by their seeds, that are shown nothing, in [0, 1]: what the others are held
        against.
    left_out: chance of each behavior to be left out of a run, drawn by its seed, in [0, 1): what tells one from those
        that are shown beside it.
    own: whether a question may be answered with what was learned from that very question.
    """

    limit: int = 8
    tokens: int = 512
    by: By = "question"
    every: Every = "run"
    mass: float = 1.0
    least: float = 0.0
    sections: Sequence[str] = ()
    withheld: float = 0.0
    left_out: float = 0.0
    own: bool = False

    def __post_init__(self) -> None:
        check_whole("recall", self, limit=1, tokens=1)
        check_range("recall", self, mass="(0, 1]", least="[0, 1]", withheld="[0, 1]", left_out="[0, 1)")
        check_lists("recall", self, sections="topics")
        check_choice("recall", self, by=get_args(By), every=get_args(Every))
        if self.by == "topic":
            self._refuse("by = 'topic' finds all of a task's own topic", mass=1.0, least=0.0, sections=(), every="run")

    def _refuse(self, why: str, **defaults: object) -> None:
        for name, default in defaults.items():
            if (value := getattr(self, name)) not in (default, []):
                raise UserError(f"recall: {name} = {value!r} means nothing where {why}: leave it out")

    def withholds(self, seed: int) -> bool:
        """Return whether the run of this seed is one that is shown nothing."""
        return Random(f"recall/{seed}").random() < self.withheld

    def leaves_out(self, id: int, seed: int) -> bool:
        """Return whether the run of this seed is shown what it recalls without behavior `id`."""
        return self.left_out > 0 and Random(f"recall/{seed}/{id}").random() < self.left_out


class Recalled(NamedTuple):
    """What a handbook has for a task."""

    file: str
    """Where the handbook is."""
    handbook: str
    """Its name in that file."""
    head: int
    """The change that it stood on."""
    by: str
    """`words`, `words and meaning`, with how many are not embedded yet, `words`, with why not by meaning, or topic."""
    behaviors: tuple[Behavior, ...]
    """In the order they are shown; those that would have been, but for the lot, are among them."""
    num_tokens: int
    left: str
    """See choosing.Chosen."""
    is_withheld: bool
    left_out: tuple[int, ...] = ()
    """Ids of those that were left out by lot."""

    @property
    def shown(self) -> tuple[Behavior, ...]:
        """What the engines read."""
        return () if self.is_withheld else tuple(each for each in self.behaviors if each.id not in self.left_out)
