"""The exact statements of one step: an extra query on the hot path fails here."""

from __future__ import annotations

import re
from types import SimpleNamespace

from orchestrator.memory.journal import Journal
from orchestrator.memory.store import Store

STEP = [
    "BEGIN IMMEDIATE",
    "SELECT max(number) FROM prunings",
    "INSERT INTO intents",
    "COMMIT",
    "BEGIN IMMEDIATE",
    "SELECT max(number) FROM prunings",
    "INSERT INTO texts",
    "INSERT INTO results",
    "INSERT INTO intents",
    "COMMIT",
    "BEGIN IMMEDIATE",
    "SELECT max(number) FROM prunings",
    "INSERT INTO results",
    "INSERT INTO signals",
    "INSERT INTO decisions",
    "INSERT INTO steps",
    "COMMIT",
]


def write_step(journal: Journal, make: SimpleNamespace, key: int, step: int) -> None:
    text = f"thought {step}"
    draft, judge = 2 * step, 2 * step + 1
    journal.intent(make.intent(run=key, seq=draft, step=step))
    journal.commit()
    journal.result(make.result(run=key, seq=draft, text=text))
    journal.intent(make.intent(run=key, seq=judge, step=step, purpose="judge", engine="large"))
    journal.commit()
    journal.result(make.result(run=key, seq=judge, text="7", stop="length"))
    journal.signal(make.signal(run=key, step=step))
    journal.decision(make.decision(run=key, step=step))
    journal.step(make.step(run=key, step=step, text=text))
    journal.commit()


def test_a_step_takes_these_statements_and_no_other(store: Store, journal: Journal, make: SimpleNamespace) -> None:
    key = journal.open_run(make.run())
    write_step(journal, make, key, 0)
    seen: list[str] = []
    store.connection.set_trace_callback(seen.append)
    write_step(journal, make, key, 1)
    store.connection.set_trace_callback(None)
    assert [re.split(r" \(| VALUES", statement)[0] for statement in seen] == STEP


def test_reading_a_run_takes_one_query_per_kind_of_row_and_one_per_text(
    store: Store, journal: Journal, make: SimpleNamespace
) -> None:
    key = journal.open_run(make.run())
    for step in range(3):
        write_step(journal, make, key, step)
    seen: list[str] = []
    store.connection.set_trace_callback(seen.append)
    journal.run(make.run().id)
    store.connection.set_trace_callback(None)
    tables = [found[1] for statement in seen if (found := re.search(r" FROM (\w+)", statement)) and found[1] != "texts"]
    assert tables == ["runs", "results", "outcomes", "runs", "intents", "signals", "decisions", "steps", "events"]
    asked = [statement for statement in seen if "FROM texts" in statement]
    assert len(asked) == len(set(asked))
