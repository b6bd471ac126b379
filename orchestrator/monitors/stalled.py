"""Notice that a run goes nowhere: its last step is empty, or says again what the one before said.

That is for thoughts, which nothing but more of them can change. An agent may make a call again on purpose, to wait or
to see what has changed, so its turns are never ended by this: where they go round in circles, `stuck` says so, and the
router does something about it.

Source: the stop rule of the SpecReason script (arXiv:2504.07891), an exact repeat. Differs: it
holds from the second step on (there from the third), and an empty step counts as well.
"""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.types import Event, History

__all__ = ["Stalled"]


@dataclass(frozen=True, kw_only=True)
class Stalled:
    """Raise `stalled` when the last step is blank or an exact repeat, surrounding white space aside."""

    raises = ("stalled",)

    def watch(self, history: History) -> Event | None:
        """Compare the last two steps."""
        last = history.steps[-1].text.strip()
        if not last:
            return Event("stalled", "the step is empty", ends_run=True)
        if len(history.steps) > 1 and history.steps[-2].text.strip() == last:
            return Event("stalled", "the step repeats the one before it", ends_run=True)
        return None
