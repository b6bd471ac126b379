"""What people search texts for: words, "phrases" and the beginnings of words, all of which must occur.

A word is a run of letters and digits, whatever its case and accents; all else parts words, so `98*6` and `\\boxed{42}`
are phrases of two words. Where a script puts no spaces, each of its letters is a word. Everything in what people type
but quotes, and a `*` behind a word of two letters or more, is data.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple
from unicodedata import combining, normalize

from orchestrator.errors import UserError

__all__ = ["MAX_WORDS", "Wanted", "indexed"]

MAX_WORDS = 64
"""Words that a search may have."""

_ALONE = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_ALONE}]|(?:[^\W_{_ALONE}]|[\u0300-\u036f])+")
_ASCII_WORD = re.compile("[0-9a-z]+")
_PART = re.compile(r'"([^"]*)"?|[^\s"]+')
_QUOTED = 40


class Wanted(NamedTuple):
    """Phrases, each of at least one word; all must occur."""

    phrases: tuple[tuple[str, ...], ...]
    begun: tuple[bool, ...]
    """Whether the last word of a phrase may go on."""

    @classmethod
    def of(cls, typed: str) -> Wanted:
        """Read what was typed. Raises UserError where there is no word in it, or there are more than MAX_WORDS."""
        phrases, begun = [], []
        for part in _PART.finditer(typed):
            said = (part[0] if part[1] is None else part[1]).rstrip()
            words = tuple(word for word, _, _ in _words(said))
            if words:
                phrases.append(words)
                begun.append(said.endswith("*") and _ends_word(said[:-1]) and len(words[-1]) > 1)
            if sum(map(len, phrases)) > MAX_WORDS:
                raise UserError(f"a search takes up to {MAX_WORDS} words: leave some away")
        if not phrases:
            shown = typed if len(typed) <= _QUOTED else typed[:_QUOTED] + "…"
            raise UserError(f'nothing to search for in {shown!r}: give a word, a number or a "phrase"')
        return cls(tuple(phrases), tuple(begun))

    def expression(self) -> str:
        """Return what FTS5 matches by; a word holds nothing that could end its quotes."""
        return " AND ".join(
            f'"{" ".join(words)}"{" *" if may_go_on else ""}'
            for words, may_go_on in zip(self.phrases, self.begun, strict=True)
        )

    def marks(self, text: str) -> list[tuple[int, int]]:
        """Return where in `text` the phrases are, as beginnings and ends, in order; nothing unless all occur."""
        if text.isascii() and not self._may_be_in(text.lower()):
            return []
        words = [*_words(text)]
        marks: list[tuple[int, int]] = []
        for phrase, may_go_on in zip(self.phrases, self.begun, strict=True):
            found = [*_places(words, phrase, may_go_on)]
            if not found:
                return []
            marks += found
        return sorted(set(marks))

    def _may_be_in(self, lower: str) -> bool:
        return all(word in lower for phrase in self.phrases for word in phrase)


def indexed(text: str) -> str:
    """Return `text` as FTS5's `ascii` tokenizer has to be given it to find the same words in it."""
    return text if text.isascii() else " ".join(word for word, _, _ in _words(text))


def _words(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield each word in the form that is compared, and where it is."""
    if text.isascii():
        for found in _ASCII_WORD.finditer(text.lower()):
            yield found[0], found.start(), found.end()
        return
    for found in _WORD.finditer(text):
        for word in _WORD.findall(_plain(found[0])):
            yield word, found.start(), found.end()


def _plain(word: str) -> str:
    if word.isascii():
        return word.lower()
    parted = normalize("NFKD", normalize("NFKD", word).casefold())
    return "".join(letter for letter in parted if not combining(letter))


def _ends_word(said: str) -> bool:
    return bool(_WORD.fullmatch(said[-1:]))


def _places(words: list[tuple[str, int, int]], phrase: tuple[str, ...], may_go_on: bool) -> Iterator[tuple[int, int]]:
    *begin, last = phrase
    for place in range(len(words) - len(begin)):
        end = words[place + len(begin)]
        if not (end[0].startswith(last) if may_go_on else end[0] == last):
            continue
        if all(words[place + number][0] == word for number, word in enumerate(begin)):
            yield words[place][1], end[2]
