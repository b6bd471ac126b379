"""Real vLLM servers for the whole session, on the CPU."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner
from pair import Pair, served_pair
from started import free_port

from orchestrator.cli.app import app
from orchestrator.engines.pocket import BUNDLED

BUILDER = Path(__file__).with_name("environment.py")
CANNOT_BE_HAD = 3
LAST = "test_when_a_server_is_killed.py"
"""Ends the pair's servers, which nothing can use after it."""
SMOLLM2 = "smollm2-135m"
ROOT = Path(__file__).parent.parent.parent
READY_WITHIN_S = 480
"""Half a minute on idle cores; other jobs beside it can make it ten times that."""
ENDS_WITHIN_S = 20
ANSWERS_WITHIN_S = 900
"""Two minutes for the longest script on idle cores."""
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
)
DRAFTING = ("--speculative-config", json.dumps(SPECULATION), "--per-request-spec-decode-metrics", "detailed")
CALLING = ("--enable-auto-tool-choice", "--tool-call-parser", "hermes")
DIGITS = {"classifier_from_token": [*"0123456789"], "method": "no_post_processing"}
GOOD_OR_NOT = {"classifier_from_token": ["0", "9"], "method": "from_2_way_softmax"}
"""One class, as reward models have: its logit is how far that of 9 is above that of 0."""
QUICK = ("--updates", "50", "--batch", "64", "--rate", "2e-3", "--threads", "1", "--evaluate", "10")
"""How a router of 0.2 million weights is trained in seconds; train/README.md has the published recipe."""
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


class Environment(NamedTuple):
    """What environment.py has built."""

    python: str
    """An interpreter that has vLLM."""
    model: str
    """A folder of SmolLM2."""
    pocket: str
    """A folder with one for each pocket model."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests last that end the servers of others."""
    items.sort(key=lambda item: item.path.name == LAST)


@pytest.fixture(scope="session")
def environment() -> Environment:
    """What runs vLLM, and SmolLM2. Skips, saying why, only where vLLM's CPU build cannot be had."""
    return _environment()


@pytest.fixture(scope="session")
def pocket_folders(environment: Environment) -> dict[str, str]:
    """Folders that vLLM serves, by name, derived from the GGUF files that the package ships."""
    return {name: str(Path(environment.pocket) / name) for name in BUNDLED}


@pytest.fixture(scope="session")
def in_vllm(environment: Environment, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Any], Any]:
    """Call a script of this folder in vLLM's own environment: a JSON value in, one out."""

    def call(script: str, given: Any) -> Any:
        folder = tmp_path_factory.mktemp(script.removesuffix(".py"))
        (folder / "given.json").write_text(json.dumps(given))
        paths = [str(folder / "given.json"), str(folder / "found.json")]
        command = [environment.python, str(Path(__file__).with_name(script)), *paths]
        with _running(command, folder / "log", PYTHONPATH=str(ROOT)) as process:
            if code := process.wait(ANSWERS_WITHIN_S):
                pytest.fail(f"{script} ended with code {code}:\n{_tail(folder / 'log')}")
        return json.loads((folder / "found.json").read_text())

    return call


