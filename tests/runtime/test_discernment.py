"""A judge that rates a right and a wrong step alike is noticed."""

from __future__ import annotations

import pytest

from orchestrator.engines.base import Request
from orchestrator.engines.scripted import Reply, Scripted
from orchestrator.routers.specreason import SpecReason
from orchestrator.runtime.discernment import Discerned, discern
from orchestrator.runtime.pipeline import Pipeline


async def judged(
    *ratings: str | Reply, router: str | SpecReason = "specreason"
) -> tuple[list[Discerned], list[Request]]:
    large = Scripted(list(ratings))
    async with Pipeline({"small": Scripted([]), "large": large}, router, db=":memory:") as pipeline:
        return [each async for each in discern(pipeline)], large.requests


@pytest.mark.parametrize(("right", "wrong", "is_blind"), [("9", "2", False), ("9", "9", True), ("0", "9", False)])
async def test_only_equal_ratings_are_blind(right: str, wrong: str, is_blind: bool) -> None:
    [found], _ = await judged(right, wrong)
    assert found[:4] == ("judge", "large", float(right), float(wrong))
    assert found.is_blind is is_blind


@pytest.mark.parametrize(
    ("right", "wrong", "flaw"),
    [
        (5.0312, 5.0298, "alike: "),
        (5.0298, 5.0312, "alike: "),
        (5.1, 5.0, ""),
        (5.0, 5.1, "it rates the wrong step higher: "),
        (None, None, ""),
    ],
)
def test_a_mean_rating_is_flawed_where_it_does_not_put_the_right_step_first(
    right: float | None, wrong: float | None, flaw: str
) -> None:
    found = Discerned("judge-average", "large", right, wrong)
    assert found.flaw == (flaw and f"{flaw}such ratings decide nothing; try another judge")


async def test_only_a_judge_that_reads_one_digit_is_advised_to_read_their_mean() -> None:
    [found], _ = await judged("9", "9")
    assert found.flaw == "alike: such ratings decide nothing; try reading=average or another judge"
    unsure = [Reply(text="9", top={"9": -0.7, "1": least}) for least in (-0.7, -0.705)]
    [averaged], _ = await judged(*unsure, router=SpecReason(reading="average"))
    assert averaged.right != averaged.wrong
    assert averaged.flaw == "alike: such ratings decide nothing; try another judge"


async def test_the_steps_are_laid_out_as_a_run_lays_them_out() -> None:
    _, requests = await judged("9", "2")
    texts = [bytes(request.prompt.ids()).decode() for request in requests if request.prompt is not None]
    for text, step in zip(texts, ("12+7=19\n19-4\n\n", "12+7=91\n91-4\n\n"), strict=True):
        assert text.startswith(f"user: Compute 12 + 7 - 4.\nassistant: 12+7-4\n\n{step}\nuser: ")
    assert {request.purpose for request in requests} == {"judge"}


async def test_a_rating_that_cannot_be_had_has_its_reason() -> None:
    [found], _ = await judged("9", "well")
    assert (found.right, found.is_blind) == (None, False)
    assert "'w', not a digit" in found.reason


async def test_a_router_that_asks_no_judge_has_none_to_try() -> None:
    assert await judged(router="large") == ([], [])
