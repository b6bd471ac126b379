"""Tell engines of tools, and find the calls in what they wrote: only what is outside the thought is said."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.engines.spec import ToolPrompt
from orchestrator.runtime.run import Run
from orchestrator.think_tags import CLOSES, said
from orchestrator.tools.base import Called
from orchestrator.tools.toolset import Toolset
from orchestrator.types import Message, Step

__all__ = ["called_in", "is_call", "told_of"]


def told_of(messages: Sequence[Message], tools: Toolset, prompt: ToolPrompt) -> tuple[Message, ...]:
    """Return the task's messages with the tools in the system's; a template that is given them tells by itself."""
    if prompt.is_native:
        return tuple(messages)
    told = tools.describe()
    first, *others = messages
    if first.role == "system":
        return (Message("system", f"{first.content}\n\n{told}"), *others)
    return (Message("system", told), *messages)


def is_call(run: Run, text: str, *, is_thinking: bool) -> bool:
    """Say whether a step that an engine began inside a thought, or not, calls tools; a call that is broken does."""
    return run.may_act and run.tools is not None and run.tools.has_call(_outside(text, is_thinking=is_thinking))


def _outside(text: str, *, is_thinking: bool) -> str:
    """Return what is outside the thought."""
    _, closed, behind = text.rpartition(CLOSES)
    return behind if closed else "" if is_thinking else text


def called_in(run: Run, step: Step) -> list[Called]:
    """Return the calls in a step that is an action."""
    assert run.tools is not None
    return run.tools.calls_in(said(step.text))
