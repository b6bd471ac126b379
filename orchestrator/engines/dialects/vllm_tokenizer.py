"""Text to ids and back by vLLM's own `/tokenize` and `/detokenize`, so that nobody needs the tokenizer's files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orchestrator.engines.base import Role, Schema
from orchestrator.engines.dialects import plain
from orchestrator.engines.dialects.literal import Literal, Tokens
from orchestrator.engines.dialects.turns import Turns
from orchestrator.engines.http import Transport
from orchestrator.engines.whole import Pieces
from orchestrator.errors import EngineRejected
from orchestrator.types import Message

__all__ = ["COMPLETIONS", "VllmTokenizer"]

COMPLETIONS = "/v1/completions"


class VllmTokenizer:
    """The tokenizer and the chat template of one served model."""

    def __init__(self, line: Transport, model: str) -> None:
        self.pieces = Pieces(self.decode)
        """The texts of single tokens, as far as they were asked for."""
        self._line = line
        self._model = model
        self._literal = Literal(line.engine, self._tokens, self.is_special)
        self.turns = Turns(line.engine, self._laid_out, self.parse, self._literal.encode)
        """What the chat template, if there is one, puts between two turns; see `find_template`."""

    async def find_template(self) -> str:
        """Try the chat template; return why there is none, or nothing where there is one."""
        try:
            await self._fill((Message("user", "?"),), None)
        except EngineRejected as error:
            self.turns.has_template = False
            return str(error)
        return ""

    async def render(self, messages: Sequence[Message], think: bool | None, tools: Sequence[Schema] = ()) -> list[int]:
        """Return the prompt ids of a conversation; laid out plainly where there is no chat template."""
        if self.turns.has_template:
            return await self._fill(messages, think, tools)
        return (await self._ask(prompt=plain.render(messages), add_special_tokens=True)).ids

    async def interject(
        self, content: str, prefill: str, *, think: bool | None = None, role: Role = "user"
    ) -> list[int]:
        """Return the ids between an assistant's open turn and its next one, which begins with `prefill`."""
        return await self.turns.between(content, prefill, think, role)

    async def encode(self, text: str) -> list[int]:
        """Tokenise `text` as data; see literal.py."""
        return await self._literal.encode(text)

    async def parse(self, text: str) -> list[int]:
        """Tokenise `text` as a prompt: special tokens that it names are those tokens."""
        return (await self._ask(prompt=text, add_special_tokens=False)).ids

    async def decode(self, ids: Sequence[int]) -> str:
        """Return the text of `ids`, special tokens shown."""
        if not ids:
            return ""
        reply = await self._line.post("/detokenize", {"model": self._model, "tokens": list(ids)})
        with self._line.reading("/detokenize"):
            return str(reply["prompt"])

    async def _fill(self, messages: Sequence[Message], think: bool | None, tools: Sequence[Schema] = ()) -> list[int]:
        options: dict[str, Any] = {} if think is None else {"chat_template_kwargs": {"enable_thinking": think}}
        if tools:
            options["tools"] = list(tools)
        listed = [message._asdict() for message in messages]
        return (await self._ask(messages=listed, add_generation_prompt=True, **options)).ids

    async def _laid_out(self, messages: Sequence[Message], think: bool | None) -> str:
        return await self.decode(await self._fill(messages, think))

    async def _tokens(self, text: str) -> Tokens:
        return await self._ask(prompt=text, add_special_tokens=False, return_token_strs=True)

    async def _ask(self, **what: Any) -> Tokens:
        reply = await self._line.post("/tokenize", {"model": self._model, **what})
        with self._line.reading("/tokenize"):
            return Tokens(list(reply["tokens"]), list(reply.get("token_strs") or ()))

    async def is_special(self, id_: int) -> bool:
        """Make the server write this one token, and see whether it leaves it out of the text."""
        body = {
            "model": self._model,
            "prompt": [id_],
            "allowed_token_ids": [id_],
            "max_tokens": 1,
            "temperature": 0,
            "ignore_eos": True,
            "skip_special_tokens": True,
        }
        try:
            reply = await self._line.post(COMPLETIONS, body)
        except EngineRejected:
            return True  # a token that may not be written is none that text should turn into
        with self._line.reading(COMPLETIONS):
            return bool(reply["choices"][0]["text"] == "")
