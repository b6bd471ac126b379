"""Build the wheel and try it as a stranger would: in a clean environment, without any developer's tool.

Run by `make wheel`. It prints what it found and exits 1 at the first thing that is not as promised:
only our package inside, no compiler and no torch needed, installed within a minute, `--help` works, and a
first question is answered at once by the models inside.
The minute is held against processor time: on a machine that does other things, or downloads slowly,
the wall clock says little about us. Both are printed.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
INSTALL_LIMIT_S = 60.0
ANSWER_LIMIT_S = 20.0
DATA = (
    "engines/pocket/pocket-small.gguf",
    "engines/pocket/pocket-large.gguf",
    "engines/pocket/pocket-scorer.gguf",
    "engines/pocket/MODEL_CARD.md",
    "bench/profiles/h200_1p5b_32b.toml",
    "bench/profiles/api.toml",
)
HEAVY = ("torch", "transformers", "vllm", "nvidia")


def check(holds: bool, claim: str) -> None:
    print(f"{'ok  ' if holds else 'FAIL'}  {claim}")
    if not holds:
        sys.exit(1)


def cpu_of_children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def build(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True)
    return next(folder.glob("reasoning_orchestrator-*.whl"))


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel = build(folder)
        inside = {Path(each).parts[0] for each in zipfile.ZipFile(wheel).namelist()}
        packages = {each for each in inside if not each.endswith(".dist-info")}
        check(packages == {"orchestrator"}, f"the wheel installs `orchestrator` and nothing else: {sorted(packages)}")
        names = set(zipfile.ZipFile(wheel).namelist())
        check("orchestrator/py.typed" in names, "it is marked as typed")
        data = {f"orchestrator/{name}" for name in DATA}
        check(data <= names, f"it brings its models and profiles: {', '.join(sorted(data - names)) or 'all of them'}")

        venv.create(folder / "env", with_pip=True)
        python = folder / "env" / "bin" / "python"
        started, before = time.perf_counter(), cpu_of_children_s()
        command = [
            python,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--only-binary=:all:",
            "--disable-pip-version-check",
            wheel,
        ]
        subprocess.run(command, check=True)
        wall_s, cpu_s = time.perf_counter() - started, cpu_of_children_s() - before
        claim = (
            f"it installs from wheels alone, without a compiler, in {cpu_s:.0f} s of processor time ({wall_s:.0f} s)"
        )
        check(cpu_s <= INSTALL_LIMIT_S, claim)
        listed = subprocess.run([python, "-m", "pip", "list"], check=True, capture_output=True, text=True).stdout
        heavy = [each for each in HEAVY if each in listed.lower()]
        check(not heavy, f"it brings none of {', '.join(HEAVY)}")

        command = [folder / "env" / "bin" / "orchestrator", "--help"]
        shown = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        check(shown.returncode == 0 and "run" in shown.stdout, "`orchestrator --help` works outside the checkout")

        command = [
            folder / "env" / "bin" / "orchestrator",
            "run",
            "Compute 38*4 - 98*6.",
            "--db",
            folder / "journal.db",
        ]
        started = time.perf_counter()
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        wall_s = time.perf_counter() - started
        claim = f"a first question is answered without any set-up, in {wall_s:.1f} s: {done.stdout.strip()}"
        check((done.returncode, done.stdout) == (0, "-436\n"), claim)
        check(wall_s <= ANSWER_LIMIT_S, f"that is within {ANSWER_LIMIT_S:.0f} s")


if __name__ == "__main__":
    main()
