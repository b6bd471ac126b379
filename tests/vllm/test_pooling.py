"""A reward model behind a real /pooling: the weights of the pocket scorer, read there and by llama.cpp."""

from __future__ import annotations

import json
import urllib.request
from itertools import islice
from math import exp, log
from pathlib import Path

import pytest
from click.testing import CliRunner

import orchestrator as orc
from orchestrator.bench.workloads.random_calculation import calculations
from orchestrator.cli.app import app
from orchestrator.engines.base import Completion, Prefix, Request
from orchestrator.engines.dialects.pooling_reply import POOL
from orchestrator.engines.scorers.reward import prm
from orchestrator.engines.spec import EngineSpec
from orchestrator.engines.step_stream import StepStream
from orchestrator.routers import SpecReason
from orchestrator.types import Message, Sampling, Step, Stop

pytestmark = pytest.mark.vllm

EMBEDDED = orc.engines.pocket_scorer()
QUESTION = Message("user", "Evaluate: 3 + 7 * 3 - 6 / 6 - 9.")
KEPT = "3+7*3-6/6-9\n\n"
DRAFTS = (
    "7*3=21\n3+21-6/6-9\n\n",
    "7*3=27\n3+27-6/6-9\n\n",
    "6/6=1\n3+7*3-1-9\n\n",
    "3+7=10\n10*3-6/6-9\n\n",
    "</think>\n\\boxed{14}",
)
TASKS = [each.prompt for each in islice(calculations("mid", "report", 0), 6)]
CONFIG = """
[engines.prm]
kind = "pooling"
url = "{url}"
think = true
[engines.prm.judge]
question = "Rate the last step 0-9."
prefill = ""
think = false
[engines.small]
kind = "embedded"
path = "pocket-small"
think = true
[engines.large]
kind = "embedded"
path = "pocket-large"
think = true
[router]
name = "specreason"
reading = "prm"
"""


def pooled(url: str) -> EngineSpec:
    return orc.engines.pooling(url, think=True, judge=EMBEDDED.judge)


async def test_the_server_is_found_able_and_shares_the_writers_tokenizer(pooling_url: str) -> None:
    async with orc.Pipeline({"prm": pooled(pooling_url), **orc.engines.pocket_pair()}, db=":memory:") as pipeline:
        found = await pipeline.start()
    can = found["prm"]
    assert (can.model, can.context, can.logprobs) == ("pocket-scorer", 2048, 10)
    assert sorted(can.missing) == ["cached_tokens", "token_ids"]
    assert can.tokenizer == found["small"].tokenizer


def test_a_single_class_is_the_sigmoid_of_its_logit(pooling_url: str, one_class_url: str) -> None:
    def answered(url: str, text: str) -> list[float]:
        asked = json.dumps({"model": "pocket-scorer", "input": text, "use_activation": True}).encode()
        request = urllib.request.Request(url + POOL, asked, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as reply:
            found: list[float] = json.load(reply)["data"][0]["data"]
        return found

    logits = []
    for draft in DRAFTS:
        ten, (one,) = (answered(url, f"{QUESTION.content}\n\n{KEPT}{draft}") for url in (pooling_url, one_class_url))
        logits.append(log(ten[9] / ten[0]))
        assert one == pytest.approx(1 / (1 + exp(-logits[-1])), abs=0.005), draft
    assert max(logits) - min(logits) > 1


async def test_both_engines_read_the_same_rating(pooling_url: str) -> None:
    specs = {"there": pooled(pooling_url), "here": EMBEDDED}
    engines = {name: orc.engines.find(spec.kind).from_spec(name, spec) for name, spec in specs.items()}
    stream = StepStream(engines, {"there": "a", "here": "b", "": ""}, [QUESTION], think={"there": True, "here": True})
    stream.keep(Step(index=0, attempt=0, writer="", text=KEPT, ids=[], num_tokens=0, stop=Stop.DELIMITER))

    async def call(
        name: str, purpose: str, prompt: Prefix, *, sampling: Sampling, max_tokens: int, logprobs: int = 0
    ) -> Completion:
        asked = Request(prompt=prompt, sampling=sampling, max_tokens=max_tokens, seed=0, logprobs=logprobs)
        return await engines[name].complete(asked)

    read = []
    for number, text in enumerate(DRAFTS):
        draft = Step(index=1, attempt=number, writer="", text=text, ids=[], num_tokens=0, stop=Stop.DELIMITER)
        both = {name: await prm(name, spec).score(name, stream, draft, call) for name, spec in specs.items()}
        assert both["there"].value == pytest.approx(both["here"].value, abs=0.01), text
        assert both["there"].output_tokens == 0
        read.append(both["there"].value or 0)
    for engine in engines.values():
        await engine.close()
    assert max(read) - min(read) > 0.3  # they would agree on a constant, too


def test_it_routes_as_the_embedded_one_does(pooling_url: str) -> None:
    def routed(scorer: EngineSpec) -> list[list[tuple[str, str]]]:
        engines = {"scorer": scorer, **orc.engines.pocket_pair(temperature=0.0)}
        with orc.Pipeline(engines, SpecReason(reading="prm", threshold=5), db=":memory:") as pipeline:
            return [[(step.writer, step.text) for step in pipeline.run(task).steps] for task in TASKS]

    there = routed(pooled(pooling_url))
    assert {writer for steps in there for writer, _ in steps} == {"small", "large"}
    assert there == routed(EMBEDDED)


def test_the_command_runs_and_compares_with_it(
    pooling_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("orchestrator.toml").write_text(CONFIG.replace("{url}", pooling_url))
    done = CliRunner().invoke(app, ["run", TASKS[0]])
    assert done.exit_code == 0, done.stderr
    shown = json.loads(CliRunner().invoke(app, ["trace", "show", "last", "--json"]).stdout)
    assert "prm" in json.dumps(shown)
    compared = CliRunner().invoke(
        app, ["bench", "run", "--policies", "specreason:judge=prm", "--tasks=2", "--out=mine"]
    )
    assert compared.exit_code == 0, compared.stderr
    assert "specreason:judge=prm" in compared.stdout
    samples = [json.loads(line) for line in Path("mine/samples.jsonl").read_text().splitlines()]
    assert any("prm" in json.dumps(sample) for sample in samples)
