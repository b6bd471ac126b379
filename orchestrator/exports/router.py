"""What routers learn from: every scored draft of the runs of `collect`, with its features and its label.

One line of a drafted step that the large engine wrote as well:

    step         its index
    part         what `train-router` does with the task: train, validation or held-out
    pieces       the texts that a text classifier reads: the problem, the kept steps, the draft
    label        1 where the large engine's step was strictly better, else 0
    advantage    mean score of the large engine's steps less the draft's, in [-1, 1]
    score        of the draft, in [0, 1]
    scorer       who scored
    features     what a light router sees, by name; null where a value is no number
    draft        the draft
    targets      what the large engine wrote: [{text, score}]

Rows and labels are those of `collect --out` and `train-router`; `split` is the benchmarks' cut, `part` lies inside it.

Source: Arbitrage, arXiv:2512.05033, for the label. Differs: as learning/labelled.py says; light features stand beside
the texts that the paper's classifier reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from json import loads
from typing import Any, Literal

from orchestrator.errors import SignalUnavailable
from orchestrator.exports.choosing import Chosen
from orchestrator.exports.lines import LeftOut, Line, Record, checked
from orchestrator.learning.labelled import example_of
from orchestrator.learning.reading import collected
from orchestrator.learning.rows import About, Row
from orchestrator.learning.table import drafted, names_of
from orchestrator.routers.features import features

__all__ = ["RouterLine", "lines"]


class Target(Record):
    """What the large engine wrote in the draft's place."""

    text: str
    score: float


class RouterLine(Line):
    """One line of the export."""

    step: int
    part: Literal["train", "validation", "held-out"]
    pieces: list[str]
    label: Literal[0, 1]
    advantage: float
    score: float
    scorer: str
    features: dict[str, float | None]
    draft: str
    targets: list[Target]


def lines(run: Chosen, *, history: bool = True) -> list[dict[str, Any]]:
    """Return the lines of a run; without `history` neither pieces nor features tell who wrote before.

    Raises LeftOut where it is no run of `collect`, or gave no row.
    """
    settings = loads(run.stored.run.settings)
    policy = settings["router"]
    if not isinstance(policy, Mapping) or not str(policy.get("policy", "")).startswith("collect "):
        raise LeftOut("they are no runs of `orchestrator collect`, which scores drafts: run it on tasks")
    found = collected(run.stored, policy["scorer"], policy["samples"])
    if not found.rows:
        raise LeftOut("no draft in them has all its scores")
    small, *_, large = (name for name in settings["order"] if settings["engines"][name]["writes"])
    about = About(small=small, large=large, scorer=policy["scorer"], logprobs=policy["logprobs"], pair={})
    return [_line(run, about, row, history=history) for row in found.rows]


def _line(run: Chosen, about: About, row: Row, *, history: bool) -> dict[str, Any]:
    example = example_of(row, history=history)
    names = names_of(about, history=history)
    try:
        values = features(names, drafted(about, row))
    except SignalUnavailable as missing:
        raise LeftOut(f"a feature of theirs is not there: {missing}") from missing
    return checked(
        RouterLine,
        **run.about,
        step=row.index,
        part=example.split,
        pieces=list(example.pieces),
        label=example.label,
        advantage=row.advantage,
        score=row.score,
        scorer=about.scorer,
        features=dict(zip(names, map(float, values), strict=True)),
        draft=row.draft,
        targets=[{"text": target.text, "score": target.score} for target in row.targets],
    )
