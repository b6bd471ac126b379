"""What learning is fed with: one row for each drafted step, with what the large engine wrote in its place.

The journal is the source of truth: a row is read from a run of the policy `collect`. Exported, rows are a JSONL
file whose first line says where they come from; files that are joined keep their first lines, which have to agree.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from orchestrator.document import is_number
from orchestrator.errors import UserError
from orchestrator.learning.files import objects, write
from orchestrator.routers.router_file import MAX_LOGPROBS, check_pair
from orchestrator.types import Message, Stop, TokenLogprob, question_of

__all__ = ["FORMAT", "VERSION", "About", "Before", "Distinct", "Row", "Target", "digest", "export", "read"]

FORMAT = "orchestrator-rows"
VERSION = 1


class Before(NamedTuple):
    """A step that was kept before the draft."""

    writer: str
    text: str


class Target(NamedTuple):
    """What the large engine wrote in the draft's place."""

    text: str
    num_tokens: int
    score: float
    """In [0, 1]; that of the draft where the texts are equal."""
    also: Mapping[str, float]
    """What other scorers said, by name; in [0, 1]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """Where rows come from: what has to be the same for all that are learnt from together."""

    small: str
    """The engine that drafted."""
    large: str
    """The engine that wrote the targets."""
    scorer: str
    """Who scored drafts and targets."""
    logprobs: int
    """Alternatives per token that the drafts carry."""
    pair: Mapping[str, Any]
    """The identity of the pair, as runtime/pairing.py writes it."""

    def differs_from(self, other: About) -> str:
        """Return what differs, for people; empty if nothing does."""
        for name in self.__slots__:
            ours, theirs = getattr(self, name), getattr(other, name)
            if ours != theirs:
                return f"{name} {ours!r:.80} and {theirs!r:.80}"
        return ""

    def to_json(self) -> dict[str, Any]:
        """Return it as the first line of a file."""
        return {"format": FORMAT, "version": VERSION, **{name: getattr(self, name) for name in self.__slots__}}

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> About:
        """Return what `to_json` gave. Raises KeyError, ValueError or UserError for anything else."""
        texts = {name: _text(name, line[name]) for name in ("small", "large", "scorer")}
        if (logprobs := _count("logprobs", line["logprobs"])) > MAX_LOGPROBS:
            raise ValueError(f"logprobs = {logprobs} is more than {MAX_LOGPROBS}, the most that a router reads")
        check_pair(line["pair"])
        return cls(**texts, logprobs=logprobs, pair=line["pair"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One drafted step, what the large engine would have written, and how both were scored."""

    run: str
    """Id of the run in the journal."""
    task: str
    """The task's fingerprint: rows of one task belong to one split."""
    messages: tuple[Message, ...]
    before: tuple[Before, ...]
    """The kept steps in front of the draft, whoever wrote them, in order; as many as its index."""
    writer: str
    """The draft's engine."""
    draft: str
    num_tokens: int
    """Tokens generated for the draft."""
    stop: Stop
    logprobs: tuple[TokenLogprob, ...]
    """One entry per generated token of the draft, in order; empty if none were asked for."""
    score: float
    """Of the draft, in [0, 1]."""
    also: Mapping[str, float]
    """What other scorers said of the draft, by name; in [0, 1]. Never a label."""
    targets: tuple[Target, ...]
    """At least one, independent samples from the same prefix."""

    @property
    def index(self) -> int:
        """The step's place in its run, from 0."""
        return len(self.before)

    @property
    def advantage(self) -> float:
        """Mean score of the targets less the draft's, in [-1, 1]: what asking the large engine is worth here."""
        # Of the differences, not of the scores: a tie stays 0 whatever the number of samples.
        return sum(target.score - self.score for target in self.targets) / len(self.targets)

    @property
    def pays(self) -> bool:
        """Whether the large engine is strictly better; a tie is no reason to ask it."""
        return self.advantage > 0

    @property
    def question(self) -> str:
        """What was asked: the contents of the messages, one under the other."""
        return question_of(self.messages)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        found = {name: getattr(self, name) for name in self.__slots__}
        return {**found, "logprobs": [_packed(entry) for entry in self.logprobs]}

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> Row:
        """Return the row that `to_json` gave. Raises KeyError or ValueError for anything else."""
        row = cls(
            **{name: _text(name, line[name]) for name in ("run", "task", "writer", "draft")},
            messages=tuple(Message(*_texts("messages", each)) for each in _list("messages", line["messages"])),
            before=tuple(Before(*_texts("before", each)) for each in _list("before", line["before"])),
            num_tokens=_count("num_tokens", line["num_tokens"]),
            stop=Stop(line["stop"]),
            logprobs=tuple(map(_unpacked, _list("logprobs", line["logprobs"]))),
            score=_score("score", line["score"]),
            also=_also(line["also"]),
            targets=tuple(map(_target, _list("targets", line["targets"]))),
        )
        if not row.targets:
            raise ValueError("a row needs a target")
        return row


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} = {value!r:.40} is no text")
    return value


