"""What a light router sees of a draft: numbers by name, from its logprobs, its text, its place, who wrote before.

Nothing here knows what a task is about: texts are lengths, counts, numbers and what was copied from where. Names
are part of the format of router files: a feature that comes to mean something else gets another name.

Logarithms are natural, of 1 + the count, so that a step of a thousand tokens is no outlier beside one of ten.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import log1p
from string import ascii_letters, digits
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from orchestrator.errors import SignalUnavailable
from orchestrator.types import Stop, TokenLogprob
from orchestrator.uncertainty import entropies_and_margins

__all__ = ["HISTORY", "NAMES", "POSITION", "SIGNAL", "TEXT", "UNCERTAINTY", "Drafted", "features"]

UNCERTAINTY = (
    "entropy_mean",
    "entropy_sum",
    "entropy_last",
    "entropy_max",
    "entropy_2nd",
    "entropy_3rd",
    "margin_mean",
    "margin_min",
    "margin_2nd",
    "margin_3rd",
    "logprob_mean",
    "logprob_sum",
    "logprob_min",
    "logprob_2nd",
    "logprob_3rd",
    "behind_max",
    "behind_num",
)
"""Entropies are lower bounds in nats, `behind` is how much less likely a token is than the likeliest at its place."""
TEXT = (
    "tokens",
    "chars",
    "lines",
    "words",
    "digits",
    "operators",
    "letters_share",
    "numbers",
    "largest_number",
    "new_numbers",
    "new_numbers_share",
    "numbers_from_nowhere",
    "lost_numbers",
    "copied_share",
    "asked_share",
    "length_ratio",
    "is_repeat",
    "is_end",
    "is_cut",
)
POSITION = ("index", "is_first", "question_chars")
HISTORY = ("large_share", "last_is_large", "last_two_large", "since_large")
"""Who wrote the steps before: the annotation that the paper gives its router, and the only one of its kind here."""
SIGNAL = "signal:"
"""Begins the name of a feature that is what a scorer, named behind it, says of the draft."""
NAMES = (*UNCERTAINTY, *TEXT, *POSITION, *HISTORY)
"""All that can be had without asking a scorer."""

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_OPERATORS = b"+-*/=<>^%"
_DIGITS, _LETTERS = digits.encode(), ascii_letters.encode()
_READ = 4000
"""Characters of a text that are looked at: what is longer is no sentence any more. Logprobs are all looked at."""


class Drafted(NamedTuple):
    """A draft and its context, as features see it."""

    question: str
    previous: str
    """The step kept last; empty in front of the first."""
    by_large: Sequence[bool]
    """For each kept step whether the large engine wrote it, in order."""
    text: str
    num_tokens: int
    stop: Stop
    logprobs: Sequence[TokenLogprob] | None = None
    signals: Mapping[str, float] = {}
    """What scorers said of the draft, by name."""


def features(names: Sequence[str], of: Drafted) -> list[float]:
    """Return the features called `names`, in that order.

    Raises SignalUnavailable if some need logprobs, or a scorer's signal, and there are none. KeyError for a name
    that is none.
    """
    found: dict[str, float] = {}
    wanted = set(names)
    for group, make in _GROUPS.items():
        if not wanted.isdisjoint(group):
            found.update(zip(group, make(of), strict=True))
    for name in names:
        if name.startswith(SIGNAL):
            scorer = name.removeprefix(SIGNAL)
            if scorer not in of.signals:
                raise SignalUnavailable(scorer, "nobody asked this scorer about the draft")
            found[name] = of.signals[scorer]
    return [found[name] for name in names]


def _uncertainty(of: Drafted) -> list[float]:
    tokens = of.logprobs
    lower, margin = (each.tolist() for each in entropies_and_margins(tokens))
    assert tokens  # or there would have been no entropies
    written = [logprob if logprob < 0 else 0.0 for _, _, logprob, _ in tokens if logprob == logprob]
    behind = [gap for token in tokens if (top := token[3]) and (gap := top[0][2] - token[2]) > 0]  # NaN is not
    total, entropy = sum(written), sum(lower)
    return [
        entropy / len(lower),
        entropy,
        lower[-1],
        *_padded(sorted(lower, reverse=True)[:3]),
        sum(margin) / len(margin),
        *_padded(sorted(margin)[:3]),
        total / max(len(written), 1),
        total,
        *_padded(sorted(written)[:3]),
        max(behind, default=0.0),
        float(len(behind)),
    ]


def _padded(values: list[float]) -> list[float]:
    """Return three values: of a step of one or two tokens the last is said again."""
    return values + [values[-1] if values else 0.0] * (3 - len(values))


def _text(of: Drafted) -> list[float]:
    text, previous, question = of.text[:_READ], of.previous[:_READ], of.question[:_READ]
    num_digits, operators, letters = _counted(text)
    numbers = _NUMBER.findall(text)
    asked = set(_NUMBER.findall(question))
    before = set(_NUMBER.findall(previous)) if previous else asked
    new = [number for number in numbers if number not in before]
    known = before | asked
    lost = before.difference(numbers)
    stripped = text.strip()
    runs = _runs(text)
    return [
        log1p(of.num_tokens),
        log1p(len(text)),
        float(stripped.count("\n")),
        log1p(len(text.split())),
        log1p(num_digits),
        log1p(operators),
        letters / max(len(text), 1),
        log1p(len(numbers)),
        log1p(max((float(number[:15]) for number in set(numbers)), default=0.0)),
        log1p(len(new)),
        len(new) / max(len(numbers), 1),
        log1p(sum(number not in known for number in new)),
        log1p(len(lost)),
        _shared(runs, _runs(previous)),
        _shared(runs, _runs(question)),
        log1p(len(text)) - log1p(len(previous or question)),
        float(stripped == previous.strip()),
        float(of.stop is Stop.END),
        float(of.stop is Stop.LENGTH),
    ]


def _counted(text: str) -> tuple[int, int, int]:
    """Return how many digits, operators and letters a text has, in any script."""
    raw = text.encode(errors="surrogatepass")
    operators = len(raw) - len(raw.translate(None, _OPERATORS))
    if not text.isascii():
        return sum(map(str.isdigit, text)), operators, sum(map(str.isalpha, text))
    return len(raw) - len(raw.translate(None, _DIGITS)), operators, len(raw) - len(raw.translate(None, _LETTERS))


def _runs(text: str) -> NDArray[np.int64]:
    """Return the text's short runs of characters as numbers, three characters to a number, in order of size."""
    codes = np.frombuffer(text.encode("utf-32-le", errors="surrogatepass"), dtype="<u4").astype(np.int64)
    runs: NDArray[np.int64] = (codes[:-2] << 42) | (codes[1:-1] << 21) | codes[2:]
    runs.sort()
    return runs


def _shared(runs: NDArray[np.int64], of: NDArray[np.int64]) -> float:
    """Return the share of the text's runs that the source has, too, in [0, 1]."""
    if not len(runs) or not len(of):
        return 0.0
    found = of[np.minimum(np.searchsorted(of, runs), len(of) - 1)]
    return int(np.count_nonzero(found == runs)) / len(runs)


def _position(of: Drafted) -> list[float]:
    index = len(of.by_large)
    return [log1p(index), float(index == 0), log1p(len(of.question))]


def _history(of: Drafted) -> list[float]:
    writers = of.by_large
    since = next((place for place, is_large in enumerate(reversed(writers)) if is_large), len(writers))
    return [
        sum(writers) / max(len(writers), 1),
        float(bool(writers) and writers[-1]),
        float(len(writers) > 1 and writers[-1] and writers[-2]),
        log1p(since),
    ]


_GROUPS = {UNCERTAINTY: _uncertainty, TEXT: _text, POSITION: _position, HISTORY: _history}
