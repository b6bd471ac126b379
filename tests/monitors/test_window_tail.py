"""The last moves of a run are the same whether all of it is read or its end only."""

from __future__ import annotations

from time import process_time

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from watched import agent, history, steps_of, thinking

from orchestrator.monitors.window import has_ended, moves_of
from orchestrator.types import StepKind

TURNS = st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=40)


@settings(max_examples=60, deadline=None)
@given(turns=TURNS, last=st.integers(1, 12), window=st.integers(0, 6))
def test_the_last_moves_are_the_end_of_all_moves(turns: list[tuple[int, bool]], last: int, window: int) -> None:
    parts = [(StepKind.THOUGHT, "begin")]
    for num, (thoughts, is_answered) in enumerate(turns):
        parts += [(StepKind.THOUGHT, f"thought {num}")] * thoughts + [(StepKind.ACTION, f"call {num}")]
        parts += [(StepKind.OBSERVATION, f"answer {num}")] * is_answered
    run = history(steps_of(*parts), window=min(window, len(parts) - 1))
    assume(any(kind in (StepKind.ACTION, StepKind.OBSERVATION) for kind, _ in parts[run.window :][-2 * last - 2 :]))
    assert moves_of(run, last=last) == moves_of(run)[-last:]


def test_moves_until_a_step_leave_out_what_came_behind_it() -> None:
    run = agent(("a()", "1"), ("b()", "2"), ("c()", "3"))
    assert [move.action for move in moves_of(run, last=2, until=3)] == ["a()", "b()"]
    assert [move.action for move in moves_of(run, until=1)] == ["a()"]


def test_a_move_has_ended_with_what_came_of_it_and_only_then() -> None:
    run = agent(("so", "a()", "1"), ("then", "b()", "2"))
    assert has_ended(run, moves_of(run))
    run.steps.pop()
    assert not has_ended(run, moves_of(run))
    assert not has_ended(run, [])
    run = history(steps_of((StepKind.ACTION, "a()"), (StepKind.OBSERVATION, "1"), (StepKind.THOUGHT, "so")))
    assert not has_ended(run, moves_of(run))


def test_reading_the_end_takes_no_longer_in_a_long_run() -> None:
    def seconds(num: int) -> float:
        run = thinking(*["so it goes on"] * num)
        took = []
        for _ in range(5):
            began = process_time()
            for _ in range(50):
                moves_of(run, last=5)
            took.append(process_time() - began)
        return min(took)

    assert seconds(5_000) < 5 * seconds(50)
