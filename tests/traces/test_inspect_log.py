"""Runs as a log that Inspect reads."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from orchestrator.cli.app import app
from orchestrator.traces.inspect_log import WITHHELD, pieces
from orchestrator.traces.record import RunRecord

TEXTS = ("What is 1+1?", "Bad idea.", "Better.", "a pen", "boxed")


def written(runs: list[RunRecord], *, content: bool = False) -> dict[str, Any]:
    log: dict[str, Any] = json.loads("".join(pieces(runs, content=content)))
    return log


def test_a_sample_tells_a_run_step_by_step(runs: dict[str, RunRecord]) -> None:
    (sample,) = written([runs["one"]], content=True)["samples"]
    events = sample["events"]
    begun = [each["name"] for each in events if each["event"] == "span_begin"]
    assert begun == [f"step {step}" for step in range(len(begun))]
    assert sum(each["event"] == "model" for each in events) == sum(call.purpose != "tool" for call in runs["one"].calls)
    (tool,) = (each for each in events if each["event"] == "tool")
    assert (tool["function"], tool["result"]) == ("look", "a pen\\x1b[2J")
    (rewrite,) = (each for each in events if each["event"] == "info" and each["data"].get("action") == "rewrite")
    place = events.index(rewrite)
    assert (events[place - 1]["role"], events[place + 1]["role"]) == ("small", "large")
    assert (rewrite["data"]["score"], rewrite["data"]["threshold"]) == (2.0, 7.0)
    assert sample["messages"][-1]["content"].endswith("\\boxed{2}")


def test_texts_are_in_it_only_with_content(runs: dict[str, RunRecord]) -> None:
    without, whole = ("".join(pieces(list(runs.values()), content=each)) for each in (False, True))
    for text in TEXTS:
        assert json.dumps(text)[1:-1] not in without
        assert json.dumps(text)[1:-1] in whole
    assert written([runs["one"]])["samples"][0]["input"] == [{"role": "user", "content": WITHHELD}]


def test_a_log_of_no_runs_is_a_log() -> None:
    log = written([])
    assert (log["version"], log["samples"], log["results"]["total_samples"]) == (2, [], 0)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("content", [False, True])
def test_inspect_reads_every_run(runs: dict[str, RunRecord], db: Path, tmp_path: Path, content: bool) -> None:
    log_of = pytest.importorskip("inspect_ai.log")
    out = tmp_path / "log.json"
    flags = ["--content"] if content else []
    done = CliRunner().invoke(
        app, ["trace", "export", "--all", "--format", "inspect", "--out", str(out), "--db", str(db), *flags]
    )
    assert done.exit_code == 0, done.output
    log = log_of.read_eval_log(str(out))
    assert (log.status, log.eval.task, log.results.total_samples) == ("success", "orchestrator", 4)
    samples = {sample.id: sample for sample in log.samples}
    one, run = samples["one"], runs["one"]
    asked = [call for call in run.calls if call.purpose != "tool"]
    assert [event.model for event in one.events if event.event == "model"] == ["scripted"] * len(asked)
    assert one.model_usage["scripted"].output_tokens == sum(call.output_tokens or 0 for call in asked)
    assert one.output.completion.endswith("\\boxed{2}") if content else one.output.completion == WITHHELD
    assert datetime.fromisoformat(one.started_at) == datetime.fromtimestamp(run.created_s, UTC)
    assert samples["two"].error.message
    assert log_of.read_eval_log(str(out), header_only=True).eval.model == "scripted + scripted"
