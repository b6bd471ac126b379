"""The command itself: its table of subcommands, loaded when they are used, and the edge where errors become lines."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from traceback import walk_tb
from typing import Any

import click

from orchestrator.cli.streams import Unwritable, abandon, fail, note, prepare, printing
from orchestrator.errors import (
    EngineError,
    EngineRejected,
    LimitExceeded,
    OrchestratorError,
    StoreError,
    UserError,
)

__all__ = ["COMMANDS", "LazyGroup", "app"]

COMMANDS = {
    "run": ("orchestrator.cli.run:run", "Run a question or a file of tasks."),
    "trace": ("orchestrator.cli.trace:trace", "Show what runs did, step by step."),
    "db": (
        "orchestrator.cli.db:db",
        "Look after the journal's file: how big it is, whether it is sound, a copy, its space back.",
    ),
    "export": ("orchestrator.cli.exports:export", "Make training data of stored runs."),
    "reward": ("orchestrator.cli.reward:reward", "Say afterwards what a run was worth."),
    "second-attempt": (
        "orchestrator.cli.second_attempt:second_attempt",
        "Answer the question of a stored run a second time.",
    ),
    "bench": ("orchestrator.cli.bench:bench", "Compare policies on tasks with known answers."),
    "calibrate": ("orchestrator.cli.calibrate:calibrate", "Choose a router's threshold on your own tasks."),
    "calibrate-exits": (
        "orchestrator.cli.calibrate_exits:calibrate_exits",
        "Find out on your own tasks where thoughts can be ended early.",
    ),
    "collect": ("orchestrator.cli.collect:collect", "Let both engines write every step."),
    "train-router": ("orchestrator.cli.train_router:train_router", "Fit a router on collected steps."),
    "train-monitor": ("orchestrator.cli.train_monitor:train_monitor", "Fit a monitor on stored runs."),
    "export-router-data": (
        "orchestrator.cli.export_router_data:export_router_data",
        "Write collected steps as the published router learns from them.",
    ),
    "handbook": ("orchestrator.cli.handbook:handbook", "See, change and learn behaviors."),
    "engines": ("orchestrator.cli.engines:engines", "Start, watch and end model servers."),
    "config": ("orchestrator.cli.config:config", "Show or check the configuration."),
    "init": ("orchestrator.cli.init:init", "Write a configuration to start from."),
    "doctor": ("orchestrator.cli.doctor:doctor", "Check that everything a run needs is there."),
}
"""Name -> where it lives and the line it has in `--help`."""

INTERRUPTED = 130


class LazyGroup(click.Group):
    """A group that imports a command when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])

    def main(self, args: Sequence[str] | None = None, *rest: Any, **options: Any) -> Any:
        """Run, and exit with a code that means something."""
        arguments = list(sys.argv[1:] if args is None else args)
        options["standalone_mode"] = False
        prepare()
        sys.exit(_exit_code(lambda: super(LazyGroup, self).main(arguments, *rest, obj=arguments, **options)))


def _exit_code(command: Callable[[], Any]) -> int:
    try:
        code = command()
        if sys.stdout is not None:  # it may have been closed before we began
            with printing():
                sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except BrokenPipeError:
        # Whoever read our output went away; nothing may be written at exit either.
        abandon(sys.stdout)
        return 1
    except click.Abort:
        return INTERRUPTED
    except click.ClickException as error:
        return _misused(error)
    except OrchestratorError as error:
        fail(str(error))
        return code_of(error)
    except OSError as error:
        return _unwritable(error) if _is_from_echo(error) else _bug(error)
    except Exception as error:
        return _bug(error)


def _misused(error: click.ClickException) -> int:
    if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):  # since click 8.2
        note(error.format_message())
        return 2
    ctx = getattr(error, "ctx", None)
    fail(error.format_message() + (f" (try `{ctx.command_path} --help`)" if ctx else ""))
    return 2


def code_of(error: OrchestratorError) -> int:
    """Return the exit code for `error`; a request that a server understood and refused is the caller's to mend."""
    if isinstance(error, UserError | StoreError | EngineRejected):
        return 2
    if isinstance(error, EngineError):
        return 3
    return 4 if isinstance(error, LimitExceeded) else 1


def _is_from_echo(error: OSError) -> bool:
    """Return whether click could not print a help page or a version: what else is printed has its own guard."""
    return any(frame.f_code is click.echo.__code__ for frame, _ in walk_tb(error.__traceback__))


def _unwritable(error: OSError) -> int:
    abandon(sys.stdout)
    fail(str(Unwritable("to stdout", error)))
    return 2


def _bug(error: Exception) -> int:
    from orchestrator.cli.blame import described, is_theirs
    from orchestrator.config import is_debug

    if is_debug():
        raise error
    whose = "" if is_theirs(error) else "this is a bug: "
    fail(f"{described(error)}; {whose}run again with ORCHESTRATOR_DEBUG=1 for the traceback")
    return 1


@click.command(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    epilog='Example: orchestrator run "What is 38*4 - 98*6?" --small http://127.0.0.1:8001 --large http://127.0.0.1:8002',
)
@click.version_option(package_name="reasoning-orchestrator", prog_name="orchestrator")
def app() -> None:
    """Spend large-model tokens only on the reasoning steps that need them, and be able to prove it.

    Results go to stdout, everything else to stderr. Exit codes: 0 ok, 1 a task failed, 2 mend the
    command, the config or the input, 3 an engine is unavailable, 4 a budget ran out.
    """
