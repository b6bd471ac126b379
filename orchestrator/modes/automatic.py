"""What `auto` means: the policy that decides by itself how much to think, by one of four signs.

- `first-try` (the default): answer without thinking and think where the answer is doubted;
- `agreement`: force a few answers before anything is written and think where they differ;
- `self`: ask the engine;
- `history`: always think, for as long as similar tasks took.

The first try is the default because its gate reads what was really written, and its mistakes are of the cheap kind: a
doubt that was wrong costs a few tokens, never an answer. Its gate is agreement because that needs no scorer and no
logprobs, and is a share, which means the same for every engine; how much of it is enough does not: the published
thresholds are none, so calibrate it, or set it with care.
"""

from __future__ import annotations

from typing import Literal

from orchestrator.errors import UserError
from orchestrator.modes.agreement import Agreement
from orchestrator.modes.base import ModePolicy
from orchestrator.modes.first_try import FirstTry
from orchestrator.modes.gate import check_choice
from orchestrator.modes.lengths import Lengths
from orchestrator.modes.self_classified import SelfClassified

__all__ = ["auto"]

BY = {"first-try": FirstTry, "agreement": Agreement, "self": SelfClassified, "history": Lengths}


def auto(
    by: Literal["first-try", "agreement", "self", "history"] = "first-try",
    threshold: float | None = None,
    engine: str | None = None,
) -> ModePolicy:
    """Return the policy that decides `by` this sign; its other options are to be had from the class itself.

    `threshold` and `engine` are that policy's own, None for its defaults. Raises UserError for a sign there is not, or
    one that has no such option.
    """
    check_choice("auto", "by", by, tuple(BY))
    given = {"threshold": threshold, "engine": engine}
    options = {name: value for name, value in given.items() if value is not None}
    if by == "history" and options:
        raise UserError(f"auto: history asks nobody, so there is no {' and no '.join(options)}: use lengths(...)")
    policy: ModePolicy = BY[by](**options)
    return policy
