"""`orchestrator config`, `init` and `doctor`."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from learned import known

from orchestrator.cli.source import loaded_config
from orchestrator.learning.training import write
from orchestrator.monitors.exit_file import ExitFile
from orchestrator.types import Overlap

Call = Callable[..., Result]

TWO = """
schema_version = 1
[engines.small]
kind = "vllm"
url = "http://127.0.0.1:9/v1"
api_key = "${SMALL_KEY}"
[engines.large]
kind = "vllm"
url = "http://127.0.0.1:9/v1"
api_key = "s3cret-large"
temperature = 0
[router]
threshold = 5
"""


def write_exits(path: Path) -> None:
    """Write exits that were calibrated on 20 tasks without a wrong answer."""
    known = ExitFile(
        signal="trial-answer",
        options={"when": "candidates", "every": 1, "max_looks": 100},
        mistake="wrong",
        worst=(float("-inf"),) * 20,
        pair={"writers": []},
        under={"delimiter": "\n\n", "engines": {}, "scorers": {}, "router": None, "mode": None, "budget": {}},
        measured={},
        workload="mine",
        split="all",
        fitted_on=tuple(map(str, range(20))),
        made="2026-11-27",
        package="0.1.0",
    )
    path.write_text(json.dumps(known.to_json()))


@pytest.fixture
def two(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration with two engines that nobody serves, and keys."""
    monkeypatch.setenv("SMALL_KEY", "s3cret-small")
    file = here / "orchestrator.toml"
    file.write_text(TWO)
    return file


def test_init_writes_a_file_that_validates_and_never_overwrites(orchestrator: Call, here: Path) -> None:
    written = orchestrator("init")
    assert (written.exit_code, written.stdout) == (0, "")
    valid = orchestrator("config", "validate")
    assert (valid.exit_code, valid.stdout) == (
        0,
        "orchestrator.toml is valid: engines small, large; router SpecReason; monitors stalled\n",
    )
    (here / "orchestrator.toml").write_text("mine")
    again = orchestrator("init")
    assert (again.exit_code, again.stderr) == (2, "error: orchestrator.toml exists and was left as it is\n")
    assert (here / "orchestrator.toml").read_text() == "mine"


def test_every_option_that_init_comments_out_is_a_real_one_with_its_default(orchestrator: Call, here: Path) -> None:
    orchestrator("init")
    file = here / "orchestrator.toml"
    plain = orchestrator("config", "show", "--json").stdout
    options = re.sub(r"(?m)^# \[(.|\n)*?\n\n", "", file.read_text())  # whole tables: the next test
    given = [
        line.removeprefix("# ") if line.startswith("# ") and "=" in line and not line.startswith("#  ") else line
        for line in options.splitlines()
    ]
    skipped = (
        "model",
        "api_key",
        "max_tokens",
        "prompt_tokens",
        "seconds",
        "cost",
        "steps",
        "engines.large",
        "db",
        "handbook",
        "think",
        "hedge",
        "mode",
        "monitors",
        "tools",
    )
    file.write_text("\n".join(line for line in given if not line.startswith(skipped)))
    shown = orchestrator("config", "show", "--json")
    assert shown.exit_code == 0, shown.stderr
    assert json.loads(shown.stdout) == json.loads(plain)


