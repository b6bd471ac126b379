"""Mode, monitors and tools in the configuration: what they become, and what is wrong with them in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.config import RunConfig, load, monitor
from orchestrator.errors import BadConfig
from orchestrator.modes.by_kind import FirstTryByKind
from orchestrator.modes.effort import Effort
from orchestrator.modes.fixed import NO_THINK, THINK, budgeted
from orchestrator.monitors import Milestone, Overthinking, Stalled, Stuck
from orchestrator.runtime.pipeline import Pipeline


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def loaded(text: str, flags: dict[str, Any] | None = None) -> RunConfig:
    Path("orchestrator.toml").write_text(text)
    return load(None, flags)


def test_unless_said_otherwise_stalled_watches_no_tool_runs_and_engines_think_as_they_do() -> None:
    config = load()
    assert (config.mode, config.fallback, config.monitors, config.tools) == (None, "as-it-is", (Stalled(),), {})


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ('mode = "no_think"', NO_THINK),
        ('mode = "think(512)"', budgeted(THINK, 512)),
        ('mode = "effort(0.5)"', Effort(effort=0.5)),
        ('[mode]\nname = "think"', THINK),
        ('[mode]\nname = "think"\nbudget = 512', budgeted(THINK, 512)),
        ('[mode]\nname = "effort"\neffort = 0.5\nleast = 9', Effort(effort=0.5, least=9)),
        ('[mode]\nname = "auto"', FirstTryByKind(gate="written", threshold=0.9)),
    ],
)
def test_a_mode_is_a_text_or_a_table(text: str, mode: object) -> None:
    assert loaded(text).mode == mode


def test_fallback_is_a_single_mode_or_none() -> None:
    assert loaded('fallback = "think(64)"').fallback == budgeted(THINK, 64)
    assert loaded('fallback = "refuse"').fallback is None
    assert loaded('fallback = "as-it-is"').fallback == "as-it-is"


def test_monitors_stand_in_the_place_of_stalled_in_their_order_and_an_empty_list_is_none() -> None:
    text = '[[monitors]]\nname = "stuck"\nrepeats = 2\n[[monitors]]\nname = "milestone"\nsubgoals = ["found"]\n'
    assert loaded(text).monitors == (Stuck(repeats=2), Milestone(subgoals=["found"]))
    assert loaded("monitors = []").monitors == ()


def test_tools_have_their_options_and_can_have_another_name() -> None:
    config = loaded('[tools.calculator]\nname = "calc"\ntimeout_s = 2\n[tools.python]\nneeds_approval = true')
    calculator, python = config.tools.values()
    assert (calculator.name, calculator.timeout_s, python.needs_approval) == ("calc", 2, True)
    assert config.pipeline_options()["tools"] == (calculator, python)


def test_a_pipeline_takes_them_and_its_settings_name_them() -> None:
    config = loaded('mode = "no_think"\nfallback = "refuse"\n[[monitors]]\nname = "stuck"\n[tools.calculator]')
    settings = Pipeline(**config.pipeline_options()).settings
    for named in ('"no_think"', '"fallback": null', '"policy": "stuck ', '"order": ["calculator"]'):
        assert named in settings


def test_flags_replace_what_the_file_says_and_tools_they_name_keep_the_files_options() -> None:
    text = (
        '[mode]\nname = "effort"\neffort = 0.5\n[[monitors]]\nname = "stuck"\n[[monitors]]\nname = "drift"\n'
        "[tools.calculator]\n[tools.python]\ntimeout_s = 3\n"
    )
    flags = {
        "mode": "think",
        "monitors": {"1": {"name": "stuck", "repeats": 5}},
        "tools": {"python": {}},
    }
    config = loaded(text, flags)
    assert (config.mode, config.monitors) == (THINK, (Stuck(repeats=5),))
    assert {name: tool.timeout_s for name, tool in config.tools.items()} == {"python": 3}
    assert loaded("", {"tools": {"calculator": {}}}).tools.keys() == {"calculator"}


def test_a_monitors_file_lies_beside_the_config_and_that_of_a_flag_in_the_working_directory(here: Path) -> None:
    (here / "deep").mkdir()
    (here / "deep" / "mine.toml").write_text('[[monitors]]\nname = "overthinking"\nfile = "exits.json"\n')
    with pytest.raises(BadConfig, match=r"deep/exits\.json"):
        load(Path("deep/mine.toml"))
    with pytest.raises(BadConfig, match=r"^exits\.json"):
        load(Path("deep/mine.toml"), {"monitors": {"1": {"name": "overthinking", "file": "exits.json"}}})


@pytest.mark.parametrize(
    ("name", "noun", "maker"),
    [("overthinking", "calibration of exits", "calibrate-exits"), ("classified", "monitor", "train-monitor")],
)
def test_a_monitors_file_that_is_missing_or_another_is_told_with_the_command_that_makes_one(
    here: Path, name: str, noun: str, maker: str
) -> None:
    (here / "other.json").write_text('{"format": "other"}')
    for file in ("missing.json", "other.json"):
        with pytest.raises(BadConfig, match=rf"^{file}.*`orchestrator {maker}` makes (a {noun}|one)$"):
            monitor(name, {"file": file}, "here")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("mode = 3", "mode is 3: give a name in quotes, or a table [mode]"),
        ('mode = "thinks"', "mode: no mode named 'thinks'; known: agentic, agreement, auto, "),
        ('mode = "think(0)"', "mode: mode think(0): a budget is a whole number of tokens above 0"),
        ('[mode]\nname = "no_think"\nbudget = 5', "mode: mode no_think(5): no_think has no thought to limit"),
        ('[mode]\nname = "think"\neffort = 5', "mode.effort: no such key; known: budget"),
        ('[mode]\nname = "think"\nbudget = "5"', "mode.budget must be a valid integer, not '5'"),
        ('[mode]\nname = "effort"\nefort = 1', "mode.efort: no such key; did you mean 'effort'? known: effort, "),
        ('[mode]\nname = "effort"\neffort = 2', "mode: effort: effort = 2.0 is not in (0, 1]"),
        (
            '[mode]\nname = "auto"\nby = "luck"',
            "mode.by must be 'kind', 'first-try', 'agreement', 'self' or 'history', not",
        ),
        ("[mode]\nbudget = 5", "mode needs name"),
        ('fallback = "auto"', "fallback: no fixed mode named 'auto'; known: agentic, instant, no_think, think, "),
        ("fallback = 1", "fallback must be a valid string, not 1"),
        ('monitors = "stuck"', "monitors is not a list of tables: write [[monitors]], or monitors = [] for none"),
        ('monitors = ["stuck"]', "monitors.1 is no table: write [[monitors]] and name = 'stuck'"),
        ("[[monitors]]", "monitors.1 needs name"),
        ('[[monitors]]\nname = "bored"', "monitors.1.name: no monitor named 'bored'; known: budget, chance, "),
        ('[[monitors]]\nname = "stuck"\nrepeat = 2', "monitors.1.repeat: no such key; did you mean 'repeats'? known: "),
        ('[[monitors]]\nname = "stuck"\nrepeats = "2"', "monitors.1.repeats must be a valid integer, not '2'"),
        ('[[monitors]]\nname = "stuck"\nrepeats = 1', "monitors.1: monitor stuck: repeats = 1 must be a whole number"),
        ('[[monitors]]\nname = "overthinking"\nlearnt = 1', "monitors.1.learnt: no such key; known: risk, signal, "),
        ('[[monitors]]\nname = "classified"', "monitors.1: classified needs file = the monitor that"),
        ("tools = 1", "tools is not a table: write [tools]"),
        ("[tools.shell]", "tools.shell: no tool named 'shell'; known: calculator, python"),
        ("[tools]\npython = 1", "tools.python is not a table: write [tools.python]"),
        ("[tools.python]\ntimeout = 5", "tools.python.timeout: no such key; did you mean 'timeout_s'? known: name, "),
        ('[tools.python]\ntimeout_s = "5"', "tools.python.timeout_s must be a valid number, not '5'"),
        ("[tools.python]\ncpu_s = 0", "tools.python: tool 'python': cpu_s = 0 must be a whole number, at least 1"),
    ],
)
def test_every_mistake_names_the_file_the_key_and_the_mend(text: str, line: str) -> None:
    with pytest.raises(BadConfig) as told:
        loaded(text)
    assert str(told.value).startswith(f"orchestrator.toml: {line}")


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        ({"mode": "thinks"}, "command line: mode: no mode named 'thinks'"),
        ({"monitors": {"1": {"name": "stuck", "repeats": 1}}}, "command line: monitors.1: monitor stuck: repeats = 1"),
        ({"monitors": {"1": {"name": "bored"}}}, "command line: monitors.1.name: no monitor named 'bored'"),
        ({"tools": {"shell": {}}}, "command line: tools.shell: no tool named 'shell'"),
        ({"tools": {"python": {}}}, "orchestrator.toml: tools.python.timeout_s must be"),
    ],
)
def test_a_mistake_in_a_flag_is_the_command_lines_and_one_in_the_file_the_files(
    flags: dict[str, Any], line: str
) -> None:
    with pytest.raises(BadConfig) as told:
        loaded('[tools.python]\ntimeout_s = "5"', flags)
    assert str(told.value).startswith(line)


def test_what_comes_from_the_environment_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "s3cret")
    with pytest.raises(BadConfig, match=r"monitors\.2\.repeats must be a valid integer, not '\$\{SECRET\}'"):
        loaded('[[monitors]]\nname = "stuck"\n[[monitors]]\nname = "stuck"\nrepeats = "${SECRET}"')


def test_a_monitor_is_made_by_name_as_a_file_would() -> None:
    assert monitor("overthinking", {"risk": 0.1}, "--policies") == Overthinking(risk=0.1)
    with pytest.raises(BadConfig, match=r"--policies: no monitor named 'bored'"):
        monitor("bored", {}, "--policies")
