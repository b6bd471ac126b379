"""What a vLLM server says, for a tokenizer small enough to check by eye.

A token is the longest entry of `VOCABULARY` that fits, special ones included: like a real server,
/tokenize reads them out of any text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from stub_server import Reply, Seen, StubServer

END, THINK, NOT_THINK, DOT_BLANK, BLANKER, BLANK, BOS = range(7)
HALF, OTHER_HALF = 7 + 0xC3, 7 + 0xA9
"""The two bytes of "é"."""
VOCABULARY = [
    b"<|im_end|>",
    b"<think>",
    b"</think>",
    b".\n\n",
    b"\n\n\n",
    b"\n\n",
    b"<s>",
    *[bytes([code]) for code in range(256)],
]
SPECIAL = {END, BOS}


def ids(text: str) -> list[int]:
    """Return the ids of a text."""
    rest, found = text.encode(), []
    while rest:
        id_ = max((id_ for id_, piece in enumerate(VOCABULARY) if rest.startswith(piece)), key=_length)
        found.append(id_)
        rest = rest[_length(id_) :]
    return found


def _length(id_: int) -> int:
    return len(VOCABULARY[id_])


def text(tokens: Sequence[int]) -> str:
    return b"".join(VOCABULARY[id_] for id_ in tokens).decode("utf-8", "replace")


def said(tokens: Sequence[int], shown: str | None = None, **choice: Any) -> dict[str, Any]:
    """Return one event of a stream, or a whole reply: `tokens`, and the text that is shown of them."""
    return {"choices": [{"index": 0, "text": text(tokens) if shown is None else shown, "token_ids": tokens, **choice}]}


def usage(prompt_tokens: int, output_tokens: int, cached_tokens: int) -> dict[str, Any]:
    """Return the last event of a stream."""
    counts = {"prompt_tokens": prompt_tokens, "completion_tokens": output_tokens}
    return {"choices": [], "usage": counts | {"prompt_tokens_details": {"cached_tokens": cached_tokens}}}


def refused(message: str) -> Reply:
    return Reply(status=400, json={"error": {"message": message, "type": "BadRequestError", "code": 400}})


class FakeVllm:
    """Turns a StubServer into a vLLM server; `replies` are what its real completions answer, in order."""

    def __init__(
        self,
        stub: StubServer,
        *,
        models: Sequence[str] = ("m",),
        owner: str = "vllm",
        context: int = 100,
        most_logprobs: int = 20,
        returns_ids: bool = True,
        reports_cache: bool = True,
        block: int = 16,
        has_template: bool = True,
        tool_role: str = "[tool]{}<|im_end|>",
        has_switch: bool = True,
        reports_times: bool = True,
        speculates: bool = True,
        drafted: tuple[float, ...] = (-0.1, -3.0),
        zeros: int = 0,
        draws_worst: bool = False,
        thinking: Callable[[int], int | None] | None = lambda budget: budget,
        ends_early: bool = False,
        trials: Reply | None = None,
    ) -> None:
        """`block` is the prefix cache's, in tokens; 0 for no cache. `drafted` are the logprobs of a drafted token and
        of its alternatives, all 0.0 for the last `zeros` tokens; `draws_worst` says that a draw above temperature 0
        is the last of them. `thinking` tells after how many tokens </think> comes under a budget, `ends_early` that
        the model ends its text before that if it may. `tool_role` lays out what a tool says, empty where the template
        refuses it; `has_switch` says that it honours enable_thinking. `trials` answers these two trials in their
        place."""
        self.replies: list[Reply] = []
        self.sent: list[dict[str, Any]] = []
        """Bodies of the real completions."""
        self._most_logprobs = most_logprobs
        self._returns_ids = returns_ids
        self._reports_cache = reports_cache
        self._block = block
        self._prompts: list[list[int]] = []
        self._has_template = has_template
        self._tool_role = tool_role
        self._has_switch = has_switch
        self._context = context
        self._metrics = {
            "queue_time_ms": 0.5 if reports_times else None,
            "speculative_decoding": {"num_draft_tokens": 0} if speculates else None,
        }
        self._drafted = drafted
        self._zeros = zeros
        self._draws_worst = draws_worst
        self._thinking = thinking
        self._ends_early = ends_early
        self._trials = trials
        cards = [{"id": model, "owned_by": owner, "max_model_len": context} for model in models]
        stub.add("/v1/models", Reply(json={"object": "list", "data": cards}))
        stub.add("/version", Reply(json={"version": "0.32.0"}))
        stub.add("/tokenize", self._tokenize)
        stub.add("/detokenize", lambda seen: Reply(json={"prompt": text(seen.body["tokens"])}))
        stub.add("/v1/completions", self._complete)

    def answer(self, *events: dict[str, Any], **reply: Any) -> None:
        """Stream `events` at the next completion."""
        self.replies.append(Reply(events=[*events, "[DONE]"], **reply))

    def _tokenize(self, seen: Seen) -> Reply:
        if "messages" in seen.body and not self._has_template:
            return refused("As of transformers v4.44, default chat template is no longer allowed")
        turns = seen.body.get("messages", ())
        if not self._tool_role and any(turn["role"] == "tool" for turn in turns):
            return refused("Conversation roles must alternate user/assistant/user/assistant/...")
        laid_out = self._laid_out(seen.body) if turns else seen.body["prompt"]
        tokens = ([BOS] if seen.body.get("add_special_tokens") else []) + ids(laid_out)
        names = [VOCABULARY[id_].decode("latin-1") for id_ in tokens] if seen.body.get("return_token_strs") else None
        return Reply(json={"tokens": tokens, "token_strs": names, "max_model_len": self._context})

    def _complete(self, seen: Seen) -> Reply:
        if seen.body.get("ignore_eos") and seen.body["max_tokens"] > 1:
            if self._trials is not None:
                return self._trials
            return self._think(seen.body) if "thinking_token_budget" in seen.body else self._draft(seen.body)
        if allowed := seen.body.get("allowed_token_ids"):
            return Reply(json=said(allowed, "" if allowed[0] in SPECIAL else None, finish_reason="length"))
        if "stop" not in seen.body:
            return self._trial(seen.body)
        self.sent.append(seen.body)
        return self.replies.pop(0)

    def _trial(self, body: dict[str, Any]) -> Reply:
        if body.get("logprobs", 0) > self._most_logprobs:
            return refused(f"Requested sample logprobs of {body['logprobs']}")
        reply = said(ids("4"), finish_reason="length")
        if not self._returns_ids:
            reply["choices"][0]["token_ids"] = None
        counts = {"prompt_tokens": 1, "completion_tokens": 1}
        is_cached = self._block and body["prompt"] in self._prompts
        cached = (len(body["prompt"]) - 1) // self._block * self._block if is_cached else 0
        self._prompts.append(body["prompt"])
        details = {"cached_tokens": cached} if self._reports_cache else None
        return Reply(json=reply | {"usage": counts | {"prompt_tokens_details": details}, "metrics": self._metrics})

    def _draft(self, body: dict[str, Any]) -> Reply:
        names = [f"token_id:{id_}" for id_ in body["allowed_token_ids"]]
        top = dict(zip(names, self._drafted, strict=False))
        drawn = names[len(top) - 1 if self._draws_worst and body["temperature"] else 0]
        number = body["max_tokens"]
        told = number if top else 0
        tops = [top] * (told - self._zeros) + [dict.fromkeys(top, 0.0)] * self._zeros
        columns = {
            "tokens": [drawn] * told,
            "token_logprobs": [each.get(drawn) for each in tops],
            "top_logprobs": tops,
        }
        reply = said(body["allowed_token_ids"][:1] * number, finish_reason="length", logprobs=columns)
        return Reply(json=reply | {"usage": {"prompt_tokens": 1, "completion_tokens": number}})

    def _think(self, body: dict[str, Any]) -> Reply:
        if self._thinking is None:
            return refused("thinking_token_budget is set but reasoning_config is not configured.")
        thought = len(body["prompt"]) - body["prompt"].index(THINK) - 1
        place = self._thinking(body["thinking_token_budget"] - thought)
        if self._ends_early and not body.get("ignore_eos"):
            reply = said(ids("4"), finish_reason="stop", stop_reason=None)
        elif place is None:
            reply = said(ids("4") * body["max_tokens"], finish_reason="length", stop_reason=None)
        else:
            reply = said([*ids("4") * place, NOT_THINK], finish_reason="stop", stop_reason="</think>")
        number = len(reply["choices"][0]["token_ids"])
        return Reply(json=reply | {"usage": {"prompt_tokens": 1, "completion_tokens": number}})

    def _laid_out(self, body: dict[str, Any]) -> str:
        layouts = {"tool": self._tool_role}
        turns = [
            layouts.get(turn["role"], f"[{turn['role']}]{{}}<|im_end|>").format(turn["content"])
            for turn in body["messages"]
        ]
        thinks = self._has_switch and body.get("chat_template_kwargs", {}).get("enable_thinking", False)
        return "".join(turns) + "[assistant]" + ("<think>" if thinks else "")
