"""A journal opened in a notebook: its runs by name, what each says of itself, and how they are shown."""

from __future__ import annotations

import re
from importlib import import_module
from io import StringIO
from pathlib import Path
from pkgutil import walk_packages
from types import ModuleType
from typing import Any

import pytest
from rich.console import Console

import orchestrator as orc
from orchestrator.engines.scripted import Scripted
from orchestrator.errors import BadConfig, StoreCorrupt, StoreError, UnknownName, UserError
from orchestrator.memory.base import LEARNS
from orchestrator.memory.journal import Journal
from orchestrator.memory.store import Store
from orchestrator.runtime.timeline import candidates, timeline
from orchestrator.traces import Run, Traces
from orchestrator.types import StepKind

HOSTILE = (
    "</pre><script>alert(1)</script><img src=http://192.0.2.1/x> "
    "\x1b[2J\x1b]8;;http://x\x07 \u202eevil\u2066 &lt; [red]"
)


@pytest.fixture
def traces(db: Path) -> Any:
    with orc.traces.open(db) as opened:
        yield opened


def printed(value: Any, width: int = 80) -> str:
    console = Console(file=StringIO(), width=width)
    console.print(value)
    return console.file.getvalue()  # type: ignore[attr-defined]


def judged(score: str, **options: Any) -> orc.Pipeline:
    """A pipeline whose judge gives every draft the same score."""
    small = Scripted(lambda request: r"\boxed{2}" if b"One." in bytes(request.prompt.ids()) else "One.\n\n")
    large = Scripted(lambda request: score if request.purpose == "judge" else "Better.\n\n")
    made = orc.Pipeline({"small": small, "large": large}, **options)
    made.specs["large"] = orc.engines.spec("scripted", price=orc.Price(output=0.5))
    return made


# ---- opening


