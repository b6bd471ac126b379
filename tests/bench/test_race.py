"""A whole comparison over scripted engines: every policy on the same tasks, its control beside it, resumable."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from solvers import asked_and_written, large, num_requests, pipeline, small

from orchestrator.bench.folder import Folder
from orchestrator.bench.policies import LARGE, ORACLE, SMALL, Policy, policies_of
from orchestrator.bench.race import Plan, Race
from orchestrator.bench.sample import Sample
from orchestrator.bench.workloads.base import Workload, fingerprint
from orchestrator.bench.workloads.generated import random_calculation
from orchestrator.engines.base import Request
from orchestrator.engines.scripted import Scripted
from orchestrator.errors import EngineProtocol, MissingCapability, UnknownName, UserError
from orchestrator.memory.journal import Journal
from orchestrator.memory.store import Store
from orchestrator.routers import SmallOnly
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.types import Task

EASY = random_calculation("easy")
ASKED = "specreason:threshold=5"
CONTROL = f"random@{ASKED}"
TASKS = 12


def plan(
    *specs: str, workload: Workload = EASY, tasks: int = TASKS, seeds: int = 1, concurrency: int = 4, **changes: Any
) -> Plan:
    made = Plan(workload, "report", tasks, seeds, policies_of(specs or [ASKED], workload), concurrency)
    return made._replace(**changes)


def compared(
    path: Path, of: Plan, made: Pipeline | None = None, listener: Callable[[Any], None] = lambda _: None
) -> Folder:
    """Run a comparison, or what is left of it."""
    folder = Folder(path)
    folder.begin({**of.settings(), "engines": []})
    with made or pipeline(folder.journal) as lent:
        asyncio.run(Race(lent, of, folder, listener).run())
    return folder


def by_policy(folder: Folder) -> dict[str, list[Sample]]:
    found: dict[str, list[Sample]] = {}
    for sample in folder.samples.values():
        found.setdefault(sample.policy, []).append(sample)
    return found


def plain(folder: Folder) -> dict[Any, Sample]:
    """The samples without what two equal comparisons differ in: wall times and run ids."""
    return {
        key: replace(
            sample,
            seconds=0,
            run_id="",
            uses={name: replace(use, seconds=0) for name, use in sample.uses.items()},
        )
        for key, sample in folder.samples.items()
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Folder]:
    yield compared(tmp_path_factory.mktemp("whole"), plan(tasks=60))


def test_every_policy_and_every_control_meets_the_same_tasks(whole: Folder) -> None:
    found = by_policy(whole)
    assert list(found) == [SMALL, LARGE, ORACLE, ASKED, CONTROL]
    tasks = [task.id for task in EASY.draw("report", 0, 60)]
    assert all(sorted(sample.task for sample in samples) == sorted(tasks) for samples in found.values())


def test_accuracies_come_in_the_order_that_the_engines_make(whole: Folder) -> None:
    right = {name: sum(sample.is_right for sample in samples) for name, samples in by_policy(whole).items()}
    assert right[LARGE] == right[ORACLE] == 60
    assert right[SMALL] < right[CONTROL] < right[ASKED] < 60


def test_matched_random_has_the_share_that_was_measured(whole: Folder) -> None:
    steps = {
        name: (sum(sample.large_steps for sample in samples), sum(sample.steps for sample in samples))
        for name, samples in by_policy(whole).items()
    }
    share = {name: large_steps / all_steps for name, (large_steps, all_steps) in steps.items()}
    assert (share[SMALL], share[LARGE]) == (0, 1)
    assert 0 < share[ASKED] < 1
    number = steps[CONTROL][1]
    assert abs(share[CONTROL] - share[ASKED]) < 3 * (share[ASKED] * (1 - share[ASKED]) / number) ** 0.5


def test_samples_count_what_the_engines_did(whole: Folder) -> None:
    found = by_policy(whole)
    for sample in found[ASKED]:
        assert sample.uses["small"].decode + sample.uses["large"].decode == sum(sample.purposes.values())
        assert sample.large_steps == sample.escalations
        assert (sample.escalations > 0) == ("small/draft/discarded" in sample.purposes)
        assert sample.uses["large"].calls > sample.escalations  # the verdicts
        assert (sample.status, sample.error, sample.score_error) == ("completed", "", "")
    for sample in found[SMALL]:
        assert sample.uses["large"].calls == 0
        assert set(sample.purposes) == {"small/draft/used"}
    for sample in found[ORACLE]:
        assert sample.uses["small"].calls == sample.steps  # its verdicts are free


def test_the_listener_is_told_of_every_policy_and_every_sample(tmp_path: Path) -> None:
    told: list[Any] = []
    folder = compared(tmp_path, plan(tasks=3), listener=told.append)
    begun = [(event[0].label, event[1]) for event in told if isinstance(event, tuple)]
    assert begun == [(name, 3) for name in (SMALL, LARGE, ORACLE, ASKED, CONTROL)]
    assert [event for event in told if isinstance(event, Sample)] == list(folder.samples.values())


def test_policies_take_turns_so_that_a_slow_hour_slows_all_of_them(tmp_path: Path) -> None:
    told: list[Any] = []
    compared(tmp_path, plan(tasks=25, concurrency=1), listener=told.append)
    order = [event.policy for event in told if isinstance(event, Sample)]
    turns = [(name, len(list(group))) for name, group in groupby(order)]
    policies = (SMALL, LARGE, ORACLE, ASKED)
    assert turns[:12] == [(name, number) for number in (10, 10, 5) for name in policies]
    assert turns[12:] == [(CONTROL, 25)]


def test_seeds_draw_tasks_of_their_own(tmp_path: Path) -> None:
    found = by_policy(compared(tmp_path, plan(tasks=4, seeds=2)))
    tasks = {seed: {sample.task for sample in found[ASKED] if sample.seed == seed} for seed in (0, 1)}
    assert tasks == {seed: {task.id for task in EASY.draw("report", seed, 4)} for seed in (0, 1)}
    assert tasks[0] != tasks[1]


def test_a_comparison_may_begin_with_a_later_seed(tmp_path: Path) -> None:
    of = plan(tasks=4, seeds=2, first_seed=3)
    found = compared(tmp_path, of).samples.values()
    tasks = {(seed, str(task.id)) for seed in (3, 4) for task in EASY.draw("report", seed, 4)}
    assert {(sample.seed, sample.task) for sample in found} == tasks
    assert of.settings() != plan(tasks=4, seeds=2).settings()


def test_the_same_comparison_twice_gives_the_same_samples(tmp_path: Path) -> None:
    one, other = (compared(tmp_path / name, plan(concurrency=at_once)) for name, at_once in (("a", 1), ("b", 7)))
    assert plain(one) == plain(other)


def test_what_is_finished_is_not_run_again(tmp_path: Path) -> None:
    compared(tmp_path, plan())
    again = pipeline(tmp_path / "journal.db")
    due: list[int] = []
    compared(tmp_path, plan(), again, lambda event: due.append(event[1]) if isinstance(event, tuple) else None)
    assert due == [0, 0, 0, 0, 0]
    assert num_requests(again) == 0


class Death(BaseException):
    """Stands for the end of a process."""


def dying(after: int) -> Callable[[Request], str]:
    """The small engine's script, until it was asked so often."""
    solve, asked = small(), 0

    def script(request: Request) -> str:
        nonlocal asked
        asked += 1
        if asked > after:
            raise Death
        return solve(request)

    return script


