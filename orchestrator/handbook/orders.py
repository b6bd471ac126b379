"""Does a text give orders to an engine, or hold the marks by which an engine tells who speaks?

Both are looked for in the text as an engine would read it: letters of full width are plain ones, and joiners, which
nobody sees, are not there. What is shown to an engine is kept readable, and its marks are broken by a space, because a
server reads special tokens out of a whole prompt.

Marks are found by their form. Orders are found by a list of how they are worded in English, which remains a list: it
stops what is common, neither what is new nor what is said in another language, and it sets aside a few harmless texts
for a person to see.
"""

from __future__ import annotations

import re
from unicodedata import normalize

__all__ = ["order_in", "plain", "tamed"]

_OURS = (
    r"(?:instructions?|prompts?|guidelines|the above|(?:all|your|these|those|the) (?:previous |prior |earlier )?rules"
    r"|(?:the |all )?(?:previous|prior|earlier) (?:text|messages?|turns|orders)|(?:the|your) (?:system|user|task)"
    r"|(?:everything|anything|all|what(?:ever)?) (?:that )?(?:the (?:user|system|task|prompt)|you|was|is|came|i|we)"
    r"|(?:everything|all) (?:above|before))\b"
)
"""What a strange order would have an engine forget."""
_ORDERS = re.compile(
    r"(?<!never )(?<!do not )(?<!don't )(?<!must not )"
    rf"(?:\b(?:ignore|disregard|forget|override|bypass)\b.{{0,40}}?|\bskip\b.{{0,12}}?)\b{_OURS}"
    rf"|\b(?:pay no|not pay|n't pay)\b.{{0,10}}\battention to .{{0,20}}?\b{_OURS}"
    rf"|\b(?:do not|don't|never|stop) (?:follow|obey|heed|listen to|following|obeying)\b.{{0,20}}?\b{_OURS}"
    r"|\b(?:regardless of|no matter) (?:what )?(?:the (?:question|task|user)|you are asked|is asked)\b"
    r"|\b(?:from now on|henceforth)\b.{0,20}?\b(?:answer|say|reply|respond|write|print|obey|you (?:are|must|will))\b"
    r"|\b(?:always|only|just) (?:answer|reply|respond|say|print)(?: with)? [\"'\d]"
    r"|\b(?:reveal|print|show|leak|repeat|output|send)\b.{0,20}?\b(?:(?:your|the|all) (?:\w+ )?(?:prompt|instructions)"
    r"|secrets?|credentials|api[ _-]?keys?)\b|\breveal (?:all|everything)\b"
    r"|\b(?:system prompt|developer (?:message|mode)|you are now|new instructions|jailbreak\w*|exfiltrat\w*|passwords?"
    r"|api[ _-]?keys?|pretend (?:to be|that you|you))\b"
    r"|\brm -\w|\bsudo\b|\b(?:curl|wget) |\bdrop table\b"
    r"|<\|.{0,40}\|>|</?(?:think|tool|tool_call|system|user|assistant)\b|\[/?INST\]|^\s*(?:system|user|assistant)\s*:"
    r"|https?://|\bwww\.|```",
    re.IGNORECASE,
)
_MARK = re.compile(r"<(?=[^\s<>=][^\s<>]{0,60}>)|\[(?=/?[a-z]?[A-Z_]{3,}\]|\|[^\s\[\]]{0,60}\|\])")
"""What opens the likes of `<|im_end|>`, `</s>`, `<｜User｜>`, `<<SYS>>`, `[INST]`, `[gMASK]` and `[|user|]`."""
_SHOWN = 20
_DRESSED = str.maketrans({"\u200c": "", "\u200d": "", "\N{RIGHT SINGLE QUOTATION MARK}": "'"})


def plain(text: str) -> str:
    """Return a text as an engine would read it."""
    return normalize("NFKC", text.translate(_DRESSED))


def order_in(*texts: str) -> str:
    """Return what in texts reads like an order to an engine, or like a mark of its prompts; empty for nothing."""
    for text in map(plain, texts):
        if found := _ORDERS.search(" ".join(text.split())):
            return found[0]
        if found := _MARK.search(text):
            return text[found.start() : found.start() + _SHOWN]
    return ""


def tamed(text: str) -> str:
    """Return a text in which nothing is a special token of an engine."""
    return _MARK.sub(lambda found: f"{found[0]} ", text)
