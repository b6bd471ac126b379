"""What --out may be, and what happens where results cannot be written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Call = Callable[..., Result]

COMMAND = [sys.executable, "-c", "from orchestrator.cli import main; main()"]
AGENT = """
import orchestrator as orc
pipeline = orc.Pipeline(engines={"small": orc.engines.Scripted(lambda _: "Answer: 1")}, router="small")
"""
needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no device that is full")


@pytest.fixture(autouse=True)
def work(here: Path) -> None:
    (here / "agent.py").write_text(AGENT)
    (here / "tasks.jsonl").write_text('{"prompt": "one"}\n{"prompt": "two"}\n')


def run(orchestrator: Call, *arguments: str) -> Result:
    return orchestrator("run", "tasks.jsonl", "--pipeline", "agent.py:pipeline", "--quiet", *arguments)


def cut(file: Path) -> None:
    """Take the last line away but for its beginning."""
    text = file.read_bytes()
    file.write_bytes(text[: text.index(b"\n") + 10])


def on_full_disk(arguments: list[str], unbuffered: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    with open("/dev/full", "wb") as full:
        return subprocess.run([*COMMAND, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, env=environment)


def positions(file: Path) -> list[int]:
    return sorted(json.loads(line)["position"] for line in file.read_text().splitlines())


def test_files_beside_out_are_left_alone_and_its_mode_is_kept(orchestrator: Call, here: Path) -> None:
    run(orchestrator, "--out", "X")
    (here / "X.new").write_text("precious")
    (here / "X").chmod(0o640)
    cut(here / "X")
    before = set(here.iterdir())
    assert run(orchestrator, "--out", "X", "--resume").exit_code == 0
    assert positions(here / "X") == [0, 1]
    assert (here / "X.new").read_text() == "precious"
    assert (here / "X").stat().st_mode & 0o777 == 0o640
    assert set(here.iterdir()) == before


def test_a_link_stays_a_link_and_its_file_is_gone_on_with(orchestrator: Call, here: Path) -> None:
    (here / "far").mkdir()
    (here / "X").symlink_to("far/real")
    assert run(orchestrator, "--out", "X").exit_code == 0
    cut(here / "far/real")
    assert run(orchestrator, "--out", "X", "--resume").exit_code == 0
    assert (here / "X").is_symlink()
    assert positions(here / "far/real") == [0, 1]


@pytest.mark.parametrize("kind", ["fifo", "device", "folder", "loop"])
@pytest.mark.parametrize("more", [[], ["--resume"]])
def test_what_is_no_regular_file_is_refused_at_once(orchestrator: Call, here: Path, kind: str, more: list[str]) -> None:
    make = {
        "fifo": os.mkfifo,
        "device": lambda place: place.symlink_to("/dev/null"),
        "folder": Path.mkdir,
        "loop": lambda place: place.symlink_to("X"),
    }
    make[kind](here / "X")
    done = run(orchestrator, "--out", "X", *more)
    assert done.exit_code == 2
    assert done.stderr == "error: X is no regular file: choose another one, or leave --out away for stdout\n"


@needs_full
def test_a_full_disk_under_stdout_is_one_line_and_resume_has_what_was_kept(orchestrator: Call, here: Path) -> None:
    arguments = ["run", "tasks.jsonl", "--pipeline", "agent.py:pipeline", "--concurrency", "1", "--quiet"]
    with open("/dev/full", "wb") as full:
        done = subprocess.run([*COMMAND, *arguments], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr == (
        "error: cannot write to stdout: No space left on device: make room, then --resume: "
        f"orchestrator {' '.join(arguments)} --out results.jsonl --resume\n"
    )
    assert orchestrator(*arguments, "--out", "results.jsonl", "--resume").exit_code == 0
    assert positions(here / "results.jsonl") == [0, 1]


@needs_full
def test_a_question_and_its_trace_on_a_full_disk_are_one_line_each(here: Path) -> None:
    for arguments in (["run", "What?", "--pipeline", "agent.py:pipeline", "--quiet"], ["trace", "show"]):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([*COMMAND, *arguments], stdout=full, stderr=subprocess.PIPE, text=True)
        assert done.returncode == 2
        assert done.stderr.startswith("error: cannot write to stdout: No space left on device")
        assert done.stderr.count("\n") == 1


@needs_full
@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["run", "--help"]], ids=" ".join)
@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
def test_help_on_a_full_disk_is_one_line_too(arguments: list[str], unbuffered: str) -> None:
    done = on_full_disk(arguments, unbuffered)
    assert (done.returncode, done.stderr) == (2, "error: cannot write to stdout: No space left on device\n")


@needs_full
def test_what_is_found_out_when_a_command_is_done_is_one_line_too(here: Path) -> None:
    (here / "agent.py").write_text(f"{AGENT}\nprint('a word of its own')")
    arguments = ["run", "tasks.jsonl", "--pipeline", "agent.py:pipeline", "--quiet", "--out", "X"]
    done = on_full_disk(arguments, "")
    assert (done.returncode, done.stderr) == (2, "error: cannot write to stdout: No space left on device\n")
    assert positions(here / "X") == [0, 1]


def test_out_that_can_take_no_more_is_one_line_and_resume_completes_it(orchestrator: Call, here: Path) -> None:
    limited = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "from orchestrator.cli import main; from orchestrator.cli import results; "
        "write = results.Results.write\n"
        "def first_full(self, line):\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (50, resource.RLIM_INFINITY))\n"
        "    try:\n"
        "        write(self, line)\n"
        "    finally:\n"
        "        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "results.Results.write = first_full\n"
        "main()"
    )
    arguments = ["run", "tasks.jsonl", "--pipeline", "agent.py:pipeline", "--quiet", "--out", "X"]
    done = subprocess.run([sys.executable, "-c", limited, *arguments], capture_output=True, text=True)
    assert done.returncode == 2
    assert "cannot write X: File too large" in done.stderr
    assert done.stderr.count("\n") == 1
    assert len((here / "X").read_bytes()) == 50
    assert run(orchestrator, "--out", "X", "--resume").exit_code == 0
    assert positions(here / "X") == [0, 1]


def test_a_reader_that_goes_away_is_no_news(here: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [*COMMAND, "run", "tasks.jsonl", "--pipeline", "agent.py:pipeline", "--quiet"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")
