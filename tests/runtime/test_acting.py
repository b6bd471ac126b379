"""An agent calls, is answered, and goes on; whatever the tool or the engine does, it is an observation."""

from __future__ import annotations

import asyncio
import re
import time
from functools import partial
from itertools import pairwise
from typing import Any

import pytest

from orchestrator.decisions import Plan
from orchestrator.engines.base import Request
from orchestrator.engines.scripted import Scripted
from orchestrator.engines.spec import ToolPrompt
from orchestrator.errors import UserError
from orchestrator.memory.base import StoredRun
from orchestrator.routers import SmallOnly
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.runtime.result import RunResult
from orchestrator.runtime.run import Kept
from orchestrator.tools import Python, tool
from orchestrator.types import Budget, History, Overlap, Status, StepKind, Task

QUESTION = "What is 6 times 7?"


def calc(expression: str) -> str:
    """Work something out."""
    return {"6*7": "42", "42+1": "43"}[expression]


def agent(script: Any, *tools: Any, router: Any = "small", **options: Any) -> Pipeline:
    """Return a pipeline of one engine and tools."""
    return Pipeline({"small": Scripted(script)}, router, tools=tools or (calc,), db=":memory:", **options)


def prompts(made: Pipeline) -> list[str]:
    """Return what the engines were given, in order."""
    asked = [request.prompt for engine in made.engines.values() for request in engine.requests]  # type: ignore[attr-defined]
    return [bytes(prompt.ids()).decode("utf-8", "surrogatepass") for prompt in asked]


def ran(script: Any, *tools: Any, **options: Any) -> tuple[RunResult, list[str], StoredRun]:
    """Run an agent on the question; return its result, its prompts and what the journal has."""
    with agent(script, *tools, **options) as made:
        result = made.run(QUESTION)
        return result, prompts(made), made.journal.run(result.run_id)


def observed(result: RunResult) -> list[str]:
    return [step.text for step in result.steps if step.kind is StepKind.OBSERVATION]


CALL = "Let me see. <tool>calc(6*7)</tool>"


def test_a_call_is_made_and_the_answer_is_what_the_engine_says_behind_it() -> None:
    result, asked, stored = ran([CALL, "It is \\boxed{42}."])
    assert (result.status, result.answer, result.text) == (Status.COMPLETED, "42", CALL + "It is \\boxed{42}.")
    assert [(step.kind, step.writer, step.text, step.num_tokens) for step in result.steps] == [
        ("action", "small", CALL, len(CALL)),
        ("observation", "calc", "42", 0),
        ("thought", "small", "It is \\boxed{42}.", 17),
    ]
    assert [(call.intent.purpose, call.intent.engine) for call in stored.calls] == [
        ("draft", "small"),
        ("tool", "calc"),
        ("draft", "small"),
    ]
    [row] = [row for row in result.ledger.rows() if row["purpose"] == "tool"]
    assert (row["engine"], row["fate"], row["calls"], row["prompt_tokens"], row["output_tokens"]) == (
        "calc",
        "used",
        1,
        0,
        0,
    )
    assert asked[1] == f"{asked[0]}{CALL}\ntool: 42\nassistant: "


class WholeTurns(SmallOnly):
    """Plans whole turns."""

    def before_step(self, history: History) -> Plan:
        return Plan(engine=history.small, whole=True)


@pytest.mark.parametrize("router", ["small", WholeTurns()], ids=["steps", "whole turns"])
def test_a_second_call_in_a_turn_of_text_is_not_written_and_can_be_made_in_the_next(router: Any) -> None:
    second = "<tool>calc(42+1)</tool>"
    result, asked, stored = ran([CALL + second, second, "\\boxed{43}"], router=router)
    assert [step.text for step in result.steps] == [CALL, "42", second, "43", "\\boxed{43}"]
    assert asked[1] == f"{asked[0]}{CALL}\ntool: 42\nassistant: "
    assert sum(call.intent.purpose == "tool" for call in stored.calls) == 2


def test_a_second_object_behind_a_call_in_json_is_told_of() -> None:
    one = '{"name": "calc", "parameters": {"expression": "6*7"}}'
    result, _, stored = ran([f"{one}\n{one}", one, "\\boxed{42}"], tool_prompt=ToolPrompt(format="json"))
    first, second = observed(result)
    assert first.startswith("error: the call is not JSON that can be read") and second == "42"
    assert sum(call.intent.purpose == "tool" for call in stored.calls) == 1


