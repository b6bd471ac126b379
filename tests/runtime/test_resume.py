"""A stored run is given back, goes on, or is refused; what was said and decided before is not asked again."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pure_engine import QUESTION, content, num_requests, pipeline

from orchestrator.decisions import Decision, Plan, handoff, keep, rewrite, rollback, stop
from orchestrator.doors import Ask, Needs
from orchestrator.engines.base import Request
from orchestrator.engines.retry import RetryPolicy
from orchestrator.engines.scripted import Reply, Scripted
from orchestrator.errors import EngineProtocol, EngineUnavailable, ResumeRefused, UserError
from orchestrator.memory.base import StoredRun
from orchestrator.memory.journal import Journal
from orchestrator.memory.store import Store
from orchestrator.routers import SpecReason
from orchestrator.runtime.attempts import attempts
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.types import Budget, Event, History, Overlap, Status, Step


class Death(BaseException):
    """Stands for the end of a process: nothing of ours handles it."""


class Mortal(Scripted):
    """Answers from a list; the word `die` in it is the end of the process, before the reply is stored."""

    def __init__(self, script: list[Any], **options: Any) -> None:
        rest = iter(script)

        def answer(request: Request) -> Any:
            said = next(rest)
            if said == "die":
                raise Death
            return said

        super().__init__(answer, **options)


class Words(Mortal):
    """Has one token for each text it reads."""

    async def encode(self, text: str) -> list[int]:
        return [sum(text.encode())]


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


def line(db: Path, *script: Any, router: Any = "small", large: Any = (), **options: Any) -> Pipeline:
    return Pipeline({"small": Mortal(list(script)), "large": Mortal(list(large))}, router, db=db, **options)


def dies(made: Pipeline) -> None:
    with made, pytest.raises(Death):
        asyncio.run(made.arun(QUESTION, run_id="it"))


def stored(db: Path) -> StoredRun:
    with Store(db, readonly=True) as store:
        return Journal(store).run("it")


def test_a_finished_run_is_given_back_without_a_call(db: Path) -> None:
    with pipeline("specreason", db) as made:
        first = made.run(QUESTION, run_id="it")
        before = stored(db)
    with pipeline("specreason", db) as made:
        again = made.run(QUESTION, run_id="it")
        assert num_requests(made) == 0
    assert (again.steps, again.text, again.answer, again.status) == (first.steps, first.text, first.answer, "completed")
    assert (again.reason, again.seconds) == (first.reason, first.seconds)
    assert again.ledger.rows() == first.ledger.rows()
    assert stored(db) == before


def test_a_finished_run_is_given_back_while_its_engines_are_down(db: Path) -> None:
    with line(db, "\\boxed{4}") as made:
        made.run(QUESTION, run_id="it")

    class Down(Mortal):
        async def start(self) -> Any:
            raise EngineUnavailable("nothing answers", engine="small")

    with Pipeline({"small": Down([]), "large": Down([])}, "small", db=db) as made:
        made.specs.update(line(db).specs)
        assert made.run(QUESTION, run_id="it").answer == "4"


def test_a_failed_run_tries_again_and_keeps_what_it_had(db: Path) -> None:
    broken = EngineProtocol("not understood", engine="small")
    with line(db, "one\n\n", broken, failover=False) as made:
        assert made.run(QUESTION, run_id="it").status is Status.FAILED
    with line(db, "so \\boxed{4}", failover=False) as made:
        result = made.run(QUESTION, run_id="it")
        assert num_requests(made) == 1
    assert (result.status, result.text, result.error) == (Status.COMPLETED, "one\n\nso \\boxed{4}", None)
    assert [(row[2], row[3].calls) for row in result.ledger] == [("failed", 1), ("used", 2)]


def test_a_run_whose_engines_all_failed_starts_with_the_first_again(db: Path) -> None:
    broken = EngineProtocol("not understood", engine="small")
    with line(db, "one\n\n", broken, large=[broken]) as made:
        assert made.run(QUESTION, run_id="it").status is Status.FAILED
    with line(db, "so \\boxed{4}") as made:
        result = made.run(QUESTION, run_id="it")
    assert [step.writer for step in result.steps] == ["small", "small"]
    assert result.status is Status.COMPLETED


def test_a_failover_that_came_to_nothing_degrades_neither_the_run_nor_its_forks(db: Path) -> None:
    """After the failure the router rejects the draft: the kept attempt has the number that the failover's had."""
    plan, broken = Plan(engine="small"), EngineProtocol("not understood", engine="small")
    first = Fickle({0: plan}, {})
    with line(db, broken, router=first, large=[broken]) as made:
        assert made.run(QUESTION, run_id="it").status is Status.FAILED
    second = Fickle({0: plan, 1: plan}, {(0, 0): rewrite("large"), (1, 0): keep()})
    dies(line(db, "draft\n\n", "die", router=second, large=["better\n\n"]))
    with line(db, "\\boxed{4}", "\\boxed{5}", router=Fickle({1: plan}, {(1, 0): keep()})) as made:
        result = made.run(QUESTION, run_id="it")
        made.router._plans[1], made.router._decisions[1, 0] = plan, keep()
        fork = made.graph.invoke({"run": "it", "step": 1})
        assert made.journal.run(fork["run"]).outcome.status == "completed"  # type: ignore[union-attr]
    assert (result.text, result.steps[0].attempt) == ("better\n\n\\boxed{4}", 1)
    assert [row.door for row in stored(db).decisions].count("runtime") == 1
    assert result.status is Status.COMPLETED


