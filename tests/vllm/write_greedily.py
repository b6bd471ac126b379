"""Let vLLM write the same tasks under many settings; runs in its environment: `write_greedily.py WORK RESULTS`.

WORK is JSON: `tasks`, `tokens` (most of each answer) and `runs`, each with its `model`, `speculative_config` and
`additional_config`. RESULTS has for each run the token `ids` of every answer, the smallest `margin` in nats between the
best and the next token, and the tokens `drafted` and `accepted`; or the `error` that was its end.
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import sys
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import vllm.model_executor.models.llama
import vllm.v1.engine.core
import vllm.v1.worker.cpu_worker  # noqa: F401  what every run needs is imported once
from vllm import LLM, SamplingParams
from vllm.model_executor.models import registry

# vLLM starts a process to look at a class, to keep a GPU's driver out of this one. There is none.
registry._run_in_subprocess = lambda function: function()

COMES_TO = (AssertionError, ImportError, NotImplementedError, RuntimeError, ValueError)
KV_CACHE = 2**27
"""Bytes; more only takes time to fill with zeros."""
FORK = multiprocessing.get_context("fork")


def write(run: Mapping[str, Any], tasks: list[str], tokens: int, sender: Connection) -> None:
    """Send what one run wrote, or its error."""
    try:
        engine = LLM(
            **run,
            enforce_eager=True,
            dtype="float32",
            max_model_len=1024,
            max_num_seqs=8,
            kv_cache_memory_bytes=KV_CACHE,
            distributed_executor_backend="uni",
            disable_log_stats=False,
        )
        sampling = SamplingParams(temperature=0.0, max_tokens=tokens, logprobs=2)
        answers = engine.chat([[{"role": "user", "content": task}] for task in tasks], sampling, use_tqdm=False)
    except COMES_TO as error:
        sender.send({"error": f"{type(error).__name__}: {error}"})
        return
    counts = {each.name: each.value for each in engine.get_metrics() if hasattr(each, "value")}
    outputs = [answer.outputs[0] for answer in answers]
    found = {
        "ids": [list(each.token_ids) for each in outputs],
        "margin": min(_margin(best) for each in outputs for best in each.logprobs),
        "drafted": counts.get("vllm:spec_decode_num_draft_tokens", 0),
        "accepted": counts.get("vllm:spec_decode_num_accepted_tokens", 0),
    }
    sender.send(found)


def _margin(best: Mapping[int, Any]) -> float:
    first, second, *_ = sorted((each.logprob for each in best.values()), reverse=True)
    return float(first - second)


def apart(*given: Any) -> dict[str, Any]:
    """Call `write` in a process of its own: vLLM does not start a second time in one that has used n-grams.

    The process is killed once it has said what it found; to take its engine down would take longer than to write.
    """
    receiver, sender = FORK.Pipe(duplex=False)
    child = FORK.Process(target=write, args=(*given, sender))
    child.start()
    sender.close()
    try:
        found: dict[str, Any] = receiver.recv()
    except EOFError:
        child.join()
        found = {"error": f"its process ended with code {child.exitcode}"}
    child.kill()
    child.join()
    return found


if __name__ == "__main__":
    work = json.loads(Path(sys.argv[1]).read_text())
    gc.freeze()  # what every run inherits is not looked through, and so not copied, by each of them
    results = [apart(run, work["tasks"], work["tokens"]) for run in work["runs"]]
    Path(sys.argv[2]).write_text(json.dumps(results))
