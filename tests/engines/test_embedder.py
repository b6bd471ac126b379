"""Vectors from a server: llama.cpp with a real model, and servers that answer something else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from math import sqrt
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from orchestrator.engines import embedding
from orchestrator.engines.embedder import MAX_TEXTS, Embedder
from orchestrator.engines.embedding import EmbeddingSpec
from orchestrator.engines.pocket import bundled
from orchestrator.errors import BadConfig, EngineError, EngineProtocol, EngineUnavailable

Reply = Callable[[dict[str, Any]], Any]


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Any]]:
    """Start a server whose /v1/embeddings answers as it is told to; its address."""
    runners: list[web.AppRunner] = []

    async def start(reply: Reply, models: tuple[str, ...] = ("only",)) -> str:
        async def embeddings(request: web.Request) -> web.Response:
            return web.json_response(reply(await request.json()))

        async def listed(request: web.Request) -> web.Response:
            return web.json_response({"data": [{"id": name} for name in models]})

        app = web.Application()
        app.router.add_post("/v1/embeddings", embeddings)
        app.router.add_get("/v1/models", listed)
        runner = web.AppRunner(app)
        runners.append(runner)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        return f"http://{host}:{port}/v1"

    yield start
    for runner in runners:
        await runner.cleanup()


def by_length(body: dict[str, Any]) -> dict[str, Any]:
    """Vectors that say how long each text is, given back in another order."""
    found = [{"index": place, "embedding": [1.0, float(len(text))]} for place, text in enumerate(body["input"])]
    return {"data": found[::-1]}


async def test_texts_come_back_as_vectors_in_their_order_in_requests_of_bounded_size(serve: Any) -> None:
    asked: list[int] = []

    def reply(body: dict[str, Any]) -> dict[str, Any]:
        asked.append(len(body["input"]))
        return by_length(body)

    engine = Embedder(await serve(reply))
    texts = ["x" * number for number in range(1, MAX_TEXTS + 9)]
    assert await engine.embed(texts) == [[1.0, float(len(text))] for text in texts]
    assert asked[1:] == [MAX_TEXTS, 8]  # the first one is the probe
    assert await engine.embed([]) == [] and len(await engine.embed([""])) == 1
    await engine.close()


async def test_a_space_is_named_by_the_model_and_by_what_it_makes_of_a_text(serve: Any) -> None:
    one, same = [Embedder(await serve(by_length), model="m") for _ in range(2)]
    other = Embedder(await serve(lambda body: {"data": [{"index": 0, "embedding": [0.5, 0.5]}]}), model="m")
    assert await one.space() == await same.space() != await other.space()
    assert (await one.space()).startswith("m ")


@pytest.mark.parametrize(
    "data",
    [
        [],
        [{"index": 0, "embedding": []}],
        [{"index": 0, "embedding": ["x"]}],
        [{"index": 0, "embedding": [float("nan")]}],
        [{"index": 0}],
        [{"index": 0, "embedding": [0.0, 0.0]}],
        [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": [1.0, 2.0]}],
    ],
)
async def test_a_reply_that_is_no_vector_for_each_text_is_an_error_of_the_server(serve: Any, data: Any) -> None:
    engine = Embedder(await serve(lambda body: {"data": data}), model="m")
    with pytest.raises(EngineProtocol, match="reply is not as expected"):
        await engine.embed(["a"])


async def test_of_several_models_one_has_to_be_named(serve: Any) -> None:
    with pytest.raises(BadConfig, match="the server has a, b: name one"):
        await Embedder(await serve(by_length, ("a", "b"))).space()


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(EngineUnavailable):
        await Embedder("http://127.0.0.1:9", model="m").space()


@pytest.fixture(scope="module")
def llama() -> Iterator[str]:
    """llama.cpp that embeds with the small pocket engine; its address."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = bundled("pocket-small")
    params.embedding = True
    params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_ctx = 2048
    params.verbosity = -1
    server = xllamacpp.Server(params)
    yield server.listening_address
    del server


@pytest.mark.embedded
async def test_a_real_model_puts_texts_that_look_alike_near_each_other(llama: str) -> None:
    engine = Embedder(llama)
    sums, more, words = await engine.embed(["12+34=46", "12+35=47", "lamp pen cup"])
    assert cosine(sums, more) > cosine(sums, words)
    assert await engine.space() == await Embedder(llama).space()
    await engine.close()


def cosine(one: list[float], other: list[float]) -> float:
    product = sum(a * b for a, b in zip(one, other, strict=True))
    return product / sqrt(sum(a * a for a in one) * sum(b * b for b in other))


@pytest.mark.parametrize("text, found", [(None, "No such file"), ("these are notes", "not a GGUF file")])
async def test_a_file_that_is_no_model_is_a_mistake_in_the_configuration(
    tmp_path: Path, text: str | None, found: str
) -> None:
    path = tmp_path / "notes.gguf"
    if text is not None:
        path.write_text(text)
    engine = EmbeddingSpec(path=str(path)).made()
    with pytest.raises(BadConfig, match=rf"engine 'embedding'.*notes\.gguf.*{found}"):
        await engine.space()
    await engine.close()


@pytest.mark.embedded
async def test_a_model_that_is_none_of_sentences_is_said_to_embed_nothing() -> None:
    engine = EmbeddingSpec(path=bundled("pocket-small")).made()
    with pytest.raises(EngineError, match="pooling"):
        await engine.embed(["12+34=46"])
    await engine.close()


@pytest.mark.parametrize(
    "options, found",
    [
        ({}, "needs a url or a path, and has neither"),
        ({"url": "http://host", "path": "minilm"}, "needs a url or a path, and has both"),
        ({"path": "minilm", "model": "m"}, "model is for a server"),
        ({"path": "minilm", "api_key": "k"}, "api_key is for a server"),
        ({"url": "http://bob:secret@host"}, "holds a user name or password"),
        ({"url": "http://host", "timeout_s": 0}, "timeout_s = 0 must be above 0"),
        ({"url": "http://host", "timeout_s": float("nan")}, "timeout_s = nan must be above 0"),
    ],
)
def test_an_embedding_is_at_one_place(options: dict[str, Any], found: str) -> None:
    with pytest.raises(BadConfig, match=found) as raised:
        embedding(**options)
    assert "secret" not in str(raised.value)


def test_an_address_that_is_none_is_refused_before_anything_is_asked() -> None:
    with pytest.raises(BadConfig, match="the address of engine 'embedding'"):
        embedding("somewhere").made()


async def test_a_model_whose_numbers_are_a_little_off_is_the_same_one(serve: Any) -> None:
    numbers = [0.31, -0.52, 0.11, 0.07, 0.93, -0.44, 0.21, 0.005, 0.004]
    near = [number * (1 + 1e-4) for number in numbers]
    spaces = []
    for found in (numbers, near, numbers[::-1], [-number for number in numbers]):
        engine = Embedder(await serve(lambda body, found=found: {"data": [{"index": 0, "embedding": found}]}))
        spaces.append(await engine.space())
        await engine.close()
    assert spaces[0] == spaces[1] and len({*spaces}) == 3
