"""`orchestrator export`: every format from a journal to a file that a trainer reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from readable import check_chat, read_back, type_of

from orchestrator.bench.workloads.owner import split_of
from orchestrator.engines.scripted import Scripted
from orchestrator.memory.journal import Journal
from orchestrator.memory.store import Store
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.types import Task

Call = Callable[..., Result]

AGENT = r"""
import orchestrator as orc


def small(request):
    done = bytes(request.prompt.ids()).count(b"\n\n")
    return f"Step {done}: compute.\n\n" if done < 3 else r"By behavior_say_it: \boxed{42}"


def large(request):
    done = bytes(request.prompt.ids()).count(b"\n\n")
    return ("9" if done % 2 else "2") if request.purpose == "judge" else f"Careful step {done}.\n\n"


def pipeline():
    engines = {"small": orc.engines.Scripted(small), "large": orc.engines.Scripted(large)}
    return orc.Pipeline(engines, handbook="handbook.db")


class Always:
    def watch(self, history):
        return orc.types.Event("stuck", "so it is")
"""

PROMPTS = [f"Say {number} and 42." for number in range(12)]


def of_train(prompt: str) -> bool:
    return split_of(Task.of(prompt)) == "train"


@pytest.fixture
def ran(orchestrator: Call, here: Path) -> Call:
    """Twelve runs with a handbook, one of them wrong; the journal is the user's own."""
    (here / "agent.py").write_text(AGENT)
    added = orchestrator("handbook", "add", "behavior_say_it", "Say 42.", "--handbook", "handbook.db")
    assert added.exit_code == 0, added.stderr
    answers = ["41" if number == 0 else "42" for number in range(12)]
    tasks = [{"prompt": prompt, "answer": answer} for prompt, answer in zip(PROMPTS, answers, strict=True)]
    (here / "tasks.jsonl").write_text("".join(json.dumps(task) + "\n" for task in tasks))
    done = orchestrator("run", "--pipeline", "agent.py:pipeline", "tasks.jsonl", "--quiet")
    assert done.exit_code == 0, done.stderr
    return orchestrator


def exported(ran: Call, *arguments: str) -> tuple[list[dict[str, Any]], str]:
    result = ran("export", *arguments, "--out", "out.jsonl")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ""
    return read_back(Path("out.jsonl")), result.stderr


def test_sft_takes_the_right_runs_of_train_and_says_what_it_leaves(ran: Call) -> None:
    rows, told = exported(ran, "sft")
    wanted = [prompt for prompt in PROMPTS[1:] if of_train(prompt)]
    assert [each["messages"][0]["content"] for each in rows] == wanted and 0 < len(wanted) < 11
    for each in rows:
        assert type_of(each) == {"messages"} and each["split"] == "train"
        check_chat(each["messages"])
        assert each["behaviors"] == each["cited"] == ["behavior_say_it"]
    assert f"{len(wanted)} lines in out.jsonl" in told and "--split train is asked for" in told
    everything, told = exported(ran, "sft", "--split", "all")
    assert len(everything) == 11 and "1 run left out: they were wrong" in told


def test_the_same_chat_is_written_once_and_how_many_more_there_were_is_told(ran: Call) -> None:
    once, _ = exported(ran, "sft")
    assert ran("run", "--pipeline", "agent.py:pipeline", "tasks.jsonl", "--quiet").exit_code == 0
    twice, told = exported(ran, "sft")
    assert twice == once
    assert f"{len(once)} lines left out: an earlier one has the same messages" in told
    log, _ = exported(ran, "drafts")
    assert len(log) > len({json.dumps([each["prompt"], each["completion"]]) for each in log})


