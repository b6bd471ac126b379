"""Stop thinking early at a risk that was asked for: of all runs, at most so many end their thought by mistake.

A signal, one of the other exits, looks; its threshold is chosen for the risk by what it read on calibration tasks that
were thought about to the end. The guarantee is for whole runs, however often each of them is looked at. The file says
what is a mistake: a wrong answer, or one where the whole thought would have come to a right one.

Source: LYNX, arXiv:2512.05325: split conformal thresholds for exits, with the risk as the user's only dial. Differs:
- LYNX's level is per look and class; here the points are tasks, each with the highest score of its wrong answers, so
  that the chance that a run ends wrongly is at most the risk, though it is looked at many times;
- its probe reads hidden states, which servers do not show; a trial answer's confidence stands for it;
- too few tasks for the risk are refused with the number that is needed (there the rank is clipped);
- what a signal raises besides, as `convergence` does where thoughts do not agree, is no part of the guarantee;
- without a calibration the signal's published threshold runs, and every event says `uncalibrated`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

from orchestrator.document import Kind
from orchestrator.doors import Ask, Needs
from orchestrator.errors import BadConfig, UserError
from orchestrator.monitors.convergence import Convergence
from orchestrator.monitors.exit_file import KIND, ExitFile, threshold_of
from orchestrator.monitors.exits import OVERTHINKING, UNCALIBRATED
from orchestrator.monitors.saturation import Saturation
from orchestrator.monitors.trial_answer import TrialAnswer
from orchestrator.options import check_choice, check_range, check_texts
from orchestrator.tables import Origin, built
from orchestrator.types import Event, History

__all__ = ["NOT_IN_FILE", "SIGNALS", "Exit", "Overthinking"]

Exit = TrialAnswer | Saturation | Convergence
SIGNALS: Mapping[str, type[Exit]] = {
    "trial-answer": TrialAnswer,
    "saturation": Saturation,
    "convergence": Convergence,
}
NOT_IN_FILE = ("threshold", "acts")
"""Options of a signal that its readings do not depend on: the calibration says them."""


@dataclass(frozen=True, kw_only=True)
class Overthinking:
    """Raise `overthinking` where a signal reads so high that at most `risk` of all runs end by mistake."""

    risk: float = 0.05
    """In (0, 1): the chance that a run ends its thought by mistake."""
    signal: str = "trial-answer"
    """Which exit looks; one of SIGNALS."""
    file: str = ""
    """What `orchestrator calibrate-exits` wrote for these engines; empty: the published threshold, uncalibrated."""
    confidence: float | None = None
    """The risk holds for all but so few draws of the calibration tasks, such as 0.95; None: on average over them."""
    learnt: ExitFile | None = field(default=None, metadata={"is_option": False})
    """What the file holds, once it has been read."""

    def __post_init__(self) -> None:
        check_choice("overthinking", self, signal=tuple(SIGNALS))
        check_texts("overthinking", self, file="")
        check_range("overthinking", self, risk="(0, 1)", confidence="(0, 1)")
        if self.learnt is not None and self.learnt.signal != self.signal:
            raise BadConfig(
                f"overthinking: {self.file} was made with signal = {self.learnt.signal!r}, not {self.signal!r}; "
                "give the same, or calibrate again"
            )

    def with_file(self, read: Callable[[str, Kind], object]) -> Overthinking:
        """Return the monitor with what its file holds; itself if it has none, or was read before.

        Raises UserError for a file that has too few tasks for the risk or is of another signal, and what `read` raises.
        """
        if self.learnt is not None or not self.file:
            return self
        found = read(self.file, KIND)
        if not isinstance(found, ExitFile):
            raise BadConfig(f"overthinking: {self.file} holds no calibrated exits; `{KIND.maker}` makes them")
        known = replace(self, learnt=found)
        _ = known.exit
        return known

    @cached_property
    def exit(self) -> Exit:
        """The signal with its threshold, under the options that it was calibrated with."""
        if self.learnt is None:
            if self.file:
                raise UserError("overthinking: its file was not read; give it to a Pipeline, or call with_file")
            return SIGNALS[self.signal]()
        origin, options, place = Origin(f"overthinking: {self.file}", {}), self.learnt.options, ("signal", "options")
        try:
            threshold = threshold_of(self.learnt.worst, self.risk, self.confidence)
        except UserError as error:
            raise BadConfig(f"{origin.file}: {error}") from error
        known = [each.name for each in fields(SIGNALS[self.signal]) if each.name not in NOT_IN_FILE]
        origin.check_keys(options, known, *place)
        made: Exit = built(SIGNALS[self.signal], {**options, "threshold": threshold}, origin, *place)
        return made

    @property
    def raises(self) -> tuple[str, ...]:
        """What the signal raises."""
        return SIGNALS[self.signal].raises

    @property
    def needs(self) -> Needs:
        """What the signal needs."""
        return SIGNALS[self.signal].needs

    @property
    def engine(self) -> str:
        """Whom the signal asks besides the writer; empty for nobody."""
        return getattr(self.exit, "engine", "")

    @property
    def is_late(self) -> bool:
        """Whether the signal is heard one step later."""
        return getattr(self.exit, "is_late", False)

    @property
    def pair(self) -> Mapping[str, Any] | None:
        """The engines it was calibrated for; None without a file."""
        return None if self.learnt is None else self.learnt.pair

    @property
    def under(self) -> Mapping[str, Any]:
        """What it was calibrated under, besides the pair; empty without a file."""
        return {} if self.learnt is None else self.learnt.under

    @property
    def fitted_on(self) -> tuple[str, ...]:
        """Fingerprints of the tasks it was calibrated on."""
        return () if self.learnt is None else self.learnt.fitted_on

    async def look(self, history: History, ask: Ask) -> Event | None:
        """Look as the signal does, and say what its threshold is good for."""
        event = await self.exit.look(history, ask)
        if event is None or event.kind != OVERTHINKING or self.learnt is None:
            return event
        reason = event.reason.removesuffix(UNCALIBRATED)
        return event._replace(reason=f"{reason}; risk {self.risk:g} ({self.learnt.mistake})")
