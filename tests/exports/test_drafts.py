"""Logs for drafters: what was drafted, what stands, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from marked import STEPS, is_marked, pipeline, small, tasks
from readable import check_chat, type_of

from orchestrator.behaviors import Add
from orchestrator.engines.scripted import Scripted
from orchestrator.exports.choosing import Chosen
from orchestrator.exports.drafts import Log, Pair, lines
from orchestrator.exports.lines import LeftOut
from orchestrator.handbook.recall import Recall
from orchestrator.memory.handbook import Handbook
from orchestrator.memory.store import Store
from orchestrator.routers.collect import Collect
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.types import Task

QUESTION = next(task for task in tasks(20) if sum(is_marked(task.messages[0].content, n) for n in range(STEPS)) > 1)
MARKED = [is_marked(QUESTION.messages[0].content, step) for step in range(STEPS)]


def ran(router: Any, task: Task = QUESTION, **options: Any) -> Chosen:
    with pipeline(router, **options) as made:
        return Chosen(made.journal.run(made.run(task).run_id), None, task, "train")


@pytest.mark.parametrize("router", ["rsd", Collect(logprobs=2)])
def test_every_draft_is_in_the_log_with_what_stands_in_its_place(router: Any) -> None:
    """One router has the large engine write again, the other has both write and takes the better."""
    run = ran(router)
    found = lines(run)
    assert [each["step"] for each in found] == [*range(STEPS + 1)]
    prefix = ""
    for each, is_wrong in zip(found, [*MARKED, False], strict=True):
        Log.model_validate(each)
        assert type_of(each) == {"prompt", "completion", "label"}
        check_chat([*each["prompt"], *each["completion"]])
        (completion,) = each["completion"]
        assert completion["content"].startswith(prefix) and each["prefix_chars"] == len(prefix)
        assert ("guess" in completion["content"][len(prefix) :]) == is_wrong
        assert each["label"] is not is_wrong and each["writer"] == ("large" if is_wrong else "small")
        assert each["draft"] == "small" and each["reason"]
        assert bytes(each["draft_ids"]).decode() == completion["content"][len(prefix) :]
        assert bytes(each["kept_ids"]).decode() == each["kept"]
        prefix += each["kept"]
    assert prefix == "".join(row.text for row in run.stored.kept())


def test_pairs_are_the_replaced_drafts_as_chosen_and_rejected() -> None:
    found = lines(ran("rsd"), pairs=True)
    assert [each["step"] for each in found] == [step for step, is_wrong in enumerate(MARKED) if is_wrong]
    for each in found:
        Pair.model_validate(each)
        assert type_of(each) == {"prompt", "chosen", "rejected"}
        (chosen,), (rejected,) = each["chosen"], each["rejected"]
        start = each["prefix_chars"]
        assert chosen["content"][:start] == rejected["content"][:start]
        assert "work" in chosen["content"][start:] and "guess" in rejected["content"][start:]
        assert each["signals"]["prm"] == 0.2 and each["acceptance"] is None


def test_a_run_without_such_drafts_has_no_line() -> None:
    for router, pairs, why in (("large", False, "no smaller engine"), ("small", True, "no draft in them was replaced")):
        with pytest.raises(LeftOut, match=why):
            lines(ran(router), pairs=pairs)


def test_the_prompt_is_what_the_engines_saw_behaviors_and_all(tmp_path: Path) -> None:
    with Store(tmp_path / "handbook.db") as store:
        handbook = Handbook(store)
        handbook.apply([Add("behavior_ask_questions", "Ask questions.")])
        saw = Scripted(small)
        engines = {"small": saw, "large": Scripted(small)}
        with Pipeline(engines, "small", db=":memory:", handbook=handbook) as made:
            run = Chosen(made.journal.run(made.run(QUESTION).run_id), None, QUESTION, "train")
        (system, asked) = lines(run)[0]["prompt"]
    assert system["role"] == "system" and system["content"].endswith("- behavior_ask_questions: Ask questions.")
    assert asked == {"role": "user", "content": QUESTION.messages[0].content}
    assert saw.requests[0].prompt is not None
    assert f"system: {system['content']}" in bytes(saw.requests[0].prompt.ids()).decode()


def test_where_behaviors_stood_between_the_steps_a_prompt_cannot_be_told(tmp_path: Path) -> None:
    with Store(tmp_path / "handbook.db") as store:
        handbook = Handbook(store)
        handbook.apply([Add("behavior_ask_questions", "Ask questions.")])
        options: dict[str, Any] = {"handbook": handbook, "recall": Recall(every="step"), "db": ":memory:"}
        with Pipeline({"small": Scripted(small), "large": Scripted(small)}, "small", **options) as made:
            run = Chosen(made.journal.run(made.run(QUESTION).run_id), None, QUESTION, "train")
    with pytest.raises(LeftOut, match="behaviors stood between their steps"):
        lines(run)
