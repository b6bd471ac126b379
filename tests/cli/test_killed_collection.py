"""kill -9 in the middle of `orchestrator collect`: the same command goes on, no row is lost and none doubled."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

from marked import STEPS

from orchestrator.learning.rows import Row, read
from orchestrator.memory.base import StoredRun
from orchestrator.memory.journal import Journal
from orchestrator.memory.store import Store

PIPELINE = '''
"""The scripts of the tests; the process kills itself at the boundary that DIE_AT names."""
import os, signal
import marked

left = int(os.environ.get("DIE_AT", "0"))

def boundary():
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

def dying(answer):
    def answered(request):
        boundary()
        return answer(request)
    return answered

def pipeline():
    made = marked.pipeline(db=os.environ["DB"])
    for engine in made.engines.values():
        engine._answer = dying(engine._answer)
    made.journal._store.connection.set_trace_callback(
        lambda statement: boundary() if statement.startswith(("BEGIN", "COMMIT")) else None
    )
    return made
'''
TASKS = 4
COMMAND = [sys.executable, "-c", "from orchestrator.cli import main; main()"]
ARGUMENTS = ["collect", "tasks.jsonl", "--pipeline", "dying.py:pipeline", "--logprobs", "2", "--concurrency", "2"]


def collected(here: Path, name: str, die_at: int = 0) -> int:
    """Collect into the journal and the rows called `name`; return how the process ended."""
    environ = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path]),
        "DIE_AT": str(die_at),
        "DB": str(here / f"{name}.db"),
    }
    command = [*COMMAND, *ARGUMENTS, "--out", f"{name}.jsonl"]
    done = subprocess.run(command, cwd=here, env=environ, capture_output=True, text=True, timeout=120)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode


def rows(name: str) -> list[Row]:
    return list(read([Path(f"{name}.jsonl")])[1])


def calls(run: StoredRun) -> list[tuple[int, int, str, str, bytes]]:
    """Return the calls that came to an end, however often their process died meanwhile."""
    ended = [call for call in run.calls if call.result is not None and call.result.status == "done"]
    return sorted((*call.intent[2:6], call.intent.digest) for call in ended)


def test_killed_again_and_again_a_collection_ends_with_every_row_once(here: Path) -> None:
    (here / "dying.py").write_text(PIPELINE)
    (here / "tasks.jsonl").write_text("".join(f'{{"prompt": "Question {n}?"}}\n' for n in range(TASKS)))
    assert collected(here, "whole") == 0
    draw = random.Random(5)
    deaths = 0
    while collected(here, "killed", die_at=draw.randrange(20, 70)) != 0:
        assert not Path("killed.jsonl").exists()
        deaths += 1
    assert deaths >= 3
    whole, killed = rows("whole"), rows("killed")
    assert killed == whole
    assert len({(row.run, row.index) for row in killed}) == len(killed) == TASKS * (STEPS + 1)
    with Store(here / "whole.db") as one, Store(here / "killed.db") as other:
        for run_id in {row.run for row in whole}:
            straight, resumed = Journal(one).run(run_id), Journal(other).run(run_id)
            assert calls(resumed) == calls(straight)  # what was answered is never asked again
            assert [row[1:8] for row in resumed.steps] == [row[1:8] for row in straight.steps]
