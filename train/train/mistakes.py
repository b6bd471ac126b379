"""Collect thoughts that small really writes, so that the judge learns small's own mistakes.

    python -m train.mistakes            # from small's state to mistakes-NNN.jsonl beside it

Samples thoughts on train tasks through the embedded engine (temperatures 0.6 and 1.0, both of which the
routers use), keeps every thought with a wrong step and a third of those without. Run it once small
has reached its band, and again when small is final; training picks up the newest file at its next shard.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from random import Random
from typing import Any

from orchestrator.bench.workloads.random_calculation import calculations
from orchestrator.bench.workloads.verify import find_answer, verify_thought

from train.chat import render
from train.embedded import Embedded
from train.export import write_gguf
from train.run import home, load_decoder

__all__ = ["main", "thoughts"]

MIX = {"easy": 2, "mid": 5, "hard": 2, "chain": 1, "signed": 1}
LIMIT = 900
LONGEST = 200
"""Characters of a step; a longer one ran away, and the thought is kept up to it only."""
KEEP_RIGHT = 1 / 3


def thoughts(engine: Embedded, seed: int) -> Iterator[dict[str, Any]]:
    """Endless thoughts of the engine, each with whether its answer is right and how many steps are wrong."""
    random = Random(f"mistakes/{seed}")
    streams = {preset: calculations(preset, "train", 1_000_000 + seed) for preset in MIX}
    while True:
        task = next(streams[random.choices(list(MIX), list(MIX.values()))[0]])
        temperature = random.choice((0.6, 0.6, 1.0))
        prompt = render([{"role": "user", "content": task.prompt}])
        reply = engine.complete(prompt, LIMIT, temperature=temperature, seed=random.randrange(1, 2**31))
        thought, closed, rest = reply.text.partition("</think>")
        every = [step for step in thought.split("\n\n") if step]
        steps = list(takewhile(lambda step: len(step) <= LONGEST, every))
        answer = find_answer(rest) if closed and reply.is_finished and steps == every else None
        yield {
            "prompt": task.prompt,
            "expression": task.expression,
            "steps": steps,
            "answer": answer,
            "is_right": answer == task.answer,
            "num_wrong": sum(not verdict.is_right for verdict in verify_thought(steps, task.expression)),
        }


def collect(engine: Embedded, count: int, seed: int) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """`count` thoughts worth keeping, and rates over all that were sampled."""
    random = Random(f"keep/{seed}")
    kept: list[dict[str, Any]] = []
    sampled = steps = wrong = right = 0
    for thought in thoughts(engine, seed):
        sampled += 1
        steps += len(thought["steps"])
        wrong += thought["num_wrong"]
        right += thought["is_right"]
        if thought["steps"] and (thought["num_wrong"] or random.random() < KEEP_RIGHT):
            kept.append(thought)
        if len(kept) == count:
            break
    return kept, {"sampled": sampled, "step_accuracy": 1 - wrong / max(1, steps), "solved": right / sampled}


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Collect small's own mistakes for the judge.")
    parser.add_argument("--state", type=Path, default=home() / "small" / "state.pt")
    parser.add_argument("--count", type=int, default=4000, help="thoughts to keep")
    options = parser.parse_args(arguments)
    os.nice(19 - os.nice(0))
    number = len(list(home().glob("mistakes-*.jsonl"))) + 1
    path = home() / f"mistakes-{number:03d}.jsonl"
    with tempfile.TemporaryDirectory() as folder:
        gguf = Path(folder) / "small.gguf"
        write_gguf(load_decoder(options.state), gguf, name="pocket-small")
        kept, rates = collect(Embedded(gguf), options.count, number)
    beside = path.with_suffix(".writing")
    beside.write_text("".join(json.dumps(thought) + "\n" for thought in kept))
    os.replace(beside, path)
    print(json.dumps({"file": str(path), "kept": len(kept), **rates}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
