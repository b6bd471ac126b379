"""`trace show --grep` and `trace list --grep`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Call = Callable[..., Result]


@pytest.fixture
def ran(orchestrator: Call, pipeline: str) -> list[str]:
    """Two finished runs; returns their ids, oldest first."""
    asked = ("What is 6*7?", "What is 6*8?")
    done = [orchestrator("run", each, "--pipeline", pipeline, "--json", "--quiet") for each in asked]
    return [json.loads(each.stdout)["run_id"] for each in done]


def test_grep_shows_what_all_runs_said_the_newest_first(orchestrator: Call, ran: list[str]) -> None:
    done = orchestrator("trace", "show", "--grep", "step 1")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        line
        for run in reversed(ran)
        for line in (
            f"{run:<16}  step 1    large            kept",
            "       Careful step 1.",
            f"{run:<16}  step 1    small            x rejected",
            "       | Step 1: compute.",
        )
    ]
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_grep_takes_phrases_and_says_how_much_more_there_is(orchestrator: Call, ran: list[str]) -> None:
    done = orchestrator("trace", "show", "--grep", "6*7")
    assert done.stdout.splitlines() == [f"{ran[0]:<16}  question", "       What is 6*7?"]
    done = orchestrator("trace", "show", "--grep", "comp*", "-n", "1")
    assert len(done.stdout.splitlines()) == 2 and done.stderr == "1 of 6 found: -n shows more\n"
    done = orchestrator("trace", "show", "--grep", "7 compute")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "nothing holds 7 compute\n")
    done = orchestrator("trace", "show", "--grep", r"\boxed{42}")
    assert done.stdout.count("The answer is \\boxed{42}.") == 2


def test_grep_of_one_run_is_of_that_run_and_makes_no_index(orchestrator: Call, ran: list[str], home: Path) -> None:
    done = orchestrator("trace", "show", ran[0], "--grep", "careful")
    assert done.stdout.startswith(ran[0]) and done.stdout.count("\n") == 2
    assert not [*home.rglob("*.words")]


def test_grep_json_is_one_object_for_each_with_all_of_the_text(orchestrator: Call, ran: list[str]) -> None:
    done = orchestrator("trace", "show", "last", "--grep", "careful", "--json")
    assert json.loads(done.stdout) == {
        "run": ran[1],
        "what": "step",
        "step": 1,
        "attempt": 1,
        "writer": "large",
        "verdict": "kept",
        "text": "Careful step 1.\n\n",
    }


def test_list_lists_the_runs_that_hold_the_words_and_pass_the_other_filters(orchestrator: Call, ran: list[str]) -> None:
    def listed(*more: str) -> list[str]:
        done = orchestrator("trace", "list", "--json", *more)
        return [json.loads(line)["id"] for line in done.stdout.splitlines()]

    assert listed("--grep", "compute") == ran[::-1]
    assert listed("--grep", "6*7") == ran[:1]
    assert listed("--grep", "6*7", "--status", "failed") == []
    assert listed("--grep", "absent") == []


@pytest.mark.parametrize("words", ["", "?", '"', "\x1b[", "(" * 100_000])
def test_what_holds_no_word_is_one_line_and_exit_2(orchestrator: Call, ran: list[str], words: str) -> None:
    for command in ("show", "list"):
        done = orchestrator("trace", command, "--grep", words)
        assert (done.exit_code, done.stdout) == (2, "")
        assert done.stderr.startswith("error: nothing to search for in") and done.stderr.count("\n") == 1
        assert "\x1b" not in done.stderr


@pytest.mark.parametrize("words", ["' OR 1=1 --", 'words" NEAR(', "text: *", "compute; DROP TABLE runs", "a AND NOT"])
def test_what_looks_like_a_query_is_words(orchestrator: Call, ran: list[str], words: str) -> None:
    done = orchestrator("trace", "show", "--grep", words)
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr.startswith("nothing holds ")


def test_lines_of_a_narrow_terminal_go_on_in_the_next_ones(
    orchestrator: Call, ran: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    shown = orchestrator("trace", "show", "--grep", "compute").stdout
    assert max(map(len, shown.splitlines())) <= 30
    assert "rejected" in shown.replace("\n", "")


def test_how_much_of_a_search_is_no_word_on_a_run(orchestrator: Call, ran: list[str]) -> None:
    done = orchestrator("trace", "show", "-n", "5")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == "error: -n is how much of a --grep to show: say what to search for, or leave it out\n"
