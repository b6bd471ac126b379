"""`orchestrator trace prune`, and durations as people type them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from orchestrator.cli.app import app
from orchestrator.cli.durations import seconds

Call = Callable[..., Result]


@pytest.fixture
def ran(orchestrator: Call, pipeline: str) -> list[str]:
    """Three finished runs; returns their ids, the oldest first."""
    for number in range(3):
        assert orchestrator("run", f"What is 6*{number}?", "--pipeline", pipeline).exit_code == 0
    lines = orchestrator("trace", "list", "--json").stdout.splitlines()
    return [json.loads(line)["id"] for line in reversed(lines)]


def listed(orchestrator: Call) -> list[str]:
    return [json.loads(line)["id"] for line in reversed(orchestrator("trace", "list", "--json").stdout.splitlines())]


def test_it_says_what_would_go_and_without_a_yes_nothing_does(orchestrator: Call, ran: list[str]) -> None:
    result = orchestrator("trace", "prune", "--keep-last", "1")
    assert result.exit_code == 2
    assert result.stdout.startswith("2 runs would go: 8 steps, about ")
    assert result.stderr == "error: nothing was pruned: nobody said yes; give --yes where nobody can be asked\n"
    assert orchestrator("trace", "prune", "--keep-last", "1", "--dry-run").exit_code == 0
    assert listed(orchestrator) == ran


def test_with_yes_they_go_and_whoever_misses_them_is_told(orchestrator: Call, ran: list[str]) -> None:
    result = orchestrator("trace", "prune", "--keep-last", "1", "--yes")
    assert result.exit_code == 0 and result.stdout.splitlines()[1].startswith("pruned 2 runs and ")
    assert listed(orchestrator) == ran[2:]
    assert "2 runs were pruned, the last on " in orchestrator("trace", "show", ran[0]).stderr
    assert "2 runs were pruned" in orchestrator("db", "size").stdout
    assert "2 runs were pruned, the last on " in orchestrator("trace", "list").stderr
    assert orchestrator("db", "check", "--full").exit_code == 0


@pytest.mark.parametrize(("typed", "left"), [("y\n", 2), ("n\n", 3), ("\n", 3)])
def test_at_a_terminal_it_asks(
    orchestrator: Call, ran: list[str], monkeypatch: pytest.MonkeyPatch, typed: str, left: int
) -> None:
    monkeypatch.setattr("orchestrator.cli.streams.can_ask", lambda: True)
    result = CliRunner().invoke(app, ["trace", "prune", ran[0]], input=typed, prog_name="orchestrator")
    assert "Take 1 run away for good? [y/N]" in result.stderr
    assert result.exit_code == 0
    assert result.stderr.endswith("\nnothing was pruned\n") == (left == 3)
    assert len(listed(orchestrator)) == left


def test_as_json_it_is_one_object(orchestrator: Call, ran: list[str]) -> None:
    planned = json.loads(orchestrator("trace", "prune", ran[0], "--dry-run", "--json").stdout)
    assert (planned["runs"], planned["steps"], planned["stays"], planned["rules"]) == (1, 4, {}, ran[0])
    assert "pruned" not in planned
    done = json.loads(orchestrator("trace", "prune", ran[0], "--yes", "--json").stdout)
    assert (done["pruned"], done["stayed"]) == (1, 0) and done["texts"] > 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "nothing says which runs to prune"),
        (("--with-forks",), "nothing says which runs to prune"),
        (("--older-than", "30"), "'30' is no duration"),
        (("--older-than", "-1d"), "'-1d' is no duration"),
        (("--keep-last", "-1"), "-1 is not in the range"),
        (("--status", "running"), "'running' is not one of"),
        (("zzz",), "no run 'zzz'"),
    ],
)
def test_a_rule_that_is_none_is_one_line(
    orchestrator: Call, ran: list[str], arguments: tuple[str, ...], said: str
) -> None:
    result = orchestrator("trace", "prune", *arguments, "--yes")
    assert result.exit_code == 2 and said in result.stderr and result.stderr.count("\n") == 1
    assert listed(orchestrator) == ran


def test_where_nothing_is_chosen_nobody_is_asked(orchestrator: Call, ran: list[str]) -> None:
    result = orchestrator("trace", "prune", "--older-than", "30d")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "no run would go\n", "")


def test_what_is_executed_is_said_to_stay(orchestrator: Call, ran: list[str], home: Path) -> None:
    from orchestrator.memory.journal import Journal
    from orchestrator.memory.store import Store

    with Store(home / "journal.db") as store:
        journal = Journal(store)
        journal.claim(journal.run(ran[0]).key)
        result = orchestrator("trace", "prune", "--older-than", "0s", "--yes")
        assert "1 run would stay: being executed" in result.stdout
        assert listed(orchestrator) == ran[:1]
        journal.close()


def test_a_handbook_names_a_run_that_is_gone_and_says_so(orchestrator: Call, ran: list[str], home: Path) -> None:
    from orchestrator.behaviors import Add
    from orchestrator.memory.handbook import Handbook
    from orchestrator.memory.store import Store

    with Store(home / "journal.db") as store:
        Handbook(store).apply([Add("behavior_check", "Check the sum.", run=ran[0])])
    arguments = ("handbook", "show", "behavior_check", "--handbook", str(home / "journal.db"))
    assert f"from run {ran[0]}\n" in orchestrator(*arguments).stdout
    assert orchestrator("trace", "prune", ran[0], "--yes").exit_code == 0
    result = orchestrator(*arguments)
    assert result.exit_code == 0
    assert f"from run {ran[0]}, which the journal does not hold (any more)\n" in result.stdout


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0s", 0), ("45s", 45), ("10m", 600), ("1.5h", 5400), ("30d", 30 * 86400), ("2w", 14 * 86400), (" 1d ", 86400)],
)
def test_a_duration_is_a_number_and_a_unit(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize(
    "text", ["", "d", "30", "-1d", "1 d", "1y", "1d2h", "nan", "infd", "٣d", "1e3d", "1.d", "9" * 7 + "d"]
)
def test_any_other_text_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration"):
        seconds(text)
