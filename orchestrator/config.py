"""One TOML file plus flags, validated once; and the only place that reads the environment.

    schema_version = 1

    [engines.small]                      # cheapest first; the last engine is the most capable
    kind = "vllm"
    url = "http://127.0.0.1:8001/v1"
    api_key = "${SMALL_KEY}"             # any string may name environment variables

    [router]
    name = "specreason"
    threshold = 7
    # calibration = "calibration.json"   # of `orchestrator calibrate`, in the place of a threshold

    [[monitors]]                         # these, `mode` and [tools]: policies.py
    name = "stuck"

    [budget]
    tokens = 16384

    [run]
    concurrency = 8

Unknown keys and wrong types are errors that name the file, the key and what would have worked. A
relative `path`, `db`, `file` or `calibration` is relative to the file, and so are `model` and `python` of a
table `serve` where they begin with a dot. Flags are a table of the same shape, laid over the file's; `sampling`
in it holds options for every engine, and a flag's monitors have their place in the list, from 1, as keys.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from orchestrator import engines as engine_room
from orchestrator import registry
from orchestrator.engines.embedding import EmbeddingSpec
from orchestrator.engines.minilm import NAME as MINILM
from orchestrator.engines.pocket import BUNDLED, pocket_pair
from orchestrator.engines.serving import Serving
from orchestrator.engines.spec import (
    POOLING,
    BehaviorPrompt,
    EngineSpec,
    JudgePrompt,
    ProbePrompt,
    ToolPrompt,
    VerdictPrompt,
)
from orchestrator.engines.speculation.profiles import NGram, Profile, profile_class
from orchestrator.errors import BadConfig, UserError
from orchestrator.handbook.recall import Recall
from orchestrator.ledger import Price
from orchestrator.memory.store import default_db
from orchestrator.modes.fixed import AS_IT_IS
from orchestrator.policies import (
    fallback_in,
    mode_in,
    monitor,
    monitor_file,
    monitors_in,
    router,
    router_file,
    router_in,
    tools_in,
)
from orchestrator.tables import VARIABLE, Origin, beside, built, checked, expanded, unfilled
from orchestrator.types import Budget, Overlap, Sampling

__all__ = [
    "FILE_NAME",
    "RunConfig",
    "RunOptions",
    "default_db",
    "engines_folder",
    "is_debug",
    "load",
    "monitor",
    "monitor_file",
    "router",
    "router_file",
]

FILE_NAME = "orchestrator.toml"
"""Read from the working directory where nobody named a file."""
SCHEMA_VERSION = 1

_KEYS = (
    *("schema_version", "engines", "router", "mode", "fallback", "monitors", "tools", "budget", "recall", "embedding"),
    "run",
)
_MAX_BYTES = 1 << 20
_AT = re.compile(r" \(at line (\d+), column (\d+)\)$")
_PROMPTS = {"verdict": VerdictPrompt, "tools": ToolPrompt, "behaviors": BehaviorPrompt, "probe": ProbePrompt}
"""Tables of an engine that say in which words it is asked."""
_NEEDED = {"vllm": "url", POOLING: "url", "llamacpp": "url", "chat": "url", "embedded": "path"}
_NOT_PASSED_ON = ("concurrency", "overlap", "hedge")
"""Options of `[run]` that a Pipeline does not take by these names."""
_DEFAULT_TOKENS = 16384


def engines_folder() -> Path:
    """Return where the servers that are started here have their logs and records."""
    return default_db().parent / "engines"


def is_debug() -> bool:
    """Return whether ORCHESTRATOR_DEBUG asks for tracebacks."""
    return os.environ.get("ORCHESTRATOR_DEBUG", "") not in ("", "0")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The table `[run]`: how runs go, whoever writes them."""

    delimiter: str = "\n\n"
    """Ends a step."""
    think: bool | None = None
    """Switches a chat template that can think or not; None leaves its default."""
    seed: int = 0
    answer: str | list[str] = field(default_factory=lambda: ["boxed", "marked", "after_think"])
    """Extractors, tried in order: boxed, marked, after_think, regex:PATTERN."""
    stop_on_answer: bool = True
    granularity: Literal["steps", "fused"] = "steps"
    overlap: int = 0
    """Steps drafted ahead while a verdict is pending; Overlap's `ahead`."""
    hedge: float | None = None
    """Chance of a rejection from which on a rewrite begins together with the verdict; Overlap's `hedge`."""
    failover: bool = True
    """Another engine takes over for one that fails."""
    experience: str = ""
    """Names what a router that learns has learned; another name starts afresh."""
    db: str | None = None
    """The journal's file; None for the user's own."""
    handbook: str | None = None
    """The file whose behaviors runs recall; None for none."""
    durability: Literal["process", "power"] = "process"
    concurrency: int = 8
    """Tasks of a file that run side by side."""
    allow_langsmith: bool = False
    counterfactuals: float = 0.0
    """Share of steps at which the other engine's step is written as well, scored and thrown away."""

    def __post_init__(self) -> None:
        if self.concurrency < 1:
            raise UserError(f"concurrency = {self.concurrency!r} must be at least 1")
        if not 0 <= self.counterfactuals <= 1:
            raise UserError(f"counterfactuals = {self.counterfactuals!r} is not in [0, 1]")
        if not self.delimiter:
            raise UserError("delimiter is empty: a step has to end somewhere")
        if self.db == "":
            raise UserError("db is empty: name a file, or leave it out")
        Overlap(ahead=self.overlap, hedge=self.hedge)  # which checks them


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """What will run: the runtime's own values, checked."""

    engines: Mapping[str, EngineSpec]
    """Cheapest first; the pocket pair where none is named."""
    router: Any
    """A policy, its options set."""
    calibration: str | None
    """File of the calibration that sets its threshold, or None."""
    router_options: frozenset[str]
    """Options of the router that somebody gave, by name; the others are defaults."""
    mode: Any
    """A Mode, or a policy that chooses one; None leaves every engine to its own switch."""
    fallback: Any
    """As a Pipeline takes it."""
    monitors: tuple[Any, ...]
    """Their options set and their files read."""
    tools: Mapping[str, Any]
    """By the names they are registered by."""
    budget: Budget
    recall: Recall
    embedding: EmbeddingSpec | None
    """What finds behaviors by their meaning; None where they are recalled by words only."""
    run: RunOptions
    file: Path | None
    """Where it came from; None if everything is default or flag."""
    shown_keys: Mapping[str, str]
    """Engines that have an api_key, and what may be shown of it."""
    shown_embedding_key: str | None
    """The same of the embedding's."""
    as_written: Mapping[str, Any] = field(repr=False)
    """The file's tables under the flags, environment variables not filled in."""

    @property
    def is_pocket(self) -> bool:
        """Return whether nobody named an engine."""
        return not self.as_written["engines"]

    def shown(self, tables: Mapping[str, Any]) -> dict[str, Any]:
        """Return `tables`, shaped like the file, with what came from the environment as it was written: `${NAME}`."""
        return unfilled(tables, self.as_written)

    def pipeline_options(self) -> dict[str, Any]:
        """Return the arguments of the Pipeline this describes."""
        return {
            "engines": self.engines,
            "router": self.router,
            "calibration": self.calibration,
            "mode": self.mode,
            "fallback": self.fallback,
            "monitors": self.monitors,
            "tools": tuple(self.tools.values()),
            "budget": self.budget,
            "recall": self.recall,
            "embedding": self.embedding,
            "overlap": Overlap(ahead=self.run.overlap, hedge=self.run.hedge),
            **{name: getattr(self.run, name) for name in RunOptions.__slots__ if name not in _NOT_PASSED_ON},
        }


