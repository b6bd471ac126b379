"""On a terminal: the steps of a question as they come, a bar for a file, and colour unless NO_COLOR is set."""

from __future__ import annotations

from pathlib import Path

from terminal import on_a_terminal

CODE = """
import os
from orchestrator.cli.app import app

def call(*arguments):
    print("==", *arguments[:2], flush=True)
    try:
        app.main(list(arguments), prog_name="orchestrator")
    except SystemExit:
        pass

call("run", "What is 6*7?", "--pipeline", "agent.py:pipeline")
call("run", "tasks.jsonl", "--pipeline", "agent.py:pipeline", "--out", "r.jsonl")
call("trace", "show")
os.environ["NO_COLOR"] = "1"
call("trace", "show", "last")
"""


def test_people_at_a_terminal_see_what_happens(pipeline: str, here: Path) -> None:
    (here / "tasks.jsonl").write_text('{"prompt": "one"}\n{"prompt": "two"}\n')
    _, question, file, shown, without_colour = on_a_terminal(CODE, COLUMNS="100").split("== ")
    assert question.splitlines()[1:5] == [
        "   0 small    9.0 >= 7.0     Step 0: compute.",
        "   1 large    2.0 < 7.0      Careful step 1.",
        "   2 small    9.0 >= 7.0     Step 2: compute.",
        "   3 small    9.0 >= 7.0     The answer is \\boxed{42}.",
    ]
    assert "42" in question.splitlines()
    assert "2/2" in file
    assert "2 tasks · 2 completed · large 21% of tokens" in file
    assert "\x1b[32mcompleted\x1b[0m" in shown
    assert "\x1b[32m" not in without_colour
