"""Lines of an export: checked against their schema, and readable for every JSON reader.

Every line has

    schema_version  1
    run             id of the run in the journal
    task            the task's fingerprint, the same for every run of it
    split           train, calibration or report: the benchmarks' own cut, see bench/workloads/owner.py

and what its format adds. Lone surrogates in broken model output, which not every JSON reader takes, become U+FFFD, and
numbers that JSON does not know become null. No secret is ever stored in a journal, so none is here.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from orchestrator.traces.redact import valid

__all__ = ["LeftOut", "Line", "Record", "checked"]


class LeftOut(Exception):
    """A run gives no line; the text says why, alike for all that are left out for the same reason."""


class Record(BaseModel):
    """A part of a line."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Line(Record):
    """What every line has."""

    schema_version: Literal[1]
    run: str
    task: str
    split: Literal["train", "calibration", "report"]


def checked(schema: type[Line], /, **fields: Any) -> dict[str, Any]:
    """Return a line as plain JSON data, checked against its schema; what is not given is not in it."""
    return schema.model_validate(valid({"schema_version": 1, **fields})).model_dump(mode="json", exclude_unset=True)
