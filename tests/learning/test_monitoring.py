"""Stored runs become labelled looks, looks become a monitor, and what tells nothing is no monitor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from errand_runs import Goods, Loops, errands_drawn, looping, steps_of, store, stored_errands, worked

from orchestrator.config import monitor_file
from orchestrator.engines.base import Request
from orchestrator.engines.scripted import Scripted
from orchestrator.errors import UserError
from orchestrator.learning.asking import Asked, drawn
from orchestrator.learning.hashed import descended, texts_of
from orchestrator.learning.labelling import by_rules, from_file, voted
from orchestrator.learning.looks import Look, Watched, watched
from orchestrator.learning.metrics import average_precision, best_f1, precision_recall_f1
from orchestrator.learning.monitor_report import Judged, lines, measured
from orchestrator.learning.monitoring import threshold_of, train, write
from orchestrator.learning.table import split_of
from orchestrator.memory.journal import Journal
from orchestrator.memory.store import Store
from orchestrator.monitors.classified import Classified
from orchestrator.monitors.monitor_file import MonitorFile
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.types import Event, History, Task

NAN = float("nan")


@pytest.fixture
def journal() -> Iterator[Journal]:
    with Store(":memory:") as opened:
        made = Journal(opened)
        yield made
        made.close()


def seen(journal: Journal, ids: list[str], kind: str = "stuck") -> list[Watched]:
    stored = [found for each in ids if (found := journal.stored(each)) is not None]
    return watched(stored, kind, 6, 3)


@pytest.fixture(scope="module")
def runs() -> list[Watched]:
    with Store(":memory:") as opened:
        journal = Journal(opened)
        return seen(journal, [run for run, _, _ in stored_errands(journal)])


@pytest.fixture(scope="module")
def stuck(runs: list[Watched]) -> MonitorFile:
    return trained(runs)


def trained(runs: list[Watched], labels: Any = None, **options: Any) -> MonitorFile:
    found = by_rules(Loops(), "stuck", runs) if labels is None else labels
    given: dict[str, Any] = {"kind": "stuck", "window": 6, "min_moves": 3, "false_alarms": 0.05, "labels": ["rules"]}
    return train(voted([found], runs), **{**given, **options})


# ---- what is looked at


def test_a_run_is_looked_at_where_its_moves_end_up_to_a_handover(journal: Journal) -> None:
    errand = errands_drawn(1)[0]
    steps = steps_of(looping(errand))
    whole = store(journal, errand, steps, answer=None, name="whole")
    cut = store(journal, errand, steps, answer=None, name="cut", handed_over=15)
    looks = {run.run: [look.step for look in run.looks] for run in seen(journal, [whole, cut])}
    assert looks[cut] == [step for step in looks[whole] if step < 15] != []
    assert looks[whole] == [step for step in looks[whole] if step % 3 == 2] and looks[whole][-1] == len(steps) - 1


def test_short_unfinished_and_asked_runs_give_nothing(journal: Journal) -> None:
    errand = errands_drawn(1)[0]
    short = store(journal, errand, steps_of(worked(errand)[:1]), answer="1", name="short")
    asked, learned = (
        store(journal, errand, steps_of(looping(errand)), answer="1", name=batch, batch=batch)
        for batch in ("train-monitor:x", "learn x")
    )
    stored = journal.stored(store(journal, errand, steps_of(looping(errand)), answer="1", name="going"))
    assert stored is not None and watched([stored], "stuck", 6, 3)
    assert seen(journal, [short, asked, learned]) == watched([stored._replace(outcome=None)], "stuck", 6, 3) == []


@pytest.mark.parametrize(("answer", "has_succeeded"), [("gold", True), ("wrong", False), (None, False)])
def test_a_run_succeeded_if_it_gave_the_gold_answer(journal: Journal, answer: str | None, has_succeeded: bool) -> None:
    errand = errands_drawn(1)[0]
    given = errand.answer if answer == "gold" else answer
    [run] = seen(journal, [store(journal, errand, steps_of(looping(errand), given or ""), answer=given)])
    assert run.has_succeeded is has_succeeded


def test_of_a_run_that_was_handed_over_nobody_knows_whether_it_would_have_succeeded(journal: Journal) -> None:
    errand = errands_drawn(1)[0]
    steps = steps_of(looping(errand), errand.answer)
    cut, whole = (
        seen(journal, [store(journal, errand, steps, answer=errand.answer, name=name, **also)])[0]
        for name, also in (("cut", {"handed_over": 15}), ("whole", {}))
    )
    assert (cut.has_succeeded, whole.has_succeeded) == (None, True)
    quiet = [(run, np.zeros(len(run.looks))) for run in (cut, whole)]
    assert [Judged.of("milestone", run, zeros, zeros).is_healthy for run, zeros in quiet] == [False, True]


# ---- labels


def watched_by_hand(looks: tuple[Look, ...], steps: Any = (), *, has_succeeded: bool | None = True) -> Watched:
    history = History(task=Task.of("q"), engines=("small", "large"), seed=0, steps=list(steps))
    return Watched(run="r", task="t", has_succeeded=has_succeeded, history=history, looks=looks)


@pytest.mark.parametrize(
    ("fires", "has_succeeded", "labels"),
    [
        (".....!.", True, "n??yyyn"),
        (".....!.", False, "???yyy?"),
        ("......", True, "nnnnnn"),
        ("......", False, "??????"),
        ("......", None, "??????"),
        ("!.....", True, "ynnnnn"),
        ("!!!", False, "yyy"),
    ],
)
def test_rules_label_by_what_comes_next(fires: str, has_succeeded: bool | None, labels: str) -> None:
    class Spoken:
        def watch(self, history: History) -> Event | None:
            step = len(history.steps) - 1
            return Event("stuck", "") if step % 3 == 2 and fires[step // 3] == "!" else None

    looks = tuple(Look("r", 3 * place + 2, "") for place in range(len(fires)))
    run = watched_by_hand(looks, steps_of([("a", "b", "c")] * len(fires)), has_succeeded=has_succeeded)
    found = by_rules(Spoken(), "stuck", [run])
    told = {True: "y", False: "n", None: "?"}
    assert "".join(told[found.get((look.run, look.step))] for look in looks) == labels


def test_what_rules_notice_between_two_looks_belongs_to_the_second_and_they_see_their_own_events() -> None:
    class OnceAtAnAction:
        def watch(self, history: History) -> Event | None:
            is_first = not history.events and len(history.steps) == 5
            return Event("milestone", "") if is_first or any(e.step != 4 for e in history.events) else None

    looks = (Look("r", 2, ""), Look("r", 5, ""), Look("r", 8, ""))
    run = watched_by_hand(looks, steps_of([("a", "b", "c")] * 3))
    assert list(by_rules(OnceAtAnAction(), "milestone", [run]).values()) == [False, True, False]


def test_rules_that_tell_of_a_loop_once_label_it_to_its_end() -> None:
    class Once:
        def watch(self, history: History) -> Event | None:
            return None if history.events else Event("stuck", "")

    looks = tuple(Look("r", 3 * place + 2, "") for place in range(6))
    run = watched_by_hand(looks, steps_of([("a", "b", "c")] * 6), has_succeeded=False)
    assert list(by_rules(Once(), "stuck", [run]).values()) == [True] * 6


def test_rules_label_milestones_as_they_notice_them(journal: Journal) -> None:
    errand = errands_drawn(1)[0]
    turns = [("a", "b", "error: busy"), ("a", "b", "error: busy"), ("a", "b", "7"), ("a", "b", "error: no")]
    [run] = seen(journal, [store(journal, errand, steps_of(turns), answer=None)], "milestone")
    labels = by_rules(Goods(), "milestone", [run])
    assert [labels[look.run, look.step] for look in run.looks][-2:] == [True, False]


def test_rules_that_have_to_ask_an_engine_and_a_class_are_refused(runs: list[Watched]) -> None:
    class Asks:
        async def look(self, history: History, ask: Any) -> None: ...

    for given in (Asks(), Loops):
        with pytest.raises(UserError, match="cannot watch a stored run"):
            by_rules(given, "stuck", runs)


@pytest.mark.parametrize(
    ("votes", "label"),
    [
        ("", None),
        ("y", True),
        ("n", False),
        ("yn", None),
        ("yyn", None),
        ("yyyn", True),
        ("yynn", None),
        ("nnny", None),
        ("nnnn", False),
        ("yyyyyynn", True),
    ],
)
def test_three_quarters_make_a_yes_nobody_a_no_and_the_rest_is_dropped(votes: str, label: bool | None) -> None:
    labellings = [{("r", 2): vote == "y"} for vote in votes] + [{("r", 3): True}]
    [(_, found)] = voted(labellings, [watched_by_hand((Look("r", 2, ""),))])
    assert found == [label]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('{"run": "a", "step": 1}', ":2: no label: it has run, step and label"),
        ('{"run": "a", "step": 1, "label": true, "who": "me"}', ":2: no label: it has run, step and label"),
        ('{"run": 1, "step": 1, "label": true}', ":2: no label: run = 1"),
        ('{"run": "a", "step": -1, "label": true}', ":2: no label: step = -1"),
        ('{"run": "a", "step": true, "label": true}', ":2: no label: step = True"),
        ('{"run": "a", "step": 1, "label": 1}', ":2: no label: label = 1"),
        ('{"run": "a", "step": 0, "label": false}', ":2: run a, step 0 has the other label"),
        ("[]", ":2: not a JSON object"),
        ("{", ":2: not JSON"),
    ],
)
def test_a_line_that_is_no_label_is_refused_by_its_place(tmp_path: Path, line: str, told: str) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_text('{"run": "a", "step": 0, "label": true}\n' + line + "\n")
    with pytest.raises(UserError) as refused:
        from_file(path)
    assert told in str(refused.value) and "\n" not in str(refused.value)


# ---- training


def test_loops_are_told_from_good_runs_on_tasks_that_were_not_fitted_on(stuck: MonitorFile) -> None:
    found = stuck
    for name in ("average_precision", "auc", "f1", "precision", "recall", "caught"):
        assert found.measured[name][0] >= 0.95, name
    assert found.measured["false_alarms"][0] == 0
    told = "\n".join(lines(found.measured))
    assert all(word in told for word in ("PR-AUC", "F1", "false alarms", "[95% intervals by task]"))


def test_separable_texts_reach_an_f1_of_one(runs: list[Watched]) -> None:
    found = trained(runs, {look[:2]: not run.has_succeeded for run in runs for look in run.looks})
    assert (found.measured["f1"][0], found.measured["average_precision"][0]) == (1, 1)
    assert 0 < found.threshold < 1


def test_shuffled_labels_are_refused(runs: list[Watched]) -> None:
    labels = by_rules(Loops(), "stuck", runs)
    shuffled = list(labels.values())
    Random(1).shuffle(shuffled)
    with pytest.raises(UserError, match="no validation run is healthy"):
        trained(runs, dict(zip(labels, shuffled, strict=True)))
    is_stuck = [not run.has_succeeded for run in runs]
    Random(1).shuffle(is_stuck)
    swapped = [replace(run, has_succeeded=not is_one) for run, is_one in zip(runs, is_stuck, strict=True)]
    with pytest.raises(UserError, match="it tells nothing"):
        trained(swapped, {look[:2]: not run.has_succeeded for run in swapped for look in run.looks})


def test_no_task_is_on_both_sides_and_the_file_lists_what_it_was_fitted_on(journal: Journal) -> None:
    ids = []
    for run, errand, is_looping in stored_errands(journal):  # every loop three times
        names = ("again", "once more") if is_looping else ()
        ids += [run, *(store(journal, errand, steps_of(looping(errand)), answer=None, name=name) for name in names)]
    runs = seen(journal, ids)
    found = trained(runs)
    held_out = {run.task for run in runs if split_of(run.task) == "held-out"}
    assert held_out and not held_out & set(found.fitted_on)
    assert {run.task for run in runs} == held_out | set(found.fitted_on)
    assert found.measured["tasks"] == len(held_out) < found.measured["runs"]


def test_what_is_left_open_is_dropped_and_counted(runs: list[Watched], stuck: MonitorFile) -> None:
    labels = by_rules(Loops(), "stuck", runs)
    fewer = dict(list(labels.items())[::2])
    whole, half = stuck, trained(runs, fewer)
    looks = sum(len(run.looks) for run in runs)
    assert (whole.data["rows"], whole.data["dropped"]) == (len(labels), looks - len(labels))
    assert (half.data["rows"], half.data["dropped"]) == (len(fewer), looks - len(fewer))
    assert whole.data["fingerprint"] != half.data["fingerprint"]


def test_the_same_runs_and_labels_make_the_same_bytes(runs: list[Watched], stuck: MonitorFile, tmp_path: Path) -> None:
    one, other = tmp_path / "one.json", tmp_path / "other.json"
    write(replace(stuck, made="today"), one)
    write(replace(trained(runs), made="today"), other)
    assert one.read_bytes() == other.read_bytes()
    assert monitor_file(str(one)) == replace(stuck, made="today")


def test_what_is_said_live_is_what_was_measured(runs: list[Watched], stuck: MonitorFile) -> None:
    monitor = Classified(learnt=stuck)
    spoken = 0
    for run in runs[:12]:
        texts = {look.step: look.text for look in run.looks}
        for number in range(1, len(run.history.steps) + 1):
            event = monitor.watch(replace(run.history, steps=run.history.steps[:number]))
            chance = stuck.chance(texts[number - 1]) if number - 1 in texts else -1.0
            assert (event is not None) is (chance >= stuck.threshold)
            spoken += event is not None
    assert spoken


def test_milestones_are_learnt_beside_their_task(journal: Journal) -> None:
    ids = [run for run, _, _ in stored_errands(journal)]
    runs = seen(journal, ids, "milestone")
    assert all(look.text.startswith("Task: Tools: calc") for run in runs for look in run.looks)
    found = trained(runs, by_rules(Goods(), "milestone", runs), kind="milestone", false_alarms=0.2)
    assert found.kind == "milestone" and found.measured["average_precision"][1] > found.measured["base_rate"][0]
    assert Classified(kind="milestone", learnt=found).watch(runs[0].history) is None  # its last step is the answer


@pytest.mark.parametrize(
    ("label", "told"),
    [
        (None, "runs has a label: rules find none stuck, and call none well but those of runs that were completed"),
        (True, "labelled moves of the train tasks are a yes: both are needed"),
        (False, "0 of the"),
    ],
)
def test_one_class_alone_is_refused(runs: list[Watched], label: bool | None, told: str) -> None:
    given = {} if label is None else {look[:2]: label for run in runs for look in run.looks}
    with pytest.raises(UserError) as refused:
        trained(runs, given)
    assert told in str(refused.value) and "\n" not in str(refused.value)


def test_no_run_at_all_is_refused() -> None:
    with pytest.raises(UserError, match="no run to learn from"):
        trained([])


def test_without_a_healthy_run_no_threshold_can_be_chosen(runs: list[Watched]) -> None:
    labels = by_rules(Loops(), "stuck", runs)
    with pytest.raises(UserError, match="no validation run is healthy"):
        trained([replace(run, has_succeeded=False) for run in runs], labels)


# ---- numbers


def judged(*runs: tuple[str, bool, list[float], list[float]]) -> list[Judged]:
    return [Judged(task, is_healthy, np.array(chances), np.array(labels)) for task, is_healthy, chances, labels in runs]


def test_figures_by_run_count_runs_and_leave_open_looks_out_of_those_by_look() -> None:
    found = measured(
        judged(
            ("a", True, [0.1, 0.9], [0, NAN]),  # a false alarm, at a look that nobody labelled
            ("b", True, [0.1, 0.5], [0, 0]),  # exactly at the threshold: it speaks
            ("c", True, [0.1, 0.4], [0, 0]),
            ("d", False, [0.9, 0.8], [0, 1]),  # caught
            ("e", False, [0.9, 0.2], [NAN, 1]),  # spoken, and not caught
        ),
        0.5,
    )
    values = {name: found[name][0] for name in ("trigger_rate", "false_alarms", "caught", "precision", "recall")}
    assert values == pytest.approx(
        {"trigger_rate": 4 / 5, "false_alarms": 2 / 3, "caught": 1 / 2, "precision": 1 / 3, "recall": 1 / 2}
    )
    assert (found["rows"], found["runs"], found["tasks"]) == (8, 5, 5)


HEALTHY = [(f"h{place}", True, [place / 100], [0.0]) for place in range(20)]


@pytest.mark.parametrize(
    ("share", "alarms"),
    [(0.0, 0), (0.049, 0), (0.05, 1), (0.1, 2), (1.0, 2)],
)
def test_the_threshold_keeps_false_alarms_at_the_share_that_is_allowed(share: float, alarms: int) -> None:
    # The best F1 has 2 false alarms; what else is allowed does not make it speak more.
    given = judged(*HEALTHY, ("s", False, [0.95, 0.175, 0.175], [1.0, 1.0, 1.0]))
    threshold = threshold_of(given, share)
    assert sum(each.speaks(threshold) for each in given if each.is_healthy) == alarms


def test_where_no_threshold_keeps_them_rare_enough_it_is_refused() -> None:
    with pytest.raises(UserError, match="it never notices anything"):
        threshold_of(judged(("h", True, [0.9], [0.0]), ("s", False, [0.8], [1.0])), 0.05)


@pytest.mark.parametrize(
    ("predicted", "truth", "area", "f1", "threshold"),
    [
        ([0.9, 0.8, 0.2, 0.1], [1, 1, 0, 0], 1.0, 1.0, 0.5),
        ([0.5, 0.5, 0.5, 0.5], [1, 0, 0, 0], 0.25, 0.4, 0.5),
        ([0.9, 0.6, 0.3], [0, 1, 0], 0.5, 2 / 3, 0.45),
        ([0.3], [1], 1.0, 1.0, 0.3),
    ],
)
def test_area_and_f1_of_a_table(
    predicted: list[float], truth: list[int], area: float, f1: float, threshold: float
) -> None:
    given, yes = np.array(predicted), np.array(truth, dtype=bool)
    assert average_precision(given, yes) == pytest.approx(area)
    assert best_f1(given, yes) == pytest.approx((f1, threshold))
    assert precision_recall_f1(given, yes, threshold)[2] == pytest.approx(f1)


def test_without_a_yes_there_is_no_area_and_no_f1() -> None:
    nothing, given = np.zeros(2, dtype=bool), np.array([0.1, 0.2])
    assert np.isnan([average_precision(given, nothing), *best_f1(given, nothing)]).all()
    assert np.isnan(precision_recall_f1(given, nothing, 0.9)).all()


def test_the_descent_reaches_the_bottom() -> None:
    texts = texts_of(["good one", "bad one", "good two", "bad two", ""])
    truth, weights = np.array([True, False, True, False, True]), np.ones(5)
    steps = descended(texts, truth, weights, 0.05)
    *_, last = (next(steps) for _ in range(2000))
    errors = (last.chances(texts) - truth) / 5
    slope = np.bincount(texts.places, errors[texts.rows] * texts.values, len(last.weights)) + 0.05 * last.weights
    assert np.abs(slope).max() < 1e-6 and abs(errors.sum()) < 1e-6


# ---- by the large engine


def labeller(request: Request) -> str:
    assert request.prompt is not None
    last = bytes(request.prompt.ids()).decode().rpartition("Observation: ")[2].splitlines()[0]
    return "Answer: perhaps" if "4" in last else f"Answer: {'Yes' if 'busy' in last else 'no'}."


async def test_the_large_engine_labels_and_is_not_asked_twice(runs: list[Watched]) -> None:
    large = Scripted(labeller)
    async with Pipeline({"small": Scripted([]), "large": large}, "small", db=":memory:") as pipeline:
        looks = drawn(runs, 28, 0)
        looks += [looks[0]._replace(step=99), looks[0]._replace(run="the same in another run")]
        first, again = Asked(pipeline, "stuck", looks, votes=2), Asked(pipeline, "stuck", looks, votes=2)
        await first.run(4)
        assert len(first) == len(large.requests) == 2 * len({look.text for look in looks})
        await again.run(4)
        assert len(large.requests) == len(first)
        assert first.labellings == again.labellings and first.output_tokens == again.output_tokens > 0
        one, other = first.labellings
        assert one == other and 0 < len(one) < 30 and first.unanswered > 0
        assert all(one[look[:2]] is ("busy" in look.text.splitlines()[-1]) for look in looks if look[:2] in one)
        ids = [each.id for each in pipeline.journal.runs(100)]
        assert len(ids) == len(first) and seen(pipeline.journal, ids) == []


def test_looks_to_ask_about_are_drawn_from_all_runs_and_follow_from_the_seed(runs: list[Watched]) -> None:
    some = drawn(runs, 20, 0)
    assert len(set(some)) == 20 and some == drawn(runs, 20, 0) != drawn(runs, 20, 1)
    assert len(drawn(runs, 10**6, 0)) == sum(len(run.looks) for run in runs)
