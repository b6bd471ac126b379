"""How much to think is decided before anything is written, recorded, kept to, and thought over once at the most."""

from __future__ import annotations

import re
from collections.abc import Mapping
from json import loads
from pathlib import Path
from typing import Any

import pytest

from orchestrator.decisions import Plan
from orchestrator.doors import Ask
from orchestrator.engines.base import Request
from orchestrator.engines.scripted import Scripted
from orchestrator.errors import EngineProtocol, MissingCapability, SignalUnavailable, UserError
from orchestrator.memory.base import StoredRun
from orchestrator.memory.journal import Journal
from orchestrator.memory.store import Store
from orchestrator.modes import Effort, FirstTry, SelfClassified
from orchestrator.modes.base import Chosen
from orchestrator.modes.fixed import AGENTIC, NO_THINK, THINK
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.runtime.portal import run_sync
from orchestrator.runtime.result import RunResult
from orchestrator.types import Budget, Event, History, Message, Mode, Outcome, Overlap, Signal, Status, Task


class Chooses:
    """Says what it was given to say, and writes down what it was asked."""

    def __init__(self, first: Any, then: Any = None) -> None:
        self._said = (first, then)
        self.asked: list[tuple[str | None, str | None]] = []
        if then is not None:
            self.reconsider = self._reconsider

    async def choose(self, history: History, ask: Ask) -> Chosen:
        assert not history.steps and history.mode is None
        return self._answer(self._said[0])

    async def _reconsider(self, history: History, answer: str | None, ask: Ask) -> Chosen:
        self.asked.append((history.mode and history.mode.name, answer))
        return self._answer(self._said[1])

    def _answer(self, said: Any) -> Chosen:
        if isinstance(said, Exception):
            raise said
        return Chosen(said, "so", (Signal(name="sure", value=0.3),), 0.5, -0.2) if isinstance(said, Mode) else said


def solve(script: Any, mode: Any, *, engine: Any = None, **options: Any) -> tuple[RunResult, StoredRun, Scripted]:
    engine = engine or Scripted(script, name="s")
    with Pipeline({"small": engine}, "small", mode=mode, db=":memory:", **options) as made:
        result = made.run("How many?", run_id="it")
        return result, made.journal.run("it"), engine


def chosen(stored: StoredRun) -> list[tuple[int, str, str, str]]:
    return [
        (row.step, row.door, loads(row.detail)["name"], row.reason) for row in stored.decisions if row.action == "mode"
    ]


def prompt_of(request: Request) -> str:
    assert request.prompt is not None
    return bytes(request.prompt.ids()).decode()


@pytest.mark.parametrize(
    ("mode", "named", "begins"),
    [
        ("no_think", ["no_think"], "assistant: <think>\n\n</think>\n\n"),
        (NO_THINK, ["no_think"], "assistant: <think>\n\n</think>\n\n"),
        (Chooses(NO_THINK), ["no_think"], "assistant: <think>\n\n</think>\n\n"),
        ("think", ["think"], "assistant: <think>\n"),
        ("agentic", ["as-it-is"], "assistant: "),
        (None, [], "assistant: "),
    ],
)
def test_a_mode_is_in_the_prompt_and_on_disk_before_anything_is_written(
    mode: Any, named: list[str], begins: str, tmp_path: Path
) -> None:
    seen: list[tuple[str, list[str]]] = []

    def answer(request: Request) -> str:
        with Store(tmp_path / "journal.db", readonly=True) as store:
            seen.append((prompt_of(request), [name for _, _, name, _ in chosen(Journal(store).run("it"))]))
        return "\\boxed{4}"

    with Pipeline({"small": Scripted(answer)}, "small", mode=mode, db=tmp_path / "journal.db") as made:
        assert made.run("How many?", run_id="it").answer == "4"
    [(prompt, on_disk)] = seen
    assert (on_disk, prompt[-len(begins) :]) == (named, begins)


def test_what_a_policy_chose_by_is_in_the_trace() -> None:
    _, stored, _ = solve(["\\boxed{4}"], Chooses(NO_THINK))
    [row] = [row for row in stored.decisions if row.door == "mode"]
    assert (row.step, row.reason, row.threshold, row.margin) == (0, "so", 0.5, -0.2)
    assert "test_moding:Chooses" in row.policy


