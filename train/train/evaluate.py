"""Measure the pair on held-out tasks through the embedded engine, greedily, at low priority.

    python -m train.evaluate --small SMALL --large LARGE [--scorer SCORER] [--tasks 60] [--json out.json]

SMALL, LARGE and SCORER are GGUF files or states of train.run (exported to a temporary folder first). Prints, for
each: solve rate and step accuracy by kind with thinking, answers without, the judge on spoilt steps and on
small's own, forced answers, errands, behaviors (shown, hidden, shuffled), reasoning-gym families; of the
scorer the ratings alone; and last what was wanted of the pair beside what was found. Everything comes from the
`report` split unless --split says otherwise.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from orchestrator.bench.workloads import behavior_tasks, random_calculation, tool_tasks
from orchestrator.bench.workloads.random_calculation import REASONING_GYM, Calculation
from orchestrator.bench.workloads.verify import find_answer, verify_thought

from train.chat import CLOSED_THINK, END, ROLES, judge_suffix, render
from train.embedded import Embedded
from train.folder import read_gguf
from train.text import spoil

__all__ = ["main"]

LIMITS = {"direct": 200, "easy": 300, "mid": 700, "hard": 1400, "long": 1700}


def ask(prompt: str, system: str = "", *, thinks: bool = True) -> str:
    messages = [{"role": "system", "content": system}] if system else []
    return render([*messages, {"role": "user", "content": prompt}], enable_thinking=thinks)


def split_steps(thought: str) -> list[str]:
    """The steps of a thought that has ended or was cut."""
    return [step for step in thought.partition("</think>")[0].split("\n\n") if step]


def share(hits: Iterable[bool]) -> float:
    found = list(hits)
    return round(sum(found) / len(found), 4) if found else float("nan")


def area(right: Sequence[float], wrong: Sequence[float]) -> float:
    """Chance that a right step scores above a wrong one, ties half."""
    pairs = [(a > b) + 0.5 * (a == b) for a in right for b in wrong]
    return round(sum(pairs) / len(pairs), 4) if pairs else float("nan")


def ranks(values: Sequence[float]) -> list[float]:
    """The place of each value among all, ties sharing their mean place."""
    return [sum(other < value for other in values) + (values.count(value) + 1) / 2 for value in values]


def spearman(ours: Sequence[float], truth: Sequence[float]) -> float:
    """Rank correlation, in [-1, 1]; NaN where one side is constant."""
    a, b = ranks(list(ours)), ranks(list(truth))
    mean = (len(a) + 1) / 2
    over = sum((x - mean) * (y - mean) for x, y in zip(a, b, strict=True))
    under = (sum((x - mean) ** 2 for x in a) * sum((y - mean) ** 2 for y in b)) ** 0.5
    return round(over / under, 4) if under else float("nan")


def thinking(engine: Embedded, tasks: Sequence[Calculation]) -> dict[str, Any]:
    """Solve rate, step accuracy by kind (by the exact verifier), and how much is thought after the answer."""
    kinds: dict[str, list[bool]] = defaultdict(list)
    solved, lengths, redundant, ended = [], [], [], []
    for task in tasks:
        reply = engine.complete(ask(task.prompt), LIMITS.get(task.preset, 700))
        steps = split_steps(reply.text)
        verdicts = verify_thought(steps, task.expression)
        for verdict in verdicts:
            kinds[verdict.kind].append(verdict.is_right)
        solved.append(find_answer(reply.text) == task.answer)
        ended.append(reply.is_finished)
        lengths.append(len(reply.ids))
        redundant.append("Wait" in reply.text)
    every = [is_right for found in kinds.values() for is_right in found]
    return {
        "solved": share(solved),
        "step_accuracy": share(every),
        "by_kind": {kind: [share(found), len(found)] for kind, found in sorted(kinds.items())},
        "tokens": round(sum(lengths) / len(lengths), 1),
        "rechecks": share(redundant),
        "ended": share(ended),
    }


def without_thinking(engine: Embedded, tasks: Sequence[Calculation]) -> float:
    replies = [engine.complete(ask(task.prompt, thinks=False), 24).text for task in tasks]
    return share(find_answer(text) == task.answer for text, task in zip(replies, tasks, strict=True))


def forced(engine: Embedded, tasks: Sequence[Calculation]) -> dict[str, float]:
    """Right answers when the thought is cut after a share of its steps."""
    found = {}
    for part in (0.0, 0.25, 0.5, 0.75, 1.0):
        hits = []
        for task in tasks:
            steps = task.steps[: round(part * len(task.steps))]
            prompt = ask(task.prompt) + "".join(step.text + "\n\n" for step in steps) + "</think>\n\\boxed{"
            hits.append(engine.complete(prompt, 12).text.partition("}")[0] == task.answer)
        found[str(part)] = share(hits)
    return found


def rating(engine: Embedded, prompt: str, steps: Sequence[str]) -> tuple[int | None, float]:
    """The judge's greedy digit (None if it is none) and its mean digit, for the last of `steps`."""
    text = prompt + "".join(step + "\n\n" for step in steps) + judge_suffix()
    reply = engine.complete(text, 1, probabilities=12)
    digits = {int(token): share for token, share in reply.first.items() if token in set("0123456789")}
    total = sum(digits.values())
    mean = sum(digit * share for digit, share in digits.items()) / total if total else 0.0
    return (int(reply.text) if reply.text.isdigit() else None), mean


