"""What a server is told about drafting, and what is refused before one is started."""

from __future__ import annotations

import math
from typing import Any

import pytest

from orchestrator.engines.speculation import LENGTHS, SOURCES
from orchestrator.engines.speculation.profiles import (
    PROFILES,
    CustomClass,
    DraftModel,
    Eagle3,
    Medusa,
    Mtp,
    NGram,
    Profile,
    Suffix,
    profile_class,
)
from orchestrator.errors import BadConfig


def test_ngram_is_told_how_much_of_the_end_is_looked_up() -> None:
    assert NGram(tokens=3, lookup_min=1, lookup_max=6).arguments() == {
        "method": "ngram",
        "num_speculative_tokens": 3,
        "prompt_lookup_min": 1,
        "prompt_lookup_max": 6,
    }


def test_a_schedule_is_passed_on_row_by_row() -> None:
    profile = NGram(tokens=8, schedule=((1, 4, 8), (5, 5, 2), (6, 64, 0)))
    assert profile.arguments()["num_speculative_tokens_per_batch_size"] == [[1, 4, 8], [5, 5, 2], [6, 64, 0]]


def test_what_is_off_or_not_said_is_left_to_vllm() -> None:
    assert DraftModel(model="m").arguments() == {"method": "draft_model", "num_speculative_tokens": 5, "model": "m"}


def test_a_draft_model_may_have_another_vocabulary_or_draft_in_parallel() -> None:
    assert DraftModel(model="m", heterogeneous_vocab=True).arguments()["use_heterogeneous_vocab"] is True
    assert DraftModel(model="m", parallel=True).arguments()["parallel_drafting"] is True


@pytest.mark.parametrize("cls", [DraftModel, Medusa])
@pytest.mark.parametrize("name", ["a/Eagle-1B", "/nests/eagle-2/small", "b/EAGLE3", "z-lab/dflash", "some-DSpark"])
def test_weights_whose_name_means_another_method_to_vllm_are_refused(cls: type[Profile], name: str) -> None:
    with pytest.raises(BadConfig, match=f"speculation {cls.method}: .* which vLLM 0.32 takes for the method"):
        cls(model=name)  # type: ignore[call-arg]
    assert Eagle3(model=name).arguments()["model"] == name


def test_weights_are_no_eagles_for_a_similar_name() -> None:
    assert DraftModel(model="beagle/Qwen-0.5B").model == "beagle/Qwen-0.5B"


def test_only_the_drafters_of_this_package_have_options_of_their_own() -> None:
    profile = CustomClass(sources=["siblings", ["ngrams", {"highest": 7}]], length=["thompson", {"worth": 0.5}])
    assert profile.additional() == {
        "drafter": {"sources": ["siblings", ["ngrams", {"highest": 7}]], "length": ["thompson", {"worth": 0.5}]}
    }
    for method, cls in PROFILES.items():
        if method != "custom_class":
            assert made(cls).additional() == {}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("length", LENGTHS)
def test_every_source_and_length_can_be_named(source: str, length: str) -> None:
    assert CustomClass(sources=[source], length=length).arguments()["method"] == "custom_class"


