"""The loop inside a stranger's LangGraph graph: no engine call is ever made twice, no text reaches a checkpoint."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, RetryPolicy, interrupt
from pure_engine import QUESTION, draw, num_requests, pipeline

from orchestrator import reasoning_node
from orchestrator.decisions import Decision, Plan, keep, rewrite
from orchestrator.engines.base import Request
from orchestrator.engines.scripted import Scripted
from orchestrator.errors import EngineError, EngineProtocol, UserError
from orchestrator.memory.ids import derived
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.runtime.result import RunResult
from orchestrator.runtime.run import Decided, Kept
from orchestrator.types import Budget, History, Status, Step


class Talk(TypedDict, total=False):
    question: str
    answer: str | None
    approved: str
    run: str
    step: int
    next: str


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Pipeline]:
    with pipeline("specreason", tmp_path / "journal.db") as made:
        yield made


@pytest.fixture(scope="module")
def expected() -> Any:
    """What the pure pipeline answers when nobody interferes, and how many calls that takes."""
    with pipeline("specreason", ":memory:") as made:
        return made.run(QUESTION).answer, num_requests(made)


def approve(state: Talk) -> Talk:
    return {"approved": interrupt({"is this right?": state["answer"]})}


def graph_of(solve: Any, *, saver: Any = None, retry: RetryPolicy | None = None, then: Any = None) -> Any:
    graph = StateGraph(Talk)
    graph.add_node("solve", solve, retry_policy=retry)
    graph.add_edge(START, "solve")
    if then is None:
        graph.add_edge("solve", END)
    else:
        graph.add_node("then", then)
        graph.add_edge("solve", "then")
        graph.add_edge("then", END)
    return graph.compile(checkpointer=saver)


def node(made: Pipeline) -> Any:
    return reasoning_node(made, input="question", output="answer")


THREAD = {"configurable": {"thread_id": "one"}}


@pytest.mark.parametrize("saver", [None, InMemorySaver], ids=["plain", "checkpointed"])
@pytest.mark.parametrize("is_async", [False, True], ids=["invoke", "ainvoke"])
async def test_the_node_answers(made: Pipeline, expected: Any, saver: Any, is_async: bool) -> None:
    app = graph_of(node(made), saver=saver and saver())
    state = {"question": QUESTION}
    said = await app.ainvoke(state, THREAD) if is_async else await asyncio.to_thread(app.invoke, state, THREAD)
    assert (said["answer"], num_requests(made)) == expected


def test_an_interrupt_in_a_later_node_repeats_no_call(made: Pipeline, expected: Any) -> None:
    app = graph_of(node(made), saver=InMemorySaver(), then=approve)
    paused = app.invoke({"question": QUESTION}, THREAD)
    assert paused["__interrupt__"][0].value == {"is this right?": expected[0]}
    assert app.invoke(Command(resume="yes"), THREAD)["approved"] == "yes"
    assert num_requests(made) == expected[1]


class AsksPeople:
    """A router that wants a person's word about who drafts step 1 and about the draft of step 2."""

    def before_step(self, history: History) -> Plan:
        if len(history.steps) == 1:
            return Plan(engine=interrupt("who drafts?"), reason="a person said so")
        return Plan(engine=history.small)

    async def after_draft(self, history: History, draft: Step, ask: Any) -> Decision:
        if draft.index != 2:
            return keep()
        return keep(reason="approved") if interrupt(draft.text) == "good" else rewrite(history.large, reason="refused")


def counted(router: Any, db: Any, **options: Any) -> Pipeline:
    """Return a pipeline whose engines say which step they write."""

    def script(request: Request) -> str:
        assert request.prompt is not None
        written = bytes(request.prompt.ids()).decode().partition("assistant: ")[2].count("step")
        return f"step {written}\n\n" if written < 4 else "step \\boxed{7}"

    engines = {"small": Scripted(script), "large": Scripted(script)}
    return Pipeline(engines, router, db=db, **options)


@pytest.mark.parametrize("is_async", [False, True], ids=["invoke", "ainvoke"])
@pytest.mark.parametrize("granularity", ["steps", "fused"])
async def test_a_router_may_interrupt_for_a_person(tmp_path: Path, granularity: str, is_async: bool) -> None:
    with counted(AsksPeople(), tmp_path / "journal.db", granularity=granularity) as made:
        app = graph_of(node(made), saver=InMemorySaver())

        async def go(given: Any) -> Any:
            return await app.ainvoke(given, THREAD) if is_async else await asyncio.to_thread(app.invoke, given, THREAD)

        first = await go({"question": QUESTION})
        assert first["__interrupt__"][0].value == "who drafts?"
        assert num_requests(made) == 1
        second = await go(Command(resume="large"))
        assert second["__interrupt__"][0].value == "step 2\n\n"
        assert num_requests(made) == 3
        last = await go(Command(resume="bad"))
        assert last["answer"] == "7"
        assert num_requests(made) == 6  # five steps, one of them written twice
        [run] = made.journal.runs()
        stored = made.journal.run(run.id)
        assert [row.writer for row in stored.kept()] == ["small", "large", "large", "small", "small"]
        assert [row.reason for row in stored.decisions if row.reason != "kept"] == ["a person said so", "refused"]


