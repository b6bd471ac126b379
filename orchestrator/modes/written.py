"""A mode as people write it: `think`, `think(512)`, `auto(agreement)`, `first-try(judge, threshold=0.9)`.

What stands in brackets is a budget for a fixed mode, and options for a policy: the first one may go without its name.
"""

from __future__ import annotations

from inspect import signature
from typing import Any

from orchestrator.errors import UserError
from orchestrator.modes import find
from orchestrator.modes.base import ModePolicy
from orchestrator.modes.fixed import Fixed, budgeted, parted
from orchestrator.types import Mode

__all__ = ["mode_of"]


def mode_of(mode: str | Mode | ModePolicy) -> ModePolicy:
    """Return the policy that `mode` stands for; a mode that is fixed becomes the policy that always chooses it.

    Raises UnknownName, listing all names, or UserError for options that are none.
    """
    if isinstance(mode, Mode):
        return Fixed(mode=mode)
    if not isinstance(mode, str):
        if isinstance(mode, type) or not hasattr(mode, "choose"):
            raise UserError(f"a mode is a name, a Mode or a policy with `choose`, not {mode!r:.60}")
        return mode
    name, inner = parted(mode)
    found = find(name)
    if isinstance(found, Mode):
        return Fixed(mode=found if inner is None else budgeted(found, inner))
    policy: ModePolicy | None = found(**_options(name, found, inner or "")) if callable(found) else None
    if policy is None or not hasattr(policy, "choose"):
        raise UserError(f"mode {name!r} is {found!r:.60}, no Mode and nothing that makes a policy: mend its package")
    return policy


def _options(name: str, policy: Any, inner: str) -> dict[str, Any]:
    """Return the options that are written, each of the type that the policy says."""
    hints = {name: each.annotation for name, each in signature(policy, eval_str=True).parameters.items()}
    known = list(hints)
    options: dict[str, Any] = {}
    for place, part in enumerate(inner.split(",") if inner else ()):
        option, equals, value = (each.strip() for each in part.partition("="))
        if not equals and place == 0 and known:
            option, value = known[0], option
        if option not in known or option in options:
            wrong = "is given twice" if option in options else "is none"
            raise UserError(f"mode {name}: option {option[:40]!r} {wrong}; known: {', '.join(known) or 'none'}")
        options[option] = _value(name, option, hints[option], value)
    return options


def _value(name: str, option: str, hint: Any, text: str) -> Any:
    # Late: a quarter of a second that `--help` does not need.
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    try:
        return TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True)).validate_strings(text)
    except ValidationError as error:
        wanted = " or ".join(dict.fromkeys(each["msg"].removeprefix("Input should be ") for each in error.errors()))
        raise UserError(f"mode {name}: {option} must be {wanted}, not {text[:40]!r}") from None
