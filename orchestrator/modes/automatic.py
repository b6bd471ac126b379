"""What `auto` means: the policy that decides by itself how much to think, by one of five signs.

- `kind` (the default): answer without thinking and think where the answer is doubted, but make no such first try at
  kinds of task where none has stood;
- `first-try`: the same for every task, whatever earlier ones came to;
- `agreement`: force a few answers before anything is written and think where they differ;
- `self`: ask the engine;
- `history`: always think, for as long as similar tasks took.

A first try is the default because its gate reads what was really written, and its mistakes are of the cheap sort: a
doubt that was wrong costs a few tokens, never an answer. Its gate is `written`, how sure the engine was of the tokens
of its answer: on the pocket pair that told right answers from wrong ones better than answers that are forced again,
alone or several that agree, and it takes nothing (results/pocket-1-modes-hard). How sure is enough differs from engine
to engine, and no published threshold says it: calibrate it, or set it with care. Where an engine shows no logprobs
every task is thought about, and the trace says why; take the gate `agreement` there.

A first try pays only where it stands more often than its tokens are to those of a thought, and `kind` learns where.
Where half the tasks need no thought it had 76% of what the best modes save, calibrated to cost three quarters of a
point of accuracy and costing 0.1 (results/pocket-1-modes). Where one first try in sixteen is right, making one at every
task took 8 to 9% more tokens than always thinking, and `kind` at most 0.4% (results/pocket-1-modes-hard).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal

from orchestrator.errors import UserError
from orchestrator.modes.agreement import Agreement
from orchestrator.modes.base import ModePolicy
from orchestrator.modes.by_kind import FirstTryByKind
from orchestrator.modes.first_try import FirstTry
from orchestrator.modes.lengths import Lengths
from orchestrator.modes.self_classified import SelfClassified
from orchestrator.options import check_choice

__all__ = ["auto"]

BY: Mapping[str, Callable[..., ModePolicy]] = {
    "kind": FirstTryByKind,
    "first-try": partial(FirstTry, gate="written", threshold=0.9),
    "agreement": Agreement,
    "self": SelfClassified,
    "history": Lengths,
}


def auto(
    by: Literal["kind", "first-try", "agreement", "self", "history"] = "kind",
    threshold: float | None = None,
    engine: str | None = None,
) -> ModePolicy:
    """Return the policy that decides `by` this sign; its other options are to be had from the class itself.

    `threshold` and `engine` are that policy's own, None for its defaults; first tries have to be written with 0.9.
    Raises UserError for a sign there is not, or one that has no such option.
    """
    check_choice("auto", {"by": by}, by=tuple(BY))
    if by == "kind" and engine is not None:
        raise UserError("auto: kind asks nobody, so there is no engine")
    given = {"threshold": threshold, "engine": engine}
    options = {name: value for name, value in given.items() if value is not None}
    if by == "history" and options:
        raise UserError(f"auto: history asks nobody, so there is no {' and no '.join(options)}: use lengths(...)")
    return BY[by](**options)
