"""What people read: text of engines and strangers, made harmless to a terminal and visible, and how many of what."""

from __future__ import annotations

from unicodedata import category

__all__ = ["counted", "first_words", "visible"]

_HARMLESS = {"\n", "\t", "\u200c", "\u200d"}  # joiners belong to Persian words and to emoji


def visible(text: str) -> str:
    """Return `text` with everything that could move the cursor, reorder letters or hide spelled out.

    That is control characters and terminal escapes, bidirectional controls, invisible and unassigned
    characters, and lone surrogates: each becomes its Python escape, such as `\\x1b`. Line breaks,
    tabs and backslashes stay, so the result cannot be turned back into the original.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(letter if _is_harmless(letter) else ascii(letter)[1:-1] for letter in text)


def first_words(text: str, limit: int) -> str:
    """Return the beginning of `text` on one line, at most `limit` characters, made visible."""
    # What is cut off is not looked at: steps can be long and their first words are short.
    line = " ".join(visible(text[: 8 * limit].strip()).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def counted(number: int, noun: str) -> str:
    """Return how many there are of what: `1 run`, `2 runs`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _is_harmless(letter: str) -> bool:
    return letter.isprintable() or letter in _HARMLESS or category(letter) == "Zs"
