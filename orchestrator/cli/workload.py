"""Tasks with known answers as a command line names them."""

from __future__ import annotations

import re
from types import FunctionType
from typing import TYPE_CHECKING

import click

from orchestrator.cli.source import load_object
from orchestrator.errors import UserError

if TYPE_CHECKING:
    from orchestrator.bench.workloads.base import Workload

__all__ = ["workload", "workload_flag"]

workload_flag = click.option(
    "--workload",
    default="random-calculation",
    metavar="NAME[:KEY=VALUE...]|FILE.jsonl",
    show_default=True,
    help="Tasks with answers: see `bench list`.",
)


def workload(text: str) -> Workload:
    """Return what NAME[:KEY=VALUE...] or FILE.jsonl[:KEY=VALUE...] names. Raises UserError, or UnknownName."""
    from orchestrator.bench.spec import parse, value_of
    from orchestrator.bench.workloads import workload_of

    file = re.match(r"(?!jsonl:)(.+\.jsonl)(:.*)?$", text)
    name, options = parse(f"jsonl{file[2] or ''}" if file else text)
    if file:
        options["path"] = file[1]
    values = {key: value_of(value) for key, value in options.items()}
    if ":" in str(values.get("scorer", "")):
        values["scorer"] = load_object(target := values["scorer"], "scorer", FunctionType)
        if not callable(values["scorer"]):
            raise UserError(f"scorer {target} is no function")
    found: Workload = workload_of(name, values)
    return found