def test_every_prompt_extends_the_one_before() -> None:
    script = ["First this.\n\n", CALL, "And one more. <tool>calc(42+1)</tool>", "So:\n\n", "\\boxed{43}"]
    result, asked, _ = ran(script)
    assert result.answer == "43"
    assert all(later.startswith(earlier) for earlier, later in pairwise(asked))
    assert asked[-1].endswith(
        "tool: 42\nassistant: And one more. <tool>calc(42+1)</tool>\ntool: 43\nassistant: So:\n\n"
    )


@pytest.mark.parametrize(
    "script",
    [
        ["I guess \\boxed{1}. <tool>shout(x)</tool>", "That is all."],
        ["I guess \\boxed{1}.\n\n", "<tool>shout(x)</tool>", "That is all."],
    ],
    ids=["in the call's own step", "in an earlier step"],
)
def test_an_answer_in_what_a_tool_says_or_in_an_earlier_turn_is_none(script: list[str]) -> None:
    def shout(word: str) -> str:
        return f"\\boxed{{{word}}} Answer: {word}"

    result, _, _ = ran(script, shout, stop_on_answer=False)
    assert (result.status, result.answer) == (Status.NO_ANSWER, None)


def test_a_draft_that_calls_a_tool_is_routed_as_any_other() -> None:
    small, large = Scripted([CALL]), Scripted(["<tool>calc(42+1)</tool>", "\\boxed{43}"])
    engines = {"small": small, "large": large}
    with Pipeline(engines, "large", tools=[calc], db=":memory:") as made:
        result = made.run(QUESTION)
    assert [(step.writer, step.kind.value) for step in result.steps] == [
        ("large", "action"),
        ("calc", "observation"),
        ("large", "thought"),
    ]
    assert result.ledger.large_share == 1.0


async def hangs(item: str) -> str:
    await asyncio.sleep(30)
    return "at last"


def raises(item: str) -> str:
    raise ValueError(f"no {item} in /srv/secret/place.db")


def leaves(item: str) -> str:
    raise SystemExit(3)


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (raises, "error: ValueError: no x in place.db"),
        (leaves, "error: SystemExit: 3"),
        (tool(timeout_s=0.05)(hangs), "error: hangs gave no answer within 0.05 s; it was cancelled"),
        (tool(name="sleeps", timeout_s=0.05)(lambda: time.sleep(0.5)), "error: sleeps gave no answer within 0.05 s"),
        (tool(name="much", max_chars=120)(lambda: "x" * 5_000_000), "[cut here: the whole has 5000000 characters]"),
        (tool(name="raw")(lambda: b"\x00\xff"), "error: the tool returned bytes"),
        (tool(name="escapes")(lambda: "\x1b[2Jred\x07\ud800"), "\\x1b[2Jred\\x07\\ud800"),
        (tool(name="silent")(lambda: " \n"), "(no output)"),
        (tool(name="nothing")(lambda: None), "null"),
    ],
    ids=lambda value: getattr(value, "name", getattr(value, "__name__", None)),
)
def test_whatever_a_tool_does_is_an_observation(made: Any, expected: str) -> None:
    name = getattr(made, "name", getattr(made, "__name__", ""))
    argument = "x" if name in ("raises", "leaves", "hangs") else ""
    result, asked, stored = ran([f"<tool>{name}({argument})</tool>", "\\boxed{0}"], made)
    assert result.status is Status.COMPLETED
    [text] = observed(result)
    assert expected in text
    assert len(text) <= 4000
    assert f"tool: {text}\nassistant: " in asked[1]
    assert stored.calls[1].result is not None and stored.calls[1].result.status == "done"


@pytest.mark.parametrize(
    ("turn", "expected"),
    [
        ("<tool>fly(6*7)</tool>", "error: there is no tool 'fly'; there are: calc"),
        ("<tool>small(6*7)</tool>", "error: there is no tool 'small'; there are: calc"),
        ("<tool>calc()</tool>", "error: calc: expression"),
        ("<tool>calc</tool>", "error: the call must be written name(arguments)"),
        ("<tool>calc(6*7)", "error: the call is not closed: </tool> is missing"),
        ("<tool></tool>", "error: the call must be written name(arguments)"),
        ("<tool>calc(nine)</tool>", "error: KeyError: 'nine'"),
    ],
)
def test_whatever_is_wrong_with_a_call_is_an_observation(turn: str, expected: str) -> None:
    result, _, _ = ran([turn, "\\boxed{0}"])
    assert (result.status, result.answer) == (Status.COMPLETED, "0")
    assert observed(result)[0].startswith(expected)
    writers = {step.writer for step in result.steps if step.kind is StepKind.OBSERVATION}
    assert writers <= {"calc", "?"}  # a name that an engine made up is nobody's


