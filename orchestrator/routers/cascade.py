"""The small engine acts, and a larger one takes over for a while where monitors notice that it goes wrong.

`stuck` hands the run over. `milestone` has the largest engine verify, once, what was done so far: if it passes, the
small engine goes on, and if not the run is handed over. Behind a hand-over the small engine goes on; for some turns
then nothing is handed over again, and for some turns before that nothing ends what was begun, so that engines do not
flap and their prefix caches stay warm. With more than two engines each hand-over goes to the next one above whoever
wrote last. All of this is read from the history: a turn ends with what a tool answers, or is a step without tools.

Source: StepWise's step-level cascade and the authors' code (stuck before milestone; a milestone costs one
verification, whose failure to answer is a pass; a burst of 5 turns). Differs:
- the run comes back from the large engine (there that is a variant, the default is to the end: `on_stuck = "end"`);
- `dwell` and `stay` (there neither: a run may be handed over again at once);
- monitors look at what was written since the run came back, numbered from there (there steps keep their numbers and the
  milestone's window is empty from then on);
- what a failing judge means is an option, and in the decision's reason (there it is a pass, silently);
- a hand-over may last until a milestone passes, or be one turn that begins with a new plan; events other than the two
  have actions, too;
- a turn that went wrong may be taken back and made again by the next engine (there it stays for that engine to read),
  and the whole run where that engine can only repeat what it was handed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple, get_args

from orchestrator.decisions import Conclude, Decision, Handback, Handoff, Keep, Plan, StopRun
from orchestrator.doors import Ask, Needs
from orchestrator.errors import SignalUnavailable, UserError
from orchestrator.options import check_choice, check_range, check_texts, check_whole
from orchestrator.tools.base import ERROR
from orchestrator.types import Event, History, Signal, Step, StepKind

__all__ = ["Action", "Cascade"]

Action = Literal["turns", "end", "milestone", "retake", "replan", "note", "verify", "conclude", "stop", "ignore"]
"""What is done about an event: the next engine above takes over for some turns, to the end, until a milestone passes,
for some turns of which the first takes the place of the last one, or for one turn that begins with a new plan; the
small engine goes on with a note; the run so far is verified; the thought is closed; the run stops; nothing. A milestone
passes where a verification does. What is retaken is forgotten, not undone: it is for tools that read."""


@dataclass(frozen=True, kw_only=True)
class Cascade:
    """Let the small engine write, and do about each event what its option says."""

    on_stuck: Action = "turns"
    on_milestone: Action = "verify"
    on_failed: Action = "turns"
    """What is done where a verification fails."""
    others: Mapping[str, Action] = field(default_factory=lambda: {"drift": "verify"})
    """The same by kind, for events of any other; nothing is done about a kind without one."""
    turns: int = 5
    """Turns that `turns` and `retake` hand over for."""
    over_errors: bool = False
    """Whether `retake` also takes back the turns right before that came to errors: what led there is wrong, too."""
    note: str = ""
    """What an engine that takes over for `turns`, to the `end` or until a `milestone` begins with, in its own voice,
    and what `note` lets an engine go on with; empty for nothing."""
    plan: str = "What was tried so far does not help. A new plan:"
    """What `replan` begins with."""
    at_top: Literal["ignore", "note", "restart"] = "ignore"
    """What is done where no engine is above the one that writes: `note` lets it go on with the note, every `stay`
    turns at most; `restart` lets it begin the run anew for `turns` where it made the turn before it again, which
    another engine wrote; not where the first step is its own."""
    scorer: str = "verdict"
    """Who verifies."""
    threshold: float = 0.5
    """In [0, 1]; a score of at least this passes."""
    on_unreadable: Literal["pass", "fail"] = "pass"
    """What a verification without a score counts as."""
    dwell: int = 3
    """Turns behind a hand-over in which there is no other; 0 for none."""
    stay: int = 2
    """Turns that an engine above the small one has at least before it is verified, or gives way to the next one."""
    whole: bool | None = None
    """Whether the small engine writes a whole turn at once; None: where the run has tools."""

    def __post_init__(self) -> None:
        actions = get_args(Action)
        check_choice("cascade", self, on_stuck=actions, on_milestone=actions, on_failed=actions)
        check_choice("cascade", self, at_top=("ignore", "note", "restart"), on_unreadable=("pass", "fail"))
        if not isinstance(self.others, Mapping):
            raise UserError(f"cascade: others = {self.others!r:.60} must be a table, such as {{'drift': 'verify'}}")
        for kind, action in self.others.items():
            check_choice("cascade", {f"others.{kind}": action}, **{f"others.{kind}": actions})
            if kind in ("stuck", "milestone"):
                raise UserError(f"cascade: others has {kind!r}: use the option on_{kind}")
        check_texts("cascade", self, note="", plan="", scorer="name who verifies, such as verdict")
        check_whole("cascade", self, turns=1, stay=1, dwell=0)
        check_range("cascade", self, threshold="[0, 1]")
        self._check_together()

    def _check_together(self) -> None:
        used = {*self._actions.values(), self.on_failed}
        if self.on_failed == "verify":
            raise UserError("cascade: on_failed = 'verify' would verify without end: choose what follows a failure")
        if "milestone" in used and self.on_milestone != "verify":
            raise UserError("cascade: a hand-over until a milestone passes needs on_milestone = 'verify'")
        if not self.note.strip() and ("note" in used or self.at_top == "note"):
            raise UserError("cascade: note is empty: give the words to go on with")
        if not self.plan.strip() and "replan" in used:
            raise UserError("cascade: plan is empty: give the words that a new plan begins with")

    @cached_property
    def _actions(self) -> Mapping[str, Action]:
        """By kind, the first to be looked at first: stuck pre-empts milestone."""
        return {"stuck": self.on_stuck, **self.others, "milestone": self.on_milestone}

    @property
    def needs(self) -> Needs:
        """Two engines, and whoever verifies, if anything is."""
        return Needs(scorers=(self.scorer,) if "verify" in self._actions.values() else (), engines=2)

    @property
    def heeds(self) -> tuple[str, ...]:
        """The kinds of events that something is done about."""
        return tuple(kind for kind, action in self._actions.items() if action != "ignore")

    def before_step(self, history: History) -> Plan:
        """Let the small engine write: a whole turn, or a step."""
        return Plan(engine=history.small, whole=bool(history.tools) if self.whole is None else self.whole)

    async def on_events(self, history: History, events: Sequence[Event], ask: Ask) -> Decision:
        """Do about the first event, in the order of precedence, what its option says."""
        action, event = self._first(events)
        if event is None:
            kinds = ", ".join(sorted({each.kind for each in events}))
            return Keep(reason=f"nothing is done about {kinds}")
        why = _Why.of(event)
        if action not in ("stop", "conclude") and (rest := self._rest(history)):
            return Keep(**why.also(rest))
        if action == "verify":
            return await self._verify(history, why, ask)
        return self._act(action, history, why)

    def _first(self, events: Sequence[Event]) -> tuple[Action, Event | None]:
        for kind, action in self._actions.items():
            if action != "ignore" and (event := next((each for each in events if each.kind == kind), None)):
                return action, event
        return "ignore", None

    def _rest(self, history: History) -> str:
        """Say why nothing may change hands yet, empty if it may."""
        reign = _Reign.of(history)
        if reign.engine != history.small:
            is_new = reign.turns < self.stay
            return f"{reign.engine} has had {reign.turns} of at least {self.stay} turns" if is_new else ""
        since = _num_turns(history, history.window)
        if history.window > 0 and self.dwell > 0 and since <= self.dwell:
            return f"{since} turns since the last hand-over, none before {self.dwell} are over"
        last = len(history.steps) - 1
        was_decided = self._decided(history, _turn_start(history, last), last) != "ignore"
        return "decided at an earlier step of the turn" if was_decided else ""

    async def _verify(self, history: History, why: _Why, ask: Ask) -> Decision:
        reign = _Reign.of(history)
        may_return = reign.engine != history.small and self._begun_by(history, reign) == "milestone"
        if reign.engine == history.large and not may_return:
            return Keep(**why.also(f"{reign.engine} writes already"))
        try:
            score = await ask.score(self.scorer, history.steps[-1])
        except SignalUnavailable as missing:
            passes = self.on_unreadable == "pass"
            why = why.because(f"no reading of {self.scorer} ({missing.reason}): {self.on_unreadable}")
        else:
            margin = (score.value or 0.0) - self.threshold
            passes = margin >= 0
            said = f"{self.scorer} {'passes' if passes else 'fails'} what was done"
            why = _Why(f"{why.reason}; {said}", (*why.signals, score), self.threshold, margin)
        if not passes:
            return self._act(self.on_failed, history, why)
        return Handback(**why.also("", "keep")) if may_return else Keep(**why.also("", "handoff"))

    def _begun_by(self, history: History, reign: _Reign) -> Action:
        """Return the action that the hand-over in force came of; `ignore` where no event of ours led to it."""
        action = self._decided(history, _turn_start(history, reign.since - 1), reign.since)
        return self.on_failed if action == "verify" else action

    def _decided(self, history: History, start: int, end: int) -> Action:
        """Return what was done about the first events behind the steps of these indices; `ignore` for none.

        The first alone count in a turn: what is wrong with a call may be noticed again behind the answer to it.
        """
        for step in range(start, end):
            action, event = self._first([each for each in history.events if each.step == step])
            if event is not None:
                return action
        return "ignore"

    def _act(self, action: Action, history: History, why: _Why) -> Decision:
        reign = _Reign.of(history)
        higher = history.engines[history.engines.index(reign.engine) + 1 :]
        match action:
            case "stop":
                return StopRun(**why.also("", "keep"))
            case "conclude":
                return Conclude(**why.also("", "keep"))
            case "ignore":
                return Keep(**why.also("nothing is done about that"))
            case "note" if reign.engine == history.small:
                return Handoff(engine=reign.engine, turns=1, note=self.note, **why.also("", "keep"))
            case "note":
                return self._at_top(history, reign, why)
        if not higher:
            return self._at_top(history, reign, why)
        note = self.plan if action == "replan" else self.note
        to_step = self._wrong_since(history) if action == "retake" else None
        turns = self._lasts(action)
        return Handoff(engine=higher[0], turns=turns, note=note, to_step=to_step, **why.also("", "keep"))

    def _wrong_since(self, history: History) -> int:
        """Return the index of the first step that is taken back."""
        start = _turn_start(history, len(history.steps) - 1)
        while self.over_errors and start > history.window and history.steps[start - 1].text.startswith(ERROR):
            start = _turn_start(history, start - 1)
        return start

    def _at_top(self, history: History, reign: _Reign, why: _Why) -> Decision:
        """Let the engine that was handed the run go on with it, on the same terms, or begin it anew."""
        if self.at_top == "restart" and _makes_again(history) and history.steps[0].writer != reign.engine:
            why = why.because(f"{reign.engine} makes the turn before it again")
            return Handoff(engine=reign.engine, turns=self.turns, to_step=0, **why.also("", "keep"))
        if self.at_top != "note" or reign.turns % self.stay:
            return Keep(**why.also(f"{reign.engine} goes on"))
        turns = self._lasts(self._begun_by(history, reign))
        return Handoff(engine=reign.engine, turns=turns, note=self.note, **why.also("", "keep"))

    def _lasts(self, action: Action) -> int | None:
        """Return the turns of a hand-over, None for one that ends otherwise."""
        return None if action in ("end", "milestone") else self.turns if action in ("turns", "retake") else 1


class _Reign(NamedTuple):
    """Who wrote last, and since when: an engine above the small one has been handed the run."""

    engine: str
    since: int
    """Index of its first step."""
    turns: int
    """Complete ones since then."""

    @classmethod
    def of(cls, history: History) -> _Reign:
        """Read it from the steps of the window: what was handed over before has ended."""
        engine, since = "", len(history.steps)
        for step in reversed(history.steps[history.window :]):
            if step.kind is StepKind.OBSERVATION:
                continue
            if engine not in ("", step.writer):
                break
            engine, since = step.writer, step.index
        return cls(engine or history.small, since, _num_turns(history, since))


def _num_turns(history: History, since: int) -> int:
    steps: Sequence[Step] = history.steps[since:]
    return sum(step.kind is StepKind.OBSERVATION for step in steps) if history.tools else len(steps)


def _turn_start(history: History, index: int) -> int:
    """Return the index of the first step of the turn that has this one."""
    while history.tools and index > 0 and history.steps[index - 1].kind is not StepKind.OBSERVATION:
        index -= 1
    return index


def _makes_again(history: History) -> bool:
    """Return whether the last turn is the one before it once more, which another engine wrote."""
    last = _turn_start(history, len(history.steps) - 1)
    before = _turn_start(history, last - 1)
    pair = history.steps[before:last], history.steps[last:]
    turns = [[step.text for step in turn] for turn in pair]
    return last > 0 and turns[0] == turns[1] and history.steps[before].writer != history.steps[last].writer


class _Why(NamedTuple):
    """What a decision rests on."""

    reason: str
    signals: tuple[Signal, ...] = ()
    threshold: float | None = None
    margin: float | None = None

    @classmethod
    def of(cls, event: Event) -> _Why:
        """Return what an event says; its reading is a signal like any other."""
        reason = f"{event.kind}: {event.reason}"
        if event.value is None:
            return cls(reason)
        margin = None if event.threshold is None else event.value - event.threshold
        return cls(reason, (Signal(event.kind, None, raw=event.value),), event.threshold, margin)

    def because(self, more: str) -> _Why:
        """Return the same with more of a reason."""
        return self._replace(reason=f"{self.reason}; {more}")

    def also(self, more: str, *alternatives: str) -> dict[str, Any]:
        """Return it as the fields of a decision, with more of a reason and the actions that were open besides."""
        why = self.because(more) if more else self
        return {**why._asdict(), "alternatives": alternatives}
