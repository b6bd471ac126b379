"""Behaviors, the changes of them, and the way back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.behaviors import Add, Behavior, Credit, Merge, Retire, Update
from orchestrator.errors import UnknownName, UserError
from orchestrator.memory.handbook import Handbook
from orchestrator.memory.store import Store


@pytest.fixture
def handbook() -> Iterator[Handbook]:
    with Store(":memory:") as store:
        yield Handbook(store)


def rows_of(handbook: Handbook) -> list[Behavior]:
    return handbook.behaviors(retired=True)


def test_what_is_added_is_found_by_id_and_by_name(handbook: Handbook) -> None:
    handbook.apply([Add("behavior_check", "Check the sum.", section="sums", run="r1", step=3)], reason="learned")
    found = handbook.behavior("behavior_check")
    assert found == handbook.behavior(1) == handbook.behaviors(section="sums")[0]
    assert (found.instruction, found.run, found.step, found.version, found.uses) == ("Check the sum.", "r1", 3, 1, 0)
    assert handbook.behaviors(section="products") == []
    assert [(change.op, change.before, change.reason) for change in handbook.changes()] == [("add", (), "learned")]


@pytest.mark.parametrize(
    ("name", "instruction", "said"),
    [
        ("check", "Do it.", "behavior name 'check'"),
        ("behavior_", "Do it.", "behavior name 'behavior_'"),
        ("behavior_Check", "Do it.", "behavior name"),
        ("behavior_" + "a" * 80, "Do it.", "at most 80"),
        ("behavior_x'; DROP TABLE behaviors; --", "Do it.", "behavior name"),
        ("behavior_check", "", "is empty"),
        ("behavior_check", " Do it.", "space around"),
        ("behavior_check", "Do it.\nThen do that.", "line breaks"),
        ("behavior_check", "Do\u2028it.", "line breaks"),
        ("behavior_check", "Do \x1b[2J it.", "control"),
        ("behavior_check", "Do \u202eit.", "control or invisible"),
        ("behavior_check", "Do \ud800 it.", "control or invisible"),
        ("behavior_check", "x" * 501, "501 characters; at most 500"),
    ],
)
def test_what_is_no_behavior_is_refused_and_nothing_is_written(
    handbook: Handbook, name: str, instruction: str, said: str
) -> None:
    with pytest.raises(UserError, match=said):
        handbook.apply([Add("behavior_good", "Fine."), Add(name, instruction)])
    assert rows_of(handbook) == [] and handbook.changes() == []


def test_where_it_was_learned_is_checked_too(handbook: Handbook) -> None:
    for source in ({"run": "r\n1"}, {"step": -1}, {"step": 1 << 63}, {"step": True}, {"polarity": "maybe"}):
        with pytest.raises(UserError, match="behavior_a: "):
            handbook.apply([Add("behavior_a", "One.", **source)])  # type: ignore[arg-type]


def test_two_active_behaviors_never_share_a_name_and_a_retired_one_frees_its(handbook: Handbook) -> None:
    handbook.apply([Add("behavior_a", "One."), Add("behavior_b", "Two.")])
    with pytest.raises(UserError, match="behavior_a is behavior 1 already"):
        handbook.apply([Add("behavior_a", "Three.")])
    with pytest.raises(UserError, match="behavior_a is behavior 1 already"):
        handbook.apply([Update(2, name="behavior_a")])
    handbook.apply([Retire(1), Add("behavior_a", "Three.")])
    assert handbook.behavior("behavior_a").id == 3
    assert not handbook.behavior(1).is_active


def test_an_update_that_says_the_same_and_a_second_retirement_leave_no_trace(handbook: Handbook) -> None:
    handbook.apply([Add("behavior_a", "One."), Update(1, instruction="Two.")])
    assert handbook.behavior(1).version == 2
    assert handbook.apply([Update(1, instruction="Two.")]) == []
    assert len(handbook.apply([Retire(1), Retire(1)])) == 1
    with pytest.raises(UserError, match="retired"):
        handbook.apply([Update(1, instruction="Three.")])
    with pytest.raises(UnknownName, match="no behavior 9"):
        handbook.apply([Retire(9)])


def test_a_run_counts_once_for_a_behavior_and_again_where_somebody_went_back_behind_it(handbook: Handbook) -> None:
    handbook.apply([Add("behavior_a", "One.")])
    handbook.apply([Credit(1, "r1", "helpful"), Credit(1, "r1", "harmful"), Credit(1, "r2", "neutral")])
    found = handbook.behavior(1)
    assert (found.helpful, found.harmful, found.neutral, found.version) == (1, 0, 1, 1)
    handbook.rollback(1)
    assert handbook.behavior(1).uses == 0
    handbook.apply([Credit(1, "r1", "harmful")])
    assert handbook.behavior(1).harmful == 1


def test_merging_sums_counters_and_a_late_outcome_goes_to_what_took_the_place(handbook: Handbook) -> None:
    handbook.apply([Add(f"behavior_{each}", "Say.") for each in "abc"])
    handbook.apply([Credit(1, "r1", "helpful"), Credit(2, "r1", "helpful"), Credit(3, "r2", "harmful")])
    handbook.apply([Merge(1, (2,), "Say it well."), Merge(3, (1,)), Credit(2, "r3", "neutral")])
    last = handbook.behavior(3)
    assert (last.helpful, last.harmful, last.neutral) == (2, 1, 1)
    assert [(each.id, each.merged_into, each.uses) for each in rows_of(handbook)] == [
        (1, 3, 0),
        (2, 1, 0),
        (3, None, 4),
    ]
    for ids in ((), (3,), (1,), (9,)):
        with pytest.raises(UserError):
            handbook.apply([Merge(3, ids)])


def test_handbooks_of_one_file_do_not_see_each_other() -> None:
    with Store(":memory:") as store:
        one, two = Handbook(store), Handbook(store, "other")
        one.apply([Add("behavior_a", "One.")])
        two.apply([Add("behavior_a", "Two."), Credit(1, "r1", "helpful")])
        one.rollback(0)
        assert rows_of(one) == [] and two.behavior(1).helpful == 1
    with pytest.raises(UserError, match="plain word"):
        Handbook(store, "../other")


def test_a_snapshot_is_a_name_for_a_place_to_go_back_to(handbook: Handbook) -> None:
    handbook.apply([Add("behavior_a", "One.")])
    assert handbook.snapshot("good").seq == 1
    handbook.apply([Update(1, instruction="Worse.")])
    assert handbook.rollback("good") == 1
    assert handbook.behavior(1).instruction == "One." and handbook.head == 1
    assert handbook.rollback(2) == 1 and handbook.behavior(1).instruction == "Worse."
    for name in ("good", "", "12", "a\nb"):
        with pytest.raises(UserError):
            handbook.snapshot(name)
    for place in ("bad", 3, -1):
        with pytest.raises(UnknownName, match=r"no snapshot|give 0 to 2"):
            handbook.rollback(place)


def names(found: list[tuple[Behavior, float]]) -> list[str]:
    return [row.name.removeprefix("behavior_") for row, _ in found]


def test_behaviors_are_found_by_their_words_the_best_first(handbook: Handbook) -> None:
    handbook.apply(
        [
            Add("behavior_check_sums", "Add the digits again from the right.", section="sums"),
            Add("behavior_divide", "Divide step by step and check the remainder.", section="quotients"),
            Add("behavior_draw", "Draw the circle before naming angles.", section="geometry"),
        ]
    )
    assert names(handbook.search("Check this sum")) == ["check_sums", "divide"]  # a name weighs more
    assert names(handbook.search("dividing 7 by 3")) == ["divide"]  # by its stem
    assert names(handbook.search("check", sections=["quotients", "geometry"])) == ["divide"]
    assert names(handbook.search("check", 1)) == ["check_sums"]
    for question in ("", "?!", "nothing here", '" OR 1 --', "NEAR(a b)", "\ud800"):
        assert handbook.search(question) == []


def test_what_is_retired_reworded_or_undone_is_found_as_it_is_now(handbook: Handbook) -> None:
    handbook.apply(
        [Add("behavior_a", "Look left."), Add("behavior_b", "Look up."), Update(1, instruction="Turn round.")]
    )
    assert names(handbook.search("look")) == ["b"] and names(handbook.search("turn")) == ["a"]
    handbook.apply([Retire(2)])
    assert handbook.search("look") == []
    handbook.rollback(2)
    assert names(handbook.search("look")) == ["a", "b"] and handbook.search("turn") == []


def test_a_handbook_is_searched_past_the_better_rows_of_another() -> None:
    with Store(":memory:") as store:
        Handbook(store, "other").apply([Add(f"behavior_check_{each}", "Check.") for each in range(60)])
        one = Handbook(store)
        one.apply([Add("behavior_late", "Do check that the long instruction of this one ranks behind the others.")])
        assert names(one.search("check", 2)) == ["late"]


RARE = ("alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel")
RARE_ONES = [Add(f"behavior_{word}", f"Say {word}.", section="other") for word in RARE]
CARRIED = [Add(f"behavior_add_{each}", f"Carry the ten, case {each}.", section="sums") for each in range(20)]
QUESTION = f"{' '.join(RARE)} carry"


def test_words_of_what_cannot_be_found_crowd_out_nothing() -> None:
    with Store(":memory:") as store:
        Handbook(store, "other").apply(RARE_ONES)
        handbook, expected = Handbook(store), [f"add_{each}" for each in range(20)]
        handbook.apply(CARRIED)
        assert names(handbook.search(QUESTION)) == expected
        handbook.apply([*RARE_ONES, *(Retire(id) for id in range(21, 29))])
        assert names(handbook.search(QUESTION)) == expected
        handbook.apply([*RARE_ONES, Merge(1, tuple(range(29, 37)))])
        assert names(handbook.search(QUESTION)) == expected
        handbook.apply(RARE_ONES)
        assert names(handbook.search(QUESTION, sections=["sums"])) == expected
        assert len(names(handbook.search(QUESTION))) == 8  # of these, all may be found, and few hold the rarest


def test_rows_that_cannot_be_found_take_nothing_of_how_many_may_be_looked_at(handbook: Handbook) -> None:
    said = ["Carry.", "Sum."]
    handbook.apply(Add(f"behavior_{each}", said[each % 2]) for each in range(2002))
    handbook.apply([Add("behavior_carry", "Carry the ten."), Add("behavior_sum", "Sum the digits.")])
    handbook.apply(Retire(each) for each in range(1, 2003))
    assert names(handbook.search("carry sum")) == ["carry", "sum"]


def test_a_section_is_no_word_and_no_other_section_that_looks_like_it(handbook: Handbook) -> None:
    sections = ["sums", "Sums", "sum", "", "sums ed", "\u00e9", "a" * 80]
    handbook.apply(Add(f"behavior_{each}", "Check.", section=section) for each, section in enumerate(sections))
    for each, section in enumerate(sections):
        assert names(handbook.search("check", sections=[section])) == [str(each)]
        assert handbook.search(f"73756d73 \ue00073756d73\ue000 {section.encode().hex()}") == []
    for hostile in ("\ud800", '" OR "check', "nowhere"):
        assert handbook.search("check", sections=[hostile]) == []
    assert names(handbook.search("\U00010570 check", sections=["sum"])) == ["2"]  # a letter that SQLite does not know


def test_what_is_gone_is_found_by_its_words_and_only_while_it_is_gone(handbook: Handbook) -> None:
    handbook.apply([Add(f"behavior_{each}", f"Check the {each}.") for each in "abc"])
    handbook.apply([Retire(1), Merge(3, (2,))])
    assert names(handbook.gone("check")) == ["a"] and handbook.gone("nothing") == []
    handbook.rollback(3)
    assert handbook.gone("check") == [] and names(handbook.search("check")) == ["a", "b", "c"]
    handbook.rollback(0)
    assert handbook.gone("check") == handbook.search("check") == []


def test_a_run_counts_once_for_all_that_was_merged(handbook: Handbook) -> None:
    handbook.apply([Add(f"behavior_{each}", "Say.") for each in "abc"])
    handbook.apply([Credit(1, "r1", "helpful"), Merge(2, (1,)), Merge(3, (2,))])
    assert handbook.apply([Credit(id, "r1", "helpful") for id in (1, 2, 3)]) == []
    handbook.apply([Credit(1, "r2", "harmful")])
    assert (handbook.behavior(3).helpful, handbook.behavior(3).harmful) == (1, 1)
    handbook.rollback(3)
    handbook.apply([Merge(3, (1,)), Credit(1, "r1", "neutral")])  # what was undone counts no more
    assert handbook.behavior(3).neutral == 1


def test_the_changes_of_one_behavior_are_those_that_touched_it(handbook: Handbook) -> None:
    handbook.apply([Add(f"behavior_{each}", f'Write "id": {each}, then go on.') for each in range(1, 13)])
    handbook.apply([Credit(1, "r1", "helpful"), Update(11, section="x"), Merge(2, (1, 12))])
    assert [(each.seq, each.op) for each in handbook.changes(of=1)] == [(1, "add"), (13, "credit"), (15, "merge")]
    assert [each.seq for each in handbook.changes(of=12)] == [12, 15] and handbook.changes(of=99) == []


SPACE = "minilm 1234"


def test_the_nearest_are_found_as_they_are_now_and_each_wording_needs_a_vector_of_its_own(handbook: Handbook) -> None:
    handbook.apply([Add(f"behavior_{each}", f"Say {each}.", section=each) for each in "abc"])
    assert handbook.nearest(SPACE, [1, 0]) == []
    a, b, c = handbook.without_vector(SPACE)
    handbook.put_vectors(SPACE, {a: [1, 0], b: [0.8, 0.6], c: [-3, 0]})
    assert names(handbook.nearest(SPACE, [2, 0])) == ["a", "b", "c"]
    assert [round(likeness, 3) for _, likeness in handbook.nearest(SPACE, [0, 5])] == [0.6, 0, 0]
    assert names(handbook.nearest(SPACE, [0, 1], 1)) == ["b"]
    assert names(handbook.nearest(SPACE, [1, 0], sections=["c"])) == ["c"]
    handbook.apply([Update(1, instruction="Say something else."), Retire(2)])
    assert names(handbook.nearest(SPACE, [1, 0])) == ["c"]
    assert [each.id for each in handbook.without_vector(SPACE)] == [1]
    handbook.rollback(3)
    handbook.apply([Update(1, instruction="Say a third thing.")])
    assert [each.id for each in handbook.without_vector(SPACE)] == [1]  # not the vector of the second wording
    handbook.put_vectors(SPACE, {handbook.behavior(1): [0, 1]})
    assert names(handbook.nearest(SPACE, [0, 1])) == ["a", "b", "c"]
    assert handbook.without_vector("another space") != []


def test_behaviors_beside_the_nearest_are_told_how_near_they_are(handbook: Handbook) -> None:
    handbook.apply([Add(f"behavior_{each}", f"Say {each}.") for each in "abcd"])
    a, b, c, d = handbook.behaviors()
    handbook.put_vectors(SPACE, {a: [1, 0], b: [0.8, 0.6], c: [-1, 0]})
    found = handbook.nearest(SPACE, [1, 0], 1, beside=[c, a, d])
    assert [(each.id, round(cosine, 3)) for each, cosine in found] == [(1, 1), (3, -1)]  # the last has no vector
    handbook.apply([Update(3, instruction="Say something else.")])
    assert names(handbook.nearest(SPACE, [1, 0], 1, beside=[handbook.behavior(3)])) == ["a"]


@pytest.mark.parametrize("vector", [[], [0, 0], [float("nan"), 1], [1, 2, 3], [[1, 0]], ["x", 1], None])
def test_a_vector_that_is_no_direction_in_the_space_is_refused(handbook: Handbook, vector: Any) -> None:
    handbook.apply([Add("behavior_a", "One.")])
    handbook.put_vectors(SPACE, {handbook.behavior(1): [1, 0]})
    with pytest.raises(UserError, match="the embedding of the question"):
        handbook.nearest(SPACE, [1, 0]), handbook.nearest(SPACE, vector)
    handbook.apply([Add("behavior_b", "Two.")])
    for afresh in (handbook, Handbook(handbook._store)):
        with pytest.raises(UserError, match="the embedding of behavior_b"):
            afresh.put_vectors(SPACE, {handbook.behavior(2): vector})


def test_more_vectors_than_one_matrix_holds_are_found_past_the_retired_ones(handbook: Handbook) -> None:
    handbook.apply(Add(f"behavior_{each}", f"Say {each}.") for each in range(1500))
    found = handbook.behaviors()
    handbook.put_vectors(SPACE, {each: [1500 - each.id, each.id] for each in found})
    handbook.apply(Retire(each.id) for each in found[:1400])
    assert [row.id for row, _ in handbook.nearest(SPACE, [1, 0], 3)] == [1401, 1402, 1403]


IDS = st.integers(1, 6)
EFFECTS = st.sampled_from(["helpful", "harmful", "neutral"])
DELTAS = st.one_of(
    st.builds(Add, st.sampled_from([f"behavior_{each}" for each in "abcd"]), st.sampled_from(["One.", "Two."])),
    st.builds(Update, IDS, instruction=st.sampled_from([None, "Three.", "Four."])),
    st.builds(Merge, IDS, st.lists(IDS, max_size=3).map(tuple)),
    st.builds(Retire, IDS),
    st.builds(Credit, IDS, st.sampled_from(["r1", "r2"]), EFFECTS),
)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.one_of(DELTAS, st.integers(0, 12), st.just("embed")), max_size=20))
def test_what_has_no_vector_is_told_from_the_changes_as_from_looking_through_all(actions: list[Any]) -> None:
    with Store(":memory:") as store:
        handbook = Handbook(store)
        for action in actions:
            with suppress(UserError):
                if action == "embed":
                    handbook.put_vectors(SPACE, {each: [1, each.id] for each in handbook.without_vector(SPACE, 2)})
                elif isinstance(action, int):
                    handbook.rollback(action)
                else:
                    handbook.apply([action])
            afresh = Handbook(store)
            assert handbook.without_vector(SPACE) == afresh.without_vector(SPACE)
            assert handbook.num_without_vector(SPACE) == len(afresh.without_vector(SPACE))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(DELTAS, st.integers(0, 30)), max_size=30))
def test_going_back_anywhere_gives_the_very_rows_and_merges_keep_the_sum_of_counters(actions: list[Any]) -> None:
    with Store(":memory:") as store:
        handbook = Handbook(store)
        seen = {0: rows_of(handbook)}
        for action in actions:
            before = rows_of(handbook)
            if isinstance(action, int):
                handbook.rollback(action % len(seen))
                continue
            try:
                made = handbook.apply([action])
            except UserError:
                assert rows_of(handbook) == before
                continue
            if made:
                seen[made[0].seq] = rows_of(handbook)
                untouched = {row.id for row in made[0].after}
                assert [row for row in rows_of(handbook) if row.id not in untouched] == [
                    row for row in before if row.id not in untouched
                ]
            if isinstance(action, Merge):
                assert sum(row.uses for row in rows_of(handbook)) == sum(row.uses for row in before)
        for seq, rows in seen.items():
            handbook.rollback(seq)
            assert rows_of(handbook) == rows and handbook.head == seq


def test_what_took_the_place_of_something_was_learned_from_all_that_it_was_learned_from(handbook: Handbook) -> None:
    handbook.apply([Add(f"behavior_{name}", f"Do {name}.", task=f"t{name}") for name in "abcd"])
    handbook.apply([Merge(2, (1,)), Merge(3, (2,)), Retire(4)])
    every = [1, 2, 3, 4, 99]
    assert [handbook.learned_from({f"t{name}"}, every) for name in "abc"] == [{1, 2, 3}, {2, 3}, {3}]
    assert handbook.learned_from({"td", "none"}, every) == {4}
    assert handbook.learned_from({"ta"}, [3]) == {3} and handbook.learned_from({"ta"}, [4]) == set()
    assert handbook.learned_from({}, every) == handbook.learned_from({"ta"}, []) == set()
    handbook.rollback(5)  # behind the first merge
    assert handbook.learned_from({"ta"}, every) == {1, 2}


WRITER = """
import sys
from orchestrator.behaviors import Add, Credit
from orchestrator.memory.handbook import Handbook
from orchestrator.memory.store import Store
path, name, many = sys.argv[1], sys.argv[2], int(sys.argv[3])
handbook = Handbook(Store(path, wait_s=60))
for each in range(many):
    added = handbook.apply([Add(f"behavior_{name}_{each}", f"{name} says {each}.")])[0].after[0]
    handbook.apply([Credit(added.id, name, "helpful"), Credit(1, f"{name} {each}", "neutral")])
    print(each, flush=True)
