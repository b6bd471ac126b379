"""`orchestrator run`: one question, or a file of tasks."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from orchestrator.cli.learner import learning_flags
from orchestrator.cli.source import agent_flags, engine_flags, router_flags, run_flags
from orchestrator.errors import UserError

__all__ = ["run"]


@click.command(
    epilog="Example: orchestrator run tasks.jsonl --router specreason --threshold 7 --out results.jsonl --resume"
)
@click.argument("what", required=False, metavar="[QUESTION | TASKS.jsonl]")
@engine_flags
@router_flags
@agent_flags
@run_flags
@click.option(
    "--learn",
    is_flag=True,
    help="Learn from each run before the next task; one at a time, if no --concurrency is given.",
)
@learning_flags
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="FILE", help="Results of a file of tasks; new, or --resume."
)
@click.option("--resume", is_flag=True, help="Go on where the same command was interrupted; alone: the newest one.")
@click.option("--json", "as_json", is_flag=True, help="Print a question's result as one JSON object.")
@click.option("--quiet", is_flag=True, help="Nothing on stderr but errors.")
@click.pass_context
def run(ctx: click.Context, /, what: str | None, **given: Any) -> int:
    """Run a question or a file of tasks.

    A QUESTION prints its answer. TASKS.jsonl holds one JSON object per line with `prompt` or
    `messages`, and optionally `id` and `answer` (the gold answer); each finished task gives one
    JSON line, in the order they finish: position, id, run_id, status, answer, correct (where there
    is a gold answer), steps, output_tokens, large_share, seconds, error.

    What runs comes from --pipeline, from --small and --large, or from orchestrator.toml; the other
    flags override the file. Every run is journaled and can be shown with `orchestrator trace show`.

    Tools run only where they are named. At a terminal you are asked before a tool that wants approval is
    called, and before a call that was interrupted is made again; elsewhere, or with --quiet, it is denied.

    With --learn, behaviors are learned from each run whose outcome is known, before the next task begins: tasks run one
    at a time unless --concurrency is given. What that asks are runs of their own: neither the result nor the budget of
    a task knows of it. An engine of whose first five texts none can be read is asked no more; --learning-tokens ends
    the learning, not the tasks, and has no part in the exit code.

    Exit code of a file: 2 if a line was bad or a prompt longer than a context, else 1 if a task failed
    or got no answer, else 4 if a budget stopped one, else 0. Of a question: 0 with an answer, 1 without
    one or failed, 2, 3 (engine) or 4 (budget). After Ctrl-C 130, after SIGTERM 143; --resume goes on.
    """
    from orchestrator.cli.interrupt import Interrupted, run_until_done
    from orchestrator.cli.streams import Unwritable, note
    from orchestrator.cli.work import carry_out

    try:
        return run_until_done(carry_out(what, given))
    except Interrupted as interrupted:
        note(f"interrupted: what was finished is kept; go on with: {_again(ctx.obj)}")
        return interrupted.exit_code
    except Unwritable as error:
        if not error.is_full:
            raise
        # What was finished and could not be printed is written again to a file, and to nothing else.
        lost = [] if given["out"] or not str(what).endswith(".jsonl") else ["--out", "results.jsonl"]
        raise UserError(f"{error}: make room, then --resume: {_again([*ctx.obj, *lost])}") from error


def _again(arguments: Sequence[str]) -> str:
    resumed = arguments if "--resume" in arguments else [*arguments, "--resume"]
    return shlex.join(["orchestrator", *resumed])
