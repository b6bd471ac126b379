"""How a conversation is laid out for a model that brings no chat template."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.types import Message

__all__ = ["interject", "render"]


def render(messages: Sequence[Message]) -> str:
    """Return `Role: content` paragraphs and an open `Assistant:` line, which the reply follows."""
    return "".join(f"{message.role.capitalize()}: {message.content}\n\n" for message in messages) + "Assistant:"


def interject(role: str, content: str, prefill: str) -> str:
    """Return what closes the assistant's paragraph, lets `role` say `content` and begins a reply with `prefill`."""
    reply = f" {prefill}" if prefill else ""
    return f"\n\n{role.capitalize()}: {content}\n\nAssistant:{reply}"
