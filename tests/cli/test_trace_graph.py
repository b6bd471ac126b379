"""`orchestrator trace graph`."""

from __future__ import annotations

from collections.abc import Callable

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


def test_an_unknown_run_or_format_is_one_line(orchestrator: Call, ran: None) -> None:
    for arguments in (["nonsense"], ["last", "--format", "svg"]):
        done = orchestrator("trace", "graph", *arguments)
        assert done.exit_code == 2
        assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
