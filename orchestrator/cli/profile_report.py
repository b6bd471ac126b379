"""What `orchestrator engines profile` says: the table, the model, what to be wary of, and what to paste."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.cli.toml import lines
from orchestrator.engines.speculation.planning import Advice, drift, wins
from orchestrator.engines.speculation.profiles import CustomClass, Profile
from orchestrator.engines.speculation.profiling import Point, Trial

if TYPE_CHECKING:
    from orchestrator.config import RunConfig

__all__ = ["fitted", "remarks", "report", "table", "toml"]

DRIFTED = 0.1
"""Share of its goodput by which the same server may differ at the end."""
WAITED = 0.1
"""Share of its time in the server's queue from which a completion was not really one of a batch."""
REMEMBER = ("suffix", "custom_class")
"""Methods whose drafts come from earlier texts too."""


def table(points: Sequence[Point], advice: Advice) -> Iterator[str]:
    """Yield the lines of what was measured, by batch size; a star is at the tokens that were chosen."""
    heads = f"{'batch':>5} {'tokens':>6}  {'drafted':>7} {'accepted':>8}  {'step ms':>8}"
    yield f"{heads}  {'tokens/s':>24}  {'modelled':>8}"
    for each in sorted(points, key=lambda each: (each.batch, -1 if each.tokens is None else each.tokens)):
        counts = f"{'':>16}"
        modelled = ""
        if each.tokens is not None:
            counts = f"{each.drafted_per_step:>7.2f} {each.tokens_per_step - 1:>8.2f}"
            modelled = f"{advice.model.goodput(each.batch, each.tokens):.1f}"
        span = f"{each.goodput:.1f} [{each.goodputs[0]:.1f}, {each.goodputs[-1]:.1f}]"
        chosen = " *" if advice.plan.get(each.batch, -1) == each.tokens else ""
        tokens = "none" if each.tokens is None else each.tokens
        yield f"{each.batch:>5} {tokens:>6}  {counts}  {each.step_ms:>8.2f}  {span:>24}  {modelled:>8}{chosen}".rstrip()


def fitted(advice: Advice) -> Iterator[str]:
    """Yield the lines of the model."""
    step, acceptance = advice.model
    drafting = f" + {step.draft_ms:.3g} ms per token of a row's draft" if step.draft_ms else ""
    yield f"a step takes {step.base_ms:.3g} ms + {step.token_ms:.3g} ms per token it verifies{drafting},"
    yield f"  {step.error:.0%} off on average and {step.worst:.0%} at most"
    yield f"{acceptance.share:.0%} of a row's steps verify a draft; each next token stands with {acceptance.rate:.0%}"


def remarks(
    speculation: Profile, trials: Sequence[Trial], points: Sequence[Point], advice: Advice, num_prompts: int
) -> Iterator[str]:
    """Yield what the reader has to know before they believe it."""
    if (change := drift(trials)) > DRIFTED:
        yield f"measured again at the end, no speculation was {change:.0%} off: trust this only on a quiet machine"
    if waiting := sorted({point.batch for point in points if point.waited > WAITED}):
        yield f"completions waited in the server's queue at batch size {_listed(waiting)}: it may take fewer at once"
    servers = len({point.tokens for point in points})
    if speculation.method in REMEMBER and sum(trial.completions for trial in trials) > num_prompts * servers:
        yield f"prompts came again, and {speculation.method} remembers: with too few it looks better than it is"
    if advice.speculation is None:
        if won := sorted({batch for batch, _ in wins(points)}):
            at = f"drafts are faster than no speculation at batch size {_listed(won)}"
            yield f"{at}, but lose more than that over all of --batches: give those that you serve"
        else:
            yield "no draft of any length is faster than no speculation, beyond the noise"
        return
    plain = {point.batch: point for point in points if point.tokens is None}
    chosen = [point for point in points if advice.plan.get(point.batch, -1) == point.tokens]
    if slower := [point.batch for point in chosen if plain[point.batch].is_better_than(point)]:
        yield f"without speculation the server is faster at batch size {_listed(slower)}"
    if advice.plan and not advice.speculation.unscheduled:
        yield f"above batch size {max(advice.plan)}, which was not measured, vLLM goes on with the last row"


def toml(loaded: RunConfig, name: str, advice: Advice) -> str:
    """Return the table `speculation` of the engine: the file's own, with what was found out."""
    found = advice.speculation
    table: dict[str, Any] = {"method": "none"}
    if found is not None:
        written = loaded.as_written["engines"][name]["serve"].get("speculation", {})
        table = {"method": found.method, **written, "tokens": found.tokens}
        if isinstance(found, CustomClass):
            table["length"] = found.length
        elif not found.unscheduled:
            table["schedule"] = found.schedule
    return "\n".join(lines(table, ("engines", name, "serve", "speculation"))[1:])


def report(name: str, speculation: Profile, points: Sequence[Point], advice: Advice, toml: str) -> dict[str, Any]:
    """Return all of it as JSON has it; goodputs are tokens per second, of each trial."""
    return {
        "engine": name,
        "method": speculation.method,
        "points": [
            {
                "tokens": each.tokens,
                "batch": each.batch,
                "goodputs": list(each.goodputs),
                "drafted_per_step": each.drafted_per_step,
                "tokens_per_step": each.tokens_per_step,
                "step_ms": each.step_ms,
                "modelled": None if each.tokens is None else advice.model.goodput(each.batch, each.tokens),
            }
            for each in points
        ],
        "step": advice.model.step._asdict(),
        "acceptance": advice.model.acceptance._asdict(),
        "plan": {str(batch): tokens for batch, tokens in advice.plan.items()},
        "toml": toml,
    }


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
