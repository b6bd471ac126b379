"""`--help` answers at once, and every command explains itself with an example."""

from __future__ import annotations

import json
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from orchestrator.cli.app import COMMANDS, app

HEAVY = ("aiohttp", "langgraph", "langchain_core", "numpy", "pydantic", "rich", "sqlite_utils", "sqlite3", "xllamacpp")


def commands() -> dict[str, click.Command]:
    found: dict[str, click.Command] = {}

    def walk(path: str, command: click.Command) -> None:
        found[path] = command
        if isinstance(command, click.Group):
            ctx = click.Context(command)
            for name in command.list_commands(ctx):
                child = command.get_command(ctx, name)
                assert child is not None
                walk(f"{path} {name}", child)

    walk("orchestrator", app)
    return found


COMMAND_TREE = commands()


def test_help_loads_click_and_none_of_the_heavy_packages() -> None:
    code = (
        "import sys, json\n"
        "sys.argv = ['orchestrator', '--help']\n"
        "from orchestrator.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert end.code == 0, end.code\n"
        "print(json.dumps(sorted(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stderr))
    assert "Commands:" in done.stdout
    assert "click" in loaded
    assert not loaded & set(HEAVY)
    ours = {name for name in loaded if name.startswith("orchestrator")}
    assert ours == {
        "orchestrator",
        "orchestrator.cli",
        "orchestrator.cli.app",
        "orchestrator.cli.streams",
        "orchestrator.errors",
        "orchestrator.visible",
    }


@pytest.mark.parametrize("path", COMMAND_TREE)
def test_every_command_has_help_and_one_example_that_starts_like_it(path: str) -> None:
    command = COMMAND_TREE[path]
    assert command.help and command.help.strip().endswith((".", "!"))
    assert command.epilog is not None
    assert command.epilog.startswith(f"Example: {path}")


@pytest.mark.parametrize("path", COMMAND_TREE)
def test_every_option_that_is_not_plain_from_its_neighbour_has_help(path: str) -> None:
    plain = {"top_p", "top_k", "min_p"}
    for option in COMMAND_TREE[path].params:
        if isinstance(option, click.Option) and option.name not in plain:
            assert option.help, option.name


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_of_commands_says_what_their_help_says(name: str) -> None:
    help = COMMAND_TREE[f"orchestrator {name}"].help
    assert help is not None
    assert COMMANDS[name][1].rstrip(".") in help.splitlines()[0].replace("\n", " ")


@pytest.mark.parametrize("path", [path for path, command in COMMAND_TREE.items() if isinstance(command, click.Group)])
def test_a_group_without_a_command_prints_its_help_page(path: str) -> None:
    runner = CliRunner()
    bare, asked = (runner.invoke(app, [*path.split()[1:], *more], prog_name="orchestrator") for more in ([], ["-h"]))
    assert (bare.exit_code, bare.stdout) == (2, "")
    assert bare.stderr == asked.stdout and bare.stderr.startswith(f"Usage: {path} [OPTIONS] COMMAND")
