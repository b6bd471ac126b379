"""Who puts something into a handbook from which no run recalls is told how runs would."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from orchestrator.cli.handbook_file import place_of
from orchestrator.cli.streams import note

if TYPE_CHECKING:
    from orchestrator.memory.handbook import Place

__all__ = ["hint", "hint_at_recall"]


def hint_at_recall(given: Mapping[str, Any]) -> None:
    """Say how runs recall from the handbook that the flags name, unless the configuration names it, too."""
    from orchestrator.config import load
    from orchestrator.memory.handbook import Place

    said = load(given["config"]).run.handbook
    hint(place_of(given), Place.of(said) if said else None)


def hint(place: Place, recalled: Place | None, *, in_python: bool = False) -> None:
    """Say how runs recall from `place`, unless it is where they do: `recalled`, None for nowhere."""
    if recalled is not None and (_absolute(place), place.name) == (_absolute(recalled), recalled.name):
        return
    flag = f"--handbook {quote(str(place))}, or `handbook` in [run]"
    note(f"runs recall it with {f'handbook={str(place)!r} of the Pipeline' if in_python else flag}")


def _absolute(place: Place) -> Path:
    return Path(place.file).absolute()
