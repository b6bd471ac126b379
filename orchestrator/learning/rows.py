"""What learning is fed with: one row for each drafted step, with what the large engine wrote in its place.

The journal is the source of truth: a row is read from a run of the policy `collect`. Exported, rows are a JSONL
file whose first line says where they come from; files that are joined keep their first lines, which have to agree.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

from orchestrator.errors import UserError
from orchestrator.types import Message, Stop, TokenLogprob

__all__ = ["FORMAT", "VERSION", "About", "Before", "Row", "Target", "digest", "export", "read"]

FORMAT = "orchestrator-rows"
VERSION = 1
MAX_LINE_BYTES = 16 << 20


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
        return "\n".join(message.content for message in self.messages)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        found = {name: getattr(self, name) for name in self.__slots__}
        return {**found, "logprobs": [_packed(entry) for entry in self.logprobs]}

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> Row:
        """Return the row that `to_json` gave. Raises KeyError, TypeError or ValueError for anything else."""
        given = {name: line[name] for name in cls.__slots__}
        row = cls(
            **given
            | {
                "messages": tuple(Message(*each) for each in given["messages"]),
                "before": tuple(Before(*each) for each in given["before"]),
                "stop": Stop(given["stop"]),
                "logprobs": tuple(map(_unpacked, given["logprobs"])),
                "targets": tuple(Target(*each) for each in given["targets"]),
            }
        )
        scored = [(row.score, row.also), *((target.score, target.also) for target in row.targets)]
        if not row.targets or not all(_is_score(value) for score, also in scored for value in (score, *also.values())):
            raise ValueError("a row needs a target, and scores that are numbers in [0, 1]")
        return row


def _is_score(value: Any) -> bool:
    return type(value) in (int, float) and isfinite(value) and 0 <= value <= 1


def _packed(entry: TokenLogprob) -> list[Any]:
    return [entry.id, entry.text, entry.logprob, [[top.id, top.text, top.logprob] for top in entry.top]]


def _unpacked(entry: Sequence[Any]) -> TokenLogprob:
    id, text, logprob, tops = entry
    return TokenLogprob(id, text, float(logprob), tuple(TokenLogprob(*top) for top in tops))


# ---- files


def export(path: Path, about: About, rows: Iterable[Row]) -> int:
    """Write a file of rows and return their number. It appears whole or not at all."""
    number = 0
    part = path.with_name(path.name + ".part")
    try:
        with part.open("w", encoding="ascii") as file:
            file.write(json.dumps(about.to_json(), separators=(",", ":")) + "\n")
            for row in rows:
                file.write(json.dumps(row.to_json(), separators=(",", ":")) + "\n")
                number += 1
        part.replace(path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error
    return number


def read(paths: Sequence[Path]) -> tuple[About, Iterator[Row]]:
    """Return what the files' rows have in common, and the rows, read while they are asked for.

    Raises UserError, which names file and line, for what is no such file, for another version of the format, for
    a row that cannot be learnt from (a score that is no number), and for rows of another pair or scorer.
    """
    lines = _lines(paths)
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
        except (KeyError, TypeError, ValueError) as error:
            what = f"it lacks {error}" if isinstance(error, KeyError) else error
            raise UserError(f"{where}: no row to learn from: {what}") from error


def _about(where: str, line: Mapping[str, Any]) -> About | None:
    """Return what a first line says; None if it is none."""
    if line.get("format") != FORMAT:
        return None
    if line.get("version") != VERSION:
        raise UserError(
            f"{where}: rows of version {line.get('version')!r}; this version of the program reads {VERSION}"
        )
    try:
        return About(**{name: line[name] for name in About.__slots__})
    except KeyError as error:
        raise UserError(f"{where}: the first line of a file of rows lacks {error}") from error


def _lines(paths: Sequence[Path]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in paths:
        try:
            with path.open("rb") as file:
                for number, line in enumerate(file, 1):
                    if line.strip():
                        yield f"{path}:{number}", _object(f"{path}:{number}", line)
        except OSError as error:
            raise UserError(f"{path}: {error.strerror}") from error


def _object(where: str, line: bytes) -> dict[str, Any]:
    if len(line) > MAX_LINE_BYTES:
        raise UserError(f"{where}: the line is longer than {MAX_LINE_BYTES >> 20} MiB")
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: not JSON that can be read: {error}; is it of `orchestrator collect`?") from error
    if not isinstance(found, dict):
        raise UserError(f"{where}: not a JSON object")
    return found


def digest(row: Row) -> bytes:
    """Return what names a row by all that is in it."""
    return blake2b(json.dumps(row.to_json()).encode(), digest_size=16).digest()
