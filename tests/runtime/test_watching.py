"""Monitors are asked behind every kept step, in order, and what they notice is carried out, recorded and told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from json import loads
from typing import Any

import pytest

from orchestrator.decisions import Decision, Plan, conclude, handback, handoff, keep, rewrite, rollback, stop
from orchestrator.doors import Ask, Needs
from orchestrator.engines.base import Request
from orchestrator.engines.scripted import Reply, Scripted
from orchestrator.engines.spec import ToolPrompt
from orchestrator.errors import EngineProtocol, SignalUnavailable, UnknownName, UserError
from orchestrator.memory.base import StoredRun
from orchestrator.modes import Agreement, FirstTry, SelfClassified
from orchestrator.monitors import Convergence, Overthinking
from orchestrator.monitors.exit_file import ExitFile
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.runtime.result import RunResult
from orchestrator.types import Budget, Event, History, Status, Step

QUESTION = "How many?"
EXITS = ExitFile(
    signal="convergence",
    options={"answers": "text", "engine": "judge", "share": 0.9, "max_thoughts": 20},
    mistake="wrong",
    worst=(0.0,) * 19,
    pair={},
    under={},
    measured={},
    workload="mine",
    split="calibration",
    fitted_on=tuple(map(str, range(19))),
    made="2026-11-27",
    package="0.1.0",
)


@dataclass(frozen=True)
class Sees:
    """Raises what `raised` has for the number of kept steps, and notes when it was asked."""

    raised: dict[int, Event]
    asked: list[int] = field(default_factory=list)

    def watch(self, history: History) -> Event | None:
        self.asked.append(len(history.steps))
        return self.raised.get(len(history.steps))


@dataclass(frozen=True)
class Looks:
    """As Sees, but asks for it; a late one waits for `until` before it answers."""

    raised: dict[int, Event | Exception]
    is_late: bool = False
    until: Callable[[], Any] | None = None
    asked: list[int] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)
    running: list[int] = field(default_factory=list)

    async def look(self, history: History, ask: Ask) -> Event | None:
        assert not self.running
        self.running.append(1)
        self.asked.append(len(history.steps))
        event = self.raised.get(len(history.steps))
        try:
            if self.until is not None:
                await self.until()
        finally:
            self.running.pop()
        self.ended.append(len(history.steps))
        if isinstance(event, Exception):
            raise event
        return event


class Heeds:
    """Drafts with `small`, keeps everything, and decides about events by the number of kept steps."""

    def __init__(self, decided: dict[int, Any] | None = None) -> None:
        self._decided = decided or {}
        self.told: list[tuple[int, tuple[str, ...]]] = []
        self.windows: list[int] = []

    def before_step(self, history: History) -> Plan:
        self.windows.append(history.window)
        return Plan(engine="small")

    async def after_draft(self, history: History, draft: Step, ask: Any) -> Decision:
        return keep()

    async def on_events(self, history: History, events: Sequence[Event], ask: Any) -> Decision:
        self.told.append((len(history.steps), tuple(event.kind for event in events)))
        answer = self._decided.get(len(history.steps), keep())
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return]


def solve(
    small: Any, *monitors: Any, large: Any = (), router: Any = "small", **options: Any
) -> tuple[RunResult, StoredRun]:
    """Run a script and return what came of it and what is on disk."""
    engines = {"small": Scripted(small, name="s"), "large": Scripted(large, name="l")}
    with Pipeline(engines, router, monitors=monitors, db=":memory:", **options) as made:
        result = made.run(QUESTION, run_id="it")
        return result, made.journal.run("it")


def rows(stored: StoredRun, door: str) -> list[tuple[int, str, str]]:
    return [(row.step, row.action, row.reason) for row in stored.decisions if row.door == door]


def noticed(stored: StoredRun) -> list[tuple[int, str]]:
    return [(row.step, row.kind) for row in stored.events if "raised" in (row.detail or "")]


# ---- who is asked, and when


def test_those_that_see_come_before_those_that_ask_and_each_is_asked_once_per_kept_step() -> None:
    seeing, asking = Sees({1: Event("a", "seen")}), Looks({1: Event("b", "asked")})
    result, stored = solve(["one\n\n", "two\n\n", "\\boxed{3}"], asking, seeing)
    assert result.answer == "3"
    assert (seeing.asked, asking.asked) == ([1, 2, 3], [1, 2, 3])
    assert noticed(stored) == [(0, "a"), (0, "b")]


def test_a_rejected_draft_is_no_step_to_look_at() -> None:
    class Rejects(Heeds):
        async def after_draft(self, history: History, draft: Step, ask: Any) -> Decision:
            return rewrite("large")

    seeing = Sees({})
    solve(["one\n\n", "two\n\n"], seeing, router=Rejects(), large=["1\n\n", "\\boxed{2}"])
    assert seeing.asked == [1, 2]


def lookup(item: str) -> str:
    """Look up the price of an item."""
    return "7"


def test_monitors_are_asked_behind_an_observation_and_never_behind_its_action() -> None:
    seeing, asking = Sees({}), Looks({})
    result, _ = solve(["Try.<tool>lookup(x)</tool>", "\\boxed{7}"], seeing, asking, tools=[lookup], think=False)
    assert [step.kind for step in result.steps] == ["action", "observation", "thought"]
    assert (seeing.asked, asking.asked) == ([2, 3], [2, 3])


def test_an_event_that_ends_the_run_ends_it_before_anybody_else_is_asked() -> None:
    asking = Looks({})
    result, stored = solve(["one\n\n", "no"], Sees({1: Event("stalled", "enough", ends_run=True)}), asking)
    assert (result.status, result.reason, asking.asked) == (Status.NO_ANSWER, "enough", [])
    assert noticed(stored) == [(0, "stalled")]


def test_two_monitors_may_raise_the_same_kind_behind_one_step() -> None:
    router = Heeds()
    _, stored = solve(
        ["one\n\n", "\\boxed{2}"], Sees({1: Event("stuck", "by a")}), Sees({1: Event("stuck", "by b")}), router=router
    )
    assert [loads(row.detail)["reason"] for row in stored.events if row.kind == "stuck"] == ["by a", "by b"]
    assert router.told == [(1, ("stuck", "stuck"))]


@pytest.mark.parametrize("error", [SignalUnavailable("judge", "it is down"), EngineProtocol("what?", engine="large")])
def test_a_monitor_without_an_answer_is_noted_and_says_nothing(error: Exception) -> None:
    router = Heeds()
    result, stored = solve(["one\n\n", "\\boxed{2}"], Looks({1: error}), router=router)
    assert (result.answer, router.told) == ("2", [])
    [event] = [row for row in stored.events if row.kind == "unheard"]
    assert event.step == 0 and str(error) in loads(event.detail)["reason"] and "Looks" in event.detail


def test_what_is_no_event_is_refused() -> None:
    with pytest.raises(UserError, match=r"monitor \S*:Sees raised 'stuck', not an Event"):
        solve(["one\n\n"], Sees({1: "stuck"}))  # type: ignore[dict-item]


# ---- concluding

DONE = Event("overthinking", "sure enough", concludes=True, value=0.9, threshold=0.8)


@pytest.mark.parametrize("kind", [Sees, Looks])
def test_a_concluding_event_closes_the_thought_in_the_probes_words_and_the_same_writer_answers(kind: Any) -> None:
    requests: list[Request] = []

    def script(request: Request) -> str:
        requests.append(request)
        return "step\n\n" if request.purpose == "draft" else "\\boxed{4}"

    result, stored = solve(script, kind({2: DONE}), think=True, budget=Budget(tokens=100))
    assert result.text == "step\n\nstep\n\n</think>\n\n\\boxed{4}"
    assert [(step.kind, step.writer) for step in result.steps][-1] == ("answer", "small")
    assert requests[-1].prompt is not None
    assert bytes(requests[-1].prompt.ids()).decode().endswith("<think>\nstep\n\nstep\n\n</think>\n\n")
    [(step, action, reason)] = rows(stored, "exit")
    assert (step, action) == (2, "conclude")
    assert reason == "overthinking: sure enough; 12 tokens of thought, saves 88 at most"
    [row] = [row for row in stored.decisions if row.door == "exit"]
    assert (row.threshold, row.margin) == (0.8, pytest.approx(0.1))
    assert loads(row.detail) == {"thought": 12, "at_most": 88, "usual": None}


def test_what_an_exit_saves_is_bounded_by_the_tighter_budget() -> None:
    _, stored = solve(
        ["step\n\n", "\\boxed{4}"], Sees({1: DONE}), mode="think(20)", think=None, budget=Budget(tokens=1000)
    )
    assert loads(next(row.detail for row in stored.decisions if row.door == "exit"))["at_most"] == 14


def test_an_exit_without_any_budget_claims_no_saving() -> None:
    _, stored = solve(["step\n\n", "\\boxed{4}"], Sees({1: DONE}), think=True, budget=Budget())
    assert rows(stored, "exit") == [(1, "conclude", "overthinking: sure enough; 6 tokens of thought")]


@pytest.mark.parametrize(
    ("tools", "behind", "text"),
    [
        ((), ["\\boxed{8}"], "step\n\n</think>\n\n\\boxed{3}"),
        ((lookup,), ["<tool>lookup(x)</tool>", "\\boxed{7}"], "step\n\n</think>\n\n<tool>lookup(x)</tool>\\boxed{7}"),
    ],
    ids=["without tools", "with tools"],
)
def test_what_an_exit_was_answered_stands_only_where_no_tool_could_be_called_first(
    tools: Any, behind: list[str], text: str
) -> None:
    def script(request: Request) -> str:
        assert request.prompt is not None
        asked = bytes(request.prompt.ids()).decode()
        if "step" not in asked:
            return "step\n\n"
        return "" if asked.endswith("\\boxed{3}") else behind[asked.count("tool: ")]

    result, _ = solve(script, Sees({1: DONE._replace(answer="3")}), think=True, tools=tools)
    assert result.text == text
    assert result.answer == text[-2]


def test_reasoning_that_never_had_a_block_is_ended_by_opening_the_answer() -> None:
    result, stored = solve(["step\n\n", "4}"], Sees({1: DONE}))
    assert (result.text, result.answer) == ("step\n\n\\boxed{4}", "4")
    assert len(rows(stored, "exit")) == 1


@pytest.mark.parametrize(
    ("script", "options"),
    [
        (["a</think>\n\n", "\\boxed{4}"], {"think": True}),
        (["a\n\n", "\\boxed{4}"], {"think": False}),
        (["a\n\n", "\\boxed{4}"], {"mode": "no_think"}),
        (["the end"], {}),
    ],
    ids=["closed by its engine", "never to be opened", "not in this mode", "the text has ended"],
)
def test_nothing_happens_where_no_thought_is_left_to_close(script: list[str], options: dict[str, Any]) -> None:
    router = Heeds()
    result, stored = solve(script, Sees({1: DONE}), router=router, **options)
    assert result.text == "".join(script)
    assert rows(stored, "exit") == []
    assert router.told == [(1, ("overthinking",))]


# ---- late monitors


def late(raised: dict[int, Any], drafted: Callable[[], bool] = lambda: True) -> Looks:
    async def until() -> None:
        while not drafted():
            await asyncio.sleep(0)

    return Looks(raised, is_late=True, until=until)


def test_a_late_look_is_under_way_while_the_next_step_is_written_and_sees_the_history_as_it_was() -> None:
    requests: list[Request] = []

    def script(request: Request) -> Reply:
        requests.append(request)
        return Reply(text=f"{len(requests)}\n\n" if len(requests) < 4 else "\\boxed{4}", latency_s=0.001)

    seen: list[tuple[int, int, int]] = []

    class Slow:
        is_late = True

        async def look(self, history: History, ask: Ask) -> Event | None:
            before = len(history.steps)
            await asyncio.sleep(0.005)
            seen.append((before, len(history.steps), len(requests)))
            return Event("seen", str(before))

    result, stored = solve(script, Slow())
    assert result.answer == "4"
    assert seen == [(1, 1, 2), (2, 2, 3), (3, 3, 4)]
    assert noticed(stored) == [(0, "seen"), (1, "seen"), (2, "seen")]


def test_late_looks_never_overlap() -> None:
    looks = Looks({}, is_late=True, until=lambda: asyncio.sleep(0.002))
    solve(["1\n\n", "2\n\n", "3\n\n", "\\boxed{4}"], looks)
    assert looks.ended == [1, 2, 3]


def test_a_late_conclusion_throws_the_step_written_meanwhile_away() -> None:
    script = ["a\n\n", "b\n\n", "thrown away\n\n", "\\boxed{4}"]
    result, stored = solve(script, late({2: DONE}), think=True)
    assert result.text == "a\n\nb\n\n</think>\n\n\\boxed{4}"
    assert [(row[1], row[2], row[3].output_tokens) for row in result.ledger] == [
        ("answer", "used", 9),
        ("draft", "discarded", 13),
        ("draft", "used", 6),
    ]
    assert [(step, action) for step, action, _ in rows(stored, "exit")] == [(2, "conclude")]
    assert [row.attempt for row in stored.decisions if row.door == "exit"] == [1]


def test_a_late_end_throws_the_step_away_and_ends_the_run() -> None:
    result, _ = solve(["a\n\n", "b\n\n"], late({1: Event("stalled", "enough", ends_run=True)}))
    assert (result.text, result.reason) == ("a\n\n", "enough")


def test_a_late_conclusion_leaves_an_answer_alone_that_is_being_written() -> None:
    looks = late({1: DONE})
    result, stored = solve(["a\n\n", "\\boxed{4}"], looks, Sees({1: DONE}), think=True)
    assert (result.text, looks.asked) == ("a\n\n</think>\n\n\\boxed{4}", [])
    assert len(rows(stored, "exit")) == 1


def test_the_router_is_told_of_what_a_late_monitor_noticed_behind_the_next_step() -> None:
    router = Heeds()
    solve(
        ["a\n\n", "b\n\n", "\\boxed{4}"],
        late({1: Event("drift", "off")}),
        Sees({2: Event("stuck", "x")}),
        router=router,
    )
    assert router.told == [(2, ("drift", "stuck"))]


def test_a_late_look_that_fails_is_noted() -> None:
    _, stored = solve(["a\n\n", "\\boxed{4}"], late({1: SignalUnavailable("judge", "it is down")}))
    assert [row.step for row in stored.events if row.kind == "unheard"] == [0]


def test_what_a_late_monitor_has_under_way_when_the_run_ends_is_cut_off() -> None:
    class Asks:
        is_late = True

        async def look(self, history: History, ask: Ask) -> Event | None:
            await ask.answers("large", num=1)
            return None

    def large(request: Request) -> Reply:
        return Reply(text="4}", latency_s=5)

    result, stored = solve(["a\n\n", EngineProtocol("broken", engine="small")], Asks(), large=large, failover=False)
    assert result.status is Status.FAILED
    assert [call.result and call.result.status for call in stored.calls] == ["done", "failed", "aborted"] or [
        call.result and call.result.status for call in stored.calls
    ] == ["done", "aborted", "failed"]


# ---- what the router does about events

STUCK = Event("stuck", "again and again")


def test_keep_lets_the_run_go_on() -> None:
    router = Heeds({1: keep(reason="so be it")})
    result, stored = solve(["a\n\n", "\\boxed{4}"], Sees({1: STUCK}), router=router)
    assert result.text == "a\n\n\\boxed{4}"
    assert rows(stored, "on_events") == [(1, "keep", "so be it")]


@pytest.mark.parametrize("missing", [SignalUnavailable("judge", "it is down"), EngineProtocol("what?", engine="large")])
def test_a_router_that_cannot_tell_does_nothing_and_the_trace_says_so(missing: Exception) -> None:
    result, stored = solve(["a\n\n", "\\boxed{4}"], Sees({1: STUCK}), router=Heeds({1: missing}))
    assert (result.answer, result.status) == ("4", Status.COMPLETED)
    assert rows(stored, "on_events") == [(1, "keep", f"{missing}: nothing is done about it")]


def test_a_hand_over_lasts_its_turns_and_is_handed_back_with_the_window_moved() -> None:
    router = Heeds({1: handoff("large", turns=2, note="Hmm. ")})
    result, stored = solve(["a\n\n", "d\n\n", "\\boxed{4}"], Sees({1: STUCK}), router=router, large=["b\n\n", "c\n\n"])
    assert [(step.writer, step.text) for step in result.steps] == [
        ("small", "a\n\n"),
        ("large", "Hmm. b\n\n"),
        ("large", "c\n\n"),
        ("small", "d\n\n"),
        ("small", "\\boxed{4}"),
    ]
    assert rows(stored, "handover") == [(3, "handback", "large has had 2 turns")]
    assert router.windows == [0, 3, 3]


def test_with_tools_a_turn_of_a_hand_over_ends_with_what_the_tool_answers() -> None:
    router = Heeds({2: handoff("large", turns=1)})
    act = "<tool>lookup(x)</tool>"
    result, stored = solve(
        [f"a {act}", "\\boxed{7}"],
        Sees({2: STUCK}),
        router=router,
        large=["b\n\n", f"c {act}"],
        tools=[lookup],
        think=False,
    )
    assert [step.writer for step in result.steps] == ["small", "lookup", "large", "large", "lookup", "small"]
    assert [step for step, *_ in rows(stored, "handover")] == [5]


@pytest.mark.parametrize("whole", [True, False], ids=["turns", "steps"])
def test_a_hand_over_from_a_draft_goes_on_in_whole_turns_where_the_agent_writes_them(whole: bool) -> None:
    class HandsOver(Heeds):
        def before_step(self, history: History) -> Plan:
            return Plan(engine="small", whole=whole, max_tokens=50)

        async def after_draft(self, history: History, draft: Step, ask: Any) -> Decision:
            return handoff("large", turns=2) if draft.index == 0 else keep()

    act = "<tool>lookup(x)</tool>"
    requests: list[Request] = []

    def large(request: Request) -> str:
        requests.append(request)
        return f"b\n\n{act}" if whole or len(requests) % 2 else act

    small = [f"a\n\n{act}", "\\boxed{7}"]
    result, _ = solve(small, router=HandsOver(), large=large, tools=[lookup], think=False)
    by_large = [f"b\n\n{act}"] if whole else ["b\n\n", act]
    assert [step.text for step in result.steps] == [*by_large, "7", *by_large, "7", "\\boxed{7}"]
    assert {request.max_tokens for request in requests} == {50}


def test_a_hand_over_without_end_goes_to_the_end() -> None:
    result, _ = solve(
        ["a\n\n"], Sees({1: STUCK}), router=Heeds({1: handoff("large")}), large=["b\n\n", "c\n\n", "\\boxed{4}"]
    )
    assert [step.writer for step in result.steps] == ["small", "large", "large", "large"]


def test_the_router_may_hand_back_before_the_time_is_over() -> None:
    router = Heeds({1: handoff("large", turns=5), 2: handback(reason="passed")})
    result, stored = solve(["a\n\n", "\\boxed{4}"], Sees({1: STUCK, 2: STUCK}), router=router, large=["b\n\n"])
    assert [step.writer for step in result.steps] == ["small", "large", "small"]
    assert rows(stored, "handover") == []
    assert router.windows == [0, 2]


def test_a_failover_inside_a_hand_over_is_for_one_step() -> None:
    router = Heeds({1: handoff("large", turns=2)})
    result, stored = solve(
        ["a\n\n", "b\n\n", "\\boxed{4}"],
        Sees({1: STUCK}),
        router=router,
        large=[EngineProtocol("broken", engine="large"), "c\n\n"],
    )
    assert [step.writer for step in result.steps] == ["small", "small", "large", "small"]
    assert result.status is Status.DEGRADED
    assert [step for step, *_ in rows(stored, "handover")] == [3]


def test_a_rollback_forgets_what_was_noticed_behind_the_steps_that_are_gone() -> None:
    asked: list[list[str]] = []

    class Reads:
        def watch(self, history: History) -> Event | None:
            asked.append([event.kind for event in history.events])
            return STUCK if len(history.steps) == 2 and len(asked) == 2 else None

    result, stored = solve(["a\n\n", "b\n\n", "c\n\n", "\\boxed{4}"], Reads(), router=Heeds({2: rollback(1)}))
    assert result.text == "a\n\nc\n\n\\boxed{4}"
    assert asked == [[], [], [], []]
    assert [(row[1], row[2], row[3].calls) for row in result.ledger] == [
        ("draft", "discarded", 1),
        ("draft", "used", 3),
    ]
    assert noticed(stored) == [(1, "stuck")]


def test_conclude_closes_the_thought_and_is_an_exit_too() -> None:
    result, stored = solve(
        ["a\n\n", "\\boxed{4}"], Sees({1: STUCK}), router=Heeds({1: conclude(reason="enough")}), think=True
    )
    assert result.text == "a\n\n</think>\n\n\\boxed{4}"
    assert rows(stored, "on_events") == [(1, "conclude", "enough")]
    assert rows(stored, "exit")[0][2].startswith("enough; 3 tokens of thought")


def test_stop_ends_the_run() -> None:
    result, _ = solve(["a\n\n"], Sees({1: STUCK}), router=Heeds({1: stop(status=Status.BUDGET, reason="dear enough")}))
    assert (result.status, result.reason) == (Status.BUDGET, "dear enough")


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (rewrite("large"), "to events: return keep, handoff"),
        ("stuck", "answered 'stuck' to events"),
        (handoff("huge"), "chose engine 'huge'; the pipeline has small, large"),
        (rollback(1), "rolls 1 steps back to 1: give 0 to 0"),
        (rollback(-1), "rolls 1 steps back to -1"),
    ],
    ids=["rewrite", "text", "engine", "forward", "below"],
)
def test_what_makes_no_sense_about_events_is_refused(answer: Any, told: str) -> None:
    with pytest.raises(UserError, match=told):
        solve(["a\n\n"], Sees({1: STUCK}), router=Heeds({1: answer}))


@pytest.mark.parametrize("at_a_draft", [False, True], ids=["at an event", "at a draft"])
@pytest.mark.parametrize("note", ["", "Hmm. "])
def test_an_engine_that_cannot_go_on_from_a_note_is_handed_over_to_without_one(note: str, at_a_draft: bool) -> None:
    class HandsOver(Heeds):
        needs = Needs(steps=False)

        async def after_draft(self, history: History, draft: Step, ask: Any) -> Decision:
            return handoff("large", note=note) if at_a_draft else keep()

    act = '<tool_call>{"name": "lookup", "arguments": {"item": "x"}}</tool_call>'
    engines = {name: Scripted([said], continues=False, logprobs=0) for name, said in (("small", act), ("large", "7"))}
    options: dict[str, Any] = {"tools": [lookup], "tool_prompt": ToolPrompt(format="hermes", is_native=True)}
    router = HandsOver({2: handoff("large", note=note)})
    with Pipeline(engines, router, monitors=[Sees({2: STUCK})], db=":memory:", **options) as made:
        if not note:
            assert [step.writer for step in made.run(QUESTION).steps][-1] == "large"
            return
        with pytest.raises(
            UserError, match=r"HandsOver \S+ begins with 'Hmm\. '; a chat-only engine cannot go on from"
        ):
            made.run(QUESTION)


@pytest.mark.parametrize(
    ("options", "who"),
    [
        ({"monitors": [Convergence(engine="judge")]}, "monitor convergence"),
        ({"monitors": [Overthinking(signal="convergence", learnt=EXITS)]}, "monitor overthinking"),
        ({"mode": Agreement(engine="judge")}, "mode agreement"),
        ({"mode": FirstTry(engine="judge")}, "mode first-try"),
        ({"mode": SelfClassified(engine="judge")}, "mode self-classified"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_engine_to_ask_that_is_not_there_is_refused_when_the_pipeline_is_built(
    options: dict[str, Any], who: str
) -> None:
    engines = {"small": Scripted([]), "large": Scripted([])}
    known = Pipeline(engines, "small", monitors=(), db=":memory:")
    for build in (partial(Pipeline, engines, db=":memory:"), known.but):
        with pytest.raises(UnknownName, match=rf"^{who}: no engine named 'judge'; known: small, large$"):
            build(router="small", **options)
    Pipeline({**engines, "judge": Scripted([])}, "small", **options, db=":memory:")
