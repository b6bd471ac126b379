"""Think as much as the user says: the modes that need no policy, and the policy that always chooses one of them.

Source: A2FM's three modes (instant, reasoning, agentic) and its rule that an instant answer has at most 300 words and
calls no tool. Differs: 300 words are 400 tokens here, and the modes are switches of the engine and of the runtime, not
grammars that an engine was trained on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from orchestrator.doors import Ask
from orchestrator.errors import UnknownName, UserError
from orchestrator.modes.base import Chosen
from orchestrator.options import check_texts
from orchestrator.types import History, Mode

__all__ = [
    "AGENTIC",
    "AS_IT_IS",
    "FIXED",
    "INSTANT",
    "NO_THINK",
    "REFUSE",
    "THINK",
    "Fixed",
    "budgeted",
    "fallback_mode",
    "fixed_of",
    "parted",
    "thinking_of",
]

INSTANT = Mode(name="instant", think=False, tools=False, max_tokens=400)
NO_THINK = Mode(name="no_think", think=False)
THINK = Mode(name="think", think=True)
AGENTIC = Mode(name="agentic", needs_tools=True)
FIXED = {mode.name: mode for mode in (INSTANT, NO_THINK, THINK, AGENTIC)}


AS_IT_IS = "as-it-is"
"""The mode that switches nothing: a fallback."""
REFUSE = "refuse"
"""The fallback that is none."""


@dataclass(frozen=True, kw_only=True)
class Fixed:
    """Choose the same mode for every task."""

    mode: Mode

    async def choose(self, history: History, ask: Ask) -> Chosen:
        """Choose it; nobody is asked."""
        return Chosen(self.mode, "as asked for")


def parted(text: str) -> tuple[str, str | None]:
    """Return the name and what stands in the brackets behind it, None where there are none. Raises UserError."""
    name, bracket, rest = text.strip().partition("(")
    if bracket and not rest.endswith(")"):
        raise UserError(f"mode {text[:40]!r} has a bracket that is not closed: write it like think(512)")
    return name.strip(), rest[:-1].strip() if bracket else None


def fixed_of(text: str) -> Mode:
    """Return the mode that is written so: a name, or one with a budget such as `think(512)`.

    Raises UnknownName, listing all names, or UserError for what is no budget.
    """
    name, inner = parted(text)
    if name not in FIXED:
        raise UnknownName(f"no fixed mode named {name[:40]!r}; known: {', '.join(sorted(FIXED))}, think(BUDGET)")
    return FIXED[name] if inner is None else budgeted(FIXED[name], inner)


def fallback_mode(text: str) -> Mode | None:
    """Return the mode that is written so, where another cannot be had; None for `refuse`.

    Raises UnknownName, listing all names, or UserError for what is no budget.
    """
    if text in (AS_IT_IS, REFUSE):
        return Mode(name=AS_IT_IS) if text == AS_IT_IS else None
    try:
        return fixed_of(text)
    except UnknownName as error:
        raise UnknownName(f"{error}, {AS_IT_IS}, {REFUSE}") from error


def budgeted(mode: Mode, budget: str | int) -> Mode:
    """Return the mode with so many tokens of thought, which its name tells. Raises UserError."""
    written = str(budget)[:40]
    if mode.think is False:
        raise UserError(f"mode {mode.name}({written}): {mode.name} has no thought to limit; write {mode.name}")
    is_number = written.isascii() and written.isdigit() and 0 < int(written) < 1 << 53
    if not is_number:
        raise UserError(
            f"mode {mode.name}({written}): a budget is a whole number of tokens above 0, as in {mode.name}(512)"
        )
    return replace(mode, name=f"{mode.name}({int(written)})", budget=int(written))


def thinking_of(policy: str, then: str) -> Mode:
    """Return the mode that is written so, the option `then` of a policy. Raises UserError if it does not think."""
    check_texts(policy, {"then": then}, then="")
    mode = fixed_of(then)
    if mode.think is False:
        raise UserError(f"{policy}: then = {then!r} does not think: give think, think(BUDGET) or agentic")
    return mode