@pytest.mark.parametrize("missing", [SignalUnavailable("judge", "it is down"), EngineProtocol("what?", engine="small")])
def test_a_policy_that_cannot_choose_is_replaced_by_the_fallback_or_refused(missing: Exception) -> None:
    result, stored, _ = solve(["\\boxed{4}"], Chooses(missing), fallback="no_think")
    assert result.answer == "4"
    assert chosen(stored) == [(0, "mode", "no_think", f"{missing}: no_think instead")]
    with pytest.raises(MissingCapability, match="cannot choose"):
        solve(["\\boxed{4}"], Chooses(missing), fallback=None)


def twice(task: Task) -> list[Any]:
    def look(at: str) -> str:
        return at

    return [look, look]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"mode": "agentic", "fallback": None}, "mode agentic: there are no tools"),
        ({"mode": "agentic", "fallback": AGENTIC}, "mode agentic: there are no tools"),
        ({"mode": "agentic", "fallback": "refuse"}, "mode agentic: there are no tools"),
        ({"tools": twice}, "two tools are called 'look'"),
        ({"tools": lambda task: [len]}, "function 'len' cannot be a tool"),
    ],
)
def test_what_is_refused_leaves_no_run_behind(options: dict[str, Any], told: str) -> None:
    with Pipeline({"small": Scripted(["\\boxed{4}"])}, "small", db=":memory:", **options) as made:
        with pytest.raises(UserError, match=told):
            made.run("How many?")
        assert made.journal.runs() == []


def test_a_fallback_is_a_fixed_mode_or_says_which_there_are() -> None:
    known = r"known: agentic, instant, no_think, think, think\(BUDGET\), as-it-is, refuse$"
    for wanted in ("auto", "lengths(0.9)", "nothing"):
        with pytest.raises(UserError, match=f"fallback = '{re.escape(wanted)}': no fixed mode named .*; {known}"):
            solve((), "think", fallback=wanted)
    with pytest.raises(UserError, match="fallback = 3: give the name of a fixed mode, as-it-is or refuse"):
        solve((), "think", fallback=3)


def test_what_is_no_choice_is_refused() -> None:
    with pytest.raises(UserError, match=r"chose 'think', not a Chosen"):
        solve(["\\boxed{4}"], Chooses("think"))


def test_a_mode_that_the_engines_cannot_honour_is_replaced_on_the_record_or_refused() -> None:
    options = {"continues": False}
    _, stored, _ = solve((), "think", engine=Scripted(["\\boxed{4}"], **options))  # type: ignore[arg-type]
    [(_, _, name, reason)] = chosen(stored)
    assert name == "as-it-is"
    assert reason == "as the pipeline says; but small cannot be told how much to think: as-it-is instead"
    for fallback in (None, "no_think"):
        with pytest.raises(MissingCapability, match="mode think: small cannot be told how much to think"):
            solve((), "think", engine=Scripted(["x"], **options), fallback=fallback)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("mode", "wanted"),
    [
        ("first-try(written)", "reads 1 logprobs per token and engine 'small' has them not: this script has none"),
        ("first-try(confidence)", "engine 'small' has them not"),
        ("first-try-by-kind", "engine 'small' has them not"),
        ("agreement(confidence=0.9)", "engine 'small' has them not"),
        ("self-classified", "engine 'small' has them not"),
        ("auto", "engine 'small' has them not"),
    ],
)
def test_what_a_policy_needs_of_its_engines_is_told_at_the_start_or_the_fallback_stands_in(
    mode: str, wanted: str
) -> None:
    """Nothing is tried that could only fail: the fallback's is the only text that is written."""
    engine = Scripted(["\\boxed{4}"], logprobs=0)
    with (
        Pipeline({"small": engine}, "small", mode=mode, fallback=None, db=":memory:") as made,
        pytest.raises(MissingCapability, match=f"{wanted}.*; give another mode, or a fallback"),
    ):
        run_sync(made.start())
    assert engine.requests == []
    result, stored, engine = solve((), mode, engine=engine, fallback="no_think")
    assert (result.answer, len(engine.requests)) == ("4", 1)
    [(_, _, name, reason)] = chosen(stored)
    assert name == "no_think"
    assert wanted in reason and reason.endswith(": no_think instead")


@pytest.mark.parametrize("mode", ["agreement", "first-try(agreement)", "lengths", "effort", "think"])
def test_a_policy_that_needs_no_logprobs_starts_without_them(mode: str) -> None:
    engine = Scripted(["\\boxed{4}"], logprobs=0)
    with Pipeline({"small": engine}, "small", mode=mode, fallback=None, db=":memory:") as made:
        assert run_sync(made.start())["small"].logprobs == 0