@pytest.fixture(scope="session")
def drafting_folders(
    environment: Environment, pocket_folders: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """Folders of all that drafts, or is drafted for, by name: the pocket pair, SmolLM2 and random_heads.py's."""
    root = tmp_path_factory.mktemp("heads")
    script = str(Path(__file__).with_name("random_heads.py"))
    pair = [pocket_folders["pocket-large"], pocket_folders["pocket-small"]]
    subprocess.run([environment.python, script, *pair, str(root)], check=True)
    return pocket_folders | {SMOLLM2: environment.model} | {each.name: str(each) for each in root.iterdir()}


@pytest.fixture(scope="session")
def vllm_url(environment: Environment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a server of SmolLM2."""
    folder = tmp_path_factory.mktemp("vllm")
    with serving(environment.python, SMOLLM2, environment.model, folder, *DRAFTING, *CALLING) as url:
        yield url


@pytest.fixture(scope="session")
def pair(environment: Environment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """The pocket pair on two servers; the last test that uses them may end them."""
    with served_pair(environment.python, environment.pocket, tmp_path_factory.mktemp("pair")) as pair:
        yield pair


@pytest.fixture(scope="session")
def rating(
    environment: Environment, pocket_folders: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Any], AbstractContextManager[str]]:
    """Serve pocket-scorer as a pooling model with classes from its tokens, and give the address."""

    def serve(classes: Any) -> AbstractContextManager[str]:
        flags = ("--runner", "pooling", "--convert", "classify", "--hf-overrides", json.dumps(classes))
        folder = tmp_path_factory.mktemp("pooling")
        return serving(environment.python, "pocket-scorer", pocket_folders["pocket-scorer"], folder, *flags)

    return serve


@pytest.fixture(scope="session")
def pooling_url(rating: Callable[[Any], AbstractContextManager[str]]) -> Iterator[str]:
    """Address of a server of pocket-scorer whose classes are the ten digits."""
    with rating(DIGITS) as url:
        yield url


@pytest.fixture(scope="session")
def one_class_url(rating: Callable[[Any], AbstractContextManager[str]]) -> Iterator[str]:
    """Address of a server of pocket-scorer with a single class."""
    with rating(GOOD_OR_NOT) as url:
        yield url


class Trained(NamedTuple):
    """A trained router, and where it is served."""

    folder: Path
    url: str
    log: list[dict[str, Any]]
    """What its training noted, an update or an evaluation each."""


@pytest.fixture(scope="session")
def trained(
    environment: Environment, pocket_folders: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Trained]:
    """The pocket small as the pocket pair's router: collected, exported, trained for fifty updates, and served."""
    folder = tmp_path_factory.mktemp("router")
    rows, data, out = folder / "rows.jsonl", folder / "data.jsonl", folder / "out"
    collect = ["collect", "random-calculation:preset=mid", "--scorer", "verifier", "--tasks", "80", "--out", str(rows)]
    for command in (
        [*collect, "--db", str(folder / "journal.db"), "--quiet"],
        ["export-router-data", str(rows), "--out", str(data)],
    ):
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.stderr
    script = [environment.python, "-m", "train.escalation.run", str(data), pocket_folders["pocket-small"], str(out)]
    with _running([*script, *QUICK], folder / "log", PYTHONPATH=f"{ROOT}:{ROOT / 'train'}") as process:
        if code := process.wait(ANSWERS_WITHIN_S):
            pytest.fail(f"the training ended with code {code}:\n{_tail(folder / 'log')}")
    log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    with serving(environment.python, "router", str(out / "router"), folder, "--runner", "pooling") as url:
        yield Trained(out / "router", url, log)


@contextmanager
def serving(python: str, name: str, model: str, folder: Path, *more: str) -> Iterator[str]:
    """Serve `model` under `name`, with flags beside those that every server here has; the log is in `folder`."""
    port = free_port()
    log = folder / "server.log"
    flags = [*FLAGS, *more, "--port", str(port), "--model", model, "--served-model-name", name]
    with _running([python, *flags], log) as server:
        _wait_until_ready(server, f"http://127.0.0.1:{port}", log)
        yield f"http://127.0.0.1:{port}"


def _environment() -> Environment:
    done = subprocess.run([sys.executable, str(BUILDER), "--json"], capture_output=True, text=True, check=False)
    if done.returncode == CANNOT_BE_HAD:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    if done.returncode:
        pytest.fail(f"the environment for vLLM could not be built:\n{done.stderr[-TAIL:]}")
    built = json.loads(done.stdout)
    return Environment(**built)


@contextmanager
def _running(command: list[str], log: Path, **env: str) -> Iterator[subprocess.Popen[bytes]]:
    with (
        log.open("wb") as out,
        subprocess.Popen(
            [command[0], "-c", TIED, *command],
            env=os.environ | ENVIRON | env,
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
