"""Training text: what is learnt from, what is only read, and the tokens it is made of."""

import hashlib
import json
from random import Random

import jinja2
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from orchestrator.bench.workloads.verify import find_answer, verify_thought

from train import shards, text, tokenizer
from train.chat import CHAT_TEMPLATE, CLOSED_THINK, OPEN_THINK, judge_suffix, render
from train.network import Decoder, Shape

TOKENIZER = tokenizer.load()


def writer(seed: int, stage: str = "forms") -> text.Writer:
    return text.Writer(TOKENIZER, Random(seed), text.STAGES[stage])


def shown(ids: list[int]) -> str:
    return str(TOKENIZER.decode(ids, skip_special_tokens=False))


def test_the_committed_tokenizer_is_what_its_recipe_gives() -> None:
    built = tokenizer.build(tokenizer.learn_merges(text.sample_text(), tokenizer.num_merges()))
    assert json.loads(built.to_str()) == json.loads(TOKENIZER.to_str())


@given(st.text())
def test_any_text_survives_the_tokenizer(some: str) -> None:
    assert TOKENIZER.decode(TOKENIZER.encode(some).ids, skip_special_tokens=False) == some


@given(st.integers(0, 10**6))
def test_digits_are_never_joined(number: int) -> None:
    assert len(TOKENIZER.encode(str(number)).ids) == len(str(number))


def test_a_step_ends_with_one_token() -> None:
    for end in ("5\n\n", ")\n\n", ".\n\n"):
        assert TOKENIZER.encode(end).tokens[-1] == "ĊĊ"


