"""What the report says of measured points: where drafting would have won, and what is pasted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from synthetic import model, trial

from orchestrator.cli.profile_report import remarks, toml
from orchestrator.config import load
from orchestrator.engines.speculation.planning import advise
from orchestrator.engines.speculation.profiles import CustomClass, NGram, Profile, Suffix
from orchestrator.engines.speculation.profiling import Trial, points_of

ENGINE = """
[engines.large]
kind = "vllm"
url = "http://127.0.0.1:8001/v1"
[engines.large.serve]
model = "org/large"
"""
WINNING = {(None, 1): 100.0, (3, 1): 150.0, (None, 8): 100.0, (3, 8): 130.0}


def trials(goodputs: Mapping[tuple[int | None, int], float]) -> list[Trial]:
    """Return trials with these goodputs, of tokens and a batch size each; no speculation comes again."""
    found = [trial(model(), *key)._replace(goodput=each) for key, each in goodputs.items()]
    return [*found, *(each for each in found if each.tokens is None)]


def said(profile: Profile, goodputs: Mapping[tuple[int | None, int], float]) -> list[str]:
    found = trials(goodputs)
    points = points_of(found)
    return list(remarks(profile, found, points, advise(profile, points), num_prompts=1000))


def test_a_net_loss_tells_where_drafting_would_have_won() -> None:
    assert said(NGram(), WINNING | {(3, 8): 50.0}) == [
        "drafts are faster than no speculation at batch size 1, but lose more than that over all of --batches: give "
        "those that you serve"
    ]
    assert said(NGram(), WINNING | {(3, 8): 50.0, (3, 1): 99.0}) == [
        "no draft of any length is faster than no speculation, beyond the noise"
    ]


@pytest.mark.parametrize(
    ("profile", "pasted"),
    [
        (NGram(), 'method = "ngram"\ntokens = 3\nschedule = [[1, 8, 3]]'),
        (Suffix(), 'method = "suffix"\ntokens = 3'),
    ],
)
def test_only_what_takes_a_schedule_is_given_one(tmp_path: Path, profile: Profile, pasted: str) -> None:
    file = tmp_path / "orchestrator.toml"
    file.write_text(ENGINE)
    advice = advise(profile, points_of(trials(WINNING)))
    assert toml(load(file), "large", advice) == f"[engines.large.serve.speculation]\n{pasted}"


def test_a_schedule_is_spoken_of_only_where_there_is_one() -> None:
    beyond = "above batch size 8, which was not measured, vLLM goes on with the last row"
    assert said(NGram(), WINNING) == [beyond]
    assert said(Suffix(), WINNING) == said(CustomClass(), WINNING) == []