def test_where_nothing_is_left_the_reason_of_most_tasks_is_told_with_its_mend(
    orchestrator: Call, here: Path, home: Path
) -> None:
    (here / "agent.py").write_text(AGENT.replace('handbook="handbook.db"', '"large", budget=orc.types.Budget(steps=2)'))
    for number in range(2):
        orchestrator("run", "--pipeline", "agent.py:pipeline", f"Say {number}.")
    with Pipeline({"large": Scripted(r"\boxed{1}")}, "large", db=next(home.glob("*.db"))) as made:
        for number in range(3):  # questions of ours are more, and no tasks
            made.run(f"Is {number} right?", batch="learn x")
    nothing = orchestrator("export", "drafts", "--split", "all", "--status", "budget")
    assert nothing.exit_code == 2 and nothing.stderr.splitlines() == [
        "3 runs left out: they are questions of a learner, and no tasks",
        "2 runs left out: no smaller engine drafted a step in them: run with a router that lets the small one, such as "
        "specreason",
        "error: nothing to export: of most runs, no smaller engine drafted a step in them: run with a router that lets "
        "the small one, such as specreason",
    ]


def test_drafts_are_a_log_or_pairs(ran: Call) -> None:
    log, _ = exported(ran, "drafts")
    assert all(type_of(each) == {"prompt", "completion", "label"} for each in log)
    pairs, _ = exported(ran, "drafts", "--pairs")
    assert all(type_of(each) == {"prompt", "chosen", "rejected"} for each in pairs)
    assert [(each["run"], each["step"]) for each in pairs] == [
        (each["run"], each["step"]) for each in log if not each["label"]
    ]
    for each in pairs:
        chosen, rejected = (each[name][0]["content"][each["prefix_chars"] :] for name in ("chosen", "rejected"))
        assert chosen.startswith("Careful step") and rejected.startswith("Step")


def test_monitor_needs_labels_and_writes_a_line_for_each_look(ran: Call) -> None:
    run = next(row["run"] for row in exported(ran, "sft")[0])
    Path("labels.jsonl").write_text(json.dumps({"run": run, "step": 3, "label": True}) + "\n")
    rows, told = exported(ran, "monitor", "stuck", "--labels", "labels.jsonl")
    assert [(each["run"], each["step"], each["label"]) for each in rows] == [(run, 3, True)]
    assert "nobody labels a move of theirs" in told
    assert ran("export", "monitor", "stuck").exit_code == 2
    refused = ran("export", "monitor", "stuck", "--labels", "labels.jsonl", "--rules", "agent.py:Always")
    assert refused.exit_code == 2 and "--rules is for --labels rules" in refused.stderr


def test_router_exports_what_collect_collected(ran: Call) -> None:
    refused = ran("export", "router")
    assert refused.exit_code == 2 and "no runs of `orchestrator collect`" in refused.stderr
    tasks = [json.dumps({"prompt": prompt, "answer": "42"}) for prompt in PROMPTS if of_train(prompt)]
    Path("more.jsonl").write_text("\n".join(tasks))
    collected = ["more.jsonl", "--scorer", "judge", "--logprobs", "0", "--out", "rows.jsonl", "--quiet"]
    done = ran("collect", "--pipeline", "agent.py:pipeline", *collected)
    assert done.exit_code == 0, done.stderr
    rows, _ = exported(ran, "router")
    theirs = [json.loads(line) for line in Path("rows.jsonl").read_text().splitlines()[1:]]
    assert sorted((each["run"], each["draft"], each["score"]) for each in rows) == sorted(
        (each["run"], each["draft"], each["score"]) for each in theirs
    )


def test_reverse_refuses_a_probability_that_is_none(orchestrator: Call) -> None:
    refused = orchestrator("export", "reverse", "--accept-from", "1.5")
    assert refused.exit_code == 2 and "threshold = 1.5 is not in (0, 1]" in refused.stderr


