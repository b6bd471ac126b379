"""How the tests of the runtime find helper modules, which are no package, theirs and the engines'; and a handbook."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.behaviors import Add
from orchestrator.memory.handbook import Handbook
from orchestrator.memory.store import Store

sys.path.append(str(Path(__file__).parent))
sys.path.append(str(Path(__file__).parents[1] / "engines"))


@pytest.fixture
def handbook(tmp_path: Path) -> Iterator[Handbook]:
    """A handbook of three behaviors: two for sums, one for circles."""
    with Store(tmp_path / "handbook.db") as store:
        made = Handbook(store)
        made.apply(
            [
                Add("behavior_add_digits", "Add the digits from the right."),
                Add("behavior_carry_digits", "Carry when digits pass nine."),
                Add("behavior_draw_circles", "Draw circles before angles."),
            ]
        )
        yield made
