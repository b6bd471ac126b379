"""A server that answers as vLLM does, at once or after a set wait, and writes nothing but numbered words.

It runs in a process of its own, so that its CPU is not the client's:

    with serving() as url:
        ...  # f"{url}/200/1" answers after 200 ms, one token to an event

Tokens 0 to 255 are bytes, those behind are words, and the last one ends a step.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from aiohttp import web

__all__ = ["STEP_TOKENS", "serving"]

STEP_TOKENS = 48
"""Tokens of every step."""
_WORDS = 997
_CONTEXT = 1 << 20
_MOST_BYTES = 64 << 20


@contextmanager
def serving() -> Iterator[str]:
    """Start the server and give its address; end it at the end."""
    with subprocess.Popen([sys.executable, str(Path(__file__))], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()


def piece(id_: int) -> bytes:
    """Return the bytes of a token."""
    if id_ < 256:
        return bytes((id_,))
    return b".\n\n" if id_ == 256 + _WORDS else f" w{id_ - 256}".encode()


def step_ids(prompt_tokens: int) -> list[int]:
    """Return a step that differs from the one before it."""
    first = prompt_tokens * 7
    return [256 + (first + place) % _WORDS for place in range(STEP_TOKENS - 1)] + [256 + _WORDS]


@cache
def step_events(first: int, tokens_per_event: int) -> bytes:
    """Return the events of a step; most of what a server would say, said once and kept."""
    ids = step_ids(first)
    events = []
    for start in range(0, STEP_TOKENS, tokens_per_event):
        part = ids[start : start + tokens_per_event]
        is_last = start + tokens_per_event >= STEP_TOKENS
        choice = {
            "index": 0,
            "text": b"".join(map(piece, part)).decode().removeprefix("" if start else " "),
            "logprobs": None,
            "finish_reason": "stop" if is_last else None,
            "stop_reason": "\n\n" if is_last else None,
            "token_ids": part,
            "prompt_token_ids": None,
        }
        events.append({**_named(), "choices": [choice], "usage": None})
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)


def _named() -> dict[str, Any]:
    return {"id": "cmpl-0123456789abcdef", "object": "text_completion", "created": 1700000000, "model": "stub"}


def _usage(prompt_tokens: int, output_tokens: int) -> dict[str, int]:
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": output_tokens,
        "total_tokens": prompt_tokens + output_tokens,
    }


async def models(_: web.Request) -> web.Response:
    """List the one model."""
    return web.json_response({"data": [{"id": "stub", "max_model_len": _CONTEXT}]})


async def version(_: web.Request) -> web.Response:
    """Say what this is."""
    return web.json_response({"version": "stub"})


async def tokenize(request: web.Request) -> web.Response:
    """Give the bytes of a text or a conversation."""
    asked = await request.json()
    text = asked.get("prompt")
    if text is None:
        text = "".join(f"{each['role']}: {each['content']}\n" for each in asked["messages"]) + "assistant: "
    ids = list(text.encode())
    return web.json_response({"tokens": ids, "token_strs": [chr(id_) for id_ in ids], "max_model_len": _CONTEXT})


async def detokenize(request: web.Request) -> web.Response:
    """Give the text of ids."""
    ids = (await request.json())["tokens"]
    return web.json_response({"prompt": b"".join(map(piece, ids)).decode("utf-8", "replace")})


async def complete(request: web.Request) -> web.Response:
    """Write a step as a stream of events, or one digit where one token is asked for."""
    asked = json.loads(await request.read())
    prompt_tokens = len(asked["prompt"])
    if latency_ms := int(request.match_info["latency_ms"]):
        await asyncio.sleep(latency_ms / 1000)
    if not asked.get("stream"):
        choice = {"index": 0, "text": "9", "finish_reason": "length", "stop_reason": None, "token_ids": [57]}
        return web.json_response({**_named(), "choices": [choice], "usage": _usage(prompt_tokens, 1)})
    ending = {**_named(), "choices": [], "usage": _usage(prompt_tokens, STEP_TOKENS)}
    events = step_events(prompt_tokens % _WORDS, int(request.match_info["tokens_per_event"]))
    body = events + b"data: " + json.dumps(ending).encode() + b"\n\ndata: [DONE]\n\n"
    return web.Response(body=body, content_type="text/event-stream")


async def _serve() -> None:
    app = web.Application(client_max_size=_MOST_BYTES)
    root = "/{latency_ms}/{tokens_per_event}"
    app.router.add_get(f"{root}/v1/models", models)
    app.router.add_get(f"{root}/version", version)
    app.router.add_post(f"{root}/tokenize", tokenize)
    app.router.add_post(f"{root}/detokenize", detokenize)
    app.router.add_post(f"{root}/v1/completions", complete)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve())