def _count(name: str, value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 31:
        raise ValueError(f"{name} = {value!r:.40} is no count")
    return value


def _list(name: str, value: Any, size: int | None = None) -> list[Any]:
    if not isinstance(value, list) or (size is not None and len(value) != size):
        raise ValueError(f"{name} has {value!r:.40} for a list" + (f" of {size}" if size else ""))
    return value


def _texts(name: str, value: Any) -> list[str]:
    return [_text(name, each) for each in _list(name, value, 2)]


def _score(name: str, value: Any) -> float:
    if not is_number(value) or not 0 <= value <= 1:
        raise ValueError(f"{name} = {value!r:.40}, and scores are numbers in [0, 1]")
    return float(value)


def _also(value: Any) -> dict[str, float]:
    if not isinstance(value, dict):
        raise ValueError(f"also = {value!r:.40} is no table of scores")
    return {name: _score(f"also.{name:.40}", each) for name, each in value.items()}


def _target(given: Any) -> Target:
    text, num_tokens, score, also = _list("targets", given, 4)
    return Target(_text("targets", text), _count("targets", num_tokens), _score("targets", score), _also(also))


def _packed(entry: TokenLogprob) -> list[Any]:
    return [entry.id, entry.text, entry.logprob, [[top.id, top.text, top.logprob] for top in entry.top]]


def _unpacked(given: Any) -> TokenLogprob:
    id, text, logprob, tops = _list("logprobs", given, 4)
    return _token(id, text, logprob, tuple(_token(*_list("logprobs", top, 3)) for top in _list("logprobs", tops)))


def _token(id: Any, text: Any, logprob: Any, top: tuple[TokenLogprob, ...] = ()) -> TokenLogprob:
    # An engine's -Infinity is none to refuse a row for: what a feature makes of it is looked at there.
    if type(id) is not int or not isinstance(text, str) or not (type(logprob) is float or is_number(logprob)):
        raise ValueError(f"logprobs hold {[id, text, logprob]!r:.60} for a token's id, text and logprob")
    return TokenLogprob(id, text, float(logprob), top)


class Distinct:
    """Rows as they are learnt from: each once, however often it is there, and all with as many targets.

    Iterating raises UserError for a row with another number of targets: its label is another mean.
    """

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows = rows
        self.digests: set[bytes] = set()
        """Of the rows so far."""
        self.repeated = 0
        """Rows that were left out."""
        self.samples = 0
        """Targets of each row; 0 before the first."""

    def __iter__(self) -> Iterator[Row]:
        for row in self._rows:
            name = digest(row)
            if name in self.digests:
                self.repeated += 1
                continue
            self.digests.add(name)
            self.samples = self.samples or len(row.targets)
            if len(row.targets) != self.samples:
                raise UserError(
                    f"run {row.run}, step {row.index}: {len(row.targets)} targets, and {self.samples} in rows before "
                    "it; learn from rows of one --samples"
                )
            yield row


# ---- files


def export(path: Path, about: About, rows: Iterable[Row]) -> int:
    """Write a file of rows and return their number. It appears whole or not at all."""
    return write(path, chain([about.to_json()], (row.to_json() for row in rows))) - 1


def read(paths: Sequence[Path]) -> tuple[About, Iterator[Row]]:
    """Return what the files' rows have in common, and the rows, read while they are asked for.

    Raises UserError, which names file and line, for what is no such file, for another version of the format, for
    a row that cannot be learnt from (a score that is no number), and for rows of another pair or scorer.
    """
    lines = objects(paths)
    first = next(lines, None)
    about = _about(*first) if first else None
    if about is None:
        where = first[0] if first else ", ".join(map(str, paths))
        raise UserError(f"{where}: no file of rows: write one with `orchestrator collect --out`")
    return about, _rows(about, lines)


def _rows(about: About, lines: Iterator[tuple[str, dict[str, Any]]]) -> Iterator[Row]:
    for where, line in lines:
        if other := _about(where, line):
            if differs := about.differs_from(other):
                raise UserError(f"{where}: rows of two collections that cannot be learnt from together: {differs}")
            continue
        try:
            yield Row.from_json(line)
        except (KeyError, ValueError) as error:
            what = f"it lacks {error}" if isinstance(error, KeyError) else error
            raise UserError(f"{where}: no row to learn from: {what}") from error


def _about(where: str, line: Mapping[str, Any]) -> About | None:
    """Return what a first line says; None if it is none."""
    if line.get("format") != FORMAT:
        return None
    if line.get("version") != VERSION:
        raise UserError(
            f"{where}: rows of version {line.get('version')!r:.40}; this version of the program reads {VERSION}"
        )
    try:
        return About.from_json(line)
    except KeyError as error:
        raise UserError(f"{where}: the first line of a file of rows lacks {error}") from error
    except (ValueError, UserError) as error:
        raise UserError(f"{where}: in the first line of a file of rows, {error}") from error


def digest(row: Row) -> bytes:
    """Return what names a row by all that is in it."""
    return blake2b(json.dumps(row.to_json()).encode(), digest_size=16).digest()
