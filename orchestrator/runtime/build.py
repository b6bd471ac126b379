"""Join the parts: the only place where concrete engines, policies and stores meet."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from importlib.metadata import version
from inspect import Parameter, iscoroutinefunction, signature
from typing import Any, NamedTuple

from orchestrator import engines as engine_room
from orchestrator import modes, monitors, registry, routers
from orchestrator import tools as tool_room
from orchestrator.config import monitor_file, router_file
from orchestrator.doors import Needs
from orchestrator.engines.base import Capabilities, Engine
from orchestrator.engines.scorers import ESCALATION, MEASURED, PRM, SCORERS, VERDICT
from orchestrator.engines.scorers.base import Scorer
from orchestrator.engines.spec import BehaviorPrompt, EngineSpec, JudgePrompt, ToolPrompt, VerdictPrompt
from orchestrator.errors import MissingCapability, UnknownName, UserError
from orchestrator.functions import named
from orchestrator.handbook.recall import Recall
from orchestrator.modes.fixed import AS_IT_IS, REFUSE, Fixed, fallback_mode
from orchestrator.modes.written import mode_of as read_mode
from orchestrator.monitors.exit_file import ExitFile
from orchestrator.monitors.monitor_file import MonitorFile
from orchestrator.routers.base import draft_small, keep_all
from orchestrator.routers.counterfactual import Counterfactual
from orchestrator.routers.router_file import RouterFile
from orchestrator.runtime.run import ACT, ANSWER, Doors
from orchestrator.tools.base import Tool
from orchestrator.tools.function import Function
from orchestrator.tools.own import check_tool
from orchestrator.types import Mode, Overlap, Task

__all__ = [
    "VERIFIER",
    "Policy",
    "behavior_prompt_of",
    "check_asked",
    "check_engines",
    "check_followed",
    "check_heeded",
    "check_needs",
    "check_overlap",
    "check_sampling",
    "check_scorers",
    "check_tools",
    "counterfactual_of",
    "counterfactual_settings",
    "doors_of",
    "engines_of",
    "fallback_of",
    "mode_name",
    "mode_of",
    "monitors_of",
    "policy_name",
    "policy_of",
    "router_of",
    "scorers_of",
    "settings_of",
    "tool_prompt_of",
    "tool_settings",
    "tools_of",
    "untrained",
    "writers_of",
]

_OF_CHAT_APIS = ToolPrompt(format="hermes", is_native=True)
VERIFIER = "verifier"
"""What a scorer is called that never errs; a workload brings it."""
RESERVED = (ANSWER, ACT, "reason", "__start__", "__end__")


def engines_of(wanted: Mapping[str, EngineSpec | Engine]) -> tuple[dict[str, Engine], dict[str, EngineSpec]]:
    """Return the engines by name, and what they were made from; those that only measure come first.

    Raises UserError for a bad name, or where no engine writes.
    """
    engines: dict[str, Engine] = {}
    specs: dict[str, EngineSpec] = {}
    for name, given in wanted.items():
        if name in RESERVED or not name.isidentifier():
            raise UserError(f"an engine cannot be called {name!r}: use a plain word other than {', '.join(RESERVED)}")
        if isinstance(given, EngineSpec):
            specs[name] = given
            engines[name] = engine_room.find(given.kind).from_spec(name, given)
        else:
            if not hasattr(given, "complete"):
                raise UserError(f"engine {name!r} is {given!r}: give what orchestrator.engines describes, or an Engine")
            given.name = name
            specs[name] = EngineSpec(kind=type(given).__name__.lower(), writes=getattr(given, "writes", True))
            engines[name] = given
    order = sorted(specs, key=lambda name: specs[name].writes)
    if not order or not specs[order[-1]].writes:
        raise UserError("a pipeline needs at least one engine that writes")
    return {name: engines[name] for name in order}, {name: specs[name] for name in order}


def writers_of(specs: Mapping[str, EngineSpec]) -> tuple[str, ...]:
    """Return the engines that a router may let write, cheapest first."""
    return tuple(name for name, spec in specs.items() if spec.writes)


def router_of(wanted: Any) -> Any:
    """Return a router, its file read if it has one: a name gives one with its defaults, anything else is one already.

    Raises UserError for a class, for an object without any door, or for a file that is none.
    """
    if isinstance(wanted, str):
        wanted = routers.find(wanted)()
    if isinstance(wanted, type) or not any(hasattr(wanted, door) for door in routers.DOORS):
        doors = " or ".join(routers.DOORS[1:3])
        raise UserError(f"router {wanted!r} is no router: give a name, or an object with {doors}")
    return wanted.with_file(router_file) if hasattr(wanted, "with_file") else wanted


_COLLECT = "orchestrator.routers.collect:Collect"
"""No router to choose, so in no table; but what it writes has a short name."""


class Policy(NamedTuple):
    """What the trace calls a policy."""

    name: str
    """Its registered name, or the place of its class."""
    version: str
    """Of its package."""

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def policy_of(policy: Any) -> Policy:
    """Return name and version of a policy."""
    target = f"{type(policy).__module__}:{type(policy).__qualname__}"
    tables = (routers.ROUTERS, monitors.MONITORS, modes.MODES)
    known = {value: name for table in tables for name, value in table.items()} | {_COLLECT: "collect"}
    if name := known.get(target):
        return Policy(name, _version())
    name, version = registry.foreign("routers").get(target, (target, ""))
    return Policy(name, version or _version())


def policy_name(policy: Any) -> str:
    """Return name and version of a policy as one text."""
    return str(policy_of(policy))


@cache
def _version() -> str:
    return version("reasoning-orchestrator")  # reads and parses a file


def doors_of(router: Any, counterfactual: Counterfactual | None = None) -> Doors:
    """Return the router's doors, defaults filled in; `counterfactual`, if any, stands in them for it."""
    through = counterfactual or router
    return Doors(
        policy_name(router),
        getattr(through, "before_step", draft_small),
        getattr(through, "after_draft", keep_all),
        getattr(router, "after_run", None),
        getattr(router, "prior", None),
        getattr(router, "needs", Needs()).reads_rewrites,
        getattr(router, "on_events", None),
        getattr(router, "heeds", None),
    )


