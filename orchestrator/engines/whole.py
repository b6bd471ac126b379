"""Make a completion's text exactly the decoding of its ids.

Servers cut the text at a stop string but not the ids, and a token limit may fall inside a character.
Here what the last token carries past the stop string comes back into the text, the ids of half a
character go, and an end-of-text id goes with its text. The texts of single tokens are remembered, so
that a warm step costs no request; wherever they do not settle the matter, the engine decodes the ids.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence

from orchestrator.types import Stop

__all__ = ["Decode", "Pieces", "whole"]

Decode = Callable[[Sequence[int]], Awaitable[str]]
"""Ids to text; bytes that are no character become U+FFFD."""

_BROKEN = "\ufffd"
_LONGEST_CHARACTER = 4  # bytes of UTF-8, and so the most tokens one character can take


class Pieces:
    """The texts of single tokens of one tokenizer."""

    def __init__(self, decode: Decode) -> None:
        self.decode = decode
        self._texts: dict[int, str] = {}

    async def of(self, id_: int) -> str:
        """Return the text of one token; it holds U+FFFD where the token is part of a character."""
        text = self._texts.get(id_)
        if text is None:
            text = self._texts[id_] = await self.decode([id_])
        return text

    async def joined(self, ids: Sequence[int]) -> str:
        """Return the texts of `ids` put together."""
        return "".join([await self.of(id_) for id_ in ids])


async def whole(
    text: str | None, ids: Sequence[int], stop: Stop, stop_text: str, pieces: Pieces, *, has_end: bool = False
) -> tuple[str, list[int]]:
    """Return (text, ids) such that text is the decoding of ids.

    `text` is the server's, with or without the stop string; None where it may lack something else.
    `has_end` says that the last id is the end-of-text token; `text` may end with what it spells.
    """
    if has_end and ids:
        text = None if text is None else text.removesuffix(await pieces.of(ids[-1]))
        ids = ids[:-1]
    ids = list(ids)
    if not ids:
        return "", ids
    if stop is Stop.LENGTH and (await pieces.of(ids[-1])).endswith(_BROKEN):
        return await _without_half_character(ids, pieces)
    if text is not None and stop is Stop.DELIMITER:
        text = await _with_carried(text.partition(stop_text)[0], ids, stop_text, pieces)
    if text is None or text.endswith(_BROKEN):
        text = await pieces.decode(ids)
    return text, ids


async def _without_half_character(ids: list[int], pieces: Pieces) -> tuple[str, list[int]]:
    """Drop the ids of a last character that is not complete.

    Bytes that cannot begin a character at all are kept, as U+FFFD: more tokens would not mend them.
    """
    for kept in range(len(ids), max(-1, len(ids) - _LONGEST_CHARACTER), -1):
        text = await pieces.decode(ids[:kept]) if kept else ""
        if not text.endswith(_BROKEN):
            return text, ids[:kept]
    return await pieces.decode(ids), ids


async def _with_carried(head: str, ids: list[int], stop_text: str, pieces: Pieces) -> str | None:
    """Return `head`, the stop string and what the last token carries past it; None if that is not certain.

    The stop string may begin in earlier tokens, and it ends inside the last: the texts of earlier
    tokens are consulted until one possibility is left.
    """
    possible = list(_possible(head, stop_text, await pieces.of(ids[-1])))
    behind = 0  # characters of the tokens already consulted
    for id_ in reversed(ids):
        piece = await pieces.of(id_)
        if _BROKEN in piece:
            return None
        possible = [text for text in possible if text[: len(text) - behind].endswith(piece)]
        behind += len(piece)
        if len(possible) <= 1:
            return possible[0] if possible else None
    return next((text for text in possible if len(text) == behind), None)


def _possible(head: str, stop_text: str, last: str) -> Iterator[str]:
    """Yield every text whose first stop string stands behind `head` and ends inside the piece `last`."""
    for carried in range(len(last)):
        text = head + stop_text + last[len(last) - carried :]
        if text.endswith(last) and text.find(stop_text, max(0, len(head) - len(stop_text))) == len(head):
            yield text
