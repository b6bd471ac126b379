"""What test-then-learn came to, for people: right answers and tokens, each difference paired by task."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from orchestrator.bench.columns import columns, wrapped
from orchestrator.bench.online import ARMS, HELD_OUT, LEARNED, NONE, SECOND, SHUFFLED
from orchestrator.bench.sample import Sample
from orchestrator.intervals import Interval, paired, paired_means, wilson

__all__ = ["table"]

Arms = Mapping[str, Sequence[Sample]]
"""The samples of each arm, of the same tasks in the same order."""
_LESS = ("less none", "less shuffled")


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


def _output(sample: Sample) -> int:
    return sample.decode


def _prompt(sample: Sample) -> int:
    return sum(use.cached + use.uncached for use in sample.uses.values())


def _tokens(arms: Arms, title: str) -> list[str]:
    """Return a table for each kind of tokens."""
    found = []
    for kind, count in (("output", _output), ("prompt", _prompt)):
        tokens = {
            arm: [float(count(each) + _learned(each, kind) * (arm in SECOND)) for each in samples]
            for arm, samples in arms.items()
        }
        rows = [(arm, f"{fmean(ours):.1f}", *_less(arm, tokens, paired_means, 1)) for arm, ours in tokens.items()]
        found.append(columns((f"{title}, {kind} tokens", "per task", *_LESS), rows))
    return found


def _learned(sample: Sample, kind: str) -> int:
    """Return the tokens that learning took."""
    return sample.handbook.get(f"{kind}_tokens", 0)


def _less(
    arm: str, values: Mapping[str, Sequence[Any]], difference: Callable[[Any, Any], Interval], unit: float
) -> tuple[str, ...]:
    """Return an arm less no handbook and less the shuffled one, `-` for itself."""
    return tuple(
        "-" if arm == other else "{:+.1f} [{:+.1f}, {:+.1f}]".format(*(unit * each for each in difference(*both)))
        for other in (NONE, SHUFFLED)
        for both in [(values[arm], values[other])]
    )


def _learning(arms: Arms) -> str:
    """Return in words what was learned and what that took, what was shown and cited."""
    told = [each.handbook for each in arms[LEARNED]]
    added, refused, unusable = (sum(each.get(name, 0) for each in told) for name in ("added", "refused", "unusable"))
    output, prompt = (fmean(_learned(each, kind) for each in arms[LEARNED]) for kind in ("output", "prompt"))
    lines = [
        f"Learning, which is not in the tokens of `{LEARNED}`: {output:.1f} output and {prompt:.1f} prompt tokens per "
        f"task. From {len(told)} runs: behaviors added {added}, proposals refused {refused}, runs whose proposals "
        f"could not be read {unusable}."
    ]
    for arm in (LEARNED, SHUFFLED):
        shown, cited = (fmean(each.handbook.get(name, 0) for each in arms[arm]) for name in ("shown", "cited"))
        lines.append(f"`{arm}`: {shown:.1f} behaviors shown per task, {cited:.1f} of them cited.")
    if attempted := {arm: sum(each.handbook["attempted"] for each in arms[arm]) for arm in SECOND if arm in arms}:
        made = ", ".join(f"{number} {arm}" for arm, number in attempted.items())
        lines.append(
            f"Second attempts: {made}; elsewhere nothing was learned, or no tokens were left, and the first answer "
            "stands. Their tokens are those of the whole way: first attempt, learning, second attempt."
        )
    return "\n".join(map(wrapped, lines))
