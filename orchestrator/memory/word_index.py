"""How behaviors lie in the indexes of their words: one of those that may be recalled, one of those that are gone.

What is gone is looked up so that it is not learned again. Apart, neither crowds the other out, nor tells how rare a
word of the other is. A handbook's rows are a span of an index, so what other handbooks of the file hold is never read,
and the section of a row is one more word of it, which no text and no question can hold.

These statements are part of a migration: once released, they are never edited.
"""

from __future__ import annotations

from typing import Literal

__all__ = ["TRIGGERS", "Index", "filled", "id_in", "span", "topic"]

Index = Literal["behavior_words", "retired_words"]

_BITS = 40
"""Bits of a behavior's id in the number of its row."""
_MARK = "\ue000"
"""For private use: FTS5 takes it for a letter, Python's \\w does not."""
_SAID = ("name", "instruction", "section")
_COLUMNS = f"{', '.join(_SAID)}, topic"
_HOLDS: dict[Index, str] = {
    "behavior_words": "{row}.is_active",
    "retired_words": "NOT {row}.is_active AND {row}.merged_into IS NULL",
}


def _values(row: str) -> str:
    mark = f"char({ord(_MARK)})"
    said = ", ".join(f"{row}.{column}" for column in _SAID)
    return f"({row}.handbook << {_BITS}) + {row}.id, {said}, {mark} || hex({row}.section) || {mark}"


def filled(schema: str = "main") -> list[str]:
    """Return what makes both indexes, of the behaviors that there are."""
    made = [
        f"CREATE VIRTUAL TABLE {schema}.{index} USING fts5 ({_COLUMNS}, content = '', tokenize = 'porter unicode61')"
        for index in _HOLDS
    ]
    return made + [
        f"INSERT INTO {schema}.{index} (rowid, {_COLUMNS}) SELECT {_values('row')} FROM behaviors AS row "
        f"WHERE {holds.format(row='row')}"
        for index, holds in _HOLDS.items()
    ]


def _on(event: str, *, forgets: bool = False, learns: bool = False) -> str:
    done = ""
    for index, holds in _HOLDS.items():
        if forgets:
            done += f"INSERT INTO {index} ({index}, rowid, {_COLUMNS}) SELECT 'delete', {_values('old')} "
            done += f"WHERE {holds.format(row='old')}; "
        if learns:
            done += f"INSERT INTO {index} (rowid, {_COLUMNS}) SELECT {_values('new')} "
            done += f"WHERE {holds.format(row='new')}; "
    return f"{event} BEGIN {done}END"


_OLD, _NEW = (
    ", ".join(f"{row}.{each}" for each in ("id", *_SAID, "is_active", "merged_into")) for row in ("old", "new")
)
TRIGGERS = (
    _on("CREATE TRIGGER behaviors_learned AFTER INSERT ON behaviors", learns=True),
    _on("CREATE TRIGGER behaviors_forgotten AFTER DELETE ON behaviors", forgets=True),
    _on(
        f"CREATE TRIGGER behaviors_reworded AFTER UPDATE ON behaviors WHEN ({_OLD}) IS NOT ({_NEW})",
        forgets=True,
        learns=True,
    ),
)
"""What keeps the indexes as the rows are."""


def span(handbook: int) -> tuple[int, int]:
    """Return the first and the last number that a row of a handbook can have in an index."""
    return handbook << _BITS, (handbook + 1 << _BITS) - 1


def id_in(row: int) -> int:
    """Return the behavior that a row of an index is of."""
    return row & (1 << _BITS) - 1


def topic(section: str) -> str:
    """Return the word that stands for a section."""
    return f"{_MARK}{section.encode('utf-8', 'surrogatepass').hex()}{_MARK}"