@given(st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_a_document_is_the_tokens_of_its_own_text(seed: int) -> None:
    document = writer(seed).document()
    assert TOKENIZER.encode(shown(document.ids)).ids == document.ids
    for branch in document.branches:
        assert branch.weights[0] == 0


@given(st.integers(0, 10**6), st.sampled_from(["easy", "mid", "hard"]))
@settings(max_examples=60, deadline=None)
def test_a_thought_holds_right_steps_only(seed: int, preset: str) -> None:
    document = writer(seed).calculation(preset)
    thought = shown(document.ids).partition(OPEN_THINK)[2].partition("</think>")[0]
    steps = [step for step in thought.split("\n\n") if step]
    assert all(verdict.is_right for verdict in verify_thought(steps, steps[0]))
    assert find_answer(shown(document.ids)) == steps[-1].rpartition("\n")[2]


@given(st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_ratings_are_the_verifiers(seed: int) -> None:
    document = writer(seed).calculation("mid")
    problem = shown(document.ids).partition(OPEN_THINK)[2].partition("\n\n")[0]
    for branch in document.branches:
        said = shown(document.ids[: branch.start] + branch.ids)
        thought, asked, reply = said.partition(OPEN_THINK)[2].partition(judge_suffix())
        if asked and "</think>" not in thought:
            steps = [step for step in thought.split("\n\n") if step]
            assert int(reply[0]) == verify_thought(steps, problem)[-1].rating


@given(st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_nothing_wrong_is_learnt_as_an_answer(seed: int) -> None:
    document = writer(seed).calculation("easy")
    answer = find_answer(shown(document.ids))
    for branch in document.branches:
        learnt = shown([token for token, weight in zip(branch.ids, branch.weights, strict=True) if weight])
        assert find_answer(learnt) in (None, answer)


def test_small_s_own_steps_are_read_and_rated_but_not_learnt() -> None:
    record = {
        "prompt": "Compute 1+2-4.", "expression": "1+2-4", "answer": "0", "is_right": False,
        "steps": ["1+2-4", "1+2=4\n4-4", "4-4=0\n0"],
    }  # fmt: skip
    document = writer(1, "own").own_mistakes(record)
    assert set(document.weights) == {0.0}
    ratings = [shown(branch.ids)[-8] for branch in document.branches[:-1]]
    assert ratings[0] == "2" or ratings[0] == "3"
    assert "9" in ratings
    assert "INCORRECT" in shown(document.branches[-1].ids)


@pytest.mark.parametrize("thinks", [True, False])
def test_render_is_what_the_template_renders(thinks: bool) -> None:
    template = jinja2.Environment(trim_blocks=True, lstrip_blocks=True).from_string(CHAT_TEMPLATE)
    messages = [
        {"role": "system", "content": "Behaviors:\nbehavior_a: b"},
        {"role": "user", "content": "Compute 1+2."},
        {"role": "assistant", "content": "<tool>calc(1+2)</tool>"},
        {"role": "tool", "content": "3"},
        {"role": "assistant", "content": OPEN_THINK + "1+2\n\n"},
        {"role": "user", "content": "Rate the last step 0-9."},
    ]
    for adds in (True, False):
        expected = template.render(messages=messages, add_generation_prompt=adds, enable_thinking=thinks)
        assert render(messages, add_generation_prompt=adds, enable_thinking=thinks) == expected
    assert template.render(messages=messages, add_generation_prompt=True).endswith(OPEN_THINK)


def test_a_judge_s_prompt_extends_the_thought_token_for_token() -> None:
    thought = render([{"role": "user", "content": "Compute 1+2."}]) + "1+2\n\n"
    messages = [
        {"role": "user", "content": "Compute 1+2."},
        {"role": "assistant", "content": OPEN_THINK + "1+2\n\n"},
        {"role": "user", "content": "Rate the last step 0-9."},
    ]
    judged = render(messages, enable_thinking=False)
    assert judged == thought + judge_suffix()
    ids = TOKENIZER.encode(thought).ids
    assert TOKENIZER.encode(judged).ids[: len(ids)] == ids
    assert judged.endswith(CLOSED_THINK)


def test_a_branch_is_read_as_if_it_stood_alone_behind_its_trunk() -> None:
    decoder = Decoder(Shape(vocab=512, width=64, layers=2, heads=2, hidden=128))
    decoder.initialise(0)
    documents = [writer(seed).calculation("easy") for seed in range(4)]
    batch = shards.batch_of(documents)
    together = decoder(batch.ids, batch.positions, batch.mask())
    for row, document in enumerate(documents):
        first = len(document.ids)
        for branch in document.branches:
            ids = torch.tensor([document.ids[: branch.start] + branch.ids])
            length = ids.shape[1]
            mask = torch.ones(length, length).tril().bool()[None, None]
            alone = decoder(ids, torch.arange(length)[None], mask)[0, branch.start :]
            torch.testing.assert_close(together[row, first : first + len(branch.ids)], alone, atol=1e-4, rtol=1e-4)
            first += len(branch.ids)


def test_a_shard_is_a_function_of_its_place() -> None:
    first, again = (shards.batches(TOKENIZER, "forms", 3, count=64) for _ in range(2))
    other = shards.batches(TOKENIZER, "forms", 4, count=64)
    assert all(
        torch.equal(a.ids, b.ids) and torch.equal(a.weights, b.weights) for a, b in zip(first, again, strict=True)
    )
    assert not torch.equal(first[0].ids, other[0].ids)
    assert all(batch.ids.numel() <= shards.BATCH_TOKENS for batch in first)


def test_the_training_text_has_not_changed_since_training_began() -> None:
    """A run's data are a function of its place: change the text, and a resumed run is another run."""
    digests = {}
    record = {
        "prompt": "Compute 1+2.",
        "expression": "1+2",
        "steps": ["1+2", "1+2=4\n4"],
        "answer": "4",
        "is_right": False,
    }
    for stage in text.STAGES:
        digest = hashlib.sha256()
        for batch in shards.batches(TOKENIZER, stage, 0, [record], count=100):
            digest.update(batch.ids.numpy().tobytes() + batch.weights.numpy().tobytes())
        digests[stage] = digest.hexdigest()[:16]
    assert digests == {
        "steps": "0b5341a091ae5f3a",
        "forms": "6ee09d31830a9526",
        "own": "1e2e19f94f5ac2a4",
        "last": "cffe660da91c89ac",
        "rated": "244ef07bcbbd9a76",
    }
