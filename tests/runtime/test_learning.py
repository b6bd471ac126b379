"""The third door of a router: what it is told, once, and what later runs find of it."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from counting import Counting, asked, counting

import orchestrator as orc
from orchestrator.engines.retry import RetryPolicy
from orchestrator.engines.scripted import Scripted
from orchestrator.errors import EngineUnavailable, ResumeRefused, UnknownName, UserError
from orchestrator.ledger import Price
from orchestrator.memory.journal import Journal
from orchestrator.memory.store import Store
from orchestrator.routers import LinUCB
from orchestrator.runtime.learning import LEARNED, UNREWARDED
from orchestrator.runtime.timeline import timeline
from orchestrator.types import Outcome, Status, Taken

HERE = str(Path(__file__).parent)
ONCE = RetryPolicy(attempts=1)


@pytest.fixture
def db(tmp_path: Path) -> str:
    return str(tmp_path / "journal.db")


def known(journal: Journal, run: str = "last") -> tuple[str, int]:
    """Return the policy and the version that a run had."""
    [event] = [each for each in journal.run(run).events if each.kind == LEARNED]
    detail = json.loads(event.detail)
    return detail["policy"], detail["version"]


def told(db: str) -> list[list[Any]]:
    """Return what the counting router has been told: run, reward, is_late."""
    with Store(db, readonly=True) as store:
        journal = Journal(store)
        learned = journal.learned(known(journal)[0])
        assert learned.version == len(learned.state["told"])
        return list(learned.state["told"])


def start(db: str, name: str, times: int, what: str = "run") -> subprocess.Popen[str]:
    code = "import sys; sys.path.append(sys.argv[1]); from counting import live; live(*sys.argv[2:])"
    command = [sys.executable, "-c", code, HERE, db, name, str(times), what]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_a_run_sees_what_earlier_runs_have_taught(db: str) -> None:
    with counting(db) as made:
        for number in range(3):
            made.run(asked(str(number), "42"))
        stored = made.journal.run("last")
        assert known(made.journal)[1] == 2
    assert stored.decisions[0].reason == "2 runs before"
    with counting(db) as again:
        again.run("another")
        assert again.journal.run("last").decisions[0].reason == "3 runs before"


@pytest.mark.parametrize(("gold", "reward"), [("42", 1.0), ("42.0", 1.0), ("41", 0.0), (None, None)])
def test_the_reward_at_the_end_is_whether_the_answer_is_the_gold_one(db: str, gold: str | None, reward: Any) -> None:
    with counting(db) as made:
        run = made.run(asked("q", gold)).run_id
        assert made.journal.reward_of(made.journal.run(run).key) == reward
    assert told(db) == [[run, reward, False]]


def test_a_pipelines_own_function_says_what_an_answer_is_worth_or_that_nobody_knows_yet(db: str) -> None:
    worth = {"half": 0.5, "unknown": None}
    with counting(db, reward=lambda task, answer: worth[task.id] if answer == "42" else 0) as made:
        for name in worth:
            made.run(orc.Task(messages=asked(name).messages, id=name))
    assert [reward for _, reward, _ in told(db)] == [0.5, None]


def raises(task: orc.Task, answer: str | None) -> float:
    raise KeyError("no such task")


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        *[(lambda task, answer, bad=bad: bad, "is no reward: give") for bad in (1.5, -0.1, float("nan"), "good")],
        (raises, "the pipeline's reward function raised KeyError: 'no such task'"),
    ],
)
def test_a_reward_function_that_is_wrong_costs_its_run_the_reward_and_nothing_else(
    db: str, bad: Any, reason: str
) -> None:
    with counting(db, reward=bad) as made:
        assert made.run("q", run_id="it").status == "completed"
        stored = made.journal.run("it")
        [event] = [each for each in stored.events if each.kind == UNREWARDED]
        assert reason in json.loads(event.detail)["reason"]
        assert reason in " ".join(timeline(stored, width=300).plain.split())
        assert told(db) == [["it", None, False]]
        assert made.reward("it", 1) == "it"
        assert made.run("q", run_id="it").answer == made.run("next").answer


def test_rewards_come_later_in_any_order_and_each_run_takes_one(db: str) -> None:
    with counting(db) as made:
        for name in ("a1", "b2", "c3"):
            made.run(asked(name), run_id=name)
        assert [made.reward("c", 1), made.reward("a1", 0.25)] == ["c3", "a1"]
        with pytest.raises(UserError, match=r"run a1 has its reward, 0.25, and keeps it"):
            made.reward("a1", 1)
        with pytest.raises(UserError, match="reward: 2 is no reward"):
            made.reward("b2", 2)
        with pytest.raises(UnknownName, match=r"no run 'zz' in .*; the nearest are"):
            made.reward("zz", 1)
    assert told(db)[3:] == [["c3", 1.0, True], ["a1", 0.25, True]]


def test_a_run_with_a_gold_answer_has_its_reward(db: str) -> None:
    with counting(db) as made:
        made.run(asked("q", "42"), run_id="it")
        with pytest.raises(UserError, match="has its reward, 1"):
            made.reward("it", 0)


def test_a_run_whose_router_does_not_learn_can_be_rewarded_all_the_same() -> None:
    engines = {"small": Scripted(lambda request: "\\boxed{1}"), "large": Scripted([])}
    with orc.Pipeline(engines, "small", db=":memory:") as made:
        run = made.run("q").run_id
        made.reward(run, 0.5)
        stored = made.journal.run(run)
        assert (made.journal.reward_of(stored.key), stored.events) == (0.5, [])
        assert made.journal.counts()["states"] == 0


@dataclass(frozen=True, kw_only=True)
class Listening(Counting):
    """Keep nothing but the last outcome, as text."""

    heard = []  # noqa: RUF012 - of the one test below

    def after_run(self, outcome: Outcome, state: Mapping[str, Any]) -> Mapping[str, Any]:
        self.heard.append(outcome)
        return {}


def test_an_outcome_tells_decisions_with_their_features_writers_failures_tokens_and_cost() -> None:
    made = Listening()
    made.heard.clear()
    script = iter(["one\n\n", EngineUnavailable("nothing answers", engine="small")])
    engines: Any = {"small": Scripted(lambda request: next(script)), "large": Scripted(lambda request: "\\boxed{4}")}
    with orc.Pipeline(engines, made, db=":memory:", retries=ONCE) as pipeline:
        pipeline.specs["large"] = pipeline.specs["large"].__class__(kind="scripted", price=Price(output=2.0))
        result = pipeline.run(asked("q", "4"))
    [outcome] = made.heard
    assert (outcome.run_id, outcome.status, outcome.reward) == (result.run_id, Status.DEGRADED, 1.0)
    assert (outcome.engines, outcome.writers, outcome.failed) == (("small", "large"), ("small", "large"), ("small",))
    plans = [taken for taken in outcome.decisions if taken.door == "before_step"]
    assert plans == [Taken(step, 0, "before_step", "plan", "small", (1.0, 0.0)) for step in (0, 1)]
    assert outcome.output_tokens == {"small": 5, "large": 9}
    assert outcome.cost == {"small": 0.0, "large": 18.0}
    assert outcome.seconds == result.seconds


def test_a_run_that_failed_has_no_reward_and_names_the_engine_and_tried_again_it_has_one(db: str) -> None:
    broken = iter([EngineUnavailable("nothing answers", engine="small")])
    engines: Any = {"small": Scripted(lambda request: next(broken, "\\boxed{42}")), "large": Scripted([])}
    listening = Listening()
    listening.heard.clear()
    with orc.Pipeline(engines, listening, db=db, failover=False, retries=ONCE) as made:
        assert made.run(asked("q", "42"), run_id="it").status == "failed"
        assert made.run(asked("q", "42"), run_id="it").status == "completed"
        assert made.run(asked("q", "42"), run_id="it").status == "completed"
    first, second = listening.heard
    assert (first.reward, first.failed, first.writers) == (None, ("small",), ())
    assert (second.reward, second.failed, second.writers) == (1.0, (), ("small",))


def test_another_router_other_options_other_engines_or_another_experience_share_nothing(db: str) -> None:
    seen = []
    for name, router, engine, experience in (
        ("first", Counting(), "small", ""),
        ("same", Counting(), "small", ""),
        ("options", Counting(seed=1), "small", ""),
        ("router", Listening(), "small", ""),
        ("engine", Counting(), "tiny", ""),
        ("experience", Counting(), "small", "afresh"),
    ):
        engines = {engine: Scripted(lambda request: "\\boxed{1}"), "large": Scripted([])}
        with orc.Pipeline(engines, router, db=db, experience=experience) as made:
            made.run("q", run_id=name)
            seen.append(known(made.journal, name))
    assert [version for _, version in seen] == [0, 1, 0, 0, 0, 0]
    assert len({policy for policy, _ in seen}) == 5


def test_a_run_is_not_resumed_under_another_experience(db: str) -> None:
    answers = iter([EngineUnavailable("down", engine="small"), "\\boxed{42}"])
    engines = {"small": Scripted(lambda request: next(answers)), "large": Scripted([])}
    options: dict[str, Any] = {"db": db, "retries": ONCE, "failover": False}
    with orc.Pipeline(engines, Counting(), experience="one", **options) as made:
        assert made.run("q", run_id="it").status == "failed"
    with (
        orc.Pipeline(engines, Counting(), experience="two", **options) as made,
        pytest.raises(ResumeRefused, match="made with experience = 'one', not 'two'"),
    ):
        made.run("q", run_id="it")
    with orc.Pipeline(engines, Counting(), experience="one", **options) as made:
        assert made.run("q", run_id="it").answer == "42"
    assert "experience" not in orc.Pipeline(engines, "small", experience="one", db=":memory:").settings


class Death(BaseException):
    """What ends a process."""


def test_a_resumed_run_decides_by_what_it_knew_though_more_is_known_now(db: str) -> None:
    with counting(db) as made:
        made.run(asked("before", "42"))

    def small(request: Any) -> str:
        if request.prompt.ids()[-2:] == [10, 10]:
            raise Death
        return "one\n\n"

    dying = orc.Pipeline({"small": Scripted(small), "large": Scripted([])}, Counting(), db=db)
    with dying, pytest.raises(Death):
        asyncio.run(dying.arun("q", run_id="it"))
    with counting(db) as made:
        made.run(asked("between", "42"))
        result = made.run("q", run_id="it")
        stored = made.journal.run("it")
        assert len(result.steps) == 2
        assert known(made.journal, "it")[1] == 1
        assert [row.reason for row in stored.decisions if row.door == "before_step"] == ["1 runs before"] * 2
    assert [name for name, _, _ in told(db)][-1] == "it"


def test_a_learner_that_raises_or_returns_no_plain_data_leaves_neither_outcome_nor_reward(db: str) -> None:
    class Broken(Counting):
        def after_run(self, outcome: Outcome, state: Mapping[str, Any]) -> Any:
            return {"set": {1}} if outcome.run_id == "set" else ["a list"]

    engines = {"small": Scripted(lambda request: "\\boxed{1}"), "large": Scripted([])}
    with orc.Pipeline(engines, Broken(), db=db) as made:
        for name, said in (("set", "JSON cannot hold"), ("list", "not the new state")):
            with pytest.raises(UserError, match=said):
                made.run(asked("q", "1"), run_id=name)
            assert made.journal.run(name).outcome is None
        counts = made.journal.counts()
    assert (counts["states"], counts["rewards"], counts["outcomes"]) == (0, 0, 0)


def test_runs_side_by_side_in_several_processes_lose_nothing(db: str) -> None:
    workers = [start(db, name, 15) for name in ("a", "b", "c")]
    assert [worker.communicate(timeout=120)[0].splitlines()[-1] for worker in workers] == ["14"] * 3
    assert sorted(name for name, _, _ in told(db)) == sorted(f"{name}{n}" for name in "abc" for n in range(15))


def test_killed_at_any_instant_every_run_is_learned_from_exactly_once(db: str) -> None:
    rng = random.Random(11)
    with counting(db) as made:
        for number in range(30):
            made.run(asked(f"late {number}"), run_id=f"late{number}")
    for what, name in [("run", "k"), ("reward", "late")] * 2:
        worker = start(db, name, 30, what)
        assert worker.stdout is not None
        assert worker.stdout.readline() == "0\n"
        time.sleep(rng.uniform(0, 0.05))
        os.kill(worker.pid, signal.SIGKILL)
        worker.communicate()
    with counting(db) as made:
        for number in range(30):
            made.run(asked(f"k {number}", "42"), run_id=f"k{number}")
        given = {f"late{n}" for n in range(30) if made.journal.reward_of(made.journal.run(f"late{n}").key) is not None}
    lessons = told(db)
    ends = [name for name, _, is_late in lessons if not is_late]
    assert sorted(ends) == sorted(f"{kind}{number}" for kind in ("k", "late") for number in range(30))
    assert sorted(given) == sorted(name for name, _, is_late in lessons if is_late)
    assert "late0" in given


def test_linucb_learns_in_a_pipeline_which_engine_pays_and_avoids_one_that_is_down(db: str) -> None:
    is_down = False

    def large(request: Any) -> Any:
        return EngineUnavailable("nothing answers", engine="large") if is_down else "\\boxed{7}"

    def pipeline() -> orc.Pipeline:
        engines = {"small": Scripted(lambda request: "\\boxed{6}"), "large": Scripted(large)}
        return orc.Pipeline(engines, LinUCB(cooldown=4), db=db, retries=ONCE)

    def wrote(number: int) -> str:
        with pipeline() as made:  # every run is a restart
            return made.run(orc.Task(messages=asked(str(number)).messages, answer="7")).steps[0].writer

    assert [wrote(number) for number in range(30)][-15:] == ["large"] * 15
    is_down = True
    with pipeline() as made:
        failed = made.run(asked("down", "7"))
        made.engines["large"].requests.clear()  # type: ignore[attr-defined]
        assert (failed.status, failed.steps[0].writer) == ("degraded", "small")
        assert [made.run(asked(f"rest {number}", "7")).status for number in range(3)] == ["completed"] * 3
        assert made.engines["large"].requests == []  # type: ignore[attr-defined]
    is_down = False
    with pipeline() as made:
        made.run(asked("rest", "7"))
        again = (made.run(asked(f"again {number}", "7")).steps[0].writer for number in range(30))
        assert "large" in again  # up to the first one: that is the last run
        assert made.journal.run("last").decisions[0].reason == "it failed and has rested: tried again"


def test_the_trace_shows_why_the_bandit_chose(db: str) -> None:
    engines = {"small": Scripted(lambda request: "\\boxed{7}"), "large": Scripted(lambda request: "\\boxed{7}")}
    with orc.Pipeline(engines, LinUCB(), db=db) as made:
        made.run(asked("a", "7"))
        result = made.run(asked("b", "7"))
        with open(Path(db).with_name("shown"), "w+") as file:
            result.trace.show(file)
            file.seek(0)
            shown = file.read()
    assert "highest of small " in shown or "drawn of small " in shown
    assert "event at step 0: learned: version 1" in shown
