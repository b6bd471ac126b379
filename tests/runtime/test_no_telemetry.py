"""The only connections of a run are to the engines the user named, whatever LangChain's variables say.

The run happens in a process of its own that notes every connection and every look-up of a name.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from fake_vllm import END, FakeVllm, ids, said, usage
from stub_server import StubServer

PROGRAM = """
import json, sys
seen = set()
def note(event, args):
    if event == "socket.connect":
        seen.add(str(args[1]))
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        seen.add(f"{event} {args}")
sys.addaudithook(note)

import orchestrator as orc

url, allow, granularity, way = sys.argv[1:]
engines = {name: orc.engines.vllm(url) for name in ("small", "large")}
options = dict(db=":memory:", granularity=granularity, allow_langsmith=allow == "yes")
with orc.Pipeline(engines, "small", **options) as pipeline:
    if way == "stream":
        import asyncio
        async def last():
            async with pipeline:
                return [event async for event in pipeline.stream("a secret question")][-1]
        result = asyncio.run(last())
    elif way == "node":
        from typing import TypedDict
        from langgraph.graph import START, StateGraph
        class Talk(TypedDict, total=False):
            question: str
            answer: str
        graph = StateGraph(Talk)
        graph.add_node("solve", orc.reasoning_node(pipeline, input="question", output="answer"))
        graph.add_edge(START, "solve")
        graph.compile().invoke({"question": "a secret question"})
        [result] = pipeline.journal.runs()
    else:
        result = pipeline.run("a secret question")

from langchain_core.tracers.langchain import wait_for_all_tracers
wait_for_all_tracers()
print(json.dumps([result.answer, sorted(seen)]))
"""


async def connections(
    stub: StubServer, langsmith: LangSmith, *args: str, only: str | None = None
) -> tuple[str, set[str]]:
    """Run the program with every tracing variable set, or `only` one, and return what it answers and contacts."""
    vllm = FakeVllm(stub, context=10_000)
    vllm.answer(said(ids("first\n\n"), finish_reason="stop", stop_reason="\n\n"), usage(9, 3, 0))
    vllm.answer(said([*ids("so \\boxed{4}"), END], "so \\boxed{4}", finish_reason="stop"), usage(9, 3, 0))
    options = {
        "TRACING_V2": "true",
        "API_KEY": "lsv2_pt_0123456789",
        "ENDPOINT": f"http://127.0.0.1:{langsmith.port}",
        "PROJECT": "mine",
    }
    variables = {f"{name}_{option}": value for name in ("LANGSMITH", "LANGCHAIN") for option, value in options.items()}
    variables |= dict.fromkeys(("LANGSMITH_TRACING", "LANGCHAIN_TRACING", "LANGCHAIN_HANDLER"), "true")
    if only is not None:
        variables = {only: variables[only]}
    program = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PROGRAM,
        f"{stub.url}/v1",
        *args,
        env=os.environ | variables,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await program.communicate()
    assert program.returncode == 0
    answer, seen = json.loads(out)
    return answer, set(seen)


def address(server: Any) -> str:
    return str(("127.0.0.1", server.port))


class LangSmith:
    """Stands for LangSmith: thanks for whatever it is sent, and counts."""

    async def __aenter__(self) -> LangSmith:
        self.num_visits = 0
        self._server = await asyncio.start_server(self._thank, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def _thank(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.num_visits += 1
        with suppress(TimeoutError):
            while await asyncio.wait_for(reader.read(1 << 16), 0.2):
                pass
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
        writer.close()

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()


@pytest.fixture
async def stub() -> AsyncIterator[StubServer]:
    async with StubServer() as server:
        yield server


@pytest.mark.parametrize(("granularity", "way"), [("steps", "run"), ("fused", "run"), ("steps", "stream")])
async def test_a_run_contacts_its_engines_and_nobody_else(stub: StubServer, granularity: str, way: str) -> None:
    async with LangSmith() as langsmith:
        answer, contacted = await connections(stub, langsmith, "no", granularity, way)
        assert answer == "4"
        assert contacted == {address(stub)}
        assert langsmith.num_visits == 0


@pytest.mark.parametrize("variable", ["LANGCHAIN_TRACING", "LANGCHAIN_HANDLER"])
async def test_a_variable_for_a_tracer_that_is_gone_stops_no_run(stub: StubServer, variable: str) -> None:
    async with LangSmith() as langsmith:
        answer, contacted = await connections(stub, langsmith, "no", "steps", "run", only=variable)
        assert (answer, contacted) == ("4", {address(stub)})


async def test_allowing_what_is_not_set_up_stops_no_run(stub: StubServer) -> None:
    async with LangSmith() as langsmith:
        answer, contacted = await connections(stub, langsmith, "yes", "steps", "run", only="LANGCHAIN_HANDLER")
        assert (answer, contacted) == ("4", {address(stub)})


async def test_a_run_inside_a_traced_graph_of_a_stranger_goes_on(stub: StubServer) -> None:
    async with LangSmith() as langsmith:
        answer, _ = await connections(stub, langsmith, "no", "steps", "node")
        assert answer == "4"


async def test_langsmith_is_contacted_where_the_user_allows_it(stub: StubServer) -> None:
    """Shows that the test above could fail."""
    async with LangSmith() as langsmith:
        answer, contacted = await connections(stub, langsmith, "yes", "steps", "run")
        assert answer == "4"
        assert address(langsmith) in contacted
        assert langsmith.num_visits > 0
