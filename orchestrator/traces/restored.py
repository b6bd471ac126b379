"""A typed record made rows of a journal again: the way back of record.py."""

from __future__ import annotations

from array import array
from json import dumps
from typing import Any

from orchestrator.memory.base import (
    CallIntent,
    CallResult,
    CallRow,
    DecisionRow,
    EventRow,
    OutcomeRow,
    RunRow,
    SignalRow,
    StepRow,
    StoredRun,
)
from orchestrator.traces.record import Call, RunRecord

__all__ = ["stored_of"]

_NO_TOPIC = ("topic", None)
"""A task without a topic is stored without the word, as before there were any."""


def stored_of(run: RunRecord) -> StoredRun:
    """Return a record as a journal holds it, with 0 as its number."""
    return StoredRun(
        key=0,
        run=RunRow(
            id=run.id,
            parent=run.parent,
            batch=run.batch,
            position=run.position,
            task=dumps({name: value for name, value in run.task.model_dump().items() if (name, value) != _NO_TOPIC}),
            settings=dumps(run.settings),
            engines=dumps(run.engines),
            created_s=run.created_s,
        ),
        calls=[_call(call) for call in run.calls],
        signals=[SignalRow(0, **each.model_dump()) for each in run.signals],
        decisions=[
            DecisionRow(0, **_text(each.model_dump() | {"alternatives": ",".join(each.alternatives)}))
            for each in run.decisions
        ],
        steps=[
            StepRow(0, **each.model_dump(exclude={"run"}))
            for each in (run.written if run.written is not None else run.steps)
        ],
        events=[EventRow(0, **_text(each.model_dump())) for each in run.events],
        outcome=None
        if run.outcome is None
        else OutcomeRow(0, **run.outcome.model_dump() | {"ledger": dumps(run.outcome.ledger)}),
    )


def _text(values: dict[str, Any]) -> dict[str, Any]:
    return values | {"detail": dumps(values["detail"]) if values["detail"] else ""}


def _call(call: Call) -> CallRow:
    values = call.model_dump()
    intent = {name: values[name] for name in CallIntent._fields if name != "run"}
    came = {name: values[name] for name in CallResult._fields if name != "run"}
    came["ids"] = array("i", call.ids or ()).tobytes()
    came["uncertain"] = int(bool(call.uncertain))
    came["logprobs"] = None if call.logprobs is None else dumps(call.logprobs)
    return CallRow(
        CallIntent(0, **intent | {"digest": bytes.fromhex(call.digest)}),
        None if call.status is None else CallResult(0, **came),
    )