@pytest.mark.parametrize(
    "turn",
    [
        "<think>I could say <tool>calc(6*7)</tool> here.</think> \\boxed{0}",
        "```\n<tool>calc(6*7)</tool>\n```\nThat is how: \\boxed{0}",
        "</tool> \\boxed{0}",
    ],
    ids=["in a thought", "in a fence", "only its end"],
)
def test_a_call_that_is_only_thought_or_quoted_is_not_made(turn: str) -> None:
    def script(request: Request) -> str:
        assert request.prompt is not None
        written = bytes(request.prompt.ids()).decode().partition("assistant: ")[2]
        assert turn.startswith(written)
        return turn[len(written) :]

    result, _, stored = ran(script)
    assert (result.status, result.answer) == (Status.COMPLETED, "0")
    assert "".join(step.text for step in result.steps) == turn
    assert {call.intent.purpose for call in stored.calls} == {"draft"}


def test_a_call_cut_off_by_the_limit_of_its_step_is_malformed() -> None:
    result, _, _ = ran(["<tool>calc(6*7)</tool>", "\\boxed{0}"], budget=Budget(tokens=31))
    assert observed(result) == ["42"]
    result, _, _ = ran(["<tool>calc(6*7)</tool>", "\\boxed{0}"], budget=Budget(tokens=12))
    assert observed(result) == ["error: the call is not closed: </tool> is missing"]
    assert result.status is Status.BUDGET


def test_the_clock_cuts_a_hanging_tool_off_and_the_run_ends_with_its_trace() -> None:
    result, _, stored = ran(["\\boxed{3} <tool>hangs(x)</tool>"], hangs, budget=Budget(seconds=0.2))
    assert (result.status, result.answer) == (Status.BUDGET, "3")
    assert result.seconds < 5
    [row] = [row for row in result.ledger.rows() if row["purpose"] == "tool"]
    assert (row["engine"], row["fate"], row["calls"]) == ("hangs", "interrupted", 1)
    assert stored.calls[-1].result is not None and stored.calls[-1].result.status == "aborted"
    assert [row.kind for row in stored.kept()] == ["action"]


@pytest.mark.parametrize(("steps", "kept"), [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5)])
def test_observations_count_as_steps_of_the_budget(steps: int, kept: int) -> None:
    def forever(request: Request) -> str:
        return CALL

    result, _, _ = ran(forever, budget=Budget(steps=steps))
    assert (result.status, len(result.steps)) == (Status.BUDGET, kept)


def test_an_engine_that_calls_for_ever_ends_with_its_tokens() -> None:
    result, _, _ = ran(lambda request: CALL, budget=Budget(tokens=10 * len(CALL)), monitors=())
    assert result.status is Status.BUDGET
    assert result.ledger.total().output_tokens == 10 * len(CALL)


@pytest.mark.parametrize(
    ("format", "turn"),
    [
        ("hermes", '<tool_call>{"name": "calc", "arguments": {"expression": "6*7"}}</tool_call>'),
        ("json", '{"name": "calc", "parameters": {"expression": "6*7"}}'),
    ],
)
@pytest.mark.parametrize("is_native", [False, True], ids=["told in words", "native"])
def test_an_engine_calls_in_its_own_format(format: Any, turn: str, is_native: bool) -> None:
    result, asked, _ = ran([turn, "\\boxed{42}"], tool_prompt=ToolPrompt(format=format, is_native=is_native))
    assert (observed(result), result.answer) == (["42"], "42")
    assert ("Work something out." in asked[0]) is not is_native


def test_a_template_that_knows_tools_is_given_their_schemas() -> None:
    given: list[Any] = []

    class Native(Scripted):
        async def render(self, messages: Any, *, think: bool | None = None, tools: Any = ()) -> list[int]:
            given.append([dict(each) for each in tools])
            return await super().render(messages, think=think)

    prompt = ToolPrompt(format="hermes", is_native=True)
    with Pipeline({"small": Native(["\\boxed{1}"])}, "small", tools=[calc], tool_prompt=prompt, db=":memory:") as made:
        made.run(QUESTION)
    [[schema]] = given
    assert schema["function"]["name"] == "calc"
    assert schema["function"]["description"] == "Work something out."
    assert list(schema["function"]["parameters"]["properties"]) == ["expression"]


def test_tools_are_told_in_the_words_that_the_engine_was_trained_on() -> None:
    _, asked, _ = ran(["\\boxed{1}"], tool_prompt=ToolPrompt(told="Tools: {names}"))
    assert asked[0].startswith("system: Tools: calc\nuser: ")


def test_listeners_are_told_of_every_step() -> None:
    told: list[Any] = []
    with agent([CALL, "\\boxed{42}"]) as made:
        result = made.run(QUESTION, listener=told.append)
    assert [each.step for each in told if isinstance(each, Kept)] == list(result.steps)
    assert [step.kind.value for step in result.steps] == ["action", "observation", "thought"]


