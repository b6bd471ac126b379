"""Which handbook a command is about, and what of it: its flags, the file opened, and what else they name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.source import config_flag, db_flag
from orchestrator.errors import StoreError, UserError

if TYPE_CHECKING:
    from orchestrator.engines.embedding import EmbeddingSpec
    from orchestrator.memory.handbook import Handbook

__all__ = ["embedding_of", "handbook_flag", "handbook_flags", "name_flag", "named", "reading", "writing"]

_DIGITS = 18
"""Of the largest number that SQLite can be asked for."""

name_flag = click.option(
    "--name", default="default", show_default=True, metavar="NAME", help="Which handbook of the file."
)
handbook_flag = click.option(
    "--handbook", "file", metavar="FILE", help="The handbook's file; the config's or the journal's unless given."
)


def handbook_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the flags that `reading` and `writing` look at."""
    return config_flag(db_flag(handbook_flag(name_flag(command))))


@contextmanager
def reading(given: Mapping[str, Any]) -> Iterator[Handbook]:
    """Open the handbook that the flags name, beside whoever writes it. Raises UserError where there is none."""
    from orchestrator.memory.handbook import Handbook
    from orchestrator.memory.store import Store

    with _naming_its_flag(), Store(_made(_path(given)), readonly=True) as store:
        yield Handbook(store, given["name"])


@contextmanager
def writing(given: Mapping[str, Any], *, makes: bool = False) -> Iterator[Handbook]:
    """Open the handbook to change it; a file that is not there is made by what puts something in, only."""
    from orchestrator.memory.handbook import Handbook
    from orchestrator.memory.store import Store

    path = _path(given)
    with _naming_its_flag(), Store(path if makes else _made(path)) as store:
        yield Handbook(store, given["name"])


def named(text: str) -> int | str:
    """Return a number as one: of a behavior or a change; anything else is a name, a number that none can have, too."""
    from orchestrator.visible import visible

    return int(text) if text.isdecimal() and len(text) <= _DIGITS else visible(text)


def embedding_of(given: Mapping[str, Any]) -> EmbeddingSpec | None:
    """Return the embedding of the configuration; None where there is none."""
    from orchestrator.config import load

    return load(given["config"]).embedding


def _path(given: Mapping[str, Any]) -> Path | str:
    """Return the handbook's file: that of --handbook, else of the configuration, else the journal's."""
    from orchestrator.cli.stored import journal_path
    from orchestrator.config import load

    return given["file"] or load(given["config"]).run.handbook or journal_path(given)


@contextmanager
def _naming_its_flag() -> Iterator[None]:
    """Let what is wrong with a file name the flag that a handbook is chosen with."""
    try:
        yield
    except StoreError as error:
        raise type(error)(str(error).replace("--db", "--handbook")) from error


def _made(path: Path | str) -> Path | str:
    if not Path(path).exists():
        raise UserError(f"no handbook at {path}: `handbook add`, `import` or `learn` makes one")
    return path
