"""A server that is started like vLLM, loads nothing, and takes as long for a step as it is told.

    python fake_speculator.py ... --port 8001 --speculative-config '{...}'

FAKE_BASE_MS and FAKE_TOKEN_MS are the time of a step and of each token in it, FAKE_PLAIN_MS what comes on top without
speculation. Every other draft stands, but only its first two tokens. FAKE_SILENT: it does not say what it drafted.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from aiohttp import web

sys.path.append(str(Path(__file__).parent / "engines"))

from fake_vllm import FakeVllm, said, usage
from stub_server import StubServer

LETTER = 7 + ord("x")


def told(flag: str) -> str | None:
    return sys.argv[sys.argv.index(flag) + 1] if flag in sys.argv else None


def most_tokens(config: dict[str, Any]) -> int:
    rows = config.get("num_speculative_tokens_per_batch_size") or [[1, 1, config["num_speculative_tokens"]]]
    return int(rows[0][2])


class Speculator:
    def __init__(self) -> None:
        config = told("--speculative-config")
        self.most = most_tokens(json.loads(config)) if config else 0
        self.base_ms = float(os.environ["FAKE_BASE_MS"]) + (0 if config else float(os.environ["FAKE_PLAIN_MS"]))
        self.token_ms = float(os.environ["FAKE_TOKEN_MS"])
        self.says = config is not None and "FAKE_SILENT" not in os.environ
        self.running = 0

    async def complete(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        reply = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await reply.prepare(request)
        written = steps = drafts = accepted = 0
        self.running += 1
        try:
            while written < body["max_tokens"]:
                await asyncio.sleep((self.base_ms + self.token_ms * self.running * (1 + self.most)) / 1000)
                stood = min(self.most, 2) * (steps % 2)
                new = min(1 + stood, body["max_tokens"] - written)
                steps, drafts, accepted, written = steps + 1, drafts + bool(self.most), accepted + stood, written + new
                last = {"finish_reason": "length"} if written == body["max_tokens"] else {}
                await self.send(reply, said([LETTER] * new, **last))
        finally:
            self.running -= 1
        counts = {
            "num_spec_steps": drafts,
            "num_draft_tokens": drafts * self.most,
            "num_accepted_draft_tokens": accepted,
        }
        metrics = {"queue_time_ms": 0.1} | ({"speculative_decoding": counts} if self.says else {})
        await self.send(reply, usage(len(body["prompt"]), written, 0) | {"metrics": metrics})
        await reply.write(b"data: [DONE]\n\n")
        return reply

    async def send(self, reply: web.StreamResponse, event: dict[str, Any]) -> None:
        await reply.write(f"data: {json.dumps(event)}\n\n".encode())


async def main() -> None:
    stub, speculator = StubServer(), Speculator()
    FakeVllm(stub, context=100_000)

    async def answer(request: web.Request) -> web.StreamResponse:
        body = await request.json() if request.body_exists else {}
        if body.get("stream"):
            return await speculator.complete(request, body)
        if "stop" in body:  # one token, in one piece
            reply = said([LETTER], finish_reason="length")
            return web.json_response(reply | {"usage": usage(len(body["prompt"]), 1, 0)["usage"]})
        return await stub.answer(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int(told("--port") or 0)).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
