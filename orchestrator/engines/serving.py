"""How a vLLM server is started: from what the config says to the exact command."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from orchestrator.engines.speculation.profiles import Mtp, NGram, Profile, check_name
from orchestrator.errors import BadConfig

__all__ = ["MADE_FOR", "Address", "Serving", "address", "command", "is_older", "shown"]

MADE_FOR = "0.32"
"""The version of vLLM whose flags and replies are assumed."""

OURS = {
    "--host": "the url",
    "--port": "the url",
    "--model": "model",
    "--served-model-name": "the engine's model",
    "--speculative-config": "the table speculation",
    "-sc": "the table speculation",
    "--additional-config": "the table speculation",
    "--enable-prefix-caching": "nothing: it is always on",
    "--enable-prompt-tokens-details": "nothing: it is always on",
    "--enable-per-request-metrics": "nothing: it is always on",
    "--per-request-spec-decode-metrics": "nothing: it is on where speculation is",
}
"""Flags that follow from the config, and from what."""
UNREACHABLE = ("--uds", "--ssl-certfile", "--ssl-keyfile")
"""Flags with which the server would not be at its url, which is http at a port."""
DATA_PARALLEL = ("--data-parallel-size", "-dp")
LOCAL = ("127.0.0.1", "localhost", "::1")
_VERSION = re.compile(r"(\d+)\.(\d+)")
_VARIABLE = re.compile(r"(\$\{[A-Za-z_][A-Za-z0-9_]*\})")


class Address(NamedTuple):
    """Where on this machine a server listens."""

    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What `orchestrator engines up` starts for an engine of kind vllm or pooling."""

    model: str
    """Name or folder of the weights."""
    speculation: Profile | None = field(default_factory=NGram)
    """How tokens are drafted; None for not at all."""
    python: str | None = None
    """An interpreter that has vLLM; the server is then started through its module. None for the command `vllm`."""
    args: Sequence[str] = ()
    """More flags for the server, as they are."""
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Environment of the server beside ours; it may hold secrets, so it is never logged."""

    def __post_init__(self) -> None:
        if not self.model:
            raise BadConfig("model is empty: name the weights, or their folder")
        flags = {_plain(flag) for flag in self.args}
        _check_flags(flags, self.speculation)
        if self.speculation is not None:
            _check_beside(self.speculation, flags, self.args)
        if isinstance(self.speculation, Mtp):
            check_name(self.speculation.method, self.model)


def address(url: str) -> Address:
    """Return where the server at `url` is to listen. Raises BadConfig if that is no port of this machine."""
    from yarl import URL  # late: a server that loads our drafters comes by here, and needs nothing of it

    try:
        read = URL(url)
        host, port = read.host, read.explicit_port
    except ValueError:
        host = port = None
    if host not in LOCAL or port is None or read.scheme != "http" or read.path.strip("/") not in ("", "v1"):
        raise BadConfig(f"{url}: a server can be started at a port of this machine only, like http://127.0.0.1:8001/v1")
    return Address(host, port)


def command(serving: Serving, url: str, served_name: str | None = None) -> list[str]:
    """Return the command that serves at `url`. Raises BadConfig if that is no port of this machine."""
    host, port = address(url)
    start = ["vllm", "serve", serving.model]
    if serving.python is not None:
        start = [serving.python, "-m", "vllm.entrypoints.openai.api_server", "--model", serving.model]
    found = [*start, "--host", host, "--port", str(port)]
    if served_name is not None:
        found += ["--served-model-name", served_name]
    found += ["--enable-prefix-caching", "--enable-prompt-tokens-details", "--enable-per-request-metrics"]
    if serving.speculation is not None:
        found += ["--per-request-spec-decode-metrics", "detailed"]
        found += ["--speculative-config", json.dumps(serving.speculation.arguments())]
        if additional := serving.speculation.additional():
            found += ["--additional-config", json.dumps(additional)]
    return [*found, *serving.args]


def shown(words: Sequence[str], env: Mapping[str, str] = MappingProxyType({})) -> str:
    """Return a command as a person would type it, its environment before it; a shell fills in any `${NAME}`."""
    settings = [f"{name}={_quoted(value)}" for name, value in sorted(env.items())]
    return " ".join([*settings, *map(_quoted, words)])


def is_older(version: str) -> bool:
    """Return whether a version of vLLM is older than the one that is assumed; one that is no number is not."""
    found, assumed = _VERSION.match(version), _VERSION.match(MADE_FOR)
    assert assumed is not None
    return found is not None and [*map(int, found.groups())] < [*map(int, assumed.groups())]


def _quoted(word: str) -> str:
    pieces = [piece for piece in _VARIABLE.split(word) if piece]
    return "".join(f'"{piece}"' if _VARIABLE.fullmatch(piece) else shlex.quote(piece) for piece in pieces) or "''"


def _plain(flag: str) -> str:
    """Return the flag as it is listed: vLLM takes it with underscores, `=value` and `.key` as well."""
    name = flag.partition("=")[0].partition(".")[0]
    return name.replace("_", "-") if name.startswith("--") else name


def _check_flags(flags: Collection[str], speculation: Profile | None) -> None:
    """Raise BadConfig for a flag that says again, or otherwise, what follows from the config."""
    for name, source in OURS.items():
        if name == "--additional-config" and not (speculation and speculation.additional()):
            continue
        if name in flags:
            raise BadConfig(f"args has {name}, which follows from {source}")
        if (negated := name.replace("--", "--no-", 1)) in flags:
            raise BadConfig(f"args has {negated}, and {name} follows from {source}")
    for name in UNREACHABLE:
        if name in flags:
            raise BadConfig(f"args has {name}, and the url is http at a port of this machine: leave it out")


def _value(name: str, args: Sequence[str]) -> str:
    """Return the last value of a flag; "" where it has none."""
    found = ""
    for flag, following in zip(args, [*args[1:], ""], strict=True):
        if _plain(flag) == name:
            found = flag.partition("=")[2] or following
    return found


def _check_beside(speculation: Profile, flags: Collection[str], args: Sequence[str]) -> None:
    """Raise BadConfig for a flag that vLLM 0.32 drops, or does not start with, where it drafts so."""
    for name in ("--spec-method", "--spec-model", "--spec-tokens"):
        if name in flags:
            raise BadConfig(
                f"args has {name}, which says again what the table speculation says: leave it out, or set speculation "
                'method = "none"'
            )
    if "--logits-processors" in flags:
        raise BadConfig(
            "args has --logits-processors, with which vLLM refuses to start where it speculates: leave it out, or set "
            'speculation method = "none"'
        )
    ranks = [_value(name, args) for name in DATA_PARALLEL if name in flags]
    if speculation.schedule and any(each.isdecimal() and int(each) > 1 for each in ranks):
        raise BadConfig(
            "args has --data-parallel-size, under which vLLM ignores the schedule of speculation: leave one of them out"
        )