@pytest.mark.parametrize("method", PROFILES)
def test_a_profile_is_found_by_its_method(method: str) -> None:
    assert made(profile_class(method)).arguments()["method"] == method


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("mlp_speculator", "'mlp_speculator' is refused: vLLM 0.32 accepts the name and has nothing that runs it"),
        (
            "dflash",
            "'dflash' is refused: it drafts only for checkpoints made for it; "
            'set method = "none" and name them in `args`, with --spec-method, --spec-model and --spec-tokens',
        ),
        ("dspark", "'dspark' is refused: it drafts only for checkpoints made for it"),
        ("extract_hidden_states", "'extract_hidden_states' is refused: it drafts nothing"),
        ("n-gram", "no speculation method 'n-gram'; known: ngram, suffix, draft_model, eagle, eagle3, medusa, mtp, "),
        ("", "no speculation method ''; known: "),
    ],
)
def test_a_method_that_would_not_run_is_refused_with_the_reason(method: str, said: str) -> None:
    with pytest.raises(BadConfig) as caught:
        profile_class(method)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("cls", "options", "said"),
    [
        (NGram, {"tokens": 0}, 'speculation tokens = 0 must be at least 1; method = "none" turns it off'),
        (NGram, {"lookup_min": 0}, "lookup_min = 0 and lookup_max = 4: 1 <= min <= max"),
        (NGram, {"lookup_min": 5}, "lookup_min = 5 and lookup_max = 4: 1 <= min <= max"),
        (Eagle3, {"model": ""}, "speculation eagle3 needs a model"),
        (Medusa, {"model": "m", "tokens": -1}, "speculation tokens = -1 must be at least 1"),
        (DraftModel, {"model": "m", "heterogeneous_vocab": True, "parallel": True}, "exclude each other"),
        (
            DraftModel,
            {"model": "m", "parallel": True, "schedule": [[1, 8, 2]]},
            "takes no schedule: with parallel vLLM",
        ),
        (Suffix, {"schedule": [[1, 8, 2]]}, "suffix takes no schedule: vLLM 0.32 ends there at the first batch"),
        (Suffix, {"max_tree_depth": 0}, "max_tree_depth = 0 must be at least 1"),
        (Suffix, {"max_cached_requests": -1}, "max_cached_requests = -1 must be at least 0"),
        (Suffix, {"max_spec_factor": -0.5}, "max_spec_factor = -0.5 must be at least 0"),
        (Suffix, {"min_token_prob": 1.5}, "min_token_prob = 1.5 must be from 0 to 1"),
        (Medusa, {"model": "m", "schedule": [[1, 8, 2]]}, "medusa takes no schedule: vLLM 0.32 ends there"),
        (CustomClass, {"schedule": [[1, 8, 2]]}, "takes no schedule: vLLM 0.32 ignores it there in silence"),
        (CustomClass, {"sources": []}, "speculation custom_class needs a source"),
        (CustomClass, {"sources": ["tree"]}, "custom_class has no source 'tree'; known: ngrams, siblings, succ"),
        (CustomClass, {"sources": [["tree", {}]]}, "custom_class has no source 'tree'"),
        (CustomClass, {"sources": [["ngrams"]]}, "source ['ngrams'] is no name, and no [name, { option = value }]"),
        (CustomClass, {"length": "long"}, "custom_class has no length 'long'; known: feedback, fixed, goodput, thom"),
        (CustomClass, {"length": 3}, "length 3 is no name, and no [name, { option = value }]"),
        (CustomClass, {"sources": [["ngrams", {"highst": 7}]]}, "custom_class: source 'ngrams': NGrams.__init__() got"),
        (CustomClass, {"sources": [["ngrams", {"highest": "7"}]]}, "custom_class: source 'ngrams': '<' not supported"),
        (CustomClass, {"length": ["goodput", {"base": 1}]}, "length 'goodput': Goodput.__init__() got an unexpected"),
        (CustomClass, {"length": ["goodput", {"most": 3}]}, "got multiple values for keyword argument 'most'"),
    ],
)
def test_an_option_that_means_nothing_is_refused(cls: type[Profile], options: dict[str, Any], said: str) -> None:
    with pytest.raises(BadConfig) as caught:
        cls(**options)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "options", "said"),
    [
        ("ngrams", {"highest": 1}, "highest = 1 must be at least 2"),
        ("suffix", {"capacity": 0}, "capacity = 0 must be at least 1"),
        ("suffix", {"least_share": 1.1}, "least_share = 1.1 must be from 0 to 1"),
        ("suffix", {"factor": math.inf}, "factor = inf must be above 0, and finite"),
        ("trigrams", {"bonus": -0.1}, "bonus = -0.1 must be at least 0, and finite"),
        ("trigrams", {"cap": 0}, "cap = 0 and most_pairs = 200000 must be at least 1"),
        ("trigrams", {"most_pairs": 0}, "cap = 64 and most_pairs = 0 must be at least 1"),
    ],
)
def test_an_option_of_a_source_that_is_out_of_range_is_refused(source: str, options: Any, said: str) -> None:
    with pytest.raises(BadConfig) as caught:
        CustomClass(sources=["successors", [source, options]])
    assert str(caught.value) == f"speculation custom_class: source '{source}': {said}"


@pytest.mark.parametrize(
    ("length", "options", "said"),
    [
        ("feedback", {"step": 0}, "step = 0 must be at least 1"),
        ("thompson", {"worth": -0.1}, "worth = -0.1 must be from 0 to 1"),
        ("thompson", {"memory": 1.0}, "memory = 1.0 must be at least 2, and finite"),
        ("goodput", {"base_ms": 0, "token_ms": 0}, "base_ms = 0 and token_ms = 0 must be at least 0, and not both 0"),
        ("goodput", {"base_ms": math.nan}, "base_ms = nan and token_ms = 0.05 must be at least 0, and not both 0"),
        ("goodput", {"retry": 0}, "retry = 0 must be at least 1"),
    ],
)
def test_an_option_of_a_length_that_is_out_of_range_is_refused(length: str, options: Any, said: str) -> None:
    with pytest.raises(BadConfig) as caught:
        CustomClass(length=[length, options])
    assert str(caught.value) == f"speculation custom_class: length '{length}': {said}"


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        ([[2, 4, 1]], "[2, 4, 1]: it has to begin at batch size 1"),
        ([[1, 4, 3], [6, 8, 1]], "[6, 8, 1]: it has to begin at batch size 5, and rows go up: vLLM would carry"),
        ([[1, 4, 3], [4, 8, 1]], "[4, 8, 1]: it has to begin at batch size 5"),
        ([[1, 0, 3]], "[1, 0, 3]: it has to begin at batch size 1, and rows go up"),
        ([[1, 4, 6]], "[1, 4, 6]: tokens are from 0 to 5, what `tokens` allows"),
        ([[1, 4, -1]], "[1, 4, -1]: tokens are from 0 to 5"),
        ([[1, 4]], "[1, 4]: write [first batch size, last batch size, tokens]"),
        ([[1, 4, 2.0]], "[1, 4, 2.0]: write [first batch size, last batch size, tokens]"),
        ([[1, 4, True]], "[1, 4, True]: write [first batch size, last batch size, tokens]"),
    ],
)
def test_a_row_of_a_schedule_that_vllm_would_read_otherwise_is_refused(schedule: Any, said: str) -> None:
    with pytest.raises(BadConfig) as caught:
        NGram(schedule=schedule)
    assert said in str(caught.value)


@pytest.mark.parametrize("schedule", [[], [[1, 1, 0]], [[1, 4, 5], [5, 5, 5], [6, 6, 0]]])
def test_a_schedule_without_gaps_is_taken(schedule: Any) -> None:
    assert Mtp(tokens=5, schedule=schedule).schedule == schedule


def made(cls: type[Profile]) -> Profile:
    return cls(model="m") if "model" in cls.__dataclass_fields__ else cls()  # type: ignore[call-arg]
