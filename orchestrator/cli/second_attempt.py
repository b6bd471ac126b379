"""`orchestrator second-attempt`: answer the question of a stored run again, by what can be learned from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.source import agent_flags, engine_flags, open_source, router_flags, run_flags
from orchestrator.errors import UserError

if TYPE_CHECKING:
    from orchestrator.learning.second_attempts import Attempted

__all__ = ["second_attempt"]


@click.command("second-attempt", epilog="Example: orchestrator second-attempt last --way revised")
@click.argument("name", metavar="RUN|last")
@click.option(
    "--way",
    type=click.Choice(["guided", "revised"]),
    default="guided",
    show_default=True,
    help="By behaviors learned from the first attempt, or by showing it again to be mended.",
)
@click.option("--strategist", metavar="ENGINE", help="Who reflects on the first attempt; the largest unless given.")
@engine_flags
@router_flags
@agent_flags
@run_flags
@click.option("--json", "as_json", is_flag=True, help="Print what came of it as one JSON object.")
@click.option("--quiet", is_flag=True, help="Nothing on stderr but errors.")
def second_attempt(name: str, way: str, **given: Any) -> int:
    """Answer the question of a stored run a second time.

    RUN is an id or the beginning of one. Nobody is told whether the first attempt was right, nor the gold answer. Both
    ways have the budget of one run (--budget-tokens) for everything: the first attempt, learning from it, and the
    second one. Where nothing can be learned, or nothing is left, the first answer stands. The same command again does
    nothing twice.

    Exit code: 0 with an answer, else 1.
    """
    from orchestrator.cli.interrupt import run_until_done
    from orchestrator.cli.streams import note, say, say_json

    found = run_until_done(_attempt(name, way, given))
    if given["as_json"]:
        say_json(_told(found))
    elif found.answer is not None:
        say(found.answer)
    if not given["quiet"]:
        note(_summary(found))
    return int(found.answer is None)


async def _attempt(name: str, way: str, given: Mapping[str, Any]) -> Attempted:
    from orchestrator.learning.second_attempts import SecondAttempts

    if way == "revised" and given["strategist"] is not None:
        raise UserError("--strategist says who reflects, and --way revised learns nothing: leave it out")
    pipeline, _ = await open_source(given)
    async with pipeline:
        attempts = SecondAttempts(pipeline, given["strategist"])
        return await (attempts.guided(name) if way == "guided" else attempts.revised(name))


def _told(found: Attempted) -> dict[str, Any]:
    from orchestrator.handbook.prompts import line

    second = found.second
    return {
        "way": found.way,
        "first": found.first,
        "second": None if second is None else second.run_id,
        "status": None if second is None else str(second.status),
        "why": found.why,
        "answer": found.answer,
        "shown": [line(each) for each in found.shown],
        "output_tokens": found.output_tokens,
        "prompt_tokens": found.prompt_tokens,
        "learning": {"output_tokens": found.learning[0], "prompt_tokens": found.learning[1]},
    }


def _summary(found: Attempted) -> str:
    tokens = f"{found.output_tokens} output tokens in all, {found.learning[0]} of them to learn"
    if found.second is None:
        return f"the first answer stands: {found.why} · {tokens}"
    shown = f" · shown {', '.join(each.name for each in found.shown)}" if found.shown else ""
    return f"{found.way}: {found.second.status}{shown} · {tokens} · run {found.second.run_id}"
