"""`orchestrator trace replay`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from replayable import ran as stored_run

from orchestrator.cli.replay_report import values_of
from orchestrator.memory.store import Store
from orchestrator.routers import SpecReason
from orchestrator.traces.replay import replayed
from orchestrator.traces.replay_shown import lines

Call = Callable[..., Result]

SHOWN = r"""run      <run>, decided by specreason 0.1.0
now      specreason 0.1.0
alike    2 decisions
parted   step 1: rewrite large -> keep, 2 against 2
         rated high enough
         18 tokens: Step 1: compute.
left     2 decisions that the record cannot tell about
answer   not known

paid for until there
engine   purpose     fate         calls   prompt   output
small    draft       used             2       78       36
large    judge       used             2      648        2
"""


@pytest.fixture
def ran(orchestrator: Call, pipeline: str) -> str:
    """One finished run of four steps, the second of which was rated 2 and rewritten; returns its id."""
    done = orchestrator("run", "What is 6*7?", "--pipeline", pipeline, "--json", "--quiet")
    run_id: str = json.loads(done.stdout)["run_id"]
    return run_id


def test_the_same_policy_parts_nowhere(orchestrator: Call, ran: str) -> None:
    done = orchestrator("trace", "replay", ran)
    assert done.exit_code == 0
    assert "parted   nowhere" in done.stdout and "answer   42" in done.stdout


def test_another_threshold_parts_and_the_account_ends_there(
    orchestrator: Call, ran: str, settle: Callable[[str], str]
) -> None:
    assert settle(orchestrator("trace", "replay", "last", "--threshold", "2").stdout) == SHOWN


def test_json_tells_of_each_run(orchestrator: Call, ran: str) -> None:
    found = json.loads(orchestrator("trace", "replay", "last", "--threshold", "2", "--json").stdout)
    assert (found["run"], found["alike"], found["left"], found["flips"]) == (ran, 2, 2, True)
    assert found["parted"]["other"] == {"writer": "small", "text": "Step 1: compute.\n\n", "num_tokens": 18}


def test_what_cannot_be_decided_is_listed_with_why(orchestrator: Call, ran: str) -> None:
    done = orchestrator("trace", "replay", "--all", "--router", "specreason:reading='average'")
    assert done.stdout == f"{ran}  cannot tell from step 0 on: judge-average did not score small…\n"
    assert "1 runs: 0 unchanged, 0 part by another decision, 1 cannot be told" in done.stderr
    assert "1 x judge-average did not score small's step 0" in done.stderr


def test_runs_whose_router_has_no_threshold_are_left_out_of_many_and_refused_alone(
    orchestrator: Call, ran: str
) -> None:
    for _ in range(3):
        assert orchestrator("run", "Compute 1 + 2.", "--router", "small", "--quiet").exit_code == 0
    many = orchestrator("trace", "replay", "--all", "--threshold", "7")
    assert many.exit_code == 0
    assert "unchanged" in many.stdout
    assert "3 left out" in many.stderr and "router.threshold: no such key" in many.stderr
    assert many.stderr.count("left out: ") == 1 and ", and 2 runs like it" in many.stderr
    alone = orchestrator("trace", "replay", "last", "--threshold", "7")
    assert alone.exit_code == 2
    assert "router.threshold: no such key" in alone.stderr


def test_a_batch_is_found_by_the_beginning_of_its_name(orchestrator: Call, pipeline: str) -> None:
    with open("tasks.jsonl", "w") as file:
        file.write('{"prompt": "What is 6*7?", "answer": "42"}\n{"prompt": "And 42*1?", "answer": "43"}\n')
    assert orchestrator("run", "tasks.jsonl", "--pipeline", pipeline, "--quiet").exit_code == 0
    assert orchestrator("run", "Other", "--pipeline", pipeline, "--quiet").exit_code == 0
    unknown = orchestrator("trace", "replay", "--batch", "nothing-like-this")
    assert unknown.exit_code == 2
    name = unknown.stderr.split("newest are ")[1].split(", ")[1].split("#")[0]
    done = orchestrator("trace", "replay", "--batch", name)
    assert done.stdout.count("unchanged") == 2
    assert "right: 1 of the 2 runs" in done.stderr


def test_what_if_counts_flips_at_each_value(orchestrator: Call, ran: str) -> None:
    done = orchestrator("trace", "replay", "last", "--what-if", "threshold=1..9", "--steps", "3", "--json")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(each["value"], each["to_keep"], each["to_rewrite"]) for each in found] == [(1, 1, 0), (5, 0, 0), (9, 0, 0)]
    assert {each["kind"] for each in found} == {"one-step counterfactual"}
    shown = orchestrator("trace", "replay", "last", "--what-if", "threshold=1..9", "--steps", "3")
    assert "one-step counterfactual" in shown.stderr
    assert "flipped steps alone: large -17 tokens" in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= 80


@pytest.mark.parametrize(
    ("written", "number", "values"),
    [
        ("threshold=0..9", None, list(range(10))),
        ("threshold=0..9", 2, [0, 9]),
        ("threshold=0..100", None, list(range(101))),
        ("threshold=0..101", None, [round(12.625 * each, 9) for each in range(9)]),
        ("threshold=0..1", None, [each / 8 for each in range(9)]),
        ("threshold=0.5..8.5", None, [0.5 + each for each in range(9)]),
    ],
)
def test_between_whole_numbers_what_if_asks_at_each(written: str, number: int | None, values: list[float]) -> None:
    assert values_of(written, number) == ("threshold", values)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "name the runs to replay, or give --all or --batch NAME"),
        (["last", "--all"], "one of the three"),
        (["last", "--what-if", "threshold=9..1"], "the lower end first"),
        (["last", "--what-if", "threshold"], "write it as threshold=0.5..0.9"),
        (["last", "--what-if", "threshold=nan..1"], "the lower end first"),
        (["last", "--what-if", "threshold=1..2", "--threshold", "3"], "leave out --threshold, --engines"),
        (["last", "--threshold", "11"], "threshold"),
        (["last", "--router", "nobody"], "nobody"),
        (["--all", "--router", "specreason:threshold=7,"], "a valid number, not '7,'"),
        (["nonsense"], "the nearest are"),
    ],
)
def test_a_command_that_cannot_be_followed_is_one_line(
    orchestrator: Call, ran: str, arguments: list[str], told: str
) -> None:
    done = orchestrator("trace", "replay", *arguments)
    assert done.exit_code == 2
    assert told in done.stderr
    assert done.stderr.count("\n") == 1


def test_of_many_runs_those_whose_router_has_no_such_option_are_left_out_of_what_if(
    orchestrator: Call, ran: str
) -> None:
    for _ in range(2):
        assert orchestrator("run", "Compute 1 + 2.", "--router", "small", "--quiet").exit_code == 0
    what = ("--what-if", "first_n=0..2", "--steps", "3")
    many = orchestrator("trace", "replay", "--all", *what, "--json")
    assert many.exit_code == 0, many.stderr
    assert [json.loads(line)["runs"] for line in many.stdout.splitlines()] == [1, 1, 1]
    assert many.stderr.count("\n") == 1 and ", and 1 run like it" in many.stderr
    alone = orchestrator("trace", "replay", "last", *what)
    assert (alone.exit_code, alone.stderr.count("\n")) == (2, 1)


def test_where_no_run_can_be_decided_again_the_command_has_failed(orchestrator: Call, ran: str) -> None:
    done = orchestrator("trace", "replay", "--all", "--threshold", "11")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].startswith("error: none of these runs can be decided again")


def test_a_run_whose_router_takes_only_the_lower_values_of_what_if_is_left_out_too(
    orchestrator: Call, ran: str
) -> None:
    assert orchestrator("run", "Compute 1 + 2.", "--router", "answer-gate", "--quiet").exit_code == 0
    many = orchestrator("trace", "replay", "--all", "--what-if", "threshold=1..9", "--steps", "3", "--json")
    assert many.exit_code == 0, many.stderr
    assert [json.loads(line)["runs"] for line in many.stdout.splitlines()] == [1, 1, 1]
    assert many.stderr.startswith("left out: ") and many.stderr.count("\n") == 1


def test_a_journal_without_a_run_is_said_to_be_one(orchestrator: Call, here: Path) -> None:
    Store(here / "none.db").close()
    for what in ([], ["--what-if", "threshold=1..9"]):
        done = orchestrator("trace", "replay", "--all", *what, "--db", "none.db")
        assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert "holds no run yet" in done.stderr


def test_a_learner_s_runs_are_named_one_by_one_with_what_to_do(orchestrator: Call) -> None:
    for _ in range(2):
        assert orchestrator("run", "Compute 1 + 2.", "--router", "linucb", "--quiet").exit_code == 0
    done = orchestrator("trace", "replay", "--all")
    assert done.stdout.count("cannot tell from step 0 on: linucb learns: name another router\n") == 2
    assert max(map(len, done.stdout.splitlines())) <= 80


def spent(ledger: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [
        tuple(row[name] for name in ("engine", "purpose", "fate", "calls", "prompt_tokens", "output_tokens"))
        for row in ledger
    ]


def test_a_tree_gives_the_answers_of_other_thresholds(orchestrator: Call, pipeline: str) -> None:
    with open("tasks.jsonl", "w") as file:
        file.write('{"prompt": "What is 6*7?", "answer": "42"}\n')
    command = ("collect", "tasks.jsonl", "--pipeline", pipeline, "--scorer", "judge", "--logprobs", "0", "--tree", "3")
    collected = orchestrator(*command)
    assert collected.exit_code == 0, collected.stderr
    assert "a tree of depth 3: at most 8 runs a task, 8 in all" in collected.stderr
    assert "8 runs of 1 tasks: 7 branches, which give no rows" in collected.stdout
    assert json.loads(orchestrator(*command, "--json", "--quiet").stdout)["branches"] == 7
    real = orchestrator("run", "What is 6*7?", "--pipeline", pipeline, "--json", "--quiet")
    [root] = [line.split()[0] for line in orchestrator("trace", "replay", "--batch", "collect").stdout.splitlines()]
    done = orchestrator("trace", "replay", root, "--router", "specreason")
    assert "answer   42, right (from the tree)" in done.stdout
    assert "paid for in all (from the tree)" in done.stdout
    shown = json.loads(orchestrator("trace", "show", json.loads(real.stdout)["run_id"], "--json").stdout)
    paid = spent(shown["outcome"]["ledger"])
    told = json.loads(orchestrator("trace", "replay", root, "--router", "specreason", "--json").stdout)
    assert spent(told["ledger"]) == paid
    assert (told["answer"], told["lacks"], told["unknown"]) == ("42", None, "") and told["from_the_tree"]
    many = orchestrator("trace", "replay", "--batch", "collect", "--router", "specreason:threshold=10")
    assert "from the tree: 1 runs went on" in many.stderr and "not decided to the end: 1 of 1 runs" in many.stderr
    values = orchestrator(
        *("trace", "replay", root, "--router", "specreason", "--what-if", "threshold=0..8", "--steps", "2", "--json")
    )
    assert [(each["ended"], each["right"]) for each in map(json.loads, values.stdout.splitlines())] == [(1, 1), (1, 1)]


def test_engines_go_on_from_where_the_run_parts(orchestrator: Call, ran: str, pipeline: str) -> None:
    done = orchestrator("trace", "replay", ran, "--threshold", "2", "--engines", "--pipeline", pipeline, "--json")
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["run"], told["step"], told["answer"]) == (ran, 1, "42")
    shown = json.loads(orchestrator("trace", "show", told["fork"], "--json").stdout)
    assert shown["parent"] == ran
    assert [step["text"] for step in shown["steps"]][1] == "Step 1: compute.\n\n"
    same = orchestrator("trace", "replay", ran, "--engines", "--pipeline", pipeline)
    assert "does not part: nothing is run" in same.stderr


def test_a_run_that_has_not_ended_is_not_said_to_be_as_it_was() -> None:
    half = stored_run(SpecReason(threshold=5))._replace(outcome=None)
    shown = list(lines(replayed(half)))
    assert "parted   nowhere: as far as what is known goes" in shown
    assert "answer   not known" in shown and "paid for until there" in shown


def test_of_many_runs_those_of_other_engines_are_left_out_and_what_else_is_other_is_said(
    orchestrator: Call, ran: str, pipeline: str
) -> None:
    assert orchestrator("run", "Compute 38*4 - 98*6.", "--temperature", "0", "--quiet").exit_code == 0
    done = orchestrator("trace", "replay", "--all", "--threshold", "2", "--engines", "--pipeline", pipeline, "--json")
    assert done.exit_code == 0, done.stderr
    assert [json.loads(line)["run"] for line in done.stdout.splitlines()] == [ran]
    assert "goes on under other settings than its own: engines" in done.stderr
    assert "left out: run " in done.stderr and "as engine 'small', not 'scripted'" in done.stderr
