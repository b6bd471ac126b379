"""`orchestrator handbook`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Call = Callable[..., Result]

AGENT = r"""
import orchestrator as orc


def small(request):
    return r"Carry the one: \boxed{42}"


def large(request):
    prompt = bytes(request.prompt.ids()).decode()
    if "Is the answer right?" in prompt:
        return "Answer: yes"
    if "Write one JSON object" in prompt:
        return '{"behavior_carry_over": "Carry what is above nine to the next digit.", "behavior_say_42": "Say 42."}'
    return "It carried well."


pipeline = orc.Pipeline({"small": orc.engines.Scripted(small), "large": orc.engines.Scripted(large)}, "small")
"""


def lines(result: Result) -> list[str]:
    assert result.exit_code == 0, result.stderr
    return result.stdout.splitlines()


def add(orchestrator: Call, *names: str) -> None:
    for name in names:
        assert orchestrator("handbook", "add", f"behavior_{name}", f"Look {name} first.").exit_code == 0


def test_what_is_added_by_hand_is_listed_found_and_shown_with_its_changes(orchestrator: Call) -> None:
    add(orchestrator, "left", "right")
    assert lines(orchestrator("handbook", "list"))[1:] == [
        "    1      0     0       0       0  behavior_left: Look left first.",
        "    2      0     0       0       0  behavior_right: Look right first.",
    ]
    assert lines(orchestrator("handbook", "search", "Which is right?")) == [
        "    2        0       0  behavior_right: Look right first."
    ]
    shown = lines(orchestrator("handbook", "show", "2"))
    assert shown[0] == "2  behavior_right  active" and shown[4].endswith("2  add     behavior_right: by hand")
    assert shown[-2:] == [
        "   shown in 0 runs, cited in 0; recalled and not shown in 0",
        "   what showing it does cannot be told: it was never withheld (left_out, withheld of the table [recall])",
    ]


def test_what_is_retired_is_gone_until_somebody_goes_back(orchestrator: Call) -> None:
    add(orchestrator, "left")
    assert orchestrator("handbook", "snapshot", "good").exit_code == 0
    assert "retired" in orchestrator("handbook", "retire", "behavior_left").stderr
    assert len(lines(orchestrator("handbook", "list"))) == 1
    assert lines(orchestrator("handbook", "list", "--retired"))[1].endswith("x behavior_left: Look left first.")
    assert "at change 1: 1 row written" in orchestrator("handbook", "rollback", "good").stderr
    assert len(lines(orchestrator("handbook", "list"))) == 2
    assert [line.split()[0] for line in lines(orchestrator("handbook", "log"))] == ["1", "x"]


def test_a_behavior_is_worded_anew_and_put_elsewhere_by_hand(orchestrator: Call) -> None:
    add(orchestrator, "left", "right")
    told = ("--instruction", "Look left twice.", "--section", "roads", "--rename", "behavior_twice")
    assert "behavior 1 (behavior_left) is updated" in orchestrator("handbook", "update", "behavior_left", *told).stderr
    assert "is so already" in orchestrator("handbook", "update", "1", *told).stderr
    (found,) = lines(orchestrator("handbook", "list", "--section", "roads", "--json"))
    assert json.loads(found) | {"name": "behavior_twice", "instruction": "Look left twice."} == json.loads(found)
    for flags, said in (
        ((), "give --instruction, --section or --rename"),
        (("--rename", "behavior_right"), "is behavior 2"),
    ):
        refused = orchestrator("handbook", "update", "1", *flags)
        assert (refused.exit_code, said in refused.stderr) == (2, True), refused.stderr


def test_one_behavior_takes_the_place_of_others_by_hand(orchestrator: Call) -> None:
    add(orchestrator, "left", "right", "up")
    done = orchestrator("handbook", "merge", "behavior_left", "2", "behavior_up", "--instruction", "Look around.")
    assert "behavior 1 (behavior_left) has taken the place of behavior_right, behavior_up" in done.stderr
    assert lines(orchestrator("handbook", "list"))[1].endswith("behavior_left: Look around.")
    assert "retired, 1 took its place" in lines(orchestrator("handbook", "show", "3"))[0]
    twice = orchestrator("handbook", "merge", "1", "behavior_left")
    assert (twice.exit_code, "give each once" in twice.stderr) == (2, True)
    assert orchestrator("handbook", "merge", "1").exit_code == 2


@pytest.mark.parametrize("form", ["jsonl", "bullets"])
def test_what_is_exported_is_imported_elsewhere_as_it_was(orchestrator: Call, here: Path, form: str) -> None:
    add(orchestrator, "left", "right")
    flags = ("--format", form)
    assert orchestrator("handbook", "export", *flags, "--out", "all.txt").exit_code == 0
    done = orchestrator("handbook", "import", "all.txt", *flags, "--handbook", "other.db")
    assert "2 added, 0 were there already" in done.stderr
    assert "0 added, 2 were there already" in orchestrator("handbook", "import", "all.txt", *flags).stderr
    theirs = [json.loads(line) for line in lines(orchestrator("handbook", "list", "--json", "--handbook", "other.db"))]
    ours = [json.loads(line) for line in lines(orchestrator("handbook", "list", "--json"))]
    assert theirs == ours and [each["name"] for each in ours] == ["behavior_left", "behavior_right"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "line 1 is no JSON"),
        ('{"name": "behavior_a"}', "line 1 is no behavior"),
        ('{"name": "behavior_a", "instruction": "x", "reward": 1}', "line 1 is no behavior"),
        ('{"name": "a", "instruction": "x"}', "line 1: behavior name 'a'"),
        ('{"name": "behavior_a", "instruction": 3}', "line 1: "),
        ('\n{"name": "behavior_a", "instruction": "x", "helpful": -1}', "line 2: behavior_a: helpful = -1"),
        ('{"name": "behavior_a", "instruction": "x"}\n{"name": "behavior_a", "instruction": "y"}', "in the file twice"),
    ],
)
def test_a_file_that_holds_something_else_is_refused_as_a_whole(
    orchestrator: Call, here: Path, text: str, said: str
) -> None:
    (here / "bad.jsonl").write_text(text)
    done = orchestrator("handbook", "import", "bad.jsonl")
    assert (done.exit_code, said in done.stderr) == (2, True), done.stderr
    assert "no handbook at" in orchestrator("handbook", "list").stderr


def test_errors_are_one_line(orchestrator: Call, here: Path) -> None:
    add(orchestrator, "left")
    (here / "bytes").write_bytes(b"\xff\xfe")
    for call, said in (
        (("add", "left", "Look."), "behavior name 'left'"),
        (("add", "behavior_left", "Look."), "behavior_left is behavior 1 already"),
        (("show", "behavior_up"), "no behavior 'behavior_up'"),
        (("show", "7"), "no behavior 7"),
        (("rollback", "9"), "no change 9 of handbook 'default': give 0 to 1"),
        (("rollback", "bad"), "no snapshot 'bad'"),
        (("import", "nowhere"), "nowhere: No such file"),
        (("import", "bytes"), "no text in UTF-8"),
    ):
        done = orchestrator("handbook", *call)
        assert (done.exit_code, said in done.stderr, done.stderr.count("\n")) == (2, True, 1), done.stderr


def test_a_handbook_is_kept_small_and_what_would_be_done_can_be_seen_before(orchestrator: Call) -> None:
    add(orchestrator, "left", "right", "up")
    orchestrator("handbook", "add", "behavior_again", "look LEFT, first!")
    told = ["merge behavior_again into behavior_left", "retire behavior_left"]
    seen = orchestrator("handbook", "curate", "--most", "2", "--dry-run")
    assert (lines(seen), seen.stderr) == (told, "2 changes would be made\n")
    assert len(lines(orchestrator("handbook", "list"))) == 5
    assert lines(orchestrator("handbook", "curate", "--most", "2")) == told
    assert [line.split()[5] for line in lines(orchestrator("handbook", "list"))[1:]] == [
        "behavior_right:",
        "behavior_up:",
    ]


HELPED = "return '\\\\boxed{42}' if b'behavior_add_digits' in bytes(request.prompt.ids()) else '\\\\boxed{7}'"


def test_what_showing_a_behavior_does_is_told_from_runs_that_were_shown_nothing(orchestrator: Call, here: Path) -> None:
    (here / "agent.py").write_text(
        AGENT.replace('"small")', '"small", handbook="own.db", recall=Recall(withheld=0.4, left_out=0.4))')
        .replace(
            "import orchestrator as orc", "import orchestrator as orc\nfrom orchestrator.handbook.recall import Recall"
        )
        .replace(r'return r"Carry the one: \boxed{42}"', HELPED)
    )
    book = ("--handbook", "own.db")
    assert orchestrator("handbook", "add", "behavior_add_digits", "Add digits.", *book).exit_code == 0
    tasks = [{"prompt": f"Add digits of {number}.", "answer": "42"} for number in range(40)]
    (here / "tasks.jsonl").write_text("".join(json.dumps(task) + "\n" for task in tasks))
    assert orchestrator("run", "tasks.jsonl", "--pipeline", "agent.py:pipeline", "--out", "out.jsonl").exit_code == 0
    shown = lines(orchestrator("handbook", "show", "1", *book))
    right = [line for line in shown if "right answers" in line]
    assert len(right) == 2 and all(each.endswith("] points") for each in right)
    assert all(each.startswith("     right answers, shown less not: +100.0 [") for each in right)
    (counted,) = re.findall(r"shown in (\d+) runs, cited in 0; recalled and not shown in (\d+)", "\n".join(shown))
    assert sum(map(int, counted)) == 40 and 0 < int(counted[0]) < 30
    assert lines(orchestrator("handbook", "list", *book))[1].split()[:3] == ["1", counted[0], "0"]
    assert lines(orchestrator("handbook", "list", "--db", "nowhere.db", *book))[1].split()[:3] == ["1", "-", "-"]


def test_behaviors_are_learned_from_runs_whose_outcome_is_known(orchestrator: Call, here: Path) -> None:
    (here / "agent.py").write_text(AGENT)
    flags = ("--pipeline", "agent.py:pipeline")
    for question in ("What is 17 + 25?", "What is 18 + 24?"):
        assert orchestrator("run", question, *flags).exit_code == 0
    assert orchestrator("reward", "last", "1").exit_code == 0
    done = orchestrator("handbook", "learn", *flags)
    assert done.exit_code == 0, done.stderr
    assert "behavior_carry_over: Carry what is above nine to the next digit." in done.stderr
    assert "left out (answer): behavior_say_42 holds the answer" in done.stderr
    told = done.stderr.splitlines()
    assert told[0] == "no embedding is configured: proposals are compared with what is known by words"
    assert re.fullmatch(r"runs recall it with handbook='.*journal\.db' of the Pipeline", told[-1])
    assert told[-2].split(" · ") == [
        "learned 1 behavior from 1 run",
        "1 refused (`orchestrator handbook refused`)",
        "1 left alone: nobody says whether it was right: reward it, or have it judged",
        "116 output and 1,614 prompt tokens of its own",
    ]
    assert len(lines(orchestrator("handbook", "list"))) == 2
    again = orchestrator("handbook", "learn", *flags)
    assert "learned 0 behaviors from 0 runs · 1 left alone: it was learned from before" in again.stderr


def test_the_newest_runs_are_those_of_tasks_and_a_handbook_is_kept_small_behind_each(
    orchestrator: Call, here: Path
) -> None:
    (here / "agent.py").write_text(AGENT)
    flags = ("--pipeline", "agent.py:pipeline")
    add(orchestrator, "left", "right")
    for number in range(2):
        assert orchestrator("run", f"What is {number} + 42?", *flags).exit_code == 0
        assert orchestrator("reward", "last", "1").exit_code == 0
        done = orchestrator("handbook", "learn", "--runs", "1", "--most", "2", "--strategist", "large", *flags)
        assert "from 1 run ·" in done.stderr, done.stderr
    assert [line.split()[5] for line in lines(orchestrator("handbook", "list"))[1:]] == [
        "behavior_right:",
        "behavior_carry_over:",
    ]


def test_learning_ends_once_its_tokens_are_spent_and_goes_on_from_there(orchestrator: Call, here: Path) -> None:
    (here / "agent.py").write_text(AGENT)
    flags = ("--pipeline", "agent.py:pipeline")
    for number in range(2):
        assert orchestrator("run", f"What is {number} + 42?", *flags).exit_code == 0
        assert orchestrator("reward", "last", "1").exit_code == 0
    spent = orchestrator("handbook", "learn", "--learning-tokens", "1", *flags)
    assert (spent.exit_code, len(lines(orchestrator("handbook", "list")))) == (4, 2)
    assert "from 1 run" in spent.stderr and "1 run not looked at: --learning-tokens 1 are spent" in spent.stderr
    enough = orchestrator("handbook", "learn", "--learning-tokens", "1000", *flags)
    assert enough.exit_code == 0 and "1 left alone: it was learned from before" in enough.stderr
    taken_back = orchestrator("handbook", "rollback", "0")
    assert taken_back.exit_code == 0 and "learned 1 behavior" in orchestrator("handbook", "learn", *flags).stderr


def test_learning_goes_where_the_pipelines_handbook_is(orchestrator: Call, here: Path) -> None:
    (here / "agent.py").write_text(AGENT.replace('"small")', '"small", handbook="own.db")'))
    flags = ("--pipeline", "agent.py:pipeline")
    assert orchestrator("run", "What is 17 + 25?", *flags).exit_code == 0
    assert "learned 1 behavior" in orchestrator("handbook", "learn", "--judge", *flags).stderr
    assert len(lines(orchestrator("handbook", "list", "--handbook", "own.db"))) == 2
