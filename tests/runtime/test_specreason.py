"""What a faithful SpecReason has to show, one test per obligation, on whole runs."""

from __future__ import annotations

import pytest

import orchestrator as orc
from orchestrator.engines.base import Request
from orchestrator.engines.scripted import Reply, Scripted
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.types import Status, Stop

STEPS = 6


def writer(name: str, request: Request) -> str:
    """Write one numbered step; a pure function of the prompt."""
    assert request.prompt is not None
    written = bytes(request.prompt.ids()).decode().count("step of")
    if written == STEPS:
        return f"{name} says \\boxed{{{name}}}"
    return f"{name}: a step of the solution, number {written}\n\n"


def small(request: Request) -> str:
    return writer("small", request)


def large(request: Request, digits: str = "938271") -> str:
    if request.purpose != "judge":
        return writer("large", request)
    assert request.prompt is not None
    written = bytes(request.prompt.ids()).decode().count("step of")
    return digits[(written - 1) % len(digits)]


def pipeline(router: object, *, granularity: str = "steps") -> Pipeline:
    engines = {"small": Scripted(small), "large": Scripted(large)}
    return Pipeline(engines, router, db=":memory:", granularity=granularity)  # type: ignore[arg-type]


def prompts(engine: object, purpose: str) -> list[bytes]:
    assert isinstance(engine, Scripted)
    return [bytes(each.prompt.ids()) for each in engine.requests if each.purpose == purpose and each.prompt]


async def test_threshold_0_reproduces_the_small_only_run_and_10_the_large_only_run() -> None:
    for threshold, control in ((0, "small"), (10, "large")):
        routed = await pipeline(orc.routers.SpecReason(threshold=threshold)).arun("q")
        alone = await pipeline(control).arun("q")
        assert [step.text for step in routed.steps] == [step.text for step in alone.steps]
        assert {step.writer for step in routed.steps} == {control}


async def test_a_rejected_draft_is_in_no_later_prompt_and_the_rewrite_starts_from_the_same_prefix() -> None:
    line = pipeline(orc.routers.SpecReason(threshold=5))
    result = await line.arun("q")
    rejected = [step.index for step in result.steps if step.writer == "large"]
    assert rejected
    drafts, rewrites = prompts(line.engines["small"], "draft"), prompts(line.engines["large"], "rewrite")
    for index, rewrite in zip(rejected, rewrites, strict=True):
        assert rewrite == drafts[index]
        refused = f"small: a step of the solution, number {index}".encode()
        later = [*drafts[index + 1 :], *prompts(line.engines["large"], "rewrite")[rejected.index(index) :]]
        assert not any(refused in prompt for prompt in later)


async def test_the_judge_is_asked_one_greedy_token_on_a_prefix_of_the_next_prompt() -> None:
    line = pipeline(orc.routers.SpecReason(threshold=0))
    result = await line.arun("q")
    judged, drafts = prompts(line.engines["large"], "judge"), prompts(line.engines["small"], "draft")
    assert len(judged) == len(result.steps)
    for verdict, following in zip(judged, drafts[1:], strict=False):
        assert verdict[: len(following)] == following
    large_engine = line.engines["large"]
    assert isinstance(large_engine, Scripted)
    for request in large_engine.requests:
        assert (request.max_tokens, request.sampling.temperature) == (1, 0.0)


async def test_an_unreadable_rating_rejects_and_the_trace_says_why() -> None:
    def mute(request: Request) -> str:
        return "x" if request.purpose == "judge" else writer("large", request)

    line = Pipeline({"small": Scripted(small), "large": Scripted(mute)}, db=":memory:")
    result = await line.arun("q")
    assert {step.writer for step in result.steps} == {"large"}
    stored = line.journal.run(result.run_id)
    assert {row.reason for row in stored.decisions if row.action != "plan"} == {
        "no reading of judge (the judge answered 'x', not a digit): reject"
    }
    assert {(row.value, row.reason) for row in stored.signals} == {(None, "the judge answered 'x', not a digit")}


async def test_missing_logprobs_end_no_run() -> None:
    router = orc.routers.SpecReason(reading="average")
    line = pipeline(router)
    result = await line.arun("q")
    assert result.status is Status.COMPLETED
    assert {row.reason for row in line.journal.run(result.run_id).signals} == {"the engine returned no logprobs"}


