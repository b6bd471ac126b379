"""What the documents say is true: names, commands and examples are those of the code."""

from __future__ import annotations

import ast
import re
import tomllib
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import click
import pytest

import orchestrator
from orchestrator.cli.app import app
from orchestrator.engines import ENGINES
from orchestrator.engines.pocket import PAIR_ID
from orchestrator.modes import MODES
from orchestrator.monitors import MONITORS
from orchestrator.routers import ROUTERS
from orchestrator.tools import TOOLS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def commands(group: click.Group, path: str = "orchestrator") -> list[tuple[str, click.Command]]:
    found: list[tuple[str, click.Command]] = []
    ctx = click.Context(group)
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        assert command is not None
        if isinstance(command, click.Group):
            found += commands(command, f"{path} {name}")
        else:
            found.append((f"{path} {name}", command))
    return found


@pytest.mark.parametrize("path", [path for path, _ in commands(app)])
def test_every_command_is_in_the_readme(path: str) -> None:
    assert path in README


@pytest.mark.parametrize("name", [*ROUTERS, *MONITORS, *MODES, *ENGINES, *TOOLS])
def test_every_registered_name_has_a_row_in_the_readme(name: str) -> None:
    assert re.search(rf"^\| `{name}` \|", README, re.MULTILINE)


def test_no_row_of_the_router_table_names_a_router_that_does_not_exist() -> None:
    table = README.partition("| router |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `([\w-]+)` \|", table, re.MULTILINE)) == set(ROUTERS)


def test_the_model_card_is_that_of_the_shipped_pair_and_nothing_is_left_to_fill_in() -> None:
    card = (ROOT / "orchestrator/engines/pocket/MODEL_CARD.md").read_text()
    assert f"`{PAIR_ID}`" in card.splitlines()[0]
    assert "@@" not in card + README


def test_the_readmes_python_is_python_and_its_names_exist() -> None:
    for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        tree = ast.parse(block)
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "orc":
                assert hasattr(orchestrator, node.attr), node.attr


def test_the_readmes_router_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from orchestrator.engines.scripted import Scripted

    block = next(each for each in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "class Threshold" in each)
    (tmp_path / "from_readme.py").write_text(block)
    monkeypatch.syspath_prepend(tmp_path)
    router = import_module("from_readme").Threshold()
    large = Scripted(lambda request: "9" if request.purpose == "judge" else "unused")
    engines = {"small": Scripted([r"\boxed{7}"]), "large": large}
    result = orchestrator.Pipeline(engines, router, db=":memory:").run("q")
    assert (result.answer, [step.writer for step in result.steps]) == ("7", ["small"])


def tree() -> list[str]:
    """Return every path of the README's tree; what stands in the right column is inside the last room on the left."""
    named, house, room = [], "", ""
    for line in README.partition("## Where things are\n\n```\n")[2].partition("\n```")[0].splitlines():
        for found in re.finditer(r"(?:\w+/)*\w+(?:\.py|/)", line):
            name, column = found.group(), found.start()
            if column == 0:
                house = room = name
                named.append(name)
            elif column < line.rfind("   "):
                room = house + name
                named.append(room)
            else:
                named.append(room + name)
    return named


@pytest.mark.parametrize("path", tree())
def test_the_tree_in_the_readme_is_there(path: str) -> None:
    assert (ROOT / path).exists()


def test_the_tree_is_read_to_its_end() -> None:
    assert {"orchestrator/types.py", "orchestrator/runtime/timeline.py", "orchestrator/cli/", "tests/"} <= set(tree())


@pytest.mark.parametrize("name", sorted(each.name for each in walk_packages(orchestrator.__path__, "orchestrator.")))
def test_a_module_that_cites_a_paper_says_what_differs(name: str) -> None:
    path = ROOT / Path(*name.split("."))
    source = (path.with_suffix(".py") if path.with_suffix(".py").exists() else path / "__init__.py").read_text()
    doc = ast.get_docstring(ast.parse(source)) or ""
    if "arXiv" in source:
        assert "Source:" in doc, f"{name} cites a paper outside its docstring's Source"
        assert "Differs" in doc


def test_no_machine_path_is_in_the_project() -> None:
    texts = [*ROOT.glob("*.md"), *ROOT.glob("orchestrator/**/*.py"), *ROOT.glob("examples/*"), ROOT / "Makefile"]
    for path in filter(Path.is_file, texts):  # a demo leaves a folder of compiled code in the examples
        assert not re.search(r"/(?:root|work|home/\w+)/", path.read_text(errors="replace")), path


def test_the_examples_advice_for_gpus_names_all_that_is_only_for_the_cpu_and_the_pocket_pair() -> None:
    text = (ROOT / "examples/pocket_vllm.toml").read_text()
    advice = " ".join(re.findall(r"^# (.*)$", text, re.MULTILINE)).partition("On GPUs:")[2]
    for engine in tomllib.loads(text)["engines"].values():
        for_gpus_too = {"--reasoning-parser"}
        named = {each for each in engine["serve"]["args"] if each.startswith("--")} - for_gpus_too
        for word in named | {"temperature", "judge", "python", "env"}:
            assert re.search(rf"(?<!\w){word}\b", advice), word
