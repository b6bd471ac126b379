"""How long a newcomer waits before anything happens: wall time of fresh processes.

Run `python benchmarks/start_up.py`. Every figure is the wall time of whole processes, the interpreter's
own start-up (`python -c pass`) beside it. Processes are new each time, the files they read are in the
system's cache after the first, uncounted round. `first answer` builds a pipeline of two scripted engines
with a journal in a fresh file, runs one task and prints its answer.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from time import perf_counter

from measure import Options, Report, interleaved, options

HELP_BAR_S = 0.4
HELP = "import sys; sys.argv[1:] = ['--help']; from orchestrator.cli import main; main()"
FIRST_ANSWER = """
import sys
import orchestrator
from orchestrator.engines import Scripted

def say(request):
    return "9" if request.purpose == "judge" else "So the answer is: \\\\boxed{42}"

with orchestrator.Pipeline({"small": Scripted(say), "large": Scripted(say)}, db=sys.argv[1]) as pipeline:
    result = pipeline.run("What is 6*7?")
assert result.answer == "42", result
"""


def process(code: str, *arguments: str) -> list[str]:
    """Return the command line of a fresh interpreter that runs `code`."""
    return [sys.executable, "-c", code, *arguments]


def variant(command: Callable[[], Sequence[str]]) -> Callable[[], Awaitable[float]]:
    """Return one process, as a variant."""

    async def run() -> float:
        words = command()
        began_s = perf_counter()
        subprocess.run(words, stdout=subprocess.DEVNULL, check=True)
        return perf_counter() - began_s

    return run


async def measure(chosen: Options) -> Report:
    """Start everything in turn."""
    lines = Report("Start-up, wall time of fresh processes", chosen)
    numbers = count()
    with tempfile.TemporaryDirectory() as folder:
        found = await interleaved(
            {
                "python -c pass": variant(lambda: process("pass")),
                "import orchestrator": variant(lambda: process("import orchestrator")),
                "orchestrator --help": variant(lambda: process(HELP)),
                "import orchestrator.Pipeline": variant(lambda: process("import orchestrator; orchestrator.Pipeline")),
                "first answer, scripted": variant(lambda: process(FIRST_ANSWER, f"{folder}/{next(numbers)}.db")),
            },
            chosen.times(10),
        )
    for name, seconds in found.items():
        lines.add(name, seconds, "s", bar=HELP_BAR_S if "--help" in name else None)
    return lines


if __name__ == "__main__":
    asyncio.run(measure(options(__doc__))).print()
