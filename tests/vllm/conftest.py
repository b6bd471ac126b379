"""Real vLLM servers for the whole session, on the CPU, with ngram speculation on."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestrator.engines.pocket import bundled

ENVIRONMENT = Path(__file__).with_name("environment.py")
CANNOT_BE_HAD = 3
SMOLLM2, POCKET = "smollm2-135m", "pocket-large"
TRAIN = Path(__file__).parent.parent.parent / "train"
READY_WITHIN_S = 480
"""Half a minute on idle cores; other jobs beside it can make it ten times that."""
ENDS_WITHIN_S = 20
TAIL = 3000
"""Characters of the server's log that a failure shows."""

SPECULATION = {"method": "ngram", "num_speculative_tokens": 4, "prompt_lookup_max": 4, "prompt_lookup_min": 2}
# Some PyPI builds for the CPU have a broken `vllm` command, so the module is run.
FLAGS = (
    *("-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1"),
    *(
        "--enforce-eager",
        "--distributed-executor-backend",
        "uni",
        "--max-model-len",
        "2048",
        "--dtype",
        "float32",
        "--max-logprobs",
        "20",
    ),
    *("--enable-prefix-caching", "--enable-prompt-tokens-details", "--enable-per-request-metrics"),
    *("--speculative-config", json.dumps(SPECULATION), "--per-request-spec-decode-metrics", "detailed"),
)
ENVIRON = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    # With "uni": the model runs in the engine's own process. One import of torch less, half the time to start.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    # Some parts compile themselves at their first call in spite of --enforce-eager: half a minute on two busy cores.
    "TORCHDYNAMO_DISABLE": "1",
    # Threads that wait for each other lose more than they win where other jobs share the cores.
    "OMP_NUM_THREADS": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
}
# Linux tells the server when the tests die, however they die; it then ends its own processes.
TIED = "import ctypes, os, signal, sys; ctypes.CDLL(None).prctl(1, signal.SIGTERM); os.execv(sys.argv[1], sys.argv[1:])"


@pytest.fixture(scope="session")
def vllm_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of the server. Skips, saying why, only where vLLM's CPU build cannot be had."""
    python, model = _environment()
    with _serving(python, SMOLLM2, model, tmp_path_factory.mktemp("vllm")) as url:
        yield url


@pytest.fixture(scope="session")
def pocket_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a server of pocket-large, its folder derived from the GGUF file that the package ships."""
    python, _ = _environment()
    folder = tmp_path_factory.mktemp("pocket")
    command = [python, "-m", "train.folder", bundled("pocket-large"), str(folder / "model")]
    subprocess.run(command, cwd=TRAIN, check=True, env=os.environ | {"PYTHONPATH": str(TRAIN.parent)})
    with _serving(python, POCKET, str(folder / "model"), folder, "--reasoning-parser", "deepseek_r1") as url:
        yield url


@contextmanager
def _serving(python: str, name: str, model: str, folder: Path, *more: str) -> Iterator[str]:
    port = _free_port()
    log = folder / "server.log"
    flags = [*FLAGS, "--port", str(port), "--model", model, "--served-model-name", name, *more]
    with _running([python, *flags], log) as server:
        _wait_until_ready(server, f"http://127.0.0.1:{port}", log)
        yield f"http://127.0.0.1:{port}"


def _environment() -> tuple[str, str]:
    done = subprocess.run([sys.executable, str(ENVIRONMENT), "--json"], capture_output=True, text=True, check=False)
    if done.returncode == CANNOT_BE_HAD:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    if done.returncode:
        pytest.fail(f"the environment for vLLM could not be built:\n{done.stderr[-TAIL:]}")
    built = json.loads(done.stdout)
    return built["python"], built["model"]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _running(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (
        log.open("wb") as out,
        subprocess.Popen(
            [command[0], "-c", TIED, *command],
            env=os.environ | ENVIRON,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as server,
    ):
        try:
            yield server
        finally:
            _end(server)


def _end(server: subprocess.Popen[bytes]) -> None:
    """End the server and everything it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(server.pid, number)
        except ProcessLookupError:
            return
        try:
            server.wait(ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            continue


def _wait_until_ready(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    limit = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < limit:
        if server.poll() is not None:
            pytest.fail(f"the vLLM server ended with code {server.returncode}:\n{_tail(log)}")
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5):
                return
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(0.5)
    pytest.fail(f"the vLLM server was not ready within {READY_WITHIN_S} s:\n{_tail(log)}")


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-TAIL:]