def test_a_step_that_failed_first_is_told_by_the_decision_that_stands(db: Path) -> None:
    plan, broken = Plan(engine="small"), EngineProtocol("not understood", engine="small")
    with line(db, broken, router=Fickle({0: plan}, {}), large=[broken]) as made:
        assert made.run(QUESTION, run_id="it").status is Status.FAILED
    with line(db, "\\boxed{4}", router=Fickle({0: plan}, {(0, 0): keep(reason="fine")})) as made:
        assert made.run(QUESTION, run_id="it").answer == "4"
    first, *_ = attempts(stored(db))
    assert (first.writer, first.reason) == ("small", "fine")


def test_a_failover_behind_a_kept_step_degrades_a_run_that_failed_later_and_its_forks(db: Path) -> None:
    broken = EngineProtocol("not understood", engine="small")
    with line(db, broken, broken, large=["one\n\n", broken]) as made:
        assert made.run(QUESTION, run_id="it").status is Status.FAILED
    with line(db, "\\boxed{4}", "\\boxed{5}") as made:
        assert made.run(QUESTION, run_id="it").status is Status.DEGRADED
        fork = made.graph.invoke({"run": "it", "step": 1})
        assert made.journal.run(fork["run"]).outcome.status == "degraded"  # type: ignore[union-attr]


