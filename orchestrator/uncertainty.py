"""How sure was an engine of what it wrote?  Entropy, margin, separability and likelihood, read from logprobs.

Everything is read from the `top` of each token: the k most likely tokens at its place, most likely first. The token
that was written may be missing among them, and `top` may be shorter than k. Logprobs are those of the engine's whole
distribution, before temperature and cuts, as vLLM and llama.cpp report them.

A server that shows k tokens of a large vocabulary tells the entropy only within bounds. With H_k = -sum p ln p over
the tokens that are known, R the probability that is left, p_k the least likely of the top and m known tokens of V:

    lower = H_k + R * -ln(min(p_k, R))     no unknown token is likelier than p_k, nor than all that is left
    upper = H_k + R * ln((V - m) / R)      what is left lies evenly on all others; inf where V is not known

Source: Entropy Adaptive Decoding, arXiv:2502.06833, for entropy as the sign to switch by; separability is that of
SpecEyes: S = (l1 - mean) / (std + eps) over the K most likely tokens, the first among them, eps 1e-6, std of all K.
Differs: the papers read the whole distribution and its logits; here bounds stand for the entropy (in nats), and
logprobs for logits, which changes no separability, as a constant falls out of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from math import exp, inf, isfinite, nan
from operator import itemgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from orchestrator.errors import SignalUnavailable
from orchestrator.types import TokenLogprob

__all__ = [
    "Entropies",
    "Uncertainty",
    "entropies",
    "entropies_and_margins",
    "margins",
    "mean_logprob",
    "perplexity",
    "separabilities",
    "uncertainty",
]

NAME = "uncertainty"
EPS = 1e-6
_SLACK = 0.02
"""How far above 1 probabilities may add up, and a logprob above 0: a head may compute in 16 bits."""
_NOTHING = 1e-300
"""Stands for a probability of 0 where a logarithm is taken."""
_LARGEST_EXPONENT = 700.0
_LOGPROB, _TOP = itemgetter(2), itemgetter(3)
"""Of a token; by place, which is faster than by name."""

Floats = NDArray[np.float64]


class Entropies(NamedTuple):
    """Bounds of the entropy at each token that has alternatives, nats, >= 0."""

    lower: Floats
    upper: Floats
    """inf where the vocabulary is not known and the top does not hold all of the probability."""


class Uncertainty(NamedTuple):
    """What the tokens of one step say together. Entropies are lower bounds in nats unless they are called upper."""

    num_tokens: int
    """Tokens of the step, those without a reading included."""
    num_read: int
    """Tokens that have alternatives, >= 1: every figure but those of logprobs is about these."""
    entropy_mean: float
    entropy_max: float
    entropy_last: float
    """Of the last token that was read."""
    entropy_mean_upper: float
    entropy_max_upper: float
    margin_min: float
    """Of the probabilities of the two most likely tokens, in [0, 1]; likewise below."""
    margin_mean: float
    separability_min: float
    """>= 0, at most the root of K - 1, NaN where a token has a single alternative; likewise below."""
    separability_mean: float
    logprob_mean: float
    """Of the tokens written, nats, <= 0; likewise below."""
    logprob_min: float
    perplexity: float
    """exp of minus the mean logprob, >= 1."""


def uncertainty(tokens: Sequence[TokenLogprob] | None, vocabulary: int | None = None) -> Uncertainty:
    """Return all figures of a step in one pass.

    A token without alternatives, such as a part of a character that the server kept to itself, is left out.
    `vocabulary` is the number of tokens the engine chooses from. Raises SignalUnavailable if no token has
    alternatives, or if a number is not a logprob.
    """
    tokens = _given(tokens)
    tops = _Tops(tokens)
    lower, upper = (bound.tolist() for bound in tops.entropies(vocabulary))
    margin = tops.margins().tolist()
    try:
        separability = tops.separabilities().tolist()
    except SignalUnavailable:
        separability = [nan] * len(margin)
    written = _written(tokens)  # plain lists from here on: to sum one up is faster than numpy starts
    mean, num_read = sum(written) / len(written), len(lower)
    return Uncertainty(
        len(tokens),
        num_read,
        sum(lower) / num_read,
        max(lower),
        lower[-1],
        sum(upper) / num_read,
        max(upper),
        min(margin),
        sum(margin) / num_read,
        min(separability),
        sum(separability) / num_read,
        mean,
        min(written),
        _perplexity(mean),
    )


def entropies(tokens: Sequence[TokenLogprob] | None, vocabulary: int | None = None) -> Entropies:
    """Return bounds of the entropy at each token that has alternatives, in order. Raises SignalUnavailable."""
    return _Tops(_given(tokens)).entropies(vocabulary)


def entropies_and_margins(tokens: Sequence[TokenLogprob] | None) -> tuple[Floats, Floats]:
    """Return the lower bounds of `entropies`, and `margins`, read in one pass. Raises SignalUnavailable."""
    tops = _Tops(_given(tokens))
    return tops.entropies(None).lower, tops.margins()


def margins(tokens: Sequence[TokenLogprob] | None) -> Floats:
    """Return how far the most likely token is ahead of the next, in probability, for each that has alternatives.

    Of a single alternative it is a lower bound: as if all that is left were one token. Raises SignalUnavailable.
    """
    return _Tops(_given(tokens)).margins()


def separabilities(tokens: Sequence[TokenLogprob] | None) -> Floats:
    """Return how far the most likely token stands out, for each that has alternatives.

    In standard deviations of the top, so at most the root of K - 1. Raises SignalUnavailable, also where one token has
    a single alternative: that stands out from nothing.
    """
    return _Tops(_given(tokens)).separabilities()


def mean_logprob(tokens: Sequence[TokenLogprob] | None) -> float:
    """Return the mean logprob of the tokens written, nats, <= 0. Raises SignalUnavailable."""
    written = _written(_given(tokens))
    return sum(written) / len(written)


def perplexity(tokens: Sequence[TokenLogprob] | None) -> float:
    """Return exp of minus the mean logprob, >= 1. Raises SignalUnavailable."""
    return _perplexity(mean_logprob(tokens))


class _Tops:
    """The alternatives of all tokens in one row. Every numpy call costs a microsecond or more, so they are few."""

    def __init__(self, tokens: Sequence[TokenLogprob]) -> None:
        read = [token for token in tokens if token.top]
        if not read:
            raise SignalUnavailable(NAME, "no token has alternatives: ask the engine for logprobs")
        counts = [len(token.top) for token in read]
        # Without a loop of Python's own, which would take as long as all the rest.
        logprobs = np.fromiter(map(_LOGPROB, chain.from_iterable(map(_TOP, read))), np.float64, sum(counts))
        if not isfinite(logprobs.sum()) or logprobs.max() > _SLACK:
            raise SignalUnavailable(NAME, _wrong(read))
        self._counts = np.array(counts)
        ends = self._counts.cumsum()
        self._starts = ends - self._counts
        rows = np.empty((2, len(logprobs)))
        self._ps, inside = rows
        np.exp(logprobs, out=self._ps)
        np.multiply(self._ps, logprobs, out=inside)
        self._known, self._inside = np.add.reduceat(rows, self._starts, axis=1)
        if self._known.max() > 1 + _SLACK:
            raise SignalUnavailable(NAME, "the probabilities of a token's alternatives add up to more than 1")
        self._logprobs, self._lasts = logprobs, logprobs[ends - 1]
        written = np.fromiter(map(_LOGPROB, read), np.float64, len(read))
        self._own = [(place, _beside(read[place])) for place in np.flatnonzero(written < self._lasts).tolist()]

    def entropies(self, vocabulary: int | None) -> Entropies:
        """Return the bounds of the module's docstring."""
        inside, known, num_known = -self._inside, self._known, self._counts
        if self._own:
            own = np.zeros(len(known))
            for place, p in self._own:
                own[place] = p
            is_own = own > 0
            inside = inside - own * np.log(np.where(is_own, own, 1.0))
            known, num_known = known + own, num_known + is_own
        left = np.maximum(1 - known, _NOTHING)
        log_left = np.log(left)
        lower = inside - left * np.minimum(self._lasts, log_left)
        if vocabulary is None:
            return Entropies(lower, np.where(left > _NOTHING, inf, lower))
        others = np.maximum(vocabulary - num_known, 1)
        return Entropies(lower, np.maximum(inside + left * (np.log(others) - log_left), lower))

    def margins(self) -> Floats:
        """Return p1 - p2; see the function of this name."""
        firsts, has_two = self._ps[self._starts], self._counts > 1
        seconds = self._ps[self._starts + has_two]
        if not has_two.all():
            seconds = np.where(has_two, seconds, np.minimum(np.maximum(1 - firsts, 0.0), firsts))
        margin: Floats = np.maximum(firsts - seconds, 0.0)
        return margin

    def separabilities(self) -> Floats:
        """Return (l1 - mean) / (std + eps). Raises SignalUnavailable where a token has a single alternative."""
        if self._counts.min() < 2:
            raise SignalUnavailable("separability", "a token has a single alternative: ask for two or more")
        rows = np.empty((2, len(self._logprobs)))
        below, squares = rows
        np.subtract(self._logprobs, np.repeat(self._logprobs[self._starts], self._counts), out=below)
        np.multiply(below, below, out=squares)
        means, mean_squares = np.add.reduceat(rows, self._starts, axis=1) / self._counts
        variances = np.maximum(mean_squares - means * means, 0.0)
        separability: Floats = means / -(np.sqrt(variances) + EPS)
        return separability