@pytest.mark.embedded
def test_reverse_traces_the_pocket_pair_and_the_same_command_writes_nothing_again(orchestrator: Call) -> None:
    asked = [prompt for n in range(40) if of_train(prompt := f"Compute {n} + 17.")][:2]
    tasks = [{"prompt": prompt, "answer": str(int(prompt.split()[1]) + 17)} for prompt in asked]
    Path("tasks.jsonl").write_text("".join(json.dumps(task) + "\n" for task in tasks))
    assert orchestrator("run", "tasks.jsonl", "--router", "small", "--quiet").exit_code == 0
    rows, told = exported(orchestrator, "reverse", "--batch", "file:")
    assert [each["messages"][0]["content"] for each in rows] == asked, told
    for each in rows:
        check_chat(each["messages"])
        assert each["tokens"] == each["accepted"] + each["replaced"] + each["unread"]
        assert each["messages"][-1]["content"].startswith("<think>\n")
        assert (each["student"], each["teacher"]) == ("pocket-small of pocket-1", "pocket-large of pocket-1")
    before = Path("out.jsonl").read_bytes()
    runs = orchestrator("trace", "list", "--json").stdout.count("\n")
    exported(orchestrator, "reverse", "--batch", "file:")
    assert Path("out.jsonl").read_bytes() == before
    assert orchestrator("trace", "list", "--json").stdout.count("\n") == runs


def test_runs_are_named_or_filtered_as_elsewhere(ran: Call) -> None:
    every, _ = exported(ran, "sft", "--split", "all")
    named, _ = exported(ran, "sft", "--split", "all", every[3]["run"], every[1]["run"][:15])
    assert named == [every[1], every[3]]
    assert exported(ran, "sft", "--batch", "file:")[0] and exported(ran, "sft", "--since", "2020-01-01")[0]
    for arguments in (["--until", "2020-01-01T10:00"], ["--batch", "other"], ["--status", "failed"]):
        nothing = ran("export", "sft", *arguments)
        assert nothing.exit_code == 2 and "nothing to export: of most runs, the" in nothing.stderr
    assert "no run 'none'" in ran("export", "sft", "none").stderr


@pytest.mark.parametrize("time", ["yesterday", "2026-13-01", "", "9999-99"])
def test_a_time_that_is_none_is_refused(orchestrator: Call, time: str) -> None:
    refused = orchestrator("export", "sft", "--since", time)
    assert refused.exit_code == 2 and "write a day or a time" in refused.stderr


def test_lines_go_to_stdout_without_a_file_and_a_file_is_there_whole_or_not_at_all(
    ran: Call, here: Path, home: Path
) -> None:
    printed = ran("export", "sft", "--quiet")
    assert printed.exit_code == 0 and printed.stderr == ""
    rows, _ = exported(ran, "sft")
    assert [json.loads(line) for line in printed.stdout.splitlines()] == rows
    before = Path("out.jsonl").read_bytes()
    assert ran("export", "sft", "--status", "failed", "--out", "out.jsonl").exit_code == 2
    assert Path("out.jsonl").read_bytes() == before and not [*here.glob("*.part")]
    database = next(home.glob("*.db"))
    own = ran("export", "sft", "--db", str(database), "--out", str(database))
    assert own.exit_code == 2 and "reads that file" in own.stderr


def test_broken_text_becomes_text_that_every_reader_takes(ran: Call, home: Path) -> None:
    with Store(next(home.glob("*.db"))) as store:
        journal = Journal(store)
        run = journal.run("last")
        step = run.kept()[0]
        journal.claim(run.key)
        for each in run.kept():
            text = "\udc80\x1b[31m\x00 half" if each.step == step.step else each.text
            journal.step(each._replace(text=text))
        journal.commit()
        journal.release(run.key)
    (chat,), _ = exported(ran, "sft", "--split", "all", "last")
    assert chat["messages"][-1]["content"].startswith("\ufffd\x1b[31m\x00 half")
    log, _ = exported(ran, "drafts", "--split", "all", "last")
    assert log[0]["kept"] == "\ufffd\x1b[31m\x00 half"
