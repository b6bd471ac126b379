"""The same weights on both engines: llama.cpp reads the shipped GGUF, vLLM the folder derived from it."""

from __future__ import annotations

from itertools import islice

import pytest

import orchestrator as orc
from orchestrator.bench.workloads.random_calculation import calculations
from orchestrator.engines.spec import EngineSpec

pytestmark = pytest.mark.vllm

TASKS = [each.prompt for each in islice(calculations("mid", "report", 0), 6)]


def large_only(spec: EngineSpec) -> list[str]:
    with orc.Pipeline({"large": spec}, "large", db=":memory:") as pipeline:
        return [pipeline.run(task).text for task in TASKS]


def test_both_engines_write_the_same_text(pocket_url: str) -> None:
    ours = large_only(orc.engines.pocket_pair(temperature=0.0)["large"])
    theirs = large_only(orc.engines.vllm(pocket_url, temperature=0.0, think=True))
    assert all("</think>" in text and "boxed" in text for text in ours)
    assert theirs == ours


async def test_both_engines_have_one_tokenizer(pocket_url: str) -> None:
    async with orc.Pipeline(
        {"small": orc.engines.pocket_pair()["small"], "large": orc.engines.vllm(pocket_url, temperature=0.0)},
        db=":memory:",
    ) as pipeline:
        found = await pipeline.start()
    assert found["small"].tokenizer == found["large"].tokenizer
