"""`orchestrator run QUESTION`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from orchestrator.memory.journal import Journal
from orchestrator.memory.store import Store
from orchestrator.routers import ROUTERS

Call = Callable[..., Result]


def small_only(script: str, **options: str) -> str:
    """Return a pipeline of one engine whose script is the expression `script`."""
    given = "".join(f", {name}={value}" for name, value in options.items())
    return f"""
import orchestrator as orc

def small(request):
    return {script}

pipeline = orc.Pipeline(engines={{"small": orc.engines.Scripted(small)}}, router="small"{given})
"""


def test_the_answer_is_all_that_stdout_gets(orchestrator: Call, pipeline: str, settle: Callable[[str], str]) -> None:
    done = orchestrator("run", "What is 6*7?", "--pipeline", pipeline)
    assert (done.exit_code, done.stdout) == (0, "42\n")
    assert settle(done.stderr) == (
        "completed · 4 steps · large 21% of tokens · <s> s · run <run> · orchestrator trace show <run>\n"
    )


def test_quiet_leaves_stderr_empty(orchestrator: Call, pipeline: str) -> None:
    done = orchestrator("run", "What is 6*7?", "--pipeline", pipeline, "--quiet")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "42\n", "")


def test_json_gives_one_object(orchestrator: Call, pipeline: str) -> None:
    done = orchestrator("run", "What is 6*7?", "--pipeline", pipeline, "--json")
    result = json.loads(done.stdout)
    del result["run_id"], result["seconds"]
    assert result == {
        "position": 0,
        "id": None,
        "status": "completed",
        "answer": "42",
        "steps": 4,
        "output_tokens": 100,
        "large_share": 0.21,
        "error": None,
        "reason": "the engine ended its text",
    }


def test_no_answer_is_no_success(orchestrator: Call, here: Path) -> None:
    (here / "agent.py").write_text(small_only("'I do not know'"))
    done = orchestrator("run", "What?", "--pipeline", "agent.py:pipeline")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("no_answer (the engine ended its text) · 1 step")


def test_a_budget_that_ran_out_is_exit_code_4_and_keeps_what_was_written(orchestrator: Call, here: Path) -> None:
    (here / "agent.py").write_text(
        small_only(r"f'{len(request.prompt)}\nAnswer: 3\n\n'", budget="orc.Budget(steps=2)", stop_on_answer="False")
    )
    done = orchestrator("run", "What?", "--pipeline", "agent.py:pipeline")
    assert (done.exit_code, done.stdout) == (4, "3\n")
    assert done.stderr.startswith("budget (")


@pytest.mark.parametrize(("kind", "code"), [("EngineProtocol", 3), ("EngineRejected", 2)])
def test_an_engine_that_fails_is_exit_code_3_and_one_that_refuses_2(
    orchestrator: Call, here: Path, kind: str, code: int
) -> None:
    script = f"{kind}('engine \\'small\\': it said no; mend it', engine='small')"
    (here / "agent.py").write_text(f"from orchestrator.errors import {kind}\n" + small_only(script))
    done = orchestrator("run", "What?", "--pipeline", "agent.py:pipeline", "--quiet")
    assert (done.exit_code, done.stdout) == (code, "")
    assert done.stderr == "error: engine 'small': it said no; mend it\n"


def test_a_prompt_longer_than_the_context_is_the_users_to_mend(orchestrator: Call, here: Path) -> None:
    (here / "agent.py").write_text(small_only("'x'").replace("Scripted(small", "Scripted(small, context=100"))
    done = orchestrator("run", "long " * 50, "--pipeline", "agent.py:pipeline", "--quiet")
    assert done.exit_code == 2
    assert done.stderr == (
        "error: the prompt has 268 tokens and engine 'small' a context of 100: "
        "shorten the prompt or serve the model with a longer context\n"
    )


def test_what_a_model_says_cannot_touch_the_terminal(orchestrator: Call, here: Path) -> None:
    said = r"'Answer: \x1b]0;owned\x07 \x1b[31mred \u202egnp.exe \udcff\x9b1m'"
    (here / "agent.py").write_text(small_only(said))
    done = orchestrator("run", "What?", "--pipeline", "agent.py:pipeline")
    assert done.exit_code == 0
    assert done.stdout == "\\x1b]0;owned\\x07 \\x1b[31mred \\u202egnp.exe \\udcff\\x9b1m\n"
    assert json.loads(orchestrator("run", "What?", "--pipeline", "agent.py:pipeline", "--json").stdout)["answer"] == (
        "\x1b]0;owned\x07 \x1b[31mred \u202egnp.exe \udcff\x9b1m"
    )


def test_resume_of_a_finished_question_calls_no_engine(orchestrator: Call, pipeline: str, home: Path) -> None:
    first = orchestrator("run", "What is 6*7?", "--pipeline", pipeline, "--json")
    again = orchestrator("run", "What is 6*7?", "--pipeline", pipeline, "--json", "--resume")
    assert json.loads(again.stdout) == json.loads(first.stdout)
    with Store(home / "journal.db", readonly=True) as store:
        assert Journal(store).counts()["runs"] == 1


def test_resume_alone_goes_on_with_the_newest_work(orchestrator: Call, pipeline: str) -> None:
    orchestrator("run", "What is 6*7?", "--pipeline", pipeline)
    done = orchestrator("run", "--resume", "--pipeline", pipeline)
    assert (done.exit_code, done.stdout) == (0, "42\n")
    assert done.stderr.startswith("resuming the question: What is 6*7?\n")


def test_resume_with_other_settings_is_refused_and_names_the_difference(
    orchestrator: Call, pipeline: str, here: Path
) -> None:
    orchestrator("run", "What is 6*7?", "--pipeline", pipeline)
    source = (here / "agent.py").read_text().replace("Scripted(large)}", "Scripted(large)}, seed=7")
    (here / "agent.py").write_text(source)
    done = orchestrator("run", "What is 6*7?", "--pipeline", pipeline, "--resume")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "was made with seed = 0, not 7: give the same settings" in done.stderr


def test_without_resume_the_same_question_is_a_new_run(orchestrator: Call, pipeline: str) -> None:
    first = json.loads(orchestrator("run", "What is 6*7?", "--pipeline", pipeline, "--json").stdout)
    second = json.loads(orchestrator("run", "What is 6*7?", "--pipeline", pipeline, "--json").stdout)
    assert first["run_id"] != second["run_id"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["run"], "nothing to run: give a question in quotes, a TASKS.jsonl, or --resume alone"),
        (["run", "  ", "--small", "http://127.0.0.1:9"], "the prompt is empty: give a question or messages with text"),
        (["run", "x", "--out", "r.jsonl"], "--out is for a file of tasks: redirect a question's answer with >"),
        (["run", "x", "--concurrency", "0"], "command line: run: concurrency = 0 must be at least 1"),
        (["run", "agent.py"], "agent.py is a file: tasks are JSON lines in a file whose name ends in .jsonl"),
        (["run", "x", "--router-option", "threshold"], "--router-option 'threshold': write it as key=value"),
        (
            ["run", "x", "--router", "nope"],
            f"command line: router.name: no router named 'nope'; known: {', '.join(sorted(ROUTERS))}",
        ),
        (
            ["run", "x", "--router", "random", "--threshold", "3"],
            "command line: router.threshold: no such key; known: large_share, seed",
        ),
        (
            ["run", "x", "--router-option", "reading=loud"],
            "command line: router.reading must be 'greedy', 'average' or 'prm', not 'loud'",
        ),
        (["run", "x", "--budget-tokens", "0"],
         "command line: budget: budget tokens = 0: a limit is a whole number above 0"),
        (["run", "--resume", "--pipeline", "agent.py:pipeline"], "nothing to resume: the newest run in the journal "
         "was not started by `orchestrator run`"),
        (
            ["run", "x", "--pipeline", "agent.py:pipeline", "--seed", "3"],
            "--pipeline brings its own engines and options: leave out --seed, or set it in the file",
        ),
    ],
)  # fmt: skip
def test_a_mistake_gets_one_line_and_exit_code_2(
    orchestrator: Call, pipeline: str, arguments: list[str], line: str
) -> None:
    done = orchestrator(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == f"error: {line}\n"


def test_an_unknown_option_says_where_the_known_ones_are(orchestrator: Call) -> None:
    done = orchestrator("run", "x", "--sead", "3")
    assert done.exit_code == 2
    assert done.stderr.startswith("error: No such option '--sead'.")
    assert done.stderr.endswith("(try `orchestrator run --help`)\n")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("target", "source", "line"),
    [
        ("gone.py:pipeline", "", "there is no file gone.py"),
        ("mine.py:other", "import orchestrator as orc", "mine.py has no 'other'"),
        ("mine.py", "", None),
        ("mine.py:pipeline", "def broken(:", "SyntaxError: invalid syntax (mine.py line 1)"),
        ("mine.py:pipeline", "import no_such", "ModuleNotFoundError: No module named 'no_such' (mine.py line 1)"),
        ("mine.py:pipeline", "x = 1\n1 / 0", "ZeroDivisionError: division by zero (mine.py line 2)"),
        ("mine.py:pipeline", "raise Exception('boom')", "Exception: boom (mine.py line 1)"),
        ("mine.py:pipeline", "class Mine(BaseException): pass\nraise Mine", "Mine (mine.py line 2)"),
        ("mine.py:pipeline", "raise SystemExit(3)", "SystemExit: 3 (mine.py line 1)"),
        ("mine.py:pipeline", "import json\ndef pipeline():\n    json.loads('')",
         "JSONDecodeError: Expecting value: line 1 column 1 (char 0) (mine.py line 3)"),
        ("mine.py:pipeline", "def pipeline(a): pass", "TypeError: pipeline() missing 1 required positional argument"),
        ("mine.py:pipeline", "pipeline = 3", "it is a int, not a Pipeline or a function that gives one"),
        ("mine.py:pipeline", "def pipeline(): return None", "it is a NoneType, not a Pipeline or a function"),
        ("mine.py:pipeline", "import orchestrator as orc\npipeline = lambda: orc.Pipeline({})", "a pipeline needs"),
        ("no.such.package:pipeline", "", "ModuleNotFoundError: No module named 'no'"),
    ],
)  # fmt: skip
def test_a_pipeline_that_cannot_be_had_is_one_clear_line(
    orchestrator: Call, here: Path, target: str, source: str, line: str | None
) -> None:
    (here / "mine.py").write_text(source)
    done = orchestrator("run", "x", "--pipeline", target)
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert f"--pipeline {target}: {line}" in done.stderr if line else "write it as file.py:object" in done.stderr


def test_a_file_that_is_changed_at_once_is_read_as_it_is(orchestrator: Call, pipeline: str, here: Path) -> None:
    file, at_s = here / "agent.py", 1_700_000_000
    for answer in ("42", "43"):
        file.write_text(file.read_text().replace("{42}", f"{{{answer}}}"))
        os.utime(file, (at_s, at_s))
        assert orchestrator("run", f"What is {answer}?", "--pipeline", pipeline).stdout == f"{answer}\n"
    assert not (here / "__pycache__").exists()


def test_a_pipeline_may_be_in_a_package_of_the_working_directory(orchestrator: Call, pipeline: str, here: Path) -> None:
    (here / "agents").mkdir()
    (here / "agents" / "solver.py").write_text((here / "agent.py").read_text())
    done = orchestrator("run", "What is 6*7?", "--pipeline", "agents.solver:pipeline")
    assert (done.exit_code, done.stdout) == (0, "42\n")


def test_an_exception_of_someones_code_is_one_line_that_names_it_and_says_how_to_see_the_traceback(
    orchestrator: Call, here: Path
) -> None:
    (here / "agent.py").write_text(small_only("1 / 0"))
    done = orchestrator("run", "What?", "--pipeline", "agent.py:pipeline")
    assert done.exit_code == 1
    assert done.stderr == (
        "error: ZeroDivisionError: division by zero (agent.py line 5); run again with ORCHESTRATOR_DEBUG=1 "
        "for the traceback\n"
    )


def test_debug_shows_the_traceback(orchestrator: Call, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRATOR_DEBUG", "1")
    (here / "agent.py").write_text(small_only("1 / 0"))
    done = orchestrator("run", "What?", "--pipeline", "agent.py:pipeline")
    assert isinstance(done.exception, ZeroDivisionError)


def test_a_pipelines_own_journal_is_named_and_may_be_another(orchestrator: Call, here: Path) -> None:
    (here / "agent.py").write_text(
        "import orchestrator as orc\n"
        "def pipeline():\n"
        "    small = orc.engines.Scripted(['Answer: 4'])\n"
        "    return orc.Pipeline({'small': small}, 'small', db='own.db')\n"
    )
    own = orchestrator("run", "2+2?", "--pipeline", "agent.py:pipeline")
    assert own.exit_code == 0
    assert own.stderr.rstrip().endswith("--db own.db")
    assert orchestrator("trace", "show", "last", "--db", "own.db").exit_code == 0
    other = orchestrator("run", "2+2?", "--pipeline", "agent.py:pipeline", "--db", "other.db")
    assert (other.exit_code, (here / "other.db").exists()) == (0, True)


def test_engines_that_are_no_table_are_the_files_fault(orchestrator: Call, here: Path) -> None:
    (here / "orchestrator.toml").write_text("engines = 3\n")
    done = orchestrator("run", "x")
    assert (done.exit_code, "orchestrator.toml: engines is not a table" in done.stderr) == (2, True)


def test_a_router_that_needs_two_engines_is_refused_before_any_is_asked(orchestrator: Call, here: Path) -> None:
    (here / "orchestrator.toml").write_text('[engines.small]\nkind = "vllm"\nurl = "http://127.0.0.1:9"\n')
    done = orchestrator("config", "validate")
    assert done.exit_code == 2
    assert "routes between 2 engines; the pipeline has 1" in done.stderr


def test_without_any_setup_the_pocket_pair_answers(orchestrator: Call) -> None:
    done = orchestrator("run", "Compute 3+4.")
    assert (done.exit_code, done.stdout) == (0, "7\n"), done.stderr
    assert done.stderr.startswith("no engines named: the pocket pair, two tiny models that know arithmetic")
    assert "engines  small: pocket-small of pocket-" in orchestrator("trace", "show").stdout
