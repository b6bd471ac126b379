"""Does it go together?  What policies need is held against engines, scorers, monitors and options, before a run."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from orchestrator import monitors
from orchestrator.doors import Needs
from orchestrator.engines.base import Capabilities
from orchestrator.engines.scorers import ESCALATION, MEASURED
from orchestrator.engines.scorers.base import Scorer
from orchestrator.engines.spec import EngineSpec
from orchestrator.errors import MissingCapability, UnknownName, UserError
from orchestrator.handbook.recall import Recall
from orchestrator.runtime.identity import policy_name, policy_of
from orchestrator.types import Overlap

__all__ = [
    "check_asked",
    "check_engines",
    "check_followed",
    "check_heeded",
    "check_needs",
    "check_overlap",
    "check_sampling",
    "check_scorers",
]


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


def _check_logprobs(who: str, engine: str, can: Capabilities, wanted: int) -> None:
    if wanted > can.logprobs:
        why = can.missing.get("logprobs", f"it returns {can.logprobs}")
        raise MissingCapability(f"{who} reads {wanted} logprobs per token and engine {engine!r} has them not: {why}")


def check_sampling(specs: Mapping[str, EngineSpec], capabilities: Mapping[str, Capabilities]) -> None:
    """Raise MissingCapability if an engine is to sample and its server cannot: what it writes would be wrong."""
    for name, spec in specs.items():
        if spec.writes and spec.sampling.temperature > 0 and not (can := capabilities[name]).samples:
            raise MissingCapability(f"engine {name!r}: what its server samples is broken: {can.missing['samples']}")


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
