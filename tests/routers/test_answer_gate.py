"""The answer gate: where the answer is, how it is read, and who solves in the end."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, nan, sqrt
from typing import Any

import pytest
from seen import THREE, Table, history, step, token

import orchestrator as orc
from orchestrator.decisions import Plan
from orchestrator.engines.base import Request
from orchestrator.engines.scripted import Scripted
from orchestrator.engines.spec import EngineSpec
from orchestrator.errors import EngineProtocol, UserError
from orchestrator.routers import AnswerGate
from orchestrator.runtime.answer import extractor
from orchestrator.runtime.checks import check_engines
from orchestrator.types import Sampling, Step, Stop, TokenLogprob

SURE = (0.96, 0.01, 0.01, 0.01, 0.01)
TORN = (0.5, 0.49, 0.003, 0.003, 0.003)
FIVE = 5
"""Alternatives per token in these tests: a reading is at most sigmoid(2) = 0.88."""


def of(parts: Sequence[tuple[str, tuple[float, ...]]]) -> Step:
    """Return a solution whose tokens have these texts and distributions."""
    tokens = [token(*ps, text=text) for text, ps in parts]
    return step("".join(text for text, _ in parts), stop=Stop.END, logprobs=tokens)


GOOD = of([("It is ", TORN), ("\\boxed{", SURE), ("1", SURE), ("2", SURE), ("}", SURE)])
BAD = of([("It is ", SURE), ("\\boxed{", SURE), ("1", TORN), ("2", SURE), ("}", SURE)])


@pytest.mark.parametrize(("solution", "action"), [(GOOD, "keep"), (BAD, "rewrite")])
async def test_one_bad_token_of_the_answer_is_enough_and_tokens_outside_it_do_not_count(
    solution: Step, action: str
) -> None:
    decision = await AnswerGate(top=FIVE, threshold=0.8).after_draft(history(), solution, Table())
    assert (decision.action, decision.threshold) == (action, 0.8)
    [signal] = decision.signals
    assert signal.value is not None and signal.raw is not None
    assert signal.value == pytest.approx(1 / (1 + exp(-signal.raw)))
    assert decision.margin == pytest.approx(signal.value - 0.8)
    assert "'12'" in decision.reason


async def test_the_reading_does_not_change_when_a_constant_is_added_and_grows_with_the_margin() -> None:
    async def reading(solution: Step) -> float:
        [signal] = (await AnswerGate(top=FIVE, threshold=0.5).after_draft(history(), solution, Table())).signals
        assert signal.raw is not None
        return signal.raw

    shifted = step(GOOD.text, stop=Stop.END, logprobs=[_shifted(each) for each in GOOD.logprobs or ()])
    assert await reading(shifted) == pytest.approx(await reading(GOOD))
    assert await reading(GOOD) > await reading(BAD)


def _shifted(token: TokenLogprob) -> TokenLogprob:
    top = tuple(each._replace(logprob=each.logprob - 3) for each in token.top)
    return token._replace(logprob=token.logprob - 3, top=top)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("so \\boxed{\\frac{1}{2}} it is", "\\frac{1}{2}"),
        ("\\boxed{1} no, \\boxed{2}", "2"),
        ("\\boxed{4} and then \\boxed{", "4"),
        ("4 is \\boxed{4}, so 4 apples", "4"),
        ("Answer: 42 \n", "42"),
        ("#### 7", "7"),
        ("The final answer: **12** ", "12**"[:-2]),
        ("<think>hm</think>\n\n 5 apples \n", "5 apples"),
    ],
)
async def test_the_answer_is_what_is_boxed_else_marked_else_behind_the_thinking(text: str, answer: str) -> None:
    solution = step(text, stop=Stop.END, logprobs=[token(*SURE, text=each) for each in text])
    decision = await AnswerGate(top=FIVE, threshold=0.5).after_draft(history(), solution, Table())
    assert decision.reason.endswith(f"of {answer!r}")


@pytest.mark.parametrize(
    ("solution", "said"),
    [
        (step("no idea", stop=Stop.END), "the solution has no answer"),
        (step("\\boxed{ }", stop=Stop.END), "the solution has no answer"),
        (step("\\boxed{1", stop=Stop.END), "the solution has no answer"),
        (step("\\boxed{1}", stop=Stop.LENGTH), "the solution ran out of tokens"),
        (step("\\boxed{1}", stop=Stop.END), "no reading of uncertainty (no tokens with logprobs): reject"),
        (step("\\boxed{1}", stop=Stop.END, logprobs=[token(1.0, text="odd")]), "no reading of separability"),
    ],
)
async def test_what_cannot_be_read_goes_to_the_large_engine_and_says_why(solution: Step, said: str) -> None:
    decision = await AnswerGate().after_draft(history(), solution, Table())
    assert (decision.action, getattr(decision, "engine", "")) == ("rewrite", "large")
    assert decision.reason.startswith(said)


@pytest.mark.parametrize(
    ("answer", "text", "found"),
    [
        (("after_think", "marked"), "Answer: 5\n</think>\n7", "7"),
        ("regex:=(\\d+)", "1=2 and 3=45 so 6", "45"),
        (lambda text: text.split()[0], "8 or 9", "8"),
    ],
)
async def test_the_answer_is_the_one_that_the_pipeline_finds(answer: Any, text: str, found: str) -> None:
    engines = {"small": Scripted([text]), "large": Scripted(["\\boxed{2}"])}
    policy = AnswerGate(gate="forced", on_unreadable="accept")
    async with orc.Pipeline(engines, policy, answer=answer, db=":memory:") as pipeline:
        result = await pipeline.arun("q")
        stored = pipeline.journal.run(result.run_id)
    [decision] = [row for row in stored.decisions if row.door == "after_draft"]
    assert decision.reason != "the solution has no answer"
    ask = Table()
    ask.answer_in = extractor(answer)  # type: ignore[method-assign]
    solution = step(text, stop=Stop.END, logprobs=[token(*SURE, text=each) for each in text])
    read = await AnswerGate(top=FIVE, threshold=0.5).after_draft(history(), solution, ask)
    assert read.reason.endswith(f"of {found!r}")


async def test_an_answer_that_is_not_in_the_text_as_it_is_has_no_reading() -> None:
    ask = Table()
    ask.answer_in = lambda text: "seven"  # type: ignore[method-assign]
    decision = await AnswerGate().after_draft(history(), GOOD, ask)
    assert "the answer 'seven' has no place of its own" in decision.reason


@pytest.mark.parametrize("ps", [(), (0.9,)])
async def test_a_token_of_the_answer_without_two_alternatives_is_no_reading(ps: tuple[float, ...]) -> None:
    one = TokenLogprob(0, "2", -0.1, tuple(TokenLogprob(0, "2", -0.1) for _ in ps))
    solution = step(GOOD.text, stop=Stop.END, logprobs=[*(GOOD.logprobs or ())[:3], one, (GOOD.logprobs or ())[4]])
    decision = await AnswerGate(top=FIVE, threshold=0.5).after_draft(history(), solution, Table())
    assert "1 of 2 tokens of the answer have fewer than two alternatives" in decision.reason


def test_agreement_of_an_engine_that_draws_nothing_is_refused_when_the_pipeline_is_built() -> None:
    cold, warm = (EngineSpec(kind="llamacpp", sampling=Sampling(temperature=each)) for each in (0.0, 0.6))
    policy = AnswerGate(gate="agreement")
    with pytest.raises(UserError, match="engine 'small' writes at temperature 0, which would always agree"):
        check_engines(policy, ("small", "large"), {"small": cold, "large": warm})
    check_engines(policy, ("small", "large"), {"small": warm, "large": cold})  # the last one is never gated
    check_engines(AnswerGate(), ("small", "large"), {"small": cold, "large": cold})


async def test_characters_in_pieces_before_the_answer_do_no_harm() -> None:
    pieces = [TokenLogprob(-1, "�", nan), TokenLogprob(-1, "�", nan)]
    tokens = [*pieces, *(token(*SURE, text=each) for each in ": \\boxed{5}")]
    solution = step("Ⅻ: \\boxed{5}", stop=Stop.END, logprobs=tokens)
    decision = await AnswerGate(top=FIVE, threshold=0.5).after_draft(history(), solution, Table())
    assert decision.action == "keep"


def solved(*answers: str) -> list[Step]:
    return [step(f"\\boxed{{{each}}}", stop=Stop.END) for each in answers]


@pytest.mark.parametrize(
    ("others", "threshold", "action"),
    [("7777", 1.0, "keep"), ("7787", 1.0, "rewrite"), ("7787", 0.75, "keep"), ("8888", 0.25, "rewrite")],
)
async def test_agreement_is_the_share_of_solutions_drawn_anew_with_the_same_answer(
    others: str, threshold: float, action: str
) -> None:
    ask = Table(alternatives={"small": solved(*others)})
    policy = AnswerGate(gate="agreement", threshold=threshold)
    decision = await policy.after_draft(history(), solved(" 7.")[0], ask)
    assert (decision.action, ask.asked) == (action, ["small 0", "small 1", "small 2", "small 3"])
    assert decision.signals[0].value == others.count("7") / 4


async def test_forced_answers_that_are_missing_count_as_different() -> None:
    ask = Table(answers=["7", "7"])
    decision = await AnswerGate(gate="forced", threshold=0.75).after_draft(history(), solved("7")[0], ask)
    assert (decision.action, decision.signals[0].value, ask.asked) == ("rewrite", 0.5, ["small answers 4"])


async def test_of_three_engines_each_tries_and_the_last_is_never_gated() -> None:
    middle = [GOOD, BAD]
    for solution, engine in zip(middle, ("middle", "large"), strict=True):
        ask = Table(alternatives={"middle": [solution]})
        decision = await AnswerGate(top=FIVE, threshold=0.8).after_draft(history(engines=THREE), BAD, ask)
        assert (decision.action, getattr(decision, "engine", ""), ask.asked) == ("rewrite", engine, ["middle 0"])
        assert len(decision.signals) == 2


async def test_an_engine_of_the_ladder_that_fails_is_passed_over() -> None:
    class Broken(Table):
        async def alternative(self, engine: str, draft: Step, *, sample: int = 0) -> Step:
            raise EngineProtocol("gone", engine=engine)

    decision = await AnswerGate(top=FIVE, threshold=0.8).after_draft(history(engines=THREE), BAD, Broken())
    assert (getattr(decision, "engine", ""), decision.reason) == ("large", "engine 'middle' could not try: gone")


def test_the_solution_is_planned_whole() -> None:
    assert AnswerGate().before_step(history()) == Plan(engine="small", max_tokens=4096, whole=True, logprobs=20)
    assert AnswerGate(threshold=1.01).before_step(history()).engine == "large"
    going_on = AnswerGate().before_step(history([step(writer="large")]))
    assert (going_on.engine, going_on.whole) == ("large", True)


async def test_a_rejected_task_always_reaches_the_large_engine_which_solves_it_whole() -> None:
    def large(request: Request) -> str:
        return "a\n\nb\n\n\\boxed{2}"

    engines = {"small": Scripted(["one\n\ntwo\n\n\\boxed{1}"]), "large": Scripted(large)}
    result = await orc.Pipeline(engines, AnswerGate(), db=":memory:").arun("q")
    assert [(each.writer, each.text) for each in result.steps] == [("large", "a\n\nb\n\n\\boxed{2}")]
    assert result.answer == "2"


@pytest.mark.parametrize("threshold", [0.0, 1.01])
async def test_a_threshold_at_its_ends_is_one_engine_alone(threshold: float) -> None:
    engines = {"small": Scripted(["\\boxed{1}"]), "large": Scripted(["\\boxed{2}"])}
    result = await orc.Pipeline(engines, AnswerGate(threshold=threshold), db=":memory:").arun("q")
    assert result.answer == ("2" if threshold else "1")


def test_a_threshold_that_the_alternatives_cannot_reach_is_refused_with_the_mend() -> None:
    assert 1 / (1 + exp(-sqrt(19))) > 0.98
    with pytest.raises(UserError, match=r"threshold = 0.98 is never reached with top = 5, which reads at most 0.8808"):
        AnswerGate(top=5)


@pytest.mark.parametrize(
    "options",
    [
        {"gate": "luck"},
        {"threshold": -0.1},
        {"threshold": nan},
        {"num": 0},
        {"top": 1},
        {"max_tokens": 0},
        {"on_unreadable": "guess"},
    ],
)
def test_options_out_of_range_are_refused_by_name(options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=f"answer-gate: {next(iter(options))}"):
        AnswerGate(**options)
