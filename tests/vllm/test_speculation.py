"""Every way of drafting on vLLM itself: its parser, its config classes, and its engine with real or random weights."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from typing import Any, NamedTuple

import pytest
from golden import GOLDEN, URL

from orchestrator.bench.workloads.random_calculation import calculations
from orchestrator.engines.serving import Serving, command
from orchestrator.engines.speculation.profiles import (
    PROFILES,
    CustomClass,
    DraftModel,
    Eagle,
    Eagle3,
    Medusa,
    Mtp,
    NGram,
    Profile,
    Suffix,
)

pytestmark = pytest.mark.vllm

TASKS = [each.prompt for each in islice(calculations("mid", "report", 0), 4)]
TOKENS = 80
CLEAR = 0.5
"""Nats between the best token and the next: texts without a near tie, which rounding alone could turn round."""
SCHEDULE = [[1, 1, 2], [2, 2, 0], [3, 64, 1]]


class Case(NamedTuple):
    """A way of drafting for a target; weights are names of `drafting_folders`."""

    profile: Profile
    guesses: bool = True
    """Whether some drafts have to stand; random weights guess nothing."""
    target: str = "pocket-large"


CASES = {
    "ngram": Case(NGram()),
    "ngram, schedule": Case(NGram(schedule=SCHEDULE)),
    "draft_model": Case(DraftModel(model="pocket-small")),
    "draft_model, schedule": Case(DraftModel(model="pocket-small", schedule=SCHEDULE)),
    "draft_model, heterogeneous_vocab": Case(
        DraftModel(model="smollm2-135m", tokens=2, heterogeneous_vocab=True, schedule=SCHEDULE)
    ),
    "draft_model, parallel": Case(DraftModel(model="parallel", parallel=True)),
    "eagle": Case(Eagle(model="eagle"), guesses=False),
    "eagle, schedule": Case(Eagle(model="eagle", schedule=SCHEDULE), guesses=False),
    "eagle3": Case(Eagle3(model="eagle3"), guesses=False),
    "medusa": Case(Medusa(model="medusa"), guesses=False),
    "mtp": Case(Mtp(), guesses=False, target="mtp"),
    "mtp, schedule": Case(Mtp(tokens=2, schedule=SCHEDULE), guesses=False, target="mtp"),
    "custom_class": Case(CustomClass()),
    "custom_class, options": Case(CustomClass(sources=["siblings", ["ngrams", {"highest": 7}]], length="goodput")),
}
"""All that runs on the CPU build. `suffix` does not: see REFUSED."""

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "suffix without its package": (
        Suffix().arguments(),
        "ImportError: Arctic Inference is required for suffix decoding",
    ),
    "mtp for a target without such layers": (
        Mtp().arguments(),
        "NotImplementedError: Unsupported speculative method: 'mtp'",
    ),
    "a draft model of another vocabulary": (
        DraftModel(model="smollm2-135m").arguments(),
        "Target and draft model should have the same vocabulary size",
    ),
}
"""What vLLM's config classes refuse, with pocket-large as the target."""
ENDS: dict[str, tuple[dict[str, Any], str]] = {
    "a draft model that was not trained to draft in parallel": (
        DraftModel(model="pocket-small", parallel=True).arguments(),
        "ValueError: For parallel drafting, the draft model config must have",
    ),
    "parallel, schedule": (
        DraftModel(model="parallel", parallel=True).arguments() | {"num_speculative_tokens_per_batch_size": SCHEDULE},
        "RuntimeError: The size of tensor a",
    ),
    "medusa, schedule": (
        Medusa(model="medusa").arguments() | {"num_speculative_tokens_per_batch_size": SCHEDULE},
        "AssertionError: ",
    ),
}
"""What ends while it starts or writes; profiles refuse the last two."""

Folders = Mapping[str, str]


def located(told: Mapping[str, Any], folders: Folders) -> dict[str, Any]:
    """Return a speculative config with the folder of its weights in place of their name."""
    return {**told, **{key: folders.get(told[key], told[key]) for key in told if key == "model"}}


def speculating(words: Sequence[str], told: Mapping[str, Any]) -> list[str]:
    """Return a command that says what no profile does."""
    return [*words, "--speculative-config", json.dumps(told)]


# --- parser and config classes --------------------------------------------------------------------


