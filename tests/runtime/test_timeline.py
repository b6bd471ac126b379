"""The timeline tells everything about a run, on 60 columns and more, without colour."""

from __future__ import annotations

import asyncio
import io
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from rich.cells import cell_len

import orchestrator as orc
from orchestrator.decisions import Decision, keep, rewrite, rollback
from orchestrator.doors import Ask, Needs
from orchestrator.engines.base import Completion, Drafting, Request
from orchestrator.engines.retry import RetryPolicy
from orchestrator.engines.scripted import Reply, Scripted
from orchestrator.errors import EngineRejected, EngineUnavailable
from orchestrator.memory.base import StoredRun
from orchestrator.runtime.attempts import attempts
from orchestrator.runtime.calls import completion_of
from orchestrator.runtime.timeline import timeline
from orchestrator.types import History, Step


def stored(pipeline: orc.Pipeline, question: str = "What?") -> StoredRun:
    """Run a question and return what the journal has of it."""
    try:
        return pipeline.journal.run(pipeline.run(question).run_id)
    finally:
        pipeline.close()


def pipeline(small: Any, large: Any = (), **options: Any) -> orc.Pipeline:
    engines = {"small": Scripted(small), "large": Scripted(large)}
    return orc.Pipeline(engines, db=":memory:", **{"retries": RetryPolicy(1), **options})


def drawn(run: StoredRun, width: int = 80) -> str:
    return timeline(run, width=width).plain


def told(run: StoredRun) -> list[tuple[int, str, str, str]]:
    return [(each.step, each.writer, each.verdict, each.reason) for each in attempts(run)]


def test_a_failover_names_the_engine_that_failed_and_the_one_that_took_over() -> None:
    run = stored(pipeline([EngineRejected("no", engine="small")], [], router="small"))
    assert told(run) == [(0, "small", "failed", "no")]
    broken = EngineUnavailable("engine 'small' at http://127.0.0.1:9: gone", engine="small")
    run = stored(pipeline([broken], ["Answer: 3"], router="small"))
    assert told(run) == [
        (0, "small", "failed", "failover: engine 'small' at http://127.0.0.1:9: gone"),
        (0, "large", "kept", "replaces draft"),
    ]
    text = drawn(run)
    assert "   0 small    x failed" in text
    assert "       failover: engine 'small' at http://127.0.0.1:9: gone\n" in text
    assert "degraded" in text.splitlines()[0]


def test_a_missing_rating_is_shown_with_its_reason() -> None:
    run = stored(pipeline(["Answer: 1"], ["eh?", "Answer: 2"]))
    text = drawn(run)
    assert "   0 small    x rejected    none   7.0" in text
    assert "       no judge: " in text
    assert [line for line in text.splitlines() if "no reading of judge" in line]


@dataclass(frozen=True, kw_only=True)
class OnceBack:
    """Takes the first two steps back when the third is drafted for the first time."""

    needs = Needs()

    async def after_draft(self, history: History, draft: Step, ask: Ask) -> Decision:
        if draft.index == 2 and draft.attempt == 0:
            return rollback(0, reason="wrong turn")
        return keep(reason="fine")


def test_a_step_that_was_rolled_back_stays_visible_and_does_not_stand() -> None:
    run = stored(pipeline(["a\n\n", "b\n\n", "c\n\n", "d\n\n", "Answer: 5"], router=OnceBack()))
    assert [(step, verdict) for step, _, verdict, _ in told(run)] == [
        (0, "rolled back"),
        (1, "rolled back"),
        (2, "rejected"),
        (0, "kept"),
        (1, "kept"),
    ]
    assert "x rolled back" in drawn(run)


class ByFirstWord:
    """Does with a draft what its first word says."""

    async def after_draft(self, history: History, draft: Step, ask: Ask) -> Decision:
        match draft.text.split()[0]:
            case "bad":
                return rewrite("large", reason="it is bad")
            case "back":
                return rollback(2, reason="wrong turn")
        return keep(reason="fine")


@pytest.fixture(scope="module")
def forks() -> Iterator[tuple[orc.Pipeline, list[StoredRun]]]:
    """A run, a fork of it at step 2, and a fork of that at step 3, which takes the step back that it began with."""
    small = ["a\n\n", "bad b\n\n", "c\n\n", "Answer: 1", "d\n\n", "Answer: 2", "back we go\n\n", "e\n\n", "Answer: 3"]
    with pipeline(small, ["better\n\n"], router=ByFirstWord()) as made:
        made.run("What?", run_id="the first of them")
        second = made.graph.invoke({"run": "the first of them", "step": 2})["run"]
        third = made.graph.invoke({"run": second, "step": 3})["run"]
        yield made, [made.journal.run(name) for name in ("the first of them", second, third)]


def test_a_fork_shows_the_steps_it_began_with_and_which_run_wrote_them(
    forks: tuple[orc.Pipeline, list[StoredRun]],
) -> None:
    first, second, third = forks[1]
    tried = [(each.step, each.verdict, each.text.strip(), each.origin) for each in attempts(third, [first, second])]
    assert tried == [
        (0, "inherited", "a", first.run.id),
        (1, "inherited", "better", first.run.id),
        (2, "rolled back", "d", second.run.id),
        (3, "rejected", "back we go", ""),
        (2, "kept", "e", ""),
        (3, "kept", "Answer: 3", ""),
    ]
    lines = timeline(third, [first, second], width=80).plain.splitlines()
    assert [line.split("  ")[-1] for line in lines if " inherited " in line] == ["from run the first…"] * 2
    assert [line.split("  ")[-1] for line in lines if " rolled back " in line] == [f"from run {second.run.id[:9]}…"]
    assert max(map(len, lines)) <= 80


