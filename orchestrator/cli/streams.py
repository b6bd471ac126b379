"""Results on stdout, everything else on stderr; nothing printed can crash on or disturb a terminal."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from orchestrator.runtime.visible import visible

__all__ = ["fail", "note", "prepare", "say", "say_json", "to_json"]


def prepare() -> None:
    """Let both streams spell out what their encoding lacks instead of raising."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def say(text: str) -> None:
    """Print a result, made harmless to a terminal."""
    click.echo(visible(text))


def to_json(value: Any) -> str:
    """Return `value` as one line of ASCII: control characters and broken text stay data."""
    return json.dumps(value, separators=(",", ":"))


def say_json(value: Any) -> None:
    """Print a result as one line of JSON."""
    click.echo(to_json(value))


def note(text: str) -> None:
    """Print a line for people."""
    click.echo(visible(text), err=True)


def fail(message: str) -> None:
    """Print an error on one line."""
    click.echo(f"error: {visible(' '.join(message.split()))}", err=True)