def judging(engine: Embedded, examples: Sequence[tuple[str, list[str], bool]]) -> dict[str, Any]:
    """The judge over (prompt, steps, whether the last is right)."""
    means: dict[bool, list[float]] = {True: [], False: []}
    hits, readable, every = [], [], []
    for prompt, steps, is_right in examples:
        digit, mean = rating(engine, prompt, steps)
        means[is_right].append(mean)
        every.append((mean, float(is_right)))
        readable.append(digit is not None)
        hits.append(((digit or 0) >= 7) == is_right)
    return {
        "accuracy_at_7": share(hits),
        "area": area(means[True], means[False]),
        "rank_correlation": spearman(*zip(*every, strict=True)) if every else float("nan"),
        "wrong_share": share(not is_right for _, _, is_right in examples),
        "readable": share(readable),
    }


def spoilt_examples(tasks: Sequence[Calculation]) -> list[tuple[str, list[str], bool]]:
    random = Random("spoilt")
    found = []
    for task in tasks:
        index = random.randrange(1, len(task.steps))
        before = [step.text for step in task.steps[:index]]
        wrong, _ = spoil(random, task.steps[index - 1].state, task.steps[index], task.expression)
        found.append((ask(task.prompt), [*before, task.steps[index].text], True))
        found.append((ask(task.prompt), [*before, wrong], False))
    return found


def own_examples(engine: Embedded, tasks: Sequence[Calculation], seed: int = 0) -> list[tuple[str, list[str], bool]]:
    """Steps that this engine samples itself, each judged in its own context."""
    found = []
    for number, task in enumerate(tasks):
        reply = engine.complete(ask(task.prompt), 500, temperature=0.6, seed=seed + number + 1)
        steps = split_steps(reply.text)
        for index, verdict in enumerate(verify_thought(steps, task.expression)):
            found.append((ask(task.prompt), steps[: index + 1], verdict.is_right))
    return found


def errands(engine: Embedded, count: int, split: str) -> dict[str, Any]:
    """Errands done with tools, thinking off; at most twelve turns each."""
    done, repeats, turns = [], [], []
    for errand in islice(tool_tasks.errands(split, 0), count):
        shop = errand.shop()
        context = render(
            [{"role": "system", "content": tool_tasks.SYSTEM}, {"role": "user", "content": errand.prompt}],
            enable_thinking=False,
        )
        said: list[str] = []
        for _ in range(12):
            text = engine.complete(context, 60).text
            said.append(text)
            call = tool_tasks.CALL.fullmatch(text.strip())
            if call is None:
                break
            seen = shop.call(*call.groups())
            context += text + END + ROLES["tool"] + seen + END + ROLES["assistant"] + CLOSED_THINK
        done.append(find_answer(said[-1]) == errand.answer)
        repeats.append(any(a == b == c for a, b, c in zip(said, said[1:], said[2:], strict=False)))
        turns.append(len(said))
    return {"done": share(done), "stuck": share(repeats), "turns": round(sum(turns) / max(1, len(turns)), 2)}


def behaviors(engine: Embedded, count: int, split: str) -> dict[str, float]:
    """Right answers with the behaviors shown, none shown, and those of another task shown."""
    tasks = list(islice(behavior_tasks.behavior_tasks(split, 0), count))
    found = {}
    for name, shift in (("shown", 0), ("hidden", None), ("shuffled", 1)):
        hits = []
        for index, task in enumerate(tasks):
            shown = () if shift is None else tasks[(index + shift) % len(tasks)].behaviors
            reply = engine.complete(ask(task.prompt, behavior_tasks.handbook_text(shown)), 500)
            hits.append(find_answer(reply.text) == task.answer)
        found[name] = share(hits)
    return found


def families(engine: Embedded, count: int) -> dict[str, float]:
    """reasoning-gym's own tasks in the committed configurations; those of the train split are left out."""
    import reasoning_gym

    found = {}
    for name, config in REASONING_GYM.items():
        hits = []
        for item in reasoning_gym.create_dataset(name, size=40 * count, seed=7, **config):
            expression = item["metadata"].get("expression") or ""
            if name == "products":
                expression = item["question"].partition(": ")[2].partition(".")[0]
            if random_calculation.split_of(expression) == "train":
                continue
            reply = engine.complete(ask(item["question"]), 700)
            hits.append((find_answer(reply.text) or "") == str(item["answer"]).strip())
            if len(hits) == count:
                break
        found[name] = share(hits)
    return found


