"""`orchestrator trace graph`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import networkx
import pytest
from click.testing import Result

Call = Callable[..., Result]


@pytest.fixture
def ran(orchestrator: Call, pipeline: str) -> None:
    """One finished run."""
    assert orchestrator("run", "What is 6*7?", "--pipeline", pipeline, "--quiet").exit_code == 0


def test_the_newest_run_is_drawn_and_what_was_given_up_goes_to_stderr(orchestrator: Call, ran: None) -> None:
    done = orchestrator("trace", "graph")
    assert done.stdout.startswith("flowchart TD\n")
    assert "1 small rejected" in done.stdout
    assert done.stderr == "failed-step fraction 0% · went back: nowhere\n"


def test_graphml_holds_the_pipeline_s_graph_if_asked(orchestrator: Call, ran: None) -> None:
    done = orchestrator("trace", "graph", "last", "--format", "graphml", "--pipeline")
    graph = networkx.parse_graphml(done.stdout)
    assert {"0.0", "1.0", "1.1", "start", "end", "pipeline:small", "pipeline:answer"} <= set(graph.nodes)
    plain = orchestrator("trace", "graph", "last", "--format", "graphml")
    assert not any(name.startswith("pipeline:") for name in networkx.parse_graphml(plain.stdout).nodes)


def test_json_is_node_link_data_without_secrets(orchestrator: Call, ran: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "Careful step 1.")
    done = orchestrator("trace", "graph", "--json")
    assert done.stdout.count("\n") == 1
    graph = networkx.node_link_graph(json.loads(done.stdout), edges="edges")
    assert graph.graph["status"] == "completed" and {"start", "0.0", "1.1", "end"} <= set(graph)
    assert graph.nodes["0.0"]["text"].startswith("Step 0: compute.") and "[redacted]" in graph.nodes["1.1"]["text"]


def test_it_goes_into_a_new_file(orchestrator: Call, ran: None, here: Path) -> None:
    for more in ([], ["--json"]):
        assert orchestrator("trace", "graph", *more, "--out", f"run{len(more)}").stdout == ""
        assert (here / f"run{len(more)}").read_text() == orchestrator("trace", "graph", *more).stdout
    done = orchestrator("trace", "graph", "--out", "run0")
    assert (done.exit_code, done.stderr) == (2, "error: run0 exists: choose another file\n")


def test_an_unknown_run_or_format_is_one_line(orchestrator: Call, ran: None) -> None:
    for arguments in (["nonsense"], ["last", "--format", "svg"]):
        done = orchestrator("trace", "graph", *arguments)
        assert done.exit_code == 2
        assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
