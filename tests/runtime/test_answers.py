"""Answers forced from an unfinished thought: metered, recorded, and never asked for twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_alternative import account, line, purposes

from orchestrator.decisions import Decision, keep
from orchestrator.doors import Ask
from orchestrator.engines.base import Request
from orchestrator.engines.scripted import Scripted
from orchestrator.engines.spec import EngineSpec, ProbePrompt
from orchestrator.errors import BadConfig, EngineProtocol, SignalUnavailable, UnknownName, UserError
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.types import History, Step


def writer(*answers: str, draft: str = "<think>\nso far\n\n") -> Callable[[Request], Any]:
    """Draft one text, and answer the probes from a list."""
    said = iter(answers)
    return lambda request: next(said) if request.purpose == "probe" else draft


class Probes:
    """Asks for answers at every draft and remembers them."""

    def __init__(self, *, num: int = 3, engine: str = "small", with_draft: bool = True, dies: bool = False) -> None:
        self.num, self.engine, self.with_draft, self.dies = num, engine, with_draft, dies
        self.got: list[Any] = []

    async def __call__(self, history: History, draft: Step, ask: Ask) -> Decision:
        try:
            self.got.append(await ask.answers(self.engine, draft if self.with_draft else None, num=self.num))
        except SignalUnavailable as missing:
            self.got.append(missing.reason)
        if self.dies:
            raise RuntimeError("the end")
        return keep()


def asked(made: Pipeline) -> list[tuple[str, float, int]]:
    small = made.engines["small"]
    assert isinstance(small, Scripted)
    return [
        (bytes(each.prompt.ids()).decode().partition("assistant: ")[2], each.sampling.temperature, each.max_tokens)
        for each in small.requests
        if each.purpose == "probe" and each.prompt
    ]


async def test_the_thought_is_closed_and_the_answer_read_up_to_its_brace() -> None:
    probes = Probes(num=2)
    with line(probes, small=writer("4}, for", " 5 }")) as made:
        result = await made.arun("q")
        [row] = made.journal.run(result.run_id).signals
    prompt = "<think>\nso far\n\n</think>\n\n\\boxed{"
    assert asked(made) == [(prompt, 0.0, 32), (prompt, 0.6, 32)]
    assert probes.got == [["4", "5"]]
    assert account(result)["small", "probe", "used"] == 2
    assert (row.name, row.value, row.unit, row.output_tokens) == ("answers", 0.5, "share of 2 by small", 2 + 4)


async def test_an_answer_with_braces_is_read_to_its_end() -> None:
    probes = Probes(num=1)
    with line(probes, small=writer("\\frac{1}", "{2}", "}")) as made:
        await made.arun("q")
    assert probes.got == [["\\frac{1}{2}"]]
    assert asked(made)[-1] == ("<think>\nso far\n\n</think>\n\n\\boxed{\\frac{1}{2}", 0.0, 32 - 8 - 3)


async def test_samples_without_an_answer_are_left_out_and_count_against_agreement() -> None:
    probes = Probes(num=4)
    with line(probes, small=writer("4}", "}", "so long that it never ends, never, never", "4}")) as made:
        result = await made.arun("q")
        assert made.journal.run(result.run_id).signals[0].value == 0.5
    assert probes.got == [["4", "4"]]


async def test_no_answer_at_all_is_an_empty_list_and_a_value_that_is_missing_with_its_reason() -> None:
    probes = Probes(num=1)
    with line(probes, small=writer("none")) as made:
        result = await made.arun("q")
        [row] = made.journal.run(result.run_id).signals
    assert probes.got == [[]]
    assert (row.value, row.reason) == (None, "no sample held an answer")


@pytest.mark.parametrize("draft", ["plain words\n\n", "<think>\nthought</think>\n\n"])
async def test_a_thought_that_is_not_open_is_not_closed(draft: str) -> None:
    with line(Probes(num=1), small=writer("4}", draft=draft)) as made:
        await made.arun("q")
    assert asked(made)[0][0] == f"{draft}\\boxed{{"


async def test_without_the_draft_the_kept_steps_alone_are_asked_from() -> None:
    with line(Probes(num=1, with_draft=False), small=writer("4}")) as made:
        result = await made.arun("q")
        assert made.journal.run(result.run_id).signals[0].unit == "share of 1 by small, without the draft"
    assert asked(made)[0][0] == "\\boxed{"


@pytest.mark.parametrize(
    ("small", "reason"),
    [
        (writer(draft="```\ncode"), "a code fence or a tool call is open there"),
        (lambda request: EngineProtocol("what?", engine="small") if request.purpose == "probe" else "x\n\n", "what?"),
    ],
)
async def test_what_cannot_be_had_is_unavailable_with_its_reason(small: Any, reason: str) -> None:
    probes = Probes()
    with line(probes, small=small) as made:
        result = await made.arun("q")
        assert [(row.value, row.reason) for row in made.journal.run(result.run_id).signals] == [(None, reason)]
    assert probes.got == [reason]


async def test_more_answers_ask_only_for_those_that_are_missing() -> None:
    async def asks(history: History, draft: Step, ask: Ask) -> Decision:
        assert await ask.answers("small", draft) == ["4"]
        assert await ask.answers("small", draft, num=2) == ["4", "5"]
        assert await ask.answers("small", draft) == ["4"]
        return keep()

    with line(asks, small=writer("4}", "5}")) as made:
        result = await made.arun("q")
        assert [row.unit for row in made.journal.run(result.run_id).signals] == [
            "share of 1 by small",
            "share of 2 by small",
        ]


async def test_after_a_resume_the_answers_are_there_without_a_call(tmp_path: Path) -> None:
    db, first, second = tmp_path / "journal.db", Probes(dies=True), Probes()
    with line(first, small=writer("4}", "5}", "4}"), db=db) as made, pytest.raises(RuntimeError):
        await made.arun("q", run_id="it")
    with line(second, small=writer(), db=db) as made:
        result = await made.arun("q", run_id="it")
        assert purposes(made, "small") == []
        assert len(made.journal.run("it").signals) == 1
    assert first.got == second.got == [["4", "5", "4"]]
    assert account(result)["small", "probe", "used"] == 3


@pytest.mark.parametrize(
    ("probes", "error", "told"),
    [(Probes(engine="huge"), UnknownName, "'huge' to answer"), (Probes(num=0), UserError, "asks for 0 answers")],
)
async def test_what_cannot_be_asked_is_told(probes: Probes, error: type[Exception], told: str) -> None:
    with line(probes) as made, pytest.raises(error, match=told):
        await made.arun("q")


@pytest.mark.parametrize(("options", "told"), [({"opens": "Answer:"}, "opens"), ({"max_tokens": 0}, "max_tokens")])
def test_a_prompt_that_could_not_be_read_is_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(BadConfig, match=told):
        ProbePrompt(**options)


def test_the_words_of_a_probe_belong_to_what_a_resume_compares() -> None:
    assert "probe" not in EngineSpec(kind="chat").settings()
    assert EngineSpec(kind="chat", probe=ProbePrompt(max_tokens=8)).settings()["probe"]["max_tokens"] == 8
