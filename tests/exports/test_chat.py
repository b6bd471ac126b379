"""Runs with tools as chats: calls taken out of the text, what they were answered beside them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from readable import check_chat

from orchestrator.engines.scripted import Scripted
from orchestrator.engines.spec import ToolPrompt
from orchestrator.exports.chat import chat_of, open_turn
from orchestrator.exports.lines import LeftOut
from orchestrator.memory.base import StoredRun
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.types import Task

TASK = Task.of("What is 2*3 and 4*5?")
DONE = "So \\boxed{26}"


def double(number: int) -> str:
    """Double a number."""
    return str(2 * number)


def ran(texts: list[str], form: Any = "plain", tools: Any = (double,), *, continues: bool = True) -> StoredRun:
    """Return a run in which the engine says this, step by step, or where it does not continue, turn by turn."""
    prompt = ToolPrompt(format=form)
    engines = {"small": Scripted(texts, continues=continues)}
    with Pipeline(engines, "small", db=":memory:", tools=tools, tool_prompt=prompt) as pipeline:
        return pipeline.journal.run(pipeline.run(TASK).run_id)


def test_a_call_is_a_message_of_the_assistant_and_its_answer_one_of_the_tool() -> None:
    chat = chat_of(ran(["Three first.\n\n", "<tool>double(3)</tool>", DONE]), TASK)
    asked = {"id": "call00001", "type": "function", "function": {"name": "double", "arguments": {"number": 3}}}
    assert chat.messages == [
        {"role": "user", "content": "What is 2*3 and 4*5?"},
        {"role": "assistant", "content": "Three first.", "tool_calls": [asked]},
        {"role": "tool", "tool_call_id": "call00001", "name": "double", "content": "6"},
        {"role": "assistant", "content": DONE},
    ]
    check_chat(chat.messages)
    (schema,) = chat.tools
    assert schema["function"]["name"] == "double" and schema["function"]["description"] == "Double a number."
    assert schema["function"]["parameters"]["properties"]["number"]["type"] == "integer"


@pytest.mark.parametrize("form", ["hermes", "json"])
def test_every_format_of_calls_comes_out_alike(form: str) -> None:
    call = json.dumps({"name": "double", "arguments": {"number": 3}})
    said = f"<tool_call>{call}</tool_call>" if form == "hermes" else call
    chat = chat_of(ran([said, DONE], form), TASK)
    assert chat.messages[1]["content"] == ""
    assert chat.messages[1]["tool_calls"][0]["function"] == {"name": "double", "arguments": {"number": 3}}


def test_several_calls_of_one_turn_are_answered_one_by_one() -> None:
    call = "<tool_call>{}</tool_call>"
    both = "".join(call.format(json.dumps({"name": "double", "arguments": {"number": n}})) for n in (3, 20))
    messages = chat_of(ran([both, DONE], "hermes", continues=False), TASK).messages
    assert [(each["tool_call_id"], each["content"]) for each in messages if each["role"] == "tool"] == [
        ("call00001", "6"),
        ("call00002", "40"),
    ]
    check_chat(messages)


def test_a_call_that_is_quoted_or_thought_about_stays_text() -> None:
    said = "<think>I may <tool>double(9)</tool></think>Like\n```\n<tool>double(8)</tool>\n```\n<tool>double(3)</tool>"
    messages = chat_of(ran([said, DONE], continues=False), TASK).messages
    assert [call["function"]["arguments"] for call in messages[1]["tool_calls"]] == [{"number": 3}]
    assert "double(9)" in messages[1]["content"] and "double(8)" in messages[1]["content"]


@pytest.mark.parametrize("said", ["<tool>halve(3)</tool>", "<tool>double 3</tool>", "<tool>double(3"])
def test_a_run_with_a_broken_call_is_no_example(said: str) -> None:
    with pytest.raises(LeftOut, match="a call in them is broken"):
        chat_of(ran([said, DONE], continues=False), TASK)


def test_a_run_with_words_behind_its_call_is_no_example() -> None:
    with pytest.raises(LeftOut, match="words stand between their calls, or behind them"):
        chat_of(ran(["<tool>double(3)</tool> It is 7.", DONE], continues=False), TASK)


def test_tools_that_were_made_for_the_task_cannot_be_told_of() -> None:
    with pytest.raises(LeftOut, match="made for the task alone"):
        chat_of(ran(["<tool>double(3)</tool>", DONE], tools=lambda task: [double]), TASK)
    unused = chat_of(ran([DONE], tools=lambda task: [double]), TASK)
    assert unused.tools == [] and unused.messages[-1]["content"] == DONE


def test_a_run_that_ends_with_a_tools_answer_says_nothing_to_learn() -> None:
    stored = ran(["<tool>double(3)</tool>", DONE])
    cut = stored._replace(steps=stored.steps[:-1])
    with pytest.raises(LeftOut, match="nothing was written behind"):
        chat_of(cut, TASK)


def test_an_open_turn_is_what_was_said_of_it_so_far() -> None:
    stored = ran(["Three first.\n\n", "<tool>double(3)</tool>", "Six.\n\n", DONE])
    prompt, said = open_turn(stored, TASK, stored.kept()[:4])
    assert [each["role"] for each in prompt.messages] == ["user", "assistant", "tool"] and said == "Six.\n\n"
    assert open_turn(stored, TASK, stored.kept()[:1]).said == "Three first.\n\n"