def load(path: Path | None = None, flags: Mapping[str, Any] | None = None) -> RunConfig:
    """Return the configuration of the file at `path`, or of FILE_NAME if it exists, with `flags` laid over it.

    Raises BadConfig naming the file and the key.
    """
    file = path or (Path(FILE_NAME) if Path(FILE_NAME).exists() else None)
    raw = _numbered(_read(file), str(file)) if file else {}
    written = _substituted(raw, Origin(str(file), {}), ())
    origin = Origin(str(file or FILE_NAME), flags or {})
    origin.check_keys(written, _KEYS)
    version = written.get("schema_version", SCHEMA_VERSION)
    if type(version) is not int or version != SCHEMA_VERSION:
        raise BadConfig(f"{file}: schema_version = {version!r}; this version of the program knows {SCHEMA_VERSION}")
    as_written = {
        "engines": _engine_tables(raw, origin.flags, origin),
        **{name: _laid_over(raw, origin, name) for name in ("router", "budget", "recall", "embedding", "run")},
        **_chosen(raw, origin),
    }
    origin = origin._replace(as_written=as_written)
    folder = file.parent if file else Path()
    engines = {
        name: _engine(table, origin, name, folder)
        for name, table in _engine_tables(written, origin.flags, origin).items()
    } or _pocket(origin)
    routing = _laid_over(written, origin, "router")
    calibration = _calibration(routing, origin, folder)
    chosen, embedding = _chosen(written, origin), _embedding(written, origin, folder)
    return RunConfig(
        engines=engines,
        router=router_in(routing, origin, folder),
        calibration=calibration,
        router_options=frozenset(routing) - {"name"},
        mode=mode_in(chosen.get("mode"), origin),
        fallback=fallback_in(chosen.get("fallback", AS_IT_IS), origin),
        monitors=monitors_in(chosen.get("monitors"), origin, folder),
        tools=tools_in(chosen.get("tools", {}), origin),
        budget=_budget(_laid_over(written, origin, "budget"), origin, engines),
        recall=built(Recall, _laid_over(written, origin, "recall"), origin, "recall"),
        embedding=embedding,
        run=_run(_laid_over(written, origin, "run"), origin, folder),
        file=file,
        shown_keys=_shown_keys(as_written["engines"], engines),
        shown_embedding_key=_shown_key(as_written["embedding"]) if embedding and embedding.api_key else None,
        as_written=as_written,
    )


