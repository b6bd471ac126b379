"""`orchestrator trace diff`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from click.testing import Result

Call = Callable[..., Result]

SHOWN = r"""A        <run>  completed
B        <run>  completed
task     the same
settings other: router
parted   at step 1, by decision
      A  rewrite large
      B  keep
answer A 42
answer B 42

4 decisions differ, 1 of them in what was done
    0 after_draft  keep 9 vs 7                   keep 9 vs 1
*   1 after_draft  rewrite large 2 vs 7          keep 2 vs 1
    2 after_draft  keep 9 vs 7                   keep 9 vs 1
    3 after_draft  keep 9 vs 7                   keep 9 vs 1

engine   purpose      output A         B     B - A
small    draft              79        79        +0
large    judge               4         4        +0
large    rewrite            17         0       -17
all                        100        83       -17
"""


@pytest.fixture
def two(orchestrator: Call, pipeline: str) -> list[str]:
    """The ids of two runs, the second of which keeps every draft."""
    with open("agent.py") as file:
        script = file.read()
    with open("kind.py", "w") as file:
        engines = 'engines={"small": orc.engines.Scripted(small), "large": orc.engines.Scripted(large)}'
        file.write(script.replace(engines, f"{engines}, router=orc.routers.SpecReason(threshold=1)"))
    done = [
        orchestrator("run", "What is 6*7?", "--pipeline", each, "--json", "--quiet")
        for each in (pipeline, "kind.py:pipeline")
    ]
    return [json.loads(each.stdout)["run_id"] for each in done]


def test_two_runs_are_shown_side_by_side(orchestrator: Call, two: list[str], settle: Callable[[str], str]) -> None:
    done = orchestrator("trace", "diff", *two)
    assert done.exit_code == 0
    assert settle(done.stdout) == SHOWN
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_json_has_every_decision_that_differs(orchestrator: Call, two: list[str]) -> None:
    found = json.loads(orchestrator("trace", "diff", *two, "--json").stdout)
    assert (found["ours"], found["theirs"]) == tuple(two)
    assert found["first"] == {"step": 1, "what": "decision", "ours": "rewrite large", "theirs": "keep"}
    assert [each["is_other"] for each in found["decisions"]] == [False, True, False, False]
    assert found["decisions"][1]["ours"]["reason"] == "rated too low"


def test_a_run_beside_itself_does_not_differ(orchestrator: Call, two: list[str]) -> None:
    assert "parted   nowhere" in orchestrator("trace", "diff", two[0], two[0]).stdout


def test_an_unknown_run_lists_the_nearest(orchestrator: Call, two: list[str]) -> None:
    done = orchestrator("trace", "diff", two[0], "nonsense")
    assert done.exit_code == 2
    assert re.search(r"no run 'nonsense' in .*; the nearest are", done.stderr)
