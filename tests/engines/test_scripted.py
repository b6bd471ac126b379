"""The scripted engine behaves as a server would, and never answers twice from the same line."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator.engines.base import Chain, Request
from orchestrator.engines.scripted import Reply, Scripted
from orchestrator.errors import ContextExceeded, EngineProtocol, EngineUnavailable
from orchestrator.types import Message, Sampling, Stop


def request(text: str = "prompt", **options: object) -> Request:
    given = {"sampling": Sampling(), "max_tokens": 100, "seed": 1, "stop": ("\n\n",), **options}
    return Request(prompt=Chain(list(text.encode())).prefix(), **given)  # type: ignore[arg-type]


async def test_delimiter_end_and_length_are_told_apart() -> None:
    engine = Scripted(["a step\n\nand more", "the end", "much too long"])
    first = await engine.complete(request())
    assert (first.text, first.stop, first.stop_text) == ("a step\n\n", Stop.DELIMITER, "\n\n")
    second = await engine.complete(request())
    assert (second.text, second.stop) == ("the end", Stop.END)
    third = await engine.complete(request(max_tokens=4))
    assert (third.text, third.stop, third.output_tokens) == ("much", Stop.LENGTH, 4)


async def test_a_character_cut_in_half_is_dropped() -> None:
    reply = await Scripted(["né!"]).complete(request(max_tokens=2))
    assert (reply.text, reply.ids, reply.stop) == ("n", [ord("n")], Stop.LENGTH)


async def test_a_script_that_runs_out_raises() -> None:
    engine = Scripted(["once"])
    await engine.complete(request())
    with pytest.raises(EngineProtocol, match="ran out after 1 replies"):
        await engine.complete(request())


async def test_an_exception_in_the_script_is_raised_and_the_script_goes_on() -> None:
    engine = Scripted([EngineUnavailable("down", engine="scripted"), "back"])
    with pytest.raises(EngineUnavailable):
        await engine.complete(request())
    assert (await engine.complete(request())).text == "back"


async def test_it_remembers_what_it_was_asked() -> None:
    engine = Scripted(lambda request: str(len(request.prompt or ())))
    assert (await engine.complete(request("four"))).text == "4"
    assert [each.seed for each in engine.requests] == [1]


async def test_a_cancelled_call_tells_how_many_tokens_had_arrived() -> None:
    engine = Scripted([Reply(text="0123456789", latency_s=0.2)])
    asked = request()
    running = asyncio.create_task(engine.complete(asked))
    await asyncio.sleep(0.15)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert asked.progress.output_tokens == 5


async def test_a_prompt_that_fills_the_context_is_refused_with_both_numbers() -> None:
    with pytest.raises(ContextExceeded) as refused:
        await Scripted(["x"], context=6).complete(request("prompt"))
    assert (refused.value.prompt_tokens, refused.value.context) == (6, 6)


async def test_texts_round_trip_even_when_they_are_no_valid_unicode() -> None:
    engine = Scripted([])
    assert bytes(await engine.encode("a\udc80é")).decode("utf-8", "surrogatepass") == "a\udc80é"
    assert bytes(await engine.render([Message("user", "hi")])).decode() == "user: hi\nassistant: "


async def test_a_tool_speaks_in_a_line_of_its_own() -> None:
    engine = Scripted([])
    assert bytes(await engine.interject("12", "So", role="tool")).decode() == "\ntool: 12\nassistant: So"
    assert bytes(await engine.interject("Well?", "")).decode() == "\nuser: Well?\nassistant: "
    assert [(await Scripted([], continues=each).start()).think_switch for each in (True, False)] == ["block", ""]
