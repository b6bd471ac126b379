"""The StepStream contract on llama.cpp, and a whole run across two tokenizer families."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import step_stream_contract as contract

import orchestrator as orc
from orchestrator.engines.in_process import Embedded
from orchestrator.types import Stop

pytestmark = pytest.mark.embedded


def decoder(engine: Embedded) -> contract.Decode:
    async def decode(ids: Sequence[int]) -> str:
        return await engine._decode(ids)

    return decode


@pytest.mark.parametrize(
    "promise",
    [
        contract.steps_join_to_the_uninterrupted_text,
        contract.delimiter_end_and_length_are_told_apart,
        contract.every_prompt_extends_the_one_before,
        contract.a_judge_reads_a_prefix_of_the_next_prompt,
        contract.a_cancelled_call_is_counted_and_leaves_the_engine_usable,
        contract.a_rebuilt_stream_sends_the_same_prompt,
    ],
)
async def test_llama_cpp_keeps_the_promise(promise: contract.Callable[..., object], smollm2: Embedded) -> None:
    await promise(smollm2)  # type: ignore[misc]


@pytest.mark.parametrize(
    "promise",
    [
        contract.a_steps_text_is_the_decoding_of_its_ids,
        contract.a_token_keeps_what_it_carries_past_the_delimiter,
        contract.a_stranger_s_step_is_tokenised_once_as_data,
        contract.a_tool_s_answer_is_data_in_a_turn_of_its_own,
    ],
)
async def test_llama_cpp_keeps_the_promise_about_ids(
    promise: contract.Callable[..., object], smollm2: Embedded
) -> None:
    await promise(smollm2, decoder(smollm2))  # type: ignore[misc]


async def test_forty_streamed_calls_in_a_row_meet_no_broken_connection(smollm2: Embedded) -> None:
    """llama.cpp hangs up after a streamed reply without saying so; a kept connection would break one call in five."""
    prompt = await (await contract.stream_of(smollm2)).prefix(smollm2.name)
    for _ in range(40):
        assert (await contract.ask(smollm2, prompt, 2)).output_tokens == 2


class Turns:
    """Let the two engines write in turn, so that each reads what the other wrote."""

    def before_step(self, history: orc.types.History) -> orc.decisions.Plan:
        return orc.decisions.Plan(engine=history.engines[len(history.steps) % 2], max_tokens=12)


async def test_a_run_goes_back_and_forth_between_two_tokenizer_families(smollm2: Embedded, gemma: Embedded) -> None:
    pipeline = orc.Pipeline(
        {"small": smollm2, "large": gemma}, Turns(), db=":memory:", budget=orc.Budget(steps=6), seed=3, monitors=()
    )
    result = await pipeline.arun("Name three fruits and say what each tastes like.")
    writers = [step.writer for step in result.steps]
    assert writers == ["small", "large", "small", "large", "small", "large"][: len(writers)]
    assert len(writers) >= 3
    for step in result.steps:
        engine = smollm2 if step.writer == "small" else gemma
        assert step.text == await engine._decode(step.ids)
        assert step.stop in Stop
    calls = pipeline.journal.run(result.run_id).calls
    for writer in ("small", "large"):
        sent = [call.intent.prompt_tokens for call in calls if call.intent.engine == writer]
        assert sent == sorted(sent)
        assert len(set(sent)) == len(sent)
