"""What speculation gains on a real vLLM server: each way of drafting beside a server that does not speculate.

    eval "$(python tests/vllm/environment.py --export)"
    python benchmarks/speculation.py --python $VLLM_PYTHON --target $POCKET/pocket-large --draft $POCKET/pocket-small

The traffic is an agent's: every task is a chain of thought written step by step, each step a call of its own whose
prompt extends the one before. It is sent once, again as it was, and a third time with four runs at once. Both servers
get every task in turn (the third time: every four tasks), so a busy machine slows both. Decoding is greedy, and
every text is compared with that of the server that does not speculate.

per draft   accepted tokens of a draft, the one that each pass of the engine adds left out
x none      tokens per second over those of the server without speculation, with a 95% interval by task (by four)
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import orchestrator as orc
from orchestrator.bench.resampling import ratio_ends
from orchestrator.bench.where import where
from orchestrator.bench.workloads.random_calculation import calculations
from orchestrator.engines.serving import Serving
from orchestrator.engines.spec import EngineSpec
from orchestrator.engines.speculation.profiles import CustomClass, DraftModel, NGram, Profile
from orchestrator.engines.supervisor import Supervisor
from orchestrator.types import Sampling

ROOT = Path(__file__).parents[1]
ARGS = ("--enforce-eager", "--dtype", "float32", "--max-model-len", "2048")
ENV = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
    "PYTHONPATH": str(ROOT),
}
TOGETHER = 4
PASSES = {"first": 1, "again": 1, "4 at once": TOGETHER}


def profiles(draft: str, tokens: int) -> dict[str, Profile]:
    """Return what is measured, by name."""
    ours: dict[str, dict[str, Any]] = {
        "suffix, fixed": {"sources": ["suffix"], "length": "fixed"},
        "suffix, feedback": {"sources": ["suffix"], "length": "feedback"},
        "suffix, thompson": {"sources": ["suffix"], "length": "thompson"},
        "ngrams, fixed": {"sources": ["ngrams"], "length": "fixed"},
        "trigrams, fixed": {"sources": ["trigrams"], "length": "fixed"},
        "successors, fixed": {"sources": ["successors"], "length": "fixed"},
        "hierarchy, feedback": {},
    }
    return {
        "ngram": NGram(tokens=tokens),
        **{name: CustomClass(tokens=tokens, **options) for name, options in ours.items()},
        "draft_model": DraftModel(tokens=tokens, model=draft),
    }


@dataclass
class Pass:
    """What one server did in one pass."""

    seconds: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    drafts: int = 0
    drafted: int = 0
    accepted: int = 0

    async def take(self, pipeline: orc.Pipeline, prompts: Sequence[str]) -> None:
        """Run these prompts side by side and take down what came of it."""
        started = perf_counter()
        results = await asyncio.gather(*(pipeline.arun(prompt) for prompt in prompts))
        self.seconds.append(perf_counter() - started)
        totals = [result.ledger.total() for result in results]
        self.tokens.append(sum(each.output_tokens for each in totals))
        self.texts += [result.text for result in results]
        self.drafts += sum(each.drafts for each in totals)
        self.drafted += sum(each.drafted for each in totals)
        self.accepted += sum(each.accepted for each in totals)


def spec(options: argparse.Namespace, speculation: Profile | None) -> EngineSpec:
    """Describe a server of the target at a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    serving = Serving(model=options.target, speculation=speculation, python=options.python, args=ARGS, env=ENV)
    sampling = Sampling(temperature=0.0)
    url = f"http://127.0.0.1:{port}/v1"
    return EngineSpec(kind="vllm", url=url, model="target", think=True, sampling=sampling, serving=serving)


async def compared(options: argparse.Namespace, plain: EngineSpec, folder: Path, name: str) -> list[dict[str, Any]]:
    """Serve one profile beside the plain server and return a row for each pass."""
    speculating = spec(options, profiles(options.draft, options.tokens)[name])
    server = Supervisor(
        f"with-{name.replace(', ', '-')}", speculating, folder, lambda line: print(line, file=sys.stderr)
    )
    with server.held():
        try:
            await server.up()
            return await passes(options, {"none": plain, name: speculating})
        finally:
            await server.down()