def measure(engine: Embedded, count: int, split: str, own: Sequence[tuple[str, list[str], bool]]) -> dict[str, Any]:
    """Everything about one engine."""

    def held_out(preset: str, number: int = count) -> list[Calculation]:
        return list(islice(random_calculation.calculations(preset, split, 0), number))

    return {
        "think": {preset: thinking(engine, held_out(preset)) for preset in ("easy", "mid", "hard")},
        "no_think": {preset: without_thinking(engine, held_out(preset)) for preset in ("direct", "easy", "mid")},
        "judge_spoilt": judging(engine, spoilt_examples(held_out("mid"))),
        "judge_own": judging(engine, own),
        "forced_mid": forced(engine, held_out("mid", count // 2)),
        "errands": errands(engine, count // 2, split),
        "behaviors": behaviors(engine, count // 2, split),
        "reasoning_gym": families(engine, count // 2),
    }


def ratings(engine: Embedded, count: int, split: str, own: Sequence[tuple[str, list[str], bool]]) -> dict[str, Any]:
    """What is asked of an engine that only rates."""
    mid = list(islice(random_calculation.calculations("mid", split, 0), count))
    return {"judge_spoilt": judging(engine, spoilt_examples(mid)), "judge_own": judging(engine, own)}


def bars(found: dict[str, Any]) -> list[str]:
    """Each thing that is wanted of the pair, greedy and thinking, on `mid` tasks, and whether it is so."""
    small, large = (found[name]["think"]["mid"] for name in ("small", "large"))
    kinds = [share for share, number in small["by_kind"].values() if number >= 10]
    wanted = [
        ("small solves 15 to 60%", small["solved"], 0.15, 0.60),
        ("small's step accuracy is 75 to 88%", small["step_accuracy"], 0.75, 0.88),
        ("small's best and worst kind of step are 10 points apart", max(kinds) - min(kinds), 0.10, 1.0),
        ("large solves 90%", large["solved"], 0.90, 1.0),
        ("large takes 8 times the FLOPs", found["flops_ratio"], 8.0, float("inf")),
        ("large takes 3 times as long for a token", found["latency_ratio"], 3.0, float("inf")),
    ]
    return [
        f"{'met   ' if low <= value <= high else 'MISSED'}  {claim}: {value:.3f}" for claim, value, low, high in wanted
    ]


def latency(engine: Embedded) -> float:
    """Milliseconds per token of one stream: the best of five requests of 200 tokens."""
    body = {"prompt": ask("Compute 1+2."), "n_predict": 200, "ignore_eos": True, "temperature": 0}
    return min(engine.post("/completion", **body)["timings"]["predicted_per_token_ms"] for _ in range(5))


def as_gguf(path: Path, name: str, folder: Path) -> Path:
    if path.suffix == ".gguf":
        return path
    from train.export import write_gguf  # only a state needs torch
    from train.run import load_decoder

    target = folder / f"{name}.gguf"
    write_gguf(load_decoder(path), target, name=name)
    return target


def flops(path: Path) -> int:
    """Floating point operations of one decoded token, from the GGUF file's own numbers."""
    return read_gguf(path)[0].flops_per_token()


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Measure the pair on held-out tasks.")
    parser.add_argument("--small", type=Path, required=True)
    parser.add_argument("--large", type=Path)
    parser.add_argument("--scorer", type=Path)
    parser.add_argument("--tasks", type=int, default=60)
    parser.add_argument("--split", default="report", choices=list(random_calculation.SPLITS))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    os.nice(19 - os.nice(0))
    found: dict[str, Any] = {"tasks": options.tasks, "split": options.split}
    with tempfile.TemporaryDirectory() as folder:
        paths = {"small": options.small, "large": options.large, "scorer": options.scorer}
        files = {name: as_gguf(path, name, Path(folder)) for name, path in paths.items() if path is not None}
        engines = {name: Embedded(file) for name, file in files.items()}
        mid = list(islice(random_calculation.calculations("mid", options.split, 1), options.tasks // 3))
        own = own_examples(engines["small"], mid)
        for name, engine in engines.items():
            of = ratings if name == "scorer" else measure
            found[name] = of(engine, options.tasks, options.split, own)
            found[name]["ms_per_token"] = round(latency(engine), 4)
            found[name]["flops_per_token"] = flops(files[name])
        if {"small", "large"} <= engines.keys():
            small, large = found["small"], found["large"]
            found["flops_ratio"] = round(large["flops_per_token"] / small["flops_per_token"], 2)
            found["latency_ratio"] = round(large["ms_per_token"] / small["ms_per_token"], 2)
    text = json.dumps(found, indent=1)
    print(text)
    if {"small", "large"} <= found.keys():
        print("\n".join(bars(found)))
    if options.json:
        options.json.write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
