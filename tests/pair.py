"""The pocket pair on two real vLLM servers, as examples/pocket_vllm.toml describes them and as a user starts them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from started import free_port

import orchestrator as orc
from orchestrator.bench.workloads.random_calculation import calculations
from orchestrator.engines.spec import EngineSpec
from orchestrator.memory.base import StoredRun

EXAMPLE = Path(__file__).parents[1] / "examples/pocket_vllm.toml"
READY_WITHIN_S = 480
"""Half a minute on idle cores; other jobs beside it can make it ten times that."""


TASKS = [each.prompt for each in islice(calculations("mid", "report", 0), 8)]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Where they are."""

    small: str
    """Its url; it speculates with drafters of this package."""
    large: str
    """Its url; it speculates with the small one as its draft model."""
    config: Path
    environ: dict[str, str]
    """What a command needs that reads the config."""
    supervisor: subprocess.Popen[bytes]
    """The `orchestrator engines up` that serves them."""


@contextmanager
def served_pair(python: str, pocket: str, folder: Path) -> Iterator[Pair]:
    """Serve the pair at free ports until the end of the `with`; logs are in `folder`."""
    ports = {"8101": str(free_port()), "8102": str(free_port())}
    config, told = folder / "orchestrator.toml", folder / "told"
    config.write_text(re.sub("810[12]", lambda found: ports[found[0]], EXAMPLE.read_text()))
    named = {"VLLM_PYTHON": python, "POCKET": pocket, "CHECKOUT": str(EXAMPLE.parents[1])}
    environ = {**os.environ, **named, "ORCHESTRATOR_HOME": str(folder)}
    command = [str(Path(sys.executable).with_name("orchestrator")), "engines", "up", "--config", str(config)]
    small, large = (f"http://127.0.0.1:{port}/v1" for port in ports.values())
    with told.open("w") as out, subprocess.Popen(command, env=environ, stdout=out, stderr=out) as supervisor:
        try:
            limit = time.monotonic() + READY_WITHIN_S
            while told.read_text().count("answers at") < len(ports):
                assert supervisor.poll() is None and time.monotonic() < limit, told.read_text()
                time.sleep(0.5)
            yield Pair(small=small, large=large, config=config, environ=environ, supervisor=supervisor)
        finally:
            supervisor.terminate()


def served(pair: Pair) -> dict[str, EngineSpec]:
    """Return the pair as the config has it: greedy, with the words that it was trained on."""
    own = orc.engines.pocket_pair()["large"]
    words: dict[str, Any] = {"judge": own.judge, "tools": own.tools}
    urls = {"small": pair.small, "large": pair.large}
    return {name: orc.engines.vllm(url, temperature=0.0, think=True, **words) for name, url in urls.items()}


def runs(engines: dict[str, EngineSpec], router: Any) -> list[StoredRun]:
    with orc.Pipeline(engines, router, db=":memory:") as pipeline:
        return [pipeline.journal.run(pipeline.run(task).run_id) for task in TASKS]


def kept(run: StoredRun) -> list[tuple[str, str]]:
    return [(step.writer, step.text) for step in run.kept()]
