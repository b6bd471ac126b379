"""Join the parts: the only place where concrete engines, policies and stores meet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from orchestrator import engines as engine_room
from orchestrator import monitors, registry, routers
from orchestrator.config import monitor_file, router_file
from orchestrator.doors import Needs
from orchestrator.engines.base import Engine
from orchestrator.engines.scorers import MEASURED, PRM, SCORERS, VERDICT
from orchestrator.engines.scorers.base import Scorer
from orchestrator.engines.spec import BehaviorPrompt, EngineSpec, JudgePrompt, VerdictPrompt
from orchestrator.errors import UserError
from orchestrator.modes.fixed import AS_IT_IS, REFUSE, Fixed, fallback_mode
from orchestrator.modes.written import mode_of as read_mode
from orchestrator.options import listed
from orchestrator.routers.base import draft_small, keep_all
from orchestrator.routers.counterfactual import Counterfactual
from orchestrator.runtime.identity import policy_name, policy_of
from orchestrator.runtime.run import ACT, ANSWER, Doors
from orchestrator.types import Mode

__all__ = [
    "VERIFIER",
    "behavior_prompt_of",
    "counterfactual_of",
    "counterfactual_settings",
    "doors_of",
    "engines_of",
    "fallback_of",
    "mode_of",
    "monitors_of",
    "router_of",
    "scorers_of",
    "writers_of",
]

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
    return tuple(map(_monitor, listed("monitors", wanted)))


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


def behavior_prompt_of(specs: Mapping[str, EngineSpec]) -> BehaviorPrompt:
    """Return how engines are shown behaviors: in the words that the largest one brings."""
    *_, largest = specs.values()
    return largest.behaviors or BehaviorPrompt()


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
