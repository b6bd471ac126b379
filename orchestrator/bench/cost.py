"""What a run used, engine by engine, and what that comes to under a profile.

A verdict by the large engine prefills the draft, so step routing saves large decode, time and
sometimes money, but not large FLOPs: decode, uncached and cached prefill are therefore kept apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from orchestrator.bench.profiles import Hardware, Prices
from orchestrator.ledger import Entry
from orchestrator.memory.base import CallIntent, CallResult, CallRow
from orchestrator.runtime.calls import TOOL, entry_of

__all__ = ["Use", "cost", "flops", "modelled_s", "pte", "uses_of"]


@dataclass(slots=True, kw_only=True)
class Use:
    """Sums over the calls of one engine; discarded, failed and interrupted ones included."""

    calls: int = 0
    decode: int = 0
    """Output tokens."""
    uncached: int = 0
    """Prompt tokens that had to be prefilled."""
    cached: int = 0
    """Prompt tokens read from the prefix cache, as the server reported; no more than the longest text that this run
    had given the engine before: what else was cached is another run's work, and the policies that come later would
    look the cheaper for it."""
    unreported: int = 0
    """Calls whose server did not say what was cached; their whole prompt counts as uncached."""
    context: int = 0
    """Sum over output tokens of how many tokens stood before them."""
    seconds: float = 0.0
    """Wall time, summed over calls."""
    queue_s: float = 0.0
    """Part of `seconds`: in the queue of the server, where it says."""
    queued: int = 0
    """Calls of which it said so."""
    first_token_s: float = 0.0
    """Part of `seconds`: until the first token, of calls that were streamed."""
    streamed: int = 0
    """Calls that were streamed."""
    drafts: int = 0
    """Drafts of speculative decoding, where the server reports them."""
    drafted: int = 0
    """Tokens in them."""
    accepted: int = 0
    """Tokens of them that stood."""
    longest: int = 0
    """Tokens of the longest prompt and output of one call."""

    def add(self, intent: CallIntent, result: CallResult | None) -> None:
        """Count one call; one whose process died is charged what it had reserved."""
        prompt = intent.prompt_tokens if result is None else result.prompt_tokens
        output = intent.max_tokens if result is None else result.output_tokens
        reported = result.cached_tokens if result else None
        cached = min(reported or 0, self.longest)
        self.calls += 1
        self.decode += output
        self.uncached += prompt - cached
        self.cached += cached
        self.unreported += reported is None
        self.context += output * prompt + output * (output - 1) // 2
        if result is not None:
            self._add_served(entry_of(result))
        self.longest = max(self.longest, prompt + output)

    def _add_served(self, entry: Entry) -> None:
        self.seconds += entry.seconds
        self.queue_s += entry.queue_s
        self.queued += entry.queued
        self.first_token_s += entry.first_token_s
        self.streamed += entry.streamed
        self.drafts += entry.drafts
        self.drafted += entry.drafted
        self.accepted += entry.accepted

    def plus(self, other: Use) -> Use:
        """Return the sums of both."""
        sums = {each.name: getattr(self, each.name) + getattr(other, each.name) for each in fields(Use)}
        return Use(**{**sums, "longest": max(self.longest, other.longest)})

    def to_json(self) -> dict[str, Any]:
        """Return the sums as plain data."""
        return asdict(self)


def uses_of(calls: Iterable[CallRow], engines: Iterable[str]) -> dict[str, Use]:
    """Return what each engine did in one run, zeros for one that did nothing; calls of tools are no engine's."""
    found = {name: Use() for name in engines}
    for intent, result in calls:
        if intent.purpose != TOOL:
            found[intent.engine].add(intent, result)
    return found


def modelled_s(uses: Mapping[str, Use], machine: Hardware) -> float:
    """Return the seconds the calls would take one after another on the machine, each alone on its engine."""
    return sum(
        use.calls * machine.call_ms / 1e3
        + use.uncached / machine.engines[name].prefill_per_s
        + use.decode * machine.engines[name].decode_ms / 1e3
        for name, use in uses.items()
    )


def flops(uses: Mapping[str, Use], machine: Hardware) -> float:
    """Return floating point operations, prefill included: 2 per parameter and token, attention left out."""
    return sum(2 * machine.engines[name].params * (use.uncached + use.decode) for name, use in uses.items())


def pte(uses: Mapping[str, Use], machine: Hardware) -> float:
    """Return prefill token equivalents, in prefill tokens of the largest engine.

    Source: PTE, prefill + gamma * length * decode, cached tokens taken off (the optimistic case).
    Differs: the length is that at each output token, not the call's final one, and an engine's
    tokens weigh in proportion to its parameters, because the published measure knows one model.
    """
    largest = max(each.params for each in machine.engines.values())
    return sum(
        (use.uncached + machine.decode_weight(name) * use.context) * machine.engines[name].params / largest
        for name, use in uses.items()
    )


def cost(uses: Mapping[str, Use], of: Prices) -> float:
    """Return the price of everything, in output tokens of the large engine."""
    return sum(
        of.engines[name].of(
            Entry(prompt_tokens=use.uncached + use.cached, cached_tokens=use.cached, output_tokens=use.decode)
        )
        for name, use in uses.items()
    )
