"""Rows that are complete and boring, so that a test only spells out what it is about."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.memory.base import (
    CallIntent,
    CallResult,
    DecisionRow,
    EventRow,
    OutcomeRow,
    RunRow,
    SignalRow,
    StepRow,
)
from orchestrator.memory.journal import Journal
from orchestrator.memory.store import Store

_TASK = json.dumps({"messages": [["user", "Compute 38*4\n- 98*6."]]})
_LEDGER = json.dumps([{"engine": "small", "output_tokens": 30}, {"engine": "large", "output_tokens": 10}])

_DEFAULTS: dict[type[Any], tuple[Any, ...]] = {
    RunRow: ("0000000000000001", None, "batch", 0, _TASK, '{"a": 1}', '{"small": {}, "large": {}}', 1700000000.25),
    CallIntent: (1, 0, 0, 0, "draft", "small", 7, b"d" * 16, 12, 512, 1700000000.5),
    CallResult: (1, 0, "done", "a thought\n\n", b"\1\0\0\0", "delimiter", "\n\n", 12, 8, 3, 0, 0.5, 0.1, "", None),
    SignalRow: (1, 0, 0, "judge", 0.7, 7.0, "0-9", "", 1, 0.05),
    DecisionRow: (1, 0, 0, "after_draft", "keep", "small", "rated high", 7.0, 0.1, "rewrite", "specreason 1", ""),
    StepRow: (1, 0, 0, "thought", "small", "a thought\n\n", "delimiter", 3, 0.5),
    EventRow: (1, 0, "resumed", "", 1700000001.0),
    OutcomeRow: (1, "completed", "-436", "", "", 2.5, _LEDGER, 1700000002.0),
}


def _maker(record: type[Any]) -> Callable[..., Any]:
    return lambda **fields: record(*_DEFAULTS[record])._replace(**fields)


@pytest.fixture(scope="session")
def make() -> SimpleNamespace:
    """Makers of rows: `make.step(run=3, step=1)` is a StepRow like any other but for these fields."""
    return SimpleNamespace(
        run=_maker(RunRow),
        intent=_maker(CallIntent),
        result=_maker(CallResult),
        signal=_maker(SignalRow),
        decision=_maker(DecisionRow),
        step=_maker(StepRow),
        event=_maker(EventRow),
        outcome=_maker(OutcomeRow),
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with Store(path) as opened:
        yield opened


@pytest.fixture
def journal(store: Store) -> Journal:
    return Journal(store)
