"""`trace html` and `trace serve` on the command line: a new file, clear lines, and nothing overwritten."""

from __future__ import annotations

import resource
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Call = Callable[..., Result]


@pytest.fixture
def run(orchestrator: Call, pipeline: str) -> str:
    """The id of a stored run."""
    assert orchestrator("run", "What?", "--pipeline", pipeline, "--quiet").exit_code == 0
    return orchestrator("trace", "list").stdout.splitlines()[1].split()[0]


def test_a_run_and_two_runs_become_a_page(orchestrator: Call, run: str, here: Path) -> None:
    made = orchestrator("trace", "html", "last", "--out", "page.html")
    assert (made.exit_code, made.stdout) == (0, "") and "open page.html in a browser" in made.stderr
    page = (here / "page.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") and run in page and '"parting":' not in page
    assert orchestrator("trace", "html", "--out", "newest.html").exit_code == 0
    assert (here / "newest.html").read_text(encoding="utf-8") == page
    assert orchestrator("trace", "html", run[:8], "last", "--out", "two.html").exit_code == 0
    assert '"parting":' in (here / "two.html").read_text(encoding="utf-8")


def test_a_file_that_is_there_is_left_alone(orchestrator: Call, run: str, here: Path) -> None:
    (here / "page.html").write_text("mine")
    made = orchestrator("trace", "html", run, "--out", "page.html")
    assert made.exit_code == 2 and "page.html exists: choose another file" in made.stderr
    assert (here / "page.html").read_text() == "mine"
    made = orchestrator("trace", "html", run, "--out", "none/page.html")
    assert made.exit_code == 2 and "none/page.html cannot be written: No such file" in made.stderr


def test_where_the_disk_is_full_no_page_is_left(orchestrator: Call, run: str, here: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        made = orchestrator("trace", "html", run, "--out", "page.html")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert made.exit_code == 2 and "page.html cannot be written: File too large" in made.stderr
    assert not (here / "page.html").exists()


def test_an_unknown_run_names_the_nearest_and_writes_nothing(orchestrator: Call, run: str, here: Path) -> None:
    made = orchestrator("trace", "html", run, "zzz", "--out", "page.html")
    assert made.exit_code == 2 and f"the nearest are {run}" in made.stderr
    assert not (here / "page.html").exists()


def test_a_port_that_is_taken_and_a_journal_that_is_not_there_are_clear_lines(orchestrator: Call, run: str) -> None:
    pytest.importorskip("uvicorn", reason="the extra `serve` is not installed")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        served = orchestrator("trace", "serve", "--port", str(port))
    assert served.exit_code == 2
    assert served.stderr == f"error: port {port} cannot be had: choose another one with --port\n"
    served = orchestrator("trace", "serve", "--db", "none.db")
    assert served.exit_code == 2 and "no journal at none.db: run something first" in served.stderr
