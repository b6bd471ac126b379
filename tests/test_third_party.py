"""A router of somebody else's package, really installed: found by its name, and blamed where it is broken."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ENGINES = r"""
import orchestrator as orc


def small(request):
    done = bytes(request.prompt.ids()).count(b"\n\n")
    return ["short\n\n", "a thought that goes on and on\n\n", r"\boxed{42}"][done]


def pipeline():
    engines = {"small": orc.engines.Scripted(small), "large": orc.engines.Scripted(lambda request: "better\n\n")}
    return orc.Pipeline(engines, "keep-short")
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the example and install it into a folder of its own, without asking the network for anything."""
    folder = tmp_path_factory.mktemp("third_party")
    source = shutil.copytree(ROOT / "examples/keep_short", folder / "source")
    flags = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *flags, "--target", str(folder / "site"), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return folder / "site"


@pytest.fixture
def call(installed: Path, tmp_path: Path) -> Iterator[object]:
    """Run the command in a process that finds the installed package."""

    def called(*arguments: str, site: Path = installed) -> subprocess.CompletedProcess[str]:
        paths = [str(site), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        command = [sys.executable, "-c", "from orchestrator.cli import main; main()", *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=240)

    (tmp_path / "agent.py").write_text(ENGINES)
    yield called


def test_it_routes_a_run_and_the_trace_calls_it_by_its_name_and_version(call) -> None:  # type: ignore[no-untyped-def]
    done = call("run", "What is 6*7?", "--pipeline", "agent.py:pipeline", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["answer"] == "42"
    shown = call("trace", "show", "last").stdout
    assert "router   keep-short 0.3.0 longest=24" in shown
    assert "x rejected" in shown and "long" in shown


def test_the_command_line_takes_its_name_and_its_options_and_checks_both(call) -> None:  # type: ignore[no-untyped-def]
    shown = call("config", "show", "--json")
    assert shown.returncode == 0, shown.stderr
    unknown = call("run", "q", "--router", "keep-shrt")
    known = unknown.stderr.strip().partition("known: ")[2].split(", ")
    assert (unknown.returncode, {"keep-short", "large"} <= {*known}) == (2, True), unknown.stderr
    typed = call("run", "q", "--router", "keep-short", "--router-option", "longest=no")
    assert (typed.returncode, "router.longest must be a valid integer" in typed.stderr) == (2, True), typed.stderr
    ranged = call("run", "q", "--router", "keep-short", "--router-option", "longest=-1")
    assert (ranged.returncode, "longest = -1 must be at least 0" in ranged.stderr) == (2, True), ranged.stderr


def entry_point(site: Path, name: str, target: str) -> None:
    """Leave what an installed package leaves."""
    info = site / "broken_router-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-router\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[orchestrator.routers]\n{name} = {target}\n")


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        ("", "no_such_module:Router", "of the package broken-router 1.0 cannot be loaded (ModuleNotFoundError: "),
        (
            "1 / 0\n",
            "broken_router:Router",
            "cannot be loaded (ZeroDivisionError: division by zero): mend or ",
        ),
        ("import sys\nsys.exit(3)\n", "broken_router:Router", "cannot be loaded (SystemExit: 3): mend or uninstall it"),
        ("", "broken_router:Router", "cannot be loaded (AttributeError: "),
        ("Router = 3\n", "broken_router:Router", "router 'broken' is 3, no class with before_step or after_draft"),
        ("class Router: pass\n", "broken_router:Router", "no class with before_step or after_draft: mend its package"),
    ],
)
def test_a_broken_package_is_one_line_that_names_it(call, tmp_path: Path, source: str, target: str, said: str) -> None:  # type: ignore[no-untyped-def]
    site = tmp_path / "site"
    entry_point(site, "broken", target)
    (site / "broken_router.py").write_text(source)
    done = call("run", "q", "--router", "broken", site=site)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr and len(done.stderr.strip().splitlines()) == 1


def test_nobody_can_take_the_name_of_one_of_ours(call, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    site = tmp_path / "site"
    entry_point(site, "small", "no_such_module:Router")
    done = call("config", "show", "--json", site=site)
    assert done.returncode == 0, done.stderr
    (tmp_path / "orchestrator.toml").write_text('[router]\nname = "small"\n')
    assert json.loads(call("config", "show", "--json", site=site).stdout)["router"] == {"name": "small"}


@pytest.mark.embedded
def test_bench_compares_it_with_its_controls(call, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    done = call("bench", "run", "--policies", "keep-short:longest=12", "--tasks", "3", "--out", "results")
    assert done.returncode == 0, done.stderr
    labels = {json.loads(line)["policy"] for line in (tmp_path / "results/samples.jsonl").read_text().splitlines()}
    assert {"keep-short:longest=12", "random@keep-short:longest=12", "small", "large"} <= labels