def monitors_of(wanted: Iterable[Any]) -> tuple[Any, ...]:
    """Return monitors, their files read if they have one: a name gives one with its defaults.

    Raises UserError for what is no list, or an object without a door.
    """
    return tuple(map(_monitor, _listed("monitors", wanted)))


def _monitor(wanted: Any) -> Any:
    found = monitors.find(wanted)() if isinstance(wanted, str) else wanted
    if isinstance(found, type) or not (hasattr(found, "watch") or hasattr(found, "look")):
        raise UserError(f"monitor {wanted!r} is no monitor: give a name, or an object with watch or look")
    kinds = getattr(found, "raises", None)
    if isinstance(kinds, str) or not isinstance(kinds, Iterable | None):
        raise UserError(
            f"monitor {policy_of(found).name}: raises = {kinds!r:.60}: give a tuple of kinds, or leave it out"
        )
    return found.with_file(monitor_file) if hasattr(found, "with_file") else found


def mode_of(wanted: Any) -> Any:
    """Return a mode or a mode's policy, None for None; see modes/written.py. Raises UserError."""
    if wanted is None:
        return None
    policy = read_mode(wanted)
    return policy.mode if isinstance(policy, Fixed) else policy


def fallback_of(wanted: Any) -> Mode | None:
    """Return the mode that stands in for one that cannot be had; None where there is none. Raises UserError."""
    if wanted is None or isinstance(wanted, Mode):
        return wanted
    if not isinstance(wanted, str):
        raise UserError(f"fallback = {wanted!r:.60}: give the name of a fixed mode, {AS_IT_IS} or {REFUSE}")
    try:
        return fallback_mode(wanted)
    except UserError as error:
        raise UserError(f"fallback = {wanted!r:.60}: {error}") from error


def mode_name(mode: Any) -> str:
    """Return what the trace calls whoever chose the mode."""
    return "pipeline" if isinstance(mode, Mode) else policy_name(mode)


def tools_of(wanted: Any) -> Any:
    """Return tools: names and functions are made into them; a function that makes a task's own stays as it is.

    Raises UserError for what is no list, be it a single tool.
    """
    if not callable(wanted):
        return tuple(map(_tool, _listed("tools", wanted)))
    if not _makes_tools(wanted):
        name = getattr(wanted, "name", getattr(wanted, "__name__", "it"))
        raise UserError(f"tools = {name}: give a list, [{name}], or a function of the task that returns one")
    return wanted


def _listed(name: str, wanted: Any) -> Iterable[Any]:
    if isinstance(wanted, str) or not isinstance(wanted, Iterable):
        raise UserError(f"{name} = {wanted!r:.60}: give a list, () for none")
    return wanted


