"""The page in a real browser: it runs and fetches nothing that a run holds, is quick, and keys do what a mouse does."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from chromium import Chromium, chromium

import orchestrator as orc
from orchestrator.engines.scripted import Scripted
from orchestrator.memory.base import CallRow, StoredRun
from orchestrator.traces.html_page import drawn, html
from orchestrator.traces.shown import shown

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium() is None, reason="no Chromium on this machine, and none could be installed"),
]

HOSTILE = (
    "</script><script>alert(1)</script>\n\n",
    "<!--<script>\n\n",
    "<img src=http://192.0.2.1/x onerror=alert(2)><iframe src=javascript:alert(3)></iframe>\n\n",
    "]]>\u2028\u2029\x00\x1b[2J\u202eevil\n\n",
    "<style>@import url(http://192.0.2.1/y)</style><base href=http://192.0.2.1/><form action=http://192.0.2.1>\n\n",
    "@@DATA@@ {{constructor.constructor('alert(4)')()}} ${alert(5)} __proto__\n\n",
    "Answer: <b>1</b>",
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with Chromium(chromium() or "", tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Run questions on scripted engines and write a page of them; returns its address."""
    made: list[orc.Pipeline] = []

    def written(*scripts: Any, question: str = "What?", **options: Any) -> str:
        ids = []
        for small, large in scripts:
            engines = {"small": Scripted(small), "large": Scripted(large)}
            made.append(orc.Pipeline(engines, db=tmp_path / "journal.db", **options))
            ids.append(made[-1].run(question).run_id)
        path = tmp_path / "page.html"
        path.write_text(html(made[-1].journal, *ids), encoding="utf-8")
        return path.as_uri()

    yield written
    for each in made:
        each.close()


def careful(request: Any) -> str:
    if request.purpose == "judge":
        return "2" if b"Step 1." in bytes(request.prompt.ids()) else "9"
    return "Careful 1.\n\n"


def hasty(request: Any) -> str:
    done = bytes(request.prompt.ids()).count(b"\n\n")
    return f"Step {done}.\n\n" if done < 2 else r"So \boxed{42}."


def test_nothing_that_an_engine_writes_is_run_or_fetched(browser: Chromium, page: Callable[..., str]) -> None:
    address = page((list(HOSTILE), []), router="small", question="<script>alert(6)</script><!--")
    browser.open(address)
    browser.read("document.querySelector('.tools button').click()")
    browser.read("new Promise(done => setTimeout(done, 300))")
    assert browser.read("document.querySelectorAll('.why').length") == len(HOSTILE)
    assert (browser.trouble, browser.requests) == ([], [address])
    assert browser.read("document.querySelectorAll('img, iframe, form, base, b:not(.remark b)').length") == 0
    assert browser.read("document.scripts.length") == 2
    texts = browser.read("[...document.querySelectorAll('.step > .text')].map(each => each.textContent)")
    assert [each.strip() for each in texts[:3]] == [each.strip() for each in HOSTILE[:3]]
    assert "\\u202eevil" in texts[3] and "\\x1b[2J" in texts[3]
    assert browser.read("document.querySelector('.asked').textContent") == "<script>alert(6)</script><!--"


def test_the_policy_refuses_a_script_that_got_in_and_the_network(browser: Chromium, page: Callable[..., str]) -> None:
    """Even if a text became markup some day, the browser would not run it."""
    browser.open(page((hasty, careful)))
    browser.read(
        "(() => { document.body.insertAdjacentHTML('beforeend', '<img src=http://192.0.2.1/x onerror=alert(1)>');"
        "const script = document.createElement('script'); script.textContent = 'window.got = 1';"
        "document.body.append(script) })()"
    )
    browser.read("new Promise(done => setTimeout(done, 200))")
    assert browser.read("window.got === undefined")
    assert not any("Dialog" in each for each in browser.trouble)
    assert any("Content Security Policy" in each for each in browser.trouble)


def test_a_step_is_opened_by_keys_and_says_why(browser: Chromium, page: Callable[..., str]) -> None:
    browser.open(page((hasty, careful)))
    browser.press("j")
    browser.press("j")
    browser.press("Enter", text="\r")
    browser.read("new Promise(done => setTimeout(done, 200))")
    said = browser.read("document.querySelector('.why:not([hidden])').innerText")
    for words in ("rewrite large", "rated too low", "-5.0 (reading 2.0)", "keep", "digit 0-9", "Careful 1.", "judge"):
        assert words in said, words
    assert browser.read("document.activeElement.tagName") == "SUMMARY"
    browser.press("/")
    assert browser.read("document.activeElement.type") == "search"
    browser.press("C")
    browser.press("a")
    browser.press("r")
    assert browser.read("[...document.querySelectorAll('.step')].filter(each => !each.hidden).length") == 1
    assert browser.trouble == []


def test_a_link_to_a_step_opens_it(browser: Chromium, page: Callable[..., str]) -> None:
    browser.open(page((hasty, careful)) + "#step-1.1")
    assert browser.read("document.querySelector('details[open]').parentNode.id") == "step-1.1"
    assert browser.read("document.activeElement.textContent").startswith("1large")


def test_two_runs_stand_side_by_side_and_where_they_part_is_marked(browser: Chromium, page: Callable[..., str]) -> None:
    browser.open(page((hasty, careful), (hasty, lambda request: "9")))
    assert browser.read("document.querySelectorAll('li.parting').length") == 1
    assert browser.read("document.querySelector('.parted').textContent") == (
        "the runs part at step 1: rewrite large is decided in the first, keep in the second"
    )
    sides = browser.read(
        "[...document.querySelectorAll('li.parting > div')].map(each => each.querySelectorAll('.step').length)"
    )
    assert sides == [2, 1]
    left, right = browser.read(
        "[...document.querySelectorAll('li.parting > div')].map(e => e.getBoundingClientRect().x)"
    )
    assert left < right
    assert browser.trouble == []


