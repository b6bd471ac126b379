"""The journal in a browser of this machine: its runs, candidates, decisions and calls, with search, filters and facets.

Datasette shows the tables. What is ours are the journal's views, a link from each row to the page of its run, and a
guard: a page from elsewhere that lets its own name point at this machine gets no answer, none may frame what is shown,
and no browser takes an engine's text for another kind of file than it is sent as. Its full-text search is ours as well,
since views have no index of words.
"""

from __future__ import annotations

import re
from asyncio import to_thread
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from orchestrator.errors import OrchestratorError, StoreError, UserError
from orchestrator.memory.journal import Journal
from orchestrator.memory.store import Store
from orchestrator.memory.views import VIEWS, open_views
from orchestrator.traces.html_page import html
from orchestrator.traces.serving_search import FORM, HITS, searched

__all__ = ["DATABASE", "application"]

DATABASE = "traces"
"""What the journal is called in addresses."""

Application = Callable[[Any, Any, Any], Awaitable[None]]

_OURS = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d+)?")
_HEADERS = [(b"x-content-type-options", b"nosniff"), (b"content-security-policy", b"frame-ancestors 'none'")]
_PLUGIN = "orchestrator"
_COUNT_MS = 500
"""How long a page waits for how many rows there are; behind that it does without."""
_SETTINGS = {
    "allow_download": False,
    "default_page_size": 50,
    "facet_time_limit_ms": 1000,
    "sql_time_limit_ms": 5000,
    "suggest_facets": False,
    "truncate_cells_html": 400,
}
_ABOUT: dict[str, tuple[str, list[str]]] = {
    "all_runs": ("One row a run, newest first; `run` leads to its page.", ["status", "policy"]),
    "candidates": ("Every text an engine wrote for a step, what was turned away included.", ["writer", "action"]),
    "all_decisions": ("What was chosen, by whom, and why.", ["door", "action", "policy"]),
    "all_events": ("What monitors noticed, and what else happened.", ["kind"]),
    "all_calls": ("Every call of an engine, with its tokens and times.", ["engine", "purpose", "status"]),
}


def application(path: str | Path) -> Application:
    """Return the ASGI application that shows the journal at `path`; it only reads.

    Raises UserError where Datasette is not installed, and StoreError where the journal cannot be read.
    """
    try:
        from datasette.app import Datasette
        from datasette.plugins import pm
    except ImportError as error:
        raise UserError(f"trace serve needs Datasette ({error}): pip install 'reasoning-orchestrator[serve]'") from None
    open_views(str(path)).close()
    pm.get_plugin(
        "datasette.handle_exception"
    ).rich = None  # else it draws the variables of every frame where a page is not found
    if not pm.has_plugin(_PLUGIN):
        pm.register(_plugin(), name=_PLUGIN)
    tables = {name: {"description_html": f"{said}{FORM}", "facets": facets} for name, (said, facets) in _ABOUT.items()}
    about = {"title": "Traces", "databases": {DATABASE: {"description_html": FORM, "tables": tables}}}
    datasette = Datasette([], settings=_SETTINGS, metadata=about)
    datasette.add_database(_database(datasette, str(path)), name=DATABASE)
    return _guarded(datasette.app())


def _database(datasette: Any, path: str) -> Any:
    """Return the journal as Datasette's database: opened as we open it, and made of its views alone."""
    from datasette.database import Database

    class Traces(Database):  # type: ignore[misc]
        def connect(self, write: bool = False) -> Any:
            assert not write, "the journal is only read here"
            connection = open_views(path)
            self._all_file_connections.append(connection)
            return connection

        async def execute(self, sql: str, *given: Any, **options: Any) -> Any:
            if sql.startswith("select count(*) from "):  # of all rows of a page's table, which can be millions
                options.setdefault("custom_time_limit", _COUNT_MS)
            return await super().execute(sql, *given, **options)

        async def table_names(self) -> list[str]:
            return []

        async def table_exists(self, table: str) -> bool:
            return False

        async def view_names(self) -> list[str]:
            return list(VIEWS)

        async def get_view_definition(self, view: str) -> str | None:
            return VIEWS.get(view)

    return Traces(datasette, path=path, is_mutable=True)


def _plugin() -> Any:
    from datasette import hookimpl
    from datasette.utils.asgi import Response
    from markupsafe import Markup

    async def page(request: Any, datasette: Any) -> Any:
        """Answer with the page of a run, or of two, as it is now."""
        try:
            path = datasette.get_database(DATABASE).path
            return Response.html(await to_thread(_page, path, **request.url_vars))
        except OrchestratorError as error:
            return Response.text(str(error), status=404 if isinstance(error, UserError) else 503)

    async def hits(request: Any, datasette: Any) -> Any:
        """Answer with what holds the words that are asked for."""
        try:
            path, query = datasette.get_database(DATABASE).path, request.args.get("q") or ""
            told = await to_thread(searched, path, query)
        except StoreError as error:
            return Response.text(str(error), status=503)
        template = datasette.jinja_env.from_string(HITS)
        return Response.html(await datasette.render_template(template, told, request=request))

    class Plugin:
        @staticmethod
        @hookimpl  # type: ignore[untyped-decorator]
        def render_cell(row: Any, value: Any, column: str, database: str) -> Any:
            """Make a run's id a link to its page, in a row about a step to that step."""
            if database != DATABASE or column not in ("run", "parent") or not value:
                return None
            step = f"#step-{row['step']}" if "step" in row.keys() else ""  # noqa: SIM118 - a row is no mapping
            return Markup('<a href="/-/run/{}{}">{}</a>').format(value, step, value)

        @staticmethod
        @hookimpl  # type: ignore[untyped-decorator]
        def register_routes() -> list[tuple[str, Any]]:
            return [(r"^/-/search$", hits), (r"^/-/run/(?P<name>[0-9a-z]+)(?:/(?P<other>[0-9a-z]+))?$", page)]

    return Plugin


def _page(path: str, name: str, other: str | None) -> str:
    with Store(path, readonly=True) as store:
        return html(Journal(store), name, other)


def _guarded(answer: Application) -> Application:
    async def guarded(scope: Any, receive: Any, send: Any) -> None:
        host = dict(scope.get("headers", ())).get(b"host", b"").decode("latin-1")
        if scope["type"] != "lifespan" and not _OURS.fullmatch(host):
            await send({"type": "http.response.start", "status": 421, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": b"this answers at 127.0.0.1 only"})
            return
        await answer(scope, receive, lambda message: send(_headed(message)))

    return guarded


def _headed(message: Any) -> Any:
    if message["type"] != "http.response.start":
        return message
    return {**message, "headers": [*message.get("headers", ()), *_HEADERS]}
