"""`orchestrator engines`: servers are started, watched, listed and ended. Real processes, real signals."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import Result
from started import Fake, is_alive, until, until_gone

from orchestrator.config import load
from orchestrator.engines.diagnosis import ROOM
from orchestrator.engines.hold import holder
from orchestrator.engines.speculation.profiles import PROFILES
from orchestrator.engines.supervisor import record_of

Call = Callable[..., Result]

README = (Path(__file__).parent.parent.parent / "README.md").read_text()

COMMAND = [sys.executable, "-c", "from orchestrator.cli import main; main()"]
ENGINE = """
[engines.{name}]
kind = "vllm"
url = "http://127.0.0.1:{port}/v1"
[engines.{name}.serve]
model = "{model}"
"""
GOLDEN = (
    "{env}{python} -m vllm.entrypoints.openai.api_server --model org/tiny --host 127.0.0.1 --port {port} "
    "--enable-prefix-caching --enable-prompt-tokens-details --enable-per-request-metrics "
    """--per-request-spec-decode-metrics detailed --speculative-config '{{"method": "ngram", """
    """"num_speculative_tokens": 5, "prompt_lookup_min": 2, "prompt_lookup_max": 4}}'\n"""
)


def configure(fake: Fake, name: str = "small", model: str = "org/tiny", **told: object) -> None:
    """Add an engine to the configuration, which the fake server serves."""
    env = ", ".join(f"{key} = {json.dumps(value)}" for key, value in fake.env(**told).items())
    with Path("orchestrator.toml").open("a") as file:
        file.write(ENGINE.format(name=name, port=fake.port, model=model))
        file.write(f'python = "{fake.python}"\nenv = {{ {env} }}\n')