@dataclass
class AsksAtEveryTurn:
    """A router that asks who drafts steps 0, 1 and 3, and whether the draft of step 1 will do."""

    reason: str

    def before_step(self, history: History) -> Plan:
        step = len(history.steps)
        return Plan(engine=interrupt(f"who drafts {step}?") if step in (0, 1, 3) else "small", reason=self.reason)

    async def after_draft(self, history: History, draft: Step, ask: Any) -> Decision:
        return keep(reason=interrupt("will it do?") if draft.index == 1 else "")


@pytest.mark.parametrize("reason", ["", "a person said so"], ids=["plain", "with a reason"])
@pytest.mark.parametrize("granularity", ["steps", "fused"])
@pytest.mark.parametrize("is_own", [False, True], ids=["node", "a node of their own"])
def test_every_question_gets_its_own_answer(tmp_path: Path, granularity: str, reason: str, is_own: bool) -> None:
    with counted(AsksAtEveryTurn(reason), tmp_path / "journal.db", granularity=granularity) as made:

        async def solve(state: Talk) -> Talk:
            result = await made.arun(state["question"], run_id="mine")
            return {"answer": result.answer, "approved": interrupt("right?")}

        app = graph_of(solve if is_own else node(made), saver=InMemorySaver(), then=None if is_own else approve)
        asked, given = [], {"question": QUESTION}
        for answer in ("small", "large", "it will", "large", "yes"):
            said = asyncio.run(app.ainvoke(given, THREAD))
            asked.append(said["__interrupt__"][0].value)
            given = Command(resume=answer)
        assert asked[:4] == ["who drafts 0?", "who drafts 1?", "will it do?", "who drafts 3?"]
        assert asyncio.run(app.ainvoke(given, THREAD))["approved"] == "yes"
        stored = made.journal.run(made.journal.runs()[0].id)
        assert [row.writer for row in stored.kept()] == ["small", "large", "small", "large", "small"]
        assert "it will" in [row.reason for row in stored.decisions]
        assert num_requests(made) == 5


def test_a_door_that_asks_twice_is_refused_before_an_answer_is_mistaken(tmp_path: Path) -> None:
    class AsksTwice:
        async def after_draft(self, history: History, draft: Step, ask: Any) -> Decision:
            return keep(reason=interrupt("is it right?") + interrupt("is it short?"))

    with counted(AsksTwice(), tmp_path / "journal.db") as made:
        app = graph_of(node(made), saver=InMemorySaver())
        assert app.invoke({"question": QUESTION}, THREAD)["__interrupt__"][0].value == "is it right?"
        with pytest.raises(UserError, match=r"AsksTwice .*interrupts twice .* ask everything with one interrupt\(\)"):
            app.invoke(Command(resume="yes"), THREAD)
        assert num_requests(made) == 1


def test_a_node_of_the_strangers_own_may_interrupt_after_a_run_it_named(made: Pipeline, expected: Any) -> None:
    async def solve(state: Talk, config: RunnableConfig) -> Talk:
        name = derived("mine", config["configurable"]["thread_id"])
        result = await made.arun(state["question"], run_id=name)
        return {"answer": result.answer, "approved": interrupt("right?")}

    app = graph_of(solve, saver=InMemorySaver())
    asyncio.run(app.ainvoke({"question": QUESTION}, THREAD))
    said = asyncio.run(app.ainvoke(Command(resume="yes"), THREAD))
    assert (said["answer"], said["approved"], num_requests(made)) == (expected[0], "yes", expected[1])


AGAIN = RetryPolicy(initial_interval=0.01, jitter=False, max_attempts=2, retry_on=(ConnectionError, EngineError))


