"""A person is asked before a call that wants it: once, and the call is made once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, TypedDict

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command

from orchestrator import reasoning_node
from orchestrator.engines.scripted import Scripted
from orchestrator.engines.spec import ToolPrompt
from orchestrator.errors import UserError
from orchestrator.memory.base import StoredRun
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.runtime.portal import run_sync
from orchestrator.runtime.run import Approval
from orchestrator.runtime.timeline import timeline
from orchestrator.tools import tool
from orchestrator.types import Status

QUESTION = "Tell Ann."
THREAD = {"configurable": {"thread_id": "one"}}


class Post:
    """Tools that write down what they did."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def tools(self) -> list[Any]:
        @tool(needs_approval=True)
        def mail(to: str) -> str:
            """Send a letter."""
            self.sent.append(to)
            return f"sent to {to}"

        return [mail]


def mails(*turns: str, tools: Any, **options: Any) -> Pipeline:
    given = {"db": ":memory:", **options}
    return Pipeline({"small": Scripted([*turns, "\\boxed{done}"])}, "small", tools=tools, **given)


def observed(stored: StoredRun) -> list[str]:
    return [row.text for row in stored.kept() if row.kind == "observation"]


def approvals(stored: StoredRun) -> list[tuple[str, str, str, str]]:
    rows = [row for row in stored.decisions if row.door.startswith("approval")]
    return [(row.door, row.action, row.policy, row.reason) for row in rows]


NOTE = "\n[cut here: the whole has 2001 characters]"
CUT = "x" * (2000 - len(NOTE)) + NOTE
RETURN = "return True to let it be called, False not to, or not to with a text that tells the engine why"
ASKS = "approval 0: the tool asks for approval"


def test_who_is_asked_may_be_said_after_the_start() -> None:
    post = Post()
    with mails("<tool>mail(Ann)</tool>", tools=post.tools()) as made:
        run_sync(made.start())
        made.approve = lambda approval: True
        made.run(QUESTION)
    assert post.sent == ["Ann"]


async def _later(said: Any) -> Any:
    await asyncio.sleep(0)
    return said


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize(
    ("said", "expected", "decision"),
    [
        (True, "sent to Ann", ("approve", "a person let mail be called")),
        (False, "error: mail was not approved", ("deny", "mail was not approved")),
        ("write to Bob", "error: write to Bob", ("deny", "write to Bob")),
        ("", "error: mail was not approved", ("deny", "mail was not approved")),
        (" \n", "error: mail was not approved", ("deny", "mail was not approved")),
        ("no\x1b[2J\u202e ", "error: no\\x1b[2J\\u202e", ("deny", "no\\x1b[2J\\u202e")),
        ("no, to Bob", "error: no, to Bob", ("deny", "no, to Bob")),
        ("yesterday's news", "error: yesterday's news", ("deny", "yesterday's news")),
        ("not approved", "error: not approved", ("deny", "not approved")),
        ("...", "error: ...", ("deny", "...")),
        ("x" * 2000, f"error: {'x' * 2000}", ("deny", "x" * 2000)),
        ("x" * 2001, f"error: {CUT}", ("deny", CUT)),
    ],
)
def test_the_pipelines_function_decides(said: Any, expected: str, decision: tuple[str, str], is_async: bool) -> None:
    post, asked = Post(), list[Approval]()

    def approve(approval: Approval) -> Any:
        asked.append(approval)
        return _later(said) if is_async else said

    with mails("<tool>mail(Ann)</tool>", tools=post.tools(), approve=approve) as made:
        result = made.run(QUESTION)
        stored = made.journal.run(result.run_id)
    assert asked == [Approval(result.run_id, "mail", {"to": "Ann"}, "the tool asks for approval")]
    assert observed(stored) == [expected]
    assert approvals(stored) == [(ASKS, decision[0], "a person", decision[1])]
    assert f"  -- {decision[0]} mail: {decision[1][:20]}" in timeline(stored).plain
    assert post.sent == (["Ann"] if said is True else [])
    assert [call.intent.purpose for call in stored.calls] == (["draft"] + ["tool"] * (said is True) + ["draft"])


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize(
    "said",
    [
        *(None, 1, 0, b"no", ["yes"], "yes", " Y\n", "ok", "No", "true", "no.", " (N) "),
        *("Yes.", "yes please", "approve", "Approved!", '"ok"', "okay, do", "**sure**", "Yes, but to Bob"),
    ],
    ids=repr,
)
def test_what_is_neither_yes_nor_no_nor_a_reason_is_refused_and_the_question_stays(said: Any, is_async: bool) -> None:
    post, answers = Post(), [said, True]

    def approve(approval: Approval) -> Any:
        answer = answers.pop(0)
        return _later(answer) if is_async else answer

    with mails("<tool>mail(Ann)</tool>", tools=post.tools(), approve=approve) as made:
        with pytest.raises(UserError) as refused:
            made.run(QUESTION, run_id="one")
        assert str(refused.value) == f"approve answered {said!r}: {RETURN}"
        assert (post.sent, approvals(made.journal.run("one"))) == ([], [])
        assert made.run(QUESTION, run_id="one").answer == "done"
    assert post.sent == ["Ann"]


