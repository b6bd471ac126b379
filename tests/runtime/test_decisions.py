"""What a decision says is in the journal, and comes back from it; older journals say it at greater length."""

from __future__ import annotations

from json import loads

import pytest

from orchestrator.decisions import Conclude, Decision, Handback, Handoff, Keep, Rewrite, Rollback, StopRun
from orchestrator.memory.base import DecisionRow
from orchestrator.runtime.alternative import Adopt
from orchestrator.runtime.decisions import Approve, Deny, Exited, Moded, Planned, _detail, decision_of
from orchestrator.types import Status

WHOLE = {"max_tokens": 9, "logprobs": 2, "whole": True, "lead": "So", "features": (0.5, 1.0)}


def row(action: str, engine: str, detail: str) -> DecisionRow:
    return DecisionRow(("run", 0), 0, 0, "door", action, engine, "why", 0.5, -0.1, "keep,stop", "policy", detail)


@pytest.mark.parametrize(
    ("kind", "own", "detail"),
    [
        (Keep, {}, {}),
        (Handback, {}, {}),
        (Conclude, {}, {}),
        (Rewrite, {"engine": "large"}, {}),
        (Rewrite, {"engine": "large", "max_tokens": 9}, {"max_tokens": 9}),
        (Adopt, {"engine": "large", "attempt": 0}, {"attempt": 0}),
        (Handoff, {"engine": "large"}, {}),
        (Handoff, {"engine": "large", "until": 0, "failed": "small"}, {"until": 0, "failed": "small"}),
        (
            Handoff,
            {"engine": "large", "turns": 2, "note": "So", "to_step": 0, "whole": True, "max_tokens": 9},
            {"turns": 2, "note": "So", "to_step": 0, "whole": True, "max_tokens": 9},
        ),
        (Rollback, {"to_step": 0}, {"to_step": 0}),
        (StopRun, {}, {}),
        (StopRun, {"status": Status.FAILED}, {"status": "failed"}),
        (Moded, {"mode": {"name": "think", "budget": None}}, {"name": "think", "budget": None}),
        (Exited, {"thought": 0, "at_most": None, "usual": None}, {"thought": 0, "at_most": None, "usual": None}),
        (Planned, {"engine": "small"}, {}),
        (Planned, {"engine": "small", **WHOLE}, {**WHOLE, "features": [0.5, 1.0]}),
        (Approve, {"tool": "pay"}, {"tool": "pay"}),
        (Deny, {}, {}),
    ],
)
def test_a_decision_comes_back_from_the_journal_as_it_was(
    kind: type[Decision], own: dict[str, object], detail: dict[str, object]
) -> None:
    given = kind(reason="why", threshold=0.5, margin=-0.1, alternatives=("keep", "stop"), **own)  # type: ignore[arg-type]
    kept = _detail(given)
    assert (loads(kept) if kept else {}) == detail
    assert decision_of(row(given.action, str(own.get("engine", "")), kept), ()) == given


@pytest.mark.parametrize(
    ("action", "detail", "own"),
    [
        ("rewrite", '{"max_tokens": null, "attempt": 3}', {"max_tokens": None, "attempt": 3}),
        ("handoff", '{"until": null, "turns": 2}', {"until": None, "turns": 2}),
        ("plan", '{"max_tokens": null, "logprobs": 0, "whole": false, "lead": "So"}', {"lead": "So", "features": ()}),
        ("plan", '{"max_tokens": 9, "logprobs": 2, "whole": true}', {"max_tokens": 9, "whole": True}),
        ("deny", "", {"tool": ""}),
        ("verify", "", {"action": "keep"}),
    ],
)
def test_what_an_older_journal_says_of_a_decision_is_understood(
    action: str, detail: str, own: dict[str, object]
) -> None:
    found = decision_of(row(action, "large", detail), ())
    assert {name: getattr(found, name) for name in own} == own
