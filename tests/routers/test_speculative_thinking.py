"""Speculative Thinking: scripted cues lead to each of the take-overs, and to nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from seen import Table, history, step

import orchestrator as orc
from orchestrator.decisions import Decision, Rewrite
from orchestrator.engines.base import Request
from orchestrator.engines.scripted import Scripted
from orchestrator.errors import UserError
from orchestrator.routers import SpeculativeThinking
from orchestrator.types import History, Step, Stop

DOUBT, SURE, NEUTRAL = "Wait, is that right?\n\n", "Yes, I am confident.\n\n", "Then it is 4.\n\n"
LONG = "x" * 400
PIECE = "so 2 + 2 = 4\n\n"


async def follow(
    policy: SpeculativeThinking, looks: Sequence[str], large: str = "Then it must be 5 here"
) -> tuple[History, list[str]]:
    """Return the history that comes of these looks, and what was planned: writer, tokens and start of each piece."""
    kept, planned, left = history(), [], list(looks)
    while left:
        plan = policy.before_step(kept)
        assert plan.max_tokens is not None
        planned.append(f"{plan.engine} {plan.max_tokens}{' ' + plan.lead.split()[0] if plan.lead else ''}")
        index = len(kept.steps)
        is_look = plan.engine == "small" and plan.max_tokens == policy.look_tokens
        text = left.pop(0) if is_look else plan.lead + LONG if plan.engine == "large" else PIECE
        written = step(text, plan.engine, index=index)
        decision = await policy.after_draft(kept, written, Table())
        if isinstance(decision, Rewrite):
            planned[-1] += f" -> {decision.engine} {decision.max_tokens}"
            text = large if decision.engine == "large" else PIECE
            written = step(text, decision.engine, index=index, attempt=1)
        kept.steps.append(written)
    return kept, planned


async def test_a_cue_lets_the_large_engine_write_20_tokens_and_no_more() -> None:
    _, planned = await follow(SpeculativeThinking(), [DOUBT, SURE])
    assert planned == ["small 1024", "small 20 -> large 20", "small 1024", "small 20 -> large 20"]


async def test_words_that_verify_let_the_large_engine_go_on_for_125_tokens() -> None:
    policy = SpeculativeThinking()
    kept, planned = await follow(policy, [DOUBT], large="Let me check that sum again")
    assert planned == ["small 1024", "small 20 -> large 20"]
    plan = policy.before_step(kept)
    assert (plan.engine, plan.max_tokens, plan.whole) == ("large", 125, True)
    kept.steps.append(step(LONG, "large", index=2))
    assert policy.before_step(kept).engine == "small"


async def test_fifteen_doubts_lead_to_a_recap_of_125_tokens_that_starts_with_its_words() -> None:
    _, planned = await follow(SpeculativeThinking(), [DOUBT] * 16, large="Wait, no, that is not it")
    recaps = [each for each in planned if each.startswith("large")]
    assert recaps == ["large 125 Let"]
    assert planned.index("large 125 Let") == 2 * 15 + 1  # behind the piece that follows the fifteenth doubt


async def test_the_counters_grow_and_cap() -> None:
    policy = SpeculativeThinking()
    kept, recaps = history(), []
    doubts = 0
    for index in range(400):
        plan = policy.before_step(kept)
        if plan.lead:
            recaps.append((doubts, plan.max_tokens))
            doubts = 0
        is_look = plan.engine == "small" and plan.max_tokens == 20
        doubts += is_look
        text = "Wait, no" if is_look else "x\n\n"
        kept.steps.append(step(text, "large" if is_look or plan.lead else "small", index=index, attempt=int(is_look)))
    assert recaps[:6] == [(15, 125), (20, 150), (25, 175), (30, 200), (30, 200), (30, 200)]


async def test_neutral_looks_make_no_large_call_and_are_written_anew_by_the_small_engine() -> None:
    kept, planned = await follow(SpeculativeThinking(), [NEUTRAL] * 4)
    assert planned == ["small 1024", *["small 20 -> small 1024"] * 4]
    assert {each.writer for each in kept.steps} == {"small"}


@pytest.mark.parametrize(
    ("text", "mood"),
    [
        ("Wait, no", -1),
        ("WAIT", -1),
        ("hold\n on a moment", -1),
        ("yes", 1),
        ("the final answer is", 1),
        ("yes, but wait", -1),  # a tie is doubt
        ("yes yeah wait", 1),
        ("await the waiter", 0),
        ("yesterday it was", 0),
        ("one more and other", 0),
        ("anothers", 0),
        ("overconfident", 0),
        ("unwait_ed", 0),
        ("", 0),
    ],
)
def test_cues_are_words_and_not_substrings(text: str, mood: int) -> None:
    assert SpeculativeThinking().mood(text) == mood


async def test_a_cue_in_the_middle_of_a_piece_is_none() -> None:
    policy = SpeculativeThinking()
    decision = await policy.after_draft(history(), step("It was: wait, yes. And check.\n\n"), Table())
    assert decision.action == "keep"


@pytest.mark.parametrize("word", ["check", "Recap", "think  again", "verify"])
def test_every_published_verify_word_is_known(word: str) -> None:
    policy = SpeculativeThinking()
    kept = history([step(), step(f"let me {word} this", "large", index=1, attempt=1)])
    assert policy.before_step(kept).max_tokens == 125
    kept = history([step(), step("a checkpoint, verified", "large", index=1, attempt=1)])
    assert policy.before_step(kept).max_tokens == 1024


@pytest.mark.parametrize(
    ("look", "other", "action"),
    [(DOUBT, SURE, "rewrite"), (SURE, DOUBT, "rewrite"), (DOUBT, DOUBT, "keep"), (SURE, NEUTRAL, "keep")],
)
async def test_without_choose_large_its_words_stand_only_where_they_turn_the_look(
    look: str, other: str, action: str
) -> None:
    policy, ask = SpeculativeThinking(choose_large=False), Table(alternatives={"large": [step(other, "large")]})
    decision: Decision = await policy.after_draft(history([step()]), step(look, index=1), ask)
    assert (decision.action, ask.asked) == (action, ["large 0"])


def test_a_look_that_stands_counts_as_doubt_like_any_other() -> None:
    policy = SpeculativeThinking(choose_large=False, doubts=1, most_doubts=1)
    pieces = [step(), step(DOUBT, index=1, num_tokens=8), step(PIECE, index=2)]
    assert policy.before_step(history(pieces)).lead


@pytest.mark.parametrize("attempt", [0, 3])
def test_a_rollback_before_a_look_does_not_make_it_a_piece_written_anew(attempt: int) -> None:
    policy = SpeculativeThinking(choose_large=False)
    look = step(DOUBT, index=1, num_tokens=8, attempt=attempt)
    assert policy.before_step(history([step(), look])).max_tokens == policy.step_tokens


@pytest.mark.parametrize("attempt", [1, 4])
@pytest.mark.parametrize("num_tokens", [5, 200])
def test_a_neutral_look_written_anew_is_followed_by_the_next_look_however_often_it_was_tried(
    attempt: int, num_tokens: int
) -> None:
    policy = SpeculativeThinking()
    anew = step(NEUTRAL, index=1, num_tokens=num_tokens, attempt=attempt)
    assert policy.before_step(history([step(), anew])).max_tokens == policy.look_tokens


def test_what_the_small_engine_wrote_for_a_large_one_that_failed_counts_as_the_look_that_it_is() -> None:
    policy = SpeculativeThinking(doubts=1, most_doubts=1)
    look = step("wait, or is it", index=1, num_tokens=20, stop=Stop.LENGTH, attempt=2)
    assert policy.before_step(history([step(), look])).max_tokens == policy.step_tokens
    assert policy.before_step(history([step(), look, step(index=2)])).lead  # its doubt was counted


async def test_where_the_small_engine_does_not_reason_the_large_one_begins_and_writes_at_every_step() -> None:
    policy = SpeculativeThinking(reasoning=False)
    _, planned = await follow(policy, [NEUTRAL, NEUTRAL])
    first = "large 100"
    assert planned == [first, "small 1024", "small 20 -> large 20", "small 1024", "small 20 -> large 20"]


def texts(result: Any) -> list[tuple[str, int]]:
    return [(each.writer, each.num_tokens) for each in result.steps]


async def test_a_whole_run_has_the_exact_token_counts_of_every_take_over() -> None:
    def large(request: Request) -> str:
        return "Wait, I check it: " + LONG

    looks = iter([NEUTRAL, DOUBT, DOUBT])

    def small(request: Request) -> str:
        if request.max_tokens == 20:
            return next(looks)
        return next(pieces, r"\boxed{4}")

    pieces = iter(["so 1\n\n", "so 2\n\n", "so 3\n\n", "so 4\n\n"])
    policy = SpeculativeThinking(doubts=2, most_doubts=2, most_recap_tokens=125)
    engines = {"small": Scripted(small), "large": Scripted(large)}
    line = orc.Pipeline(engines, policy, db=":memory:", stop_on_answer=True)
    result = await line.arun("q")
    piece = ("small", len("so 1\n\n"))
    take_over = [("large", 20), ("large", 125)]
    assert texts(result)[:8] == [piece, piece, *take_over, piece, *take_over, piece]
    assert texts(result)[8] == ("large", 125)
    assert result.steps[8].text.startswith(policy.recap)
    assert result.answer == "4"
    assert result.ledger.total(engine="large", purpose="rewrite").calls == 2


async def test_what_is_due_is_the_same_after_a_resume() -> None:
    kept, _ = await follow(SpeculativeThinking(), [NEUTRAL, DOUBT, SURE, NEUTRAL])
    again: list[Step] = list(kept.steps)
    assert SpeculativeThinking().before_step(history(again)) == SpeculativeThinking().before_step(kept)


@pytest.mark.parametrize(
    "options",
    [
        {"look_tokens": 0},
        {"step_tokens": 0},
        {"verify_tokens": 0},
        {"doubts": 0},
        {"recap_growth": -1},
        {"most_recap_tokens": 100},
        {"most_doubts": 10},
        {"negative": ("", "wait")},
        {"verify": "check"},
        {"recap": " "},
    ],
)
def test_options_out_of_range_are_refused_by_name(options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=f"speculative-thinking: {next(iter(options))}"):
        SpeculativeThinking(**options)
