"""The journal in the browser: what is shown, who is answered, and that nothing is ever written."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from time import sleep
from typing import Any

import pytest

import orchestrator as orc
from orchestrator.engines.scripted import Scripted
from orchestrator.errors import StoreError, UserError
from orchestrator.memory.views import VIEWS, open_views
from orchestrator.runtime.heading import fields
from orchestrator.traces.graph import START, graph_of
from orchestrator.traces.record import recorded
from orchestrator.traces.serving import application

datasette = pytest.importorskip("datasette", reason="the extra `serve` is not installed")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def pipeline(path: Path) -> Iterator[orc.Pipeline]:
    def small(request: Any) -> str:
        done = bytes(request.prompt.ids()).count(b"\n\n")
        return ("<b>Step</b> \udc80\n\n", "Answer: 1")[min(done, 1)]

    large = Scripted(lambda request: "9" if request.purpose == "judge" else "unused")
    with orc.Pipeline({"small": Scripted(small), "large": large}, db=path) as made:
        yield made


async def get(answer: Any, address: str, host: str = "127.0.0.1:8010", method: str = "GET") -> tuple[int, str]:
    """Ask the application and return its status and what it says."""
    said: list[Any] = []
    target, _, query = address.partition("?")
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": target,
        "raw_path": target.encode(),
        "query_string": query.encode(),
        "headers": [(b"host", host.encode())],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8010),
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        said.append(message)

    await answer(scope, receive, send)
    if said[0]["status"] != 421:
        assert {(b"x-content-type-options", b"nosniff"), (b"content-security-policy", b"frame-ancestors 'none'")} <= {
            *said[0]["headers"]
        }
    return said[0]["status"], b"".join(each.get("body", b"") for each in said).decode()


async def test_runs_and_candidates_are_rows_with_links_and_their_texts_are_harmless(
    pipeline: orc.Pipeline, path: Path
) -> None:
    run_id = (await pipeline.arun("What?")).run_id
    answer = application(path)
    status, runs = await get(answer, "/traces/all_runs")
    assert status == 200 and f'href="/-/run/{run_id}"' in runs
    status, found = await get(answer, "/traces/candidates?text__contains=Step")
    assert status == 200 and "1 row" in found and f'href="/-/run/{run_id}#step-0"' in found
    assert "&lt;b&gt;Step&lt;/b&gt; \\udc80" in found and "<b>Step" not in found
    status, none = await get(answer, "/traces/candidates?text__contains=absent")
    assert status == 200 and "0 rows" in none
    status, page = await get(answer, f"/-/run/{run_id}")
    assert status == 200 and run_id in page and "Content-Security-Policy" in page
    assert (await get(answer, f"/-/run/{run_id}/{run_id}"))[0] == 200


async def test_the_page_of_a_run_has_no_secrets(pipeline: orc.Pipeline, path: Path) -> None:
    run_id = (await pipeline.arun("Is sk-proj-4f9aK2mQ8xLw7Zt1Vb a key?")).run_id
    status, page = await get(application(path), f"/-/run/{run_id}")
    assert status == 200 and "Is [redacted] a key?" in page and "sk-proj" not in page


@pytest.mark.parametrize("view", VIEWS)
async def test_every_view_can_be_read_and_sees_what_is_written_meanwhile(
    view: str, pipeline: orc.Pipeline, path: Path
) -> None:
    await pipeline.arun("What?")
    answer = application(path)
    before = json.loads((await get(answer, f"/traces/{view}.json?_shape=array&_nofacet=1"))[1])
    await pipeline.arun("And?")
    status, after = await get(answer, f"/traces/{view}.json?_shape=array&_nofacet=1")
    rows = json.loads(after)
    assert status == 200 and len(rows) >= len(before)
    if view != "all_events":
        assert len(rows) == 2 * len(before) > 0
        assert rows[0]["run"] > before[0]["run"]  # the newest comes first


async def test_a_run_in_the_list_says_what_the_journal_says(pipeline: orc.Pipeline, path: Path) -> None:
    result = await pipeline.arun("What?")
    ((row),) = json.loads((await get(application(path), "/traces/all_runs.json?_shape=array"))[1])
    (summary,) = pipeline.journal.runs()
    assert (row["run"], row["status"], row["steps"]) == (summary.id, summary.status, summary.steps)
    assert (row["answer"], row["asked"]) == (summary.answer, summary.question)
    assert row["output_tokens"] == result.ledger.total().output_tokens


@pytest.mark.parametrize(
    ("roles", "asked"), [(("system", "user", "assistant", "user", "assistant"), 3), (("system", "assistant"), 1)]
)
async def test_what_was_asked_is_the_same_wherever_a_run_is_shown(
    roles: tuple[str, ...], asked: int, pipeline: orc.Pipeline, path: Path
) -> None:
    messages = tuple(orc.Message(role, f"text {place}") for place, role in enumerate(roles))  # type: ignore[arg-type]
    stored = pipeline.journal.run((await pipeline.arun(orc.Task(messages=messages))).run_id)
    ((row),) = json.loads((await get(application(path), "/traces/all_runs.json?_shape=array"))[1])
    (summary,) = pipeline.journal.runs()
    (headed,) = (text for name, text in fields(stored) if name == "asked")
    shown = (row["asked"], summary.question, graph_of(stored).nodes[START]["text"], recorded(stored, ()).question)
    assert {*shown, headed} == {f"text {asked}"}


async def test_all_runs_are_searched_from_a_form_on_every_table(pipeline: orc.Pipeline, path: Path) -> None:
    run_id = (await pipeline.arun("What?")).run_id
    answer = application(path)
    for page in ("/traces", "/traces/all_runs"):
        assert 'action="/-/search"' in (await get(answer, page))[1]
    status, page = await get(answer, "/-/search?q=STEP")
    assert status == 200 and "1 of 1, newest first" in page and f'href="/-/run/{run_id}#step-0"' in page
    assert "&lt;b&gt;<mark>Step</mark>&lt;/b&gt; \\udc80" in page and "<b>Step" not in page
    for query, said in (("absent", "0 of 0"), ("%3Cscript%3E+absent", "0 of 0"), ("%2B", "nothing to search for")):
        status, page = await get(answer, f"/-/search?q={query}")
        assert status == 200 and said in page and "<script>+absent" not in page and "<script> absent" not in page
    assert (await get(answer, "/-/search"))[0] == 200
    assert (await get(answer, "/-/search?q=step", "evil.example"))[0] == 421


async def test_nobody_is_answered_who_came_by_another_name(pipeline: orc.Pipeline, path: Path) -> None:
    await pipeline.arun("What?")
    answer = application(path)
    for host in ("127.0.0.1:8010", "localhost:8010", "127.0.0.1"):
        assert (await get(answer, "/traces", host))[0] == 200
    for host in ("evil.example:8010", "evil.example", "", "127.0.0.1.evil.example:80", "localhost:80@evil"):
        assert (await get(answer, "/traces", host))[0] == 421


async def test_the_journal_cannot_be_written_from_there(pipeline: orc.Pipeline, path: Path) -> None:
    await pipeline.arun("What?")
    answer = application(path)
    for words in ("delete from runs", "create table x (y)", "pragma query_only = off", "attach ':memory:' as x"):
        assert (await get(answer, f"/traces?sql={words.replace(' ', '+')}"))[0] == 400
    assert (await get(answer, "/traces/texts"))[0] == 404
    connection = open_views(str(path))
    try:
        with pytest.raises(Exception, match="readonly"):
            connection.execute("DELETE FROM runs")
    finally:
        connection.close()
    assert pipeline.journal.counts()["runs"] == 1


async def test_an_unknown_run_is_not_found_and_the_nearest_are_named(pipeline: orc.Pipeline, path: Path) -> None:
    run_id = (await pipeline.arun("What?")).run_id
    assert await get(application(path), "/-/run/zzz") == (404, f"no run 'zzz' in {path}; the nearest are {run_id}")


def test_what_is_missing_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StoreError, match="run something first"):
        application(tmp_path / "none.db")
    monkeypatch.setitem(sys.modules, "datasette.app", None)
    with pytest.raises(UserError, match=r"pip install 'reasoning-orchestrator\[serve\]'"):
        application(tmp_path / "none.db")


async def test_a_page_does_not_wait_for_the_number_of_very_many_rows(
    pipeline: orc.Pipeline, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = (await pipeline.arun("What?")).run_id
    assert "1 row" in (await get(application(path), "/traces/all_runs"))[1]
    monkeypatch.setattr("orchestrator.memory.views._said", lambda text: sleep(0.05) or text)
    monkeypatch.setattr("orchestrator.traces.serving._COUNT_MS", 1)
    status, page = await get(application(path), "/traces/all_runs?_nofacet=1")
    assert status == 200 and run_id in page and "1 row" not in page
