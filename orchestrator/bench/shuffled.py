"""The shuffled twin of a handbook: the same names and the same instructions, paired by lot.

It has the length, the style and the words of the handbook, and none of its sense: what it gains as well is not what the
behaviors say. No name keeps its own instruction, and one behavior more changes two.

Source: the pairing is S. Sattolo's (1986), a random cycle through all, grown from the front.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from orchestrator.behaviors import Add, Behavior, Delta, Retire, Update
from orchestrator.memory.handbook import Handbook

__all__ = ["lay", "shuffled"]


def shuffled(behaviors: Sequence[Behavior]) -> list[Add]:
    """Return each with the instruction and polarity of another one; nothing of a single one, which has no other."""
    random, said = Random("shuffled"), [(each.instruction, each.polarity) for each in behaviors]
    for place in range(1, len(said)):
        other = random.randrange(place)
        said[place], said[other] = said[other], said[place]
    if len(said) < 2:
        return []
    return [
        Add(each.name, instruction, each.section, polarity)
        for each, (instruction, polarity) in zip(behaviors, said, strict=True)
    ]


def lay(handbook: Handbook, wanted: Sequence[Add]) -> None:
    """Let a handbook hold what is wanted, and nothing else."""
    there = {each.name: each for each in handbook.behaviors()}
    deltas: list[Delta] = [Retire(row.id) for name, row in there.items() if name not in {each.name for each in wanted}]
    for each in wanted:
        row = there.get(each.name)
        deltas.append(each if row is None else Update(row.id, each.instruction, each.section, each.polarity))
    handbook.apply(deltas, reason="twin of another handbook")