def test_a_file_its_folder_and_the_one_of_the_command_line_are_opened(
    db: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORCHESTRATOR_HOME", str(db.parent))
    for path in (db, str(db), db.parent, None):
        with orc.traces.open(path) as opened:
            assert opened.path == db and len(opened) == 4
    (tmp_path / "orchestrator.toml").write_text('[run]\ndb = "other.db"\n')
    with pytest.raises(StoreError, match=r"no journal at other\.db"):
        orc.traces.open()
    (tmp_path / "orchestrator.toml").write_text("[run]\ndbs = 1\n")
    with pytest.raises(BadConfig, match="dbs"):
        orc.traces.open()


def test_what_is_no_journal_is_refused_and_nothing_is_made(tmp_path: Path) -> None:
    (tmp_path / "runs.jsonl").write_text("{}\n" * 300)
    with pytest.raises(StoreCorrupt, match="is not a SQLite database"):
        orc.traces.open(tmp_path / "runs.jsonl")
    with pytest.raises(StoreError, match="no journal at"):
        orc.traces.open(tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["runs.jsonl"]


def test_an_empty_journal_has_no_run_and_says_so(tmp_path: Path) -> None:
    Store(tmp_path / "journal.db").close()
    with orc.traces.open(tmp_path) as opened:
        assert list(opened) == [] and len(opened) == 0
        assert printed(opened).startswith("0 runs in ")
        with pytest.raises(UnknownName, match="holds no run yet"):
            opened["last"]
        assert len(opened.frame("runs")) == 0


def test_a_run_is_found_by_its_id_its_beginning_and_as_the_last(traces: Traces) -> None:
    assert traces["one"].id == traces["on"].id == "one"
    assert traces["last"].id == "three" == next(iter(traces)).id
    assert "one" in traces and "on" not in traces and 1 not in traces
    with pytest.raises(UnknownName, match=r"no run 'ones' in .*; the nearest are one, "):
        traces["ones"]
    with pytest.raises(UserError, match="'t' is the beginning of several runs: three, two"):
        traces["t"]
    with pytest.raises(UserError, match="not by 3"):
        traces[3]  # type: ignore[index]


def test_runs_come_newest_first_and_a_writer_does_not_wait_for_them(tmp_path: Path) -> None:
    with judged("9", router="small", db=tmp_path / "journal.db") as made:
        ids = [made.run("q").run_id for _ in range(3)]
        with orc.traces.open(tmp_path) as opened:
            looking = iter(opened)
            found = [next(looking).id]
            with Store(opened.path, wait_s=0) as store:
                row = Journal(store).run(ids[0]).run
                Journal(store).open_run(row._replace(id="later"))
            assert len(opened) == 4 and opened["later"].status == "unfinished"
            assert found + [run.id for run in looking] == ids[::-1]  # what came since is no part of it


def test_runs_go_by_what_they_can_go_by(traces: Traces) -> None:
    assert [run.id for run in traces.runs(by="tokens").runs] != []
    with pytest.raises(UnknownName, match="one of started, cost, seconds, tokens, not by 'size'"):
        traces.runs(by="size")
    assert traces.runs(orc.traces.Which(status="failed")).runs[0].id == "two"
    long = orc.traces.Which(seconds=orc.traces.Span(low=3600))
    assert traces.runs(long) == orc.traces.Listing([], 0, 0, "")
    for ask in (traces.runs, traces.stats):
        with pytest.raises(UnknownName, match="no run has the status 'fine'; there are completed, "):
            ask(orc.traces.Which(status="fine"))


def test_what_is_closed_says_so_and_what_was_read_stays(db: Path) -> None:
    opened = orc.traces.open(db)
    run, fork = opened["one"], next(run for run in opened if run.stored.run.parent)
    opened.close()
    assert run.answer == "2" and len(run.steps) == len(run.stored.kept())
    for look in (lambda: opened["one"], lambda: fork.steps, lambda: printed(opened)):
        with pytest.raises(StoreError, match="has been closed here"):
            look()
    assert str(db) in repr(opened)


# ---- a run


def test_the_steps_are_those_that_stand_with_what_is_known_of_each(traces: Traces) -> None:
    for run in traces:
        assert [(each.step, each.attempt, each.writer, each.kind, each.text) for each in run.steps] == [
            (row.step, row.attempt, row.writer, row.kind, row.text) for row in run.stored.kept()
        ]
    one = traces["one"]
    turned_away = one.step(1)[0]
    assert (turned_away.writer, turned_away.verdict, turned_away.reason) == ("small", "rejected", "bad")
    assert turned_away.kind is None and not turned_away.stands and turned_away.run == "one"
    (decision,) = turned_away.decisions
    assert (decision.action, decision.engine, decision.score, decision.alternatives) == (
        *("rewrite", "large", 2.0, ["keep", "rollback"]),
    )
    assert [(call.purpose, call.status) for call in turned_away.calls] == [("draft", "done")]
    (seen,) = (each for each in one.candidates if each.kind is StepKind.OBSERVATION)
    assert (seen.writer, seen.verdict, seen.text) == ("look", "rolled back", "a pen\\x1b[2J")
    assert [(call.purpose, call.engine) for call in seen.calls] == [("tool", "look")]


def test_the_candidates_are_those_of_the_timeline_and_have_every_call_but_those_about_none(traces: Traces) -> None:
    for run in traces:
        told = candidates(run.stored, run.forked_from)
        assert [each.verdict for each in run.candidates] == [each.verdict for each in told]
        own = [call.seq for each in run.candidates if each.run == run.id for call in each.calls]
        assert sorted(own) == [call.seq for call in run.calls]
        assert len(run.signals) == len(run.stored.signals) and len(run.events) == len(run.stored.events)


def test_signals_are_with_the_draft_that_they_are_about() -> None:
    with judged("3", db=":memory:", budget=orc.Budget(steps=1)) as made:
        run = orc.traces.of(made.run("q"))
    draft, written = run.step(0)
    assert [(each.name, each.raw) for each in draft.signals] == [("judge", 3.0)]
    assert [call.purpose for call in draft.calls] == ["draft", "judge"]
    assert [each.threshold for each in draft.decisions if each.door == "after_draft"] == [7.0]
    assert (written.verdict, written.writer, written.signals) == ("kept", "large", [])


def test_a_forks_first_steps_name_the_run_that_wrote_them_and_have_its_calls(traces: Traces) -> None:
    (fork,) = (run for run in traces if run.stored.run.parent)
    assert fork.parent is not None and fork.parent.id == "one"
    assert [each.id for each in fork.ancestors] == ["one"]
    first, one = fork.steps[0], traces["one"]
    assert (first.run, first.verdict, first.calls) == ("one", "inherited", one.steps[0].calls)
    assert one.parent is None and one.ancestors == []


def test_a_run_that_never_ended_says_what_there_is(traces: Traces) -> None:
    run = traces["three"]
    assert (run.status, run.answer, run.reason, run.seconds, run.ledger.cost) == ("unfinished", None, "", None, None)
    assert (run.question, run.gold, run.steps) == ("What is 1+1?", None, [])
    assert [(each.verdict, each.is_bound) for each in run.step(0)] == [("unfinished", True)]
    with pytest.raises(UnknownName, match="run three has no step 1: its steps are 0 to 0"):
        run.step(1)
    empty = Run(run.journal, run.stored._replace(calls=[]))
    with pytest.raises(UnknownName, match="run three has no step -1: nothing was tried"):
        empty.step(-1)
    assert empty.ledger.large_share == 0.0 and empty.ledger.total().calls == 0


def test_the_ledger_is_that_of_the_result() -> None:
    with judged("3", db=":memory:", budget=orc.Budget(steps=2)) as made:
        result = made.run("q")
        stored = orc.traces.of(result).ledger
    assert stored.rows == result.ledger.rows()
    assert stored.large_share == result.ledger.large_share > 0
    assert stored.cost == result.ledger.cost() > 0
    for wanted in ({}, {"engine": "large"}, {"purpose": "draft"}, {"fate": "discarded"}, {"engine": "nobody"}):
        assert stored.total(**wanted) == result.ledger.total(**wanted)


def test_a_result_has_the_same_run_and_shows_the_same(db: Path) -> None:
    with judged("9", db=":memory:") as made:
        result = made.run("q")
        run = orc.traces.of(result)
        assert run.stored == made.journal.run(result.run_id) == result.trace.stored
        assert "".join(each.text for each in run.steps) == result.text
        assert printed(result.trace) == printed(run)
        assert result.trace._repr_html_() == run._repr_html_()
        assert (run.status, run.answer, run.router) == ("completed", "2", "specreason 0.1.0")
        assert f"run {run.id}" in repr(result.trace) and repr(run) == f"<run {run.id} completed: q>"


def test_texts_are_what_they_were_and_what_is_given_away_has_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "only-mine-0123")
    with judged("9", db=":memory:", router="small") as made:
        run = orc.traces.of(made.run("Is it only-mine-0123?"))
        assert run.question == "Is it only-mine-0123?"
        assert run.record().question == "Is it [redacted]?"
        assert "only-mine" not in str(run.frame("runs", content=True).to_dict())


# ---- what is made of a run


def test_what_is_made_of_a_run_is_what_the_functions_make_of_it(traces: Traces, tmp_path: Path) -> None:
    one, two = traces["one"], traces["two"]
    assert one.diff("two") == one.diff(two) == traces.diff("one", "two") == orc.traces.diff_of(one.stored, two.stored)
    assert set(one.graph()) == set(orc.traces.graph_of(one.stored))
    assert one.record() == next(orc.traces.read(traces.path))
    page = tmp_path / "one.html"
    assert one.html(page) == page.read_text(encoding="utf-8") == orc.traces.html(one.journal, "one")
    assert one.html(beside=two) == orc.traces.html(one.journal, "one", "two")
    with pytest.raises(UserError, match="exists: choose another file"):
        one.html(page)
    with pytest.raises(UserError, match="cannot be written"):
        one.html(tmp_path / "no" / "where.html")
    with pytest.raises(UserError, match="no table 'step'"):
        one.frame("step")
    assert list(one.frame("steps")["step"]) == [each.step for each in one.steps]


def test_a_ledger_is_shown_as_below_the_timeline(traces: Traces) -> None:
    run = traces["one"]
    shown = printed(run.ledger)
    assert shown.startswith("engine   purpose") and shown.rstrip() in printed(run)
    assert "<pre" in run.ledger._repr_html_()


def test_a_fork_differs_from_its_parent_as_the_command_line_says(traces: Traces) -> None:
    """What was decided about the steps that it began with lies in its parent."""
    fork, parent = next(run for run in traces if run.parent), traces["one"]
    found = fork.diff(parent)
    assert found == orc.traces.diff_of(fork.stored, parent.stored, fork.forked_from, parent.forked_from)
    assert found != orc.traces.diff_of(fork.stored, parent.stored)
    assert traces.diff(fork.id, "one") == found


def test_a_run_is_decided_again_by_its_own_router_another_one_or_one_by_its_name() -> None:
    with judged("7", db=":memory:") as made:
        run = orc.traces.of(made.run("q"))
    assert run.replay().parted is None
    for again in (run.replay(threshold=8), run.replay(orc.routers.SpecReason(threshold=8))):
        assert again.parted is not None and (again.parted.then, again.parted.now) == ("keep", "rewrite large")
    assert run.replay("specreason", threshold=8).flips and run.replay("large").flips
    assert [each.flips for each in run.what_if("threshold", [7, 8])] == [0, 2]
    with pytest.raises(UserError, match="threshold: a router that is made already takes no options"):
        run.replay(orc.routers.SpecReason(), threshold=8)
    with pytest.raises(BadConfig, match="treshold"):
        run.replay(treshold=8)
    with pytest.raises(BadConfig, match="specresaon"):
        run.replay("specresaon")


def test_all_runs_are_decided_again_together_and_who_is_left_out_is_said(traces: Traces, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none of 4 runs can be decided again, as of the first: run "):
        traces.replay(threshold=8)
    with judged("7", db=tmp_path / "journal.db") as made:
        ids = [made.run("q").run_id for _ in range(3)]
        with Store(tmp_path / "journal.db") as store:
            row = Journal(store).run(ids[0]).run
            Journal(store).open_run(row._replace(id="asks", batch=f"{LEARNS}x"))
        with orc.traces.open(tmp_path) as opened:
            assert len(opened) == 4
            together = opened.replay(threshold=8)
            assert (together.runs, together.flipped, together.left_out) == (3, 3, {})
            assert [each.runs for each in opened.what_if("threshold", [7, 8])] == [3, 3]


def test_tables_of_all_runs_are_those_of_an_export(traces: Traces) -> None:
    for table in ("runs", "steps", "calls", "decisions", "signals"):
        theirs = orc.traces.frame(orc.traces.read(traces.path), table)
        assert traces.frame(table).equals(theirs)
    assert [*traces.frame("runs")["run"]] == [run.id for run in traces][::-1]


# ---- shown


def test_a_notebook_shows_a_run_as_its_timeline_and_a_journal_as_its_newest_runs(traces: Traces) -> None:
    one = traces["one"]
    drawn = timeline(one.stored, width=100).plain
    assert one._repr_mimebundle_()["text/plain"] == drawn
    assert [line.rstrip() for line in printed(one, 100).splitlines()] == [line.rstrip() for line in drawn.splitlines()]
    shown = StringIO()
    one.show(shown)
    assert "x rejected" in shown.getvalue()
    lines = printed(traces).splitlines()
    assert lines[0] == f"4 runs in {traces.path}" or lines[0].endswith("…")
    assert [line.split()[0] for line in lines[2:]] == [run.id for run in traces]
    assert max(map(len, printed(traces, 80).splitlines())) <= 80


@pytest.mark.parametrize("width", [80, 100, 200])
def test_no_text_of_a_stranger_does_harm_where_it_is_shown(tmp_path: Path, width: int) -> None:
    engines = {"small": Scripted([f"{HOSTILE}\n\n", f"\\boxed{{{HOSTILE}}}"])}
    with orc.Pipeline(engines, "small", db=tmp_path / "journal.db") as made:
        result = made.run(HOSTILE)
        with orc.traces.open(tmp_path) as opened:
            run = opened["last"]
            others = (opened.search("alert"), opened.search("evil").hits[0], run.replay("large"), run.diff("last"))
            for value in (opened, run, result.trace, *others):
                bundle = value._repr_mimebundle_()
                for text in (printed(value, width), *bundle.values(), value._repr_html_(), repr(value)):
                    assert not set(text) & set("\x1b\x07\u202e\u2066")
                page = bundle["text/html"]
                assert set(re.findall(r"<(/?\w+)", page)) <= {"pre", "/pre", "span", "/span"}
                assert page.count("<pre") == page.count("</pre>") == 1 and "&gt;" in page
                assert not re.findall(r"<[^>]*(?:href|src|on\w+)=", page)


def test_what_is_made_of_runs_is_shown_as_the_command_line_prints_it(tmp_path: Path) -> None:
    with judged("7", db=tmp_path / "journal.db") as made:
        ids = [made.run("q").run_id for _ in range(2)]
    with orc.traces.open(tmp_path) as opened:
        run = opened[ids[0]]
        many = run.what_if("threshold", [each / 10 for each in range(101)])
        assert (many.option, many.values[80], many[80].flips) == ("threshold", 8.0, 2)
        for value, first, last in (
            (run.diff(ids[1]), "A        ", "all  "),
            (run.replay(threshold=8), f"run      {run.id}, decided by specreason", "large    judge"),
            (opened.replay(threshold=8), "2 runs: 0 unchanged, 2 part", "  not decided to the end: 2 of 2"),
            (run.what_if("threshold", [7, 8]), " threshold  flips", "flips do not add up to a run"),
            (run.what_if("threshold", [7, 8])[1], "     value  flips", "flips do not add up to a run"),
            (opened.stats(), "runs     2: 2 completed", "all "),
            (opened.search("one"), f"{ids[1]}  step 0", "2 of 2 found"),
            (opened.search("one").hits[1], f"{ids[0]}  step 0", "       One."),
        ):
            shown = printed(value).splitlines()
            assert shown[0].startswith(first) and last in shown[-1], shown
            assert value._repr_mimebundle_()["text/plain"].splitlines()[0].startswith(first)
            assert value._repr_html_().startswith("<pre")
            assert max(map(len, printed(value, 40).splitlines())) <= 40
        assert printed(many, 200).splitlines()[80].startswith("… ") and "show()" not in printed(many)


def test_a_long_run_is_shown_from_both_ends_and_printed_whole() -> None:
    engines = {"small": Scripted([f"Step {number}.\n\n" for number in range(299)] + [r"\boxed{1}"])}
    with orc.Pipeline(engines, "small", db=":memory:", budget=orc.Budget(steps=400)) as made:
        run = orc.traces.of(made.run("q"))
        whole = StringIO()
        run.show(whole)
    lines = printed(run).splitlines()
    left_out = len(whole.getvalue().splitlines()) - 120
    assert len(lines) == 121 and left_out > 400
    assert lines[80].strip() == f"… {left_out} more lines: show() prints all"
    assert "Step 0." in printed(run) and "Step 150." not in printed(run) and "Step 298." in printed(run)
    assert len(run._repr_html_()) < 50_000


def test_a_journal_of_many_runs_shows_the_newest_and_how_many_more(tmp_path: Path) -> None:
    with judged("9", router="small", db=tmp_path / "journal.db") as made:
        row = made.journal.run(made.run("q").run_id).run
    with Store(tmp_path / "journal.db") as store:
        journal = Journal(store)
        for number in range(1_020):
            journal.open_run(row._replace(id=f"r{number}"))
    with orc.traces.open(tmp_path) as opened:
        lines = printed(opened).splitlines()
    assert len(lines) == 2 + 20 + 1 and lines[-1].strip() == "… 1,001 more"
    assert lines[0].startswith("1,021 runs in ")


def test_a_public_name_is_what_it_says_whatever_was_imported_before() -> None:
    for module in walk_packages(orc.traces.__path__, "orchestrator.traces."):
        import_module(module.name)
    for name in orc.traces.__all__:
        assert not isinstance(getattr(orc.traces, name), ModuleType), f"a module hides {name}"