def test_every_table_that_init_comments_out_is_a_real_one(orchestrator: Call, here: Path) -> None:
    orchestrator("init")
    file = here / "orchestrator.toml"
    write_exits(here / "exits.json")
    tables = re.findall(r"(?m)^# \[(?:.|\n)*?\n\n", file.read_text())
    file.write_text(file.read_text() + "".join(tables).replace("\n# ", "\n").removeprefix("# "))
    shown = json.loads(orchestrator("config", "show", "--json").stdout)
    assert [each["name"] for each in shown["monitors"]] == ["stuck", "overthinking"]
    assert shown["tools"]["python"]["timeout_s"] == 10.0
    assert shown["embedding"] == {"path": "minilm", "timeout_s": 60.0}
    assert shown["recall"]["limit"] == 8
    engines = shown["engines"]
    assert engines["scorer"]["writes"] is False
    assert engines["scorer"]["serve"]["model"] == "Qwen/Qwen2.5-Math-PRM-7B"
    assert engines["large"]["serve"] == {
        "model": "Qwen/QwQ-32B",
        "python": "/opt/vllm/bin/python",
        "args": ["--max-model-len", "16384"],
        "env": {"CUDA_VISIBLE_DEVICES": "0"},
        "speculation": {
            "method": "ngram",
            "tokens": 5,
            "schedule": [[1, 16, 5], [17, 256, 0]],
            "lookup_min": 2,
            "lookup_max": 4,
        },
    }


def test_show_prints_an_embedding_without_its_key(orchestrator: Call, two: Path) -> None:
    two.write_text(TWO + '[embedding]\nurl = "http://127.0.0.1:9/v1"\napi_key = "${SMALL_KEY}"\n')
    done = orchestrator("config", "show")
    assert tomllib.loads(done.stdout)["embedding"] == {
        "url": "http://127.0.0.1:9/v1",
        "api_key": "from ${SMALL_KEY}",
        "timeout_s": 60.0,
    }
    assert "s3cret" not in done.output


def test_show_prints_toml_with_every_default_and_no_key(orchestrator: Call, two: Path) -> None:
    done = orchestrator("config", "show")
    assert done.exit_code == 0
    assert "s3cret" not in done.output
    shown = tomllib.loads(done.stdout)
    assert shown["engines"]["small"]["api_key"] == "from ${SMALL_KEY}"
    assert shown["engines"]["large"]["api_key"] == "***"
    assert shown["engines"]["large"]["temperature"] == 0
    assert shown["router"] == {
        "name": "specreason",
        "threshold": 5.0,
        "first_n": 0,
        "reading": "greedy",
        "on_unreadable": "reject",
        "step_tokens": 512,
        "total_tokens": 8192,
    }
    assert shown["budget"] == {"tokens": 16384}
    assert shown["run"]["delimiter"] == "\n\n"


def test_show_json_says_the_same(orchestrator: Call, two: Path) -> None:
    shown = json.loads(orchestrator("config", "show", "--json").stdout)
    assert shown.pop("file") == "orchestrator.toml"
    assert shown.pop("calibration") == "uncalibrated: the threshold was not chosen for these engines"
    assert shown == tomllib.loads(orchestrator("config", "show").stdout)


def test_show_says_how_a_server_is_started_and_can_be_read_again(
    orchestrator: Call, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "s3cret-hub")
    file = here / "orchestrator.toml"
    large = '[engines.large]\nkind = "vllm"\nurl = "http://127.0.0.1:9/v1"\n[engines.large.serve]\nmodel = "m"\n'
    file.write_text(
        large
        + 'env = { HF_TOKEN = "${HF_TOKEN}" }\n'
        + '[engines.large.serve.speculation]\nmethod = "custom_class"\nsources = [["ngrams", { highest = 7 }]]\n'
    )
    done = orchestrator("config", "show")
    assert "s3cret" not in done.output
    assert tomllib.loads(done.stdout)["engines"]["large"]["serve"] == {
        "model": "m",
        "args": [],
        "env": {"HF_TOKEN": "${HF_TOKEN}"},
        "speculation": {
            "method": "custom_class",
            "tokens": 5,
            "schedule": [],
            "sources": [["ngrams", {"highest": 7}]],
            "length": "feedback",
        },
    }
    file.write_text(done.stdout)
    assert orchestrator("config", "show").stdout == done.stdout
    file.write_text(large + 'speculation = { method = "none" }\n')
    assert tomllib.loads(orchestrator("config", "show").stdout)["engines"]["large"]["serve"]["speculation"] == {
        "method": "none"
    }


