"""What limits a call where nobody says otherwise."""

from __future__ import annotations

from typing import Any

import pytest
from defaults import check

from orchestrator import tools
from orchestrator.tools.function import Function, tool

LIMITS = {"timeout_s": 30.0, "max_chars": 4000, "needs_approval": False}


@pytest.mark.parametrize(
    ("made", "options"),
    [
        (Function, {**LIMITS, "is_idempotent": False}),
        (tool, {**LIMITS, "idempotent": False}),
        (tools.find("python"), {"timeout_s": 10.0, "cpu_s": 5, "memory_mib": 256, "max_chars": 4000}),
    ],
)
def test_a_default_is_what_people_are_told(made: Any, options: dict[str, Any]) -> None:
    said = "Make a tool of a function" if made is tool else "`max_chars` caps"
    check(made, options, said)
