"""Everything about one step: signals that are missing, calls that failed, what speculation did, what was compared."""

from __future__ import annotations

from pathlib import Path

import pytest

import orchestrator as orc
from orchestrator.engines.base import Completion, Drafting, Request
from orchestrator.engines.retry import RetryPolicy
from orchestrator.engines.scripted import Scripted
from orchestrator.errors import EngineUnavailable, UserError
from orchestrator.memory.base import StoredRun
from orchestrator.memory.journal import Journal
from orchestrator.memory.store import Store
from orchestrator.traces.step import step_of
from orchestrator.traces.step_lines import step_text


class Speculating(Scripted):
    """Says of every call what a server that speculates does."""

    async def complete(self, request: Request) -> Completion:
        done = await super().complete(request)
        return done._replace(queue_s=0.002, first_token_s=0.035, drafting=Drafting(4, 20, 10))


def stored(small: Scripted, large: Scripted, **options: object) -> StoredRun:
    with orc.Pipeline({"small": small, "large": large}, db=":memory:", retries=RetryPolicy(1), **options) as pipeline:  # type: ignore[arg-type]
        return pipeline.journal.run(pipeline.run("What?").run_id)


def test_a_signal_that_is_missing_says_why() -> None:
    run = stored(Scripted(["Answer: 1"]), Scripted(["eh?", "Answer: 2"]))
    (signal,) = step_of(run, (), 0)["signals"]
    assert (signal["value"], signal["name"]) == (None, "judge") and "not a digit" in signal["reason"]
    lines = step_text(run, (), 0).plain.splitlines()
    place = next(place for place, line in enumerate(lines) if line.startswith("1  judge  none  "))
    assert "not a digit" in lines[place + 1]


def test_a_call_that_failed_has_its_error_and_what_took_its_place_is_beside_it() -> None:
    run = stored(Scripted([EngineUnavailable("gone\x1b[2J", engine="small")]), Scripted(["Answer: 3"]), router="small")
    told = step_of(run, (), 0)
    assert [(each["writer"], each["verdict"]) for each in told["candidates"]] == [
        ("small", "failed"),
        ("large", "kept"),
    ]
    assert [(each["status"], each["error"]) for each in told["calls"]] == [("failed", "gone\x1b[2J"), ("done", "")]
    text = step_text(run, (), 0).plain
    assert "     error: gone\\x1b[2J\n" in text and "\x1b" not in text
    assert "1  runtime: " in text


def test_what_speculation_did_is_told_of_each_call() -> None:
    run = stored(Speculating(["Answer: 3"]), Scripted([]), router="small")
    (call,) = step_of(run, (), 0)["calls"]
    assert (call["drafts"], call["drafted"], call["accepted"], call["queue_s"]) == (4, 20, 10, 0.002)
    text = step_text(run, (), 0).plain
    assert "     4 drafts verified: 2.50 accepted per draft (10 of 20 tokens)" in text
    assert ", first token 35 ms, queued 2 ms; stopped by end" in text


def test_what_was_written_to_be_compared_is_told_with_whose_stands() -> None:
    run = stored(Scripted(["Answer: 3"]), Scripted(["Answer: 4"]), router="small", counterfactuals=1.0)
    told = step_of(run, (), 0)
    assert [each["text"] for each in told["candidates"]] == ["Answer: 3", "Answer: 4"]
    assert [(each["is_large"], each["kept"], each["other"]) for each in told["counterfactuals"]] == [
        (False, None, None)
    ]
    assert "the smaller engine's stands; nobody scored the two" in step_text(run, (), 0).plain


def test_every_step_of_every_run_can_be_told_at_any_width(db: Path) -> None:
    with Store(db, readonly=True) as store:
        journal = Journal(store)
        told = 0
        for each in ("one", "two", "three"):
            run = journal.run(each)
            for step in range(6):
                try:
                    assert step_of(run, (), step)["candidates"]
                except UserError as error:
                    assert "it has step" in str(error)
                    continue
                told += 1
                for width in (20, 80):
                    lines = step_text(run, (), step, width=width).plain.splitlines()
                    assert max(map(len, lines)) <= width
                    assert not any("\x1b" in line or "\udcff" in line for line in lines)
        assert told == 7


@pytest.mark.parametrize("step", [-1, 1])
def test_a_step_outside_of_a_run_is_refused(step: int) -> None:
    run = stored(Scripted(["Answer: 3"]), Scripted([]), router="small")
    with pytest.raises(UserError, match=f"has no step {step}: it has step 0 alone"):
        step_of(run, (), step)
