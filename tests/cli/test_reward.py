"""`orchestrator reward`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Call = Callable[..., Result]

AGENT = r'''
import orchestrator as orc


class Own(orc.routers.LinUCB):
    """Has no registered name."""


def made(router):
    engines = {name: orc.engines.Scripted(lambda request: r"\boxed{42}") for name in ("small", "large")}
    return orc.Pipeline(engines, router)


bandit = made(orc.routers.LinUCB(per="step", alpha=0.75))
own = made(Own())
plain = made("small")
'''


@pytest.fixture(autouse=True)
def agent(here: Path) -> None:
    (here / "agent.py").write_text(AGENT)


def test_a_bandit_learns_from_a_reward_that_comes_from_another_command_once(orchestrator: Call) -> None:
    assert orchestrator("run", "What is 6*7?", "--pipeline", "agent.py:bandit").exit_code == 0
    done = orchestrator("reward", "last", "0.5")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr.startswith("run ") and done.stderr.endswith("was worth 0.5: linucb has learned from it\n")
    again = orchestrator("reward", "last", "1")
    assert (again.exit_code, "has its reward, 0.5, and keeps it" in again.stderr) == (2, True)
    orchestrator("run", "What is 6*7?", "--pipeline", "agent.py:bandit")
    assert "learned: version 2" in orchestrator("trace", "show", "last").stdout


def test_a_router_without_a_registered_name_is_taken_from_its_pipeline(orchestrator: Call) -> None:
    orchestrator("run", "q", "--pipeline", "agent.py:own")
    alone = orchestrator("reward", "last", "1")
    assert (alone.exit_code, "no registered name: " in alone.stderr) == (2, True)
    done = orchestrator("reward", "last", "1", "--pipeline", "agent.py:own")
    assert (done.exit_code, "Own has learned from it" in done.stderr) == (0, True)


def test_a_run_whose_router_does_not_learn_is_rewarded_and_that_is_said(orchestrator: Call) -> None:
    orchestrator("run", "q", "--pipeline", "agent.py:plain")
    assert "was worth 1: its router does not learn" in orchestrator("reward", "last", "1").stderr


def test_the_behaviors_that_a_reward_counts_for_are_named(orchestrator: Call, here: Path) -> None:
    (here / "agent.py").write_text(
        AGENT.replace(r"\boxed{42}", r"By behavior_say_it: \boxed{42}").replace(
            ", router)", ", router, handbook='hb.db')"
        )
    )
    assert orchestrator("handbook", "add", "behavior_say_it", "Say 42.", "--handbook", "hb.db").exit_code == 0
    orchestrator("run", "Say it.", "--pipeline", "agent.py:plain")
    done = orchestrator("reward", "last", "1")
    assert done.stderr.endswith("was worth 1: it counts for behavior_say_it; its router does not learn\n")
    assert orchestrator("handbook", "list", "--handbook", "hb.db").stdout.splitlines()[1].split()[3] == "1"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("last", "2"), "reward: 2.0 is no reward: give a number from 0 to 1"),
        (("last", "nan"), "reward: nan is no reward"),
        (("zzz", "1"), "no run 'zzz' in "),
        (("last", "good"), "'good' is not a valid float"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(orchestrator: Call, arguments: tuple[str, ...], said: str) -> None:
    orchestrator("run", "q", "--pipeline", "agent.py:plain")
    done = orchestrator("reward", *arguments)
    assert (done.exit_code, said in done.stderr) == (2, True), done.stderr


def test_without_a_journal_nothing_is_made(orchestrator: Call, home: Path) -> None:
    done = orchestrator("reward", "last", "1")
    assert (done.exit_code, "no journal at" in done.stderr, (home / "journal.db").exists()) == (2, True, False)