def test_only_a_pipeline_with_tools_has_a_node_for_them() -> None:
    engines = {"small": Scripted([]), "large": Scripted([])}
    with_tools = Pipeline(engines, "small", tools=[calc]).graph.get_graph()
    assert set(with_tools.nodes) == {"__start__", "small", "large", "act", "answer", "__end__"}
    edges = {(edge.source, edge.target) for edge in with_tools.edges}
    assert {("small", "act"), ("act", "small"), ("act", "large"), ("act", "answer")} <= edges
    assert "act" not in Pipeline(engines, "small").graph.get_graph().nodes
    assert "act" not in Pipeline(engines, "small", tools=[calc], granularity="fused").graph.get_graph().nodes


def test_working_ahead_of_tools_is_refused_in_one_line() -> None:
    with pytest.raises(UserError, match=r"^overlap does not go together with tools: leave it out$"):
        agent([], overlap=Overlap(ahead=1))


@pytest.mark.parametrize("per_task", [False, True], ids=["at once", "made for a task"])
def test_a_tool_that_is_called_like_an_engine_is_refused(per_task: bool) -> None:
    tools: Any = [tool(name="small")(calc)]
    with pytest.raises(UserError, match="a tool is called 'small', and so is an engine"):
        Pipeline(
            {"small": Scripted([])}, "small", tools=(lambda task: tools) if per_task else tools, db=":memory:"
        ).run(QUESTION)


def test_a_pipeline_that_differs_in_tools_refuses_a_tool_that_is_called_like_an_engine() -> None:
    with (
        Pipeline({"small": Scripted([])}, "small", db=":memory:") as made,
        pytest.raises(UserError, match="a tool is called 'small', and so is an engine"),
    ):
        made.but(router="small", tools=[tool(name="small")(calc)])


def test_an_agent_that_is_over_is_given_back_as_it_was() -> None:
    with agent([CALL, "\\boxed{42}"]) as made:
        first = made.run(QUESTION, run_id="one")
        again = made.run(QUESTION, run_id="one")
    assert again.steps == first.steps
    assert again.ledger.without_seconds() == first.ledger.without_seconds()
    assert (again.answer, again.text) == (first.answer, first.text)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"tools": "calculator"}, "tools = 'calculator': give a list, () for none"),
        ({"tools": None}, "tools = None: give a list, () for none"),
        ({"monitors": "stuck"}, "monitors = 'stuck': give a list, () for none"),
    ],
)
def test_one_name_is_no_list(options: dict[str, Any], line: str) -> None:
    with pytest.raises(UserError, match=re.escape(line)):
        Pipeline({"small": Scripted(["4"])}, "small", db=":memory:", **options)


async def of_the_task(task: Task) -> list[Any]:
    return [calc]


@pytest.mark.parametrize(
    ("one", "name"),
    [(tool(calc), "calc"), (calc, "calc"), (Python, "Python"), (hangs, "hangs"), (of_the_task, "of_the_task")],
)
def test_what_makes_no_tasks_tools_is_refused_at_once(one: Any, name: str) -> None:
    with pytest.raises(UserError) as refused:
        Pipeline({"small": Scripted(["4"])}, "small", db=":memory:", tools=one)
    assert str(refused.value) == f"tools = {name}: give a list, [{name}], or a function of the task that returns one"


def typed(task: Task) -> list[Any]:
    return [calc]


class Maker:
    def __call__(self, task: Any, *, seed: int = 0) -> list[Any]:
        return [calc]


@pytest.mark.parametrize(
    "maker", [typed, Maker(), lambda task: [calc], lambda *given: [calc], partial(lambda n, task: [calc] * n, 1)]
)
def test_a_function_of_the_task_makes_its_tools(maker: Any) -> None:
    with Pipeline({"small": Scripted([CALL, "\\boxed{42}"])}, "small", db=":memory:", tools=maker) as made:
        assert observed(made.run(QUESTION)) == ["42"]


@pytest.mark.parametrize("twice", [[calc, calc], [tool(calc), tool(name="calc")(raises)]])
def test_two_tools_of_one_name_are_refused_at_once(twice: Any) -> None:
    with pytest.raises(UserError, match=r"^two tools are called 'calc': give one of them another name$"):
        Pipeline({"small": Scripted(["4"])}, "small", db=":memory:", tools=twice)


def test_a_function_that_makes_no_tools_is_told_of() -> None:
    with (
        Pipeline({"small": Scripted(["4"])}, "small", db=":memory:", tools=lambda task: None) as pipeline,
        pytest.raises(UserError, match="tools = None: give a list"),
    ):
        pipeline.run("q")
