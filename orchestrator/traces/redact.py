"""What may leave of a run: everything but secrets, which become `[redacted]`.

No key of ours is ever stored in a journal; but a task, an engine's text, an error or a setting can spell one. What is
hidden:

- the values of secrets that are known: of environment variables whose names end like a secret's (`..._KEY`,
  `..._TOKEN`, `..._PASSWORD`, ...), and of those that a configuration names as `${VAR}`, from 8 characters on;
- texts under a name such as `api_key`, `Authorization` or `password`;
- what looks like one: bearer tokens, credentials and keys in URLs, `api_key=...`, private keys in PEM, JSON web tokens,
  and the shapes of common services' keys (`sk-...`, `ghp_...`, `hf_...`, `AKIA...`, ...).

A secret that none of these knows, such as a password in prose, is not found: content is worth a look before it is given
away.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from json import loads
from math import isfinite
from os import environ
from typing import Any

__all__ = ["HIDDEN", "HidesNothing", "Redactor", "valid"]

HIDDEN = "[redacted]"

_SURROGATE = re.compile("[\ud800-\udfff]")
_MIN_CHARS = 8
_MAX_REMEMBERED = 256
_SECRET_VARIABLE = re.compile(
    r"(KEY|TOKEN|SECRETS?|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|COOKIE|BEARER|DSN)$", re.IGNORECASE
)
_SECRET_FIELD = re.compile(
    r"((api|access|private|secret|auth)[-_ ]?key|authorization|(^|[-_])token|secret|password|passwd|passphrase"
    r"|credentials?|cookie)$",
    re.IGNORECASE,
)
_SHAPES = re.compile(
    r"""
    -----BEGIN\ [A-Z ]{0,40}PRIVATE\ KEY-----.*?(?:-----END\ [A-Z ]{0,40}PRIVATE\ KEY-----|\Z)
    | \b(?i:bearer)\ +(?=[^\s"',]{16}|[^\s"',]*\d)[^\s"',]{8,}
    | \b(?i:(?:proxy-)?authorization|(?:x-)?api-key|set-cookie)['"]?\ *[:=]\ *['"]?[^\r\n"',}]+
    | (?<=://)[^/\s@]{1,256}(?=@)
    | (?<=[?&])(?i:[\w-]{0,40}(?:key|token|secret|password|signature|sig|auth|credential))=[^&\s\#"'<>]+
    | (?i:(?:api[-_]?key|(?:access|auth|refresh|api)[-_]?token|(?:client|api)[-_]?secret|passw(?:or)?d))
      ['"]?\ *[=:]\ *['"]?[^\s'"&,;]{6,}
    | \bsk-[A-Za-z0-9_-]{16,}
    | \b[spr]k_(?:live|test)_[A-Za-z0-9]{10,}
    | \bgh[pousr]_[A-Za-z0-9]{20,}
    | \bgithub_pat_\w{20,}
    | \bglpat-[\w-]{16,}
    | \bhf_[A-Za-z0-9]{16,}
    | \bxox[abeprs]-[\w-]{10,}
    | \b(?:AKIA|ASIA)[A-Z0-9]{16}\b
    | \bAIza[\w-]{30,}
    | \bnvapi-[\w-]{20,}
    | \bgsk_[A-Za-z0-9]{20,}
    | \b(?:pypi|npm)[-_][\w-]{30,}
    | \beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]*
    """,
    re.VERBOSE | re.DOTALL,
)

_HINTS = (
    *(
        "://",
        "sk-",
        "k_live_",
        "k_test_",
        "ghp_",
        "gho_",
        "ghu_",
        "ghs_",
        "ghr_",
        "github_pat_",
        "glpat-",
        "hf_",
        "xox",
    ),
    *("akia", "asia", "aiza", "nvapi-", "gsk_", "pypi", "npm", "eyj", "private key", "bearer", "authorization"),
    *("cookie", "api-key", "api_key", "apikey", "token", "secret", "passw", "key=", "sig=", "signature=", "auth="),
    "credential=",
)
"""What a text must have, in small letters, for one of the shapes to be in it: that is far quicker to ask."""


class Redactor:
    """Takes secrets out of plain data. `known` are secrets themselves; those of the environment are known as well.

    `named` are variables of the environment that hold one, whatever their names look like.
    """

    def __init__(
        self, known: Iterable[str] = (), *, named: Iterable[str] = (), variables: Mapping[str, str] | None = None
    ) -> None:
        held = environ if variables is None else variables
        asked = set(named)
        own = [value for name, value in held.items() if name in asked or _SECRET_VARIABLE.search(name)]
        values = sorted({each.strip() for each in (*known, *own)} - {HIDDEN}, key=len, reverse=True)
        self._known = [each for each in values if len(each) >= _MIN_CHARS]
        self._short = lru_cache(maxsize=4096)(self._cleaned)
        self.json = lru_cache(maxsize=64)(self._json)
        """A JSON text -> its data, likewise. Runs of one pipeline share them, so look and do not touch."""

    def text(self, text: str) -> str:
        """Return `text` without secrets; doing it again changes nothing."""
        if len(text) < _MIN_CHARS:
            return text
        return self._short(text) if len(text) <= _MAX_REMEMBERED else self._cleaned(text)

    def _cleaned(self, text: str) -> str:
        for secret in self._known:
            text = text.replace(secret, HIDDEN)
        lowered = text.lower()
        return _SHAPES.sub(_hidden, text) if any(hint in lowered for hint in _HINTS) else text

    def data(self, value: Any) -> Any:
        """Return plain data without secrets, in its names as in its values, and valid, see there."""
        if isinstance(value, str):
            return self.text(value if value.isascii() else valid(value))
        if isinstance(value, dict):
            return {self.data(name): self._under(name, each) for name, each in value.items()}
        if isinstance(value, list | tuple):
            return [self.data(each) for each in value]
        return valid(value) if isinstance(value, float) else value

    def _under(self, name: str, value: Any) -> Any:
        if isinstance(value, str) and value and _is_secret(name):
            return HIDDEN
        return self.data(value)

    def _json(self, text: str) -> Any:
        return self.data(loads(text))


class HidesNothing(Redactor):
    """For those who look at a journal of their own, and carry nothing elsewhere."""

    def text(self, text: str) -> str:
        """Return `text` as it is."""
        return text

    def _under(self, name: str, value: Any) -> Any:
        return self.data(value)


@lru_cache(maxsize=1024)
def _is_secret(name: str) -> bool:
    return _SECRET_FIELD.search(name) is not None


def valid(value: Any) -> Any:
    """Return data that every JSON reader takes: without lone surrogates, NaN and infinities."""
    if isinstance(value, str):
        return value if value.isascii() else _SURROGATE.sub("\ufffd", value)
    if isinstance(value, float) and not isfinite(value):
        return None
    if isinstance(value, dict):
        return {valid(key): valid(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [valid(item) for item in value]
    return value


def _hidden(found: re.Match[str]) -> str:
    """Keep the name that a value stands behind, so that a reader sees what was there; of credentials keep nothing."""
    if found.string.endswith("://", 0, found.start()):
        return HIDDEN
    name = re.match(r"[\w-]{1,60}['\"]?\s*[:=]\s*['\"]?|(?i:bearer)\s+", found[0])
    return (name[0] if name else "") + HIDDEN