@pytest.fixture(scope="module")
def read(
    in_vllm: Callable[[str, Any], Any], drafting_folders: Folders, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, Any]]:
    """What vLLM reads in each command: of CASES, of GOLDEN (by line), and what a name alone does."""
    commands = {}
    for name, case in CASES.items():
        profile = type(case.profile)(**located(asdict(case.profile), drafting_folders))
        commands[name] = command(Serving(model=drafting_folders[case.target], speculation=profile), URL, "large")
    for _, line in GOLDEN:
        commands[line] = shlex.split(line)
    large = drafting_folders["pocket-large"]
    commands["python"] = command(Serving(model=large, python="/opt/python", args=["--max-model-len", "512"]), URL)
    commands["none"] = command(Serving(model=large, speculation=None), URL)
    for name, (told, _) in REFUSED.items():
        commands[name] = speculating(commands["none"], located(told, drafting_folders))
    flags = ["--spec-method", "dflash", "--spec-model", "a/dflash", "--spec-tokens", "7"]
    commands["dflash"] = command(Serving(model="m", speculation=None, args=flags), URL)
    nest = tmp_path_factory.mktemp("nests") / "eagle-small"
    nest.symlink_to(drafting_folders["pocket-small"])
    commands["eagle-small"] = speculating(commands["none"], DraftModel(model="m").arguments() | {"model": str(nest)})
    return dict(zip(commands, in_vllm("read_commands.py", list(commands.values())), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_vllm_makes_of_a_profile_what_was_meant(
    read: dict[str, dict[str, Any]], drafting_folders: Folders, name: str
) -> None:
    case = CASES[name]
    found = read[name]
    assert "error" not in found
    told = located(case.profile.arguments(), drafting_folders)
    assert {each: found["speculation"][each] for each in told} == told
    weights = getattr(case.profile, "model", case.target)
    assert found["speculation"]["weights"] == drafting_folders[weights]
    assert found["additional"] == case.profile.additional()
    assert found["said"] | {"model": None, "speculative_config": None, "additional_config": None} == {
        "host": "127.0.0.1",
        "port": 8002,
        "served_model_name": ["large"],
        "model": None,
        "speculative_config": None,
        "additional_config": None,
        "enable_prefix_caching": True,
        "enable_prompt_tokens_details": True,
        "enable_per_request_metrics": True,
        "per_request_spec_decode_metrics": "detailed",
    }


@pytest.mark.parametrize(
    ("name", "architecture"),
    [
        ("draft_model", "LlamaForCausalLM"),
        ("eagle", "EagleLlamaForCausalLM"),
        ("eagle3", "LlamaForCausalLMEagle3"),
        ("medusa", "MedusaModel"),
        ("mtp", "MiMoMTPModel"),
    ],
)
def test_vllm_drafts_with_the_kind_of_weights_that_a_profile_names(
    read: dict[str, dict[str, Any]], name: str, architecture: str
) -> None:
    assert read[name]["speculation"]["architectures"] == [architecture]


@pytest.mark.parametrize(
    ("profile", "line"), GOLDEN, ids=[profile.method if profile else "none" for profile, _ in GOLDEN]
)
def test_vllms_parser_takes_a_golden_line(read: dict[str, dict[str, Any]], profile: Profile | None, line: str) -> None:
    found = read[line]
    assert "error" not in found
    assert found["said"]["model"] == "Qwen/QwQ-32B"
    assert found["said"]["speculative_config"] == (profile.arguments() if profile else None)
    assert found["said"]["additional_config"] == (profile.additional() if profile else {})


def test_the_servers_module_is_told_the_same_as_the_command(
    read: dict[str, dict[str, Any]], drafting_folders: Folders
) -> None:
    assert read["python"]["said"]["model"] == drafting_folders["pocket-large"]
    assert read["python"]["said"] == read["ngram"]["said"] | {"served_model_name": None}
    assert read["python"]["speculation"] == read["ngram"]["speculation"]


def test_without_a_profile_vllm_does_not_speculate(read: dict[str, dict[str, Any]]) -> None:
    assert read["none"]["speculation"] is None
    assert "error" not in read["none"]


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_configured_here_is_refused_with_vllms_reason(
    read: dict[str, dict[str, Any]], name: str
) -> None:
    assert REFUSED[name][-1] in read[name]["error"]


def test_what_is_no_profile_can_be_named_in_args(read: dict[str, dict[str, Any]]) -> None:
    assert "error" not in read["dflash"]


def test_vllm_takes_a_name_for_a_method_which_is_why_such_names_are_refused(read: dict[str, dict[str, Any]]) -> None:
    assert read["eagle-small"]["said"]["speculative_config"]["method"] == "draft_model"
    assert read["eagle-small"]["speculation"]["method"] == "eagle"


# --- the engine -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def written(in_vllm: Callable[[str, Any], Any], drafting_folders: Folders) -> dict[str, dict[str, Any]]:
    """What vLLM writes, or ends with: of each target without drafting, of CASES and of ENDS."""
    runs = {}
    for target in sorted({case.target for case in CASES.values()}):
        runs[f"{target}, none"] = {"model": drafting_folders[target]}
    for name, case in CASES.items():
        runs[name] = {
            "model": drafting_folders[case.target],
            "speculative_config": located(case.profile.arguments(), drafting_folders),
            "additional_config": case.profile.additional(),
        }
    for name, (told, _) in ENDS.items():
        runs[name] = {
            "model": drafting_folders["pocket-large"],
            "speculative_config": located(told, drafting_folders),
        }
    work = {"tasks": TASKS, "tokens": TOKENS, "runs": list(runs.values())}
    return dict(zip(runs, in_vllm("write_greedily.py", work), strict=True))


def test_every_profile_is_tried() -> None:
    assert {case.profile.method for case in CASES.values()} | {"suffix"} == set(PROFILES)


@pytest.mark.parametrize("name", CASES)
def test_greedy_text_is_the_same_with_and_without_drafts(written: dict[str, dict[str, Any]], name: str) -> None:
    case = CASES[name]
    found, plain = written[name], written[f"{case.target}, none"]
    assert "error" not in found
    assert plain["margin"] > CLEAR
    assert plain["drafted"] == 0
    assert found["drafted"] > 0
    assert found["accepted"] > 0 or not case.guesses
    assert found["ids"] == plain["ids"]


def test_layers_of_prediction_leave_the_text_of_a_target_alone(written: dict[str, dict[str, Any]]) -> None:
    assert written["mtp, none"]["ids"] == written["pocket-large, none"]["ids"]


@pytest.mark.parametrize("name", ENDS)
def test_what_does_not_run_here_ends_with_vllms_reason(written: dict[str, dict[str, Any]], name: str) -> None:
    assert ENDS[name][-1] in written[name]["error"]
