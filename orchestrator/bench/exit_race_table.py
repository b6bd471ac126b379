"""What ways to end thoughts came to, as a table: each beside whole thoughts and the oracle, on what all three ran."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestrator.bench.exit_race import Against, Ran, against, at_budget, oracle
from orchestrator.intervals import Interval

__all__ = ["table"]

HEAD = (
    f"{'way':40} {'tasks':>5} {'ended':>5} {'tokens':>6} {'saved':>6}   {'of the oracle':>19}   {'its own tasks':>19}"
    f" {'harmful (most)':>15} {'wrong (most)':>14} {'right':>6}   {'less whole':>20} {'in budget':>9}"
)


def table(rows: Sequence[Ran], whole: str, knowing: str) -> str:
    """Return a line for each way, in the order in which they come.

    `whole` names the way that ends nothing, `knowing` the one that knows the answer, whose looks behind every step the
    oracle has for nothing. The last column is the share of tasks that are right within the tokens that half of the
    whole thoughts take.
    """
    ways: dict[str, dict[str, Ran]] = {}
    for row in rows:
        ways.setdefault(row.way, {})[row.task] = row
    both = [task for task in ways[whole] if task in ways[knowing]]
    budget = sorted(ways[whole][task].tokens for task in both)[len(both) // 2]
    ways["oracle"] = {task: oracle(ways[knowing][task]) for task in both}
    return (
        "\n".join([HEAD, *(_line(name, of, ways[whole], ways["oracle"], budget) for name, of in ways.items())]) + "\n"
    )


def _line(name: str, ran: Mapping[str, Ran], whole: Mapping[str, Ran], best: Mapping[str, Ran], budget: int) -> str:
    tasks = [task for task in ran if task in whole and task in best]
    found = _against(tasks, ran, whole, best)
    ended = [task for task in tasks if best[task].is_early]
    own = _against(ended, ran, whole, best).of_oracle if ended else None
    return (
        f"{name:40} {found.tasks:5} {found.exits:5} {found.tokens:6.1f} {found.saved:6.1%}   {_share(found.of_oracle)}"
        f"   {_share(own)} {found.harmful:7.2%} ({found.harmful_most:.2%}) {found.wrong:6.1%} ({found.wrong_most:.1%})"
        f" {found.accuracy:6.1%}   {_points(found.gained)} {at_budget([ran[task] for task in tasks], budget):9.1%}"
    )


def _against(
    tasks: Sequence[str], ran: Mapping[str, Ran], whole: Mapping[str, Ran], best: Mapping[str, Ran]
) -> Against:
    return against(*([of[task] for task in tasks] for of in (ran, whole, best)))


def _share(of: Interval | None) -> str:
    return f"{'-':>19}" if of is None else f"{of.value:5.0%} ({of.low:.0%}..{of.high:.0%})".rjust(19)


def _points(of: Interval) -> str:
    return f"{100 * of.value:+.1f} ({100 * of.low:+.1f}..{100 * of.high:+.1f})".rjust(20)
