"""Every token, second and unit of cost of a run, by engine, purpose and fate; discarded work included."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from math import inf
from typing import Any

from orchestrator.errors import UserError

__all__ = ["Entry", "Fate", "Ledger", "Price"]


class Fate(StrEnum):
    """What became of the work of a call."""

    USED = "used"
    DISCARDED = "discarded"
    """A draft that did not stand, or text cut away after it."""
    INTERRUPTED = "interrupted"
    """Cut off: cancelled by us, with the tokens that had arrived, or its process died before the result
    was stored, charged with everything the call had reserved. Either way the count is a bound."""
    FAILED = "failed"
    """The engine failed; the tokens that had arrived by then are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Cost of one uncached prompt token, one cached prompt token and one output token, in any unit the owner likes."""

    prompt: float = 0.0
    cached: float = 0.0
    output: float = 0.0

    def __post_init__(self) -> None:
        for name in ("prompt", "cached", "output"):
            if not 0 <= getattr(self, name) < inf:
                raise UserError(f"price {name} = {getattr(self, name)!r} must be a number of at least 0")

    def of(self, entry: Entry) -> float:
        """Return the cost of `entry`."""
        uncached = entry.prompt_tokens - entry.cached_tokens
        return self.prompt * uncached + self.cached * entry.cached_tokens + self.output * entry.output_tokens


@dataclass(slots=True)
class Entry:
    """Sums over the calls of one engine, purpose and fate."""

    calls: int = 0
    prompt_tokens: int = 0
    """Tokens sent, cached ones included."""
    cached_tokens: int = 0
    """Prompt tokens the engine reported as read from its prefix cache; 0 also where it reports nothing."""
    output_tokens: int = 0
    uncertain: int = 0
    """Calls whose token count is a bound, not a count."""
    drafts: int = 0
    """Drafts of speculative decoding that were verified; 0 also where the server reports nothing."""
    drafted: int = 0
    """Tokens in them."""
    accepted: int = 0
    """Tokens of them that stood."""
    seconds: float = 0.0
    """Summed over calls; calls that ran side by side are both in it."""
    first_token_s: float = 0.0
    """Of it, until the first token of calls that were streamed."""
    streamed: int = 0
    """Calls that were streamed."""
    queue_s: float = 0.0
    """Of it, in the queues of servers that say so."""
    queued: int = 0
    """Calls of which a server said how long they waited."""

    def add(self, other: Entry) -> None:
        """Add `other` to these sums."""
        self.calls += other.calls
        self.prompt_tokens += other.prompt_tokens
        self.cached_tokens += other.cached_tokens
        self.output_tokens += other.output_tokens
        self.uncertain += other.uncertain
        self.drafts += other.drafts
        self.drafted += other.drafted
        self.accepted += other.accepted
        self.seconds += other.seconds
        self.first_token_s += other.first_token_s
        self.streamed += other.streamed
        self.queue_s += other.queue_s
        self.queued += other.queued

    def subtract(self, other: Entry) -> None:
        """Take `other` out of these sums."""
        self.calls -= other.calls
        self.prompt_tokens -= other.prompt_tokens
        self.cached_tokens -= other.cached_tokens
        self.output_tokens -= other.output_tokens
        self.uncertain -= other.uncertain
        self.drafts -= other.drafts
        self.drafted -= other.drafted
        self.accepted -= other.accepted
        self.seconds -= other.seconds
        self.first_token_s -= other.first_token_s
        self.streamed -= other.streamed
        self.queue_s -= other.queue_s
        self.queued -= other.queued


_INCIDENTAL = {"seconds", "first_token_s", "streamed", "queue_s", "queued", "drafts", "drafted", "accepted"}


class Ledger:
    """The account of one run.

    `engines` are in the pipeline's order, cheapest first; an engine missing from `prices` is free.
    """

    def __init__(self, engines: tuple[str, ...], prices: Mapping[str, Price] | None = None) -> None:
        self.engines = engines
        self.prices = dict(prices or {})
        self._entries: dict[tuple[str, str, str], Entry] = {}

    def add(self, engine: str, purpose: str, fate: str, entry: Entry) -> None:
        """Book one call."""
        key = (engine, purpose, fate)
        sums = self._entries.get(key)
        if sums is None:
            sums = self._entries[key] = Entry()
        sums.add(entry)

    def discard(self, engine: str, purpose: str, entry: Entry) -> None:
        """Move a booked call from used to discarded: its text does not stand."""
        key = (engine, purpose, Fate.USED)
        self._entries[key].subtract(entry)
        if not self._entries[key].calls:
            del self._entries[key]
        self.add(engine, purpose, Fate.DISCARDED, entry)

    def __iter__(self) -> Iterator[tuple[str, str, str, Entry]]:
        """Yield (engine, purpose, fate, sums), in the pipeline's order of engines."""
        order = {engine: place for place, engine in enumerate(self.engines)}
        for (engine, purpose, fate), entry in sorted(
            self._entries.items(), key=lambda item: (order.get(item[0][0], len(order)), item[0])
        ):
            yield engine, purpose, fate, entry

    def total(self, *, engine: str | None = None, purpose: str | None = None, fate: str | None = None) -> Entry:
        """Return the sums over everything that matches; None matches all."""
        sums = Entry()
        for key, entry in self._entries.items():
            wanted = (engine, purpose, fate)
            if all(want is None or want == have for want, have in zip(wanted, key, strict=True)):
                sums.add(entry)
        return sums

    def cost(self, *, engine: str | None = None) -> float:
        """Return the cost of everything, or of everything one engine did, in the unit of the prices."""
        names = self.prices if engine is None else [engine]
        return sum(self._price(name).of(self.total(engine=name)) for name in names)

    def _price(self, engine: str) -> Price:
        return self.prices.get(engine, Price())

    @property
    def large_share(self) -> float:
        """Share of all output tokens that the last, largest engine produced, in [0, 1]; 0 for an empty ledger."""
        everything = self.total().output_tokens
        return self.total(engine=self.engines[-1]).output_tokens / everything if everything else 0.0

    def rows(self) -> list[dict[str, Any]]:
        """Return one plain dict per engine, purpose and fate, for JSON and tables."""
        return [
            {
                "engine": engine,
                "purpose": purpose,
                "fate": str(fate),
                **asdict(entry),
                "cost": self._price(engine).of(entry),
            }
            for engine, purpose, fate, entry in self
        ]

    def without_seconds(self) -> list[dict[str, Any]]:
        """Return `rows` without wall times and speculation, which depend on what else a server did: what is left is
        what two equal runs agree on."""
        return [{key: value for key, value in row.items() if key not in _INCIDENTAL} for row in self.rows()]
