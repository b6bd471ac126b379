"""Ask the large engine for a step exactly where it would write a better one.

The small engine drafts; a router that was trained on counterfactual steps of this very pair (`orchestrator collect`,
`orchestrator train-router`) reads context and draft and says how probable it is that the large engine's step
would score higher. Only if that is more than `threshold` is the draft thrown away and the step written by the
large engine. It never runs to be compared with: on a step that is kept no call of it is made.

Source: Arbitrage, arXiv:2512.05033, and the authors' script. Differs:
- the decision is the paper's strict one (escalate where the prediction is above the threshold; the script says at or
  above), so that a threshold of 1 is draft-only and one of 0 is target-only; there nothing is predicted;
- a file of kind `served` names the published router, a fine-tuned classifier that an engine serves, and the chance is
  what that says; the light router is a logistic regression or a few small trees over features of the draft's
  logprobs, its text, its place and who wrote before, read in well under a millisecond;
- a prediction is a calibrated probability (the paper's is what a balanced training set makes of it);
- the threshold of 0.5 is ours (the paper sweeps it and recommends none), and `calibrate` chooses another;
- it has no limits of its own (the authors' script: 100 steps, 4,096 tokens a step, a patience of 20 rounds without
  progress): the pipeline's budget and `max_tokens`, and the monitor `stalled`, are there for that;
- what the router cannot read is a recorded decision, `on_unreadable`, and no silent default;
- the authors' script calls the target on every step, whatever it decides; here a kept step costs no call.
"""

from __future__ import annotations

from asyncio import gather
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from orchestrator.decisions import Decision, Plan, keep, rewrite
from orchestrator.doors import Ask, Needs
from orchestrator.errors import SignalUnavailable, UserError
from orchestrator.options import check_choice, check_range
from orchestrator.routers.features import Drafted, features
from orchestrator.routers.rejection import ON_UNREADABLE, OnUnreadable, unread, verdict
from orchestrator.routers.router_file import RouterFile
from orchestrator.types import History, Signal, Step, question_of

__all__ = ["Arbitrage"]

_WITHOUT_HISTORY = {"escalation": "escalation-plain"}
"""A scorer that reads who wrote the steps before -> the same one without."""