"""


def start(path: Path, name: str, many: int) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", WRITER, path, name, str(many)], stdout=subprocess.PIPE, text=True)


def test_eight_processes_that_learn_at_once_lose_nothing(path: Path) -> None:
    with Store(path) as store:
        Handbook(store).apply([Add("behavior_first", "Be first.")])
    writers = [start(path, f"p{each}", 10) for each in range(8)]
    assert [writer.communicate()[0].splitlines()[-1] for writer in writers] == ["9"] * 8
    with Store(path) as store:
        handbook = Handbook(store)
        assert len(handbook.behaviors()) == 81
        assert handbook.behavior(1).neutral == 80 and sum(row.helpful for row in handbook.behaviors()) == 80
        assert [change.seq for change in handbook.changes()] == list(range(1, 242))
        assert handbook.rollback(1) == 240 and len(rows_of(handbook)) == 1


@pytest.mark.parametrize("after", [1, 7, 20])
def test_a_process_killed_while_it_learns_leaves_whole_changes_only(path: Path, after: int) -> None:
    with Store(path) as store:
        Handbook(store).apply([Add("behavior_first", "Be first.")])
    writer = start(path, "p", 10_000)
    assert writer.stdout is not None
    for _ in range(after):
        writer.stdout.readline()
    os.kill(writer.pid, signal.SIGKILL)
    writer.communicate()
    with Store(path) as store:
        handbook = Handbook(store)
        learned = handbook.behaviors()[1:]
        assert len(learned) >= after and all(row.helpful == 1 for row in learned[:-1])
        assert handbook.head == len(handbook.changes())
        handbook.rollback(1)
        assert [row.name for row in rows_of(handbook)] == ["behavior_first"] and handbook.behavior(1).uses == 0
