"""What the tests of the command line share: a folder of their own, a pipeline of scripts, a way to call."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from orchestrator.cli.app import app

PIPELINE = r'''
"""Scripts that are pure functions of the request: three steps, the second draft is rated too low."""

import orchestrator as orc


def small(request):
    done = bytes(request.prompt.ids()).count(b"\n\n")
    return f"Step {done}: compute.\n\n" if done < 3 else r"The answer is \boxed{42}."


def large(request):
    done = bytes(request.prompt.ids()).count(b"\n\n")
    if request.purpose == "judge":
        return "9" if done % 2 else "2"
    return f"Careful step {done}.\n\n"


def pipeline():
    return orc.Pipeline(engines={"small": orc.engines.Scripted(small), "large": orc.engines.Scripted(large)})
'''


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder of its own; leave the import path and the environment as they were."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("COLUMNS", "FORCE_COLOR", "ORCHESTRATOR_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def home() -> Path:
    """The folder the program keeps its journal in."""
    return Path(os.environ["ORCHESTRATOR_HOME"])


@pytest.fixture
def pipeline(here: Path) -> str:
    """A --pipeline target whose engines are scripts."""
    (here / "agent.py").write_text(PIPELINE)
    return "agent.py:pipeline"


def call(*arguments: str) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(app, list(arguments), prog_name="orchestrator")


@pytest.fixture
def orchestrator() -> Callable[..., Result]:
    """Run the command in this process; returns exit code, stdout and stderr."""
    return call


def settled(text: str) -> str:
    """Return `text` with run ids, dates and durations replaced."""
    text = re.sub(r"\b[0-9a-hjkmnp-tv-z]{16}\b", "<run>", text)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d [+-]\d{4})?", "<time>", text)
    return re.sub(r"\b\d+\.\d+ s\b", "<s> s", text)


@pytest.fixture
def settle() -> Callable[[str], str]:
    """Replace what differs from run to run."""
    return settled