@dataclass(frozen=True, kw_only=True)
class Arbitrage:
    """Let the large engine write a step where a trained router predicts that its step would be better."""

    file: str = field(default="", metadata={"is_setting": False})
    """What `orchestrator train-router` wrote; it is read when the pipeline is built."""
    threshold: float = 0.5
    """In [0, 1]: a draft stands if the chance that the large engine's step is better is not above it."""
    history: bool = True
    """False hides who wrote the steps before from a file that sees it: as if all were the small engine's."""
    to: str = ""
    """The engine that writes what is not kept; empty for the largest. Files are trained against that one, and another
    is refused: the chance says nothing of it."""
    on_unreadable: OnUnreadable = "reject"
    """What a draft gets about which the router cannot say anything."""
    learnt: RouterFile | None = field(default=None, metadata={"is_option": False})
    """What the file holds, once it has been read."""

    def __post_init__(self) -> None:
        check_range("arbitrage", self, threshold="[0, 1]")
        check_choice("arbitrage", self, on_unreadable=ON_UNREADABLE)
        if self.to and self.learnt is not None and self.to != (against := self.learnt.against):
            raise UserError(
                f"arbitrage: to = {self.to!r}, and its file was trained against {against!r}: leave it out, or train a "
                "router in a pipeline whose largest engine that is"
            )

    def with_file(self, read: Callable[[str], RouterFile]) -> Arbitrage:
        """Return the router with what its file holds; itself if it was read before.

        Raises UserError if no file is named, and what `read` raises.
        """
        if self.learnt is not None:
            return self
        if not self.file:
            raise UserError("arbitrage needs file = the router that `orchestrator train-router` wrote")
        return replace(self, learnt=read(self.file))

    @property
    def _known(self) -> RouterFile:
        if self.learnt is None:
            raise UserError("arbitrage: its file was not read; give the router to a Pipeline, or call with_file")
        return self.learnt

    @property
    def needs(self) -> Needs:
        """Two engines, a calibration, the drafts' logprobs and whomever else the file reads."""
        if self.learnt is None:
            return Needs(engines=2, calibrated=True, targets=self._targets)
        # Whatever the threshold: a calibration names who was asked, and may choose one at which nobody is.
        return Needs(
            engines=2, calibrated=True, logprobs=self.learnt.logprobs, scorers=self._asked, targets=self._targets
        )

    @property
    def _targets(self) -> tuple[str, ...]:
        return (self.to,) if self.to else ()

    @property
    def _predicts(self) -> bool:
        """Whether a prediction can decide: at the ends of the threshold none can."""
        return 0 < self.threshold < 1

    @property
    def _asked(self) -> tuple[str, ...]:
        """Who is asked for each of the scorers that the file reads."""
        uses = self._known.uses
        return uses if self.history else tuple(_WITHOUT_HISTORY.get(name, name) for name in uses)

    @property
    def pair(self) -> Mapping[str, Any] | None:
        """The engines it was trained for; None before its file is read."""
        return None if self.learnt is None else self.learnt.pair

    @property
    def fitted_on(self) -> tuple[str, ...]:
        """Fingerprints of the tasks it was trained on."""
        return () if self.learnt is None else self.learnt.fitted_on

    def before_step(self, history: History) -> Plan:
        """Draft with the small engine, with the logprobs that the file reads; at 0 no draft could stand."""
        if self.threshold == 0:
            return Plan(engine=self.to or history.large, reason="a threshold of 0: every step is the larger engine's")
        return Plan(engine=history.small, logprobs=self._known.logprobs if self._predicts else 0)

    async def after_draft(self, history: History, draft: Step, ask: Ask) -> Decision:
        """Keep or rewrite by the chance that a rewrite would be better."""
        large = self.to or history.large
        if draft.writer == large:
            return keep(reason=f"written by {large}")
        if self.threshold == 1:
            return keep(reason="no chance is above 1", threshold=1.0)
        if self.threshold == 0:
            return rewrite(large, reason="every step is the larger engine's", threshold=0.0)
        try:
            signals = await gather(*(ask.score(name, draft) for name in self._asked))
            return self._decided(large, self._chance(history, draft, signals))
        except SignalUnavailable as missing:
            return unread(large, missing, self.on_unreadable, self.threshold)

    @property
    def prior(self) -> Callable[[History, Step], float] | None:
        """1 for a draft that will be rejected, else 0; None where the file reads a scorer, which has to be asked."""
        return None if self._predicts and self._known.uses else self._rejects

    def _rejects(self, history: History, draft: Step) -> float:
        if not self._predicts:
            return float(self.threshold == 0)
        try:
            return float((self._chance(history, draft, ()).value or 0) > self.threshold)
        except SignalUnavailable:
            return float(self.on_unreadable == "reject")

    def _decided(self, large: str, chance: Signal) -> Decision:
        assert chance.value is not None
        margin = chance.value - self.threshold
        stands = margin <= 0
        reason = "a rewrite would hardly pay" if stands else "a rewrite is likely to pay"
        return verdict(large, chance, stands=stands, reason=reason, threshold=self.threshold, margin=margin)

    def _chance(self, history: History, draft: Step, signals: Sequence[Signal]) -> Signal:
        """Return the prediction. Raises SignalUnavailable if it cannot be had, or is no number."""
        known = self._known
        steps = history.steps
        seen = Drafted(
            question=question_of(history.task.messages),
            previous=steps[-1].text if steps else "",
            by_large=[self.history and step.writer != history.small for step in steps],
            text=draft.text,
            num_tokens=draft.num_tokens,
            stop=draft.stop,
            logprobs=draft.logprobs,
            signals={
                name: value for name, (_, value, *_) in zip(known.uses, signals, strict=True) if value is not None
            },
        )
        chance = known.forecast.chance(features(known.features, seen))
        if chance != chance:
            raise SignalUnavailable("arbitrage", "the router's prediction is not a number")
        return Signal(name="arbitrage", value=chance, unit="chance to be better")
