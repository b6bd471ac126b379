"""The shuffled twin: the same names and instructions, none with its own."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.behaviors import Add, Behavior, Retire
from orchestrator.bench.shuffled import lay, shuffled
from orchestrator.memory.handbook import Handbook
from orchestrator.memory.store import Store


def behaviors(number: int) -> list[Behavior]:
    return [
        Behavior(id=n, name=f"behavior_b{n}", instruction=f"Do {n}.", polarity="do_not" if n % 2 else "do")
        for n in range(1, number + 1)
    ]


@given(st.integers(2, 60))
@settings(max_examples=20, deadline=None)
def test_every_name_has_the_instruction_of_another_and_none_is_lost(number: int) -> None:
    own, twin = behaviors(number), shuffled(behaviors(number))
    assert [each.name for each in twin] == [each.name for each in own]
    assert all(each.instruction != other.instruction for each, other in zip(own, twin, strict=True))
    told = {(each.instruction, each.polarity) for each in own}
    assert {(each.instruction, each.polarity) for each in twin} == told


@given(st.integers(2, 60))
@settings(max_examples=20, deadline=None)
def test_one_behavior_more_changes_one_other(number: int) -> None:
    before, after = shuffled(behaviors(number)), shuffled(behaviors(number + 1))
    assert sum(old != new for old, new in zip(before, after, strict=False)) == 1


def test_one_behavior_alone_has_no_twin() -> None:
    assert shuffled(behaviors(1)) == shuffled([]) == []


def test_a_twin_follows_its_handbook_and_is_not_touched_where_nothing_changed(tmp_path: Path) -> None:
    with Store(tmp_path / "book.db") as first, Store(tmp_path / "twin.db") as second:
        book, twin = Handbook(first), Handbook(second)
        for deltas in (
            [Add("behavior_a", "Do a.")],
            [Add("behavior_b", "Do b."), Add("behavior_c", "Do c.", polarity="do_not")],
            [Retire(1)],
            [Retire(2), Add("behavior_d", "Do d.")],
        ):
            book.apply(deltas)
            lay(twin, shuffled(book.behaviors()))
            wanted = shuffled(book.behaviors())
            assert [(each.name, each.instruction) for each in twin.behaviors()] == [each[:2] for each in wanted]
            head = twin.head
            lay(twin, wanted)
            assert twin.head == head
