"""What a vLLM server of a pooling model says: the fake one's tokenizer, /pooling, and no completions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fake_vllm import FakeVllm
from stub_server import Reply, Seen, StubServer

BAD_GOOD = [0.25, 0.75]


def pooled(row: Any, prompt_tokens: int = 4) -> dict[str, Any]:
    """Return what /pooling answers: one row of a whole prompt, or a list of rows."""
    counts = {"prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens, "prompt_tokens_details": None}
    return {"object": "list", "data": [{"index": 0, "object": "pooling", "data": row}], "usage": counts}


class FakePooling(FakeVllm):
    """Turns a StubServer into one; `answer` is what it says about the ids of a prompt."""

    def __init__(self, stub: StubServer, answer: Callable[[Sequence[int]], Any] | None = None, **options: Any) -> None:
        super().__init__(stub, **options)
        del stub._answers["/v1/completions"]
        self.answers = answer or (lambda ids: BAD_GOOD)
        stub.add("/pooling", self._pool)

    def _pool(self, seen: Seen) -> Reply:
        answer = self.answers(seen.body["input"])
        return answer if isinstance(answer, Reply) else Reply(json=pooled(answer, len(seen.body["input"])))
