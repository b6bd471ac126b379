"""What each run came to, kept beside it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlite_utils import Database

from orchestrator.memory.journal import Journal
from orchestrator.memory.store import Store

TOTALS = "SELECT run, prompt_tokens, output_tokens, large_tokens, cost FROM totals ORDER BY run"

ENTRIES = st.lists(
    st.fixed_dictionaries(
        {
            "engine": st.sampled_from(("small", "large", "judge")),
            "prompt_tokens": st.integers(0, 10_000),
            "output_tokens": st.integers(0, 10_000),
            "cost": st.floats(0, 1e6),
        }
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ledgers=st.lists(ENTRIES, min_size=1, max_size=3))
def test_they_are_the_sums_of_the_last_ledger(
    store: Store, make: SimpleNamespace, ledgers: list[list[dict[str, Any]]]
) -> None:
    journal = Journal(store)
    runs = len(journal.runs(10_000))
    key = journal.open_run(make.run(id=f"run{runs}"))
    for ledger in ledgers:
        journal.outcome(make.outcome(run=key, ledger=json.dumps(ledger)))
    journal.commit()
    found = next(row for row in store.connection.execute(TOTALS) if row[0] == key)
    last = ledgers[-1]
    large = sum(entry["output_tokens"] for entry in last if entry["engine"] == "large")
    assert found[1:4] == (*(sum(entry[name] for entry in last) for name in ("prompt_tokens", "output_tokens")), large)
    assert found[4] == pytest.approx(sum(entry["cost"] for entry in last))


@pytest.mark.parametrize(
    "ledger",
    [
        "",
        "[]",
        "no JSON",
        "[",
        "\ud800",
        '{"a": 1}',
        "[1, 2]",
        '[{"cost": "much"}]',
        '["x"]',
        '{"a": "b"}',
        '"x"',
        "[[]]",
    ],
)
def test_a_ledger_that_is_none_counts_nothing_and_its_run_is_stored(
    store: Store, make: SimpleNamespace, ledger: str
) -> None:
    journal = Journal(store)
    key = journal.open_run(make.run())
    journal.outcome(make.outcome(run=key, ledger=ledger))
    journal.commit()
    assert journal.at(key).outcome == make.outcome(run=key, ledger=ledger)
    assert not any(sum(row[1:]) for row in store.connection.execute(TOTALS))


@pytest.mark.parametrize("engines", ["", "no JSON", "\ud800", "[]", '"x"'])
def test_a_run_whose_engines_cannot_be_read_can_end(store: Store, make: SimpleNamespace, engines: str) -> None:
    journal = Journal(store)
    key = journal.open_run(make.run(engines=engines))
    journal.outcome(make.outcome(run=key))
    journal.commit()
    assert journal.at(key).outcome == make.outcome(run=key)
    assert not any(row[3] for row in store.connection.execute(TOTALS))


def test_no_number_of_tokens_is_too_large_to_add(store: Store, make: SimpleNamespace) -> None:
    journal = Journal(store)
    key = journal.open_run(make.run())
    entry = {"engine": "large", "prompt_tokens": 2**63 - 1, "output_tokens": 10**400}
    journal.outcome(make.outcome(run=key, ledger=json.dumps([entry, entry])))
    journal.commit()
    assert store.connection.execute(TOTALS).fetchall() == [(key, 2**63 - 1, 2**63 - 1, 2**63 - 1, 0.0)]


def test_a_file_of_before_tells_them_too_and_then_keeps_them(path: Path, make: SimpleNamespace) -> None:
    with Store(path) as store:
        journal = Journal(store)
        for number in range(3):
            key = journal.open_run(make.run(id=f"run{number}"))
            journal.outcome(make.outcome(run=key))
        for status in ("interrupted", "completed"):  # a run that was resumed has two
            key = journal.open_run(make.run(id="twice")) if status == "interrupted" else key
            journal.outcome(make.outcome(run=key, status=status))
        key = journal.open_run(make.run(id="strange", engines="no JSON"))
        journal.outcome(make.outcome(run=key, ledger='["x"]'))
        journal.commit()
        expected = store.connection.execute(TOTALS).fetchall()
        connection = store.connection
        connection.execute("DROP TRIGGER outcomes_added")
        connection.execute("DROP TABLE totals")
        connection.execute("DROP TABLE prunings")
        connection.execute("DELETE FROM _sqlite_migrations WHERE name = 'm007_traces'")
        connection.execute("PRAGMA user_version = 6")
    assert [row[3] for row in expected] == [10, 10, 10, 10]
    with Store(path, readonly=True) as store:
        assert store.connection.execute(TOTALS).fetchall() == expected
    with Store(path) as store:
        assert store.connection.execute(TOTALS).fetchall() == expected
        assert "totals" in Database(store.connection).table_names()