async def test_the_average_reading_decides_on_the_weighted_digit() -> None:
    def judge(request: Request) -> Reply | str:
        return Reply(text="9", top={"9": -0.7, "1": -0.7}) if request.purpose == "judge" else writer("large", request)

    for threshold, expected in ((5, "small"), (5.1, "large")):
        router = orc.routers.SpecReason(threshold=threshold, reading="average")
        line = Pipeline({"small": Scripted(small), "large": Scripted(judge)}, router, db=":memory:")
        assert {step.writer for step in (await line.arun("q")).steps} == {expected}


async def test_acceptance_never_grows_with_the_threshold() -> None:
    accepted = []
    for threshold in range(11):
        result = await pipeline(orc.routers.SpecReason(threshold=threshold)).arun("q")
        accepted.append(sum(step.writer == "small" for step in result.steps))
    assert accepted == sorted(accepted, reverse=True)
    assert accepted[0] == STEPS + 1
    assert accepted[10] == 0
    assert len(set(accepted)) > 3


async def test_the_first_n_steps_make_no_small_and_no_judge_call() -> None:
    line = pipeline(orc.routers.SpecReason(first_n=STEPS + 1, threshold=0))
    result = await line.arun("q")
    assert {step.writer for step in result.steps} == {"large"}
    assert (prompts(line.engines["small"], "draft"), prompts(line.engines["large"], "judge")) == ([], [])


async def test_the_ledger_keeps_kept_discarded_rewritten_and_judged_work_apart() -> None:
    result = await pipeline(orc.routers.SpecReason(threshold=5)).arun("q")
    kept = {name: [step for step in result.steps if step.writer == name] for name in ("small", "large")}
    totals = {(row[0], row[1], str(row[2])): row[3] for row in result.ledger}
    assert totals["small", "draft", "used"].output_tokens == sum(step.num_tokens for step in kept["small"])
    assert totals["small", "draft", "discarded"].calls == len(kept["large"])
    assert totals["large", "rewrite", "used"].output_tokens == sum(step.num_tokens for step in kept["large"])
    judged = totals["large", "judge", "used"]
    assert (judged.calls, judged.output_tokens) == (len(result.steps), len(result.steps))
    assert judged.prompt_tokens > 0
    assert all(entry.seconds > 0 for entry in totals.values())


async def test_delimiter_end_and_length_stops_are_three_different_records() -> None:
    script = ["a step\n\n", "cut off here", "last words"]
    engines = {"small": Scripted(script)}
    router = Cut()
    line = Pipeline(engines, router, db=":memory:")
    result = await line.arun("q")
    expected = [("a step\n\n", Stop.DELIMITER), ("cut o", Stop.LENGTH), ("last words", Stop.END)]
    assert [(step.text, step.stop) for step in result.steps] == expected
    assert [row.stop for row in line.journal.run(result.run_id).steps] == ["delimiter", "length", "end"]


class Cut:
    """Let the second step have 5 tokens."""

    def before_step(self, history: orc.types.History) -> orc.decisions.Plan:
        return orc.decisions.Plan(engine="small", max_tokens=5 if len(history.steps) == 1 else 50)


@pytest.mark.parametrize(
    ("script", "texts", "reason"),
    [
        (["a\n\n", "\n\n", "\n\n", "\n\n"], ["a\n\n", "\n\n\n\n\n\n"], "the step is empty"),
        (["a\n\n", "a\n\n"], ["a\n\n", "a\n\n"], "the step repeats the one before it"),
    ],
)
async def test_an_empty_step_and_an_exact_repeat_end_the_run(script: list[str], texts: list[str], reason: str) -> None:
    result = await Pipeline({"small": Scripted(script)}, "small", db=":memory:").arun("q")
    assert [step.text for step in result.steps] == texts
    assert (result.status, result.reason) == (Status.NO_ANSWER, reason)


async def test_kept_tokens_end_the_run_at_the_published_total() -> None:
    result = await pipeline(orc.routers.SpecReason(threshold=0, total_tokens=80)).arun("q")
    assert result.status is Status.BUDGET
    assert sum(step.num_tokens for step in result.steps) == 80
