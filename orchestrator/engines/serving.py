"""How a vLLM server is started: from what the config says to the exact command."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from orchestrator.engines.speculation.profiles import NGram, Profile
from orchestrator.errors import BadConfig

__all__ = ["Serving", "command", "shown"]

OURS = {
    "--host": "the url",
    "--port": "the url",
    "--model": "model",
    "--served-model-name": "the engine's model",
    "--speculative-config": "the table speculation",
    "--speculative_config": "the table speculation",
    "--additional-config": "the table speculation",
    "--enable-prefix-caching": "nothing: it is always on",
    "--enable-prompt-tokens-details": "nothing: it is always on",
    "--enable-per-request-metrics": "nothing: it is always on",
    "--per-request-spec-decode-metrics": "nothing: it is on where speculation is",
}
"""Flags that follow from the config, and from what."""
LOCAL = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What `orchestrator engines up` starts for an engine of kind vllm."""

    model: str
    """Name or folder of the weights."""
    speculation: Profile | None = field(default_factory=NGram)
    """How tokens are drafted; None for not at all."""
    python: str | None = None
    """An interpreter that has vLLM; the server is then started through its module. None for the command `vllm`."""
    args: Sequence[str] = ()
    """More flags for the server, as they are."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Environment of the server beside ours."""

    def __post_init__(self) -> None:
        if not self.model:
            raise BadConfig("model is empty: name the weights, or their folder")
        for flag in self.args:
            name = flag.partition("=")[0]
            if name in OURS:
                raise BadConfig(f"args has {name}, which follows from {OURS[name]}")


def command(serving: Serving, url: str, served_name: str | None = None) -> list[str]:
    """Return the command that serves at `url`, which has to be on this machine. Raises BadConfig if it is not."""
    address = urlsplit(url)
    if address.hostname not in LOCAL or address.port is None:
        raise BadConfig(f"{url}: a server can be started at a port of this machine only, like http://127.0.0.1:8001/v1")
    start = ["vllm", "serve", serving.model]
    if serving.python is not None:
        start = [serving.python, "-m", "vllm.entrypoints.openai.api_server", "--model", serving.model]
    found = [*start, "--host", address.hostname or "", "--port", str(address.port)]
    if served_name is not None:
        found += ["--served-model-name", served_name]
    found += ["--enable-prefix-caching", "--enable-prompt-tokens-details", "--enable-per-request-metrics"]
    if serving.speculation is not None:
        found += ["--per-request-spec-decode-metrics", "detailed"]
        found += ["--speculative-config", json.dumps(serving.speculation.arguments())]
        if additional := serving.speculation.additional():
            found += ["--additional-config", json.dumps(additional)]
    return [*found, *serving.args]


def shown(serving: Serving, words: Sequence[str]) -> str:
    """Return the command as a person would type it, its environment before it."""
    settings = [f"{name}={shlex.quote(value)}" for name, value in sorted(serving.env.items())]
    return " ".join([*settings, *map(shlex.quote, words)])
