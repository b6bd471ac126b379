"""Who writes next follows the rolling entropy of what is written: up where it is high, down where it is low again.

The small engine drafts. Its draft's reading is the highest mean entropy of any `window` tokens in a row. Above
`threshold` the token-level rule would have switched inside this draft: it is thrown away, and the next larger engine
writes the step and keeps control. Control goes one engine down again when the mean entropy of the last `window` tokens
that the larger engine wrote is at most `lower`. No switch comes before `dwell` kept steps since the last one. All of
it is read from the kept steps, so a resumed run switches alike.

A server shows the k most likely tokens only: the entropy is a bound (see uncertainty.py), by default the lower one, in
bits, and `bound="upper"` needs the size of the `vocabulary`.

Source: Entropy Adaptive Decoding, arXiv:2502.06833 (rolling mean entropy over w tokens against tau, with a minimum
dwell; up above tau, down at or below it). Differs:
- whole steps switch, not tokens: a switch inside a draft takes back its beginning, which the token-level rule has
  already let stand, and in exchange no step has two writers and nothing uncertain is kept unread;
- w, tau and the dwell were not published: the defaults here are ours;
- the window holds tokens of one engine only, since its last switch;
- `lower` may be below the threshold (hysteresis; there they are one number);
- where there is nothing to read of a larger engine's step (one that wrote for an engine which failed comes without
  logprobs), control goes back once the dwell is over, and the smaller engine's next draft is read;
- with more than two engines a switch goes one engine up or down.

Of two engines that are equally unsure of each step, a higher threshold never lets the larger one write a step more, at
a dwell of 0 and steps that fill the window. A dwell breaks this: it may put off a switch up to a step where the
threshold is lower, and a switch down with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, takewhile
from math import inf, log
from typing import Literal

import numpy as np

from orchestrator import uncertainty
from orchestrator.decisions import Decision, Plan, Rewrite, keep, rewrite
from orchestrator.doors import Ask, Needs
from orchestrator.errors import SignalUnavailable, UserError
from orchestrator.options import check_choice, check_range, check_whole
from orchestrator.routers.rejection import ON_UNREADABLE, OnUnreadable, unread
from orchestrator.types import History, Signal, Step, TokenLogprob

__all__ = ["Entropy"]

UNITS = {"bits": log(2), "nats": 1.0}


@dataclass(frozen=True, kw_only=True)
class Entropy:
    """Keep a draft whose rolling entropy never exceeds `threshold`; else the next larger engine takes over."""

    threshold: float = 0.5
    """In `unit`, >= 0: 0 lets the largest engine write everything, inf the smallest."""
    lower: float | None = None
    """A larger engine keeps control while its last reading is above this; at most the threshold, None for just that."""
    window: int = 8
    """Tokens of the rolling mean; of a shorter text, all there are."""
    dwell: int = 0
    """Kept steps between two switches, >= 0."""
    unit: Literal["bits", "nats"] = "bits"
    bound: Literal["lower", "upper"] = "lower"
    """Which bound of the entropy is read."""
    vocabulary: int | None = None
    """Tokens an engine chooses from; the upper bound needs it."""
    top: int = 5
    """Alternatives per token to ask for."""
    on_unreadable: OnUnreadable = "reject"
    """What a draft without a reading gets."""

    def __post_init__(self) -> None:
        check_choice("entropy", self, unit=tuple(UNITS), bound=("lower", "upper"), on_unreadable=ON_UNREADABLE)
        check_range("entropy", self, threshold=f"[0, inf] (in {self.unit})")
        check_range("entropy", self, lower=f"[0, {self.threshold}] (the threshold is above it)")
        check_whole("entropy", self, window=1, dwell=0, top=1, vocabulary=2)
        if self.bound == "upper" and self.vocabulary is None:
            raise UserError("entropy: bound = 'upper' needs vocabulary, the number of tokens an engine chooses from")

    @property
    def needs(self) -> Needs:
        """Two engines that show alternatives, unless one writes everything."""
        reads = 0 < self.threshold < inf
        return Needs(logprobs=self.top if reads else 0, reads_rewrites=reads, engines=2)

    def before_step(self, history: History) -> Plan:
        """Let the engine in control draft, one smaller if its last reading is low and the dwell is over."""
        if self.threshold == 0:
            return Plan(engine=history.large, reason="a threshold of 0: every entropy is too high")
        if self.threshold == inf:
            return Plan(engine=history.small, reason="no entropy is above inf")
        writer = history.last_writer
        if writer == history.small:
            return Plan(engine=history.small, logprobs=self.top)
        own = _since_switch(history.written, writer)
        reason = self._stays(own)
        engine = writer if reason else history.engines[history.engines.index(writer) - 1]
        return Plan(engine=engine, logprobs=self.top, reason=reason or self._returns(own, writer))

    def _stays(self, own: Sequence[Step]) -> str:
        """Return why the larger engine keeps control; empty if it does not."""
        if len(own) < self.dwell:
            return f"{len(own)} of {self.dwell} steps since the switch"
        last = self._last(own)
        return "" if last is None or last <= self._lower else f"rolling entropy {last:.3g} > {self._lower:g}"

    def _returns(self, own: Sequence[Step], writer: str) -> str:
        last = self._last(own)
        read = "nothing to read" if last is None else f"rolling entropy {last:.3g} <= {self._lower:g}"
        return f"{read}: back from {writer}"

    @property
    def _lower(self) -> float:
        return self.threshold if self.lower is None else self.lower

    def _last(self, own: Sequence[Step]) -> float | None:
        try:
            return float(self._rolling(_tail(own, self.window))[-1])
        except SignalUnavailable:
            return None

    def prior(self, history: History, draft: Step) -> float:
        """Return 1 for a draft that will be rejected, else 0: nobody is asked about one."""
        return float(isinstance(self._decided(history, draft), Rewrite))

    async def after_draft(self, history: History, draft: Step, ask: Ask) -> Decision:
        """Keep the draft, or let the next larger engine take over at it."""
        return self._decided(history, draft)

    def _decided(self, history: History, draft: Step) -> Decision:
        if draft.writer == history.large or self.threshold == inf:
            return keep(reason=f"{draft.writer} is not read")
        larger = history.engines[history.engines.index(draft.writer) + 1]
        written = history.written
        own = _since_switch(written, draft.writer)
        try:
            peak = float(self._rolling([*_tail(own, self.window - 1), *(draft.logprobs or ())]).max())
        except SignalUnavailable as missing:
            return unread(larger, missing, self.on_unreadable, self.threshold)
        signal = Signal(name="entropy", value=None, raw=peak, unit=f"{self.unit}, {self.bound} bound")
        margin = peak - self.threshold
        if margin <= 0:
            reason = f"rolling entropy at most {peak:.3g} {self.unit}"
            return keep(signal, reason=reason, threshold=self.threshold, margin=margin, alternatives=("rewrite",))
        if len(own) < len(written) and len(own) < self.dwell:
            reason = f"rolling entropy {peak:.3g} {self.unit}, but {len(own)} of {self.dwell} steps since the switch"
            return keep(signal, reason=reason, threshold=self.threshold, margin=margin)
        reason = f"rolling entropy up to {peak:.3g} {self.unit}"
        return rewrite(larger, signal, reason=reason, threshold=self.threshold, margin=margin, alternatives=("keep",))

    def _rolling(self, tokens: Sequence[TokenLogprob]) -> uncertainty.Floats:
        """Return the mean over each full window, in `unit`; one mean of all where there are fewer tokens."""
        lower, upper = uncertainty.entropies(tokens, self.vocabulary)
        found = (lower if self.bound == "lower" else upper) / UNITS[self.unit]
        width = min(self.window, len(found))
        sums = np.concatenate(([0.0], np.cumsum(found)))
        means: uncertainty.Floats = (sums[width:] - sums[:-width]) / width
        return means


def _since_switch(steps: Sequence[Step], writer: str) -> list[Step]:
    """Return the last steps in a row that `writer` wrote, oldest first."""
    return [*takewhile(lambda step: step.writer == writer, reversed(steps))][::-1]


def _tail(steps: Sequence[Step], most: int) -> list[TokenLogprob]:
    """Return the last tokens with alternatives, `most` of them; a step without logprobs ends the row."""
    tokens: list[TokenLogprob] = []
    for step in reversed(steps):
        if len(tokens) >= most or not step.logprobs:
            break
        read = (token for token in reversed(step.logprobs) if token.top)
        tokens += islice(read, most - len(tokens))
    return tokens[::-1]
