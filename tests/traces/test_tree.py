"""A stored tree answers what another policy would have answered: exactly as if it had run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import count
from json import loads
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from replayable import draw, made, ran, script

from orchestrator.behaviors import Add
from orchestrator.engines.base import Request
from orchestrator.errors import UserError
from orchestrator.exports.choosing import BRANCH, Wanted, chosen
from orchestrator.learning.collecting import Collection
from orchestrator.learning.looks import TREE
from orchestrator.memory.base import StoredRun
from orchestrator.memory.handbook import Handbook
from orchestrator.memory.store import Store
from orchestrator.routers import RSD, Entropy, LargeOnly, SmallOnly, SpecReason
from orchestrator.routers.collect import Collect
from orchestrator.runtime.fork import ancestors
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.runtime.portal import run_sync
from orchestrator.runtime.timeline import candidates
from orchestrator.tools import tool
from orchestrator.traces.going_on import gone_on, is_open
from orchestrator.traces.html_page import html
from orchestrator.traces.record import recorded
from orchestrator.traces.replay import replayed
from orchestrator.traces.tree import followed
from orchestrator.traces.what_if import one_step
from orchestrator.types import Budget, Task

STEPS = 3
KEEPS, REWRITES = SpecReason(threshold=0), SpecReason(threshold=10)


def seedless(name: str) -> Any:
    """Writes by what is before, whatever is drawn, and answers by it, too."""

    def write(request: Request) -> str:
        assert request.prompt is not None
        ids = request.prompt.ids()
        if request.purpose == "judge":
            return str(draw(name, ids) % 10)
        done = bytes(ids).count(b"\n\n")
        return f"{name} {draw(name, ids)}\n\n" if done < STEPS else f"\\boxed{{{draw(name, ids) % 100}}}"

    return write


def scripts(*, is_drawn: bool = True) -> dict[str, Any]:
    return {name: script(name, STEPS) if is_drawn else seedless(name) for name in ("small", "large")}


def grown(pipeline: Pipeline, tree: int = STEPS + 1, task: Any = "q", scorer: str = "judge") -> Collection:
    collection = Collection(pipeline, [Task.of(task)], Collect(scorer=scorer, logprobs=0), tree=tree)
    run_sync(collection.run(1))
    return collection


def root(pipeline: Pipeline, collection: Collection) -> StoredRun:
    return pipeline.journal.run(collection.run_ids[0])


def rows(ledger: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    names = ("engine", "purpose", "fate", "calls", "prompt_tokens", "output_tokens")
    return [tuple(row[name] for name in names) for row in ledger]


def text(stored: StoredRun) -> str:
    return "".join(row.text for row in stored.kept())


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 30))
def test_any_threshold_gives_on_a_full_tree_what_running_it_gives(seed: int) -> None:
    with made("small", seed=seed, **scripts(is_drawn=seed % 2 == 0)) as pipeline:
        tree = root(pipeline, grown(pipeline))
        for router in (KEEPS, *(SpecReason(threshold=each) for each in (2, 4, 5, 7, 9)), REWRITES):
            found = followed(pipeline.journal, tree, router)
            real = pipeline.journal.run(pipeline.but(router=router).run("q").run_id)
            assert real.outcome is not None
            assert (found.unknown, found.lacks, found.left) == ("", None, 0)
            assert (found.text, found.answer) == (text(real), real.outcome.answer)
            assert rows(found.ledger.rows()) == rows(loads(real.outcome.ledger))
            assert not found.is_bound


def test_keeping_all_and_rewriting_all_write_what_each_engine_writes_alone() -> None:
    engines = scripts(is_drawn=False)
    with made("small", **engines) as pipeline:
        tree = root(pipeline, grown(pipeline))
        for router, alone, engine in ((KEEPS, SmallOnly(), "small"), (REWRITES, LargeOnly(), "large")):
            found, real = followed(pipeline.journal, tree, router), ran(alone, **engines)
            assert real.outcome is not None
            assert (found.text, found.answer) == (text(real), real.outcome.answer)
            used = found.ledger.total(engine=engine, fate="used", purpose="draft" if engine == "small" else "rewrite")
            [written] = loads(real.outcome.ledger)
            assert (used.prompt_tokens, used.output_tokens) == (written["prompt_tokens"], written["output_tokens"])
        small = followed(pipeline.journal, tree, SmallOnly())
        assert rows(small.ledger.rows()) == rows(loads(ran(SmallOnly(), **engines).outcome.ledger))  # type: ignore[union-attr]


def test_the_policy_that_collected_reproduces_each_run_of_its_tree() -> None:
    with made("small", **scripts()) as pipeline:
        grown(pipeline)
        runs = [pipeline.journal.at(each.key) for each in pipeline.journal.each_run()]
        assert len(runs) == 2**STEPS  # both end with the same answer
        for stored in runs:
            again = followed(pipeline.journal, stored)
            assert (again.parted, again.path, again.left) == (None, (), 0)
            assert stored.outcome is not None and again.answer == stored.outcome.answer


def test_candidates_of_the_same_text_need_no_branch() -> None:
    with made("small", small=seedless("one"), large=seedless("one")) as pipeline:
        collection = grown(pipeline)
        assert collection.branches == 0
        found = followed(pipeline.journal, root(pipeline, collection), REWRITES)
        real = pipeline.journal.run(pipeline.but(router=REWRITES).run("q").run_id)
        assert {each.run for each in found.path} == {collection.run_ids[0]}
        assert real.outcome is not None and found.text == text(real)
        assert rows(found.ledger.rows()) == rows(loads(real.outcome.ledger))


def test_what_a_tree_lacks_is_named_and_nothing_is_made_up() -> None:
    with made("small", **scripts(is_drawn=False)) as pipeline:
        stored = root(pipeline, grown(pipeline, tree=1))
        ends = [followed(pipeline.journal, stored, each) for each in (KEEPS, REWRITES)]
        lacking = next(each for each in ends if each.path or each.lacks)
        assert lacking.lacks is not None and lacking.lacks.step >= 1
        assert (lacking.answer, lacking.text, lacking.is_known) == (None, None, False)
        assert lacking.unknown.endswith("no stored run goes on behind it")
        unread = followed(pipeline.journal, stored, RSD(threshold=0.5))
        assert unread.lacks is not None and unread.unknown == "prm did not score small's step 0"
        assert "reads 5 alternatives" in followed(pipeline.journal, stored, Entropy(threshold=0.5)).unknown


def test_a_tree_has_at_most_two_to_its_depth_runs_and_grows_on_where_it_was_left() -> None:
    with made("small", **scripts(is_drawn=False)) as pipeline:
        assert [grown(pipeline, tree=depth).branches for depth in (0, 1, 2, 3, 2)] == [0, 1, 3, 7, 3]
        calls = [len(pipeline.journal.at(each.key).calls) for each in pipeline.journal.each_run()]
        assert grown(pipeline, tree=3).branches == 7
        assert [len(pipeline.journal.at(each.key).calls) for each in pipeline.journal.each_run()] == calls


class Ended(BaseException):
    """As if somebody ended the process."""


def test_interrupted_again_and_again_a_tree_grows_to_the_same_runs(tmp_path: Path) -> None:
    def stored(pipeline: Pipeline) -> dict[str, tuple[Any, ...]]:
        runs = [pipeline.journal.at(each.key) for each in pipeline.journal.each_run()]
        return {each.run.id: (each.run.parent, each.run.batch, text(each), done(each)) for each in runs}

    def done(run: StoredRun) -> list[Any]:
        results = [(call.intent[2:6], call.intent.digest) for call in run.calls if call.result and call.result.text]
        return sorted(results)

    def dying(write: Callable[[Request], str]) -> Callable[[Request], str]:
        left = count(5, -1)

        def answer(request: Request) -> str:
            if next(left) <= 0:
                raise Ended
            return write(request)

        return answer

    engines, deaths = scripts(is_drawn=False), 0
    with made("small", **engines) as pipeline:
        grown(pipeline)
        whole = stored(pipeline)
    while True:
        try:
            with made("small", db=tmp_path / "j.db", **{**engines, "small": dying(engines["small"])}) as pipeline:
                grown(pipeline)
                assert stored(pipeline) == whole
                break
        except Ended:
            deaths += 1
    assert deaths >= 2


def test_engines_go_on_where_the_tree_ends_and_not_where_the_run_parts() -> None:
    with made("small", seed=3, **scripts()) as pipeline:
        shallow = root(pipeline, grown(pipeline, tree=2))
        for router in (KEEPS, REWRITES, *(SpecReason(threshold=each) for each in (4, 6))):
            found = followed(pipeline.journal, shallow, router)
            if not is_open(found) or not found.path:
                continue
            forked = run_sync(gone_on(pipeline.but(router=router), shallow, found))
            assert forked.run.parent == found.path[-1].run
            assert found.lacks is not None and found.parted is not None
            assert found.parted.step < found.lacks.step == min(intent.step for intent, _ in forked.calls)
            assert text(forked) == text(pipeline.journal.run(pipeline.but(router=router).run("q").run_id))
            return
    raise AssertionError("no replay ends inside the tree")


def test_of_a_tree_only_the_task_s_own_run_credits_behaviors(tmp_path: Path) -> None:
    def cites(request: Request) -> str:
        return f"By behavior_add: {seedless('cites')(request)}" if request.purpose != "judge" else "5"

    with Store(tmp_path / "handbook.db") as store:
        handbook = Handbook(store)
        handbook.apply([Add("behavior_add", "Add the digits from the right.")], reason="test")
        task = Task(messages=Task.of("Add the digits of 17 and 25.").messages, answer="no such answer")
        with made("small", handbook=handbook, small=cites, large=seedless("large")) as pipeline:
            collection = Collection(pipeline, [task], Collect(scorer="judge", logprobs=0), tree=2)
            run_sync(collection.run(1))
            assert collection.branches == 3
        [behavior] = handbook.behaviors()
        assert (behavior.helpful, behavior.harmful) == (0, 1)


def test_a_branch_repeats_no_call_and_is_shown_as_what_it_is() -> None:
    with made("small", **scripts(is_drawn=False)) as pipeline:
        stored = root(pipeline, grown(pipeline, tree=2))
        journal = pipeline.journal
        branches = [journal.at(each.key) for each in journal.each_run() if each.run.parent is not None]
        assert {each.run.batch[: len(TREE)] for each in branches} == {TREE}
        for each in branches:
            parents = ancestors(journal, each)
            begun_with = each.kept()[: min(call.intent.step for call in each.calls)]
            assert min(call.intent.step for call in each.calls) == len(begun_with)
            told = [tried for tried in candidates(each, parents) if tried.verdict == "inherited"]
            assert [(tried.text, tried.writer) for tried in told] == [(row.text, row.writer) for row in begun_with]
            assert told[-1].origin == each.run.parent
            assert recorded(each, parents).steps[len(begun_with) - 1].run == each.run.parent
            assert html(journal, each.run.id)
        assert journal.run("last").run.id == stored.run.id


def test_branches_give_no_rows_and_no_lines_for_trainers() -> None:
    with made("small", **scripts(is_drawn=False)) as pipeline:
        bare = list(grown(pipeline, tree=0).rows())
        collection = grown(pipeline, tree=2)
        assert list(collection.rows()) == bare
        left: Counter[str] = Counter()
        wanted = Wanted(split_of=lambda task: "train", split="all")
        found = [run.stored.run.id for run in chosen(pipeline.journal, wanted, left)]
        assert found == collection.run_ids and left[BRANCH] == collection.branches


def test_a_run_whose_budget_might_have_ended_it_on_the_way_has_no_known_end() -> None:
    engines = scripts(is_drawn=False)
    with made("small", **engines) as pipeline:
        tree = root(pipeline, grown(pipeline))
        found = max(
            (followed(pipeline.journal, tree, each) for each in (KEEPS, REWRITES)), key=lambda each: len(each.path)
        )
        paid = found.ledger.total().output_tokens
    own = max(
        sum(row["output_tokens"] for row in loads(each.outcome.ledger)) for each in (tree,) if each.outcome is not None
    )
    assert paid < own  # collecting is dearer, so a budget that lets a whole run end lets its policies end
    with made("small", budget=Budget(tokens=own + 1), **engines) as pipeline:
        assert followed(pipeline.journal, root(pipeline, grown(pipeline)), REWRITES).is_known
    with made("small", budget=Budget(seconds=1000), **engines) as pipeline:
        timed = followed(pipeline.journal, root(pipeline, grown(pipeline)), REWRITES)
        assert timed.is_known == (not timed.path)
        assert timed.unknown in ("", "its budget may have ended it on the way")


def test_what_if_tells_how_many_answers_would_be_right() -> None:
    engines = scripts(is_drawn=False)
    with made("small", **engines) as pipeline:
        gold = pipeline.but(router=REWRITES).run("q").answer
        task = Task(messages=Task.of("q").messages, answer=gold)
        stored = root(pipeline, grown(pipeline, task=task))
        make = lambda run, options: SpecReason(**options)  # noqa: E731
        values = [0, 5, 10]
        found = one_step([stored], "threshold", values, journal=pipeline.journal, router=make)
        real = [pipeline.but(router=SpecReason(threshold=each)).run(task).answer == gold for each in values]
        assert [each.right for each in found] == real and real[-1]
        assert [each.ended for each in found] == [each.graded for each in found] == [1, 1, 1]
        assert [each.ended for each in one_step([stored], "threshold", values, router=make)] == [
            int(replayed(stored, SpecReason(threshold=each)).parted is None) for each in values
        ]


def test_tools_are_not_called_again_for_a_tree() -> None:
    @tool
    def look(what: str) -> str:
        """Look at something."""
        return what

    with made("small", tools=[look]) as pipeline, pytest.raises(UserError, match="--tree"):
        Collection(pipeline, [Task.of("q")], Collect(), tree=1)
