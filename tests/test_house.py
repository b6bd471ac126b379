"""The house stands as it is drawn: imports go down only, doors lead to rooms, public names exist."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import import_module
from itertools import chain
from pathlib import Path
from pkgutil import walk_packages

import pytest

import orchestrator

ROOT = Path(__file__).parent.parent
DOORS = ("routers", "monitors", "memory", "engines")
IMPORTED_AS = {
    "scikit-learn": "sklearn",
    "opentelemetry-sdk": "opentelemetry",
    "opentelemetry-exporter-otlp-proto-http": "opentelemetry",
}
MODULES = sorted(each.name for each in walk_packages(orchestrator.__path__, "orchestrator."))


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    code = "import sys; sys.path.insert(0, '.'); from importlinter.cli import lint_imports_command as run; run()"
    return subprocess.run([sys.executable, "-c", code, "--no-cache"], cwd=folder, capture_output=True, text=True)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "orchestrator", tmp_path / "orchestrator", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("routers/small.py", "import orchestrator.runtime.pipeline"),
        ("routers/small.py", "import orchestrator.monitors.stalled"),
        ("routers/small.py", "import orchestrator.engines.http"),
        ("routers/small.py", "import langgraph"),
        ("engines/base.py", "import sqlite3"),
        ("memory/base.py", "import aiohttp"),
        ("runtime/calls.py", "import httpx"),
        ("runtime/calls.py", "import orchestrator.learning.rows"),
        ("traces/graph.py", "import orchestrator.learning.rows"),
        ("traces/graph.py", "import orchestrator.cli.app"),
        ("runtime/calls.py", "import orchestrator.traces.html_page"),
        ("learning/rows.py", "import orchestrator.bench.spec"),
        ("learning/rows.py", "import orchestrator.exports.lines"),
        ("traces/searching.py", "import sqlite3"),
        ("traces/otlp.py", "import requests"),
        ("traces/graph.py", "import langgraph"),
        ("exports/lines.py", "import orchestrator.bench.spec"),
        ("routers/arbitrage.py", "import orchestrator.learning.rows"),
        ("runtime/calls.py", "from urllib.request import urlopen"),
        ("cli/doctor.py", "import subprocess"),
        ("memory/owners.py", "import socket"),
        ("routers/small.py", "import http.client"),
        ("monitors/stalled.py", "import multiprocessing"),
        ("tools/calculator.py", "import subprocess"),
        ("tools/toolset.py", "import orchestrator.engines.base"),
        ("routers/small.py", "import orchestrator.tools.calls"),
        ("errors.py", "import orchestrator.types"),
        ("attic.py", "import json"),
    ],
)
def test_the_contracts_fail_on_a_planted_violation(copy: Path, file: str, line: str) -> None:
    path = copy / "orchestrator" / file
    path.write_text((path.read_text() if path.exists() else "") + f"\n{line}\n")
    broken = lint_imports(copy)
    assert broken.returncode == 1, broken.stdout + broken.stderr


def test_the_contracts_hold(copy: Path) -> None:
    held = lint_imports(copy)
    assert held.returncode == 0, held.stdout + held.stderr


def names_in(node: ast.stmt) -> set[str]:
    """Return the packages that a statement of a module imports."""
    if isinstance(node, ast.Import):
        return {alias.name.partition(".")[0] for alias in node.names}
    return {node.module.partition(".")[0]} if isinstance(node, ast.ImportFrom) and node.module else set()


def test_what_is_imported_is_declared_and_what_is_declared_is_imported() -> None:
    """A package that another one happens to bring today may be gone tomorrow."""
    trees = [ast.parse(path.read_text()) for path in (ROOT / "orchestrator").rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    foreign = {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"orchestrator"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    required, optional = (
        {IMPORTED_AS.get(name := re.match(r"[\w-]+", line).group(), name.replace("-", "_")) for line in lines}
        for lines in (
            project["dependencies"],
            chain(*(extras[name] for name in ("bench", "serve", "train", "frames", "otel"))),
        )
    )
    assert foreign == required | optional
    for tree in trees:  # whoever lacks an extra must be able to import everything
        at_import = {name for node in tree.body for name in names_in(node)}
        assert not at_import & optional


@pytest.mark.parametrize("door", DOORS)
def test_a_door_leads_to_its_room(door: str) -> None:
    link = ROOT / door
    target = ROOT / link.read_text().strip() if not link.is_symlink() else link.resolve()
    assert target == ROOT / "orchestrator" / door


def test_the_map_names_files_that_are_there() -> None:
    rows = re.findall(r"^\| `(\w+)/` \| (.*) \|$", (ROOT / "AGENTS.md").read_text(), re.MULTILINE)
    assert [room for room, _ in rows] == ["memory", "runtime", "traces", "cli"]
    for room, said in rows:
        for name in re.findall(r"`([\w*]+\.py)`", said):
            assert [*(ROOT / "orchestrator" / room).glob(name)], f"AGENTS.md: {room} has no {name}"


@pytest.mark.parametrize("name", MODULES)
def test_a_module_says_what_it_is_and_exports_what_exists(name: str) -> None:
    module = import_module(name)
    assert (module.__doc__ or "").strip(), f"{name} has no docstring"
    for public in getattr(module, "__all__", []):
        assert getattr(module, public) is not None


def test_every_public_name_can_be_had() -> None:
    assert sorted(orchestrator.__all__) == orchestrator.__all__
    for name in orchestrator.__all__:
        assert getattr(orchestrator, name) is not None
    with pytest.raises(AttributeError, match="nothing_like_this"):
        _ = orchestrator.nothing_like_this  # type: ignore[attr-defined]


def test_importing_every_module_writes_nothing_and_connects_nowhere(tmp_path: Path) -> None:
    code = f"""
import sys
def audit(event, args):
    wrote = event == "open" and isinstance(args[2], int) and args[2] & 0o1101 and not str(args[0]).endswith(".pyc")
    if wrote or event in ("socket.connect", "subprocess.Popen", "os.mkdir"):
        if "__pycache__" not in str(args[0]):
            print(event, args); sys.exit(3)
sys.dont_write_bytecode = True
sys.addaudithook(audit)
for name in {MODULES!r}:
    __import__(name)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not list(tmp_path.iterdir())
