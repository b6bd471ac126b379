"""`orchestrator trace list`."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from terminal import COMMAND, on_a_terminal

from orchestrator.cli import stored, trace_list, trace_which
from orchestrator.cli.app import app
from orchestrator.cli.trace_which import which_of
from orchestrator.config import FILE_NAME, load
from orchestrator.errors import BadConfig, UserError
from orchestrator.memory.base import LEARNS, OutcomeRow, RunRow
from orchestrator.memory.journal import Journal
from orchestrator.memory.store import Store, default_db
from orchestrator.memory.summaries import ORDERS
from orchestrator.memory.which import Span
from orchestrator.traces import journal_file, opened

Call = Callable[..., Result]

SETTINGS = '{"router": {"policy": "specreason 0.1.0"}}'
ENGINES = '{"small": {}, "large": {}}'


@pytest.fixture
def listed(home: Path) -> Path:
    """Three runs of a user, the last one unfinished, and two of a learner; returns the file."""
    home.mkdir(parents=True, exist_ok=True)
    path = home / "journal.db"
    with Store(path) as store:
        journal = Journal(store)
        for number, batch in enumerate(("mine", "mine", f"{LEARNS}x", "mine", f"{LEARNS}x")):
            task = json.dumps({"messages": [["user", f"\x1b[31mQuestion {number}\u202e " + "and so on " * 20]]})
            key = journal.open_run(
                RunRow(f"{number:016}", None, batch, 0, task, SETTINGS, ENGINES, 1_700_000_000.0 + 3600 * number)
            )
            if number == 3:
                journal.release(key)
                continue
            ledger = json.dumps([{"engine": "large", "prompt_tokens": 1, "output_tokens": 5, "cost": 0.25 * number}])
            journal.outcome(OutcomeRow(key, "completed", "42", "", "", 1.5, ledger, 1_700_000_009.0))
        journal.close()
    return path


def test_runs_of_learners_are_left_out_and_counted_unless_asked_for(orchestrator: Call, listed: Path) -> None:
    done = orchestrator("trace", "list")
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["run", *(f"{n:016}" for n in (3, 1, 0))]
    assert done.stderr == "2 runs of learners left out: --all lists them\n"
    done = orchestrator("trace", "list", "--all", "-n", "4")
    assert len(done.stdout.splitlines()) == 5
    assert done.stderr == "4 of 5 runs: -n lists more\n"


def test_a_line_in_a_pipe_is_as_wide_as_columns_says(
    orchestrator: Call, listed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for told, width in (("", 80), ("no number", 80), ("100", 100)):
        monkeypatch.setenv("COLUMNS", told)
        assert {len(line) for line in orchestrator("trace", "list").stdout.splitlines()[1:]} == {width}


@pytest.mark.parametrize(
    ("width", "left"),
    [
        (79, ["run", "started", "status", "large", "s", "cost", "asked"]),
        (61, ["run", "started", "status", "cost", "asked"]),
        (60, ["run", "started", "status", "asked"]),
        (50, ["run", "status", "asked"]),
        (40, ["run", "status", "asked"]),
    ],
)
def test_below_80_columns_those_that_matter_least_are_left_out(
    orchestrator: Call, listed: Path, monkeypatch: pytest.MonkeyPatch, width: int, left: list[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    head, *lines = orchestrator("trace", "list").stdout.splitlines()
    assert head.split() == left and len(lines) == 3
    assert {len(line) for line in lines} == {width}
    monkeypatch.setenv("COLUMNS", "30")
    lines = orchestrator("trace", "list").stdout.splitlines()
    assert max(map(len, lines)) <= 30 and len(lines) > 4


def test_where_there_is_no_ellipsis_three_dots_end_a_line(listed: Path) -> None:
    done = CliRunner(charset="ascii").invoke(app, ["trace", "list"], prog_name="orchestrator")
    _, *lines = done.stdout.splitlines()
    assert {(len(line), line[-3:]) for line in lines} == {(80, "...")} and "\\u2026" not in done.stdout


def test_a_column_of_costs_is_there_where_any_run_has_one(orchestrator: Call, listed: Path) -> None:
    head, *lines = orchestrator("trace", "list").stdout.splitlines()
    assert head.split() == ["run", "started", "status", "steps", "large", "s", "cost", "asked"]
    assert [line.split()[6] for line in lines] == ["-", "0.25", "0"]
    assert {line.split()[1] for line in lines} <= {"2023-11-14", "2023-11-15"}  # no room for their times
    head, *lines = orchestrator("trace", "list", "--cost", "..0").stdout.splitlines()
    assert "cost" not in head and len(lines) == 1


def test_every_line_is_at_most_80_columns_and_harmless_where_it_is_piped(orchestrator: Call, listed: Path) -> None:
    shown = orchestrator("trace", "list", "--all").stdout
    assert max(map(len, shown.splitlines())) <= 80
    assert "\x1b" not in shown and "\u202e" not in shown and "\\x1b" in shown


def test_where_nothing_matches_there_is_one_line_and_no_error(orchestrator: Call, listed: Path) -> None:
    done = orchestrator("trace", "list", "--status", "failed")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "no run is like that\n")
    done = orchestrator("trace", "list", "--status", "failed", "--json")
    assert (done.exit_code, done.stdout) == (0, "")
    done = orchestrator("trace", "list", "--batch", LEARNS)
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr.splitlines()[0] == "no run is like that but runs of learners"


def test_an_empty_journal_has_no_run_yet(orchestrator: Call, here: Path) -> None:
    Store(here / "new.db").close()
    for command in (["list"], ["list", "--json"], ["stats"]):
        done = orchestrator("trace", *command, "--db", "new.db")
        assert (done.exit_code, done.stdout, done.stderr) == (0, "", "no run yet: run something first\n")


def test_json_tells_policy_tokens_and_cost(orchestrator: Call, listed: Path) -> None:
    done = orchestrator("trace", "list", "--json", "--seconds", "1.5..1.5", "--tokens", "5..", "--by", "cost")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(row["cost"], row["output_tokens"], row["policy"]) for row in rows] == [
        (0.25, 5, "specreason 0.1.0"),
        (0.0, 5, "specreason 0.1.0"),
    ]
    assert "key" not in rows[0]


def test_filters_that_name_nothing_are_one_line(orchestrator: Call, listed: Path) -> None:
    for flags, told in (
        (("--policy", "rsd"), "there are specreason"),
        (("--engine", "huge"), "there are large, small"),
        (("--batch", "no"), "the newest are learn x, mine"),
        (("--forks-of", "9"), "no run '9'"),
        (("--since", "soon"), "--since 'soon'"),
        (("--cost", "5"), "--cost '5': write it as 5..5 for exactly that; 5.. is that or more, ..5 is up to that"),
        (("--tokens", "2..1"), "--tokens '2..1': write it as 100..2000, the lower end first"),
    ):
        done = orchestrator("trace", "list", *flags)
        assert done.exit_code == 2 and told in done.stderr and done.stderr.count("\n") == 1


NONE = dict.fromkeys(
    ("status", "policy", "engine", "batch", "since", "until", "cost", "seconds", "tokens", "grep", "forks_of")
)


@pytest.mark.parametrize(
    ("written", "span"),
    [
        ("0.5..2", Span(0.5, 2)),
        ("2..2", Span(2, 2)),
        ("..1e3", Span(high=1000)),
        ("0..", Span(0)),
        (" 1 .. 2 ", Span(1, 2)),
        *((each, None) for each in ("", "..", "1", "2..1", "a..b", "nan..1", "1..nan", "1...2", "1,5..2")),
    ],
)
def test_a_span_has_two_ends_or_one(written: str, span: Span | None) -> None:
    given = {**NONE, "is_all": False, "cost": written}
    if span is not None:
        assert which_of(given).cost == span
        return
    with pytest.raises(UserError, match="write it as"):
        which_of(given)


@pytest.mark.parametrize(
    ("flag", "written", "meant"),
    [
        ("since", "2026-11-27", datetime(2026, 11, 27)),
        ("until", "2026-11-27", datetime(2026, 11, 28)),  # to its end
        ("until", "2026-11-27T09:30", datetime(2026, 11, 27, 9, 30)),
        ("since", "2026-11-27 09:30:15", datetime(2026, 11, 27, 9, 30, 15)),
        ("since", "2026-11-27T09:30+00:00", datetime.fromisoformat("2026-11-27T09:30+00:00")),
    ],
)
def test_a_time_is_one_of_this_machines_unless_it_says_otherwise(flag: str, written: str, meant: datetime) -> None:
    which = which_of({**NONE, "is_all": False, flag: written})
    assert (which.since_s if flag == "since" else which.until_s) == meant.timestamp()


def test_a_duration_is_so_long_ago() -> None:
    now = datetime.now().timestamp()
    for written, ago_s in (("90s", 90), ("5m", 300), ("1.5h", 5400), ("2d", 172_800), ("1w ago", 604_800)):
        assert which_of({**NONE, "is_all": False, "since": written}).since_s == pytest.approx(now - ago_s, abs=5)


@pytest.mark.parametrize("written", ["", "2", "d", "-2d", "2y", "27.11.2026", "2026-13-01", "9999-12-31", "٢d\ud800"])
def test_no_time_is_refused(written: str) -> None:
    with pytest.raises(UserError, match="how long ago"):
        which_of({**NONE, "is_all": False, "until": written})


def test_what_is_said_twice_is_said_alike() -> None:
    assert journal_file.CONFIG == FILE_NAME
    assert tuple(ORDERS) == trace_list._ORDERS
    assert opened._STATUSES == trace_which.STATUSES


@pytest.mark.parametrize(
    "written",
    ["", "[run]", '[run]\ndb = "a.db"', '[run]\ndb = "${JOURNAL}"', '[run]\ndb = "~/a.db"'],
)
def test_the_journal_is_the_one_that_the_whole_configuration_names(
    here: Path, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    monkeypatch.setenv("JOURNAL", "b.db")
    (here / "folder").mkdir()
    for file in (here / FILE_NAME, here / "folder" / FILE_NAME):
        file.write_text(written)
    for config in (None, here / "folder" / FILE_NAME):
        assert Path(stored.journal_path({"db": None, "config": config})) == Path(load(config).run.db or default_db())


@pytest.mark.parametrize(
    "written",
    [
        "[run]\ndbs = 1",
        "[run",
        "run = 3",
        "[run]\ndb = 3",
        '[run]\ndb = ""',
        "schema_version = 9",
        "#" * (1 << 20) + "#",
    ],
)
def test_a_configuration_that_names_no_journal_says_what_is_wrong(here: Path, written: str) -> None:
    (here / FILE_NAME).write_text(written)
    with pytest.raises(BadConfig, match=FILE_NAME):
        stored.journal_path({"db": None, "config": None})


def test_what_runs_need_of_a_configuration_is_not_needed_to_list_them(listed: Path) -> None:
    import subprocess
    import sys

    (Path() / FILE_NAME).write_text(f'[engines.small]\napi_key = "${{NOT_SET}}"\n[run]\ndb = "{listed}"\n')
    program = (
        "import sys, orchestrator.cli as cli\ntry: cli.main()\nfinally: print('orchestrator.config' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program, "trace", "list"], capture_output=True, text=True, timeout=60)
    assert done.stderr == "2 runs of learners left out: --all lists them\n"
    assert len(done.stdout.splitlines()) == 5 and done.stdout.endswith("False\n")


def test_statuses_are_coloured_in_a_terminal_that_has_colours(listed: Path) -> None:
    for more, has_colour in (({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)):
        shown = on_a_terminal(COMMAND, "trace", "list", "--db", str(listed), COLUMNS="100", **more)
        assert ("\x1b[32mcompleted" in shown) is has_colour
        assert "completed" in shown and "\\x1b[31mQuestion" in shown
