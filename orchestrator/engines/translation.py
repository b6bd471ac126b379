"""What can go wrong between us and a model server, said in our own errors.

`failure` translates an exception of the HTTP client, `refusal` an HTTP status. Every message is one
line: what was tried, what happened, what to do next. What a server says is shown short, with control
characters and terminal escapes neutralised and the API key masked.
"""

from __future__ import annotations

import errno
import json
import math
import re
import socket
import ssl
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp

from orchestrator.errors import (
    ContextExceeded,
    EngineError,
    EngineProtocol,
    EngineRejected,
    EngineTimeout,
    EngineUnavailable,
)

__all__ = ["FOREIGN", "Call", "failure", "plain", "refusal"]

FOREIGN = (aiohttp.ClientError, OSError, ValueError, RecursionError)
"""What a call may raise: TimeoutError is an OSError; broken JSON, text and addresses are ValueErrors."""

_SHOWN = 300
_BUSY = {408, 425, 429}
_NOT_NOW = "it may be overloaded or still starting: wait, or look at its log"

_BAD_ADDRESS = (
    aiohttp.InvalidURL,
    aiohttp.NonHttpUrlClientError,
    aiohttp.RedirectClientError,
    aiohttp.TooManyRedirects,
)
_BAD_TLS = (aiohttp.ClientSSLError, aiohttp.ServerFingerprintMismatch, ssl.SSLError)
_BAD_REPLY = (aiohttp.ClientResponseError, RecursionError)
_BROKEN = (
    aiohttp.ClientPayloadError,
    aiohttp.UploadAbortedError,
    aiohttp.ServerDisconnectedError,
    aiohttp.ClientConnectionError,
    ConnectionError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request, as far as an error message needs it."""

    engine: str
    url: str
    limit_s: float
    connect_limit_s: float
    started: float
    """Monotonic clock, seconds."""
    secret: str | None = None
    """Masked in every message."""
    secret_name: str | None = None
    """The environment variable that holds the secret."""

    def line(self, happened: str, mend: str = "") -> str:
        """Return the one line of an error about this call."""
        return plain(f"engine {self.engine!r} at {self.url}: {happened}" + (f"; {mend}" if mend else ""), self.secret)


def plain(text: str, secret: str | None = None, *, limit: int | None = None) -> str:
    """Return `text` on one line, harmless to a terminal, without `secret`, at most `limit` characters."""
    if secret:
        text = text.replace(secret, "***")
    text = "".join(letter if letter.isprintable() else "\ufffd" for letter in " ".join(text.split()))
    return text if limit is None or len(text) <= limit else text[:limit] + "…"


def failure(error: BaseException, call: Call) -> EngineError:
    """Return our error for a foreign one; the caller raises it `from error`."""
    _without_headers(error)
    for kinds, said in _FAILURES:
        if isinstance(error, kinds):
            return said(error, call)
    raise error  # not foreign: a mistake of ours that must not be dressed up


def refusal(status: int, body: bytes, retry_after: str | None, call: Call, *, location: str = "") -> EngineError:
    """Return our error for a reply whose HTTP status is not a success.

    `retry_after` is the header's value (seconds or a date), `location` the target of a redirect.
    """
    message, details = _message(body)
    said = f"HTTP {status}" + (f" {plain(message, call.secret, limit=_SHOWN)!r}" if message else "")
    too_long = _too_long(status, message, details)
    if too_long is not None:
        answered = plain(f"{call.url} answered {said}", call.secret)
        return ContextExceeded.of(call.engine, *too_long, answered=answered)
    if status in _BUSY or (status >= 500 and status not in (501, 505)):
        line = call.line(f"it answered {said}", _NOT_NOW)
        return EngineUnavailable(line, engine=call.engine, retry_after_s=_seconds(retry_after))
    return EngineRejected(call.line(f"it answered {said}", _mend(status, location, call)), engine=call.engine)


def _mend(status: int, location: str, call: Call) -> str:
    if status in (401, 403):
        return _key_mend(call)
    if status == 404:
        return "check the path of the address (vLLM's ends in /v1) and the model's name"
    if 300 <= status < 400:
        return f"redirects are not followed: give the address it points to{f' ({location})' if location else ''}"
    if status == 501:
        return "the server was started without this feature"
    return "the request does not suit this server: check its version and the sampling options"


def _key_mend(call: Call) -> str:
    if call.secret is None:
        return "the server wants an API key and none is set: give this engine an api_key"
    if call.secret_name is None:
        return "the API key of this engine was refused: check the api_key you gave it"
    return f"the API key of this engine was refused: check the environment variable {call.secret_name}"


# --- what the client raises -------------------------------------------------------------------


def _connect_timeout(_: BaseException, call: Call) -> EngineError:
    line = call.line(f"no connection within {call.connect_limit_s:g} s", "is the machine up and the address right?")
    return EngineUnavailable(line, engine=call.engine, was_sent=False)


def _timeout(_: BaseException, call: Call) -> EngineError:
    elapsed_s = time.monotonic() - call.started
    line = call.line(f"no complete answer within {call.limit_s:g} s", "raise timeout_s or lower max_tokens")
    return EngineTimeout(line, engine=call.engine, limit_s=call.limit_s, elapsed_s=elapsed_s)


def _bad_address(error: BaseException, call: Call) -> EngineError:
    return EngineRejected(call.line(f"this address cannot be used ({error})", "correct it"), engine=call.engine)


def _unknown_host(_: BaseException, call: Call) -> EngineError:
    line = call.line("its host name is not known", "check the spelling and the name server")
    return EngineUnavailable(line, engine=call.engine, was_sent=False)


def _bad_tls(error: BaseException, call: Call) -> EngineError:
    mend = "use http:// if it speaks no TLS, or a certificate this machine trusts"
    return EngineProtocol(call.line(f"TLS failed ({error})", mend), engine=call.engine)


def _bad_reply(error: BaseException, call: Call) -> EngineError:
    what = plain(str(error) or type(error).__name__, call.secret, limit=_SHOWN)
    mend = "is this the port of a model server?"
    return EngineProtocol(call.line(f"the reply cannot be understood ({what})", mend), engine=call.engine)


def _not_connected(error: BaseException, call: Call) -> EngineError:
    if isinstance(error, OSError) and error.errno == errno.ECONNREFUSED:
        line = call.line("nothing listens there", "start the server")
    else:
        line = call.line(f"no connection ({error})", "check the address, the network and the limits of this machine")
    return EngineUnavailable(line, engine=call.engine, was_sent=False)


def _broken(error: BaseException, call: Call) -> EngineError:
    what = str(error) or type(error).__name__
    line = call.line(f"the connection broke ({what})", "look at the server's log: it may have died")
    return EngineUnavailable(line, engine=call.engine)


def _no_machine(error: BaseException, call: Call) -> EngineError:
    line = call.line(f"it cannot be reached ({error})", "check the network and the limits of this machine")
    return EngineUnavailable(line, engine=call.engine)


# The first row that matches wins: a class stands above its bases.
_FAILURES = (
    (aiohttp.ConnectionTimeoutError, _connect_timeout),
    (TimeoutError, _timeout),
    (aiohttp.ServerTimeoutError, _timeout),
    (_BAD_ADDRESS, _bad_address),
    ((aiohttp.ClientConnectorDNSError, socket.gaierror), _unknown_host),
    (_BAD_TLS, _bad_tls),
    (_BAD_REPLY, _bad_reply),
    ((aiohttp.ClientConnectorError, ConnectionRefusedError), _not_connected),
    (_BROKEN, _broken),
    (OSError, _no_machine),
    ((aiohttp.ClientError, ValueError), _bad_reply),
)


def _without_headers(error: BaseException) -> None:
    """Take the request's headers, and with them the API key, out of an aiohttp error."""
    info = getattr(error, "request_info", None)
    if isinstance(error, aiohttp.ClientResponseError) and info is not None:
        error.request_info = info._replace(headers={})
        error.args = (error.request_info, *error.args[1:])


# --- what the server says ---------------------------------------------------------------------


def _message(body: bytes) -> tuple[str, dict[str, Any]]:
    """Return the server's words and, where it sent one, its error object."""
    try:
        reply = json.loads(body)
    except (ValueError, RecursionError):
        text = body.decode("utf-8", "replace")
        return ("a web page" if "<html" in text.lower() else text), {}
    details = reply.get("error", reply) if isinstance(reply, dict) else {}
    if isinstance(details, str):
        return details, {}
    if not isinstance(details, dict):
        return "", {}
    said = details.get("message", details.get("detail", ""))
    return (said if isinstance(said, str) else json.dumps(said)), details


_CONTEXT = re.compile(r"(?:context (?:length|size)|model length)(?: is| of)?(?: only)? \(?(\d+)")
_IN_PROMPT = re.compile(r"\((\d+) in the (?:messages|prompt)")  # where a total stands beside it
_PROMPT = re.compile(r"(?:request|request has|passed|requested|\(length) \(?(\d+)")
_TOO_LONG = re.compile(r"context (?:length|size)|maximum model length", re.IGNORECASE)


def _too_long(status: int, message: str, details: dict[str, Any]) -> tuple[int, int] | None:
    """Return (prompt tokens, context) if the server says that the prompt does not fit; 0 where it gives no number."""
    if details.get("type") == "exceed_context_size_error":
        return _count(details.get("n_prompt_tokens")), _count(details.get("n_ctx"))
    if status not in (400, 413, 422, 500) or not _TOO_LONG.search(message):
        return None
    return _number(_IN_PROMPT, message) or _number(_PROMPT, message), _number(_CONTEXT, message)


def _number(pattern: re.Pattern[str], message: str) -> int:
    found = pattern.search(message)
    return int(found.group(1)) if found else 0


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0


def _seconds(retry_after: str | None) -> float | None:
    """Read Retry-After: seconds or an HTTP date; None where it is neither."""
    if retry_after is None:
        return None
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(retry_after).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
