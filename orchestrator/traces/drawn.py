"""A graph as text that other tools draw: GraphML, DOT or Mermaid.

Whatever an engine wrote stands in labels only, on one line, its control characters spelled out and every letter that
means something to the format escaped: no text can end a label, add a node or become markup.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from orchestrator.errors import UnknownName
from orchestrator.visible import first_words, visible

if TYPE_CHECKING:
    from networkx import DiGraph

__all__ = ["FORMATS", "drawn_as"]

_LETTERS = 60
"""Of a text that are shown."""
_MERMAID = {ord(letter): f"#{ord(letter)};" for letter in '"#<>&`\\[]{}()|;%*_~$'}
_DASHED = {"tried": "dashed", "back": "dotted"}


def drawn_as(graph: DiGraph, form: str) -> str:
    """Return `graph` in one of FORMATS: whole texts in graphml, their first words in the others.

    Raises UnknownName for another format.
    """
    if form not in FORMATS:
        raise UnknownName(f"no format {form!r} of a graph; known: {', '.join(FORMATS)}")
    return FORMATS[form](graph)


def _graphml(graph: DiGraph) -> str:
    import networkx

    plain = networkx.DiGraph(**_plain(graph.graph))
    plain.add_nodes_from((name, _plain(data)) for name, data in graph.nodes(data=True))
    plain.add_edges_from((before, behind, _plain(data)) for before, behind, data in graph.edges(data=True))
    return "\n".join(networkx.generate_graphml(plain))


def _plain(data: dict[str, Any]) -> dict[str, Any]:
    """Return attributes as the format has them: no lists, nothing missing, no letter that XML does not know."""
    return {
        name: visible(" ".join(map(str, value)) if isinstance(value, list) else value)
        if isinstance(value, str | list)
        else value
        for name, value in data.items()
        if value is not None
    }


def _dot(graph: DiGraph) -> str:
    return "\n".join(["digraph run {", '  node [shape=box fontname="sans-serif"];', *_dot_lines(graph), "}"])


def _dot_lines(graph: DiGraph) -> Iterator[str]:
    for name, data in graph.nodes(data=True):
        style = "" if _stands(data) else " style=dashed"
        yield f"  {_quoted(name)} [label={_quoted(_label(name, data))}{style}];"
    for before, behind, kind in graph.edges(data="kind"):
        style = f" style={_DASHED[kind]}" if kind in _DASHED else ""
        yield f'  {_quoted(before)} -> {_quoted(behind)} [label="{"" if kind == "next" else kind}"{style}];'


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _mermaid(graph: DiGraph) -> str:
    return "\n".join(["flowchart TD", *_mermaid_lines(graph)])


def _mermaid_lines(graph: DiGraph) -> Iterator[str]:
    ids = {name: f"n{number}" for number, name in enumerate(graph)}
    for name, data in graph.nodes(data=True):
        label = "<br/>".join(line.translate(_MERMAID) for line in _label(name, data).split("\n"))
        yield f'  {ids[name]}["{label}"]{"" if _stands(data) else ":::discarded"}'
    for before, behind, kind in graph.edges(data="kind"):
        arrow = "-->" if kind in ("next", "route") else f"-. {kind} .->"
        yield f"  {ids[before]} {arrow} {ids[behind]}"
    yield "  classDef discarded stroke-dasharray: 4 4"


def _label(name: str, data: dict[str, Any]) -> str:
    """Return what a node says, on two lines."""
    if data.get("group") == "pipeline":
        visits = f"\n{data['visits']} visits" if "visits" in data else ""
        return first_words(data["text"], _LETTERS) + visits
    head = " ".join(str(data[key]) for key in ("step", "writer", "verdict") if data.get(key) is not None) or name
    head += " (given up)" if data.get("given_up") else ""
    return f"{first_words(head, _LETTERS)}\n{first_words(data.get('text', ''), _LETTERS)}"


def _stands(data: dict[str, Any]) -> bool:
    return data.get("verdict") not in ("rejected", "not taken", "rolled back", "failed", "unfinished", "dropped")


FORMATS: dict[str, Callable[[Any], str]] = {"graphml": _graphml, "dot": _dot, "mermaid": _mermaid}
"""By name, what writes it."""
