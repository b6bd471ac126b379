"""Keep a draft where a condition on several signals holds: any combination, written in the config.

`keep` is a condition such as `judge-average >= 7 and entropy_mean < 0.4 or prm > 0.9`. `weights` with `threshold` is a
weighted sum, such as `{prm = 2.0, margin_min = 1.0}` at least 1.5. Where both are given both must hold. Names are:
- scorers, read in [0, 1]; `judge` and `judge-average` in digits, 0 to 9, as their thresholds are elsewhere;
- figures of the draft's own logprobs (see uncertainty.py), which cost nothing, in nats where they are entropies.

Figures are read first. A scorer is asked, cheapest first, only while it can still change the result: where the rest is
settled, or the bounds of what is missing cannot turn the sum, nobody is asked. A signal that cannot be had counts as
not known: where the others settle the matter it is not missed, else `on_unreadable` says what the draft gets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf, isfinite

from orchestrator import uncertainty
from orchestrator.decisions import Decision, Plan, keep
from orchestrator.doors import Ask, Needs
from orchestrator.errors import SignalUnavailable, UserError
from orchestrator.options import check_choice, check_whole
from orchestrator.routers.conditions import All, Condition, Linear, parse
from orchestrator.routers.rejection import (
    ON_UNREADABLE,
    TARGETS,
    OnUnreadable,
    Target,
    climb,
    digits,
    target,
    unread,
    verdict,
)
from orchestrator.types import History, Signal, Step

__all__ = ["Hybrid"]

DIGITS = ("judge", "judge-average")
COSTS = {"verifier": 0.0, "prm": 1.0, "judge": 2.0, "judge-average": 2.0}
"""What asking costs, relative to each other; only the order counts."""
FIGURES: dict[str, tuple[float, float]] = {
    "num_tokens": (0, inf),
    **dict.fromkeys(("entropy_mean", "entropy_max", "entropy_last"), (0, inf)),
    **dict.fromkeys(("entropy_mean_upper", "entropy_max_upper"), (0, inf)),
    **dict.fromkeys(("margin_min", "margin_mean"), (0, 1)),
    **dict.fromkeys(("separability_min", "separability_mean"), (0, inf)),
    **dict.fromkeys(("logprob_mean", "logprob_min"), (-inf, 0)),
    "perplexity": (1, inf),
}
"""Fields of Uncertainty, and what they can be."""


@dataclass(frozen=True, kw_only=True)
class Hybrid:
    """Keep a draft where the condition holds; otherwise a larger engine writes the step."""

    keep: str = ""
    """The condition; empty for none. Without `weights` either, it is `judge >= 7`. One that holds always or never, such
    as `judge >= 0`, is allowed: nobody is asked, every draft is kept or none."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """Signals and their weights in a sum; empty for none."""
    threshold: float = 0.0
    """What the sum must be at least."""
    costs: Mapping[str, float] = field(default_factory=dict)
    """What it costs to ask a scorer, >= 0, over the built-in ones; names a scorer of your own besides."""
    to: Target = "largest"
    """Who writes a rejected step, with more than two engines."""
    ladder: bool = False
    """With more than two engines: each next one tries, and its try must pass too, until the last."""
    on_unreadable: OnUnreadable = "reject"
    """What a draft gets that the missing signals leave undecided."""
    vocabulary: int | None = None
    """Tokens an engine chooses from; the upper bounds of entropies need it."""
    top: int = 5
    """Alternatives per token to ask for, where figures are read."""

    def __post_init__(self) -> None:
        check_choice("hybrid", self, on_unreadable=ON_UNREADABLE, to=TARGETS)
        for option, numbers in (("weights", self.weights), ("costs", self.costs)):
            for name, value in numbers.items():
                if not isfinite(value) or (option == "costs" and value < 0):
                    raise UserError(f"hybrid: {option} gives {name} {value!r}, which is no number to reckon with")
        if self.weights and not isfinite(self.threshold):
            raise UserError(f"hybrid: threshold = {self.threshold!r} is no number to compare a sum with")
        if self.threshold and not self.weights:
            raise UserError(f"hybrid: threshold = {self.threshold!r} is that of a sum: give weights, or leave it out")
        check_whole("hybrid", self, top=1)
        self._check_names()
        if self.vocabulary is None and any(name.endswith("_upper") for name in self._names):
            raise UserError("hybrid: an upper bound needs vocabulary, the number of tokens an engine chooses from")

    def _check_names(self) -> None:
        ranges = self._ranges
        if unknown := next((name for name in self.weights if name not in ranges), None):
            raise UserError(
                f"hybrid: weights names {unknown!r}; known: {', '.join(ranges)}; a scorer of your own: costs"
            )
        for name in self.costs:
            if name in FIGURES:
                raise UserError(f"hybrid: costs names {name!r}, which is no scorer and costs nothing")
        try:
            _ = self._condition
        except UserError as error:
            raise UserError(f"hybrid: keep = {error}") from error
        decided = self._sum.decided({}, ranges) if self.weights else None
        if decided is not None:
            low_high = "always" if decided else "never"
            raise UserError(
                f"hybrid: threshold = {self.threshold!r} is outside what the sum can be: it {low_high} holds"
            )

    @cached_property
    def _costs(self) -> Mapping[str, float]:
        return {**COSTS, **self.costs}

    @cached_property
    def _ranges(self) -> Mapping[str, tuple[float, float]]:
        scorers = {name: (0.0, 9.0 if name in DIGITS else 1.0) for name in self._costs}
        return {**scorers, **FIGURES}

    @property
    def _sum(self) -> Linear:
        return Linear(tuple(self.weights.items()), ">=", self.threshold)

    @cached_property
    def _condition(self) -> Condition:
        parts: list[Condition] = [self._sum] if self.weights else []
        if self.keep or not parts:
            parts.append(parse(self.keep or "judge >= 7", self._ranges))
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(self.weights) | frozenset(_leaves(self._condition))

    @property
    def needs(self) -> Needs:
        """Two engines, the scorers that are named, and logprobs where a figure is."""
        scorers = tuple(sorted(self._names & set(self._costs)))
        return Needs(scorers=scorers, logprobs=self._logprobs, engines=2)

    @property
    def _logprobs(self) -> int:
        return self.top if self._names & (set(FIGURES) - {"num_tokens"}) else 0

    def before_step(self, history: History) -> Plan:
        """Draft with the small engine."""
        return Plan(engine=history.small, logprobs=self._logprobs)

    async def after_draft(self, history: History, draft: Step, ask: Ask) -> Decision:
        """Keep the draft, or let a larger engine write the step."""
        larger = target(history, draft.writer, "largest" if self.ladder else self.to)
        if larger is None:
            return keep(reason="written by the large engine")

        async def gate(candidate: Step) -> Decision:
            return await self._gate(larger, candidate, ask)

        return await (climb(history, draft, ask, gate) if self.ladder else gate(draft))

    async def _gate(self, larger: str, draft: Step, ask: Ask) -> Decision:
        signals: list[Signal] = []
        missing: list[SignalUnavailable] = []
        known = self._figures(draft, signals, missing)
        silent: set[str] = {each.name for each in missing}
        while (holds := self._condition.decided(known, self._ranges)) is None:
            wanted = {name for name in self._condition.open(known, self._ranges) if name in self._costs} - silent
            if not wanted:
                break
            name = min(wanted, key=lambda each: (self._costs[each], each))
            try:
                signal = await ask.score(name, draft)
                known[name] = _reading(signal)
                signals.append(signal)
            except SignalUnavailable as why:
                missing.append(why)
                silent.add(name)
        read = ", ".join(f"{name} {value:.3g}" for name, value in known.items() if name in self._names)
        if holds is None:
            decision = unread(larger, missing[0], self.on_unreadable)
            return _with(decision, signals, f"{decision.reason}; {read}" if read else decision.reason)
        threshold, margin = self._margin(known)
        why_not = "".join(f"; no {each.name} ({each.reason})" for each in missing)
        reason = f"{'passes' if holds else 'fails'}: {read or 'nothing had to be read'}{why_not}"
        return verdict(larger, *signals, stands=holds, reason=reason, threshold=threshold, margin=margin)

    def _figures(self, draft: Step, signals: list[Signal], missing: list[SignalUnavailable]) -> dict[str, float]:
        """Return what the draft's own logprobs say, in one pass; nothing of it has to be asked for."""
        known: dict[str, float] = {}
        wanted = [name for name in FIGURES if name in self._names]
        if "num_tokens" in wanted:
            known["num_tokens"] = draft.num_tokens
        if self._logprobs:
            try:
                found = uncertainty.uncertainty(draft.logprobs, self.vocabulary)
                known = {name: getattr(found, name) for name in wanted if name != "num_tokens"} | known
                for name in [name for name, value in known.items() if value != value]:
                    missing.append(SignalUnavailable(name, "a token has a single alternative"))
                    del known[name]
            except SignalUnavailable as why:
                missing.append(why)
        signals += [Signal(name=name, value=None, raw=value, unit=_unit(name)) for name, value in known.items()]
        return known

    def _margin(self, known: Mapping[str, float]) -> tuple[float | None, float | None]:
        """Return threshold and margin where the condition is one comparison of signals that are all known."""
        condition = self._condition
        if not isinstance(condition, Linear) or any(name not in known for name, _ in condition.weights):
            return None, None
        value = sum(weight * known[name] for name, weight in condition.weights)
        return condition.limit, value - condition.limit


def _reading(signal: Signal) -> float:
    """Return a judge's digits, or another scorer's value."""
    return digits(signal) if signal.name in DIGITS else signal.value or 0.0


def _leaves(condition: Condition) -> Sequence[str]:
    if isinstance(condition, Linear):
        return [name for name, _ in condition.weights]
    parts = (condition.part,) if not hasattr(condition, "parts") else condition.parts
    return [name for part in parts for name in _leaves(part)]


def _unit(name: str) -> str:
    kind = name.partition("_")[0]
    return {"entropy": "nats", "logprob": "nats", "num": "tokens", "separability": "std"}.get(kind, "")


def _with(decision: Decision, signals: Sequence[Signal], reason: str) -> Decision:
    return replace(decision, signals=tuple(signals), reason=reason)
