"""The whole StepStream contract against a real vLLM server with ngram speculation on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest
import step_stream_contract as contract

import orchestrator as orc
from orchestrator.engines.dialects.vllm import Vllm
from orchestrator.types import Status

pytestmark = pytest.mark.vllm


@pytest.fixture
async def engine(vllm_url: str) -> AsyncIterator[Vllm]:
    engine = Vllm(vllm_url, name="large")
    await engine.start()
    yield engine
    await engine.close()


async def test_a_real_vllm_server_keeps_the_whole_step_stream_contract(engine: Vllm) -> None:
    async def decode(ids: Sequence[int]) -> str:
        return await engine._decode(ids)

    await contract.steps_join_to_the_uninterrupted_text(engine)
    await contract.a_steps_text_is_the_decoding_of_its_ids(engine, decode)
    await contract.a_token_keeps_what_it_carries_past_the_delimiter(engine, decode)
    await contract.delimiter_end_and_length_are_told_apart(engine)
    await contract.every_prompt_extends_the_one_before(engine)
    await contract.a_stranger_s_step_is_tokenised_once_as_data(engine, decode)
    await contract.a_tool_s_answer_is_data_in_a_turn_of_its_own(engine, decode)
    await contract.a_judge_reads_a_prefix_of_the_next_prompt(engine)
    await contract.a_cancelled_call_is_counted_and_leaves_the_engine_usable(engine)
    await contract.a_rebuilt_stream_sends_the_same_prompt(engine)


async def test_a_whole_specreason_run_leaves_its_trace(vllm_url: str) -> None:
    async with orc.Pipeline(
        {
            "small": orc.engines.vllm(vllm_url, temperature=0.0, max_tokens=24),
            "large": orc.engines.vllm(vllm_url, temperature=0.0, max_tokens=24),
        },
        orc.routers.SpecReason(threshold=5, reading="average", total_tokens=120),
        db=":memory:",
    ) as pipeline:
        result = await pipeline.arun("What is 12 + 7? Think in short paragraphs.")
        assert result.status in (Status.COMPLETED, Status.NO_ANSWER, Status.BUDGET)
        assert result.steps
        stored = pipeline.journal.run(result.run_id)
        assert len(stored.signals) == len([call for call in stored.calls if call.intent.purpose == "judge"])
        assert all(signal.value is not None or signal.reason for signal in stored.signals)
        cached = [call.result.cached_tokens for call in stored.calls if call.result]
        assert None not in cached, "the server reports its prefix cache"
