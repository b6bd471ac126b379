"""The page of a full-text search in the browser, inside Datasette's frame, and the form that leads to it."""

from __future__ import annotations

from typing import Any

from orchestrator.errors import UserError
from orchestrator.traces.searching import Found, search, snippet
from orchestrator.visible import visible

__all__ = ["FORM", "HITS", "searched"]

FORM = """
<form action="/-/search"><input type="search" name="q" size="40" placeholder='words, a "phrase", begin*'>
<input type="submit" value="Search what all runs said"></form>
"""
HITS = """
{% extends "base.html" %}
{% block title %}Search{% endblock %}
{% block content %}
<h1>Search</h1>
<form action="/-/search"><input type="search" name="q" size="40" value="{{ query }}">
<input type="submit" value="Search what all runs said"></form>
<p>{{ said }}</p>
<table class="rows-and-columns"><tbody>
{% for hit, pieces in rows %}
<tr>
<td><a href="/-/run/{{ hit.run }}{{ "" if hit.step is none else "#step-%d" % hit.step }}">{{ hit.run }}</a></td>
<td>{{ hit.what if hit.step is none else "step %d" % hit.step }}</td>
<td>{{ hit.writer or "" }}</td>
<td>{{ hit.verdict or "" }}</td>
<td>{% for piece, is_marked in pieces %}{% if is_marked %}<mark>{{ piece }}</mark>{% else %}{{ piece }}{% endif %}
{%- endfor %}</td>
</tr>
{% endfor %}
</tbody></table>
{% endblock %}
"""
"""A template of Jinja, for what `searched` returns."""

_SHOWN = 100
_ROOM = 240


def searched(path: str, query: str) -> dict[str, Any]:
    """Return what the page shows of a search of the journal at `path`. Raises StoreError."""
    found, said = Found(hits=(), total=0), ""
    if query:
        try:
            found = search(path, query, limit=_SHOWN)
            said = f"{len(found.hits):,} of {found.total:,}, newest first"
        except UserError as error:
            said = visible(str(error))
    rows = [(hit, [*snippet(hit, _ROOM)]) for hit in found.hits]
    return {"query": visible(query), "said": said, "rows": rows}
