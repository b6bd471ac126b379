"""A handbook beside runs: what they are shown, what they cite, and whose credit that is."""

from __future__ import annotations

import asyncio
from json import loads
from pathlib import Path
from typing import Any

import pytest
from topics import NO_DIRECTIONS, Given, Topic

from orchestrator.behaviors import Add, Credit, Merge, Retire, Update
from orchestrator.engines.base import Request
from orchestrator.engines.scripted import Scripted
from orchestrator.engines.spec import BehaviorPrompt
from orchestrator.errors import ResumeRefused, UserError
from orchestrator.handbook.recall import Recall
from orchestrator.memory.base import LEARNS
from orchestrator.memory.handbook import Handbook
from orchestrator.memory.store import Store
from orchestrator.runtime.fork import branch
from orchestrator.runtime.meaning import AT_ONCE
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.runtime.tasks import fingerprint, question_print
from orchestrator.runtime.timeline import timeline
from orchestrator.runtime.tracking import Tally, tallies, trials
from orchestrator.types import Message, Step, Stop, Task

SUM = Task.of("Add the digits of 17 and 25.")
CITES = "By behavior_add_digits: \\boxed{42}"


class Died(Exception):
    """What ends a session of a run half-way."""


class Says:
    def __init__(self, *texts: str) -> None:
        self.texts, self.prompts = texts, list[str]()

    def __call__(self, request: Request) -> str:
        assert request.prompt is not None
        self.prompts.append(bytes(request.prompt.ids()).decode())
        return self.texts[(len(self.prompts) - 1) % len(self.texts)]


def made(says: Says, handbook: Handbook | Path | None, path: Path, **options: Any) -> Pipeline:
    return Pipeline({"small": Scripted(says)}, "small", db=path / "journal.db", handbook=handbook, **options)


def events(pipeline: Pipeline, run: str) -> dict[str, Any]:
    return {event.kind: loads(event.detail) for event in pipeline.journal.run(run).events if event.detail}


def test_a_prompt_holds_exactly_what_was_recalled_and_credit_goes_to_what_was_cited(
    handbook: Handbook, tmp_path: Path
) -> None:
    says = Says(CITES)
    with made(says, handbook, tmp_path) as pipeline:
        result = pipeline.run(Task(messages=SUM.messages, answer="42"))
        told = events(pipeline, result.run_id)
    assert [line for line in says.prompts[0].splitlines() if line.startswith("- ")] == [
        "- behavior_add_digits: Add the digits from the right.",
        "- behavior_carry_digits: Carry when digits pass nine.",
    ]
    assert told["recalled"]["reason"].startswith("behavior_add_digits, behavior_carry_digits (")
    assert told["cited"]["cited"] == ["behavior_add_digits"] and told["cited"]["unused"] == ["behavior_carry_digits"]
    assert [each.helpful for each in handbook.behaviors()] == [1, 0, 0]


@pytest.mark.parametrize(("gold", "counts"), [("41", (0, 1)), (None, (0, 0))])
def test_a_wrong_answer_is_harmful_and_an_unknown_one_moves_nothing(
    handbook: Handbook, tmp_path: Path, gold: str | None, counts: tuple[int, int]
) -> None:
    with made(Says(CITES), handbook, tmp_path) as pipeline:
        pipeline.run(Task(messages=SUM.messages, answer=gold))
    used = handbook.behavior("behavior_add_digits")
    assert (used.helpful, used.harmful) == counts


def test_a_reward_that_comes_later_is_credited_once(handbook: Handbook, tmp_path: Path) -> None:
    with made(Says(CITES), handbook, tmp_path) as pipeline:
        run = pipeline.run(SUM).run_id
        assert handbook.behavior(1).uses == 0
        pipeline.reward(run, 1.0)
        assert handbook.behavior(1).helpful == 1
        with pytest.raises(UserError, match="has its reward"):
            pipeline.reward(run, 0.0)
    assert handbook.behavior(1).uses == 1


def test_a_name_that_was_not_shown_is_told_and_credits_nobody(handbook: Handbook, tmp_path: Path) -> None:
    with made(Says("By behavior_made_up and behavior_draw_circles: \\boxed{42}"), handbook, tmp_path) as pipeline:
        result = pipeline.run(Task(messages=SUM.messages, answer="42"))
        told = events(pipeline, result.run_id)["cited"]
    assert told["unprovided"] == ["behavior_made_up", "behavior_draw_circles"]
    assert told["reason"] == "cited nothing; made up behavior_made_up, behavior_draw_circles"
    assert all(each.uses == 0 for each in handbook.behaviors())


