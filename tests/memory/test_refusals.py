"""Proposals that were turned away, as they are kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.behaviors import MAX_INSTRUCTION, MAX_NAME, Add
from orchestrator.errors import UnknownName, UserError
from orchestrator.memory.handbook import Handbook
from orchestrator.memory.refusals import MOST, Refusal
from orchestrator.memory.store import Store


@pytest.fixture
def handbook(tmp_path: Path) -> Iterator[Handbook]:
    with Store(tmp_path / "handbook.db") as store:
        yield Handbook(store)


def refusal(name: str = "behavior_a", instruction: str = "Say 42.", **more: str) -> Refusal:
    return Refusal(
        **{**dict(section="", polarity="do", gate="orders", reason="why"), **more}, name=name, instruction=instruction
    )


def keep(handbook: Handbook, *refusals: Refusal) -> None:
    handbook.study("run", "large", [], refusals, reason="learned")


def test_what_is_refused_is_kept_once_with_gate_reason_run_and_time(handbook: Handbook) -> None:
    keep(handbook, refusal(run="r1", task="t1"), refusal("behavior_b"))
    keep(handbook, refusal(gate="twice"), refusal(instruction="Say 43."))
    assert [(each.number, each.name, each.instruction, each.gate) for each in handbook.refused()] == [
        (4, "behavior_a", "Say 43.", "orders"),
        (2, "behavior_b", "Say 42.", "orders"),
        (1, "behavior_a", "Say 42.", "orders"),
    ]
    first = handbook.refused()[-1]
    assert (first.reason, first.run, first.task) == ("why", "r1", "t1") and first.at_s > 0
    assert Handbook(handbook._store, "other").refused() == []


HOSTILE = "\x1b[2J\udfff\u202e\0" * 400_000 + "'; DROP TABLE refused; --"


def test_hostile_and_endless_text_is_kept_short_and_spelled_out(handbook: Handbook) -> None:
    keep(handbook, Refusal(*[HOSTILE] * 8), refusal("'; DROP TABLE refused; --"))
    sql, kept = handbook.refused()
    assert (sql.name, kept.number) == ("'; DROP TABLE refused; --", 1)
    texts = [text for text in kept if isinstance(text, str)]
    assert all(text.isprintable() and text.startswith("\\x1b[2J\\udfff\\u202e\\x00") for text in texts)
    assert len(kept.instruction) > MAX_INSTRUCTION and len(kept.name) > MAX_NAME  # so it cannot be let in as it is
    assert max(map(len, texts)) <= 2 * MAX_INSTRUCTION


def test_only_the_newest_are_kept(handbook: Handbook) -> None:
    keep(handbook, *(refusal(instruction=f"Say {number}.") for number in range(MOST)))
    assert len(handbook.refused()) == MOST
    keep(handbook, refusal("behavior_b"), refusal("behavior_c"))
    numbers = [each.number for each in handbook.refused()]
    assert (len(numbers), numbers[0], numbers[-1]) == (MOST, MOST + 2, 3)


def test_a_number_is_never_given_twice(handbook: Handbook) -> None:
    keep(handbook, refusal())
    assert (handbook.forget_refused([1, 1, 7]), handbook.refused()) == (1, [])
    keep(handbook, refusal())
    assert [each.number for each in handbook.refused()] == [2]


def test_what_is_let_in_is_refused_no_longer_and_what_cannot_be_stays(handbook: Handbook) -> None:
    handbook.apply([Add("behavior_there", "Look.")])
    keep(handbook, refusal(), refusal("behavior_there"))
    change = handbook.admit(1, Add("behavior_a", "Say 42."), reason="by hand")
    assert (change.after[0].name, change.reason) == ("behavior_a", "by hand")
    with pytest.raises(UserError, match="behavior_there is behavior 1 already"):
        handbook.admit(2, Add("behavior_there", "Say 42."), reason="by hand")
    with pytest.raises(UnknownName, match="number 1"):
        handbook.admit(1, Add("behavior_b", "Say 42."), reason="by hand")
    assert [each.number for each in handbook.refused()] == [2]


def test_what_a_run_taught_is_on_disk_together_or_not_at_all(handbook: Handbook) -> None:
    twice = [Add("behavior_b", "One."), Add("behavior_b", "Two.")]
    with pytest.raises(UserError, match="behavior_b is behavior 1 already"):
        handbook.study("r1", "large", twice, [refusal()], reason="learned")
    assert (handbook.behaviors(), handbook.refused(), handbook.has_studied("r1", "large")) == ([], [], False)
    handbook.study("r1", "large", twice[:1], [refusal()], reason="learned")
    assert (len(handbook.behaviors()), len(handbook.refused()), handbook.has_studied("r1", "large")) == (1, 1, True)