def killed(path: Path, after: int) -> Pipeline:
    """Run a comparison whose process dies in the middle; returns the pipeline it had."""
    made = pipeline(path / "journal.db", first=dying(after))
    with pytest.raises(Death):
        compared(path, plan(concurrency=1), made)
    return made


def cancelled(path: Path, after: int) -> Pipeline:
    """Run a comparison that is cancelled while a call is in flight; returns the pipeline it had."""
    solve, asked, stuck = small(), 0, asyncio.Event()

    async def script(request: Request) -> str:
        nonlocal asked
        asked += 1
        if asked > after:
            stuck.set()
            await asyncio.sleep(60)
        return solve(request)

    made = Pipeline({"small": Scripted(script), "large": Scripted(large)}, "small", db=path / "journal.db")
    of = plan(concurrency=1)
    folder = Folder(path)
    folder.begin({**of.settings(), "engines": []})

    async def cut() -> None:
        async with made:
            running = asyncio.ensure_future(Race(made, of, folder, lambda _: None).run())
            await stuck.wait()
            running.cancel()
            await running

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cut())
    return made


@pytest.mark.parametrize("cut", [killed, cancelled])
@pytest.mark.parametrize("after", [5, 30, 70])
def test_a_comparison_that_was_cut_off_repeats_no_finished_run(
    tmp_path: Path, cut: Callable[[Path, int], Pipeline], after: int
) -> None:
    unbroken = pipeline(tmp_path / "unbroken" / "journal.db")
    wanted = compared(tmp_path / "unbroken", plan(concurrency=1), unbroken)
    first = cut(tmp_path / "cut", after)
    finished = _samples_of(tmp_path / "cut")
    second = pipeline(tmp_path / "cut" / "journal.db")
    done = compared(tmp_path / "cut", plan(concurrency=1), second)

    assert num_requests(first) + num_requests(second) == num_requests(unbroken) + 1  # the one that was cut off
    assert {key: done.samples[key] for key in finished} == finished
    hit = [key for key, sample in done.samples.items() if any("interrupted" in name for name in sample.purposes)]
    assert len(hit) == 1
    assert {key: each for key, each in plain(done).items() if key not in hit} == {
        key: each for key, each in plain(wanted).items() if key not in hit
    }
    one, other = plain(done)[hit[0]], plain(wanted)[hit[0]]
    assert (one.answer, one.score, one.steps) == (other.answer, other.score, other.steps)
    assert one.uses["small"].calls == other.uses["small"].calls + 1