def _tool(wanted: Any) -> Any:
    found = tool_room.make(wanted) if isinstance(wanted, str) else wanted
    if isinstance(found, type):
        raise UserError(f"tools: {found.__name__} is a class: give an instance, {found.__name__}(...)")
    if not _is_tool(found):
        found = Function(found)
    check_tool(found)
    return found


def _is_tool(wanted: Any) -> bool:
    return all(hasattr(wanted, each) for each in tool_room.DOORS)


def _makes_tools(wanted: Callable[..., Any]) -> bool:
    """Say whether a function can be given a task, and a task alone; what says nothing of its parameters can."""
    if _is_tool(wanted) or iscoroutinefunction(wanted):
        return False
    try:
        known = signature(wanted, eval_str=True)
        [given] = known.bind(None).arguments
    except TypeError:
        return False
    except (ValueError, NameError):
        return True
    told = known.parameters[given].annotation
    return told in (Parameter.empty, Any) or not isinstance(told, type) or issubclass(Task, told)


def tool_settings(tool: Tool) -> dict[str, Any]:
    """Return what engines are told of a tool and what it says of itself: what a resumed run is compared by."""
    doors = ("description", "parameters", "is_idempotent", "needs_approval")
    own: Mapping[str, Any] = tool.settings() if hasattr(tool, "settings") else {}
    told: dict[str, Any] = settings_of({**{door: getattr(tool, door) for door in doors}, **own})
    return told


def check_asked(policies: Mapping[str, Iterable[Any]], engines: Collection[str]) -> None:
    """Raise UnknownName, listing the engines, for a policy that names one to ask which is not there.

    `policies` are by what they are, such as monitor.
    """
    for kind, several in policies.items():
        for policy in several:
            name = getattr(policy, "engine", None)
            if isinstance(name, str) and name and name not in engines:
                who = f"{kind} {policy_of(policy).name}"
                raise UnknownName(f"{who}: no engine named {name!r}; known: {', '.join(engines)}")


def check_heeded(router: Any, watching: Iterable[Any]) -> None:
    """Raise UserError if the router acts on events, and all monitors say that they raise others: it would never act.

    A monitor that does not say may raise any.
    """
    heeds: tuple[str, ...] = getattr(router, "heeds", ())
    raised = [getattr(monitor, "raises", None) for monitor in watching]
    if not heeds or any(kinds is None or {*heeds}.intersection(kinds) for kinds in raised):
        return
    ours = ", ".join(kind for kind in heeds if kind in monitors.MONITORS)  # each is called like what it raises
    mend = f"add monitors, such as {ours}" if ours else "add one that does"
    raise UserError(
        f"router {policy_of(router).name} acts on {', '.join(heeds)}, and no monitor here raises any of these: {mend}"
    )


def check_tools(tools: Any, engines: Iterable[str]) -> None:
    """Raise UserError for a tool that is called like another, or like an engine: who did what could not be told."""
    if callable(tools):
        return
    tool_room.Toolset(tools)  # refuses two of one name
    for name in {each.name for each in tools} & {*engines}:
        raise UserError(f"a tool is called {name!r}, and so is an engine: give one of them another name")


def tool_prompt_of(wanted: ToolPrompt | None, specs: Mapping[str, EngineSpec]) -> ToolPrompt:
    """Return how engines are told of tools: in the words that the largest one brings, if nothing else is said.

    A chat API is given them apart from the text. Raises UserError for what is no ToolPrompt.
    """
    if wanted is not None and not isinstance(wanted, ToolPrompt):
        raise UserError(f"tool_prompt = {wanted!r:.60}: give a ToolPrompt, or leave it out")
    *_, largest = specs.values()
    return wanted or largest.tools or (_OF_CHAT_APIS if largest.kind == "chat" else ToolPrompt())


def untrained(tools: Iterable[Tool] | Callable[[Task], Any], specs: Mapping[str, EngineSpec]) -> list[str]:
    """Return what is to be said of tools that engines were not trained on: a sentence for engines trained alike.

    Of tools that are made for a task nothing is known before there is one.
    """
    names = [] if callable(tools) else [tool.name for tool in tools]
    trained: dict[tuple[str, ...], list[str]] = {}
    for engine, spec in specs.items():
        if spec.writes and spec.tools is not None and spec.tools.trained_on:
            trained.setdefault(tuple(spec.tools.trained_on), []).append(engine)
    return [
        f"{' and '.join(engines)} learned to use {', '.join(known)} and no other tools: what "
        f"{'they write' if len(engines) > 1 else 'it writes'} with "
        f"{', '.join(others)} may be nonsense{_renamed(others, known)}"
        for known, engines in trained.items()
        if (others := [name for name in names if name not in known])
    ]


