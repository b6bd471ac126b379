"""The loop on whole runs: statuses, limits, failover, and what counts as one step."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

import orchestrator as orc
from orchestrator.decisions import Decision, Plan, handoff, keep, rollback
from orchestrator.engines.base import Capabilities, Request
from orchestrator.engines.retry import RetryPolicy
from orchestrator.engines.scripted import Reply, Scripted
from orchestrator.errors import (
    BadTask,
    EngineRejected,
    EngineUnavailable,
    MissingCapability,
    UnknownName,
    UserError,
)
from orchestrator.ledger import Price
from orchestrator.runtime.calls import call_seed
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.runtime.timeline import timeline
from orchestrator.types import History, Message, Status, Step

ONCE = RetryPolicy(attempts=1)


def down(request: Request) -> Exception:
    return EngineUnavailable("nothing answers", engine="large")


def line(*script: Any, router: Any = "small", **options: Any) -> Pipeline:
    return Pipeline({"small": Scripted(list(script))}, router, db=":memory:", **options)


async def test_an_answer_ends_the_run_and_no_answer_is_no_success() -> None:
    found = await line("think\n\n", "so \\boxed{4}\n\n", "never asked\n\n").arun("2+2?")
    assert (found.status, found.answer, len(found.steps)) == (Status.COMPLETED, "4", 2)
    missing = await line("think\n\n", "the end").arun("2+2?")
    assert (missing.status, missing.answer, missing.reason) == (Status.NO_ANSWER, None, "the engine ended its text")


@pytest.mark.parametrize(
    ("asked", "script", "is_inside"),
    [
        ("q", ["<think>hm\n\n", "and then"], True),
        ("q", ["<think>hm\n\n", "so</think> 4"], False),
        ("q", ["<think>hm</think> 4 <think>or 5?"], True),
        ("q", ["hm"], False),
        ("What is <think> for?", ["a tag"], False),
    ],
)
async def test_a_text_that_ends_inside_think_is_said_to(asked: str, script: list[str], is_inside: bool) -> None:
    async with line(*script) as pipeline:
        result = await pipeline.arun(asked)
        stored = pipeline.journal.run(result.run_id)
        shown = timeline(stored).plain
    reason = "the engine ended its text inside <think>" if is_inside else "the engine ended its text"
    assert result.reason == reason
    assert f"ended    {reason}\n" in shown


async def test_a_think_block_that_the_template_opened_counts() -> None:
    class Thinks(Scripted):
        async def start(self) -> Capabilities:
            return replace(await super().start(), think_switch="template", think_opened=(False, True, True))

        async def render(self, messages: Sequence[Message], *, think: bool | None = None, **_: Any) -> list[int]:
            opened = await self.encode("<think>\n" if think is not False else "<think>\n\n</think>\n")
            return [*await super().render(messages), *opened]

    reasons = [
        (await Pipeline({"one": Thinks(["so it is"])}, "small", think=think, db=":memory:").arun("q")).reason
        for think in (None, False)
    ]
    assert reasons == ["the engine ended its text inside <think>", "the engine ended its text"]


async def test_the_answer_may_be_made_to_wait_for_the_end_of_the_text() -> None:
    result = await line("\\boxed{1}\n\n", "no: \\boxed{2}", stop_on_answer=False).arun("q")
    assert result.answer == "2"


async def test_reasoning_closed_without_an_answer_gets_one_written_by_the_same_engine() -> None:
    pipeline = line("hm\n\n", "</think>\n\n", "The total is\n\nAnswer: 12")
    result = await pipeline.arun("q")
    assert (result.answer, result.steps[-1].kind, result.steps[-1].text) == (
        "12",
        "answer",
        "The total is\n\nAnswer: 12",
    )
    assert [row[1] for row in result.ledger] == ["answer", "draft"]


async def test_a_fence_and_leading_blank_lines_do_not_end_a_step() -> None:
    pipeline = line("\n\n", "```\na\n\n", "b\n```\n\n", "\\boxed{1}")
    result = await pipeline.arun("q")
    assert [step.text for step in result.steps] == ["\n\n```\na\n\nb\n```\n\n", "\\boxed{1}"]
    assert result.steps[0].num_tokens == len(result.steps[0].text)
    assert bytes(result.steps[0].ids).decode() == result.steps[0].text


@pytest.mark.parametrize("granularity", ["steps", "fused"])
async def test_a_token_budget_is_never_passed_and_the_partial_answer_is_kept(granularity: Any) -> None:
    def talk(request: Request) -> str:
        return f"{len(request.prompt or ())} so far \\boxed{{maybe}}\n\n"

    for limit in (1, 7, 40, 41):
        pipeline = Pipeline(
            {"small": Scripted(talk)},
            "small",
            budget=orc.Budget(tokens=limit),
            stop_on_answer=False,
            db=":memory:",
            granularity=granularity,
        )
        result = await pipeline.arun("q")
        assert result.status is Status.BUDGET
        assert result.ledger.total().output_tokens == limit
        assert result.answer == ("maybe" if limit > 25 else None)


async def test_judge_calls_and_discarded_drafts_count_against_the_budget() -> None:
    engines = {
        "small": Scripted(lambda request: "0123456\n\n"),
        "large": Scripted(lambda request: "0" if request.purpose == "judge" else f"{len(request.prompt or ())}\n\n"),
    }
    result = await Pipeline(engines, budget=orc.Budget(tokens=30), db=":memory:").arun("q")
    assert result.status is Status.BUDGET
    assert result.ledger.total().output_tokens <= 30
    assert result.ledger.total(fate="discarded").output_tokens >= 9


async def test_the_cost_budget_holds_over_engines_with_prices() -> None:
    specs = {"small": Scripted(lambda request: f"{len(request.prompt or ())}\n\n")}
    pipeline = Pipeline(specs, "small", db=":memory:")
    pipeline.specs["small"] = orc.engines.spec("scripted", price=Price(prompt=0.1, output=1.0))
    pipeline.budget = orc.Budget(cost=50.0)
    result = await pipeline.arun("q")
    assert result.status is Status.BUDGET
    assert 40 < result.ledger.cost() <= 50


async def test_the_time_budget_cuts_a_running_call_and_counts_what_had_arrived() -> None:
    slow = Reply(text="0123456789\n\n", latency_s=0.4)
    result = await line("quick\n\n", slow, budget=orc.Budget(seconds=0.3)).arun("q")
    assert (result.status, [step.text for step in result.steps]) == (Status.BUDGET, ["quick\n\n"])
    cut = result.ledger.total(fate="interrupted")
    assert (cut.calls, cut.output_tokens, cut.uncertain) == (1, 6, 1)


async def test_the_step_budget_ends_the_run_before_another_step() -> None:
    result = await line("a\n\n", "b\n\n", "c\n\n", budget=orc.Budget(steps=2)).arun("q")
    assert (result.status, len(result.steps), result.reason) == (Status.BUDGET, 2, "budget 'steps' is used up: 2 of 2")


async def test_a_failure_that_passes_is_retried_and_its_tokens_are_counted() -> None:
    broken = EngineUnavailable("the connection broke", engine="small", output_tokens=3)
    pipeline = line(broken, "\\boxed{1}", retries=RetryPolicy(attempts=2, base_s=0.001))
    result = await pipeline.arun("q")
    assert (result.status, result.answer) == (Status.COMPLETED, "1")
    failed = result.ledger.total(fate="failed")
    assert (failed.calls, failed.output_tokens, failed.uncertain) == (1, 3, 1)
    assert [row.result.status for row in pipeline.journal.run("last").calls if row.result] == ["failed", "done"]


async def test_the_large_engine_takes_over_from_a_dead_small_one_as_a_recorded_decision() -> None:
    engines = {"small": Scripted(down), "large": Scripted(["a\n\n", "\\boxed{1}"])}
    pipeline = Pipeline(engines, "small", retries=ONCE, db=":memory:")
    result = await pipeline.arun("q")
    assert (result.status, result.answer) == (Status.DEGRADED, "1")
    rows = pipeline.journal.run(result.run_id).decisions
    assert [(row.door, row.action, row.engine) for row in rows] == [("runtime", "handoff", "large")] * 2
    assert rows[0].reason == "failover: nothing answers"


async def test_the_small_engine_goes_on_alone_when_the_large_one_dies() -> None:
    engines = {"small": Scripted(lambda request: f"{len(request.prompt or ())} \\boxed{{1}}"), "large": Scripted(down)}
    result = await Pipeline(engines, retries=ONCE, db=":memory:").arun("q")
    assert (result.status, result.answer, result.steps[0].writer) == (Status.DEGRADED, "1", "small")


async def test_without_failover_or_without_another_engine_the_run_fails_and_says_why() -> None:
    alone = await Pipeline({"small": Scripted(down)}, "small", retries=ONCE, db=":memory:").arun("q")
    assert (alone.status, str(alone.error)) == (Status.FAILED, "nothing answers")
    engines = {"small": Scripted(down), "large": Scripted([])}
    strict = await Pipeline(engines, "small", retries=ONCE, failover=False, db=":memory:").arun("q")
    assert strict.status is Status.FAILED


async def test_a_refused_request_fails_the_run_without_asking_another_engine() -> None:
    refused = EngineRejected("no such model", engine="small")
    engines = {"small": Scripted([refused]), "large": Scripted([])}
    result = await Pipeline(engines, "small", db=":memory:").arun("q")
    assert (result.status, str(result.error)) == (Status.FAILED, "no such model")


async def test_a_prompt_beyond_the_context_fails_but_a_run_that_fills_it_ends_as_budget() -> None:
    long = await Pipeline({"small": Scripted([], context=20)}, "small", db=":memory:").arun("x" * 30)
    assert long.status is Status.FAILED
    assert "48 tokens" in str(long.error)
    engine = Scripted(lambda request: f"{len(request.prompt or ()):03} abc\n\n", context=50)
    full = await Pipeline({"small": engine}, "small", db=":memory:").arun("x")
    assert (full.status, sum(step.num_tokens for step in full.steps)) == (Status.BUDGET, 50 - 19)


async def test_every_call_has_its_own_seed_and_the_same_run_has_the_same() -> None:
    seeds = []
    for _ in range(2):
        engine = Scripted(["a\n\n", "b\n\n", "\\boxed{1}"])
        await Pipeline({"small": engine}, "small", db=":memory:", seed=5).arun("q")
        seeds.append([request.seed for request in engine.requests])
    assert seeds[0] == seeds[1]
    assert len(set(seeds[0])) == 3
    assert (
        len({call_seed(1, step, purpose, n) for step in range(9) for purpose in ("draft", "judge") for n in (0, 1)})
        == 36
    )


class Script:
    """A router that answers from a list of decisions."""

    def __init__(self, *decisions: Decision) -> None:
        self.decisions = list(decisions)

    async def after_draft(self, history: History, draft: Step, ask: Any) -> Decision:
        return self.decisions.pop(0)


async def test_a_rollback_throws_kept_steps_away_and_books_them_as_discarded() -> None:
    router = Script(keep(), keep(), rollback(1), keep(), keep())
    pipeline = line("a\n\n", "b\n\n", "c\n\n", "B\n\n", "\\boxed{1}", router=router)
    result = await pipeline.arun("q")
    assert [step.text for step in result.steps] == ["a\n\n", "B\n\n", "\\boxed{1}"]
    assert [step.attempt for step in result.steps] == [0, 1, 1]
    assert result.ledger.total(fate="discarded").calls == 2
    assert [row.text for row in pipeline.journal.run(result.run_id).kept()] == [step.text for step in result.steps]


async def test_a_handoff_writes_up_to_its_end_without_asking() -> None:
    engines = {"small": Scripted(["a\n\n", "b\n\n", "\\boxed{1}"]), "large": Scripted(["A\n\n", "B\n\n"])}
    router = Script(handoff("large", until=2), keep(), keep())
    result = await Pipeline(engines, router, db=":memory:").arun("q")
    assert [step.text for step in result.steps] == ["A\n\n", "B\n\n", "b\n\n", "\\boxed{1}"]


class Elsewhere:
    def before_step(self, history: History) -> Plan:
        return Plan(engine="huge")


async def test_a_router_that_names_an_unknown_engine_is_told_which_exist() -> None:
    with pytest.raises(UnknownName, match=r"'huge'; the pipeline has small"):
        await line("a\n\n", router=Elsewhere()).arun("q")


@pytest.mark.parametrize("task", ["", "  \n", [orc.Message("user", " ")]])
async def test_an_empty_prompt_is_refused(task: Any) -> None:
    with pytest.raises(BadTask, match="prompt is empty"):
        await line("a").arun(task)


async def test_a_step_router_refuses_a_chat_only_engine_and_missing_logprobs() -> None:
    engines = {"small": Scripted([], continues=False), "large": Scripted([])}
    with pytest.raises(
        MissingCapability, match=r"specreason .* works step by step and engine 'small' cannot continue one"
    ):
        await Pipeline(engines, db=":memory:").arun("q")
    engines = {"small": Scripted([]), "large": Scripted([], logprobs=0)}
    router = orc.routers.SpecReason(reading="average")
    with pytest.raises(MissingCapability, match="10 logprobs per token and engine 'large' has them not"):
        await Pipeline(engines, router, db=":memory:").arun("q")
    with pytest.raises(MissingCapability, match="routes between 2 engines"):
        await Pipeline({"small": Scripted([])}, "specreason", db=":memory:").arun("q")


async def test_a_chat_only_engine_writes_one_whole_turn_under_a_policy_that_decides_in_advance() -> None:
    engine = Scripted(["First.\n\nSecond, \\boxed{2}.\n\nThird."], continues=False)
    result = await Pipeline({"small": engine}, "small", db=":memory:").arun("q")
    assert (result.status, result.answer, len(result.steps)) == (Status.COMPLETED, "2", 1)
    assert engine.requests[0].messages == (orc.Message("user", "q"),)
    assert engine.requests[0].prompt is None


def test_bad_pipelines_are_refused_when_they_are_built() -> None:
    for arguments, message in (
        (({},), "at least one engine"),
        (({"answer": Scripted([])},), "cannot be called 'answer'"),
        (({"a b": Scripted([])},), "cannot be called 'a b'"),
        (({"small": Scripted([])}, "smal"), "no router named 'smal'"),
    ):
        with pytest.raises(UserError, match=message):
            Pipeline(*arguments)
    for options, message in (
        ({"granularity": "node"}, "granularity"),
        ({"delimiter": ""}, "delimiter"),
        ({"budget": orc.Budget(engines={"large": orc.Budget(tokens=1)})}, "budget for engine 'large'"),
    ):
        with pytest.raises(UserError, match=message):
            Pipeline({"small": Scripted([])}, "small", **options)  # type: ignore[arg-type]


async def test_a_cancelled_run_keeps_what_it_has_and_can_be_continued() -> None:
    pipeline = line("a\n\n", Reply(text="slow\n\n", latency_s=5.0), "b\n\n", "\\boxed{1}")
    running = asyncio.create_task(pipeline.arun("q", run_id="mine"))
    await asyncio.sleep(0.3)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    result = await pipeline.arun("q", run_id="mine")
    assert [step.text for step in result.steps] == ["a\n\n", "b\n\n", "\\boxed{1}"]


class Unprepared:
    """Ask for a score and say nothing about the case that there is none."""

    needs = orc.routers.SpecReason().needs

    async def after_draft(self, history: History, draft: Step, ask: Any) -> Decision:
        return keep(await ask.score("judge", draft))


async def test_a_router_that_forgets_the_missing_score_gets_a_rejection_on_record() -> None:
    large = Scripted(lambda request: "x" if request.purpose == "judge" else "\\boxed{2}")
    pipeline = Pipeline({"small": Scripted(["draft\n\n"]), "large": large}, Unprepared(), db=":memory:")
    result = await pipeline.arun("q")
    assert [(step.writer, step.text) for step in result.steps] == [("large", "\\boxed{2}")]
    rows = pipeline.journal.run(result.run_id).decisions
    assert [(row.action, row.reason) for row in rows] == [
        ("rewrite", "signal 'judge' is unavailable: the judge answered 'x', not a digit: rejected")
    ]


async def test_a_router_that_answers_no_decision_is_told_so() -> None:
    with pytest.raises(UserError, match="answered 'keep', not a decision"):
        await line("a\n\n", router=Script("keep")).arun("q")  # type: ignore[arg-type]


async def test_a_rewrite_has_as_many_tokens_as_the_planned_step() -> None:
    engines = {
        "small": Scripted(["draft\n\n"]),
        "large": Scripted(lambda request: "0" if request.purpose == "judge" else "0123456789\n\n"),
    }
    router = orc.routers.SpecReason(step_tokens=8, total_tokens=20)
    result = await Pipeline(engines, router, budget=orc.Budget(steps=1), db=":memory:").arun("q")
    assert [(step.text, step.stop) for step in result.steps] == [("01234567", "length")]


async def test_a_router_may_plan_longer_steps_than_the_default() -> None:
    router = orc.routers.SpecReason(step_tokens=1024, threshold=0)
    engines = {"small": Scripted(["x" * 900 + "\\boxed{1}"]), "large": Scripted(lambda request: "9")}
    result = await Pipeline(engines, router, db=":memory:").arun("q")
    assert result.answer == "1"


async def test_an_engines_own_limit_holds_below_the_plan() -> None:
    engines = {"small": Scripted(["0123456789\n\n"]), "large": Scripted(lambda request: "9")}
    pipeline = Pipeline(engines, budget=orc.Budget(steps=1), db=":memory:")
    pipeline.specs["small"] = orc.engines.spec("scripted", max_tokens=4)
    assert (await pipeline.arun("q")).steps[0].text == "0123"


async def test_the_owed_answer_counts_as_a_step_and_may_be_taken_over() -> None:
    script = ["</think>\n\n", "Answer: 1"]
    limited = await line(*script, budget=orc.Budget(steps=1)).arun("q")
    assert (limited.status, len(limited.steps)) == (Status.BUDGET, 1)
    engines = {
        "small": Scripted(["</think>\n\n", EngineUnavailable("gone", engine="small")]),
        "large": Scripted(["Answer: 2"]),
    }
    taken = await Pipeline(engines, "small", retries=ONCE, db=":memory:").arun("q")
    assert (taken.status, taken.answer, taken.steps[-1].kind) == (Status.DEGRADED, "2", "answer")


class SlowToRender(Scripted):
    async def render(self, messages: Any, *, think: bool | None = None, **_: Any) -> list[int]:
        await asyncio.sleep(5)
        raise AssertionError("time was up long ago")


async def test_the_time_budget_covers_what_happens_before_the_first_token() -> None:
    result = await Pipeline({"small": SlowToRender([])}, "small", budget=orc.Budget(seconds=0.2), db=":memory:").arun(
        "q"
    )
    assert result.status is Status.BUDGET
    assert result.seconds < 2


async def test_a_connection_that_was_refused_costs_nothing() -> None:
    refused = EngineUnavailable("refused", engine="small", was_sent=False)
    policy = RetryPolicy(attempts=3, base_s=0.001)
    pipeline = line(refused, refused, "\\boxed{1}", retries=policy, budget=orc.Budget(prompt_tokens=40))
    result = await pipeline.arun("0123456789")
    assert result.status is Status.COMPLETED
    failed = result.ledger.total(fate="failed")
    assert (failed.calls, failed.prompt_tokens, failed.uncertain) == (2, 0, 0)


class AsksTwice:
    """Ask the same thing three times, twice of it side by side."""

    needs = orc.routers.SpecReason().needs

    async def after_draft(self, history: History, draft: Step, ask: Any) -> Decision:
        first, second = await ask.score("judge", [draft, draft])
        assert first == second == await ask.score("judge", draft)
        return keep(first)


async def test_the_same_ask_is_made_once() -> None:
    large = Scripted(["9"])
    pipeline = Pipeline({"small": Scripted(["\\boxed{1}"]), "large": large}, AsksTwice(), db=":memory:")
    result = await pipeline.arun("q")
    assert len(large.requests) == 1
    assert len(pipeline.journal.run(result.run_id).signals) == 1


async def test_the_gold_answer_does_not_change_what_is_drawn() -> None:
    seeds = []
    for answer in (None, "4"):
        engine = Scripted(["\\boxed{4}"])
        pipeline = Pipeline({"small": engine}, "small", db=":memory:")
        await pipeline.arun(orc.Task(messages=(orc.Message("user", "2+2?"),), answer=answer))
        seeds.append(engine.requests[0].seed)
    assert seeds[0] == seeds[1]


def test_a_cost_budget_needs_prices() -> None:
    with pytest.raises(UserError, match="needs prices"):
        Pipeline({"small": Scripted([])}, "small", budget=orc.Budget(cost=1.0))


async def test_a_graph_entered_again_after_a_router_failed_repeats_no_call() -> None:
    class Fails:
        failed = False

        async def after_draft(self, history: History, draft: Step, ask: Any) -> Decision:
            if not Fails.failed:
                Fails.failed = True
                raise RuntimeError("once")
            return keep()

    engine = Scripted(["\\boxed{1}"])
    pipeline = Pipeline({"small": engine}, Fails(), db=":memory:")
    run = await pipeline.open("q", run_id="mine")
    with pytest.raises(RuntimeError, match="once"):
        await pipeline.graph.ainvoke({"run": run.id})
    await pipeline.graph.ainvoke({"run": run.id})
    assert len(engine.requests) == 1
    assert (await pipeline.arun("q", run_id="mine")).answer == "1"


async def test_a_draft_made_again_under_another_prompt_is_not_taken_for_part_of_the_step() -> None:
    """A template that prints the time changes the prompt between two sessions: the first draft is of no use then."""

    class Clock(Scripted):
        now = 1

        async def render(self, messages: Any, *, think: bool | None = None, **_: Any) -> list[int]:
            return [Clock.now, *await super().render(messages, think=think)]

    class FailsOnce:
        async def after_draft(self, history: History, draft: Step, ask: Any) -> Decision:
            if Clock.now == 1:
                raise RuntimeError("killed")
            return keep()

    engine = Clock(["ab\n\n", "ab\n\n", "cd\n\n", "\\boxed{1}"])
    pipeline = Pipeline({"small": engine}, FailsOnce(), db=":memory:", budget=orc.Budget(steps=3))
    with pytest.raises(RuntimeError):
        await pipeline.arun("q", run_id="mine")
    Clock.now = 2
    result = await pipeline.arun("q", run_id="mine")
    assert [bytes(step.ids).decode() for step in result.steps] == ["ab\n\n", "cd\n\n", "\\boxed{1}"]
    again = await pipeline.arun("q", run_id="mine")
    assert again.steps == result.steps
    assert again.ledger.without_seconds() == result.ledger.without_seconds()


def test_a_pipeline_left_to_the_end_of_the_interpreter_does_not_hold_it_up() -> None:
    program = (
        "import orchestrator as orc\n"
        "def opened():\n"
        "    with orc.Pipeline({'small': orc.engines.Scripted(['Answer: 4'])}, 'small', db=':memory:') as made:\n"
        "        yield made.run('2+2?').answer\n"
        "held = opened()\n"
        "print(next(held))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "4\n")
    assert "close pipelines before that" in done.stderr


@dataclass(frozen=True)
class Whole:
    """Plans the whole text."""

    max_tokens: int | None = None

    def before_step(self, history: History) -> Plan:
        return Plan(engine="small", whole=True, max_tokens=self.max_tokens)


async def test_a_router_may_let_an_engine_write_the_whole_text_in_one_call() -> None:
    pipeline = line("one\n\ntwo\n\nso \\boxed{4}", "never asked", router=Whole())
    result = await pipeline.arun("2+2?")
    assert (result.status, result.answer, [step.text for step in result.steps]) == (
        Status.COMPLETED,
        "4",
        ["one\n\ntwo\n\nso \\boxed{4}"],
    )
    request = pipeline.engines["small"].requests[0]  # type: ignore[attr-defined]
    assert (request.stop, request.max_tokens) == ((), 4096)


async def test_a_whole_text_that_a_limit_cuts_is_gone_on_with() -> None:
    pipeline = line("one\n\ntwo, three", "\\boxed{5}", router=Whole(max_tokens=10))
    result = await pipeline.arun("2+2?")
    assert [step.text for step in result.steps] == ["one\n\ntwo, ", "\\boxed{5}"]


async def test_an_engines_own_limit_is_a_steps_and_cuts_no_whole_text() -> None:
    """A baseline in one call that is cut into several would pay for requests that nobody has to make."""
    pipeline = line("one\n\ntwo, three, so \\boxed{5}", router=Whole())
    pipeline.specs["small"] = orc.engines.EngineSpec(kind="scripted", sampling=orc.Sampling(max_tokens=10))
    result = await pipeline.arun("2+2?")
    assert [step.text for step in result.steps] == ["one\n\ntwo, three, so \\boxed{5}"]


@pytest.mark.parametrize("planned", [None, "small"])
async def test_a_router_that_plans_no_plan_is_told_so(planned: Any) -> None:
    class Wrong:
        def before_step(self, history: History) -> Any:
            return planned

    with pytest.raises(UserError, match=r"planned .*, not a Plan\(engine=\.\.\.\)"):
        await line("x", router=Wrong()).arun("q")


async def test_beside_a_chat_only_engine_the_other_has_room_for_a_whole_turn_too() -> None:
    small = Scripted(["so \\boxed{4}"])
    pipeline = Pipeline(
        {"small": small, "large": Scripted([], continues=False)}, orc.routers.Random(large_share=0.0), db=":memory:"
    )
    assert (await pipeline.arun("2+2?")).answer == "4"
    assert small.requests[0].max_tokens == 4096