def _samples_of(path: Path) -> dict[Any, Sample]:
    folder = Folder(path)
    folder.read()
    return folder.samples


def test_a_run_that_was_cut_off_in_the_middle_goes_on_from_the_journal(tmp_path: Path) -> None:
    first = pipeline(tmp_path / "journal.db", first=dying(3))  # one call for small-only, then the oracle
    with pytest.raises(Death):
        compared(tmp_path, plan(concurrency=1, tasks=1), first)
    with Store(tmp_path / "journal.db", readonly=True) as store:
        run = Journal(store).run("last")
    assert len(run.kept()) == 2
    second = pipeline(tmp_path / "journal.db")
    compared(tmp_path, plan(concurrency=1, tasks=1), second)
    engine = second.engines["small"]
    assert isinstance(engine, Scripted)
    assert bytes(engine.requests[0].prompt.ids()).endswith(run.kept()[-1].text.encode())  # type: ignore[union-attr]


@dataclass(frozen=True, kw_only=True)
class Fitted(SmallOnly):
    """Stands for a policy that was trained."""

    fitted_on: tuple[str, ...] = ()


def fitted(*tasks: Task) -> Policy:
    return Policy(label="fitted", family="fitted", router=Fitted(fitted_on=tuple(map(fingerprint, tasks))))


def test_a_policy_is_not_reported_on_tasks_it_was_fitted_on(tmp_path: Path) -> None:
    drawn = EASY.draw("report", 0, TASKS)
    lent = pipeline()
    with pytest.raises(UserError, match=r"fitted was fitted on 2 of these 12 tasks.*choose another --split"):
        compared(tmp_path / "a", plan(policies=[*policies_of([], EASY), fitted(*drawn[3:5])]), lent)
    assert num_requests(lent) == 0
    others = EASY.draw("calibration", 0, TASKS)
    folder = compared(tmp_path / "b", plan(policies=[*policies_of([], EASY), fitted(*others)]))
    assert len(by_policy(folder)["fitted"]) == TASKS


def test_a_workload_without_tasks_is_one_clear_error(tmp_path: Path) -> None:
    empty = Workload(name="empty", settings={}, draw=lambda split, seed, count: [], score=EASY.score)
    with pytest.raises(UserError, match="workload empty has no task in split report"):
        compared(tmp_path, plan(workload=empty))


