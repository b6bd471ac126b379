"""The page of a run says what the terminal says, and no text of a run can become part of it."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from math import inf
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import orchestrator as orc
from orchestrator.behaviors import Add
from orchestrator.engines.retry import RetryPolicy
from orchestrator.engines.scripted import Scripted
from orchestrator.errors import EngineUnavailable, UnknownName
from orchestrator.memory.handbook import Handbook
from orchestrator.memory.store import Store
from orchestrator.monitors.stuck import Stuck
from orchestrator.runtime.attempts import attempts
from orchestrator.runtime.fork import fork
from orchestrator.runtime.timeline import timeline
from orchestrator.tools import tool
from orchestrator.traces.html_page import drawn, html
from orchestrator.traces.parting import parting
from orchestrator.traces.shown import shown

HOSTILE = (
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "<img src=http://192.0.2.1/x onerror=alert(2)>",
    "]]>\u2028\u2029\x00\x1b[2J\u202eevil\u2066",
    "\udc80 half a letter",
    "@@DATA@@ @@SCRIPT@@ @@STYLE@@",
    "javascript:alert(3)",
    "&lt;/script&gt; &amp;",
)


def pipeline(small: Any = (), large: Any = (), **options: Any) -> orc.Pipeline:
    engines = {"small": Scripted(small), "large": Scripted(large)}
    return orc.Pipeline(engines, **{"db": ":memory:", **options})


@pytest.fixture
def routed() -> Iterator[orc.Pipeline]:
    """Three steps, of which the large engine rewrites the second."""

    def small(request: Any) -> str:
        done = bytes(request.prompt.ids()).count(b"\n\n")
        return f"Step {done}.\n\n" if done < 2 else r"So \boxed{42}."

    def large(request: Any) -> str:
        if request.purpose == "judge":
            return "2" if b"Step 1." in bytes(request.prompt.ids()) else "9"
        return "Careful 1.\n\n"

    with pipeline(small, large) as made:
        yield made


def told(page: str) -> dict[str, Any]:
    """Return the data inside a page, found as a browser finds it: up to the first end tag."""
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    read: dict[str, Any] = json.loads(data, parse_constant=lambda name: pytest.fail(name))
    return read


def test_the_page_says_of_every_candidate_what_the_terminal_says(routed: orc.Pipeline) -> None:
    run = routed.journal.run(routed.run("What?").run_id)
    (page,) = told(html(routed.journal, run.run.id))["runs"]
    candidates = [each for each in page["items"] if "remark" not in each]
    assert [(each["step"], each["writer"], each["verdict"], each["reason"]) for each in candidates] == [
        (each.step, each.writer, each.verdict, each.reason) for each in attempts(run)
    ]
    turned_away = candidates[1]
    assert (turned_away["score"], turned_away["threshold"], turned_away["margin"]) == ("2.0", 7.0, -5.0)
    line = next(each for each in timeline(run).plain.splitlines() if "rejected" in each)
    assert line.split()[4:7] == ["2.0", "7.0", "-5.0"]
    assert [(call["purpose"], call["engine"]) for call in turned_away["calls"]] == [
        ("draft", "small"),
        ("judge", "large"),
    ]
    assert all(len(call["prompt"]) == 12 for call in turned_away["calls"])
    assert "others" not in page  # every call is about some candidate
    assert sum(row["calls"] for row in page["ledger"]) == sum(len(each["calls"]) for each in candidates)


def test_every_field_above_the_terminals_steps_is_on_the_page(routed: orc.Pipeline) -> None:
    run = routed.journal.run(routed.run("What?").run_id)
    fields = dict(shown(run)["fields"])
    assert (fields["asked"], fields["answer"], fields["ended"]) == ("What?", "42", "the engine ended its text")
    for name in filter(None, fields):
        assert f"\n{name} " in timeline(run).plain


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_breaks_out_of_the_page(text: str) -> None:
    with pipeline([f"{text}\n\n", "Answer: 1"], router="small") as made:
        page = html(made.journal, made.run(text.encode("utf-8", "replace").decode()).run_id)
    assert page.count("</script") == 2 and page.count("<script") == 2
    assert "<!--" not in page and page.partition('id="data">')[2].partition("</script>")[0].isascii()
    said = told(page)["runs"][0]["items"][0]["text"]
    assert "\u202e" not in said and "\x1b" not in said and "\udc80" not in said


@settings(max_examples=100)
@given(st.text(st.characters(), max_size=60))
def test_whatever_an_engine_writes_the_data_has_no_markup(text: str) -> None:
    page = drawn({"runs": [{"id": text, text: [text]}]})
    data = page.partition('id="data">')[2].partition("</script>")[0]
    assert data.isascii() and not set("<>&") & set(data)
    assert told(page)["runs"] == [{"id": text, text: [text]}]


def test_the_pages_policy_names_its_own_script_and_style_and_allows_nothing_else(routed: orc.Pipeline) -> None:
    page = html(routed.journal, routed.run("What?").run_id)
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    style, script = re.findall(r"<style>(.*?)</style>|<script>(.*?)</script>", page, re.DOTALL)

    def digest(text: str) -> str:
        return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"

    assert f"script-src {digest(script[1])};" in policy
    assert f"style-src {digest(style[0])};" in policy
    assert policy.startswith("default-src 'none';") and "unsafe" not in policy and "http" not in policy
    script_text = script[1]
    for door in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "fetch(", "import("):
        assert door not in script_text


def test_a_run_that_has_not_ended_is_marked_and_shows_what_there_is(tmp_path: Path) -> None:
    with pipeline(["One.\n\n", "Answer: 1"], router="small", db=tmp_path / "j.db") as made:
        run = made.journal.run(made.run("q").run_id)
    half = run._replace(outcome=None, steps=run.steps[:1], calls=[run.calls[0], run.calls[1]._replace(result=None)])
    page = shown(half)
    assert (page["status"], page["steps"]) == ("unfinished", 1)
    assert "answer" not in page and "seconds" not in page
    assert [each["verdict"] for each in page["items"]] == ["kept", "unfinished"]
    assert page["items"][1]["calls"][0]["status"] == "in flight"
    assert sum(row["calls"] for row in page["ledger"]) == 1
    nothing = shown(half._replace(calls=[], steps=[], decisions=[], signals=[]))
    assert "items" not in nothing and nothing["status"] == "unfinished"


def test_a_score_about_an_engine_that_took_over_is_with_the_draft_that_it_is_about() -> None:
    broken = EngineUnavailable("engine 'small': gone", engine="small")
    with pipeline([broken], ["Answer: 3"], router="small", retries=RetryPolicy(1)) as made:
        items = shown(made.journal.run(made.run("q").run_id))["items"]
    assert [(each["writer"], each["verdict"], len(each["calls"])) for each in items] == [
        ("small", "failed", 1),
        ("large", "kept", 1),
    ]
    assert items[0]["calls"][0]["error"] == "engine 'small': gone"


def test_numbers_that_json_does_not_know_are_words(routed: orc.Pipeline) -> None:
    run = routed.journal.run(routed.run("What?").run_id)
    odd = run._replace(decisions=[row._replace(threshold=inf, margin=-inf) for row in run.decisions])
    first = next(each for each in shown(odd)["items"] if "threshold" in each)
    assert (first["threshold"], first["margin"]) == ("inf", "-inf")


def test_two_runs_part_where_they_first_tried_something_else(routed: orc.Pipeline) -> None:
    first, again = (routed.journal.run(routed.run("What?").run_id) for _ in range(2))
    assert parting(first, again) is None
    with pipeline(lambda request: "Step 0.\n\n", router="small", budget=orc.Budget(steps=2)) as other:
        third = other.journal.run(other.run("What?").run_id)
        parted = parting(first, third)
        assert parted is not None
        assert (parted.step, parted.what, parted.why) == (
            1,
            "decision",
            "rewrite large is decided in the first, keep in the second",
        )
    shorter = first._replace(steps=first.steps[:2], calls=[call for call in first.calls if call.intent.step < 2])
    assert (cut := parting(shorter, first)) and (cut.step, cut.why) == (2, "only the second run goes on")
    page = told(html(routed.journal, first.run.id, again.run.id))
    assert [run["id"] for run in page["runs"]] == [first.run.id, again.run.id] and page["parting"] is None


def test_a_run_that_does_not_exist_is_refused_with_the_nearest_ones(routed: orc.Pipeline) -> None:
    run_id = routed.run("What?").run_id
    with pytest.raises(UnknownName, match=run_id):
        html(routed.journal, "zzz")


def test_what_is_noticed_and_decided_aside_is_told_where_it_happened_and_in_a_list() -> None:
    """An agent that calls a tool, under a monitor that notices and a mode."""

    @tool(idempotent=True)
    def look(what: str) -> str:
        """Look at something."""
        return f"a {what}"

    small = ["<tool>look(pen)</tool>", "<tool>look(pen)</tool>", "<tool>look(pen)</tool>", r"\boxed{2}"]
    options: dict[str, Any] = {"mode": "agentic", "monitors": [Stuck(repeats=2)], "tools": [look]}
    with pipeline(small, ["Other.\n\n", r"\boxed{2}"], router="cascade", **options) as made:
        page = shown(made.journal.run(made.run("Which?").run_id))
    remarks = [each["remark"] for each in page["items"] if "remark" in each]
    assert remarks[:2] == ["mode agentic", "stuck"]
    assert [each["kind"] for each in page["noticed"]][:2] == ["mode", "stuck"]
    observed = next(each for each in page["items"] if each.get("verdict") == "observed")
    assert (observed["writer"], observed["text"], observed["tokens"]) == ("look", "a pen", 0)


def test_a_fork_shows_the_steps_it_began_with_and_the_calls_of_the_run_that_wrote_them(routed: orc.Pipeline) -> None:
    parent = routed.journal.run(routed.run("What?").run_id)
    child = fork(routed.journal, parent, 2, settings=parent.run.settings, engines=parent.run.engines)
    (page,) = told(html(routed.journal, child))["runs"]
    assert [(each["verdict"], each["writer"], each["origin"]) for each in page["items"]] == [
        ("inherited", "small", parent.run.id),
        ("inherited", "large", parent.run.id),
    ]
    assert [call["purpose"] for call in page["items"][1]["calls"]] == ["rewrite"]
    assert page["status"] == "unfinished" and ["fork of", parent.run.id] in page["fields"]
    both = told(html(routed.journal, parent.run.id, child))
    assert both["parting"] == [2, "only the first run goes on"]


def test_what_a_handbook_showed_and_what_was_cited_is_told(tmp_path: Path) -> None:
    with Store(tmp_path / "handbook.db") as store:
        book = Handbook(store)
        book.apply([Add("behavior_sum", "Add the numbers from left to right.")])
        with pipeline([r"By behavior_sum, \boxed{3}."], router="small", handbook=book) as made:
            page = shown(made.journal.run(made.run("Add the numbers 1 and 2.").run_id))
    fields = dict(page["fields"])
    assert page["handbook"] == [["behavior_sum", "Add the numbers from left to right."]]
    assert fields["shown"].startswith("behavior_sum, by ")
    assert fields["cited"] == "behavior_sum"


def test_cached_tokens_are_left_out_where_the_server_reports_none(routed: orc.Pipeline) -> None:
    rows = shown(routed.journal.run(routed.run("What?").run_id))["ledger"]
    assert rows and all("cached_tokens" not in row for row in rows)
