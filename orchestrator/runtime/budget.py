"""Hard limits: what a call may cost is reserved before it is sent and settled when it is over.

`Spender` is the only place that compares spending with a budget. It grants a call at most as many
output tokens as every limit still allows, so no limit can be passed, whatever runs side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import monotonic

from orchestrator.errors import LimitExceeded
from orchestrator.ledger import Entry, Price
from orchestrator.types import Budget

__all__ = ["Spender"]

_FREE = Price()
_NOTHING = Entry()


class _Account:
    """Spending against one Budget: the run's, or one engine's."""

    def __init__(self, name: str, budget: Budget) -> None:
        self._prefix = f"{name}." if name else ""
        self._budget = budget
        self._tokens = 0
        self._prompt_tokens = 0
        self._cost = 0.0

    def grant(self, prompt_tokens: int, max_tokens: int, price: Price) -> int:
        """Return the output tokens that all limits allow a call, at least 1. Raises LimitExceeded."""
        budget = self._budget
        if budget.tokens is not None:
            max_tokens = min(max_tokens, budget.tokens - self._tokens)
            self._check("tokens", max_tokens >= 1, self._tokens, budget.tokens)
        if budget.prompt_tokens is not None:
            is_within = self._prompt_tokens + prompt_tokens <= budget.prompt_tokens
            self._check("prompt_tokens", is_within, self._prompt_tokens, budget.prompt_tokens)
        if budget.cost is not None:
            left = budget.cost - self._cost - price.prompt * prompt_tokens
            max_tokens = int(min(max_tokens, left / price.output)) if price.output else max_tokens
            self._check("cost", left >= 0 and max_tokens >= 1, self._cost, budget.cost)
        return max_tokens

    def _check(self, kind: str, is_within: bool, spent: float, limit: float) -> None:
        if not is_within:
            raise LimitExceeded(self._prefix + kind, spent, limit)

    @property
    def tokens_left(self) -> int | None:
        return None if self._budget.tokens is None else max(0, self._budget.tokens - self._tokens)

    def charge(self, prompt_tokens: int, output_tokens: int, cost: float) -> None:
        self._tokens += output_tokens
        self._prompt_tokens += prompt_tokens
        self._cost += cost


class Spender:
    """Keeps a run within its budget. `clock` gives seconds and never runs backwards."""

    def __init__(
        self,
        budget: Budget,
        prices: Mapping[str, Price],
        *,
        spent_s: float = 0.0,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._budget = budget
        self._prices = prices
        self._clock = clock
        self._started = clock() - spent_s
        run = _Account("", budget)
        self._accounts: dict[str, tuple[_Account, ...]] = {
            name: (run, _Account(name, limits)) for name, limits in budget.engines.items()
        }
        self._others = (run,)

    def reserve(self, engine: str, prompt_tokens: int, max_tokens: int) -> int:
        """Set aside what a call may use and return the output tokens it gets, at least 1.

        Raises LimitExceeded if a limit leaves it none.
        """
        self.remaining_s()
        accounts = self._accounts.get(engine, self._others)
        price = self._prices.get(engine, _FREE)
        for account in accounts:
            max_tokens = account.grant(prompt_tokens, max_tokens, price)
        cost = price.prompt * prompt_tokens + price.output * max_tokens
        for account in accounts:
            account.charge(prompt_tokens, max_tokens, cost)
        return max_tokens

    def reserve_whole(self, engine: str, prompt_tokens: int, max_tokens: int) -> None:
        """Set aside all that a call may use. Raises LimitExceeded, setting nothing aside, if it would get less."""
        granted = self.reserve(engine, prompt_tokens, max_tokens)
        if granted < max_tokens:
            self.settle(engine, prompt_tokens, granted, _NOTHING)
            raise LimitExceeded("tokens", max_tokens, granted)

    def settle(self, engine: str, prompt_tokens: int, max_tokens: int, used: Entry) -> None:
        """Replace a reservation by what the call really used."""
        price = self._prices.get(engine, _FREE)
        reserved = price.prompt * prompt_tokens + price.output * max_tokens
        for account in self._accounts.get(engine, self._others):
            account.charge(
                used.prompt_tokens - prompt_tokens, used.output_tokens - max_tokens, price.of(used) - reserved
            )

    def charge(self, engine: str, used: Entry) -> None:
        """Count what a call of an earlier session used."""
        self.settle(engine, 0, 0, used)

    @property
    def tokens_left(self) -> int | None:
        """Output tokens that the run may still have, None without a limit."""
        [run] = self._others
        return run.tokens_left

    @property
    def elapsed_s(self) -> float:
        """Seconds the run has taken, earlier sessions included."""
        return self._clock() - self._started

    def remaining_s(self) -> float | None:
        """Return the seconds left, None without a limit. Raises LimitExceeded if there are none."""
        if self._budget.seconds is None:
            return None
        left = self._budget.seconds - self.elapsed_s
        if left <= 0:
            raise LimitExceeded("seconds", self.elapsed_s, self._budget.seconds)
        return left

    def check_steps(self, num_steps: int) -> None:
        """Raise LimitExceeded if another step after `num_steps` kept ones is one too many."""
        if self._budget.steps is not None and num_steps >= self._budget.steps:
            raise LimitExceeded("steps", num_steps, self._budget.steps)