def test_a_question_is_not_answered_with_what_was_learned_from_itself(handbook: Handbook, tmp_path: Path) -> None:
    handbook.apply([Add("behavior_say_digits", "Say digits.", task=fingerprint(SUM))])
    with made(Says(CITES), handbook, tmp_path) as pipeline:
        shown = events(pipeline, pipeline.run(SUM).run_id)["recalled"]["behaviors"]
        own = pipeline.but(router="small")
        other = events(pipeline, own.run("Add digits.").run_id)["recalled"]["behaviors"]
    assert "behavior_say_digits" not in [each["name"] for each in shown]
    assert "behavior_say_digits" in [each["name"] for each in other]


@pytest.mark.parametrize("is_merged", [False, True])
@pytest.mark.parametrize(
    "messages",
    [
        [("user", "Add the digits of 17 and 25. ")],
        [("user", "Add the  digits of\n17 and 25.")],
        [("system", "Be brief."), ("user", "Add the digits of 17 and 25.")],
    ],
)
def test_nor_is_the_same_question_set_otherwise_or_with_what_took_the_place_of_it(
    handbook: Handbook, tmp_path: Path, messages: list[tuple[str, str]], is_merged: bool
) -> None:
    handbook.apply([Add("behavior_say_digits", "Say digits.", task=question_print(SUM))])
    own = "behavior_say_digits"
    if is_merged:
        own = "behavior_tell_digits"
        handbook.apply([Add(own, "Tell digits.", task="another"), Merge(5, (4,))])
    with made(Says(CITES), handbook, tmp_path) as pipeline:
        same, other = Task(messages=tuple(Message(*each) for each in messages)), Task.of("Add digits.")
        names = [
            [each["name"] for each in events(pipeline, pipeline.run(task).run_id)["recalled"]["behaviors"]]
            for task in (same, other)
        ]
    assert own not in names[0] and "behavior_add_digits" in names[0] and own in names[1]


def test_one_long_behavior_hides_no_other(handbook: Handbook, tmp_path: Path) -> None:
    handbook.apply([Add("behavior_digits_digits", "Digits! " + 400 * "x")])
    with made(Says(CITES), handbook, tmp_path, recall=Recall(tokens=300)) as pipeline:
        told = events(pipeline, pipeline.run("Add digits, digits.").run_id)["recalled"]
    assert [each["id"] for each in told["behaviors"]] == [1, 2] and told["left"] == "tokens"


@pytest.mark.parametrize("every", ["run", "step"])
def test_the_cap_counts_all_that_is_shown(handbook: Handbook, tmp_path: Path, every: Any) -> None:
    shown = f"{BehaviorPrompt().head}\n- behavior_add_digits: Add the digits from the right.\n\n"
    for tokens, is_shown in ((len(shown), True), (len(shown) - 1, False)):
        says = Says(CITES)
        with made(says, handbook, tmp_path, recall=Recall(limit=1, tokens=tokens, every=every)) as pipeline:
            told = events(pipeline, pipeline.run(SUM).run_id)["recalled"]
        assert told["num_tokens"] == len(shown) * is_shown
        assert (shown.strip() in says.prompts[0]) is is_shown


def test_a_resumed_run_reads_what_it_was_shown_whatever_the_handbook_says_by_then(
    handbook: Handbook, tmp_path: Path
) -> None:
    says = Says("One thought.\n\n", "\\boxed{1}")
    with made(says, handbook, tmp_path) as pipeline:

        def stop(event: Any) -> None:
            raise Died

        with pytest.raises(Died):
            pipeline.run(SUM, run_id="it", listener=stop)
    handbook.apply([Update(1, instruction="Say nothing at all.")])
    with made(says, handbook, tmp_path) as pipeline:
        assert pipeline.run(SUM, run_id="it").answer == "1"
    assert says.prompts[1].startswith(says.prompts[0])
    with (
        made(says, handbook, tmp_path, recall=Recall(limit=3)) as pipeline,
        pytest.raises(ResumeRefused, match="limit"),
    ):
        pipeline.run(SUM, run_id="it")


