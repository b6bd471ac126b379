"""Does a text give orders to an engine, or hold the marks by which an engine tells who speaks?

Both are looked for in the text as an engine would read it: letters of full width are plain ones, and joiners, which
nobody sees, are not there. What is shown to an engine is kept readable, and its marks are broken by a space, because a
server reads special tokens out of a whole prompt.
"""

from __future__ import annotations

import re
from unicodedata import normalize

__all__ = ["order_in", "plain", "tamed"]

_ORDERS = re.compile(
    r"(?:ignore|disregard|forget|override)\b.{0,40}\b(?:instruction|prompt|rule|above|previous|prior)"
    r"|system prompt|developer message|you are now|new instructions|reveal|exfiltrat|api[ _-]?key|password"
    r"|<\|.{0,40}\|>|</?(?:think|tool|tool_call|system|user|assistant)\b|\[/?INST\]|^\s*(?:system|user|assistant)\s*:"
    r"|https?://|```",
    re.IGNORECASE,
)
_MARK = re.compile(r"<(?=[^\s<>=][^\s<>]{0,60}>)|\[(?=/?[a-z]?[A-Z_]{3,}\]|\|[^\s\[\]]{0,60}\|\])")
"""What opens the likes of `<|im_end|>`, `</s>`, `<｜User｜>`, `<<SYS>>`, `[INST]`, `[gMASK]` and `[|user|]`."""
_SHOWN = 20
_JOINERS = str.maketrans("", "", "\u200c\u200d")


def plain(text: str) -> str:
    """Return a text as an engine would read it."""
    return normalize("NFKC", text.translate(_JOINERS))


def order_in(*texts: str) -> str:
    """Return what in texts reads like an order to an engine, or like a mark of its prompts; empty for nothing."""
    for text in map(plain, texts):
        if found := _ORDERS.search(text):
            return found[0]
        if found := _MARK.search(text):
            return text[found.start() : found.start() + _SHOWN]
    return ""


def tamed(text: str) -> str:
    """Return a text in which nothing is a special token of an engine."""
    return _MARK.sub(lambda found: f"{found[0]} ", text)
