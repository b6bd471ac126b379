"""Which stored runs does `trace replay` decide again, and by which router?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.memory.base import StoredRun
    from orchestrator.memory.journal import Journal

__all__ = ["note_left_out", "note_refused", "options_of", "routable", "router", "routers", "runs_of"]


def runs_of(journal: Journal, names: tuple[str, ...], given: Mapping[str, Any]) -> Iterator[StoredRun]:
    """Yield the runs that are named; of all of them, no run of learners."""
    from orchestrator.errors import UnknownName
    from orchestrator.memory.base import LEARNS

    if given["is_all"]:
        if not (number := journal.number_of_runs()):
            raise UnknownName("the journal holds no run yet: run something first")
        for line in reversed(journal.runs(limit=number, without=(LEARNS,))):
            yield journal.at(line.key)
    elif given["batch"] is not None:
        batches = journal.batches(given["batch"])
        if not batches:
            known = ", ".join(list(filter(None, journal.batches("")))[:5]) or "none yet"
            raise UnknownName(f"no batch begins with {given['batch']!r}; the newest are {known}")
        for each in journal.batch(batches[0]):
            yield journal.at(each.key)
    else:
        for name in names:
            yield journal.run(name)


def options_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the flags change about a router's options."""
    return {} if given["threshold"] is None else {"threshold": given["threshold"]}


def router(stored: StoredRun, given: Mapping[str, Any], options: Mapping[str, Any]) -> Any:
    """Return the router for a run, with `options` besides its own. Raises UserError where it cannot be made."""
    from orchestrator.traces.policy import router_of

    return router_of(stored, **options) if given["router"] is None else _named(given, options)


def _named(given: Mapping[str, Any], options: Mapping[str, Any]) -> Any:
    from orchestrator import policies
    from orchestrator.cli.source import named_of

    name, own = named_of(given["router"], "--router")
    return policies.router(name, {**own, **options}, "--router")


def routers(given: Mapping[str, Any]) -> Callable[[StoredRun], Any]:
    """Return what gives a run its router, made once for all runs that were routed alike. Raises UserError for a
    --router that cannot be made: that is no run's fault."""
    from json import loads

    if given["router"] is not None:
        named_one = _named(given, options_of(given))
        return lambda _: named_one
    made: dict[str, Any] = {}

    def made_for(stored: StoredRun) -> Any:
        named = str(loads(stored.run.settings).get("router"))
        if named not in made:
            made[named] = router(stored, given, options_of(given))
        return made[named]

    return made_for


def routable(
    runs: Iterator[StoredRun],
    options: Sequence[Mapping[str, Any]],
    names: tuple[str, ...],
    given: Mapping[str, Any],
    refused: dict[str, int],
) -> Iterator[StoredRun]:
    """Yield the runs whose router can be made with each of `options`; of others that nobody named, `refused` says why,
    and how many were routed alike."""
    from json import loads

    from orchestrator.errors import UserError

    known: dict[str, str] = {}
    for stored in runs:
        named = str(loads(stored.run.settings).get("router"))
        if named not in known:
            known[named] = ""
            try:
                for each in options:
                    router(stored, given, each)
            except UserError as error:
                if names or given["router"] is not None:
                    raise
                known[named] = str(error)
        if why := known[named]:
            refused[why] = refused.get(why, 0) + 1
        else:
            yield stored


def note_refused(refused: Mapping[str, int]) -> None:
    """Say on stderr what was left out, a line for each reason."""
    from orchestrator.cli.streams import counted, note

    for why, number in refused.items():
        note(f"left out: {why}" + (f", and {counted(number - 1, 'run')} like it" if number > 1 else ""))


def note_left_out(left_out: Mapping[str, str]) -> None:
    """Say on stderr which runs were left out, a line for each reason, whatever run it names."""
    first: dict[str, str] = {}
    refused: dict[str, int] = {}
    for run, reason in left_out.items():
        why = first.setdefault(reason.replace(run, ""), reason)
        refused[why] = refused.get(why, 0) + 1
    note_refused(refused)