def test_a_run_that_has_not_ended_is_marked_and_one_without_a_step_is_drawn(browser: Chromium, tmp_path: Path) -> None:
    with orc.Pipeline({"small": Scripted(hasty), "large": Scripted(careful)}, db=":memory:") as pipeline:
        run = pipeline.journal.run(pipeline.run("What?").run_id)
    page = tmp_path / "page.html"
    for half, steps in ((run._replace(outcome=None), 4), (run._replace(outcome=None, calls=[], steps=[]), 0)):
        page.write_text(drawn({"runs": [shown(half)]}), encoding="utf-8")
        browser.open(page.as_uri())
        assert "has not ended" in browser.read("document.querySelector('.warning').innerText")
        assert browser.read("document.querySelector('.status').innerText") == "unfinished"
        assert browser.read("document.querySelectorAll('.step').length") == steps
        assert browser.trouble == []


def test_it_is_dark_where_the_reader_wants_it_dark_and_prints_without_its_tools(
    browser: Chromium, page: Callable[..., str]
) -> None:
    browser.open(page((hasty, careful)))
    paper = "getComputedStyle(document.body).backgroundColor"
    assert browser.read(paper) == "rgb(251, 250, 247)"
    browser.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    assert browser.read(paper) == "rgb(21, 23, 26)"
    browser.ask("Emulation.setEmulatedMedia", media="print", features=[])
    assert browser.read(paper) == "rgb(255, 255, 255)"
    assert browser.read("getComputedStyle(document.querySelector('.tools')).display") == "none"
    browser.ask("Emulation.setEmulatedMedia", media="", features=[])


@pytest.mark.parametrize("runs", [1, 2])
def test_a_telephone_shows_it_without_scrolling_sideways_and_nothing_over_anything(
    browser: Chromium, page: Callable[..., str], runs: int
) -> None:
    browser.ask("Emulation.setDeviceMetricsOverride", width=400, height=800, deviceScaleFactor=1, mobile=True)
    browser.open(page(*[(hasty, careful)] * runs))
    browser.read("document.querySelector('.tools button').click()")
    assert browser.read("document.documentElement.scrollWidth") == 400
    over = browser.read(
        """[...document.querySelectorAll('summary')].flatMap(head => {
            const boxes = [...head.children].map(each => each.getBoundingClientRect()).filter(each => each.width);
            return boxes.filter((a, n) => boxes.slice(n + 1).some(b =>
                a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1));
        }).length"""
    )
    assert over == 0
    browser.ask("Emulation.clearDeviceMetricsOverride")


def longer(run: StoredRun, times: int) -> StoredRun:
    """Return a run as if it had gone on like that: its steps come again and again."""
    steps, calls = len(run.kept()), len(run.calls)

    def again(rows: Any, by: int) -> list[Any]:
        return [row._replace(step=row.step + by * steps) for row in rows]

    def call(row: CallRow, by: int) -> CallRow:
        seq = row.intent.seq + by * calls
        intent = row.intent._replace(seq=seq, step=row.intent.step + by * steps)
        return CallRow(intent, row.result and row.result._replace(seq=seq))

    every = range(times)
    return run._replace(
        calls=[call(row, by) for by in every for row in run.calls],
        **{name: [each for by in every for each in again(getattr(run, name), by)] for name in ("signals", "steps")},
        decisions=[each for by in every for each in again([row for row in run.decisions if row.door != "mode"], by)],
    )


def test_a_thousand_steps_are_small_quick_and_smooth(browser: Chromium, tmp_path: Path) -> None:
    """At most 3 MB, interactive within a second of work, and a frame of scrolling is a twentieth of one."""

    def small(request: Any) -> str:
        done = bytes(request.prompt.ids()).count(b"\n\n")
        words = " ".join(f"{done}+{each}={done + each}" for each in range(40))
        return f"Step {done}: {words}\n\n" if done < 9 else "Answer: 1"

    def large(request: Any) -> str:
        done = bytes(request.prompt.ids()).count(b"\n\n")
        return ("2" if done % 3 else "9") if request.purpose == "judge" else f"Careful step {done}.\n\n"

    engines = {"small": Scripted(small), "large": Scripted(large)}
    with orc.Pipeline(engines, db=":memory:") as pipeline:
        told = shown(longer(pipeline.journal.run(pipeline.run("What?").run_id), 100))
    page = tmp_path / "page.html"
    page.write_text(drawn({"runs": [told]}), encoding="utf-8")
    assert told["steps"] == 1000 and len(told["items"]) > 1500
    assert page.stat().st_size <= 3_000_000
    browser.open(page.as_uri())
    opened = browser.busy_s()
    assert browser.read("document.querySelectorAll('.step').length") >= 1000
    assert opened <= 1
    browser.read(
        "new Promise(done => { let left = 40; const frame = () => { scrollBy(0, 1000);"
        "if (left-- > 0) requestAnimationFrame(frame); else done() }; requestAnimationFrame(frame) })"
    )
    assert (browser.busy_s() - opened) / 40 <= 1 / 20
    assert browser.trouble == []


def test_the_benchmark_holds_both_figures_against_their_bars() -> None:
    benchmark = Path(__file__).parents[2] / "benchmarks" / "page.py"
    done = subprocess.run(
        [sys.executable, "-W", "error", str(benchmark), "--quick", "--json"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row for row in json.loads(done.stdout)["rows"]}
    assert rows["size"]["is_met"] and rows["until it is ready, wall"]["bar"] == 1
