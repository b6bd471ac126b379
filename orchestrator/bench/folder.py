"""A folder of results: what was asked for, one line per finished run, and what was computed from them."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orchestrator.bench.packed import data_in, packed
from orchestrator.bench.sample import Key, Sample
from orchestrator.errors import UserError
from orchestrator.memory.ids import run_id as new_id

__all__ = ["Folder"]

SETTINGS, SAMPLES, JOURNAL, WHERE = "settings.json", "samples.jsonl", "journal.db", "where.jsonl"


class Folder:
    """The results at `path`. A sample is on disk before the next one counts as due."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.samples: dict[Key, Sample] = {}
        """What is there, by policy, seed and task."""
        self.id = ""
        """Names these results and no others, wherever the folder is moved."""

    @property
    def journal(self) -> Path:
        """The file with every run's trace; samples need it no more once they are written."""
        return self.path / JOURNAL

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes from writing to the folder, which is made. Raises UserError if one does."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            held = os.open(self.path, os.O_RDONLY)
        except OSError as error:
            raise UserError(f"{self.path}: {error.strerror}: choose another folder") from error
        try:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                line = f"another comparison is writing to {self.path}: wait for it, or choose another"
                raise UserError(line) from None
            yield
        finally:
            os.close(held)

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Make the folder, or go on in one of equal settings. Raises UserError naming the first difference.

        Samples that are packed are refused: those that are added would hide them.
        """
        wanted = json.loads(json.dumps(settings))
        if (self.path / SETTINGS).exists():
            before = self.settings()
            self.id = before.pop("id", "")
            _compare(self.path, before, wanted)
            file = self.path / SAMPLES
            if packed(file).exists() and not file.exists():
                raise UserError(f"{packed(file)} is packed: `xz -dk {shlex.quote(str(packed(file)))}`, then go on")
            self._cut()
            self.read()
            return
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if any(self.path.iterdir()):
                raise UserError(f"{self.path} is not empty and holds no results of a bench: choose another folder")
        except OSError as error:
            raise UserError(f"{self.path}: {error.strerror}: choose another folder") from error
        self.id = new_id()
        self.write(SETTINGS, json.dumps({"id": self.id, **wanted}, indent=1) + "\n")

    def settings(self) -> dict[str, Any]:
        """Return what was asked for. Raises UserError if the folder holds no results."""
        file = self.path / SETTINGS
        try:
            settings = json.loads(file.read_text("utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            raise UserError(f"{self.path} holds no results: `orchestrator bench run --out {self.path}`") from None
        except (OSError, ValueError) as error:
            raise UserError(f"{file} is damaged: {error}") from error
        if not isinstance(settings, dict) or not settings.keys() >= {"id", "engines"}:
            raise UserError(f"{file} is damaged: it is not what `orchestrator bench run` writes")
        return settings

    def read(self) -> None:
        """Read the samples, packed or not.

        A last line without an end is left out: it is being written, or its writer died.
        """
        file = self.path / SAMPLES
        for number, line in enumerate(_whole_lines(data_in(file)), 1):
            try:
                sample = Sample.from_json(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise UserError(f"{file}:{number} is damaged: {error}") from error
            self.samples[sample.key] = sample

    def _cut(self) -> None:
        """Take away what the death of a writer left of a line, so that the next one begins where a line does."""
        for file in (self.path / SAMPLES, self.path / WHERE):
            if file.exists():
                os.truncate(file, file.read_bytes().rfind(b"\n") + 1)

    def went_on(self, where: Mapping[str, Any]) -> None:
        """Put on record where a command makes samples: the report may be computed elsewhere, and later."""
        with (self.path / WHERE).open("a", encoding="utf-8") as file:
            file.write(json.dumps(where) + "\n")

    def places(self) -> list[dict[str, Any]]:
        """Return what `went_on` was told, oldest first."""
        file = self.path / WHERE
        data = file.read_bytes() if file.exists() else b""
        try:
            return [json.loads(line) for line in _whole_lines(data)]
        except ValueError as error:
            raise UserError(f"{file} is damaged: {error}") from error

    def add(self, sample: Sample) -> None:
        """Put a sample on disk."""
        with (self.path / SAMPLES).open("a", encoding="utf-8") as file:
            file.write(json.dumps(sample.to_json(), ensure_ascii=True) + "\n")
        self.samples[sample.key] = sample

    def write(self, name: str, text: str) -> None:
        """Write a file of the folder whole, or not at all."""
        beside = self.path / f".{name}.writing"
        beside.write_text(text, "utf-8")
        os.replace(beside, self.path / name)


def _whole_lines(data: bytes) -> list[bytes]:
    return data[: data.rfind(b"\n") + 1].splitlines()


def _compare(path: Path, before: Mapping[str, Any], now: Mapping[str, Any], within: str = "") -> None:
    for key in sorted(before.keys() | now.keys()):
        name = f"{within}{key}"
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            _compare(path, old, new, f"{name}.")
        elif old != new:
            raise UserError(
                f"{path} has results of {name} = {json.dumps(old)}, not {json.dumps(new)}: choose another folder, "
                "or give the same settings"
            )