def test_the_ledger_of_a_fork_is_its_own(forks: tuple[orc.Pipeline, list[StoredRun]]) -> None:
    first, second, third = forks[1]
    total = next(line for line in timeline(third, [first, second]).plain.splitlines() if line.startswith("all "))
    assert total.split()[1] == str(len(third.calls)) == "3"


def test_a_result_shows_what_its_run_inherited(forks: tuple[orc.Pipeline, list[StoredRun]]) -> None:
    made, [first, second, third] = forks
    shown = io.StringIO()
    made.run("What?", run_id=third.run.id).trace.show(shown)
    assert shown.getvalue() == timeline(third, [first, second], width=80).plain + "\n"


def test_an_unfinished_run_shows_what_it_has_and_what_it_cost_so_far() -> None:
    async def cut_off() -> StoredRun:
        slow = Reply(text="never kept, never finished", latency_s=60)
        lines = iter([Reply(text="First.\n\n"), slow])
        sent = asyncio.Event()

        def replies(request: Request) -> Reply:
            reply = next(lines)
            if reply is slow:
                asyncio.get_running_loop().call_later(0.1, sent.set)
            return reply

        line = pipeline(replies, router="small")
        running = asyncio.ensure_future(line.arun("What?", run_id="0" * 16))
        await sent.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        run = line.journal.run("0" * 16)
        await line.aclose()
        return run

    run = asyncio.run(cut_off())
    text = drawn(run)
    assert text.splitlines()[0] == "run 0000000000000000  unfinished  1 step"
    assert [(step, verdict) for step, _, verdict, _ in told(run)] == [(0, "kept"), (1, "unfinished")]
    assert "~ is a bound, not a count: a call was cut off" in text
    assert "small    draft    interrupted      1" in text


def test_costs_and_cached_tokens_are_shown_where_there_are_any() -> None:
    run = stored(pipeline(["Answer: 1"], router="small"))
    assert "cost" not in drawn(run)
    ledger = '[{"engine": "small", "purpose": "draft", "fate": "used", "calls": 2, "prompt_tokens": 900,'
    ledger += ' "cached_tokens": 640, "output_tokens": 30, "uncertain": 0, "seconds": 1.5, "cost": 0.0125}]'
    assert run.outcome is not None
    engines = run.run.engines.replace('"cached_tokens": false', '"cached_tokens": true')
    run = run._replace(outcome=run.outcome._replace(ledger=ledger), run=run.run._replace(engines=engines))
    assert "small    draft    used             2      900      640      30    1.50    0.0125\n" in drawn(run)
    assert "does not report" not in drawn(run)


@pytest.mark.parametrize("width", [10, 60, 80, 200])
@pytest.mark.parametrize(
    "said", ["x" * 500, "你好世界" * 100, "\x1b[31m" * 50, "🙂" * 200, "tabs\tand\nlines\n" * 20, "\udcff" * 90]
)
def test_no_line_is_wider_than_the_terminal(width: int, said: str) -> None:
    run = stored(pipeline([f"{said}\n\n", "Answer: " + said], ["9", "9"]), question=f"What is {said}?")
    lines = drawn(run, width).splitlines()
    assert max(map(cell_len, lines)) <= width
    assert not any("\x1b" in line for line in lines)


def test_a_thousand_steps_are_drawn_in_half_a_second() -> None:
    def small(request: Request) -> str:
        return f"Step at {len(request.prompt or ())}: some words that make up a line of usual length.\n\n"

    def large(request: Request) -> str:
        return "3" if request.purpose == "judge" else f"Careful step at {len(request.prompt or ())}.\n\n"

    router = orc.routers.SpecReason(total_tokens=10**9)
    run = stored(pipeline(small, large, router=router, budget=orc.Budget(steps=1000)))
    began = time.process_time()
    text = drawn(run)
    assert text.count("x rejected") == 1000
    assert time.process_time() - began < 0.5


class Speculating(Scripted):
    """Says of every call what a server that speculates does."""

    async def complete(self, request: Request) -> Completion:
        drafting = Drafting(drafts=4, drafted=20, accepted=10) if request.purpose == "draft" else Drafting(0, 0, 0)
        done = await super().complete(request)
        return done._replace(queue_s=0.002, first_token_s=0.035, drafting=drafting)


def test_what_speculation_did_is_told_of_each_step_and_each_engine() -> None:
    engines = {"small": Speculating(["One.\n\n", "Answer: 3"]), "large": Scripted([])}
    run = stored(orc.Pipeline(engines, "small", db=":memory:"))
    assert [each.drafting for each in attempts(run)] == [Drafting(4, 20, 10)] * 2
    text = drawn(run)
    assert text.count("       2.50 accepted per draft (10 of 20 tokens), first token 35 ms, queued 2 ms\n") == 2
    assert "\nsmall: 2.50 accepted per draft (20 of 40 tokens)\n" in text
    assert "\nsmall: first token 35 ms, queued 2 ms, on average\n" in text
    assert "\nlarge: " not in text


def test_speculation_is_read_back_and_is_in_the_ledger() -> None:
    engines = {"small": Speculating(["Answer: 3"]), "large": Scripted([])}
    run = stored(orc.Pipeline(engines, "small", db=":memory:"))
    assert run.outcome is not None
    (row,) = json.loads(run.outcome.ledger)
    assert (row["drafts"], row["drafted"], row["accepted"]) == (4, 20, 10)
    assert (row["queue_s"], row["queued"], row["first_token_s"], row["streamed"]) == (0.002, 1, 0.035, 1)
    assert completion_of(run.calls[0].result).drafting == Drafting(4, 20, 10)