@contextmanager
def served(fake: Fake, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run `engines up` as a terminal does until the server answers; it is killed at the end."""
    words = [*COMMAND, "engines", "up", *arguments]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, start_new_session=True) as running:
        try:
            until(fake.answers, "the server")
            yield running
        finally:
            running.kill()


def test_a_dry_run_prints_the_exact_command_and_starts_nothing(orchestrator: Call, fake: Fake, home: Path) -> None:
    configure(fake)
    done = orchestrator("engines", "up", "--dry-run")
    assert (done.exit_code, done.stderr) == (0, "")
    env = f"FAKE_FOLDER={fake.folder} "
    assert done.stdout == GOLDEN.format(env=env, python=fake.python, port=fake.port)
    assert not fake.starts() and not (home / "engines").exists()


def test_a_dry_run_shows_a_secret_as_the_file_has_it(
    orchestrator: Call, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "s3cret-hub")
    monkeypatch.setenv("SERVER_KEY", "s3cret-key")
    Path("orchestrator.toml").write_text(
        ENGINE.format(name="large", port=8002, model="m")
        + 'env = { HF_TOKEN = "${HF_TOKEN}" }\nargs = ["--api-key", "${SERVER_KEY}"]\n'
        + 'speculation = { method = "none" }\n'
    )
    done = orchestrator("engines", "up", "--dry-run")
    assert done.stdout == (
        'HF_TOKEN="${HF_TOKEN}" vllm serve m --host 127.0.0.1 --port 8002 --enable-prefix-caching '
        '--enable-prompt-tokens-details --enable-per-request-metrics --api-key "${SERVER_KEY}"\n'
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_end_the_server_and_its_worker(fake: Fake, home: Path, number: signal.Signals) -> None:
    configure(fake, worker=1)
    with served(fake) as running:
        pids = fake.pid(), fake.pid("worker")
        os.killpg(running.pid, number)
        _, said = running.communicate(timeout=60)
        until_gone(*pids)
    assert running.returncode == 0
    assert "ended with status" not in said
    assert said.splitlines()[0] == f"small: started; log {home}/engines/small-{fake.port}.log"
    assert said.splitlines()[-1] == "small: ended"


def test_ctrl_c_while_a_server_loads_ends_it_as_well(fake: Fake) -> None:
    configure(fake, slow_s=60, worker=1)
    words = [*COMMAND, "engines", "up"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as running:
        try:
            pids = fake.pid(), fake.pid("worker")
            running.send_signal(signal.SIGINT)
            _, said = running.communicate(timeout=60)
        finally:
            running.kill()
        until_gone(*pids)
    assert (running.returncode, said.splitlines()[-1]) == (0, "small: ended")


def test_kill_9_leaves_no_orphan_and_the_engine_can_be_served_again(orchestrator: Call, fake: Fake, home: Path) -> None:
    configure(fake, worker=1)
    with served(fake) as running:
        pids = fake.pid(), fake.pid("worker")
        running.kill()
        until_gone(*pids)
    until(lambda: holder(record_of(home / "engines", "small", fake.url)) is None, "the record's release")
    done = orchestrator("engines", "down")
    assert (done.exit_code, done.stderr) == (2, "error: no `orchestrator engines up` serves small\n")


def test_down_ends_what_another_process_serves(orchestrator: Call, fake: Fake) -> None:
    configure(fake, worker=1)
    with served(fake) as running:
        pids = fake.pid(), fake.pid("worker")
        done = orchestrator("engines", "down")
        assert (done.exit_code, done.stdout, done.stderr) == (0, "", "ended: small\n")
        assert running.wait(60) == 0
        assert not any(map(is_alive, pids))


def test_down_of_one_engine_names_all_that_end_with_it(orchestrator: Call, fake: Fake, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with Fake(tmp_path / "other") as other:
        configure(fake)
        configure(other, "large")
        with served(fake) as running:
            until(other.answers, "the other server")
            assert orchestrator("engines", "down", "large").stderr == "ended: small, large\n"
            assert running.wait(60) == 0
        until_gone(fake.pid(), other.pid())


def test_down_of_an_engine_that_nobody_serves_ends_nothing(orchestrator: Call, fake: Fake, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    configure(fake)
    configure(Fake(tmp_path / "other"), "large")
    with served(fake, "small"):
        done = orchestrator("engines", "down", "small", "large")
        assert (done.exit_code, done.stderr) == (2, "error: no `orchestrator engines up` serves large\n")
        assert is_alive(fake.pid())


def test_down_kills_whoever_does_not_listen(
    orchestrator: Call, fake: Fake, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.cli.engines._WAIT_S", 0.3)
    configure(fake)
    record = record_of(home / "engines", "small", fake.url)
    code = (
        "import signal, sys; from pathlib import Path; from orchestrator.engines.hold import held\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "with held(Path(sys.argv[1]), 'small'): signal.pause()\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(record)]) as deaf:
        try:
            until(lambda: holder(record), "the record")
            done = orchestrator("engines", "down")
            assert (done.exit_code, done.stderr) == (0, "ended: small\n")
            assert deaf.wait(30) == -signal.SIGKILL
        finally:
            deaf.kill()


def test_an_engine_is_served_once(orchestrator: Call, fake: Fake) -> None:
    configure(fake)
    with served(fake):
        done = orchestrator("engines", "up")
        assert (done.exit_code, done.stdout) == (2, "")
        assert done.stderr == "error: engine 'small' is served already: `orchestrator engines down small` ends it\n"
        assert is_alive(fake.pid()) and len(fake.starts()) == 1


def test_a_server_that_somebody_else_started_is_as_good(orchestrator: Call, fake: Fake) -> None:
    configure(fake)
    with subprocess.Popen(fake.command, env=fake.env()) as theirs:
        try:
            until(fake.answers, "their server")
            done = orchestrator("engines", "up")
            assert (done.exit_code, done.stdout) == (0, "")
            assert done.stderr == f"small: a server answers at {fake.url} already; it is used as it is\n"
            listed = json.loads(orchestrator("engines", "list", "--json").stdout)
            assert listed["state"] == "answers as vllm"
            assert is_alive(theirs.pid) and len(fake.starts()) == 1
        finally:
            theirs.kill()


def test_a_server_that_dies_at_once_is_one_line_after_its_last_words(
    orchestrator: Call, fake: Fake, home: Path
) -> None:
    configure(fake, dies="torch.OutOfMemoryError: tried to allocate 20 GiB")
    done = orchestrator("engines", "up")
    log = f"{home}/engines/small-{fake.port}.log"
    assert (done.exit_code, done.stdout) == (3, "")
    lines = done.stderr.splitlines()
    assert lines[0] == f"small: started; log {log}"
    assert lines[-2] == "torch.OutOfMemoryError: tried to allocate 20 GiB"
    assert lines[-1] == (
        "error: engine 'small': its server ended with status 3 before it answered: torch.OutOfMemoryError: tried to "
        f"allocate 20 GiB; {ROOM}; its log is {log}"
    )


def test_servers_end_with_the_first_that_cannot_be_kept_up(orchestrator: Call, fake: Fake, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with Fake(tmp_path / "other") as other:
        configure(fake, worker=1, slow_s=60)
        configure(other, "large", dies="no")
        done = orchestrator("engines", "up")
        assert done.exit_code == 3
        assert "engine 'large': its server ended with status 3" in done.stderr.splitlines()[-1]
        if fake.starts():
            until_gone(fake.pid())


def test_nothing_is_started_where_another_server_cannot_be(orchestrator: Call, fake: Fake, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    configure(fake)
    configure(Fake(tmp_path / "other"), "large", model="/no/weights")
    done = orchestrator("engines", "up")
    assert (done.exit_code, done.stderr) == (2, "error: engine 'large': there are no weights at /no/weights\n")
    assert not fake.starts()


def test_the_log_shows_a_secret_as_the_file_has_it(
    orchestrator: Call, fake: Fake, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVER_KEY", "s3cret-key")
    configure(fake, dies="so")
    with Path("orchestrator.toml").open("a") as file:
        file.write('args = ["--api-key", "${SERVER_KEY}"]\n')
    assert orchestrator("engines", "up").exit_code == 3
    log = (home / "engines" / f"small-{fake.port}.log").read_text()
    assert '--api-key "${SERVER_KEY}"' in log and "s3cret" not in log


TABLE, MLP = "[engines.small.serve]", "[engines.small.serve.speculation]\nmethod = 'mlp_speculator'\n"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('"org/tiny"', '"/no/weights"'), "error: engine 'small': there are no weights at /no/weights\n"),
        (('/python"', '/no-python"'), "no-python: install vLLM, or name an interpreter that has it as python in "),
        ((TABLE, "[engines.small.server]"), "engines.small.server: no such key; did you mean 'serve'?"),
        ((TABLE, MLP + TABLE), "speculation method 'mlp_speculator' is refused: vLLM 0.32 accepts the name and has "),
        (("127.0.0.1", "10.0.0.7"), "a server can be started at a port of this machine only"),
    ],
)
def test_what_cannot_be_served_is_one_clear_line(
    orchestrator: Call, fake: Fake, change: tuple[str, str], said: str
) -> None:
    configure(fake)
    Path("orchestrator.toml").write_text(Path("orchestrator.toml").read_text().replace(*change))
    done = orchestrator("engines", "up")
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert said in done.stderr
    assert not fake.starts()


def test_nothing_to_serve_is_one_clear_line(orchestrator: Call, fake: Fake) -> None:
    configure(fake)
    assert orchestrator("engines", "up", "huge").stderr == "error: no engine 'huge'; the configuration has small\n"
    Path("orchestrator.toml").write_text('[engines.small]\nkind = "vllm"\nurl = "http://127.0.0.1:9/v1"\n')
    for arguments in (("up",), ("up", "--dry-run")):
        done = orchestrator("engines", *arguments)
        assert done.exit_code == 2
        assert done.stderr.startswith("error: no engine has a table serve: write [engines.NAME.serve]")


def test_list_says_who_serves_what_and_whether_it_answers(orchestrator: Call, fake: Fake) -> None:
    configure(fake)
    with Path("orchestrator.toml").open("a") as file:
        file.write('[engines.large]\nkind = "vllm"\nurl = "http://127.0.0.1:9/v1"\n')
        file.write('[engines.mine]\nkind = "embedded"\npath = "/m.gguf"\n')
    with served(fake) as running:
        small, large, mine = map(json.loads, orchestrator("engines", "list", "--json").stdout.splitlines())
        assert small == {
            "name": "small",
            "kind": "vllm",
            "state": f"answers as vllm, served by {running.pid}",
            "at": fake.url,
            "speculation": "ngram",
        }
        assert (large["state"], large["speculation"]) == ("does not answer", "unknown")
        assert (mine["state"], mine["at"]) == ("in this process", "/m.gguf")
    lines = orchestrator("engines", "list").stdout.splitlines()
    assert lines[1] == "large      vllm      does not answer              http://127.0.0.1:9/v1  speculation unknown"


def test_doctor_is_there_as_well(orchestrator: Call, pipeline: str) -> None:
    done = orchestrator("engines", "doctor", "--pipeline", pipeline)
    assert done.exit_code == 0
    engine, judge = done.stdout.splitlines()[-2:]
    assert engine.startswith("ok    large ")
    assert judge.startswith(
        "warn  judge        large rates a right step 2.0 and a wrong one 2.0, alike: such ratings decide nothing"
    )


def test_the_readmes_servers_could_be_started(orchestrator: Call) -> None:
    Path("orchestrator.toml").write_text("\n".join(re.findall(r"```toml\n(.*?)```", README, re.DOTALL)))
    small, large, prm = orchestrator("engines", "up", "--dry-run").stdout.splitlines()
    assert small.startswith("CUDA_VISIBLE_DEVICES=0 vllm serve deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B --host ")
    assert large.startswith("CUDA_VISIBLE_DEVICES=1,2 /opt/vllm/bin/python -m vllm.entrypoints.openai.api_server ")
    assert '"num_speculative_tokens_per_batch_size": [[1, 16, 8], [17, 64, 2], [65, 256, 0]]' in large
    assert prm == (
        "CUDA_VISIBLE_DEVICES=3 vllm serve Qwen/Qwen2.5-Math-PRM-7B --host 127.0.0.1 --port 8003 "
        "--enable-prefix-caching --enable-prompt-tokens-details --enable-per-request-metrics"
    )
    config = load()
    assert (config.router.reading, config.engines["prm"].writes) == ("prm", False)


def test_every_way_to_draft_is_in_the_readme() -> None:
    rows = re.findall(r"(?m)^\| (`.*?) \|", README.partition("| `method` |")[2].partition("\n\n")[0])
    assert re.findall(r"`(\w+)`", " ".join(rows)) == [*PROFILES, "none"]