def test_in_a_share_of_the_runs_nothing_is_shown_and_what_would_have_been_is_told(
    handbook: Handbook, tmp_path: Path
) -> None:
    says = Says(CITES)
    withheld = 0
    with made(says, handbook, tmp_path, recall=Recall(withheld=0.5)) as pipeline:
        for number in range(40):
            run = pipeline.run(f"Add the digits of {number}.").run_id
            told = events(pipeline, run)["recalled"]
            assert ("behavior_add_digits" in says.prompts[-1]) is not told["is_withheld"]
            assert [each["id"] for each in told["behaviors"]] == [1, 2]
            withheld += told["is_withheld"]
    assert 10 < withheld < 30


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"limit": 1}, ["add_digits"]),
        ({"tokens": 200}, ["add_digits"]),  # the line above has 124
        ({"tokens": 10}, []),
        ({"mass": 0.5}, ["add_digits"]),
        ({"least": 0.9}, ["add_digits", "carry_digits"]),  # by words there is no cosine
    ],
)
def test_the_caps_hold(handbook: Handbook, tmp_path: Path, options: dict[str, Any], names: list[str]) -> None:
    with made(Says(CITES), handbook, tmp_path, recall=Recall(**options)) as pipeline:
        told = events(pipeline, pipeline.run(SUM).run_id)["recalled"]
    assert [each["name"].removeprefix("behavior_") for each in told["behaviors"]] == names


def test_what_means_the_same_is_found_beside_what_shares_words(handbook: Handbook, tmp_path: Path) -> None:
    meaning = Topic("ircle", "round")
    with made(Says(CITES), handbook, tmp_path, embedding=meaning, recall=Recall(limit=1)) as pipeline:
        told = events(pipeline, pipeline.run("How long is a round pond?").run_id)["recalled"]
        assert [each["name"] for each in told["behaviors"]] == ["behavior_draw_circles"]
        assert told["by"] == "words and meaning" and told["reason"].endswith("by words and meaning")
        assert len(meaning.asked) == 4  # each behavior once, and the question
        pipeline.run("How wide is a round pond?")
        assert len(meaning.asked) == 5


def test_what_a_run_could_not_embed_yet_is_said_and_is_found_by_its_words(handbook: Handbook, tmp_path: Path) -> None:
    handbook.apply(Add(f"behavior_n{number}", f"Count to {number}.") for number in range(AT_ONCE))
    handbook.apply([Add("behavior_peel_apples", "Peel apples thinly.")])
    with made(Says(CITES), handbook, tmp_path, embedding=Topic("ircle", "round"), recall=Recall(limit=1)) as pipeline:
        told = events(pipeline, pipeline.run("How are apples peeled?").run_id)["recalled"]
        assert told["by"] == "words and meaning, 4 not embedded yet"
        assert [each["name"] for each in told["behaviors"]] == ["behavior_peel_apples"]
        told = events(pipeline, pipeline.run("How are pears peeled?").run_id)["recalled"]
        assert told["by"] == "words and meaning"


def test_where_nothing_is_near_by_meaning_nothing_is_shown(handbook: Handbook, tmp_path: Path) -> None:
    recall = Recall(least=0.5)
    with made(Says(CITES), handbook, tmp_path, embedding=Topic("ircle", "round"), recall=recall) as pipeline:
        for question, names in (
            ("How long is a round pond?", ["behavior_draw_circles"]),
            ("Circles, before angles?", ["behavior_draw_circles"]),  # shares words, and is told to be of another kind
            ("What is counted?", ["behavior_add_digits", "behavior_carry_digits"]),
        ):
            told = events(pipeline, pipeline.run(question).run_id)["recalled"]
            assert [each["name"] for each in told["behaviors"]] == names
        handbook.apply([Retire(1), Retire(2)])
        told = events(pipeline, pipeline.run("Add the digits, before angles.").run_id)["recalled"]
    assert (told["behaviors"], told["left"]) == ([], "score")
    assert told["reason"] == "nothing by words and meaning"


def test_by_topic_all_of_the_tasks_topic_is_recalled_those_of_most_worth_first(
    handbook: Handbook, tmp_path: Path
) -> None:
    handbook.apply([Add(f"behavior_{name}", f"Think {name}.", section="sums") for name in ("one", "two", "three")])
    handbook.apply([Credit(6, "run", "helpful"), Credit(4, "run", "harmful")])
    by_topic = Recall(by="topic", limit=2)
    with made(Says(CITES), handbook, tmp_path, recall=by_topic) as pipeline:
        about = Task(messages=SUM.messages, topic="sums")
        told = events(pipeline, pipeline.run(about, run_id="it").run_id)["recalled"]
        assert [each["id"] for each in told["behaviors"]] == [5, 6]  # 4 harmed; what is shown stands by id
        assert told["by"] == "topic sums" and told["left"] == "count"
        assert pipeline.run(about, run_id="it").run_id == "it"  # the topic is the stored task's, too
        for topic, reason in ((None, "nothing by topic, and the task names none"), ("round", "nothing by topic round")):
            told = events(pipeline, pipeline.run(Task(messages=SUM.messages, topic=topic)).run_id)["recalled"]
            assert (told["behaviors"], told["reason"]) == ([], reason)


