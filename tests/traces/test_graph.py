"""A run as a graph, and its texts as labels that nothing can break out of."""

from __future__ import annotations

import re
from typing import Any

import networkx
import pytest
from replayable import Wanders, made, ran, with_ancestors

from orchestrator.engines.base import Request
from orchestrator.errors import UnknownName
from orchestrator.routers import SmallOnly, SpecReason
from orchestrator.runtime.portal import run_sync
from orchestrator.traces.drawn import drawn_as
from orchestrator.traces.graph import END, START, graph_of, with_pipeline

HOSTILE = '"]; evil --> n0 \\" <script>alert(1)</script> `x` #quot; \x1b[31m\x00\u202e ]]> & %% end\n---\n'


def kinds(graph: Any, kind: str) -> list[tuple[str, str]]:
    return [(before, behind) for before, behind, each in graph.edges(data="kind") if each == kind]


def test_kept_steps_are_a_chain_from_start_to_end_and_discarded_ones_hang_beside_it() -> None:
    run = ran(SpecReason(threshold=5))
    graph = graph_of(run)
    chain = networkx.shortest_path(graph.edge_subgraph(kinds(graph, "next")), START, END)
    assert [graph.nodes[each]["text"] for each in chain[1:-1]] == [row.text for row in run.kept()]
    tried = kinds(graph, "tried")
    assert len(tried) == sum(row.action == "rewrite" for row in run.decisions) > 0
    assert all(graph.nodes[each]["verdict"] == "rejected" and not graph.out_degree(each) for _, each in tried)
    assert graph.nodes[tried[0][1]]["threshold"] == 5
    assert graph.graph["went_back"] == []


def test_where_a_run_went_back_there_is_an_edge_back() -> None:
    run = next(run for seed in range(20) if (run := ran(Wanders(), seed=seed)) and _rolls(run))
    graph = graph_of(run)
    assert len(kinds(graph, "back")) == len(graph.graph["went_back"]) > 0
    since, to = graph.graph["went_back"][0]
    assert to <= since
    assert any(data.get("verdict") == "rolled back" for _, data in graph.nodes(data=True))


def _rolls(run: Any) -> bool:
    rolled = [row for row in run.decisions if row.action == "rollback"]
    return bool(rolled) and len(run.kept()) > rolled[-1].step


def test_the_failed_step_fraction_counts_moves_that_were_given_up() -> None:
    texts = iter(["We add.\n\n", "Wait, that is wrong.\n\n", "So 4.\n\n", "\\boxed{4}"])
    graph = graph_of(ran(SmallOnly(), small=lambda request: next(texts)))
    assert graph.graph["failed_step_fraction"] == 0.25
    assert [name for name, given_up in graph.nodes(data="given_up") if given_up] == ["0.0"]


def test_a_fork_begins_with_what_it_inherited() -> None:
    with made(SmallOnly(), granularity="steps") as pipeline:
        parent = pipeline.run("q").run_id
        state = run_sync(pipeline.graph.ainvoke({"run": parent, "step": 2}))
        stored, parents = with_ancestors(pipeline, state["run"])
    verdicts = [graph_of(stored, parents).nodes[f"{step}.0"]["verdict"] for step in range(len(stored.kept()))]
    assert verdicts[:3] == ["inherited", "inherited", "kept"]


def test_the_pipeline_s_own_graph_stands_beside_it() -> None:
    both = with_pipeline(graph_of(run := ran(SpecReason(threshold=5))), run)
    routes = kinds(both, "route")
    assert ("pipeline:small", "pipeline:large") in routes
    assert ("pipeline:answer", "pipeline:__end__") in routes
    drafted = sum(intent.purpose == "draft" for intent, _ in run.calls)
    assert both.nodes["pipeline:small"]["visits"] == drafted
    assert not any(one.startswith("pipeline:") != other.startswith("pipeline:") for one, other in both.edges)


def hostile() -> Any:
    def small(request: Request) -> str:
        return HOSTILE + "\n\n" if len(request.prompt.ids()) < 300 else "\\boxed{1}"

    return graph_of(ran(SmallOnly(), HOSTILE, small=small))


def test_graphml_is_read_back_with_every_text_made_harmless() -> None:
    graph = hostile()
    read = networkx.parse_graphml(drawn_as(graph, "graphml"))
    assert set(read.nodes) == set(graph.nodes)
    assert set(read.edges) == set(graph.edges)
    text = read.nodes["0.0"]["text"]
    assert "<script>alert(1)</script>" in text and "\\x1b[31m\\x00\\u202e" in text
    assert read.graph["run"] == graph.graph["run"]


def test_mermaid_has_nothing_but_nodes_and_edges_whatever_a_text_says() -> None:
    graph = hostile()
    lines = drawn_as(graph, "mermaid").split("\n")
    node = re.compile(r'  n\d+\["[^"<>`\[\]{}]*(<br/>[^"<>`\[\]{}]*)?"\](:::discarded)?')
    edge = re.compile(r"  n\d+ (-->|-\. \w+ \.->) n\d+")
    assert lines[0] == "flowchart TD" and lines[-1].startswith("  classDef")
    nodes = [line for line in lines[1:-1] if node.fullmatch(line)]
    assert len(nodes) == len(graph)
    assert all(edge.fullmatch(line) for line in lines[1 + len(nodes) : -1])


def test_dot_has_nothing_but_nodes_and_edges_whatever_a_text_says() -> None:
    graph = hostile()
    lines = drawn_as(graph, "dot").split("\n")[2:-1]
    quoted = r'"(?:[^"\\]|\\.)*"'
    node, edge = (
        rf"  {quoted} \[label={quoted}(?: style=\w+)?\];",
        rf"  {quoted} -> {quoted} \[label={quoted}(?: style=\w+)?\];",
    )
    assert len([line for line in lines if re.fullmatch(node, line)]) == len(graph)
    assert len([line for line in lines if re.fullmatch(edge, line)]) == len(graph.edges)
    assert len(lines) == len(graph) + len(graph.edges)


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(UnknownName, match="known: graphml, dot, mermaid"):
        drawn_as(hostile(), "svg")