@pytest.mark.parametrize(
    ("mode", "starts"),
    [
        (SelfClassified(), False),  # asks the cheapest
        (SelfClassified(engine="large"), True),
        (FirstTry(gate="confidence"), True),  # whoever wrote
        (FirstTry(gate="confidence", engine="small"), False),
    ],
)
def test_a_policy_needs_it_of_whom_it_asks(mode: Any, starts: bool) -> None:
    engines = {"small": Scripted((), logprobs=0), "large": Scripted(())}
    with Pipeline(engines, "small", mode=mode, fallback=None, db=":memory:") as made:
        if starts:
            run_sync(made.start())
        else:
            with pytest.raises(MissingCapability, match="engine 'small' has them not"):
                run_sync(made.start())


def test_a_scorer_that_is_not_there_is_refused_at_the_start_whatever_stands_in() -> None:
    with (
        Pipeline({"small": Scripted(())}, "small", mode="first-try(prm)", db=":memory:") as made,
        pytest.raises(MissingCapability, match=r"asks scorer 'prm'; the pipeline has .*: add an engine with measures"),
    ):
        run_sync(made.start())


def lookup(item: str) -> str:
    """Look up the price of an item."""
    return "7"


def test_agentic_means_nothing_without_tools() -> None:
    _, stored, _ = solve(["\\boxed{4}"], "agentic")
    assert chosen(stored)[0][2:] == ("as-it-is", "as the pipeline says; but there are no tools: as-it-is instead")
    _, stored, _ = solve(["\\boxed{4}"], AGENTIC, tools=[lookup])
    assert chosen(stored)[0][2] == "agentic"


def test_an_instant_answer_knows_no_tools_and_calls_none() -> None:
    result, _, engine = solve(["<tool>lookup(x)</tool> \\boxed{4}"], "instant", tools=[lookup])
    assert [step.kind for step in result.steps] == ["thought"]
    assert "lookup" not in prompt_of(engine.requests[0])


@pytest.mark.parametrize("is_chat", [False, True])
def test_an_instant_answer_has_no_more_tokens_than_its_mode_says(is_chat: bool) -> None:
    mode = Mode(name="brief", think=None if is_chat else False, max_tokens=10)
    engine = Scripted(["1234\n\n", "5678\n\n"] if not is_chat else ["x" * 30], continues=not is_chat)
    result, _, _ = solve((), mode, engine=engine)
    assert [request.max_tokens for request in engine.requests] == ([10] if is_chat else [10, 4])
    assert result.status is Status.NO_ANSWER
    assert is_chat or result.reason == "all that mode brief allows is written"


# ---- thought over


def test_a_run_is_thought_over_once_and_begins_anew_in_the_other_mode() -> None:
    policy = Chooses(NO_THINK, THINK)
    result, stored, engine = solve(["a\n\n", "\\boxed{4}", "b\n\n", "\\boxed{5}"], policy)
    assert (result.text, result.answer) == ("b\n\n\\boxed{5}", "5")
    assert policy.asked == [("no_think", "4")]
    assert [each[:3] for each in chosen(stored)] == [(0, "mode", "no_think"), (2, "reconsider", "think")]
    assert [(row[2], row[3].calls) for row in result.ledger] == [("discarded", 2), ("used", 2)]
    assert prompt_of(engine.requests[2]).endswith("assistant: <think>\n")


def test_an_answer_that_will_do_stands() -> None:
    result, stored, _ = solve(["\\boxed{4}"], Chooses(NO_THINK, NO_THINK))
    assert (result.answer, [each[1] for each in chosen(stored)]) == ("4", ["mode", "reconsider"])


@pytest.mark.parametrize("missing", [SignalUnavailable("judge", "it is down"), EngineProtocol("what?", engine="small")])
def test_where_the_policy_cannot_tell_the_answer_stands(missing: Exception) -> None:
    result, stored, _ = solve(["\\boxed{4}"], Chooses(NO_THINK, missing))
    assert (result.answer, chosen(stored)[1][3]) == ("4", f"{missing}: the answer stands")


def test_nobody_is_asked_where_a_limit_ended_the_run() -> None:
    policy = Chooses(NO_THINK, THINK)
    result, _, _ = solve(["a\n\n", "b\n\n"], policy, budget=Budget(steps=2))
    assert (result.status, policy.asked) == (Status.BUDGET, [])