@pytest.mark.parametrize("is_cut", [False, True], ids=["at once", "resumed"])
def test_a_failover_that_was_rolled_back_degrades_nothing(db: Path, is_cut: bool) -> None:
    plan, broken = Plan(engine="small"), EngineProtocol("not understood", engine="small")
    router = Fickle({}, {(1, 0): rollback(0), (0, 2): keep(), (1, 1): keep()})
    router.before_step = lambda history: plan  # type: ignore[method-assign]
    rest = ["\\boxed{4}"]
    made = line(db, broken, "b\n\n", "c\n\n", *(["die"] if is_cut else rest), router=router, large=["a\n\n"])
    if is_cut:
        dies(made)
        made = line(db, *rest, router=router)
    with made:
        result = made.run(QUESTION, run_id="it")
    assert (result.text, result.status) == ("c\n\n\\boxed{4}", Status.COMPLETED)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"router": SpecReason(threshold=8)}, "router"),
        ({"seed": 1}, r"seed = 0, not 1"),
        ({"delimiter": "\n"}, "delimiter"),
        ({"budget": Budget(tokens=5)}, r"budget.tokens = 16384, not 5"),
        ({"monitors": ()}, "monitors"),
        ({"failover": False}, "failover"),
        ({"stop_on_answer": False}, "stop_on_answer"),
        ({"answer": "boxed"}, "answer"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_other_settings_are_refused_by_name(db: Path, changed: dict[str, Any], told: str) -> None:
    dies(line(db, "one\n\n", "die"))
    before = stored(db)
    with line(db, "never", **changed) as made, pytest.raises(ResumeRefused, match=told):
        made.run(QUESTION, run_id="it")
    assert stored(db) == before


def test_engines_in_another_order_are_refused(db: Path) -> None:
    """The order says who is small and who is large."""
    engines = {"a": Scripted(["one\n\n"]), "b": Scripted([])}
    with Pipeline(engines, "small", db=db, failover=False) as pipeline:
        assert pipeline.run("?", run_id="swapped").status == Status.FAILED
    told = r"was made with order = \['a', 'b'\], not \['b', 'a'\]"
    swapped = Pipeline(dict(reversed(engines.items())), "small", db=db, failover=False)
    with swapped, pytest.raises(ResumeRefused, match=told):
        swapped.run("?", run_id="swapped")


def test_another_task_is_refused(db: Path) -> None:
    dies(line(db, "one\n\n", "die"))
    with line(db, "never") as made, pytest.raises(ResumeRefused, match="another task"):
        made.run("Something else?", run_id="it")


@pytest.mark.parametrize(
    ("now", "told"),
    [
        ({"family": "words"}, "'scripted' as engine 'small', which now serves the same name with another tokenizer"),
        ({"name": "bigger"}, "'scripted' as engine 'small', which now serves 'bigger'"),
    ],
    ids=["tokenizer", "model"],
)
def test_a_server_that_has_another_model_now_is_refused(db: Path, now: dict[str, Any], told: str) -> None:
    dies(line(db, "one\n\n", "die"))
    before = stored(db)
    changed = Pipeline({"small": Mortal(["never"], **now), "large": Mortal([])}, "small", db=db)
    with changed as made, pytest.raises(ResumeRefused, match=told):
        made.run(QUESTION, run_id="it")
    assert stored(db) == before
    with line(db, "\\boxed{4}") as made:
        assert made.run(QUESTION, run_id="it").text == "one\n\n\\boxed{4}"


@pytest.mark.parametrize("name", ["small", "tiny"])
def test_a_fork_by_other_engines_reads_the_text_of_what_it_inherits(db: Path, name: str) -> None:
    with line(db, "one\n\n", "\\boxed{4}") as made:
        made.run(QUESTION, run_id="it")
    engine = Words(["\\boxed{5}"], family="words")
    with Pipeline({name: engine}, "small", db=db) as made:
        fork = made.journal.run(made.graph.invoke({"run": "it", "step": 1})["run"])
        prompt = list(engine.requests[0].prompt.ids())  # type: ignore[union-attr]
        assert prompt[-1:] == asyncio.run(engine.encode("one\n\n"))
    assert [row.text for row in fork.kept()] == ["one\n\n", "\\boxed{5}"]


def test_there_is_no_step_before_the_first_to_go_back_to(db: Path) -> None:
    with line(db, "one\n\n", "\\boxed{4}") as made:
        made.run(QUESTION, run_id="it")
        with pytest.raises(UserError, match="cannot be entered at step -1"):
            made.graph.invoke({"run": "it", "step": -1})
        assert len(made.journal.runs()) == 1


def test_granularity_and_durability_may_change(db: Path) -> None:
    dies(line(db, "one\n\n", "die"))
    with line(db, "\\boxed{4}", granularity="fused", durability="power") as made:
        assert made.run(QUESTION, run_id="it").text == "one\n\n\\boxed{4}"


def test_a_call_without_a_result_is_interrupted_and_costs_what_it_had_reserved(db: Path) -> None:
    budget = Budget(tokens=600)
    dies(line(db, "12345\n\n", "die", budget=budget))
    cut = stored(db).calls[-1]
    assert (cut.intent.max_tokens, cut.result) == (512, None)
    with line(db, "x" * 500, budget=budget) as made:
        result = made.run(QUESTION, run_id="it")
        [engine] = [made.engines["small"]]
        assert isinstance(engine, Scripted)
        assert engine.requests[0].max_tokens == 600 - 7 - 512
    assert result.status is Status.BUDGET
    [lost] = [row for row in result.ledger.without_seconds() if row["fate"] == "interrupted"]
    assert (lost["calls"], lost["output_tokens"], lost["uncertain"]) == (1, 512, 1)
    assert lost["prompt_tokens"] == cut.intent.prompt_tokens


def test_a_run_that_a_living_process_executes_is_refused(db: Path) -> None:
    program = (
        "import asyncio, sys; sys.path.append(sys.argv[1]); from test_resume import *\n"
        "made = Pipeline({'small': Scripted(lambda request: told()), 'large': Scripted([])}, 'small', db=sys.argv[2])\n"
        "def told(): print('asked', flush=True); sys.stdin.read(); return '4'\n"
        "asyncio.run(made.arun(QUESTION, run_id='it'))\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", program, str(Path(__file__).parent), str(db)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ,
    )
    with other:
        assert other.stdout is not None and other.stdout.readline() == b"asked\n"
        idle = Pipeline({"small": Scripted([]), "large": Scripted([])}, "small", db=db)
        with idle, pytest.raises(UserError, match=f"process {other.pid}"):
            idle.run(QUESTION, run_id="it")
        other.kill()
    with Pipeline({"small": Scripted(["\\boxed{4}"]), "large": Scripted([])}, "small", db=db) as made:
        assert made.run(QUESTION, run_id="it").answer == "4"


class Fickle:
    """Says everything once; a second time would be a KeyError."""

    def __init__(self, plans: dict[int, Any], decisions: dict[tuple[int, int], Decision]) -> None:
        self._plans = plans
        self._decisions = decisions

    def before_step(self, history: History) -> Any:
        return self._plans.pop(len(history.steps))

    async def after_draft(self, history: History, draft: Step, ask: Any) -> Decision:
        return self._decisions.pop((draft.index, draft.attempt))


def test_what_a_router_decided_stands_though_it_would_decide_differently_now(db: Path) -> None:
    first = Fickle(
        {0: Plan(engine="small", reason="drawn", max_tokens=40, logprobs=2)}, {(0, 0): rewrite("large", max_tokens=30)}
    )
    dies(line(db, "draft\n\n", router=first, large=["die"]))
    second = Fickle({1: Plan(engine="small")}, {(1, 0): keep()})
    with line(db, "\\boxed{4}", router=second, large=["better\n\n"]) as made:
        result = made.run(QUESTION, run_id="it")
        large = made.engines["large"]
        assert isinstance(large, Scripted)
        assert [request.max_tokens for request in large.requests] == [30]
    assert result.text == "better\n\n\\boxed{4}"
    assert [row.action for row in stored(db).decisions] == ["plan", "rewrite", "plan", "keep"]
    assert [(row[1], row[2], row[3].calls) for row in result.ledger if row[2] != "interrupted"] == [
        ("draft", "discarded", 1),
        ("draft", "used", 1),
        ("rewrite", "used", 1),
    ]


@pytest.mark.parametrize("is_forked", [False, True])
def test_an_owed_answer_has_the_tokens_of_the_last_planned_step(db: Path, is_forked: bool) -> None:
    plans = {0: Plan(engine="small", max_tokens=40), 1: Plan(engine="small", max_tokens=30)}
    keeps = {(0, 0): keep(), (1, 0): keep()}
    dies(line(db, "one\n\n", "so</think>\n\n", "die", router=Fickle(plans, keeps)))
    with line(db, "\\boxed{4}", "\\boxed{4}", router=Fickle({}, keeps)) as made:
        assert made.run(QUESTION, run_id="it").answer == "4"
        if is_forked:
            made.graph.invoke({"run": "it", "step": 2})
        requests = made.engines["small"].requests  # type: ignore[attr-defined]
    assert [request.max_tokens for request in requests] == [30] * (1 + is_forked)


def test_a_stored_plan_is_carried_out_as_it_was_made(db: Path) -> None:
    dies(line(db, "die", router=Fickle({0: Plan(engine="small", reason="r", max_tokens=40, logprobs=2)}, {})))
    with line(db, "\\boxed{4}", router=Fickle({}, {(0, 0): keep()})) as made:
        made.run(QUESTION, run_id="it")
        [request] = made.engines["small"].requests  # type: ignore[attr-defined]
    assert (request.max_tokens, request.logprobs) == (40, 2)


def test_a_stop_before_a_step_is_not_decided_twice(db: Path) -> None:
    dying = line(
        db,
        "so</think>\n\n",
        "die",
        router=Fickle({0: Plan(engine="small"), 1: stop(reason="enough")}, {(0, 0): keep()}),
    )
    dies(dying)
    with line(db, "Answer: 4", router=Fickle({1: stop(reason="enough")}, {})) as made:
        result = made.run(QUESTION, run_id="it")
    assert (result.answer, result.reason) == ("4", stored(db).outcome.reason)  # type: ignore[union-attr]
    assert [row.action for row in stored(db).decisions] == ["keep"]


def test_a_hand_over_in_force_stays_in_force(db: Path) -> None:
    first = Fickle({0: Plan(engine="small")}, {(0, 0): handoff("large", until=3)})
    dies(line(db, "draft\n\n", router=first, large=["a\n\n", "b\n\n", "die"]))
    second = Fickle({3: Plan(engine="small")}, {(3, 0): keep()})
    with line(db, "\\boxed{4}", router=second, large=["c\n\n"]) as made:
        assert made.run(QUESTION, run_id="it").text == "a\n\nb\n\nc\n\n\\boxed{4}"


def test_attempts_go_on_counting_after_two_rollbacks_at_the_same_step(db: Path) -> None:
    plan = Plan(engine="small")
    said = {(0, 0): keep(), (1, 0): rollback(0), (0, 1): keep(), (1, 1): rollback(1)}
    first = Fickle({}, said)
    first.before_step = lambda history: plan  # type: ignore[method-assign]
    dies(line(db, "a\n\n", "b\n\n", "c\n\n", "d\n\n", "die", router=first))
    with line(db, "\\boxed{4}", router=Fickle({1: plan}, {(1, 2): keep()})) as made:
        result = made.run(QUESTION, run_id="it")
    assert [(step.index, step.attempt, step.text) for step in result.steps] == [(0, 1, "c\n\n"), (1, 2, "\\boxed{4}")]


def test_the_logprobs_of_drafts_and_kept_steps_survive(db: Path) -> None:
    seen: list[Any] = []

    class Reads:
        def before_step(self, history: History) -> Plan:
            return Plan(engine="small", logprobs=2)

        async def after_draft(self, history: History, draft: Step, ask: Any) -> Decision:
            seen.append(([step.logprobs for step in history.steps], draft.logprobs))
            if len(seen) == 2:
                raise Death
            return keep()

    def said(text: str) -> Reply:
        return Reply(text=text, top={text[0]: -0.5, "z": -3.0})

    dies(line(db, said("a\n\n"), said("b\n\n"), router=Reads()))
    with line(db, said("\\boxed{4}"), router=Reads()) as made:
        result = made.run(QUESTION, run_id="it")
    assert seen[1] == seen[2]
    assert seen[1][1][0].logprob == -0.5
    assert [step.logprobs[0].logprob for step in result.steps if step.logprobs] == [-0.5, -0.5, -0.5]


def test_what_a_monitor_noticed_is_not_told_twice(db: Path) -> None:
    class Notices:
        def watch(self, history: History) -> Event | None:
            return Event("long", "it is") if len(history.steps) == 1 else None

    dies(line(db, "one\n\n", "die", monitors=[Notices()]))
    with line(db, "\\boxed{4}", monitors=[Notices()]) as made:
        made.run(QUESTION, run_id="it")
    assert [row.kind for row in stored(db).events] == ["long", "resumed"]


def test_the_seconds_of_earlier_sessions_count_against_the_budget(db: Path) -> None:
    budget = Budget(seconds=1.5)
    dies(line(db, Reply(text="one\n\n", latency_s=1.0), "die", budget=budget))
    with line(db, Reply(text="two\n\n", latency_s=5.0), budget=budget) as made:
        result = made.run(QUESTION, run_id="it")
    assert (result.status, result.text) == (Status.BUDGET, "one\n\n")
    assert 1.4 < result.seconds < 3.0


def test_a_failover_that_was_decided_is_not_decided_again(db: Path) -> None:
    broken = EngineProtocol("not understood", engine="small")
    dies(line(db, broken, large=["die"]))
    with line(db, "\\boxed{4}", large=["one\n\n"]) as made:
        result = made.run(QUESTION, run_id="it")
    assert (result.status, [step.writer for step in result.steps]) == (Status.DEGRADED, ["large", "small"])
    assert [row.door for row in stored(db).decisions if row.action == "handoff"] == ["runtime"]


def test_a_cancelled_run_counts_what_had_arrived_and_goes_on(db: Path) -> None:
    async def cancel(made: Pipeline) -> None:
        running = asyncio.ensure_future(made.arun(QUESTION, run_id="it"))
        requests = made.engines["small"].requests  # type: ignore[attr-defined]
        while len(requests) < 2 or not requests[1].progress.output_tokens:
            await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.wait([running])

    with line(db, "one\n\n", Reply(text="0123456789", latency_s=1.0), retries=RetryPolicy(attempts=1)) as made:
        asyncio.run(cancel(made))
    aborted = stored(db).calls[-1].result
    assert aborted is not None
    assert (aborted.status, aborted.output_tokens, aborted.uncertain) == ("aborted", 5, 1)
    with line(db, "\\boxed{4}", retries=RetryPolicy(attempts=1)) as made:
        assert made.run(QUESTION, run_id="it").text == "one\n\n\\boxed{4}"


def test_the_same_run_is_not_executed_twice_at_once(db: Path) -> None:
    async def both(made: Pipeline) -> list[Any]:
        return await asyncio.gather(
            made.arun(QUESTION, run_id="it"), made.arun(QUESTION, run_id="it"), return_exceptions=True
        )

    with pipeline("specreason", db, latency_s=0.002) as made:
        first, second = asyncio.run(both(made))
    assert first.status is Status.COMPLETED
    assert isinstance(second, UserError)
    with pipeline("specreason", ":memory:") as made:
        made.run(QUESTION, run_id="it")
        assert content(made.journal.run("it")) == content(stored(db))


@pytest.mark.parametrize("to_step", [-1, 2])
def test_a_rollback_to_a_step_that_never_was_is_refused(db: Path, to_step: int) -> None:
    router = Fickle({0: Plan(engine="small"), 1: Plan(engine="small")}, {(0, 0): keep(), (1, 0): rollback(to_step)})
    with line(db, "a\n\n", "b\n\n", router=router) as made, pytest.raises(UserError, match="give 0 to 1"):
        made.run(QUESTION, run_id="it")


@pytest.mark.parametrize("name", ["My-Run", "a b", "ünë"])
def test_a_run_may_have_any_name(db: Path, name: str) -> None:
    for _ in range(2):
        with line(db, "\\boxed{4}") as made:
            assert made.run(QUESTION, run_id=name).run_id == name


@dataclass(frozen=True, kw_only=True)
class DoesNotWait:
    """Begin a judge's call and decide without it."""

    needs = Needs(engines=2, scorers=("judge",))
    begun: list[Any] = field(default_factory=list)

    async def after_draft(self, history: History, draft: Step, ask: Ask) -> Decision:
        self.begun.append(asyncio.ensure_future(ask.score("judge", draft)))
        await asyncio.sleep(0.01)
        return keep()


@pytest.mark.parametrize("overlap", [Overlap(), Overlap(ahead=1)], ids=str)
async def test_a_call_that_nobody_waited_for_ends_with_its_run(overlap: Overlap) -> None:
    def said(request: Request) -> Reply:
        return Reply(text="9", latency_s=0.1) if request.purpose == "judge" else Reply(text="\\boxed{4}")

    engines = {"small": Scripted(said), "large": Scripted(said)}
    async with Pipeline(engines, DoesNotWait(), overlap=overlap, db=":memory:") as made:
        result = await made.arun("?", run_id="it")
        await asyncio.sleep(0.15)
        again = await made.arun("?", run_id="it")
        stored = made.journal.run("it")
    assert [call.result and call.result.status for call in stored.calls] == ["done", "aborted"]
    assert {row[2] for row in result.ledger} == {"used", "interrupted"}
    assert again.ledger.without_seconds() == result.ledger.without_seconds()


async def test_a_run_that_is_over_is_read_without_a_word_to_its_record() -> None:
    """Its last call has no result, as where a session wrote the end and died before the rest."""
    engines = {"small": Scripted(["\\boxed{4}"]), "large": Scripted(["9"])}
    async with Pipeline(engines, db=":memory:") as made:
        await made.arun("?", run_id="it")
        before = made.journal.run("it")
        [*_, last] = before.calls
        intent = last.intent._replace(seq=len(before.calls))
        made.journal.intent(intent)
        made.journal.commit()
        read = await made.arun("?", run_id="it")
        assert {row[2] for row in read.ledger} == {"used", "interrupted"}
        assert last.result is not None
        made.journal.result(last.result._replace(seq=intent.seq))
        made.journal.commit()  # which would be the second result of a call if the reader had written one
        assert {row[2] for row in (await made.arun("?", run_id="it")).ledger} == {"used"}