async def test_runs_that_begin_at_once_embed_each_behavior_once_and_read_what_is_stored_once(
    handbook: Handbook, tmp_path: Path
) -> None:
    meaning = Topic("ircle", "round")
    with made(Says(CITES), handbook, tmp_path, embedding=meaning) as pipeline:
        tasks = [f"How long is round pond {number}?" for number in range(4)]
        results = await asyncio.gather(*(pipeline.arun(task) for task in tasks))
        assert [events(pipeline, each.run_id)["recalled"]["by"] for each in results] == ["words and meaning"] * 4
    assert sorted(meaning.asked) == sorted([*{*meaning.asked}]) and len(meaning.asked) == 3 + 4


def test_one_handbook_serves_all_runs_of_a_pipeline(tmp_path: Path) -> None:
    with made(Says(CITES), tmp_path / "own.db", tmp_path) as pipeline:
        opened = pipeline.handbook
        assert opened is not None and pipeline.handbook is opened
        pipeline.close()
        assert pipeline.handbook is not opened


def test_where_nobody_can_embed_words_are_what_there_is_and_the_trace_says_so(
    handbook: Handbook, tmp_path: Path
) -> None:
    with made(Says(CITES), handbook, tmp_path, embedding=Topic("ircle", "round", is_there=False)) as pipeline:
        told = events(pipeline, pipeline.run(SUM).run_id)["recalled"]
    assert told["by"] == "words, not by meaning: nothing answers"
    assert [each["id"] for each in told["behaviors"]] == [1, 2]


@pytest.mark.parametrize("word", ["17 and 25", "behavior_draw", ""])
@pytest.mark.parametrize(("vector", "said"), NO_DIRECTIONS)
def test_vectors_that_are_no_directions_leave_the_words_and_the_trace_says_so(
    handbook: Handbook, tmp_path: Path, word: str, vector: list[float] | None, said: str
) -> None:
    handbook.put_vectors("given", {handbook.behavior(1): [1.0, 0.0]})
    with made(Says(CITES), handbook, tmp_path, embedding=Given(word, vector)) as pipeline:
        result = pipeline.run(SUM)
        told = events(pipeline, result.run_id)["recalled"]
    assert result.status == "completed" and [each["id"] for each in told["behaviors"]] == [1, 2]
    assert told["by"].startswith("words, not by meaning: ") and said in told["by"]


def test_without_a_handbook_nothing_is_told_and_the_prompt_is_the_tasks(tmp_path: Path) -> None:
    says = Says(CITES)
    with made(says, None, tmp_path) as pipeline:
        told = events(pipeline, pipeline.run(SUM).run_id)
    assert "recalled" not in told and "behavior_add" not in says.prompts[0]


@pytest.mark.parametrize(
    "options",
    [
        {"limit": 0},
        {"tokens": True},
        {"mass": 0},
        {"least": float("nan")},
        {"withheld": "x"},
        {"by": "name"},
        {"mass": 0.5, "by": "topic"},
        {"sections": ["sums"], "by": "topic"},
    ],
)
def test_options_of_recall_that_mean_nothing_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(iter(options))):
        Recall(**options)


def test_a_behavior_that_is_left_out_by_lot_is_not_shown_and_the_others_are(handbook: Handbook, tmp_path: Path) -> None:
    says = Says(CITES)
    left_out = 0
    with made(says, handbook, tmp_path, recall=Recall(left_out=0.5)) as pipeline:
        for number in range(30):
            run = pipeline.run(Task(messages=(Message("user", f"Add the digits of {number}."),), answer="42")).run_id
            told = events(pipeline, run)
            assert [each["id"] for each in told["recalled"]["behaviors"]] == [1, 2]
            shown = [id for id, name in ((1, "add"), (2, "carry")) if f"{name}_digits: " in says.prompts[-1]]
            assert sorted([*shown, *told["recalled"]["left_out"]]) == [1, 2]
            assert told["cited"]["unprovided"] == ([] if 1 in shown else ["behavior_add_digits"])
            left_out += 1 not in shown
    assert 5 < left_out < 25 and handbook.behavior(1).helpful == 30 - left_out