def _renamed(others: Sequence[str], known: Sequence[str]) -> str:
    """Return how a tool of ours gets a name that is known, where one is short for its own."""
    ours = [name for name in others if name in tool_room.TOOLS]
    alike = [f"--tool {name}:name={each}" for name in ours for each in known if name.startswith(each)]
    return f"; try {' '.join(alike)}" if alike else ""


def behavior_prompt_of(specs: Mapping[str, EngineSpec]) -> BehaviorPrompt:
    """Return how engines are shown behaviors: in the words that the largest one brings."""
    *_, largest = specs.values()
    return largest.behaviors or BehaviorPrompt()


def check_overlap(overlap: Overlap, recipe: Mapping[str, Any]) -> None:
    """Raise UserError where steps would be drafted ahead of something that may change what is drafted."""
    reasons = {
        "tools": bool(recipe["tools"]),
        "a mode": recipe["mode"] is not None,
        "recall at every step": recipe["recall"] is not None and recipe["recall"].every == "step",
        "monitors that ask": any(hasattr(each, "look") for each in recipe["monitors"]),
        "a router that heeds events": recipe["doors"].on_events is not None,
    }
    if overlap.is_on and (why := [what for what, is_so in reasons.items() if is_so]):
        raise UserError(f"overlap does not go together with {' and '.join(why)}: leave it out")


def check_followed(recall: Recall | None, monitors: Sequence[Any]) -> None:
    """Raise UserError where what is shown changes while a monitor asks about the step before."""
    late = [policy_name(each) for each in monitors if getattr(each, "is_late", False)]
    if recall is not None and recall.every == "step" and late:
        raise UserError(f"recall: every = 'step' does not go together with {late[0]}, which asks late: leave it out")


def counterfactual_of(router: Any, share: float, scorers: Mapping[str, Scorer]) -> Counterfactual | None:
    """Return the router with counterfactuals at a share of its steps, None for none; the best scorer there is scores.

    Raises UserError for a share out of range.
    """
    scorer = next((name for name in (VERIFIER, PRM) if name in scorers), "")
    made = Counterfactual(router=router, share=share, scorer=scorer)
    return made if share else None


def counterfactual_settings(counterfactual: Counterfactual | None) -> dict[str, Any] | None:
    """Return what is looked at, for the settings of a run."""
    if counterfactual is None:
        return None
    return {"share": counterfactual.share, "scorer": counterfactual.scorer}


def scorers_of(given: Mapping[str, Scorer], engines: Mapping[str, EngineSpec]) -> dict[str, Scorer]:
    """Return the scorers by name: the built-in ones and those given, which win.

    The built-in judges ask the largest engine in the words that it brings. `prm` and `escalation` ask the last of
    those that only measure just that: without one they are not there.
    """
    *_, largest = engines.values()
    measuring: dict[str, str] = {of.measures: name for name, of in engines.items() if not of.writes}
    scorers: dict[str, Scorer] = {}
    for name in registry.names("scorers", SCORERS):
        make = registry.find("scorers", name, SCORERS)
        if name in MEASURED:
            if (engine := measuring.get(MEASURED[name])) is not None:
                scorers[name] = make(engine, engines[engine])
        elif name in SCORERS:
            asked = largest.verdict or VerdictPrompt() if name == VERDICT else largest.judge or JudgePrompt()
            scorers[name] = make(prompt=asked)
        else:
            scorers[name] = make()
    scorers.update(given)
    for name, scorer in scorers.items():
        if scorer.engine is not None and scorer.engine not in engines:
            raise UserError(f"scorer {name!r} asks engine {scorer.engine!r}; the pipeline has {', '.join(engines)}")
    return scorers


