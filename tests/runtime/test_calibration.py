"""A calibration sets the threshold it was made for, and is refused wherever it was made for something else."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import orchestrator as orc
from orchestrator.decisions import Decision, keep
from orchestrator.doors import Ask, Needs
from orchestrator.engines.base import Request
from orchestrator.engines.scorers.judge import Judge
from orchestrator.engines.scorers.verifier import Verifier
from orchestrator.engines.scripted import Scripted
from orchestrator.engines.spec import JudgePrompt
from orchestrator.errors import BadConfig, MissingCapability, UserError
from orchestrator.runtime.calibration import Calibration, read
from orchestrator.runtime.circumstances import difference
from orchestrator.runtime.pairing import FINGERPRINT, Pair, Writer
from orchestrator.runtime.timeline import timeline
from orchestrator.types import History, Step


def small(request: Request) -> str:
    return "a fish\n\n" if request.purpose == FINGERPRINT else "\\boxed{7}"


def large(request: Request) -> str:
    return "6" if request.purpose == "judge" else "\\boxed{8}"


def engines(**others: Any) -> dict[str, Any]:
    return {"small": Scripted(small, name="tiny"), "large": Scripted(large, name="huge"), **others}


async def made(**changes: Any) -> Calibration:
    """A calibration for the engines above."""
    async with orc.Pipeline(engines(), "large", db=":memory:") as pipeline:
        pair = await pipeline.pair()
        under = await pipeline.circumstances(orc.routers.SpecReason())
    options = {"first_n": 0, "on_unreadable": "reject", "reading": "greedy", "step_tokens": 512, "total_tokens": 8192}
    whole = Calibration(
        router="specreason",
        options=options,
        fixes={"threshold": 5.0},
        target="min-accuracy",
        value=0.9,
        measured={"accuracy": [0.95, 0.91, 0.98]},
        pair=pair,
        under=under,
        workload="mine",
        split="calibration",
        fitted_on=("1a", "2b"),
        made="2026-11-27",
        package="0.1.0",
    )
    return replace(whole, **changes)


def written(calibration: Calibration, folder: Path, **changes: Any) -> Path:
    file = folder / "calibration.json"
    file.write_text(json.dumps({**calibration.to_json(), **changes}))
    return file


async def test_written_and_read_it_is_the_same(tmp_path: Path) -> None:
    calibration = await made()
    file = written(calibration, tmp_path)
    assert replace(read(file), file="") == calibration
    assert read(file).digest == calibration.digest
    assert str(calibration) == "calibrated for min-accuracy 0.9 on 2 tasks of mine, 2026-11-27: threshold = 5"


async def test_it_sets_the_threshold_and_the_trace_says_so(tmp_path: Path) -> None:
    file = written(await made(), tmp_path)
    shown = {}
    for name, given in (("without", None), ("with", file)):
        async with orc.Pipeline(engines(), "specreason", calibration=given, db=":memory:") as pipeline:
            result = await pipeline.arun("?")
            shown[name] = timeline(pipeline.journal.run(result.run_id)).plain
            assert [step.writer for step in result.steps] == ["small" if given else "large"]  # rated 6: not 7, but 5
            assert len(result.ledger.rows()) == (2 if given else 3)  # the identity is no part of a run
    assert "uncalibrated: the threshold was not chosen for these engines" in shown["without"]
    assert "calibrated for min-accuracy 0.9" not in shown["without"]
    assert "calibrated for min-accuracy 0.9 on 2 tasks of mine, 2026-11-27: threshold = 5" in " ".join(
        shown["with"].split()
    )
    assert "uncalibrated" not in shown["with"]


async def test_a_router_without_a_threshold_is_not_called_uncalibrated() -> None:
    async with orc.Pipeline(engines(), "large", db=":memory:") as pipeline:
        result = await pipeline.arun("?")
        assert "calibrated" not in timeline(pipeline.journal.run(result.run_id)).plain


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"small": Scripted(lambda request: "x", name="tiny")}, "other weights"),
        ({"large": Scripted(large, name="vast")}, "engine 'large' is 'huge', not 'vast'"),
        ({"small": Scripted(small, name="tiny", family="f")}, "with another tokenizer"),
    ],
)
async def test_for_another_pair_it_is_refused_before_the_first_call(
    tmp_path: Path, changed: dict[str, Any], line: str
) -> None:
    given = engines(**changed)
    file = written(await made(), tmp_path)
    async with orc.Pipeline(given, "specreason", calibration=file, db=":memory:") as pipeline:
        with pytest.raises(BadConfig, match=line) as refused:
            await pipeline.arun("?")
        assert not pipeline.journal.runs()
    assert "is of another pair" in str(refused.value) and "orchestrator calibrate" in str(refused.value)
    assert {each.purpose for engine in given.values() for each in engine.requests} == {FINGERPRINT}


JUDGE = JudgePrompt(question="Good?", prefill="Rating: ")


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"think": True}, "engines.large.think = None, not True"),
        ({"delimiter": "\n"}, r"delimiter = '\\n\\n', not '\\n'"),
        ({"scorers": {"judge": Judge(prompt=JUDGE)}}, "scorers.judge.asks.prompt.prefill = 'The rating of"),
        ({"scorers": {"judge": Judge(engine="small")}}, "scorers.judge.asks.engine = None, not 'small'"),
        ({"scorers": {"judge": Verifier(check=lambda *of: 1.0)}}, "scorers.judge.asks.check = None, not "),
    ],
)
async def test_under_other_circumstances_it_is_refused_before_the_first_call(
    changed: dict[str, Any], line: str
) -> None:
    async with orc.Pipeline(engines(), "specreason", calibration=await made(), db=":memory:", **changed) as pipeline:
        with pytest.raises(BadConfig, match=f"was made with {line}") as refused:
            await pipeline.arun("?")
        assert not pipeline.journal.runs()
    assert "; give the same, or calibrate again" in str(refused.value)


async def test_budgets_monitors_and_seeds_may_be_others() -> None:
    others: dict[str, Any] = {"budget": orc.Budget(tokens=99), "monitors": (), "seed": 5, "stop_on_answer": False}
    async with orc.Pipeline(engines(), "specreason", calibration=await made(), db=":memory:", **others) as pipeline:
        assert (await pipeline.arun("?")).answer == "7"


def test_a_difference_is_named_by_its_place_and_a_newer_package_is_none() -> None:
    before = {"engines": {"small": {"sampling": {"temperature": 0.6}}}, "delimiter": "x"}
    assert difference(before, before) == ""
    now = {"engines": {"small": {"sampling": {"temperature": 0.0}}}, "delimiter": "x"}
    assert difference(before, now) == "engines.small.sampling.temperature = 0.6, not 0.0"
    assert difference(before, {"engines": before["engines"]}) == "delimiter = 'x', not None"


@pytest.mark.parametrize(
    ("router", "line"),
    [
        ("large", "is for router specreason, not large"),
        (orc.routers.SpecReason(first_n=2), "was made with first_n = 0, not 2"),
        (orc.routers.SpecReason(threshold=3), r"fixes threshold = 5, and threshold = 3 is given besides"),
    ],
)
async def test_for_another_router_or_other_options_it_is_refused(router: Any, line: str) -> None:
    with pytest.raises(BadConfig, match=line):
        orc.Pipeline(engines(), router, calibration=await made(), db=":memory:")


async def test_the_chosen_threshold_may_be_given_besides() -> None:
    router = orc.routers.SpecReason(threshold=5)
    orc.Pipeline(engines(), router, calibration=await made(), db=":memory:").close()


async def test_a_threshold_out_of_the_routers_range_is_refused(tmp_path: Path) -> None:
    file = written(await made(fixes={"threshold": 11.0}), tmp_path)
    with pytest.raises(BadConfig, match=r"calibration.json: specreason: threshold = 11.0 is not in \[0, 10\]"):
        orc.Pipeline(engines(), "specreason", calibration=file, db=":memory:")


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"version": 3}, r"has format version 3, and this program knows 2: update it"),
        ({"version": 1}, r"has format version 1, which does not say how engines sampled: calibrate again"),
        ({"version": True}, "version = True"),
        ({"format": "something"}, "has no format 'orchestrator-calibration'"),
        ({"fixes": {}}, "it fixes nothing"),
        ({"fixes": {"threshold": "5"}}, "fixes = {'threshold': '5'}"),
        ({"fixes": {"threshold": 10**400}}, "fixes = {'threshold': 1000"),
        ({"pair": {"writers": []}}, "no identity of a pair"),
        ({"more": 1}, "keys too many or too few: more"),
        ({"tasks": {}}, "tasks has keys too many or too few: fingerprints, split, workload"),
        ({"made": 5}, "made = 5"),
    ],
)
async def test_a_broken_file_is_one_line(tmp_path: Path, changes: dict[str, Any], line: str) -> None:
    file = written(await made(), tmp_path, **changes)
    with pytest.raises(BadConfig, match=line) as refused:
        read(file)
    assert str(file) in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000, '{"format": NaN}', '{"version": 1e999}'])
def test_what_is_no_document_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "calibration.json").write_text(text)
    with pytest.raises(BadConfig, match="is no calibration"):
        read(tmp_path / "calibration.json")


def test_a_file_that_is_not_there_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="`orchestrator calibrate` makes a calibration"):
        read(tmp_path / "calibration.json")


async def test_a_resumed_run_must_have_the_same_calibration(tmp_path: Path) -> None:
    one, other = await made(), await made(measured={})
    db = tmp_path / "journal.db"
    async with orc.Pipeline(engines(), "specreason", calibration=one, db=db) as pipeline:
        result = await pipeline.arun("?")
        assert (await pipeline.arun("?", run_id=result.run_id)).answer == result.answer
    async with orc.Pipeline(engines(), "specreason", calibration=other, db=db) as pipeline:
        with pytest.raises(UserError, match="was made with calibration"):
            await pipeline.arun("?", run_id=result.run_id)


@dataclass(frozen=True, kw_only=True)
class Learned:
    """Stands for a router that was trained."""

    needs = Needs(calibrated=True)
    threshold: float = 0.5
    pair: Any = None

    async def after_draft(self, history: History, draft: Step, ask: Ask) -> Decision:
        return keep()


async def learned(**changes: Any) -> Calibration:
    router = f"{Learned.__module__}:Learned"
    options = {"pair": changes.pop("pair", None)}
    async with orc.Pipeline(engines(), "large", db=":memory:") as pipeline:
        under = await pipeline.circumstances(Learned())
    return await made(router=router, options=options, under=under, fixes={"threshold": 0.25}, **changes)


async def test_a_learned_router_without_a_calibration_is_refused() -> None:
    async with orc.Pipeline(engines(), Learned(), db=":memory:") as pipeline:
        with pytest.raises(MissingCapability, match="has no calibration for these engines: `orchestrator calibrate"):
            await pipeline.arun("?")
        assert not pipeline.journal.runs()


async def test_a_learned_router_runs_with_one_and_in_experiments_without() -> None:
    calibration = await learned()
    async with orc.Pipeline(engines(), Learned(), calibration=calibration, db=":memory:") as pipeline:
        assert (await pipeline.arun("?")).answer == "7"
        assert pipeline.router.threshold == 0.25
    async with orc.Pipeline(engines(), "large", db=":memory:") as lent:
        experiment = lent.but(router=Learned(), scorers={}, seed=0, stop_on_answer=False)
        result = await experiment.arun("?")
        shown = timeline(lent.journal.run(result.run_id)).plain
    assert "uncalibrated" in shown


async def test_a_router_that_was_trained_for_another_pair_is_refused_in_experiments_too() -> None:
    pair = (await made()).pair
    async with orc.Pipeline(engines(), "large", db=":memory:") as lent:
        good = lent.but(router=Learned(pair=pair.to_json()), scorers={}, seed=0, stop_on_answer=False)
        assert (await good.arun("?")).answer == "7"
        other = Pair(writers=(Writer(name="small", serves="x", tokenizer="y", greedy="z"), *pair.writers[1:]))
        bad = lent.but(router=Learned(pair=other), scorers={}, seed=0, stop_on_answer=False)
        with pytest.raises(BadConfig, match="was trained for another pair: engine 'small' is 'x', not 'tiny'"):
            await bad.arun("?")


async def test_the_identity_is_asked_for_once_and_only_where_something_needs_it() -> None:
    given = engines()
    async with orc.Pipeline(given, "specreason", db=":memory:") as pipeline:
        await pipeline.arun("?")
        assert not [each for each in given["small"].requests if each.purpose == FINGERPRINT]
        calibration = await made()
        for _ in range(2):
            other = pipeline.but(router="specreason", scorers={}, seed=0, stop_on_answer=True, calibration=calibration)
            await other.arun("?")
        assert len([each for each in given["small"].requests if each.purpose == FINGERPRINT]) == 3
