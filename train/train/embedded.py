"""A decoder in the embedded engine, one request at a time: enough to measure it."""

from __future__ import annotations

import json
import math
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xllamacpp

__all__ = ["Embedded", "Reply"]


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back from one request."""

    text: str
    ids: list[int]
    is_finished: bool
    """Ended by the end-of-turn token, not by the limit."""
    ms_per_token: float
    first: dict[str, float]
    """Probabilities of the first token, by its text; empty unless asked for."""


class Embedded:
    """llama.cpp in this process, with one thread."""

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.n_ctx = 2048
        params.n_parallel = 1
        params.cpuparams.n_threads = threads
        params.cpuparams_batch.n_threads = threads
        params.warmup = False
        params.verbosity = -1
        self.server = xllamacpp.Server(params)

    def post(self, path: str, **body: Any) -> Any:
        """One request to the engine's own HTTP interface."""
        request = urllib.request.Request(
            self.server.listening_address + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=300) as reply:
            return json.load(reply)

    def tokenize(self, text: str) -> list[int]:
        return list(self.post("/tokenize", content=text, add_special=False, parse_special=True)["tokens"])

    def complete(
        self, prompt: str, limit: int, *, temperature: float = 0.0, seed: int = 0, stop: tuple[str, ...] = (),
        probabilities: int = 0,
    ) -> Reply:  # fmt: skip
        """Continue `prompt` by at most `limit` tokens; greedy unless a temperature is given."""
        reply = self.post(
            "/completion", prompt=prompt, n_predict=limit, temperature=temperature, seed=seed, stop=list(stop),
            cache_prompt=True, return_tokens=True, n_probs=probabilities, top_k=0, top_p=1.0, min_p=0.0,
        )  # fmt: skip
        first = {}
        if probabilities:
            entries = reply["completion_probabilities"][0]["top_logprobs"]
            first = {entry["token"]: math.exp(entry["logprob"]) for entry in entries}
        timing = reply["timings"]["predicted_per_token_ms"]
        return Reply(reply["content"], reply["tokens"], reply["stop_type"] == "eos", timing, first)
