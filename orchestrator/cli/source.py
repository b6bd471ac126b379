"""The flags that say what runs, and the pipeline they describe."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from orchestrator.document import strict_json
from orchestrator.errors import OrchestratorError, UserError

if TYPE_CHECKING:
    from orchestrator.config import RunConfig
    from orchestrator.runtime.calibration import Calibration
    from orchestrator.runtime.pipeline import Pipeline

__all__ = [
    "Source",
    "agent_flags",
    "calibration_of",
    "config_flag",
    "db_flag",
    "engine_flags",
    "load_object",
    "loaded_config",
    "mode_flag",
    "named_of",
    "open_source",
    "option_of",
    "router_flags",
    "run_flags",
]

_PLACES = {
    "router": ("router", "name"),
    "threshold": ("router", "threshold"),
    "large_share": ("router", "large_share"),
    "calibration": ("router", "calibration"),
    "temperature": ("sampling", "temperature"),
    "top_p": ("sampling", "top_p"),
    "top_k": ("sampling", "top_k"),
    "min_p": ("sampling", "min_p"),
    "max_tokens": ("sampling", "max_tokens"),
    "budget_tokens": ("budget", "tokens"),
    "budget_prompt_tokens": ("budget", "prompt_tokens"),
    "budget_seconds": ("budget", "seconds"),
    "budget_cost": ("budget", "cost"),
    "budget_steps": ("budget", "steps"),
    "seed": ("run", "seed"),
    "granularity": ("run", "granularity"),
    "overlap": ("run", "overlap"),
    "hedge": ("run", "hedge"),
    "db": ("run", "db"),
    "handbook": ("run", "handbook"),
    "concurrency": ("run", "concurrency"),
    "counterfactuals": ("run", "counterfactuals"),
    "allow_langsmith": ("run", "allow_langsmith"),
}
"""Flag -> its place in the tables of the configuration."""
_REPEATED = ("router_option", "monitor", "tool")
_WITH_PIPELINE = ("concurrency", "db")
_NEXT_OPTION = re.compile(r",(?=\s*\w+\s*=)")
"""A comma between two options; one in a list is none."""

Decorator = Callable[[Any], Any]


class Source(NamedTuple):
    """What runs."""

    pipeline: Pipeline
    concurrency: int


def _all(*decorators: Decorator) -> Decorator:
    def decorated(command: Any) -> Any:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorated


config_flag = click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Configuration; orchestrator.toml of the working directory unless given.",
)
db_flag = click.option("--db", metavar="FILE", help="The journal's file; the config's or the user's own unless given.")

engine_flags = _all(
    config_flag,
    click.option("--pipeline", metavar="TARGET", help="A Pipeline in Python: file.py:object or package.module:object."),
    click.option("--small", metavar="URL[#MODEL]", help="Server of the cheap engine; its kind is found out."),
    click.option("--large", metavar="URL[#MODEL]", help="Server of the capable engine."),
    db_flag,
)

router_flags = _all(
    click.option("--router", metavar="NAME", help="Who writes the next step: small, large, random, specreason, ..."),
    click.option("--threshold", type=float, help="Router option: rating a draft needs."),
    click.option("--large-share", type=float, help="Router option: share of steps for the large engine."),
    click.option("--calibration", metavar="FILE", help="Of `orchestrator calibrate`: sets the router's threshold."),
    click.option("--router-option", multiple=True, metavar="KEY=VALUE", help="Any router option; may be repeated."),
    click.option("--seed", type=int, help="Every draw follows from it."),
)

mode_flag = click.option("--mode", metavar="MODE", help="How much to think: no_think, think(512), auto, ...")
agent_flags = _all(
    mode_flag,
    click.option(
        "--monitor",
        multiple=True,
        metavar="NAME[:KEY=VALUE,...]",
        help="Watches how runs go, as stuck:repeats=2; may be repeated, and replaces the config's.",
    ),
    click.option(
        "--tool",
        multiple=True,
        metavar="NAME[:KEY=VALUE,...]",
        help="Engines may call it, as calculator:name=calc; may be repeated, and replaces the config's.",
    ),
)

run_flags = _all(
    click.option("--temperature", type=float, help="Of every engine; so the next four."),
    click.option("--top-p", type=float),
    click.option("--top-k", type=int),
    click.option("--min-p", type=float),
    click.option("--max-tokens", type=int, help="Tokens of one step."),
    click.option("--budget-tokens", type=int, help="Output tokens of a task, judge and discarded drafts included."),
    click.option("--budget-prompt-tokens", type=int, help="Prompt tokens of a task."),
    click.option("--budget-seconds", type=float, help="Wall time of a task."),
    click.option("--budget-cost", type=float, help="In the unit of the config's prices."),
    click.option("--budget-steps", type=int, help="Kept steps of a task."),
    click.option("--granularity", metavar="NAME", help="steps: a graph node per engine; fused: one node, faster."),
    click.option("--overlap", type=int, metavar="N", help="Draft N steps ahead while a verdict is pending."),
    click.option("--hedge", type=float, metavar="P", help="Rewrite with the verdict if rejection is as likely as P."),
    click.option(
        "--handbook", metavar="FILE[#NAME]", help="Recall behaviors from it, and credit those that are cited."
    ),
    click.option("--concurrency", type=int, metavar="N", help="Tasks of a file that run side by side."),
    click.option("--counterfactuals", type=float, metavar="SHARE", help="Of steps: write the other engine's, too."),
    click.option("--allow-langsmith", is_flag=True, default=None, help="Let LangSmith trace, if it is set up."),
)


def loaded_config(given: Mapping[str, Any], engines: Mapping[str, Any] | None = None) -> RunConfig:
    """Return the configuration with the flags laid over it."""
    from orchestrator.config import load

    flags: dict[str, dict[str, Any]] = {"engines": dict(engines)} if engines else {}
    for flag, (section, key) in _PLACES.items():
        if given.get(flag) is not None:
            flags.setdefault(section, {})[key] = given[flag]
    for option in given.get("router_option", ()):
        key, value = option_of(option)
        flags.setdefault("router", {})[key] = value
    return load(given.get("config"), {**flags, **_agent(given)})


def _agent(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tables of the flags for mode, monitors and tools, as the configuration takes them."""
    watching, tools = ([named_of(text, flag) for text in given.get(flag[2:], ())] for flag in ("--monitor", "--tool"))
    for name, options in watching:
        if "name" in options:
            raise UserError(f"--monitor {name}: its name stands before the colon, and it takes no other")
    if twice := next((name for place, (name, _) in enumerate(tools) if name in dict(tools[:place])), None):
        raise UserError(f"--tool {twice} is given twice: give it once")
    tables: dict[str, Any] = {
        "mode": given.get("mode"),
        "monitors": {str(place): {"name": name, **options} for place, (name, options) in enumerate(watching, 1)},
        "tools": dict(tools),
    }
    return {name: table for name, table in tables.items() if table not in (None, {})}