@pytest.mark.parametrize("saver", [None, InMemorySaver], ids=["plain", "checkpointed"])
@pytest.mark.parametrize("granularity", ["steps", "fused"])
def test_a_retried_node_goes_on_where_foreign_code_failed(tmp_path: Path, granularity: str, saver: Any) -> None:
    failures = iter([ConnectionError("the router's own trouble")])

    class Trips:
        async def after_draft(self, history: History, draft: Step, ask: Any) -> Decision:
            if draft.index == 3 and (failure := next(failures, None)):
                raise failure
            return keep()

    with counted(Trips(), tmp_path / "journal.db", granularity=granularity) as made:
        app = graph_of(node(made), saver=saver and saver(), retry=AGAIN)
        assert app.invoke({"question": QUESTION}, THREAD)["answer"] == "7"
        assert num_requests(made) == 5
        assert len(made.journal.runs()) == 1


def test_a_retried_node_goes_on_where_an_engine_failed(tmp_path: Path) -> None:
    script = ["one\n\n", "two\n\n", EngineProtocol("hiccup", engine="small"), "\\boxed{3}"]
    with Pipeline({"small": Scripted(script)}, "small", db=tmp_path / "journal.db") as made:
        assert graph_of(node(made), retry=AGAIN).invoke({"question": QUESTION})["answer"] == "3"
        assert num_requests(made) == 4
        with pytest.raises(EngineProtocol, match="ran out"):
            graph_of(node(made)).invoke({"question": QUESTION})


def test_going_back_to_an_earlier_checkpoint_starts_another_run(made: Pipeline, expected: Any) -> None:
    app = graph_of(node(made), saver=InMemorySaver(), then=lambda state: {"approved": "yes"})
    app.invoke({"question": QUESTION}, THREAD)
    [first] = made.journal.runs()
    before = made.journal.run(first.id)
    earlier = next(each for each in app.get_state_history(THREAD) if each.next == ("solve",))
    app.invoke(None, earlier.config)
    second, untouched = made.journal.runs()
    assert untouched.id == first.id != second.id
    assert made.journal.run(first.id) == before
    assert num_requests(made) == 2 * expected[1]


def test_no_text_of_a_step_reaches_a_checkpoint(made: Pipeline) -> None:
    saver = InMemorySaver()
    app = graph_of(node(made), saver=saver, then=approve)
    app.invoke({"question": QUESTION}, THREAD)
    [run] = made.journal.runs()
    kept = made.journal.run(run.id).kept()
    held = repr(saver.storage) + repr(saver.blobs) + repr(saver.writes)
    assert QUESTION in held  # so a text would be found
    assert len(kept) > 3
    assert not [row.text for row in kept if " ".join(row.text.split()[:2]) in held]


async def test_run_works_inside_a_running_loop(made: Pipeline, expected: Any) -> None:
    assert made.run(QUESTION).answer == expected[0]


async def test_a_stream_tells_decisions_before_the_steps_they_keep_and_ends_with_the_result(made: Pipeline) -> None:
    events = [event async for event in made.stream(QUESTION)]
    *told, result = events
    steps = [event.step for event in told if isinstance(event, Kept)]
    assert steps == list(result.steps)
    for place, event in enumerate(told):
        if isinstance(event, Decided):
            following = told[place + 1]
            assert isinstance(following, Kept)
            assert following.step.index == event.draft.index
            assert (following.step == event.draft) == (event.decision.action == "keep")


async def test_runs_side_by_side_do_not_mix(tmp_path: Path) -> None:
    with pipeline("specreason", tmp_path / "journal.db", latency_s=0.001) as made:
        tasks = [f"What is {n} + {n}?" for n in range(12)]
        together = await asyncio.gather(*(made.arun(task) for task in tasks))
    with pipeline("specreason", ":memory:") as made:
        apart = [await made.arun(task) for task in tasks]
    assert [[step.text for step in run.steps] for run in together] == [
        [step.text for step in run.steps] for run in apart
    ]
    assert [run.ledger.without_seconds() for run in together] == [run.ledger.without_seconds() for run in apart]


@pytest.mark.parametrize("granularity", ["steps", "fused"])
@pytest.mark.parametrize("is_async", [False, True], ids=["invoke", "ainvoke"])
async def test_the_graph_runs_an_opened_run(tmp_path: Path, expected: Any, granularity: str, is_async: bool) -> None:
    with pipeline("specreason", tmp_path / "journal.db", granularity=granularity) as made:
        run = await made.open(QUESTION)
        given = {"run": run.id}
        said = await made.graph.ainvoke(given) if is_async else await asyncio.to_thread(made.graph.invoke, given)
        result = await made.arun(QUESTION, run_id=run.id)
        assert said == {"run": run.id, "step": len(result.steps), "next": "answer"}
        assert (result.answer, num_requests(made)) == expected


