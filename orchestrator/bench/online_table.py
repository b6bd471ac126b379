"""What test-then-learn came to, for people: right answers and tokens, each difference paired by task."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from orchestrator.bench.columns import columns, wrapped
from orchestrator.bench.online import ARMS, HELD_OUT, LEARNS, NONE, SECOND, SHUFFLED
from orchestrator.bench.sample import Sample
from orchestrator.intervals import Interval, paired, paired_means, wilson

__all__ = ["table"]

Arms = Mapping[str, Sequence[Sample]]
"""The samples of each arm, of the same tasks in the same order."""
Shown = tuple[str, ...]


def table(samples: Iterable[Sample], settings: Mapping[str, Any], places: Iterable[Mapping[str, Any]] = ()) -> str:
    """Return the report of the samples of a folder."""
    given = list(samples)
    parts = [_head(settings, places)]
    for names, title in ((ARMS + SECOND, "online"), ([HELD_OUT + arm for arm in ARMS], "held out")):
        arms = _shared(given, names)
        if arms:
            parts += [_right(arms, title), *_tokens(arms, title)]
            parts += [_learning(arms)] * (title == "online")
    return "\n\n".join(part for part in parts if part) + "\n"


def _shared(samples: Sequence[Sample], names: Iterable[str]) -> Arms:
    """Return the arms of these names that there are, with the tasks that all of them have."""
    by_arm: dict[str, dict[str, Sample]] = {}
    for each in samples:
        by_arm.setdefault(each.policy, {})[each.task] = each
    found = {name: by_arm[name] for name in names if name in by_arm}
    tasks = [task for task in next(iter(found.values()), {}) if all(task in arm for arm in found.values())]
    return {name.removeprefix(HELD_OUT): [arm[task] for task in tasks] for name, arm in found.items()} if tasks else {}


def _head(settings: Mapping[str, Any], places: Iterable[Mapping[str, Any]]) -> str:
    what = ":".join(str(value) for value in settings["workload"].values() if isinstance(value, str | int))
    lines = [
        f"{settings['tasks']} tasks of {what}, split {settings['split']}, seed {settings['seed']}, each answered and "
        f"then learned from; {settings['held_out']} held out",
    ]
    for place in places:
        lines.append(f"{place['machine']}, Python {place['python']}, commit {place['commit'] or 'unknown'}")
        lines += [f"{name}: {served}" for name, served in place["engines"].items()]
    return "\n".join(wrapped(each) for each in dict.fromkeys(lines))


def _right(arms: Arms, title: str) -> str:
    right = {arm: [each.is_right for each in samples] for arm, samples in arms.items()}
    rows = [
        (
            arm,
            "{:.1f} [{:.1f}, {:.1f}]".format(*(100 * each for each in wilson(sum(ours), len(ours)))),
            *_less(arm, right, paired, 100),
        )
        for arm, ours in right.items()
    ]
    note = f"{len(right[NONE])} tasks; 95% intervals; differences, in points, are paired by task."
    return columns((title, "right %", *_LESS), rows, note)


_LESS = ("less none", "less shuffled")
_COUNTED: tuple[tuple[str, Callable[[Sample], int]], ...] = (
    ("output", lambda sample: sample.decode),
    ("prompt", lambda sample: sum(use.cached + use.uncached for use in sample.uses.values())),
)


def _tokens(arms: Arms, title: str) -> list[str]:
    """Return a table for each kind of tokens; what learning took is in a column of its own."""
    found = []
    for kind, count in _COUNTED:
        tokens = {arm: [float(count(each)) for each in samples] for arm, samples in arms.items()}
        learning = {arm: [each.handbook.get(f"{kind}_tokens", 0) for each in arms[arm]] for arm in arms}
        rows = [
            (arm, f"{fmean(ours):.1f}", *_less(arm, tokens, paired_means, 1), f"{fmean(learning[arm]):.1f}")
            for arm, ours in tokens.items()
        ]
        note = (
            "Per task. Learning comes on top of answering; the tokens of a second attempt include the first one's."
            if kind == "output" and title == "online"
            else ""
        )
        found.append(columns((f"{title}, {kind} tokens", "answering", *_LESS, "learning"), rows, *[note] * bool(note)))
    return found


def _less(
    arm: str, values: Mapping[str, Sequence[Any]], difference: Callable[[Any, Any], Interval], unit: float
) -> Shown:
    """Return an arm less no handbook and less the shuffled one, `-` for itself."""
    return tuple(
        "-" if arm == other else "{:+.1f} [{:+.1f}, {:+.1f}]".format(*(unit * each for each in difference(*both)))
        for other in (NONE, SHUFFLED)
        for both in [(values[arm], values[other])]
    )


def _learning(arms: Arms) -> str:
    """Return in words what was learned, shown and cited."""
    told = [each.handbook for each in arms[LEARNS]]
    added, refused, unusable = (sum(each.get(name, 0) for each in told) for name in ("added", "refused", "unusable"))
    lines = [
        f"Learned: {added} behaviors from {len(told)} runs; {refused} proposals were refused, and of {unusable} runs "
        "nothing could be read."
    ]
    for arm in (LEARNS, SHUFFLED):
        shown, cited = (fmean(each.handbook.get(name, 0) for each in arms[arm]) for name in ("shown", "cited"))
        lines.append(f"{arm}: {shown:.1f} behaviors shown per task, {cited:.1f} cited.")
    for arm in (name for name in SECOND if name in arms):
        made = sum(each.handbook.get("attempted", 0) for each in arms[arm])
        lines.append(f"{arm}: {made} second attempts; the first answer stands elsewhere.")
    return "\n".join(map(wrapped, lines))
