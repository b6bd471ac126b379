"""Behaviors in what engines write."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import ModelMisbehaved
from orchestrator.handbook.proposals import MAX_PROPOSALS, Proposal, proposals_in

A = Proposal("behavior_check", "Check the sum.")
B = Proposal("behavior_carry", "Carry the one.", "sums", "do_not")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"behavior_check": "Check the sum."}', [A]),
        ('Here they are:\n```json\n{"behavior_check": "Check the sum."}\n```\nDone.', [A]),
        ('```\n{"behavior_old": "x"}\n```\nBetter:\n```\n{"behavior_check": "Check the sum."}\n```', [A]),
        ('Sure! {"behavior_check": "Check the sum."} I hope it helps.', [A]),
        (json.dumps([A._asdict(), B._asdict()]), [A, B]),
        (json.dumps({"behaviors": [B._asdict()]}), [B]),
        ("behavior_check: Check the sum.", [A]),
        (
            "1. **behavior_check**: Check the sum.\n- `behavior_x`: Do x: then y.",
            [A, Proposal("behavior_x", "Do x: then y.")],
        ),
        ('<think>{"behavior_no": "thought about"}</think>{"behavior_check": "Check the sum."}', [A]),
        ('{"check": "x", "Behavior-Check": "y"}', [Proposal("check", "x"), Proposal("Behavior-Check", "y")]),
        ('{"name": "x", "description": "y"} or\nbehavior_check: Check the sum.', [A]),
        ('{"behavior_a": "two\\nlines"}', [Proposal("behavior_a", "two\nlines")]),
        ("{}", []),
        ("```json\n[]\n```", []),
    ],
)
def test_behaviors_are_read_as_engines_write_them(text: str, found: list[Proposal]) -> None:
    assert proposals_in(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I could not find any.",
        "null",
        "[1, 2]",
        '{"behavior_a": 3}',
        '{"name": "Paris", "description": "A clever way to convey a place."}',
        '{"behavior_a": {"nested": "x"}}',
        '{"behavior_a": "one", "behavior_a": "two"}',
        '[{"name": "behavior_a"}]',
        '[{"name": "behavior_a", "instruction": "x", "reward": 1}]',
        "[" * 100_00,
        "x" * 65_537,
        json.dumps({f"behavior_{each}": "x" for each in range(MAX_PROPOSALS + 1)}),
    ],
)
def test_what_cannot_be_read_is_refused_as_a_whole(text: str) -> None:
    with pytest.raises(ModelMisbehaved):
        proposals_in(text)


@given(st.text())
def test_whatever_the_text_it_is_read_or_refused(text: str) -> None:
    for whole in (text, f"```json\n{text}\n```", f'{{"behavior_a": {json.dumps(text)}}}', f"behavior_a: {text}"):
        with suppress(ModelMisbehaved):
            assert all(isinstance(each, Proposal) for each in proposals_in(whole))