def test_the_graph_is_a_subgraph_of_a_checkpointed_graph(made: Pipeline, expected: Any) -> None:
    async def begin(state: Talk) -> Talk:
        return {"run": (await made.open(state["question"], run_id=state["run"])).id}

    saver = InMemorySaver()
    graph = StateGraph(Talk)
    graph.add_node("begin", begin)
    graph.add_node("reason", made.graph)
    graph.add_node("approve", lambda state: {"approved": interrupt("right?")})
    graph.add_edge(START, "begin")
    graph.add_edge("begin", "reason")
    graph.add_edge("reason", "approve")
    app = graph.compile(checkpointer=saver)
    asyncio.run(app.ainvoke({"question": QUESTION, "run": "mine"}, THREAD))
    said = asyncio.run(app.ainvoke(Command(resume="yes"), THREAD))
    assert (said["run"], said["approved"], num_requests(made)) == ("mine", "yes", expected[1])
    assert "step 1" not in repr(saver.blobs)


def long(request: Request) -> str:
    assert request.prompt is not None
    return f"{draw(len(request.prompt))}\n\n"


@pytest.mark.parametrize("direct", [False, True], ids=["node", "subgraph"])
def test_three_hundred_steps_fit_into_a_strangers_graph(tmp_path: Path, direct: bool) -> None:
    with Pipeline({"small": Scripted(long)}, "small", db=":memory:", budget=Budget(steps=300)) as made:
        graph = StateGraph(Talk)
        graph.add_node("solve", made.graph if direct else node(made))
        graph.add_edge(START, "solve")
        run = asyncio.run(made.open(QUESTION))
        # A limit for the stranger's own super-steps binds a subgraph, as anywhere in LangGraph, but not the node.
        config = {} if direct else {"recursion_limit": 5}
        graph.compile().invoke({"question": QUESTION, "run": run.id}, config)
        [newest] = made.journal.runs(limit=1)
        assert (newest.steps, newest.status) == (300, Status.BUDGET)


async def test_steps_and_decisions_arrive_in_the_custom_stream(made: Pipeline) -> None:
    app = graph_of(node(made))
    events = [event async for event in app.astream({"question": QUESTION}, stream_mode="custom")]
    [run] = made.journal.runs()
    assert [event.step.index for event in events if isinstance(event, Kept)] == list(range(run.steps))
    assert any(isinstance(event, Decided) for event in events)
    with pipeline("specreason", ":memory:") as other:
        assert list(graph_of(node(other)).stream({"question": QUESTION}, stream_mode="custom")) != []


def test_the_drawn_graph_has_a_node_for_every_engine() -> None:
    engines = {name: Scripted([]) for name in ("tiny", "small", "large")}
    drawn = Pipeline(engines, "small").graph.get_graph()
    assert set(drawn.nodes) == {"__start__", "tiny", "small", "large", "answer", "__end__"}
    edges = {(edge.source, edge.target) for edge in drawn.edges}
    assert {("small", "large"), ("large", "small"), ("tiny", "answer"), ("answer", "__end__")} <= edges


@pytest.mark.parametrize("granularity", ["steps", "fused"])
async def test_entering_a_stored_run_below_its_tip_forks_it(tmp_path: Path, granularity: str) -> None:
    with pipeline("specreason", tmp_path / "journal.db", granularity=granularity) as made:
        whole = await made.arun(QUESTION, run_id="parent")
        before = made.journal.run("parent")
        num_before = num_requests(made)
        said = await made.graph.ainvoke({"run": "parent", "step": 4})
        child = made.journal.run(said["run"])
        assert (child.run.parent, made.journal.run("parent")) == ("parent", before)
        # The engines are pure, so the child says again what its parent said: its prompts were the same, id for id.
        assert [row[1:8] for row in child.kept()] == [row[1:8] for row in before.kept()]
        num_calls = num_requests(made) - num_before
        assert num_calls == len(child.calls) == sum(call.intent.step >= 4 for call in before.calls)
        assert {call.intent.step for call in child.calls} == set(range(4, len(whole.steps)))
        # Entered again it is the same child; entered at its tip or without a step the parent is given back.
        assert await made.graph.ainvoke({"run": "parent", "step": 4}) == said
        assert (await made.graph.ainvoke({"run": "parent"}))["run"] == "parent"
        assert num_requests(made) == num_before + num_calls
        assert _written(await made.arun(QUESTION, run_id=said["run"])) == _written(whole)
        grandchild = await made.graph.ainvoke({"run": said["run"], "step": 2})
        assert made.journal.run(grandchild["run"]).run.parent == said["run"]
        assert _written(await made.arun(QUESTION, run_id=grandchild["run"])) == _written(whole)


def _written(result: RunResult) -> list[tuple[Any, ...]]:
    return [(step.writer, step.attempt, step.text, step.ids, step.logprobs) for step in result.steps]