@pytest.mark.parametrize(
    ("recall", "names", "says"),
    [
        (Recall(), ["shown", "cited", "made up"], "behavior_add_digits, behavior_carry_digits, by words, from"),
        (Recall(withheld=1.0), ["withheld", "cited", "made up"], "behavior_add_digits, behavior_carry_digits, by"),
        (Recall(left_out=0.999), ["shown", "left out", "cited", "made up"], "nothing, by words, from handbook default"),
    ],
)
def test_a_timeline_says_what_was_shown_cited_and_made_up(
    handbook: Handbook, tmp_path: Path, recall: Recall, names: list[str], says: str
) -> None:
    with made(Says("By behavior_add_digits, behavior_x: \\boxed{42}"), handbook, tmp_path, recall=recall) as pipeline:
        text = timeline(pipeline.journal.run(pipeline.run(SUM).run_id)).plain
    fields = {line[:9].strip(): line[9:] for line in text.splitlines()}
    assert [name for name in fields if name in ("shown", "withheld", "left out", "cited", "made up")] == names
    assert fields[names[0]].startswith(says)
    assert fields["cited"] == ("behavior_add_digits" if recall == Recall() else "nothing")
    assert fields["made up"] == ("behavior_x" if recall == Recall() else "behavior_add_digits, behavior_x")
    assert "event at step" not in text


def test_the_journal_says_in_how_many_runs_a_behavior_was_shown_and_cited(handbook: Handbook, tmp_path: Path) -> None:
    says = Says("By behavior_add_digits and behavior_x.\n\n", CITES, "\\boxed{1}")
    with made(says, handbook, tmp_path) as pipeline:
        pipeline.run(SUM)
        pipeline.run("Add the digits.")
        pipeline.run("Do circles have angles?")  # nobody is cited
        found = tallies(pipeline.journal, handbook)
    assert found == {1: Tally(2, 1, 0), 2: Tally(2, 0, 0), 3: Tally(1, 0, 0)}


def test_a_branch_of_a_tree_is_no_run_that_a_behavior_was_shown_in(handbook: Handbook, tmp_path: Path) -> None:
    with made(Says("By behavior_add_digits.\n\n", CITES), handbook, tmp_path) as pipeline:
        stored = pipeline.journal.run(pipeline.run(SUM).run_id)
        other = Step(index=0, attempt=1, writer="small", text="Or so.\n\n", num_tokens=2, stop=Stop.DELIMITER)
        child = branch(pipeline.journal, stored, other, batch=f"{LEARNS}tree:small")
        pipeline.run(SUM, run_id=child)
        assert {"recalled", "cited"} <= events(pipeline, child).keys()
        assert tallies(pipeline.journal, handbook) == {1: Tally(1, 1, 0), 2: Tally(1, 0, 0)}


def test_two_handbooks_of_one_name_beside_one_journal_are_told_apart_wherever_they_are_looked_at_from(
    handbook: Handbook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.db"
    with made(Says(CITES), handbook, tmp_path) as pipeline, Store(other) as store:
        pipeline.run(Task(messages=SUM.messages, answer="42"))
        twin, another = Handbook(store), Handbook(store, "another")
        for book in (twin, another):
            book.apply([Add("behavior_add_digits", "Add the digits.")])
        beside = pipeline.but(router="small", handbook=twin)
        for _ in range(2):
            beside.run(Task(messages=SUM.messages, answer="41"))
        monkeypatch.chdir(tmp_path)
        with Store("other.db", readonly=True) as here:
            assert tallies(pipeline.journal, Handbook(here)) == {1: Tally(2, 2, 0)}
        assert tallies(pipeline.journal, another) == {}
        assert tallies(pipeline.journal, handbook) == {1: Tally(1, 1, 0), 2: Tally(1, 0, 0)}
        assert [each.is_right for each in trials(pipeline.journal, handbook)] == [True]
        assert [each.is_right for each in trials(pipeline.journal, twin)] == [False, False]


def test_a_fork_is_no_trial_of_its_own_and_a_question_is_one_however_it_is_set(
    handbook: Handbook, tmp_path: Path
) -> None:
    says = Says("By behavior_add_digits.\n\n", "\\boxed{42}", "\\boxed{41}")
    with made(says, handbook, tmp_path) as pipeline:
        parent = pipeline.run(Task(messages=SUM.messages, answer="42")).run_id
        pipeline.graph.invoke({"run": parent, "step": 1})
        assert [each.is_right for each in trials(pipeline.journal, handbook)] == [True]
        pipeline.run(Task.of(f"{SUM.messages[0].content}\n"))
        assert [each.task for each in trials(pipeline.journal, handbook)] == [question_print(SUM)] * 2
