"""The policies of a comparison: those that were asked for, each of their settings, and always the controls."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

from orchestrator import config
from orchestrator.bench.spec import listed, parse, parts, swept
from orchestrator.bench.whole import Whole
from orchestrator.bench.workloads.base import Workload
from orchestrator.doors import Needs
from orchestrator.engines.scorers import PRM
from orchestrator.engines.scorers.base import Scorer
from orchestrator.engines.scorers.judge import Judge
from orchestrator.engines.scorers.reward import prm
from orchestrator.engines.scorers.verifier import Verifier
from orchestrator.engines.spec import EngineSpec, JudgePrompt
from orchestrator.errors import UnknownName, UserError
from orchestrator.routers.oracle import Oracle
from orchestrator.routers.random import Random
from orchestrator.runtime.build import VERIFIER, mode_of, monitors_of, router_of
from orchestrator.runtime.calibration import Calibration, read

__all__ = ["CONTROLS", "LARGE", "ORACLE", "RANDOM", "SMALL", "Policy", "is_routing", "matched", "policies_of"]

SMALL, LARGE, ORACLE, RANDOM = "small", "large", "oracle", "random"
CONTROLS = (SMALL, LARGE, ORACLE, RANDOM)

JUDGES = ("judge", "judge-average", PRM)
"""The scorers that a verifier, or another engine, can stand in for."""
CALIBRATION = "calibration"
"""The option that names the file a policy's threshold is taken from."""
JUDGE = "judge"
"""The option that replaces the judge: `judge=verifier` is the positive control of every judged policy, any other
value the engine that rates, such as a cheap one in the place of a process reward model."""
MODE = "mode"
"""The part of a spec that is no monitor but says how much to think."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """One setting of one router, and of the monitors and the mode that go with it."""

    label: str
    """What reports call it, options included."""
    family: str
    """What its sweep is called: the router's name, with the judge where that was replaced, and its other parts' names;
    see summary.family_of."""
    router: Any
    monitors: Sequence[Any] = ()
    """They watch besides the pipeline's own; their files are read."""
    mode: str | None = None
    """How much to think; None leaves it to the comparison, or else to the pipeline."""
    judge: str = ""
    """Who rates in the place of the largest engine: `verifier`, or an engine's name; empty for nobody."""
    calibration: Calibration | None = field(default=None, repr=False)
    """What the router's threshold was chosen by; None runs it as it is, uncalibrated."""

    @property
    def is_control(self) -> bool:
        """It is there for comparison only."""
        return self.family in CONTROLS

    @property
    def has_random(self) -> bool:
        """Whether a random control with the same large share stands beside it.

        Where monitors say when engines change, the control is the monitor `chance` in their place.
        """
        return is_routing(self.label)

    @property
    def asked(self) -> tuple[str, ...]:
        """Names of the scorers that it asks."""
        return tuple(name for part in (self.router, *self.monitors) for name in getattr(part, "needs", Needs()).scorers)

    def scorers(self, workload: Workload, engines: Mapping[str, EngineSpec]) -> dict[str, Scorer]:
        """Return the scorers that this policy has besides the pipeline's. Raises UnknownName, listing the engines."""
        found: dict[str, Scorer] = {}
        if workload.check is not None:
            found[VERIFIER] = Verifier(check=workload.check)
        if self.judge == VERIFIER:
            found |= dict.fromkeys(JUDGES, found[VERIFIER])
        elif self.judge:
            if self.judge not in engines:
                known = ", ".join([*engines, VERIFIER])
                raise UnknownName(f"{self.label}: no engine {self.judge!r} to rate; known: {known}")
            of = engines[self.judge]
            if of.writes:
                greedy = Judge(engine=self.judge, prompt=of.judge or JudgePrompt())
                average = replace(greedy, reading="average")
                found |= {"judge": greedy, "judge-average": average, PRM: average}
            else:
                found |= dict.fromkeys(JUDGES, prm(self.judge, of))
        return found


def policies_of(specs: Sequence[str], workload: Workload, measuring: Collection[str] = ()) -> list[Policy]:
    """Return the controls and every setting that `specs` ask for.

    Small-only and large-only come first, the step oracle where the workload can check steps, or else one of the
    pipeline's engines that only measures, `measuring`, can say how good they are. A spec of `random` without a
    share asks for nothing: matched random controls are always there. A spec is a router, then monitors and `mode=...`
    joined to it by `+`, such as `cascade:turns=2+stuck+milestone:every=3+mode=no_think`.
    Raises UserError, or UnknownName listing what exists.
    """
    found = [_whole(SMALL), _whole(LARGE)]
    if workload.check is not None:
        found.append(Policy(label=ORACLE, family=ORACLE, router=Oracle()))
    elif measuring:
        found.append(Policy(label=ORACLE, family=ORACLE, router=Oracle(scorer="prm")))
    for spec in specs:
        found += [policy for policy in _settings(spec, workload) if policy.label not in (SMALL, LARGE, ORACLE)]
    labels = [policy.label for policy in found]
    if twice := next((label for label in labels if labels.count(label) > 1), None):
        raise UserError(f"policy {twice} is asked for twice")
    return found


