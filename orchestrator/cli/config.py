"""`orchestrator config`: what will run, and whether it can."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.source import config_flag

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.config import RunConfig
    from orchestrator.engines.serving import Serving

__all__ = ["config"]


@click.group(epilog="Example: orchestrator config validate --config mine.toml")
def config() -> None:
    """Show or check the configuration."""


@config.command(epilog="Example: orchestrator config show --json")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@config_flag
def show(as_json: bool, **given: Any) -> None:
    """Print what will run as TOML: the file with every default filled in. Keys are never shown."""
    from orchestrator.cli.source import loaded_config
    from orchestrator.cli.streams import say, say_json
    from orchestrator.cli.toml import lines

    loaded = loaded_config(given)
    router, said = _calibrated(loaded)
    tables = _tables(loaded, router)
    if as_json:
        say_json({"file": str(loaded.file) if loaded.file else None, "calibration": said, **tables})
        return
    say(f"# {loaded.file or 'no file: defaults only'}")
    if said is not None:
        say(f"# router {said}")
    say("\n".join(lines(tables)))


def _calibrated(loaded: RunConfig) -> tuple[Any, str | None]:
    """Return the router as it will run, and what its threshold was chosen by; None for one without a threshold."""
    from orchestrator.cli.source import calibration_of
    from orchestrator.runtime.build import router_of
    from orchestrator.runtime.marks import UNCALIBRATED

    if (calibration := calibration_of(loaded)) is not None:
        return calibration.laid_over(router_of(loaded.router)), str(calibration)
    return loaded.router, UNCALIBRATED if hasattr(loaded.router, "threshold") else None


def _tables(loaded: RunConfig, router: Any) -> dict[str, Any]:
    from dataclasses import asdict

    from orchestrator.modes import MODES
    from orchestrator.modes.fixed import REFUSE
    from orchestrator.monitors import MONITORS
    from orchestrator.routers import ROUTERS
    from orchestrator.types import Mode

    engines = {}
    for name, spec in loaded.engines.items():
        options = {**asdict(spec), **asdict(spec.sampling), "api_key": loaded.shown_keys.get(name)}
        if spec.serving is not None:
            options["serve"] = {**options["serving"], "speculation": _speculation(spec.serving)}
        engines[name] = _without_none({key: options[key] for key in options if key not in ("sampling", "serving")})
    mode, fallback = loaded.mode, loaded.fallback
    tables = {
        "schema_version": 1,
        "mode": mode.name if isinstance(mode, Mode) else None if mode is None else _policy(mode, MODES),
        "fallback": None if mode is None else getattr(fallback, "name", fallback or REFUSE),
        "engines": engines,
        "router": {**_policy(router, ROUTERS), "calibration": loaded.calibration},
        "monitors": {str(place): _policy(each, MONITORS) for place, each in enumerate(loaded.monitors, 1)},
        "tools": {name: _tool(tool) for name, tool in loaded.tools.items()},
        "budget": asdict(loaded.budget),
        "recall": asdict(loaded.recall),
        "embedding": _embedding(loaded),
        "run": asdict(loaded.run),
    }
    shown = loaded.shown({name: _without_none(table) for name, table in tables.items() if table is not None})
    return {**shown, "monitors": list(shown["monitors"].values())}


def _embedding(loaded: RunConfig) -> dict[str, Any] | None:
    from dataclasses import asdict

    spec = loaded.embedding
    return None if spec is None else {**asdict(spec), "api_key": loaded.shown_embedding_key}


def _policy(policy: Any, registered: Mapping[str, str]) -> dict[str, Any]:
    """Return the table that describes a policy: its name and every option."""
    target = f"{type(policy).__module__}:{type(policy).__qualname__}"
    name = {target: name for name, target in registered.items()}.get(target, target)
    described = getattr(policy, "__dataclass_fields__", {})
    return {"name": name} | {
        name: getattr(policy, name) for name, of in described.items() if of.metadata.get("is_option", True)
    }


def _tool(tool: Any) -> dict[str, Any]:
    """Return the options that a tool was made with, where its class has any."""
    from inspect import signature

    return {name: getattr(tool, name) for name in signature(type(tool)).parameters if hasattr(tool, name)}


def _speculation(serving: Serving) -> dict[str, Any]:
    from dataclasses import asdict

    profile = serving.speculation
    return {"method": "none"} if profile is None else {"method": profile.method, **asdict(profile)}


def _without_none(table: Any) -> Any:
    if not isinstance(table, dict):
        return table
    return {key: _without_none(value) for key, value in table.items() if value is not None and value != {}}


@config.command(epilog="Example: orchestrator config validate --config mine.toml")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@config_flag
def validate(as_json: bool, **given: Any) -> None:
    """Check the file without contacting any engine; prints what it describes.

    A router that `orchestrator run` would refuse until it is calibrated gets a warning on stderr, and so does what is
    said of recalling and has no effect.
    """
    from orchestrator.cli.idle import idle
    from orchestrator.cli.source import calibration_of, loaded_config
    from orchestrator.cli.streams import note, say, say_json
    from orchestrator.config import FILE_NAME
    from orchestrator.errors import BadConfig, UserError
    from orchestrator.runtime.calibration import uncalibrated
    from orchestrator.runtime.pipeline import Pipeline

    loaded = loaded_config(given)
    if loaded.file is None:
        raise BadConfig(f"there is no {FILE_NAME} here: `orchestrator init` writes one")
    try:
        made = Pipeline(**{**loaded.pipeline_options(), "calibration": calibration_of(loaded)})
    except UserError as error:
        raise BadConfig(f"{loaded.file}: {error}") from error
    if refusal := uncalibrated(made.router, made.calibration):
        note(f"warning: it will not run yet: {refusal}")
    for vain in idle(made):
        note(f"warning: {vain}")
    described = _described(loaded)
    if as_json:
        say_json({"file": str(loaded.file), **described})
        return
    told = {key: value if isinstance(value, str) else ", ".join(value) for key, value in described.items() if value}
    say(f"{loaded.file} is valid: {'; '.join(f'{key} {value}' for key, value in told.items())}")


def _described(loaded: RunConfig) -> dict[str, Any]:
    from orchestrator.runtime.identity import policy_of
    from orchestrator.types import Mode

    mode = loaded.mode
    return {
        "engines": list(loaded.engines),
        "router": type(loaded.router).__name__,
        "mode": mode.name if isinstance(mode, Mode) else None if mode is None else policy_of(mode).name,
        "monitors": [policy_of(each).name for each in loaded.monitors],
        "tools": list(loaded.tools),
    }