async def passes(options: argparse.Namespace, specs: Mapping[str, EngineSpec]) -> list[dict[str, Any]]:
    """Send the traffic to both servers, in turn, pass by pass."""
    prompts = [each.prompt for each in islice(calculations("mid", "calibration", 7), options.tasks)]
    budget = orc.Budget(tokens=options.most)
    async with orc.Pipeline({"e": specs["none"]}, "large", db=":memory:", budget=budget) as plain:
        (name,) = set(specs) - {"none"}
        async with orc.Pipeline({"e": specs[name]}, "large", db=":memory:", budget=budget) as other:
            warm = [each.prompt for each in islice(calculations("mid", "train", 7), TOGETHER)]
            for pipeline in (plain, other):
                await Pass().take(pipeline, warm)
            rows = []
            for label, together in PASSES.items():
                without, speculating = Pass(), Pass()
                for first in range(0, len(prompts), together):
                    turn = [(without, plain), (speculating, other)]
                    for taken, pipeline in turn if first // together % 2 else reversed(turn):
                        await taken.take(pipeline, prompts[first : first + together])
                rows.append(row(name, label, without, speculating))
                print(line(rows[-1]), flush=True)
            return rows


def row(name: str, label: str, plain: Pass, other: Pass) -> dict[str, Any]:
    """Return the figures of one profile in one pass."""
    same = sum(mine == theirs for mine, theirs in zip(other.texts, plain.texts, strict=True))
    paces = [sum(each.tokens) / sum(each.seconds) for each in (plain, other)]
    # Texts are the same, so the ratio of paces is that of seconds.
    return {
        "profile": name,
        "pass": label,
        "drafts": other.drafts,
        "drafted": other.drafted,
        "accepted": other.accepted,
        "per_draft": other.accepted / other.drafts if other.drafts else None,
        "tokens": sum(other.tokens),
        "tokens_per_s": paces[1],
        "tokens_per_s_without": paces[0],
        "times_none": paces[1] / paces[0],
        "interval": ratio_ends(plain.seconds, other.seconds),
        "texts": len(other.texts),
        "same_texts": same,
    }


def line(row: Mapping[str, Any]) -> str:
    """Return a row of the table."""
    per_draft = "-" if row["per_draft"] is None else f"{row['per_draft']:.2f}"
    share = f"{row['accepted'] / row['drafted']:.0%}" if row["drafted"] else "-"
    low, high = row["interval"] or (float("nan"), float("nan"))
    ratio = f"{row['times_none']:.2f} [{low:.2f}, {high:.2f}]"
    paces = f"{row['tokens_per_s']:>8.0f} {row['tokens_per_s_without']:>8.0f}"
    texts = f"{row['same_texts']}/{row['texts']}"
    return f"{row['profile']:<20} {row['pass']:<10} {per_draft:>9} {share:>9} {paces} {ratio:>18} {texts:>7}"


HEADER = (
    f"{'profile':<20} {'pass':<10} {'per draft':>9} {'accepted':>9} {'tokens/s':>8} {'without':>8} "
    f"{'x none':>18} {'same':>7}"
)


async def main() -> None:
    """Measure, print, and write the folder if one is named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--python", required=True, help="an interpreter that has vLLM")
    parser.add_argument("--target", required=True, help="folder of the weights that are served")
    parser.add_argument("--draft", required=True, help="folder of the draft model")
    parser.add_argument("--tokens", type=int, default=5, help="most tokens of a draft")
    parser.add_argument("--tasks", type=int, default=40)
    parser.add_argument("--most", type=int, default=400, help="tokens of one task")
    parser.add_argument("--only", action="append", help="a profile's name; may be repeated")
    parser.add_argument("--out", type=Path, help="file for the rows, as JSON")
    options = parser.parse_args()
    rows = []
    print(HEADER)
    with TemporaryDirectory() as folder:
        plain = spec(options, None)
        server = Supervisor("without", plain, Path(folder), lambda text: print(text, file=sys.stderr))
        with server.held():
            try:
                await server.up()
                for name in options.only or profiles(options.draft, options.tokens):
                    rows += await compared(options, plain, Path(folder), name)
            finally:
                await server.down()
    if options.out:
        options.out.write_text(json.dumps({"where": where(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    asyncio.run(main())
