"""What a tool is: something an agent may do besides thinking, described so that an engine can ask for it.

The rest of the house knows tools only through this file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

__all__ = ["ERROR", "Called", "Observation", "Tool"]

ERROR = "error: "
"""How the text of an observation begins that tells of an error."""


class Called(NamedTuple):
    """One call of a tool, as an engine wrote it."""

    name: str
    """Empty where the text was no call at all."""
    arguments: Mapping[str, Any]
    """By name, checked against the tool's schema and converted; empty where `error` says why there are none."""
    error: str = ""
    """What is wrong with the call, for the engine to read: no such tool, wrong arguments, malformed. Empty if it can
    be made."""


class Observation(NamedTuple):
    """What a tool answered."""

    text: str
    """It begins with ERROR where something went wrong. Engines are given it printable, and within the tool's cap."""
    seconds: float = 0.0
    is_error: bool = False


class Tool(Protocol):
    """Something that can be called.

    It may have `settings()`, a table of what else shapes its answers, without secrets: a run is resumed only with tools
    of the same; `max_chars`, at least 100: an answer is cut there, or at 4000 characters; and `timeout_s`, above 0: a
    call that takes longer, or longer than 30 seconds, is cancelled, and a second later left behind. One that blocks
    the loop blocks the run.
    """

    name: str
    """Letters, digits, _ and -, no digit or - at its beginning; at most 64."""
    description: str
    """One sentence, for the engine."""
    parameters: Mapping[str, Any]
    """JSON schema of its arguments: an object."""
    is_idempotent: bool
    """May be made again where a process died and nobody knows whether it was made."""
    needs_approval: bool
    """A person is asked before every call."""

    def check(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the arguments converted to the tool's types. Raises BadCall, whose text the engine can read.

        Whatever else it raises is told to the engine, too, with its class.
        """
        ...

    async def __call__(self, arguments: Mapping[str, Any]) -> Observation:
        """Make the call. Whatever it raises but its own cancellation is made into the observation."""
        ...
