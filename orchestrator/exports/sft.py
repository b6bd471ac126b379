"""Behavior-conditioned fine-tuning: what was written in sight of behaviors, with the behaviors taken out of the prompt.

One line of a run that was right, by its reward or else by its gold answer:

    messages    the task, and what was written, see chat.py; `tools` where tools were called
    behaviors   names of what the run was shown
    cited       names of those that its text refers to
    unprovided  names that its text refers to and that it was not shown
    engines     who wrote it, the one that wrote most tokens first

Source: Metacognitive Reuse, arXiv:2509.13237 (BC-SFT: students are fine-tuned on behavior-conditioned traces, the
behaviors removed from the prompt). The trace is kept as it is, names of behaviors that it cites included, as there: a
student learns to name what it was not shown. Whoever does not want that keeps the lines that name none, and whoever
does not want names that were made up leaves out those that are `unprovided`.
Differs: only right runs are taken (there all of a teacher's, it is unsaid); runs of several engines are taken as well.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from orchestrator.exports.chat import Message, chat_of
from orchestrator.exports.choosing import Chosen
from orchestrator.exports.lines import LeftOut, Line, checked
from orchestrator.handbook.citing import citations
from orchestrator.runtime.recalling import standing, was_right
from orchestrator.types import StepKind

__all__ = ["Sft", "check_right", "line"]


class Sft(Line):
    """One line of the export."""

    messages: list[Message]
    tools: list[dict[str, Any]] | None = None
    behaviors: list[str]
    cited: list[str]
    unprovided: list[str]
    engines: list[str]


def line(run: Chosen, *, plain: bool = False, made_up: bool = True) -> dict[str, Any]:
    """Return the line of a run; `plain` takes those as well that were shown no behaviors, and without `made_up` those
    are left out whose text names behaviors that they were not shown.

    Raises LeftOut for any other run.
    """
    check_right(run)
    sets = [recalled for _, recalled in standing(run.stored.events)]
    shown = list(dict.fromkeys(each.name for recalled in sets for each in recalled.shown))
    if not shown and not plain:
        raise LeftOut("they were shown no behaviors: --plain takes them as well")
    chat = chat_of(run.stored, run.task)
    written = [row for row in run.stored.kept() if row.kind != StepKind.OBSERVATION]
    named = citations("".join(row.text for row in written), shown)
    if named.unprovided and not made_up:
        raise LeftOut("their texts name behaviors that they were not shown")
    tokens: Counter[str] = Counter()
    for row in written:
        tokens[row.writer] += row.num_tokens
    return checked(
        Sft,
        **run.about,
        messages=chat.messages,
        **({"tools": chat.tools} if chat.tools else {}),
        behaviors=shown,
        cited=list(named.cited),
        unprovided=list(named.unprovided),
        engines=[name for name, _ in tokens.most_common()],
    )


def check_right(run: Chosen) -> None:
    """Raise LeftOut unless a run is known to be right."""
    is_right = was_right(run.stored, run.reward)
    if is_right is None:
        raise LeftOut("nobody can say whether they were right: they have neither reward nor gold answer")
    if not is_right:
        raise LeftOut("they were wrong")
