"""Where a timeline is printed: colours by writer, any width and encoding, and some of the steps only."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from rich.cells import cell_len
from rich.color import Color
from rich.console import Console
from rich.text import Text

import orchestrator as orc
from orchestrator.decisions import Decision, keep, rewrite
from orchestrator.doors import Ask, Needs
from orchestrator.engines.base import Request
from orchestrator.engines.retry import RetryPolicy
from orchestrator.engines.scripted import Reply, Scripted
from orchestrator.errors import EngineUnavailable
from orchestrator.memory.base import StoredRun
from orchestrator.runtime.colours import ENGINES
from orchestrator.runtime.only import Only
from orchestrator.runtime.paper import folded, laid_out, width_of, write
from orchestrator.runtime.timeline import timeline
from orchestrator.types import History, Step


@dataclass(frozen=True, kw_only=True)
class ByFirstWord:
    """Lets the large engine write where a draft is bad."""

    needs = Needs(engines=2)

    async def after_draft(self, history: History, draft: Step, ask: Ask) -> Decision:
        return rewrite("large", reason="bad") if draft.text.startswith("Bad") else keep(reason="fine")


@pytest.fixture(scope="module")
def made() -> Iterator[orc.Pipeline]:
    """A pipeline that has run: a step that is kept, one that is rewritten, and two behind a failover."""

    def small(request: Request) -> Reply | str:
        assert request.prompt is not None
        done = bytes(request.prompt.ids()).count(b"\n\n")
        if done == 2:
            raise EngineUnavailable("gone", engine="small")
        return ("Good\x1b[2J 你好 \udcff.\n\n", "Bad.\n\n")[done]

    engines = {"small": Scripted(small), "large": Scripted(["Better.\n\n", "Instead.\n\n", "Answer: 4"])}
    with orc.Pipeline(engines, ByFirstWord(), db=":memory:", retries=RetryPolicy(1)) as pipeline:
        pipeline.run("What?", run_id="0" * 16)
        yield pipeline


@pytest.fixture
def run(made: orc.Pipeline) -> StoredRun:
    return made.journal.run("0" * 16)


def rows(text: str) -> list[tuple[int, str, str]]:
    """Return step, writer and verdict of every candidate."""
    found = re.findall(r"^ *(\d+) (\w+) +((?:x )?[a-z]+)", text.partition("   # writer")[2], re.MULTILINE)
    return [(int(step), writer, verdict) for step, writer, verdict in found]


# --- colours ----------------------------------------------------------------------------------


@pytest.mark.parametrize("colour", ENGINES)
def test_the_colour_of_an_engine_can_be_read_on_black_and_on_white(colour: str) -> None:
    parts = [part / 255 for part in Color.parse(colour).get_truecolor()]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    light = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    assert 1.05 / (light + 0.05) >= 3 and (light + 0.05) / 0.05 >= 3


def test_each_engine_has_its_own_colour_by_its_place_and_what_does_not_stand_is_dimmed(run: StoredRun) -> None:
    file = io.StringIO()
    Console(file=file, force_terminal=True, color_system="256", width=80, soft_wrap=True).print(timeline(run))
    lines = file.getvalue().splitlines()
    small, large = (next(line for line in lines if end in line) for end in ("Good", "Better."))
    assert small.startswith("\x1b[38;5;33m") or "\x1b[38;5;33m" in small
    assert "\x1b[38;5;166m" in large
    assert any("\x1b[2;38;5;33m" in line and "| Bad." in line for line in lines)


def test_a_file_gets_no_escape_and_the_text_alone(run: StoredRun) -> None:
    file = io.StringIO()
    write(timeline(run), file, width=80)
    assert file.getvalue() == timeline(run).plain + "\n"
    assert "\x1b" not in file.getvalue()


@pytest.mark.parametrize(
    ("environment", "shown"),
    [
        ({"TERM": "xterm-256color"}, "\x1b[2;38;5;33msmall\x1b[0m"),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, "\x1b[2msmall\x1b[0m"),
        ({"TERM": "dumb"}, "small"),
        ({"TERM": "dumb", "NO_COLOR": "1"}, "small"),
    ],
)
def test_a_terminal_has_the_colour_that_it_can_show_and_is_wanted(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], shown: str
) -> None:
    for name in ("FORCE_COLOR", "NO_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    master, slave = pty.openpty()
    with os.fdopen(slave, "w") as terminal, os.fdopen(master, "rb", buffering=0) as screen:
        write(Text("small", f"dim {ENGINES[0]}"), terminal, width=80)
        terminal.flush()
        assert screen.read(100).decode() == shown + "\r\n"


# --- width ------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [1, 20, 59])
def test_where_a_line_does_not_fit_it_goes_on_in_the_next_one_and_nothing_is_lost(run: StoredRun, width: int) -> None:
    narrow, whole = timeline(run, width=width).plain, timeline(run, width=60).plain
    assert max(map(cell_len, narrow.splitlines())) <= max(width, 2)  # a wide letter stands alone
    assert narrow.replace("\n", "") == whole.replace("\n", "")


@pytest.mark.parametrize(
    ("text", "width", "pieces"),
    [
        ("", 5, [""]),
        ("abcde", 5, ["abcde"]),
        ("abcdef", 5, ["abcde", "f"]),
        ("你好", 3, ["你", "好"]),
        ("你", 1, ["你"]),
    ],
)
def test_a_line_is_folded_by_columns(text: str, width: int, pieces: list[str]) -> None:
    assert [piece.plain for piece in folded(Text(text), width)] == pieces


def test_a_line_that_is_too_long_for_its_layout_says_so() -> None:
    assert laid_out([Text("x" * 90), Text("好" * 40)], 80).plain.splitlines() == ["x" * 79 + "…", "好" * 40]
    assert cell_len(laid_out([Text("好" * 41)], 80).plain) == 80


@pytest.mark.parametrize(("told", "width"), [("", 80), ("0", 80), ("-3", 80), ("wide", 80), ("20", 20), ("132", 132)])
def test_a_file_is_as_wide_as_columns_says_or_80(monkeypatch: pytest.MonkeyPatch, told: str, width: int) -> None:
    monkeypatch.setenv("COLUMNS", told)
    assert width_of(io.StringIO()) == width


def test_a_terminal_that_does_not_know_its_width_has_80(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    master, slave = pty.openpty()  # 0 columns, 0 lines
    with os.fdopen(slave, "w") as terminal, os.fdopen(master):
        monkeypatch.setattr("sys.__stdout__", terminal)
        assert width_of(terminal) == 80


# --- encoding ---------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_letters_that_the_encoding_lacks_are_spelled_out_in_lines_that_fit(run: StoredRun, encoding: str) -> None:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding)
    write(timeline(run), file, width=80)
    file.flush()
    text = raw.getvalue().decode(encoding)
    assert "Good\\x1b[2J \\u4f60\\u597d \\udcff." in text
    assert max(map(len, text.splitlines())) <= 80


def test_three_dots_stand_for_an_ellipsis_that_an_encoding_lacks_and_fit_the_line() -> None:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding="ascii")
    write(laid_out([Text("y" * 90), Text("short")], 80), file, width=80)
    file.flush()
    assert raw.getvalue().decode().splitlines() == ["y" * 77 + "...", "short"]


# --- some steps only --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("only", "shown", "said"),
    [
        ("escalated", {1, 2, 3}, "1 of 4 steps not shown: nothing escalated there"),
        ("discarded", {1}, "3 of 4 steps not shown: nothing discarded there"),
        ("failed", {2}, "3 of 4 steps not shown: nothing failed there"),
    ],
)
def test_only_some_steps_are_shown_whole_and_how_many_are_not_is_said(
    run: StoredRun, only: Only, shown: set[int], said: str
) -> None:
    text = timeline(run, only=only).plain
    assert rows(text) == [each for each in rows(timeline(run).plain) if each[0] in shown]
    assert f"     {said}\n" in text
    assert text.rpartition("\nengine ")[2] == timeline(run).plain.rpartition("\nengine ")[2]  # all of the ledger


def test_what_was_written_only_to_be_compared_is_no_escalation() -> None:
    engines = {"small": Scripted(["A.\n\n", "Answer: 1"]), "large": Scripted(["B.\n\n", "Answer: 2"])}
    with orc.Pipeline(engines, "small", db=":memory:", counterfactuals=1.0) as pipeline:
        run = pipeline.journal.run(pipeline.run("What?").run_id)
    assert "2 of 2 steps not shown" in timeline(run, only="escalated").plain
    assert "not shown" not in timeline(run, only="discarded").plain


def test_looking_at_a_run_loads_nothing_of_what_executes_one() -> None:
    code = "import sys, orchestrator.runtime.timeline, orchestrator.traces.step_lines, orchestrator.traces.tail; "
    code += "print(sorted({'langgraph', 'langsmith', 'numpy', 'aiohttp'} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"
