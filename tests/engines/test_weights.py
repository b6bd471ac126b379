"""Weights are looked at before a server is started."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.engines.serving import Serving
from orchestrator.engines.speculation.profiles import DraftModel, Eagle, Profile
from orchestrator.engines.weights import check_weights
from orchestrator.errors import BadConfig


def weights(folder: Path, config: Any) -> str:
    folder.mkdir()
    (folder / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    return str(folder)


def refusal(model: str, speculation: Profile | None = None) -> str:
    with pytest.raises(BadConfig) as caught:
        check_weights("large", Serving(model=model, speculation=speculation))
    return str(caught.value)


@pytest.mark.parametrize("model", ["/no/such/weights", "./weights", "../weights"])
def test_weights_that_are_not_there_are_one_clear_line(model: str) -> None:
    assert refusal(model) == f"engine 'large': there are no weights at {model}"
    assert refusal("org/tiny", DraftModel(model=model)) == f"engine 'large': there are no drafting weights at {model}"
    assert refusal("org/tiny", Eagle(model=model)) == f"engine 'large': there are no drafting weights at {model}"


def test_a_folder_without_a_configuration_holds_no_weights(tmp_path: Path) -> None:
    said = f"engine 'large': there are no weights at {tmp_path}: the folder has no config.json"
    assert refusal(str(tmp_path)) == said
    (tmp_path / "params.json").touch()  # Mistral's own
    check_weights("large", Serving(model=str(tmp_path)))


def test_a_folder_may_be_named_like_the_hubs_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_weights("large", Serving(model="org/tiny"))
    Path("org/tiny").mkdir(parents=True)
    assert refusal("org/tiny").endswith("the folder has no config.json")


def test_weights_may_be_one_file(tmp_path: Path) -> None:
    (tmp_path / "tiny.gguf").touch()
    check_weights("large", Serving(model=f"{tmp_path}/tiny.gguf"))


def test_a_draft_model_of_another_vocabulary_is_refused_with_both_sizes_and_the_mend(tmp_path: Path) -> None:
    large, small = weights(tmp_path / "l", {"vocab_size": 49152}), weights(tmp_path / "s", {"vocab_size": 512})
    assert refusal(large, DraftModel(model=small)) == (
        f"engine 'large': {large} has a vocabulary of 49152 tokens and its draft model {small} one of 512: set "
        "heterogeneous_vocab = true in [engines.large.serve.speculation], or draft with a model of the same family"
    )
    check_weights("large", Serving(model=large, speculation=DraftModel(model=small, heterogeneous_vocab=True)))
    check_weights("large", Serving(model=large, speculation=Eagle(model=small)))  # a head brings what it needs


@pytest.mark.parametrize("other", [{"text_config": {"vocab_size": 512}, "vocab_size": 1}, {}, []])
def test_a_vocabulary_that_is_the_same_or_not_known_is_the_servers_to_judge(tmp_path: Path, other: Any) -> None:
    large, small = weights(tmp_path / "l", {"vocab_size": 512}), weights(tmp_path / "s", other)
    check_weights("large", Serving(model=large, speculation=DraftModel(model=small)))
    check_weights("large", Serving(model="org/tiny", speculation=DraftModel(model=small)))


def test_a_configuration_that_cannot_be_read_is_one_clear_line(tmp_path: Path) -> None:
    large, small = weights(tmp_path / "l", "{"), weights(tmp_path / "s", {})
    assert refusal(large, DraftModel(model=small)).startswith(f"engine 'large': {large}/config.json cannot be read: ")
