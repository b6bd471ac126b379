"""`orchestrator config`: what will run, and whether it can."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.source import config_flag

if TYPE_CHECKING:
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
    from orchestrator.runtime.calibration import UNCALIBRATED

    if (calibration := calibration_of(loaded)) is not None:
        return calibration.laid_over(router_of(loaded.router)), str(calibration)
    return loaded.router, UNCALIBRATED if hasattr(loaded.router, "threshold") else None


def _tables(loaded: RunConfig, router: Any) -> dict[str, Any]:
    from dataclasses import asdict

    from orchestrator.routers import ROUTERS

    engines = {}
    for name, spec in loaded.engines.items():
        options = {**asdict(spec), **asdict(spec.sampling), "api_key": loaded.shown_keys.get(name)}
        if spec.serving is not None:
            options["serve"] = {**options["serving"], "speculation": _speculation(spec.serving)}
        engines[name] = _without_none({key: options[key] for key in options if key not in ("sampling", "serving")})
    target = f"{type(router).__module__}:{type(router).__qualname__}"
    name = {target: name for name, target in ROUTERS.items()}.get(target, target)
    described = getattr(router, "__dataclass_fields__", {})
    options = {name: getattr(router, name) for name, of in described.items() if of.metadata.get("is_option", True)}
    tables = {
        "schema_version": 1,
        "engines": engines,
        "router": _without_none({"name": name, "calibration": loaded.calibration, **options}),
        "budget": _without_none(asdict(loaded.budget)),
        "run": _without_none(asdict(loaded.run)),
    }
    return loaded.shown(tables)


def _speculation(serving: Serving) -> dict[str, Any]:
    from dataclasses import asdict

    profile = serving.speculation
    return {"method": "none"} if profile is None else {"method": profile.method, **asdict(profile)}


def _without_none(table: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _without_none(value) if isinstance(value, dict) else value
        for key, value in table.items()
        if value is not None and value != {}
    }


@config.command(epilog="Example: orchestrator config validate --config mine.toml")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@config_flag
def validate(as_json: bool, **given: Any) -> None:
    """Check the file without contacting any engine; prints what it describes.

    A router that `orchestrator run` would refuse until it is calibrated gets a warning on stderr.
    """
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
    router = type(loaded.router).__name__
    if as_json:
        say_json({"file": str(loaded.file), "engines": list(loaded.engines), "router": router})
        return
    say(f"{loaded.file} is valid: engines {', '.join(loaded.engines)}; router {router}")