@pytest.mark.parametrize(
    "said, error",
    [
        (ZeroDivisionError("oh"), "ZeroDivisionError: oh"),
        (float("nan"), r"the score nan is not in [0, 1]"),
        (2, r"the score 2.0 is not in [0, 1]"),
        (None, "TypeError: "),
    ],
)
def test_a_scorer_that_fails_marks_its_task_and_the_rest_goes_on(tmp_path: Path, said: Any, error: str) -> None:
    victim = EASY.draw("report", 0, TASKS)[4]

    def score(task: Task, answer: str | None) -> float:
        if task.id != victim.id:
            return EASY.score(task, answer)
        if isinstance(said, Exception):
            raise said
        return said  # type: ignore[no-any-return]

    found = by_policy(compared(tmp_path, plan(workload=replace(EASY, score=score))))
    for samples in found.values():
        [marked] = [sample for sample in samples if sample.score_error]
        assert (marked.task, marked.score) == (victim.id, 0)
        assert marked.score_error.startswith(error)
    assert sum(sample.is_right for sample in found[LARGE]) == TASKS - 1


def broken_at(number: int) -> Callable[[Request], str | Exception]:
    """A large engine that understands no more requests from the `number`th on."""
    asked = 0

    def script(request: Request) -> str | Exception:
        nonlocal asked
        asked += 1
        return large(request) if asked < number else EngineProtocol("what is this?", engine="large")

    return script


def test_a_failed_run_is_marked_and_tried_again_by_the_next_command(tmp_path: Path) -> None:
    lent = Pipeline(
        {"small": Scripted(small()), "large": Scripted(broken_at(20))},
        "small",
        failover=False,
        db=tmp_path / "journal.db",
    )
    folder = compared(tmp_path, plan(tasks=6), lent)
    failed = [key for key, sample in folder.samples.items() if sample.status == "failed"]
    assert failed
    assert all("what is this?" in folder.samples[key].error for key in failed)
    assert len(folder.samples) == 5 * 6

    mended = Pipeline(
        {"small": Scripted(small()), "large": Scripted(large)}, "small", failover=False, db=tmp_path / "journal.db"
    )
    done = compared(tmp_path, plan(tasks=6), mended)
    assert {sample.status for sample in done.samples.values()} == {"completed"}
    kept = {key: sample for key, sample in folder.samples.items() if key not in failed and key[0] != CONTROL}
    assert {key: done.samples[key] for key in kept} == kept
    shares = {sample.share for sample in done.samples.values() if sample.policy == CONTROL}
    assert len(shares) == 1  # where the policy's share is another one now, the whole control is run again


def test_a_step_that_another_engine_took_over_is_no_escalation_of_the_policy(tmp_path: Path) -> None:
    def weak(request: Request) -> str | Exception:
        return EngineProtocol("what is this?", engine="small")

    lent = Pipeline({"small": Scripted(weak), "large": Scripted(large)}, "small", db=":memory:")
    found = by_policy(compared(tmp_path, plan(tasks=2), lent))
    assert {(sample.status, sample.escalations) for sample in found[SMALL]} == {("degraded", 0)}


def test_engines_that_cannot_do_what_a_policy_needs_are_refused_before_the_first_run(tmp_path: Path) -> None:
    chat = Pipeline(
        {"small": Scripted(small(), continues=False), "large": Scripted(large, continues=False)}, "small", db=":memory:"
    )
    with pytest.raises(MissingCapability, match="cannot continue"):
        compared(tmp_path / "chat", plan(), chat)
    alone = Pipeline({"small": Scripted(small())}, "small", db=":memory:")
    with pytest.raises(MissingCapability, match="2 engines; the pipeline has 1"):
        compared(tmp_path / "alone", plan(policies=policies_of([], EASY)[:2]), alone)
    assert num_requests(chat) == num_requests(alone) == 0


def test_no_policy_stops_at_an_answer_before_its_engine_does(tmp_path: Path) -> None:
    """Else a run would be shorter than large-only's for another reason than routing."""

    def talkative(request: Request) -> str:
        _, written = asked_and_written(request)
        return "\\boxed{1}\n\n" if not written else "Wait.\n\n" if len(written) == 1 else "So \\boxed{2}"

    lent = Pipeline({"small": Scripted(talkative), "large": Scripted(large)}, "small", db=":memory:")
    found = by_policy(compared(tmp_path, plan(ORACLE, tasks=2), lent))
    assert lent.run("Compute 1+1.").answer == "1"
    assert all(sample.steps > 1 for sample in found[ORACLE])


