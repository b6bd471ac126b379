"""Two stored runs side by side."""

from __future__ import annotations

import pytest
from replayable import made, ran, script

from orchestrator.memory.base import StoredRun
from orchestrator.routers import LargeOnly, Random, SmallOnly, SpecReason
from orchestrator.runtime.fork import ancestors, fork
from orchestrator.traces.diff import diff_of


def test_a_run_does_not_differ_from_itself() -> None:
    run = ran(SpecReason(threshold=5))
    found = diff_of(run, run)
    assert (found.first, found.decisions, found.settings, found.is_same_task) == (None, (), (), True)
    assert all(ours == theirs for each in found.spending for ours, theirs in (each.calls, each.output_tokens))


def test_another_threshold_that_changes_no_step_differs_in_numbers_only() -> None:
    found = diff_of(ran(SpecReason(threshold=5)), ran(SpecReason(threshold=5.5)))
    assert found.first is None
    assert found.settings == ("router",)
    assert found.decisions and not any(each.is_other for each in found.decisions)


def test_runs_part_by_the_first_decision_and_then_by_text() -> None:
    ours, theirs = ran(SpecReason(threshold=0)), ran(SpecReason(threshold=10))
    found = diff_of(ours, theirs)
    assert found.first is not None
    assert (found.first.step, found.first.what) == (0, "decision")
    assert (found.first.ours, found.first.theirs) == ("keep", "rewrite large")
    spent = {(each.engine, each.purpose): each.output_tokens for each in found.spending}
    assert spent["large", "rewrite"] == (0, sum(row.num_tokens for row in theirs.kept()))
    assert spent["small", "draft"][0] == sum(row.num_tokens for row in ours.kept())


@pytest.mark.parametrize(
    ("change", "step", "what", "ours", "theirs"),
    [
        ({"text": "other"}, 1, "text", "as it was", "other"),
        ({"writer": "large"}, 1, "writer", "small", "large"),
    ],
)
def test_runs_part_by_text_or_by_who_wrote_it(
    change: dict[str, str], step: int, what: str, ours: str, theirs: str
) -> None:
    run = ran(SmallOnly())
    rows = [row._replace(text="as it was") if row.step == step else row for row in run.steps]
    run = run._replace(steps=rows)
    other = run._replace(steps=[row._replace(**change) if row.step == step else row for row in rows])
    assert diff_of(run, other).first == (step, what, ours, theirs)


def test_a_run_that_is_shorter_parts_where_it_ends() -> None:
    run = ran(SmallOnly())
    first = diff_of(run, run._replace(steps=run.steps[:-1])).first
    assert first is not None
    assert (first.step, first.what, first.theirs) == (len(run.steps) - 1, "length", "")


def test_a_fork_parts_from_its_parent_behind_what_it_began_with() -> None:
    with made(SpecReason(threshold=5)) as pipeline:
        parent = pipeline.journal.run(pipeline.run("q").run_id)
        name = fork(pipeline.journal, parent, 2, settings=parent.run.settings, engines=parent.run.engines)
        begun = pipeline.journal.run(name)
        behind = ancestors(pipeline.journal, begun)
        first = diff_of(parent, begun, (), behind).first
        assert first is not None and (first.step, first.what, first.theirs) == (2, "length", "")
        pipeline.run("q", run_id=name)
        found = diff_of(parent, pipeline.journal.run(name), (), behind)
        assert (found.first, found.decisions) == (None, ())


def test_a_plan_that_only_one_policy_gives_a_reason_for_is_no_divergence() -> None:
    found = diff_of(ran(SmallOnly()), ran(Random(large_share=0.0)))
    assert found.decisions and found.first is None


def test_the_same_step_after_other_candidates_is_a_divergence() -> None:
    run = ran(SpecReason(threshold=10))
    bare = run._replace(calls=[call for call in run.calls if call.intent.purpose != "draft" or call.intent.step != 1])
    first = diff_of(run, bare).first
    assert first is not None
    assert (first.step, first.what, first.ours, first.theirs) == (1, "candidates", "small rejected", "large kept")


def test_another_task_is_said_to_be_one_and_a_run_without_an_end_has_spent_what_it_has_so_far() -> None:
    with made(LargeOnly(), large=script("large")) as pipeline:
        ours, theirs = (pipeline.journal.run(pipeline.run(task).run_id) for task in ("q", "another"))
    assert not diff_of(ours, theirs).is_same_task
    unfinished: StoredRun = theirs._replace(outcome=None)
    found = diff_of(ours, unfinished)
    assert found.statuses == ("completed", "unfinished")
    paid = diff_of(ours, theirs).spending
    assert [each.output_tokens for each in found.spending] == [each.output_tokens for each in paid]
    assert any(each.output_tokens[1] for each in found.spending)