def test_what_tools_did_cannot_be_taken_back_but_in_a_simulation() -> None:
    script = ["<tool>lookup(x)</tool>", "\\boxed{7}", "\\boxed{8}"]
    result, stored, _ = solve(script, Chooses(NO_THINK, THINK), tools=[lookup])
    assert (result.answer, chosen(stored)[1][2]) == ("7", "no_think")
    assert "cannot be taken back: the answer stands" in chosen(stored)[1][3]
    result, _, _ = solve(script, Chooses(NO_THINK, THINK), tools=lambda task: [lookup])
    assert result.answer == "8"


def test_late_monitors_are_silent_about_a_text_that_was_thrown_away() -> None:
    class Late:
        is_late = True

        async def look(self, history: History, ask: Ask) -> Event | None:
            return Event("seen", history.steps[-1].text)

    result, stored, _ = solve(
        ["a\n\n", "\\boxed{4}", "b\n\n", "\\boxed{5}"], Chooses(NO_THINK, THINK), monitors=[Late()]
    )
    assert result.answer == "5"
    assert [loads(row.detail)["reason"] for row in stored.events if row.kind == "seen"] == ["a\n\n", "b\n\n"]


# ---- learning


class Counts:
    """A router that learns how often it was told."""

    def before_step(self, history: History) -> Plan:
        return Plan(engine="small", reason=f"{history.learned.get('told', 0)} before")

    def after_run(self, outcome: Outcome, state: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"told": state.get("told", 0) + 1}


def test_a_router_and_a_mode_learn_apart_from_each_other_and_of_late_rewards() -> None:
    told: list[Outcome] = []

    class Learns(Chooses):
        def after_run(self, outcome: Outcome, state: Mapping[str, Any]) -> Mapping[str, Any]:
            told.append(outcome)
            return {"lengths": [*state.get("lengths", []), outcome.thought_tokens]}

        async def choose(self, history: History, ask: Ask) -> Chosen:
            return Chosen(THINK, f"{history.lengths.get('lengths', [])}")

    engine = Scripted(lambda request: "123</think>\n\n" if request.purpose == "draft" else "\\boxed{4}")
    with Pipeline({"small": engine}, Counts(), mode=Learns(THINK), db=":memory:") as made:
        made.run("one?", run_id="a")
        made.reward("a", 0.5)
        made.run("two?", run_id="b")
        stored = made.journal.run("b")
    assert [(each.mode, each.thought_tokens, each.question, each.reward, each.is_late) for each in told] == [
        ("think", 3, "one?", None, False),
        ("think", 3, "one?", 0.5, True),
        ("think", 3, "two?", None, False),
    ]
    assert chosen(stored)[0][3] == "[3, 3]"
    assert next(row.reason for row in stored.decisions if row.door == "before_step") == "2 before"


def test_an_exit_says_what_is_usual_where_the_mode_has_learned_it() -> None:
    class Ends:
        def watch(self, history: History) -> Event | None:
            return Event("overthinking", "enough", concludes=True) if history.task.id == "last" else None

    said = {"draft": "12345678</think>\n\n", "answer": "\\boxed{4}"}
    engine = Scripted(
        lambda request: (
            "12\n\n" if "last" in prompt_of(request) and request.purpose == "draft" else said[request.purpose]
        )
    )
    with Pipeline({"small": engine}, "small", mode=Effort(least=2, free=1.0), monitors=[Ends()], db=":memory:") as made:
        made.run("1?..")
        made.run("2?..")
        made.run(Task(messages=(Message("user", "last"),), id="last"), run_id="it")
        [row] = [row for row in made.journal.run("it").decisions if row.door == "exit"]
    assert loads(row.detail)["usual"] == 8
    assert row.reason.endswith("8 are usual")


# ---- overlap


class Heeds:
    """A router that heeds events."""

    async def on_events(self, history: History, events: Any, ask: Ask) -> Any:
        raise AssertionError

    def before_step(self, history: History) -> Plan:
        return Plan(engine="small")


class Asks:
    """A monitor that asks."""

    async def look(self, history: History, ask: Ask) -> None:
        return None


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"monitors": [Asks()]}, "monitors that ask"),
        ({"mode": "think"}, "a mode"),
        ({"router": Heeds()}, "a router that heeds events"),
        ({"tools": [lookup]}, "tools"),
    ],
)
def test_nothing_is_drafted_ahead_of_what_may_change_it(options: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=f"overlap does not go together with {told}: leave it out"):
        Pipeline(
            {"small": Scripted([]), "large": Scripted([])}, **{"router": "small", **options}, overlap=Overlap(ahead=1)
        )