def test_a_judge_that_dies_is_counted(tmp_path: Path) -> None:
    def judge(request: Request) -> str | Exception:
        return EngineProtocol("out of memory", engine="scorer")

    engines = {"small": Scripted(small()), "large": Scripted(large), "scorer": Scripted(judge, writes=False)}
    lent = Pipeline(engines, "small", db=":memory:")
    spec = "specreason:judge=scorer:threshold=5"
    found = by_policy(compared(tmp_path, plan(spec, tasks=2), lent))
    for sample in found[spec]:
        assert len(sample.missing) == sample.ratings > 0
        assert "out of memory" in sample.missing[0]
    assert not any(sample.ratings for sample in found[SMALL])


@pytest.mark.parametrize("end", ["SystemExit('no licence')", "ValueError('?')"])
def test_a_scorer_that_ends_the_program_ends_one_task(tmp_path: Path, end: str) -> None:
    def scorer(task: object, answer: str | None) -> float:
        raise eval(end)

    found = compared(tmp_path, plan(tasks=2, workload=replace(EASY, score=scorer)))
    assert all(sample.score_error for sample in found.samples.values())


def test_a_judge_that_does_not_exist_is_found_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="no engine 'nobody' to rate; known: small, large, verifier"):
        Race(pipeline(":memory:"), plan("specreason:judge=nobody"), Folder(tmp_path / "f"), lambda _: None)
    assert not (tmp_path / "f").exists()


def test_counterfactuals_are_looked_at_and_cost_the_policy_nothing(tmp_path: Path) -> None:
    looking = plan(counterfactuals=0.5)
    plain_, looked = compared(tmp_path / "plain", plan()), compared(tmp_path / "looked", looking)
    for key, sample in looked.samples.items():
        other = plain_.samples[key]
        assert (sample.answer, sample.steps, sample.large_steps) == (other.answer, other.steps, other.large_steps)
        assert {name: use.decode for name, use in sample.uses.items()} == {
            name: use.decode for name, use in other.uses.items()
        }
        assert bool(sample.compared) <= (sample.policy in (ASKED, CONTROL))
    seen = [each for sample in looked.samples.values() for each in sample.compared]
    assert len(seen) > 20
    assert all(kept in (0.0, 1.0) and other in (0.0, 1.0) for _, kept, other in seen)
    # The large engine makes no mistake, so what the oracle would have kept is wasted and never worse.
    assert all(kept == 1.0 for is_large, kept, _ in seen if is_large)
    again = Folder(looked.path)
    again.read()
    assert again.samples == looked.samples


def test_what_the_looking_scored_is_no_rating_of_the_policys_and_none_of_its_calls(tmp_path: Path) -> None:
    """A process reward model that says nothing of use scores what is looked at; the policy asks the large engine."""

    def lent() -> Pipeline:
        engines = {
            "small": Scripted(small()),
            "large": Scripted(large),
            "scorer": Scripted(lambda _: "1", writes=False),
        }
        return Pipeline(engines, "small", db=":memory:")

    unchecked = plan(workload=replace(EASY, check=None))
    alone = compared(tmp_path / "plain", unchecked, lent())
    looked = compared(tmp_path / "looked", unchecked._replace(counterfactuals=1.0), lent())
    assert any(sample.compared for sample in looked.samples.values())
    for key, sample in looked.samples.items():
        other = alone.samples[key]
        assert (sample.ratings, sample.rated, sample.missing) == (other.ratings, other.rated, other.missing)
        assert {name: (use.calls, use.decode) for name, use in sample.uses.items()} == {
            name: (use.calls, use.decode) for name, use in other.uses.items()
        }
    assert not any(sample.ratings for sample in by_policy(looked)[CONTROL])


def test_a_share_of_counterfactuals_is_part_of_what_was_asked_for(tmp_path: Path) -> None:
    compared(tmp_path, plan(tasks=2))
    with pytest.raises(UserError, match=r"counterfactuals = null, not 0.5"):
        compared(tmp_path, plan(tasks=2, counterfactuals=0.5))