def named_of(text: str, flag: str) -> tuple[str, dict[str, Any]]:
    """Return the name and the options of `NAME[:KEY=VALUE,...]`. Raises UserError for what is none."""
    name, colon, options = text.partition(":")
    if not name.strip() or (colon and not options.strip()):
        raise UserError(f"{flag} {text!r}: write it as NAME or NAME:key=value,key=value")
    given = [option_of(each, flag) for each in _NEXT_OPTION.split(options)] if colon else []
    if len(dict(given)) < len(given):
        raise UserError(f"{flag} {text!r}: each option may be given once")
    return name.strip(), dict(given)


def option_of(text: str, flag: str = "--router-option") -> tuple[str, Any]:
    """Return the key and the value of `KEY=VALUE`. Raises UserError for what is none, which calls it `flag`."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UserError(f"{flag} {text!r}: write it as key=value")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), _table_of(value)


def _table_of(text: str) -> Any:
    """Return the object that is written as JSON has it, which TOML does not know; a plain word as it is."""
    try:
        return strict_json(text) if text.lstrip().startswith("{") else text
    except (ValueError, RecursionError):
        return text


async def open_source(given: Mapping[str, Any]) -> Source:
    """Return the pipeline that the flags describe. Raises UserError, or EngineError while a server is looked at."""
    if given["pipeline"]:
        return Source(_python_pipeline(given), _concurrency(given))
    servers = {name: _server(given[name]) for name in ("small", "large") if given[name]}
    # Flags are checked before any server is asked, whatever kind it will turn out to be.
    loaded_config(given, {name: {"kind": "chat", **server} for name, server in servers.items()})
    config = loaded_config(given, {name: await _with_kind(name, server) for name, server in servers.items()})
    if config.is_pocket and not given.get("quiet"):
        from orchestrator.cli.streams import note

        where, mend = (f" in {config.file}", "[engines] there") if config.file else ("", "an orchestrator.toml")
        note(
            f"no engines named{where}: the pocket pair, two tiny models that know arithmetic and little else; "
            f"give --small URL and --large URL, --pipeline file.py:object, or {mend} for your own"
        )
    from orchestrator.runtime.pipeline import Pipeline

    return Source(
        Pipeline(**{**config.pipeline_options(), "calibration": calibration_of(config)}), config.run.concurrency
    )


def calibration_of(config: RunConfig) -> Calibration | None:
    """Return the calibration that a configuration names, None for none.

    Raises BadConfig for a bad file, or where an option is given that it fixes otherwise, be it the default.
    """
    from orchestrator.runtime.calibration import read

    if config.calibration is None:
        return None
    calibration = read(config.calibration)
    calibration.check_given(config.router, config.router_options)
    return calibration


def _server(address: str) -> dict[str, Any]:
    url, _, served = address.partition("#")
    return {"url": url, "model": served} if served else {"url": url}


async def _with_kind(name: str, server: dict[str, Any]) -> dict[str, Any]:
    from orchestrator.engines.detect import detect

    kind, url = await detect(name, server["url"]), server["url"].strip().rstrip("/")
    if kind == "chat" and not url.endswith("/v1"):
        url += "/v1"  # where it was recognised, and where its other endpoints are
    return {**server, "kind": kind, "url": url}


def _concurrency(given: Mapping[str, Any]) -> int:
    from orchestrator.config import RunOptions

    wanted = given.get("concurrency")
    return RunOptions().concurrency if wanted is None else RunOptions(concurrency=wanted).concurrency


# ---- a pipeline written in Python


def _python_pipeline(given: Mapping[str, Any]) -> Pipeline:
    placed = (name for name in _PLACES if name not in _WITH_PIPELINE)
    others = [*placed, "config", "small", "large", "mode", *_REPEATED]
    clash = next((name for name in others if given.get(name) not in (None, ())), None)
    if clash:
        flag = "--" + clash.replace("_", "-")
        raise UserError(f"--pipeline brings its own engines and options: leave out {flag}, or set it in the file")
    from orchestrator.runtime.pipeline import Pipeline

    target = given["pipeline"]
    found = load_object(target, "--pipeline", Pipeline)
    made = found
    if not isinstance(found, Pipeline) and callable(found):
        made = _guarded("--pipeline", target, found)
    if not isinstance(made, Pipeline):
        raise UserError(
            f"--pipeline {target}: it is a {type(made).__name__}, not a Pipeline or a function that gives one"
        )
    if given.get("db"):
        made.db = given["db"]
    return made


def load_object(target: str, flag: str, wanted: type[Any]) -> Any:
    """Return what `target`, file.py:object or package.module:object, names. Raises UserError, which calls it `flag`.

    Where the module lacks the name, its objects of the type `wanted` are listed.
    """
    place, colon, name = target.rpartition(":")
    if not colon or not place or not name:
        raise UserError(f"{flag} {target!r}: write it as file.py:object or package.module:object")
    module = _guarded(flag, target, lambda: _from_file(Path(place)) if place.endswith(".py") else _from_package(place))
    if not hasattr(module, name):
        near = [each for each, value in vars(module).items() if isinstance(value, wanted)]
        hint = f"; it has {', '.join(near)}" if near else ""
        raise UserError(f"{flag} {target}: {place} has no {name!r}{hint}")
    return getattr(module, name)


def _guarded(flag: str, target: str, make: Callable[[], Any]) -> Any:
    try:
        return make()
    except OrchestratorError as error:
        raise UserError(f"{flag} {target}: {error}") from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        # Someone's file is at work here: whatever it raises, SystemExit included, is theirs to mend.
        from orchestrator.cli.blame import described
        from orchestrator.config import is_debug

        if is_debug() and isinstance(error, Exception):
            raise
        raise UserError(f"{flag} {target}: {described(error)}") from error


def _from_file(file: Path) -> ModuleType:
    if not file.is_file():
        raise UserError(f"there is no file {file}")
    sys.path.insert(0, str(file.resolve().parent))  # so that it can import what lies beside it, as a script can
    name = f"pipeline_{file.stem}"  # that hides no module
    loader = _AsItIs(name, str(file))
    spec = spec_from_file_location(name, file, loader=loader)
    assert spec is not None
    module = module_from_spec(spec)
    sys.modules[name] = module
    loader.exec_module(module)
    return module


class _AsItIs(SourceFileLoader):
    """Reads a file as it is now: compiled code of a moment ago looks as new, as its time is kept in whole seconds."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        code: CodeType = self.source_to_code(self.get_data(path), path)
        return code


def _from_package(name: str) -> ModuleType:
    sys.path.insert(0, "")
    return import_module(name)
