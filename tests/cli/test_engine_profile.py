"""`orchestrator engines profile`: what is measured on a server becomes what the next one is told. Real processes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from started import Fake, is_alive, until, until_gone

from orchestrator.config import load
from orchestrator.engines.speculation.profiles import CustomClass, NGram

Call = Callable[..., Result]

SPECULATOR = Path(__file__).parent.parent / "fake_speculator.py"
ENGINE = """
[engines.large]
kind = "vllm"
url = "{url}"
[engines.large.serve]
model = "org/large"
python = "{python}"
env = {env}
"""
QUICK = ("--batches", "1,8", "--seconds", "0.3", "--repeats", "2", "--max-tokens", "8")
PROMPTS = '{"prompt": "one"}\n{"messages": [{"role": "user", "content": "two"}], "answer": "2"}\n'


def configure(fake: Fake, speculation: str = "", base_ms: float = 20, token_ms: float = 8, **told: object) -> None:
    """Write a configuration whose engine is served by the fake speculator."""
    fake.python.write_text(f'#!/bin/sh\nexec {sys.executable} {SPECULATOR} "$@"\n')
    settings = fake.env(base_ms=base_ms, token_ms=token_ms, **{"plain_ms": 4, **told})
    env = "{ " + ", ".join(f"{key} = {json.dumps(value)}" for key, value in settings.items()) + " }"
    Path("orchestrator.toml").write_text(ENGINE.format(url=fake.url, python=fake.python, env=env) + speculation)
    Path("mine.jsonl").write_text(PROMPTS)


def profile(orchestrator: Call, *more: str) -> Result:
    return orchestrator("engines", "profile", "large", "--prompts", "mine.jsonl", *QUICK, *more)


def speculation_with(toml: str) -> object:
    """Return what the configuration says once the text is pasted into it."""
    text = Path("orchestrator.toml").read_text().partition("[engines.large.serve.speculation]")[0]
    Path("pasted.toml").write_text(text + toml)
    serving = load(Path("pasted.toml")).engines["large"].serving
    assert serving is not None
    return serving.speculation


def test_the_schedule_drafts_where_it_pays_and_not_under_load(orchestrator: Call, fake: Fake) -> None:
    """A step of 20 ms, 8 ms per token, two tokens a step with drafts of 2 or 4: 2 is best for 1 row, 0 for 8."""
    configure(fake, "[engines.large.serve.speculation]\ntokens = 4\nlookup_min = 3\n")
    done = profile(orchestrator, "--out", "speculation.toml")
    assert done.exit_code == 0, done.stderr
    assert not fake.answers()
    toml = Path("speculation.toml").read_text()
    found = speculation_with(toml)
    assert isinstance(found, NGram)
    assert (found.tokens, found.lookup_min) == (2, 3)
    first, *_, last = found.schedule
    assert (first[0], first[2]) == (1, 2) and (last[1], last[2]) == (8, 0)
    table = [line.split() for line in done.stdout.splitlines()]
    assert table[0] == ["batch", "tokens", "drafted", "accepted", "step", "ms", "tokens/s", "modelled"]
    assert [row[:2] for row in table[1:9]] == [[b, k] for b in ("1", "8") for k in ("none", "0", "2", "4")]
    assert [row[:2] for row in table[1:9] if row[-1] == "*"] == [["1", "2"], ["8", "0"]]
    assert "of a row's steps verify a draft" in done.stdout and "[engines.large" not in done.stdout
    said = done.stderr.splitlines()
    assert [line for line in said if "server" in line and " of 5" in line] == [
        "large: no speculation, server 1 of 5",
        "large: drafts of at most 0, server 2 of 5",
        "large: drafts of at most 2, server 3 of 5",
        "large: drafts of at most 4, server 4 of 5",
        "large: no speculation, server 5 of 5",
    ]
    assert said[-2:] == [
        "above batch size 8, which was not measured, vLLM goes on with the last row",
        "wrote speculation.toml",
    ]
    again = profile(orchestrator, "--out", "speculation.toml")
    assert (again.exit_code, again.stderr) == (2, "error: speculation.toml exists and was left as it is\n")
    assert Path("speculation.toml").read_text() == toml


def test_where_speculation_loses_the_toml_turns_it_off(orchestrator: Call, fake: Fake) -> None:
    configure(fake, base_ms=20, token_ms=3, plain_ms=-16)
    done = profile(orchestrator, "--tokens", "3")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.endswith('\n\n[engines.large.serve.speculation]\nmethod = "none"\n')
    assert "no draft of any length is faster than no speculation, beyond the noise" in done.stderr.splitlines()
    assert speculation_with(done.stdout[done.stdout.index("[engines") :]) is None


def test_our_own_drafter_is_told_the_time_of_a_step(orchestrator: Call, fake: Fake) -> None:
    configure(fake, '[engines.large.serve.speculation]\nmethod = "custom_class"\nsources = ["suffix"]\n', token_ms=1)
    done = profile(orchestrator, "--tokens", "1,2", "--json")
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["engine"], report["method"], report["plan"]) == ("large", "custom_class", {})
    assert [(each["tokens"], each["batch"]) for each in report["points"]] == [
        (tokens, batch) for tokens in (None, 1, 2) for batch in (1, 8)
    ]
    assert [len(each["goodputs"]) for each in report["points"]] == [4, 4, 2, 2, 2, 2]
    found = speculation_with(report["toml"])
    assert isinstance(found, CustomClass)
    assert list(found.sources) == ["suffix"]
    name, step = found.length
    assert name == "goodput"
    assert step["base_ms"] == pytest.approx(report["step"]["base_ms"], abs=1e-3)
    assert 10 < step["base_ms"] < 80  # 20 ms, on a machine that has nothing else to do
    assert "prompts came again, and custom_class remembers: with too few it looks better than it is" in done.stderr


def test_a_server_that_does_not_say_what_it_drafted_is_an_engine_error(orchestrator: Call, fake: Fake) -> None:
    configure(fake, silent=1)
    done = profile(orchestrator, "--tokens", "2")
    assert (done.exit_code, done.stdout) == (3, "")
    assert done.stderr.splitlines()[-1].startswith("error: engine 'large': its server does not say what it drafted")
    assert not fake.answers()


def test_a_server_that_dies_is_one_line_after_its_last_words(orchestrator: Call, fake: Fake) -> None:
    configure(fake)
    fake.python.write_text("#!/bin/sh\necho no GPU in sight\nexit 4\n")
    done = profile(orchestrator)
    assert (done.exit_code, done.stdout) == (3, "")
    *_, words, error = done.stderr.splitlines()
    assert words == "no GPU in sight"
    assert error.startswith("error: engine 'large': its server ended with status 4 before it answered; its log is ")


def test_somebody_elses_server_is_left_alone(orchestrator: Call, fake: Fake, tmp_path: Path) -> None:
    configure(fake)
    (tmp_path / "theirs").mkdir()
    theirs = Fake(tmp_path / "theirs")
    with subprocess.Popen([str(theirs.python), "--port", str(fake.port)], env=theirs.env()) as running:
        try:
            until(fake.answers, "their server")
            done = profile(orchestrator)
            assert (done.exit_code, done.stdout) == (2, "")
            assert done.stderr.splitlines()[-1] == (
                f"error: engine 'large': a server answers at {fake.url} already: end it, so that it can be started "
                "with each number of tokens"
            )
            assert running.poll() is None
        finally:
            running.kill()


@pytest.mark.parametrize(
    ("more", "error"),
    [
        (["--batches", "4"], "the batch sizes are from 1 on, and at least two: a line is laid through them"),
        (["--batches", "0,4"], "the batch sizes are from 1 on, and at least two: a line is laid through them"),
        (["--batches", "1,x"], "--batches '1,x': write whole numbers with commas, like 1,4,16"),
        (["--tokens", "-1"], "--tokens '-1': write whole numbers with commas, like 1,4,16"),
        (["--tokens", "0"], "0 tokens alone are nothing to compare: give one number above 0 at least"),
        (
            ["--repeats", "1"],
            "repeats are at least 2, as one trial may be noise, seconds above 0, max_tokens at least 2",
        ),
        (["--out", "nowhere/new.toml"], "nowhere/new.toml cannot be written: its folder does not exist"),
        (["--prompts", "nowhere.jsonl"], "nowhere.jsonl: No such file or directory"),
        (["--prompts", "empty.jsonl"], "empty.jsonl holds no task: write one JSON object with a `prompt` per line"),
        (["--prompts", "bad.jsonl"], "bad.jsonl:2: not JSON: Expecting value (column 1)"),
    ],
)
def test_what_cannot_be_measured_is_one_line_and_starts_nothing(
    orchestrator: Call, fake: Fake, more: list[str], error: str
) -> None:
    configure(fake)
    Path("empty.jsonl").write_text("\n")
    Path("bad.jsonl").write_text('{"prompt": "a"}\nnothing\n')
    done = orchestrator("engines", "profile", "large", *more)
    assert (done.exit_code, done.stdout, done.stderr) == (2, "", f"error: {error}\n")


@pytest.mark.parametrize(
    ("name", "table", "error"),
    [
        ("huge", "", "no engine 'huge'; the configuration has large"),
        (
            "large",
            'speculation = { method = "none" }',
            "engine 'large' does not speculate: say in [engines.large.serve.speculation] what is to be measured",
        ),
    ],
)
def test_an_engine_that_is_not_there_or_does_not_speculate(
    orchestrator: Call, fake: Fake, name: str, table: str, error: str
) -> None:
    configure(fake, table)
    done = orchestrator("engines", "profile", name)
    assert (done.exit_code, done.stderr) == (2, f"error: {error}\n")


@pytest.mark.parametrize("serve", ["", '[engines.prm.serve]\nmodel = "org/prm"\n'])
def test_an_engine_that_only_reads_has_nothing_to_draft(orchestrator: Call, fake: Fake, serve: str) -> None:
    configure(fake)
    engine = f'[engines.prm]\nkind = "pooling"\nwrites = false\nurl = "http://127.0.0.1:1/v1"\n{serve}'
    Path("orchestrator.toml").write_text(Path("orchestrator.toml").read_text() + engine)
    done = orchestrator("engines", "profile", "prm")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == "error: engine 'prm' is of kind pooling, which writes nothing: there is nothing to draft\n"


def test_steps_that_take_longer_than_a_trial_are_measured(orchestrator: Call, fake: Fake) -> None:
    configure(fake, base_ms=200, token_ms=0, plain_ms=0)
    done = profile(orchestrator, "--tokens", "2", "--seconds", "0.01")
    assert done.exit_code == 0, done.stderr


def test_what_was_measured_is_said_where_the_file_can_no_longer_be_written(orchestrator: Call, fake: Fake) -> None:
    """The folder is there at first, and gone once everything is measured."""
    configure(fake, token_ms=1)
    Path("there").mkdir()
    script = fake.python.read_text()
    fake.python.write_text(script.replace("exec", "rmdir there 2>/dev/null\nexec"))
    done = profile(orchestrator, "--tokens", "2", "--out", "there/new.toml")
    assert done.exit_code == 2
    *said, error = done.stderr.splitlines()
    assert error == (
        "error: there/new.toml cannot be written: No such file or directory; what was to be in it stands above"
    )
    assert isinstance(speculation_with("\n".join(said[said.index("[engines.large.serve.speculation]") :])), NGram)


def interrupted(fake: Fake, times: int) -> tuple[int, list[str], int]:
    """Press Ctrl-C once a trial is told, and again once the server is being ended; return what came of it."""
    code = "from orchestrator.cli import main; main()"
    command = [sys.executable, "-c", code, "engines", "profile", "large", "--prompts", "mine.jsonl", *QUICK]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        told = [next(line for line in running.stderr if "round 1" in line)]
        pid = int(Path("pid").read_text())
        assert is_alive(pid)
        running.send_signal(signal.SIGINT)
        if times == 2:
            until(Path("ending").exists, "the end of the server to begin")
            running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=30)
    assert out == ""
    return running.returncode, [*told, *err.splitlines()], pid


def test_ctrl_c_ends_the_server_and_writes_nothing(fake: Fake) -> None:
    configure(fake)
    fake.python.write_text(fake.python.read_text().replace("exec", "echo $$ > pid\nexec"))
    status, said, pid = interrupted(fake, 1)
    assert (status, said[-2:]) == (130, ["large: ended", "interrupted: nothing was written"])
    assert not is_alive(pid) and not fake.answers()


def test_a_second_ctrl_c_says_that_nothing_is_kept(fake: Fake) -> None:
    """The server takes a while to end, and does so by itself."""
    configure(fake)
    script = fake.python.read_text().replace("exec", "trap 'touch ending; sleep 2' TERM\necho $$ > pid\n")
    fake.python.write_text(script)
    status, said, pid = interrupted(fake, 2)
    assert (status, said[-1]) == (130, "ended at once: nothing was written, and the server ends by itself")
    until_gone(pid)
    assert not fake.answers()


def test_an_engine_that_others_serve(orchestrator: Call) -> None:
    Path("orchestrator.toml").write_text('[engines.large]\nkind = "vllm"\nurl = "http://127.0.0.1:1/v1"\n')
    done = orchestrator("engines", "profile", "large")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == "error: engine 'large' has no table serve: say what its server serves\n"


def test_without_prompts_neutral_ones_are_taken_and_it_says_so(orchestrator: Call, fake: Fake) -> None:
    configure(fake)
    fake.python.write_text("#!/bin/sh\nexit 4\n")
    done = orchestrator("engines", "profile", "large")
    assert done.stderr.startswith("no --prompts: 64 neutral ones; how much is accepted depends on the text")
