"""What is written about the trained monitors of the results is what their files say, and their labels can be given."""

from __future__ import annotations

from pathlib import Path

import pytest
from watched import agent, replay

from orchestrator.cli.source import load_object
from orchestrator.learning.monitor_report import lines
from orchestrator.monitors.monitor_file import MonitorFile, parse

FOLDER = Path(__file__).parents[2] / "results/pocket-1-monitors"


def stored(name: str) -> MonitorFile:
    file = FOLDER / f"{name}.monitor.json"
    return parse(file.read_bytes(), str(file))


@pytest.mark.parametrize("name, kind", [("stuck", "stuck"), ("astray", "stuck"), ("milestone", "milestone")])
def test_the_table_has_the_held_out_figures_of_every_file(name: str, kind: str) -> None:
    made = stored(name)
    assert made.kind == kind
    [said] = [part for part in (FOLDER / "table.txt").read_text().split("\n\n") if part.startswith(f"{name}.monitor")]
    assert said.splitlines()[1:] == list(lines(made.measured))
    assert f"from a chance of {made.threshold:.3f} on; {made.data['rows']} labelled moves" in said


@pytest.mark.parametrize(
    "name, told",
    [("astray", [("stuck", 3), ("stuck", 7)]), ("progress", [("milestone", 1), ("milestone", 5)])],
)
def test_the_rules_that_labelled_them_tell_wrong_calls_and_progress(name: str, told: list[tuple[str, int]]) -> None:
    pen, moon, every = ("lookup(pen)", "3"), ("lookup(moon)", "error: no moon"), ("list()", "pen 3, cup4 7")
    events = replay(
        load_object(f"{FOLDER}/labels.py:{name}", "--rules", object), agent(pen, moon, every, pen, task="2 pen")
    )
    assert [(event.kind, event.step) for event in events] == told