# ---- reading


def _read(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as opened:
            data = opened.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            raise BadConfig(f"{file}: longer than {_MAX_BYTES >> 20} MiB; is this the right file?")
        return tomllib.loads(data.decode())
    except OSError as error:
        raise BadConfig(f"{file}: {error.strerror}; `orchestrator init` writes a file to start from") from error
    except UnicodeDecodeError as error:
        raise BadConfig(f"{file}: not UTF-8 text (byte {error.start})") from error
    except tomllib.TOMLDecodeError as error:
        where, what = f"{file}:{_last_line(data)}", str(error).removesuffix(" (at end of document)")
        if found := _AT.search(what):
            where, what = f"{file}:{found[1]}:{found[2]}", what[: found.start()]
        raise BadConfig(f"{where}: broken TOML: {what}") from error


def _numbered(tables: dict[str, Any], file: str) -> dict[str, Any]:
    """Return the tables with those of `[[monitors]]` under their place in the list, from 1: all else is a table."""
    if "monitors" not in tables:
        return tables
    if not isinstance(listed := tables["monitors"], list):
        raise BadConfig(f"{file}: monitors is not a list of tables: write [[monitors]], or monitors = [] for none")
    return {**tables, "monitors": {str(place): table for place, table in enumerate(listed, 1)}}


def _last_line(data: bytes) -> str:
    lines = data.decode().split("\n")
    return f"{len(lines)}:{len(lines[-1]) + 1}"


def _substituted(value: Any, origin: Origin, path: tuple[str, ...]) -> Any:
    if isinstance(value, dict):
        return {key: _substituted(item, origin, (*path, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [_substituted(item, origin, path) for item in value]
    if not isinstance(value, str):
        return value

    def variable(match: re.Match[str]) -> str:
        if match[1] not in os.environ:
            raise BadConfig(f"{origin.named(path)} needs the environment variable {match[1]}, which is not set")
        return os.environ[match[1]]

    return VARIABLE.sub(variable, value)


def _laid_over(written: Mapping[str, Any], origin: Origin, name: str) -> dict[str, Any]:
    """Return the section `name` with the flags laid over it; another router takes none of the old one's options."""
    table, flags = written.get(name, {}), origin.flags.get(name, {})
    if not isinstance(table, Mapping):
        origin.check_keys(table, (), name)
    if name == "router" and flags.get("name", table.get("name")) != table.get("name"):
        table = {}
    return {**table, **flags}


def _chosen(written: Mapping[str, Any], origin: Origin) -> dict[str, Any]:
    """Return what is said of mode, fallback, monitors and tools: a flag replaces what the file says.

    Tools that flags name have the options that the file gives to tools of these names, under the flags' own.
    """
    said = {key: written[key] for key in ("mode", "fallback", "monitors", "tools") if key in written}
    named = origin.flags.get("tools")
    if named is not None:
        tables = said.get("tools", {})
        origin.check_keys(tables, list(tables) if isinstance(tables, Mapping) else (), "tools")
        for name in named:
            if not isinstance(tables.get(name, {}), Mapping):
                origin.check_keys(tables[name], (), "tools", name)
        said["tools"] = {name: {**tables.get(name, {}), **options} for name, options in named.items()}
    return {**said, **{key: origin.flags[key] for key in ("mode", "monitors") if key in origin.flags}}


# ---- checking


def _engine_tables(written: Mapping[str, Any], flags: Mapping[str, Any], origin: Origin) -> dict[str, dict[str, Any]]:
    """Return the engines' tables in order; one that a flag names is replaced, or joins at its end of the row."""
    tables = written.get("engines", {})
    if not isinstance(tables, Mapping):
        origin.check_keys(tables, (), "engines")
    given = flags.get("engines", {})
    first = {name: table for name, table in given.items() if name == "small" and name not in tables}
    merged = {**first, **tables, **given}
    for name, table in merged.items():
        if not isinstance(table, Mapping):
            origin.check_keys(table, (), "engines", name)
    return {name: {**table, **flags.get("sampling", {})} for name, table in merged.items()}


def _engine(table: dict[str, Any], origin: Origin, name: str, folder: Path) -> EngineSpec:
    apart = ("sampling", "price", "judge", *_PROMPTS, "serving")
    own = [each.name for each in fields(EngineSpec) if each.name not in apart]
    sampling = [each.name for each in fields(Sampling)]
    origin.check_keys(table, [*own, *sampling, "price", "judge", *_PROMPTS, "serve"], "engines", name)
    kinds = registry.names("engines", engine_room.ENGINES)
    if (kind := table.get("kind")) not in kinds:
        said = f"kind = {origin.shown(('engines', name, 'kind'), kind)!r}" if "kind" in table else "no kind"
        raise BadConfig(f"{origin.named(('engines', name))}: {said}; known: {', '.join(kinds)}")
    if (needed := _NEEDED.get(kind)) and needed not in table:
        raise BadConfig(f"{origin.named(('engines', name))}: kind {kind!r} needs {needed}")
    values = {key: table[key] for key in own if key in table}
    if kind == POOLING:
        values.setdefault("writes", False)
    if isinstance(path := values.get("path"), str):
        values["path"] = _file(path, folder, origin, "engines", name, "path")
    place = ("engines", name)
    spec: EngineSpec = built(EngineSpec, values, origin, *place)
    if not spec.timeout_s > 0:
        raise BadConfig(f"{origin.named((*place, 'timeout_s'))} must be above 0, not {spec.timeout_s!r}")
    asked = table.get("judge", None if kind == POOLING else {})
    parts = {
        "sampling": built(Sampling, {key: table[key] for key in sampling if key in table}, origin, *place),
        "price": built(Price, table.get("price", {}), origin, *place, "price"),
        "judge": built(JudgePrompt, asked, origin, *place, "judge") if asked is not None else None,
        **{key: built(of, table[key], origin, *place, key) for key, of in _PROMPTS.items() if key in table},
        "serving": _serving(table["serve"], kind, origin, folder, *place, "serve") if "serve" in table else None,
    }
    try:
        return replace(spec, **parts)  # which checks what does not go together
    except BadConfig as error:
        raise BadConfig(f"{origin.named(place)}: {error}") from error


def _serving(table: Any, kind: str, origin: Origin, folder: Path, *path: str) -> Serving:
    origin.check_keys(table, [each.name for each in fields(Serving)], *path)
    unsaid = {"method": "none"} if kind == POOLING else {}
    drafting = _speculation(table.get("speculation", unsaid), origin, folder, *path, "speculation")
    options = {**table, "speculation": drafting}
    for key in ("model", "python"):
        if key in options:
            options[key] = _beside_file(options[key], folder, origin, *path, key)
    serving: Serving = built(Serving, options, origin, *path)
    return serving


def _speculation(table: Any, origin: Origin, folder: Path, *path: str) -> Profile | None:
    if not isinstance(table, Mapping):
        origin.check_keys(table, (), *path)
    options = dict(table)
    method = checked(str, options.pop("method", NGram.method), origin, *path, "method")
    if method == "none":
        origin.check_keys(table, ["method"], *path)
        return None
    try:
        profile = profile_class(method)
    except BadConfig as error:
        raise BadConfig(f"{origin.named((*path, 'method'))}: {error}") from error
    if "model" in options:
        options["model"] = _beside_file(options["model"], folder, origin, *path, "model")
    made: Profile = built(profile, options, origin, *path)
    return made


def _beside_file(name: Any, folder: Path, origin: Origin, *path: str) -> Any:
    """Return what names a file or folder by a leading dot or `~` as a whole path; any other name as it is."""
    if isinstance(name, str) and name.startswith(("./", "../", "~")):
        return str((folder / expanded(name, origin, *path)).absolute())
    return name


def _pocket(origin: Origin) -> dict[str, EngineSpec]:
    sampling = built(Sampling, origin.flags.get("sampling", {}), origin, "engines", "small")
    return {name: replace(spec, sampling=sampling) for name, spec in pocket_pair().items()}


def _file(name: str, folder: Path, origin: Origin, *path: str) -> str:
    return name if name in BUNDLED else beside(name, folder, origin, *path)


def _calibration(table: dict[str, Any], origin: Origin, folder: Path) -> str | None:
    """Take the file of a calibration out of the router's table."""
    if "calibration" not in table:
        return None
    named: str = checked(str, table.pop("calibration"), origin, "router", "calibration")
    if not named:
        raise BadConfig(f"{origin.named(('router', 'calibration'))} is empty: name a file, or leave it out")
    is_flag = "calibration" in origin.flags.get("router", {})
    return named if is_flag else _file(named, folder, origin, "router", "calibration")


def _budget(table: dict[str, Any], origin: Origin, engines: Mapping[str, EngineSpec]) -> Budget:
    table = {"tokens": _DEFAULT_TOKENS, **table}
    single = table.pop("engines", {})
    origin.check_keys(single, list(engines), "budget", "engines")
    of_engines = {name: built(Budget, limits, origin, "budget", "engines", name) for name, limits in single.items()}
    budget: Budget = built(Budget, table, origin, "budget")
    try:
        return budget.but(engines=of_engines)
    except UserError as error:
        raise BadConfig(f"{origin.named(('budget', 'engines'))}: {error}") from error


def _run(table: dict[str, Any], origin: Origin, folder: Path) -> RunOptions:
    for key in ("db", "handbook"):
        file = table.get(key)
        if isinstance(file, str) and file not in ("", ":memory:") and key not in origin.flags.get("run", {}):
            table[key] = _file(file, folder, origin, "run", key)
    options: RunOptions = built(RunOptions, table, origin, "run")
    return options


def _embedding(written: Mapping[str, Any], origin: Origin, folder: Path) -> EmbeddingSpec | None:
    if "embedding" not in written:
        return None
    table = _laid_over(written, origin, "embedding")
    if isinstance(path := table.get("path"), str) and path != MINILM:
        table["path"] = beside(path, folder, origin, "embedding", "path")
    spec: EmbeddingSpec = built(EmbeddingSpec, table, origin, "embedding")
    return spec


def _shown_keys(tables: Mapping[str, Any], engines: Mapping[str, EngineSpec]) -> dict[str, str]:
    return {name: _shown_key(tables[name]) for name, spec in engines.items() if spec.api_key is not None}


def _shown_key(table: Mapping[str, Any]) -> str:
    """Return what may be shown of the api_key in a table."""
    names = VARIABLE.findall(table["api_key"])
    return f"from ${{{names[0]}}}" if names else "***"
