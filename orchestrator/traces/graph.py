"""A stored run as a graph: what was kept, what was tried beside it, and where it went back.

Nodes are candidates of steps, named `step.number` in the order they were begun, between `start` and `end`. Edges are
`next` from one step that stood to the next one, `tried` to a candidate that never stood, and `back` to the step behind
which the run went on after a return.

Source: the Failed-Step Fraction (FSF), a share of the steps of the graph of a whole chain that predicts whether it is
right. Differs: here it is the share of moves that later ones gave up, found by the rules of the monitor `failed-steps`,
where the paper has a large engine draw the graph. Drafts that a router threw away are no failed steps of the chain.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from json import loads
from typing import TYPE_CHECKING, Any

from orchestrator.memory.base import StoredRun, asked_last
from orchestrator.monitors.failed_steps import failed_of
from orchestrator.monitors.window import moves_in
from orchestrator.runtime.attempts import STANDS, STOOD, Attempt, attempts
from orchestrator.traces.by_place import Record

if TYPE_CHECKING:
    from networkx import DiGraph

__all__ = ["END", "START", "graph_of", "with_pipeline"]

START, END = "start", "end"


def graph_of(stored: StoredRun, ancestors: Sequence[StoredRun] = ()) -> DiGraph:
    """Return the run as a networkx graph; `ancestors`, oldest first, are the runs it was forked from.

    Nodes have step, attempt, writer, verdict, reason, text, tokens, seconds and `given_up`, and where there is one
    score and threshold. The graph itself has run, status, answer, `failed_step_fraction` in [0, 1] (None without
    steps), and `went_back`: pairs of the steps that a return led from and to.
    """
    import networkx

    outcome = stored.outcome
    made = networkx.DiGraph(
        run=stored.run.id,
        status=stored.status,
        answer=outcome.answer if outcome else None,
        went_back=[],
    )
    made.add_node(START, text=asked_last(loads(stored.run.task)["messages"]), verdict=START)
    given_up, made.graph["failed_step_fraction"] = _failed(stored, ancestors)
    standing: list[str] = []
    numbers: dict[int, int] = {}
    for each in attempts(stored, ancestors):
        number = numbers[each.step] = numbers.get(each.step, -1) + 1
        node, before = f"{each.step}.{number}", ([START, *standing])[min(each.step, len(standing))]
        stands = each.verdict in STANDS
        made.add_node(node, **_fields(each), given_up=stands and each.step in given_up)
        has_stood = each.verdict in STOOD
        if has_stood and len(standing) > each.step:
            made.add_edge(standing[-1], before, kind="back")
            made.graph["went_back"].append((len(standing) - 1, each.step))
        if has_stood:
            standing[each.step :] = [node]
        made.add_edge(before, node, kind="next" if has_stood else "tried")
    if outcome is not None:
        made.add_node(END, text=outcome.answer or "no answer", verdict=outcome.status, reason=outcome.reason)
        made.add_edge(standing[-1] if standing else START, END, kind="next")
    return made


def with_pipeline(made: DiGraph, stored: StoredRun) -> DiGraph:
    """Return the graph of a run with the LangGraph graph of its pipeline beside it, from the engines it names.

    Its nodes are named `pipeline:NAME` and have `visits`, the candidates that the run has of that engine.
    """
    from orchestrator.runtime.graph import build_graph

    record = Record(stored)
    tools = "tools" in record.settings
    drawn = build_graph(record.writers, _nowhere, _nowhere, fused=False, acts=tools).get_graph()
    visits = Counter(writer for _, writer in made.nodes(data="writer"))
    both = made.copy()
    for name in drawn.nodes:
        visited = {"visits": visits[name]} if name in record.writers else {}
        both.add_node(f"pipeline:{name}", text=name.strip("_"), verdict="node", group="pipeline", **visited)
    for edge in drawn.edges:
        both.add_edge(f"pipeline:{edge.source}", f"pipeline:{edge.target}", kind="route")
    return both


def _nowhere(_: Any) -> Any:
    raise AssertionError("this graph is drawn, not run")


def _fields(each: Attempt) -> dict[str, Any]:
    score = next((signal.value for signal in each.signals if signal.value is not None), None)
    threshold = each.decision.threshold if each.decision else None
    known = {"score": score, "threshold": threshold}
    return {
        "step": each.step,
        "attempt": each.attempt,
        "writer": each.writer,
        "verdict": each.verdict,
        "reason": each.reason,
        "text": each.text,
        "tokens": each.output_tokens,
        "seconds": each.seconds,
        **{name: value for name, value in known.items() if value is not None},
    }


def _failed(stored: StoredRun, ancestors: Sequence[StoredRun]) -> tuple[set[int], float | None]:
    """Return the steps of the moves that were given up, and the share of such moves."""
    record = Record(stored, ancestors)
    steps = [step for row in stored.kept() if (step := record.step((row.step, row.attempt))) is not None]
    moves = moves_in(steps)
    failed = failed_of(moves)
    begins = [0, *(move.last_step + 1 for move in moves)]
    given_up = {step for place in failed for step in range(begins[place], moves[place].last_step + 1)}
    return given_up, len(failed) / len(moves) if moves else None
