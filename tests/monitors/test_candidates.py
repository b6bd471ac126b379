"""What a step's text tells: an answer, a doubt, a new thought."""

from __future__ import annotations

from time import perf_counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.bench.workloads.expression import Number, Operation
from orchestrator.bench.workloads.solution import reason
from orchestrator.monitors.candidates import begins_anew, candidate_in, has_cue


@pytest.mark.parametrize(
    ("text", "candidate"),
    [
        ("354-5=349\n349\n\n", "349"),
        ("349", "349"),
        ("-7\n\n", "-7"),
        ("1,024.5", "1,024.5"),
        ("3/4\n", "3/4"),
        ("50%", "50%"),
        ("**42.**\n\n", "42"),
        ("$42$", "42"),
        ("so \\boxed{\\frac{1}{2}} it is\n\n", "\\frac{1}{2}"),
        ("\\boxed{1} or rather \\boxed{2}", "2"),
        ("Therefore the answer is 12 apples.\n\n", "12 apples"),
        ("**Answer:** 12", "12"),
        ("12+47=59\n59*6-5\n\n", None),
        ("354-5=349", None),
        ("349\nbut is it?", None),  # the last line counts
        ("answer is", None),
        ("\\boxed{", None),
        ("\\boxed{ }", None),
        ("the answers are two", None),
        ("", None),
        ("\n\n", None),
        ("1 2", None),
        ("--5", None),
    ],
)
def test_an_answer_is_what_the_last_line_states(text: str, candidate: str | None) -> None:
    assert candidate_in(text) == candidate


def test_the_pocket_pairs_thoughts_state_an_answer_where_it_is_known_and_not_before() -> None:
    expression = Operation("-", Operation("*", Number(59), Number(6)), Number(5))
    steps = [f"{step.text}\n\n" for step in reason(expression, rechecks=2)]
    stated = [candidate_in(step) for step in steps]
    first = stated.index("349")
    assert stated[:first] == [None] * first
    assert any(map(begins_anew, steps[first + 1 :]))
    assert not any(map(begins_anew, steps[: first + 1]))


@pytest.mark.parametrize(
    ("text", "is_cue", "is_anew"),
    [
        ("Wait, let me check.", True, True),
        ("WAIT", True, True),
        ("\n\n  Hmm. So", True, True),
        ('"Alternatively, we could', True, True),
        ("It is 5. Wait, is it?", True, False),
        ("5\nhmmm, no", True, False),
        ("But 5 is odd.", False, True),
        ("We wait for it", False, False),
        ("Waiting is fine", False, False),
        ("So alternatively, 6", False, False),
        ("", False, False),
    ],
)
def test_a_cue_begins_a_sentence_and_a_new_thought_begins_the_step(text: str, is_cue: bool, is_anew: bool) -> None:
    assert has_cue(text) == is_cue
    assert begins_anew(text) == is_anew


@settings(max_examples=50)
@given(st.text())
def test_any_text_can_be_read_and_a_candidate_has_text(text: str) -> None:
    has_cue(text), begins_anew(text)
    assert candidate_in(text) is None or candidate_in(text)


@pytest.mark.parametrize("text", ["\n" * 100_000, "\\boxed{" * 20_000, "answer is " * 20_000, "." * 100_000 + "wait"])
def test_hostile_text_is_read_in_no_time(text: str) -> None:
    start = perf_counter()
    has_cue(text), begins_anew(text), candidate_in(text)
    assert perf_counter() - start < 0.5
