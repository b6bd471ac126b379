"""Many runs together: they agree with what each run says of itself."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from orchestrator.errors import UnknownName
from orchestrator.memory.base import LEARNS, DecisionRow, OutcomeRow, RunRow, StepRow, StoredRun
from orchestrator.memory.journal import Journal
from orchestrator.memory.store import Store
from orchestrator.runtime.ledger_lines import ledger_rows
from orchestrator.traces import Stats, Which, by_policy, stats_of
from orchestrator.traces.stats import Percentiles, Reason, Spending, Writing
from orchestrator.traces.stats_shown import lines, side_by_side

TASK = '{"messages": [["user", "What is 1+1?"]]}'


@pytest.fixture
def every(db: Path) -> Iterator[Journal]:
    """Runs of every kind, a fork, a failed and an unfinished one with them."""
    with Store(db, readonly=True) as store:
        yield Journal(store)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Store(tmp_path / "journal.db") as store:
        yield Journal(store)


def add(journal: Journal, *, seconds: float = 1.0, ended: bool = True, **more: Any) -> int:
    """Store a run of two steps, the second rewritten by the large engine, and return its number."""
    name = more.get("id", f"run{len(journal.runs(1000))}")
    settings = json.dumps({"router": {"policy": more.get("policy", "specreason 0.1.0")}})
    engines = json.dumps({each: {} for each in more.get("engines", ("small", "large"))})
    key = journal.open_run(RunRow(name, None, more.get("batch", ""), 0, TASK, settings, engines, 1.7e9))
    small, large = more.get("engines", ("small", "large"))
    score = more.get("score", 2.5)
    for row in (
        DecisionRow(key, 0, 0, "mode", "mode", "", "asked for", None, None, "", "pipeline", ""),
        DecisionRow(key, 0, 0, "before_step", "plan", small, f"drew {score}", None, None, "", "random 0.1.0", ""),
        DecisionRow(key, 0, 0, "after_draft", "keep", small, "rated high", 7.0, 1.0, "", "specreason 0.1.0", ""),
        DecisionRow(
            key, 1, 0, "after_draft", "rewrite", large, f"rated {score}", 7.0, -1.0, "", "specreason 0.1.0", ""
        ),
    ):
        journal.decision(row)
    journal.step(StepRow(key, 0, 0, "thought", small, "a\n\n", "delimiter", 3, 0.1))
    journal.step(StepRow(key, 1, 1, "answer", large, "b", "eos", 5, 0.1))
    spent = [(small, "draft", "used", 3), (small, "draft", "discarded", 4), (large, "rewrite", "used", 5)]
    rows = [
        {"engine": engine, "purpose": purpose, "fate": fate, "calls": 1, "prompt_tokens": 10, "cached_tokens": 2,
         "output_tokens": tokens, "uncertain": 0, "seconds": 0.5, "cost": tokens * 0.5}
        for engine, purpose, fate, tokens in spent
    ]  # fmt: skip
    if ended:
        journal.outcome(OutcomeRow(key, "completed", "2", "", "", seconds, json.dumps(rows), 1.7e9))
    journal.commit()
    if not ended:
        journal.release(key)
    return key


def test_of_one_run_they_are_its_ledger_its_kept_steps_and_its_decisions(every: Journal) -> None:
    seen: set[str] = set()
    for line in every.runs(100):
        stored = every.at(line.key)
        if stored.outcome is None:
            continue
        found = stats_of(every, Which(keys=[line.key]))
        _agree(found, [stored])
        assert found.large_share == pytest.approx(line.large_share)
        assert {values for values in found.per_run["steps"]} == {len(stored.kept())}
        assert {values for values in found.per_run["seconds"]} == {stored.outcome.seconds}
        assert {values for values in found.per_run["output_tokens"]} == {found.output_tokens}
        seen |= {each.kind for each in stored.kept()} | {each.kind for each in stored.steps}
    assert seen >= {"thought", "action", "observation", "removed"}


def test_of_many_runs_they_are_the_sums(every: Journal) -> None:
    found = stats_of(every, Which())
    runs = [stored for line in every.runs(100) if (stored := every.at(line.key)).outcome]
    _agree(found, runs)
    assert found.statuses == Counter(line.status for line in every.runs(100))
    assert (found.runs, found.ended) == (len(runs) + 1, len(runs))


def _agree(found: Stats, runs: list[StoredRun]) -> None:
    sums: dict[tuple[str, str, str], list[float]] = {}
    for row in (row for run in runs for row in ledger_rows(run)):
        own = sums.setdefault((row["engine"], row["purpose"], row["fate"]), [0] * 6)
        own[:] = [a + row[name] for a, name in zip(own, Spending._fields[3:], strict=True)]
    assert {each[:3]: pytest.approx([*each[3:]]) for each in found.spending} == sums
    kept = [(row, list(json.loads(run.run.engines))[-1]) for run in runs for row in run.kept()]
    for each in found.writing:
        own_rows = [(row, row.writer == largest) for row, largest in kept if row.kind == each.kind]
        assert (each.steps, each.large_steps) == (len(own_rows), sum(is_large for _, is_large in own_rows))
        assert each.tokens == sum(row.num_tokens for row, _ in own_rows)
        assert each.large_tokens == sum(row.num_tokens for row, is_large in own_rows if is_large)
    assert sum(each.steps for each in found.writing) == sum(row.kind != "observation" for row, _ in kept)
    decided = [row for run in runs for row in run.decisions if row.action not in ("keep", "mode", "plan")]
    assert sum(each.times for each in found.reasons if each.action != "plan") == len(decided)
    assert {each.policy for each in found.reasons} >= {row.policy for row in decided}


def test_reasons_are_what_kept_no_draft_of_the_cheapest_without_their_numbers(journal: Journal) -> None:
    for score in (2.5, 3, -1):
        add(journal, score=score)
    add(journal, engines=("large", "small"))  # whose cheapest is another
    found = stats_of(journal)
    assert found.reasons == (Reason("specreason 0.1.0", "rewrite", "rated N", 4),)


def test_who_wrote_goes_by_the_engines_of_each_run(journal: Journal) -> None:
    add(journal)
    add(journal, engines=("large", "small"))
    found = stats_of(journal)
    assert found.writing == (Writing("thought", 2, 0, 6, 0), Writing("answer", 2, 2, 10, 10))
    assert [each.large_share for each in found.writing] == [0.0, 1.0]
    assert found.large_share == pytest.approx(10 / 24)
    assert [each[:3] for each in found.spending] == [
        ("small", "draft", "discarded"), ("small", "draft", "used"), ("small", "rewrite", "used"),
        ("large", "draft", "discarded"), ("large", "draft", "used"), ("large", "rewrite", "used"),
    ]  # fmt: skip
    assert found.cost == 12.0


def test_engines_stand_in_the_pipelines_order_also_where_the_cheapest_did_nothing_at_first(journal: Journal) -> None:
    key = journal.open_run(RunRow("first", None, "", 0, TASK, "{}", '{"small": {}, "large": {}}', 1.7e9))
    row = {"engine": "large", "purpose": "draft", "fate": "used", "output_tokens": 7}
    journal.outcome(OutcomeRow(key, "completed", "2", "", "", 1.0, json.dumps([row]), 1.7e9))
    journal.commit()
    add(journal)
    assert list(dict.fromkeys(each.engine for each in stats_of(journal).spending)) == ["small", "large"]


def test_a_step_that_was_replaced_or_taken_away_is_in_no_share(journal: Journal) -> None:
    key = add(journal)
    for row in (
        StepRow(key, 0, 2, "thought", "large", "c\n\n", "delimiter", 7, 0.1),  # it takes the answer behind it with it
        StepRow(key, 1, 2, "thought", "small", "d\n\n", "delimiter", 9, 0.1),
        StepRow(key, 1, 3, "removed", "", "", "", 0, 0.0),
    ):
        journal.step(row)
    journal.commit()
    found = stats_of(journal)
    assert found.writing == (Writing("thought", 1, 1, 7, 7),)
    assert found.per_run["steps"].p50 == 1 == len(journal.at(key).kept())


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ([5.0], (5, 5, 5)),
        ([1.0, 2.0], (1, 2, 2)),
        ([3.0, 3.0, 3.0], (3, 3, 3)),
        ([float(each) for each in range(10, 0, -1)], (5, 9, 10)),
    ],
)
def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed(
    journal: Journal, seconds: list[float], expected: tuple[float, ...]
) -> None:
    for each in seconds:
        add(journal, seconds=each)
    assert stats_of(journal).per_run["seconds"] == Percentiles(*expected)


def test_runs_without_an_outcome_are_counted_apart(journal: Journal) -> None:
    add(journal)
    alone = stats_of(journal)
    add(journal, ended=False)
    found = stats_of(journal)
    assert (found.runs, found.ended, found.statuses) == (2, 1, {"completed": 1, "interrupted": 1})
    assert (found.writing, found.reasons, found.spending, found.per_run) == (
        (alone.writing, alone.reasons, alone.spending, alone.per_run)
    )
    assert "1 without an outcome" in "\n".join(lines(found))
    only = stats_of(journal, Which(status="interrupted"))
    assert (only.runs, only.ended, only.per_run, only.cost, only.large_share) == (1, 0, {}, 0, 0.0)
    assert len(list(lines(only))) == 1


def test_learners_questions_are_left_out_unless_asked_for_and_nothing_is_no_error(journal: Journal) -> None:
    assert (stats_of(journal).runs, by_policy(journal)) == (0, {})
    add(journal, batch=f"{LEARNS}x")
    assert (stats_of(journal).runs, stats_of(journal, Which()).runs) == (0, 1)


def test_policies_stand_side_by_side_whatever_their_versions(journal: Journal) -> None:
    for policy in ("specreason 0.1.0", "specreason 0.2.0", "random 0.1.0"):
        add(journal, policy=policy)
    add(journal, policy="rsd 0.1.0", ended=False)
    found = by_policy(journal)
    assert {name: (each.runs, each.ended) for name, each in found.items()} == {
        "random": (1, 1), "rsd": (1, 0), "specreason": (2, 2)
    }  # fmt: skip
    assert found["specreason"] == stats_of(journal, Which(policy="specreason"))
    shown = list(side_by_side(found))
    assert [line.split()[0] for line in shown[1:]] == ["random", "rsd", "specreason"]
    assert max(map(len, shown)) <= 80 and "none has ended" in shown[2]
    for width in (20, 40, 50, 60, 70):
        assert max(map(len, side_by_side(found, width))) <= width
    assert len(list(side_by_side(found, 40))) == len(shown)
    with pytest.raises(UnknownName, match="there are random, rsd, specreason"):
        stats_of(journal, Which(policy="oracle"))


def test_what_is_shown_is_harmless_and_80_columns_wide(journal: Journal) -> None:
    for number in range(12):
        name = "x" * number
        add(journal, engines=("sm\x1b[31mall\u202e", "large" * 9), score=f"{name}\x1b[2J bad \udcff" + "word " * 50)
    found = stats_of(journal)
    shown = list(lines(found))
    assert max(map(len, shown)) <= 80
    assert not any(letter in line for line in shown for letter in "\x1b\u202e\udcff")
    assert any(line.split() == ["2", "for", "2", "other", "reasons:", "--json", "has", "all"] for line in shown)
    for width in (20, 40, 50, 60, 79):
        assert max(map(len, lines(found, width=width))) <= width
    assert list(lines(found, width=200)) == shown
    console = Console(width=80, file=StringIO(), highlight=False)
    console.print(found)
    assert console.file.getvalue().splitlines() == shown