def check_engines(router: Any, engines: Sequence[str], specs: Mapping[str, EngineSpec]) -> None:
    """Raise MissingCapability if the router needs more engines than there are, cheapest first.

    Raises UserError if one that it names to write what it rejects does not write, or is the cheapest, if one that it
    would compare with itself, or take several samples of, draws nothing, and if it takes for a rating what a trained
    router reads.
    """
    needs: Needs = getattr(router, "needs", Needs())
    if len(engines) < needs.engines:
        raise MissingCapability(
            f"{policy_name(router)} routes between {needs.engines} engines; the pipeline has {len(engines)}"
        )
    for name in needs.targets:
        if name not in engines[1:]:
            raise UserError(
                f"{policy_name(router)} sends what it rejects to {name!r}; known: {', '.join(engines[1:])}, "
                "the engines above the cheapest"
            )
    if not needs.calibrated and (chances := [name for name in needs.scorers if MEASURED.get(name) == ESCALATION]):
        raise UserError(
            f"{policy_name(router)} cannot ask scorer {chances[0]!r}, which is high where a step should be written "
            "again: only a router that was trained and calibrated for these engines reads it, such as arbitrage"
        )
    for name in engines[:-1] if needs.redraws else ():
        if specs[name].sampling.temperature == 0:
            raise UserError(
                f"{policy_name(router)} draws anew what engine {name!r} writes at temperature 0, which would always "
                "agree: give it a temperature, or the policy another gate"
            )
    if needs.samples > 1 and specs[engines[-1]].sampling.temperature == 0:
        raise UserError(
            f"{policy_name(router)} takes {needs.samples} samples of what engine {engines[-1]!r} writes at temperature "
            "0, which would all be the same: give it a temperature, or take 1 sample"
        )


def check_scorers(policy: Any, scorers: Mapping[str, Scorer]) -> None:
    """Raise MissingCapability if a policy asks a scorer that is not there."""
    needs: Needs = getattr(policy, "needs", Needs())
    for name in needs.scorers:
        if name not in scorers:
            how = f": add an engine with measures = {MEASURED[name]!r}" if name in MEASURED else ""
            raise MissingCapability(
                f"{policy_name(policy)} asks scorer {name!r}; the pipeline has {', '.join(scorers)}{how}"
            )


def check_needs(
    policy: Any,
    scorers: Mapping[str, Scorer],
    capabilities: Mapping[str, Capabilities],
    writers: Sequence[str],
    *,
    asked: Sequence[str] | None = None,
) -> None:
    """Raise MissingCapability if the engines cannot give what a policy needs: those `asked`, or else all writers."""
    check_scorers(policy, scorers)
    needs: Needs = getattr(policy, "needs", Needs())
    who = policy_name(policy)
    judges = {name: scorers[name].engine or writers[-1] for name in needs.scorers}
    asked = writers if asked is None else asked
    for name in (*asked, *judges.values()):
        can = capabilities[name]
        if needs.steps and not can.continues:
            why = can.missing.get("continues", "it is a chat-only API")
            raise MissingCapability(
                f"{who} works step by step and engine {name!r} cannot continue one ({why}): use a vLLM or llama.cpp "
                "server, or what decides once per turn, as routers small, large and random do"
            )
    for name in asked:
        _check_logprobs(who, name, capabilities[name], needs.logprobs)
    for scorer, judge in judges.items():
        _check_logprobs(f"scorer {scorer!r}", judge, capabilities[judge], scorers[scorer].logprobs)


def check_sampling(specs: Mapping[str, EngineSpec], capabilities: Mapping[str, Capabilities]) -> None:
    """Raise MissingCapability if an engine is to sample and its server cannot: what it writes would be wrong."""
    for name in writers_of(specs):
        can = capabilities[name]
        if specs[name].sampling.temperature > 0 and not can.samples:
            raise MissingCapability(f"engine {name!r}: what its server samples is broken: {can.missing['samples']}")


def _check_logprobs(who: str, engine: str, can: Capabilities, wanted: int) -> None:
    if wanted > can.logprobs:
        why = can.missing.get("logprobs", f"it returns {can.logprobs}")
        raise MissingCapability(f"{who} reads {wanted} logprobs per token and engine {engine!r} has them not: {why}")


def settings_of(value: Any) -> Any:
    """Return `value` as plain JSON data that names every option: what a resumed run is compared by."""
    if isinstance(value, EngineSpec | RouterFile | MonitorFile | ExitFile):
        return value.settings()
    if is_dataclass(value) and not isinstance(value, type):
        settings = [each.name for each in fields(value) if each.metadata.get("is_setting", True)]
        options = {name: settings_of(getattr(value, name)) for name in settings}
        return {"policy": policy_name(value), **options}
    if isinstance(value, Mapping):
        return {str(key): settings_of(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [settings_of(item) for item in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return named(value)