def matched(policy: Policy, large_share: float) -> Policy:
    """Return the control that lets the large engine write as many steps as it did under `policy`, at random."""
    return Policy(
        label=f"{RANDOM}@{policy.label}",
        family=RANDOM,
        router=Random(large_share=round(large_share, 4)),
        mode=policy.mode,
    )


def is_routing(label: str) -> bool:
    """Whether the policy of this label routes by itself: it is no control, and no monitor tells it when to."""
    first, *others = parts(label)
    return first.split(":")[0].split("@")[0] not in CONTROLS and all(each.startswith(f"{MODE}=") for each in others)


def _settings(spec: str, workload: Workload) -> Iterator[Policy]:
    """Yield every setting of every part of a spec with every one of the others."""
    first, *others = parts(spec)
    watched = [each for each in others if not each.startswith(f"{MODE}=")]
    modes = [each for each in others if each.startswith(f"{MODE}=")]
    if len(modes) > 1:
        raise UserError(f"{spec} has {len(modes)} modes: give one, or several as {MODE}=one|other")
    chosen: list[str | None] = [*listed(modes[0].removeprefix(f"{MODE}="))] if modes else [None]
    for mode in chosen:
        mode_of(mode)  # which refuses what is none
    routers = [_whole(first)] if not watched and first in (SMALL, LARGE) else _routers(first, workload)
    settings = product(*(_monitors(each, spec) for each in watched))
    for router, monitors, mode in product(routers, settings, chosen):
        made = [monitor for _, monitor in monitors]
        if twice := next((label for place, (label, one) in enumerate(monitors) if one in made[:place]), None):
            raise UserError(f"{spec} has the monitor {twice} twice: give it once, or with other options")
        yield replace(
            router,
            label="+".join([router.label, *(label for label, _ in monitors), *([f"{MODE}={mode}"] if mode else [])]),
            family="+".join([router.family, *(each.split(":")[0] for each in watched), *([MODE] if mode else [])]),
            monitors=tuple(made),
            mode=mode,
        )


def _whole(engine: str) -> Policy:
    """Return the control of a single engine: nobody watches it, so it writes everything in one call."""
    return Policy(label=engine, family=engine, router=Whole(engine="small" if engine == SMALL else "large"))


def _monitors(spec: str, whole: str) -> list[tuple[str, Any]]:
    """Return every setting of a monitor with its label."""
    name, options = parse(spec)
    found = []
    for setting in swept(options):
        (made,) = monitors_of([config.monitor(name, setting, whole)])
        found.append((":".join([name, *(f"{key}={_shown(key, value, made)}" for key, value in setting.items())]), made))
    return found


def _routers(spec: str, workload: Workload) -> list[Policy]:
    name, options = parse(spec)
    given = options.pop(JUDGE, None)
    judges = (given or "").split("|")
    if given is not None and "" in judges:
        raise UserError(f"{spec}: {JUDGE}= names nobody")
    return [policy for judge in judges for policy in _judged(spec, name, options, judge, workload)]


def _judged(spec: str, name: str, options: Mapping[str, str], judge: str, workload: Workload) -> list[Policy]:
    if (judge == VERIFIER or name == ORACLE) and workload.check is None:
        raise UserError(f"{spec}: the workload {workload.name} cannot check single steps")
    if name == RANDOM and not options:
        return []
    family = f"{name}:{JUDGE}={judge}" if judge else name
    found = []
    calibration = read(options[CALIBRATION]) if CALIBRATION in options else None
    for setting in swept({key: value for key, value in options.items() if key != CALIBRATION}):
        made = config.router(name, setting, spec)
        label = ":".join([family, *(f"{key}={_shown(key, value, made)}" for key, value in setting.items())])
        if calibration is not None:
            calibration.check_given(router_of(made), setting)
            made, label = calibration.laid_over(router_of(made)), f"{label}:{CALIBRATION}={options[CALIBRATION]}"
        if judge and not set(JUDGES) & set(getattr(made, "needs", Needs()).scorers):
            raise UserError(f"{spec}: {name} asks no judge")
        found.append(Policy(label=label, family=family, router=made, judge=judge, calibration=calibration))
    return found


def _shown(key: str, value: Any, policy: Any) -> Any:
    """Return an option's value as a label has it: a trained policy by the name of its file, and by what is in it,
    so that results of one are never taken for those of another."""
    learnt = getattr(policy, "learnt", None)
    if key == "file" and learnt is not None:
        return f"{Path(value).name}@{learnt.digest[:6]}"
    return _written(value) if isinstance(value, dict | list) else value


def _written(value: Any) -> str:
    """Return a value as a spec has it: as TOML, without blanks."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}={_written(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_written, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