def test_validate_json_names_what_the_file_describes(orchestrator: Call) -> None:
    orchestrator("init")
    done = orchestrator("config", "validate", "--json")
    assert json.loads(done.stdout) == {
        "file": "orchestrator.toml",
        "engines": ["small", "large"],
        "router": "SpecReason",
        "mode": None,
        "monitors": ["stalled"],
        "tools": [],
    }


def test_validate_without_a_file_says_how_to_get_one(orchestrator: Call) -> None:
    done = orchestrator("config", "validate")
    assert (done.exit_code, done.stderr) == (
        2,
        "error: there is no orchestrator.toml here: `orchestrator init` writes one\n",
    )


def test_validate_finds_what_only_the_pipeline_would_refuse(orchestrator: Call, two: Path) -> None:
    two.write_text(TWO.replace("engines.large", "engines.answer"))
    done = orchestrator("config", "validate")
    assert done.exit_code == 2
    assert done.stderr.startswith("error: orchestrator.toml: an engine cannot be called 'answer'")


def test_a_broken_file_is_one_line_with_its_place_whatever_the_command(orchestrator: Call, here: Path) -> None:
    (here / "orchestrator.toml").write_text("[run]\nseed = = 3\n")
    for command in (("config", "show"), ("run", "x"), ("trace", "list")):
        done = orchestrator(*command)
        assert (done.exit_code, done.stdout) == (2, "")
        assert done.stderr == "error: orchestrator.toml:2:8: broken TOML: Invalid value\n"


def test_an_engine_that_nobody_serves_is_exit_code_3_and_leaks_no_key(orchestrator: Call, two: Path) -> None:
    done = orchestrator("run", "x")
    assert (done.exit_code, done.stdout) == (3, "")
    assert done.stderr.startswith("error: engine '")
    assert "http://127.0.0.1:9/" in done.stderr
    assert done.stderr.count("\n") == 1
    assert "s3cret" not in done.stderr


def test_doctor_has_one_line_for_everything(orchestrator: Call, pipeline: str, home: Path) -> None:
    done = orchestrator("doctor", "--pipeline", pipeline)
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert {line.split()[0] for line in lines[:-1]} == {"ok"}
    assert [line.split()[1] for line in lines[-6:]] == ["database", "pipeline", "recall", "small", "large", "judge"]
    assert f"ok    database     {home}/journal.db will be made by the first run" in lines
    assert lines[-2].startswith("ok    large        scripted on scripted, context 1073741824, token ids, 20 logprobs, ")
    assert lines[-1].startswith(
        "warn  judge        large rates a right step 2.0 and a wrong one 2.0, alike: such ratings"
    )
    assert "ok    recall       no handbook is named: runs recall nothing" in lines
    assert not (home / "journal.db").exists()


def test_doctor_lets_an_engine_that_only_measures_measure(orchestrator: Call, here: Path) -> None:
    (here / "agent.py").write_text(
        "import orchestrator as orc\n"
        "made = lambda request: '9' if request.prompt.ids()[-4:] == list(b'ten.') else ValueError\n"
        "engines = {'prm': orc.engines.Scripted(made, writes=False), 'large': orc.engines.Scripted(['a'])}\n"
        "pipeline = lambda: orc.Pipeline(engines, 'large')\n"
    )
    done = orchestrator("doctor", "--pipeline", "agent.py:pipeline")
    assert done.exit_code == 0, done.stdout
    [line] = [line for line in done.stdout.splitlines() if line.startswith("ok    prm ")]
    assert re.search(r"a measurement in \d+\.\d\d s$", line)