def _beside(token: TokenLogprob) -> float:
    """Return the probability of a written token, less likely than its alternatives, that is not among them, else 0."""
    return 0.0 if any(other[:2] == token[:2] for other in token.top) else exp(token.logprob)


def _given(tokens: Sequence[TokenLogprob] | None) -> Sequence[TokenLogprob]:
    if not tokens:
        raise SignalUnavailable(NAME, "no tokens with logprobs")
    return tokens


def _written(tokens: Sequence[TokenLogprob]) -> list[float]:
    """Return the logprobs of the tokens written; NaN is what a server kept to itself."""
    written = [token.logprob for token in tokens if token.logprob == token.logprob]
    if not written:
        raise SignalUnavailable(NAME, "no token has a logprob")
    if not -inf < min(written) or not max(written) <= _SLACK:
        worst = next(value for value in written if not isfinite(value) or value > _SLACK)
        raise SignalUnavailable(NAME, f"{worst!r} is no logprob")
    return written if max(written) <= 0 else [min(value, 0.0) for value in written]


def _wrong(read: Sequence[TokenLogprob]) -> str:
    for token in read:
        for other in token.top:
            if not isfinite(other.logprob) or other.logprob > _SLACK:
                return f"an alternative of {token.text!r} has {other.logprob!r}, which is no logprob"
    raise AssertionError("called where nothing is wrong")


def _perplexity(mean: float) -> float:
    return exp(min(-mean, _LARGEST_EXPONENT))
