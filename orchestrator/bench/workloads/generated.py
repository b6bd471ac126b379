"""Workloads that make their own tasks: RandomCalculation, and every family of reasoning-gym."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from hashlib import sha256
from itertools import islice
from typing import Any

from orchestrator.bench.scoring import exact
from orchestrator.bench.workloads.base import Workload
from orchestrator.bench.workloads.random_calculation import PRESETS, REASONING_GYM, WORDINGS, calculations
from orchestrator.bench.workloads.splits import split_of
from orchestrator.bench.workloads.steps import check_step, expression_in
from orchestrator.errors import UnknownName, UserError
from orchestrator.types import Message, Task

__all__ = ["random_calculation", "reasoning_gym"]

_TRIED = 20
"""Draws per wanted task before a split counts as exhausted: a task counts once, however often it is drawn."""
_SPLIT = 20
"""One draw in so many falls into a split."""


def random_calculation(preset: str = "mid", every_wording: bool = False) -> Workload:
    """Return generated arithmetic of one difficulty, its answers and single steps checked exactly.

    An expression is drawn once, or once in each of its wordings: for presets that have few of them.
    """
    if preset not in PRESETS:
        raise UnknownName(f"no preset named {preset!r}; known: {', '.join(PRESETS)}")

    def draw(split: str, seed: int, count: int) -> list[Task]:
        found: dict[str, Task] = {}
        for each in islice(calculations(preset, split, seed), _TRIED * count):
            asked = each.prompt if every_wording else each.expression
            found.setdefault(asked, _task("calc", asked, each.prompt, each.answer))
            if len(found) == count:
                break
        return list(found.values())

    return Workload(
        name=f"random-calculation:preset={preset}" + ":every_wording=True" * every_wording,
        settings={"workload": "random-calculation", "preset": preset, "wordings": sorted(WORDINGS)}
        | ({"every_wording": True} if every_wording else {}),
        draw=draw,
        score=exact,
        check=check_step,
    )


def reasoning_gym(family: str = "chain_sum", **config: Any) -> Workload:
    """Return one family of reasoning-gym, scored by its own scorer.

    `config` are the family's own options. The arithmetic families have the configurations that the
    pocket pair was trained towards unless options are given, and a check of single steps. Tasks are
    cut into splits by what is asked, and none is drawn twice. Raises UnknownName, naming near families, or UserError.
    """
    gym = _gym()
    known = sorted(gym.factory.DATASETS)
    family = str(family)
    if family not in known:
        near = get_close_matches(family, known, 5, cutoff=0.4) or known[:5]
        raise UnknownName(f"reasoning-gym has no family {family!r}; near: {', '.join(near)} ({len(known)} in all)")
    chosen = config or dict(REASONING_GYM.get(family, {}))
    is_arithmetic = family in REASONING_GYM
    items: dict[str, Any] = {}
    try:
        dataset = gym.create_dataset(family, size=1, seed=0, **chosen)
    except Exception as error:  # its checks are assertions and whatever a family raises
        raise UserError(f"reasoning-gym {family}: {error or 'these options do not go together'}") from error

    def draw(split: str, seed: int, count: int) -> list[Task]:
        found: dict[str, Task] = {}
        source = gym.create_dataset(family, size=_TRIED * _SPLIT * count, seed=_seed(family, seed), **chosen)
        for item in _items(source):
            question = item["question"]
            asked = (expression_in(question) if is_arithmetic else None) or question
            if split_of(asked) != split:
                continue
            items[question] = item
            found.setdefault(asked, _task(family, asked, question, str(item["answer"])))
            if len(found) == count:
                break
        return list(found.values())

    def score(task: Task, answer: str | None) -> float:
        return float(dataset.score_answer(answer, items[task.messages[-1].content]))

    return Workload(
        name=":".join([f"reasoning-gym:family={family}", *(f"{key}={value}" for key, value in sorted(config.items()))]),
        settings={"workload": "reasoning-gym", "family": family, **chosen},
        draw=draw,
        score=score,
        check=check_step if is_arithmetic else None,
    )


def _gym() -> Any:
    try:
        import reasoning_gym
    except ImportError as error:
        raise UserError("reasoning-gym is not installed: pip install 'reasoning-orchestrator[bench]'") from error
    return reasoning_gym


def _items(source: Any) -> Iterator[Any]:
    for place in range(len(source)):
        yield source[place]


def _seed(family: str, seed: int) -> int:
    return int.from_bytes(sha256(f"{family}/{seed}".encode()).digest()[:4], "big")


def _task(kind: str, asked: str, prompt: str, answer: str) -> Task:
    """Return a task whose id is that of what is asked, so that one drawn by two seeds can be told."""
    name = f"{kind}-{sha256(asked.encode()).hexdigest()[:12]}"
    return Task(messages=(Message("user", prompt),), id=name, answer=answer)