def test_where_nobody_can_be_asked_the_call_is_not_made() -> None:
    post = Post()
    with mails("<tool>mail(Ann)</tool>", tools=post.tools()) as made:
        result = made.run(QUESTION)
        stored = made.journal.run(result.run_id)
    assert result.status is Status.COMPLETED
    assert observed(stored) == ["error: the call needs approval and nobody can be asked"]
    assert approvals(stored) == [(ASKS, "deny", "runtime", "the call needs approval and nobody can be asked")]
    assert post.sent == []


def test_a_wrong_call_is_not_asked_about() -> None:
    asked: list[Approval] = []
    with mails("<tool>mail()</tool>", tools=Post().tools(), approve=asked.append) as made:
        made.run(QUESTION)
    assert asked == []


class Talk(TypedDict, total=False):
    question: str
    answer: str | None


def app_of(made: Pipeline, saver: Any) -> Any:
    graph = StateGraph(Talk)
    graph.add_node("solve", reasoning_node(made, input="question", output="answer"))
    graph.add_edge(START, "solve")
    graph.add_edge("solve", END)
    return graph.compile(checkpointer=saver)


BOTH = "".join(f'<tool_call>{{"name": "mail", "arguments": {{"to": "{name}"}}}}</tool_call>' for name in ("Ann", "Bob"))


@pytest.mark.parametrize("is_async", [False, True], ids=["invoke", "ainvoke"])
@pytest.mark.parametrize("granularity", ["steps", "fused"])
async def test_a_graph_with_a_checkpointer_keeps_the_question(tmp_path: Path, granularity: Any, is_async: bool) -> None:
    post = Post()
    turns = ["<tool>mail(Ann)</tool>", "<tool>mail(Bob)</tool>"]
    with mails(*turns, tools=post.tools(), db=tmp_path / "journal.db", granularity=granularity) as made:
        app = app_of(made, InMemorySaver())

        async def go(given: Any) -> Any:
            return await app.ainvoke(given, THREAD) if is_async else await asyncio.to_thread(app.invoke, given, THREAD)

        first = await go({"question": QUESTION})
        [asked] = first["__interrupt__"]
        assert asked.value["tool"] == "mail"
        assert asked.value["arguments"] == {"to": "Ann"}
        assert (asked.value["reason"], post.sent) == ("the tool asks for approval", [])
        second = await go(Command(resume=True))
        assert second["__interrupt__"][0].value["arguments"] == {"to": "Bob"}
        assert post.sent == ["Ann"]
        last = await go(Command(resume="not him\x07"))
        [run] = made.journal.runs()
        stored = made.journal.run(run.id)
    assert (last["answer"], post.sent) == ("done", ["Ann"])
    assert observed(stored) == ["sent to Ann", "error: not him\\x07"]
    assert [(action, policy) for _, action, policy, _ in approvals(stored)] == [
        ("approve", "a person"),
        ("deny", "a person"),
    ]
    assert [call.intent.purpose for call in stored.calls] == ["draft", "tool", "draft", "draft"]


@pytest.mark.parametrize("answers", [(True, True), (True, False), ("not him", True)])
def test_every_call_of_a_turn_has_its_own_question(tmp_path: Path, answers: tuple[Any, Any]) -> None:
    post = Post()
    engine = Scripted([BOTH, "\\boxed{done}"], continues=False, logprobs=0)
    prompt = ToolPrompt(format="hermes", is_native=True)
    db = tmp_path / "journal.db"
    with Pipeline({"only": engine}, "small", tools=post.tools(), tool_prompt=prompt, db=db) as made:
        app = app_of(made, InMemorySaver())
        asked, given = [], {"question": QUESTION}
        for answer in answers:
            said = app.invoke(given, THREAD)
            asked.append(said["__interrupt__"][0].value["arguments"]["to"])
            given = Command(resume=answer)  # type: ignore[assignment]
        assert app.invoke(given, THREAD)["answer"] == "done"
    assert asked == ["Ann", "Bob"]
    assert post.sent == [name for name, answer in zip(asked, answers, strict=True) if answer is True]
    assert len(engine.requests) == 2


def test_a_graph_that_is_resumed_with_no_answer_can_be_resumed_with_one(tmp_path: Path) -> None:
    post = Post()
    with mails("<tool>mail(Ann)</tool>", tools=post.tools(), db=tmp_path / "journal.db") as made:
        app = app_of(made, InMemorySaver())
        app.invoke({"question": QUESTION}, THREAD)
        with pytest.raises(UserError, match=f"^a person, asked about mail, answered 'yes': {RETURN}"):
            app.invoke(Command(resume="yes"), THREAD)
        assert post.sent == []
        assert app.invoke(Command(resume=True), THREAD)["answer"] == "done"
    assert post.sent == ["Ann"]


def test_without_a_checkpointer_nobody_is_asked(tmp_path: Path) -> None:
    post = Post()
    with mails("<tool>mail(Ann)</tool>", tools=post.tools(), db=tmp_path / "journal.db") as made:
        assert app_of(made, None).invoke({"question": QUESTION})["answer"] == "done"
        [run] = made.journal.runs()
        assert observed(made.journal.run(run.id)) == ["error: the call needs approval and nobody can be asked"]
    assert post.sent == []
