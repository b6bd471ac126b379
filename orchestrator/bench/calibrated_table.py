"""What a calibration measured, for people: a line per threshold, the controls beside them, and the choice in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from orchestrator.bench.calibrating import Controls, Setting, Target, written
from orchestrator.bench.columns import columns, wrapped
from orchestrator.intervals import Interval

if TYPE_CHECKING:
    from orchestrator.bench.trial import Risky

__all__ = ["table"]


def table(
    option: str,
    target: Target,
    found: Sequence[Setting],
    controls: Controls,
    best: Setting | None,
    risk: tuple[Risky, Interval] | None = None,
) -> str:
    """Return the report; `best` is the chosen setting, None if none meets the target. `risk` is what a controlled
    risk was chosen by, and what it was when the router ran with it."""
    rows = [
        ("small-only", _percent(controls.small.accuracy), "", "", "0.0", f"{controls.small.cost:.1f}"),
        ("large-only", _percent(controls.large.accuracy), "", "", "100.0", f"{controls.large.cost:.1f}"),
        *(
            (
                f"{option} {written(each.threshold)}{' <' if each == best else ''}",
                _percent(each.accuracy),
                _signed(each.versus_large),
                "-" if each.bound is None else f"{each.bound:.4g} {'ok' if each.is_met else 'no'}",
                f"{100 * each.large_share.value:.1f}",
                f"{each.cost.value:.1f} [{each.cost.low:.1f}, {each.cost.high:.1f}]",
            )
            for each in found
        ),
    ]
    bound = f"bound: the {target.end} end of the one-sided 95% interval of what the target speaks of. "
    note = (
        "95% intervals: tasks drawn again, and for shares Wilson's or Newcombe's where that is wider. "
        f"{bound if target.end else ''}large %: kept steps that the large engine wrote. cost: per task, in its "
        "output tokens."
    )
    header = (f"{controls.tasks} tasks", "right %", "less large-only", "bound", "large %", "cost")
    parts = [columns(header, rows, note)]
    if risk is not None:
        parts.append(wrapped(_risk(target, *risk)))
    if best is not None:
        parts.append(wrapped(_choice(option, target, best)))
    return "\n\n".join(parts)


def _choice(option: str, target: Target, best: Setting) -> str:
    return (
        f"For {target}: {option} {written(best.threshold)}, which solves {_percent(best.accuracy)}% "
        f"with the large engine writing {100 * best.large_share.value:.1f}% of the steps. It was chosen on these "
        "tasks, so report it on others."
    )


def _risk(target: Target, risk: Risky, realised: Interval) -> str:
    assert risk.threshold is not None
    return (
        f"Of {risk.steps} drafts of {risk.tasks} tasks {risk.wrong} are wrong. At {written(risk.threshold)} "
        f"{risk.accepted:.1%} are accepted, and the accepted wrong ones are {risk.loss:.2%} of a task's drafts: of a "
        f"new task no more than {written(target.value)} is to be expected, as its drafts come at the router's own "
        f"threshold. Run at {written(risk.threshold)}, they were {_percent(realised)}% of them."
    )


def _percent(of: Interval) -> str:
    return f"{100 * of.value:.1f} [{100 * of.low:.1f}, {100 * of.high:.1f}]"


def _signed(of: Interval) -> str:
    return f"{100 * of.value:+.1f} [{100 * of.low:+.1f}, {100 * of.high:+.1f}]"