def test_doctor_warns_of_what_would_spoil_a_run_in_silence(orchestrator: Call, here: Path) -> None:
    (here / "agent.py").write_text(
        "from dataclasses import replace\n"
        "import orchestrator as orc\n"
        "class Odd(orc.engines.Scripted):\n"
        "    async def start(self):\n"
        "        missing = dict.fromkeys(('sampling_trial', 'prefix_cache', 'metrics'), 'no word of it')\n"
        "        return replace(await super().start(), missing=missing)\n"
        "pipeline = lambda: orc.Pipeline({'large': Odd(['a'])}, 'large')\n"
    )
    said = orchestrator("doctor", "--pipeline", "agent.py:pipeline").stdout.splitlines()
    assert said[-3:] == [
        "warn  large        what it samples could not be tried: no word of it",
        "warn  large        its prefix cache is in doubt: no word of it",
        "ok    large        without metrics: no word of it",
    ]


LEARNED = """
from learned import known
import marked
from orchestrator.routers.arbitrage import Arbitrage
pipeline = lambda: marked.pipeline(Arbitrage(learnt=known()))
"""
REFUSED = "router arbitrage has no calibration for these engines: `orchestrator calibrate --router arbitrage --tasks "


def test_doctor_warns_of_a_learned_router_that_run_will_refuse(orchestrator: Call, here: Path) -> None:
    (here / "agent.py").write_text(LEARNED)
    done = orchestrator("doctor", "--pipeline", "agent.py:pipeline")
    [line] = [line for line in done.stdout.splitlines() if " calibration " in line[:18]]
    assert (done.exit_code, line.startswith(f"warn  calibration  no task can be run yet: {REFUSED}")) == (0, True)
    refused = orchestrator("run", "q", "--pipeline", "agent.py:pipeline")
    assert (refused.exit_code, line.removeprefix("warn  calibration  no task can be run yet: ")) == (
        2,
        refused.stderr.strip().removeprefix("error: "),
    )


@pytest.mark.parametrize("learned", [True, False])
def test_validate_warns_of_a_learned_router_that_run_will_refuse_and_of_no_other(
    orchestrator: Call, two: Path, learned: bool
) -> None:
    write(known(), two.with_name("router.json"))
    router = 'name = "arbitrage"\nfile = "router.json"\n' if learned else ""
    two.write_text(TWO.replace("[router]\n", f"[router]\n{router}").replace("threshold = 5", "threshold = 0.5"))
    done = orchestrator("config", "validate")
    assert (done.exit_code, done.stdout.startswith("orchestrator.toml is valid: ")) == (0, True)
    warning = f"warning: it will not run yet: {REFUSED}"
    assert (done.stderr.startswith(warning), done.stderr.count("\n")) == ((True, 1) if learned else (False, 0))


def test_doctor_says_fail_for_an_engine_that_does_not_answer(orchestrator: Call, two: Path) -> None:
    done = orchestrator("doctor", "--json")
    assert done.exit_code == 3
    report = {line["what"]: line for line in map(json.loads, done.stdout.splitlines())}
    assert report["small"]["state"] == report["large"]["state"] == "fail"
    assert "http://127.0.0.1:9/" in report["small"]["found"]
    assert "s3cret" not in done.output


def test_doctor_says_fail_for_a_configuration_and_a_database_that_cannot_be_used(
    orchestrator: Call, here: Path, home: Path
) -> None:
    (home / "journal.db").write_text("no database at all\n" * 100)
    done = orchestrator("doctor")
    assert done.exit_code == 2
    assert f"fail  database     {home}/journal.db is not a SQLite database" in done.stdout
    (here / "orchestrator.toml").write_text("seed = ")
    again = orchestrator("doctor")
    assert again.exit_code == 2
    assert "fail  engines      orchestrator.toml:1:8: broken TOML" in again.stdout


CALIBRATION = {
    "format": "orchestrator-calibration",
    "version": 2,
    "router": {
        "name": "specreason",
        "options": {
            "first_n": 0,
            "on_unreadable": "reject",
            "reading": "greedy",
            "step_tokens": 512,
            "total_tokens": 8192,
        },
    },
    "fixes": {"threshold": 4.5},
    "target": {"kind": "max-accuracy-loss", "value": 0.02},
    "measured": {},
    "pair": {"writers": [{"name": "small", "serves": "a", "tokenizer": "b", "greedy": "c"}]},
    "under": {"delimiter": "\n\n", "engines": {}, "scorers": {}},
    "tasks": {"workload": "mine", "split": "calibration", "fingerprints": ["1a"]},
    "made": "2026-11-27",
    "package": "0.1.0",
}


def test_show_says_what_the_threshold_was_chosen_by_and_what_it_is(orchestrator: Call, here: Path) -> None:
    (here / "sub").mkdir()
    (here / "sub" / "mine.json").write_text(json.dumps(CALIBRATION))
    file = here / "sub" / "o.toml"
    file.write_text('[router]\nname = "specreason"\ncalibration = "mine.json"\n')
    done = orchestrator("config", "show", "--config", str(file))
    assert done.exit_code == 0, done.stderr
    assert (
        "# router calibrated for max-accuracy-loss 0.02 on 1 task of mine, 2026-11-27: threshold = 4.5" in done.stdout
    )
    assert tomllib.loads(done.stdout)["router"]["threshold"] == 4.5
    assert tomllib.loads(done.stdout)["router"]["calibration"] == str(here / "sub" / "mine.json")
    plain = orchestrator("config", "show").stdout
    assert "# router uncalibrated: " in plain


@pytest.mark.parametrize("command", [("config", "show"), ("config", "validate")])
def test_a_threshold_beside_a_calibration_is_one_line(orchestrator: Call, here: Path, command: tuple[str, str]) -> None:
    (here / "mine.json").write_text(json.dumps(CALIBRATION))
    (here / "orchestrator.toml").write_text('[router]\nthreshold = 3\ncalibration = "mine.json"\n')
    done = orchestrator(*command)
    assert done.exit_code == 2
    assert "mine.json fixes threshold = 4.5, and threshold = 3.0 is given besides" in done.stderr


@pytest.mark.parametrize("given", [("--threshold", "7"), ("--router-option", "threshold=7")])
def test_an_option_that_a_calibration_fixes_is_refused_even_where_it_is_the_default(
    orchestrator: Call, here: Path, given: tuple[str, str]
) -> None:
    (here / "mine.json").write_text(json.dumps(CALIBRATION))
    refused = orchestrator("run", "Compute 1+1.", "--router", "specreason", "--calibration", "mine.json", *given)
    assert refused.exit_code == 2
    assert "mine.json fixes threshold = 4.5, and threshold = 7.0 is given besides: leave one" in refused.stderr
    (here / "orchestrator.toml").write_text('[router]\nthreshold = 4.5\ncalibration = "mine.json"\n')
    assert orchestrator("config", "validate").exit_code == 0


def test_a_calibration_on_the_command_line_is_held_against_the_router(orchestrator: Call, here: Path) -> None:
    (here / "mine.json").write_text(json.dumps(CALIBRATION))
    (here / "orchestrator.toml").write_text('[router]\nname = "specreason"\ncalibration = "mine.json"\n')
    done = orchestrator("run", "Compute 1+1.", "--calibration", "none.json")
    assert (done.exit_code, "none.json: No such file" in done.stderr) == (2, True)
    done = orchestrator("run", "Compute 1+1.", "--router", "large", "--calibration", "mine.json")
    assert (done.exit_code, "is for router specreason, not large" in done.stderr) == (2, True)


def test_flags_switch_overlap_on(orchestrator: Call, here: Path) -> None:
    options = loaded_config({"overlap": 2, "hedge": 0.25}).pipeline_options()
    assert options["overlap"] == Overlap(ahead=2, hedge=0.25)
    refused = orchestrator("run", "2+2?", "--overlap", "-1")
    assert refused.exit_code == 2
    assert "overlap ahead = -1 must be a whole number from 0 to 64" in refused.stderr
