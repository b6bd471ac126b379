"""GGUF files, read back by the format's description."""

from __future__ import annotations

from pathlib import Path
from struct import unpack_from
from typing import Any

import numpy as np
import pytest

from orchestrator.engines import gguf

NUMBERS = {4: "I", 5: "i", 6: "f", 7: "?"}


class Reader:
    def __init__(self, path: Path) -> None:
        self.data, self.place = path.read_bytes(), 0

    def take(self, form: str) -> Any:
        values = unpack_from(f"<{form}", self.data, self.place)
        self.place += sum({"I": 4, "i": 4, "f": 4, "?": 1, "Q": 8, "4s": 4}[each] for each in [form])
        return values[0]

    def text(self) -> str:
        size = self.take("Q")
        self.place += size
        return self.data[self.place - size : self.place].decode()

    def fact(self, kind: int) -> Any:
        if kind == 8:
            return self.text()
        if kind == 9:
            kind = self.take("I")
            return [self.fact(kind) for _ in range(self.take("Q"))]
        return self.take(NUMBERS[kind])


FACTS = {"a.text": "▁naïve", "a.yes": True, "a.no": False, "a.number": 7, "a.share": 0.5, "a.words": ["", "b"]}


@pytest.mark.parametrize("facts", [{}, FACTS, {"a.kinds": [1, -1]}])
def test_what_is_written_is_there_and_every_array_begins_at_a_multiple_of_32(
    tmp_path: Path, facts: dict[str, Any]
) -> None:
    arrays = {
        "one": np.arange(6, dtype=np.float16).reshape(2, 3),
        "two": np.arange(9, dtype=np.float32),
        "none": np.zeros((0, 2), dtype=np.float32),
        "last": np.array([1.5], dtype=np.float16),
    }
    path = tmp_path / "made.gguf"
    gguf.write(path, facts, arrays)
    reader = Reader(path)
    assert (reader.take("4s"), reader.take("I"), reader.take("Q"), reader.take("Q")) == (b"GGUF", 3, 4, len(facts))
    assert {reader.text(): reader.fact(reader.take("I")) for _ in facts} == facts
    infos = []
    for _ in arrays:
        name, sizes = reader.text(), [reader.take("Q") for _ in range(reader.take("I"))]
        infos.append((name, sizes[::-1], {0: np.float32, 1: np.float16}[reader.take("I")], reader.take("Q")))
    begin = reader.place + -reader.place % 32
    for name, shape, kind, place in infos:
        assert place % 32 == 0
        found = np.frombuffer(reader.data, kind, arrays[name].size, begin + place).reshape(shape)
        assert found.dtype == arrays[name].dtype and np.array_equal(found, arrays[name])
    assert len(reader.data) % 32 == 0


def test_an_array_of_another_type_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="float64"):
        gguf.write(tmp_path / "made.gguf", {}, {"a": np.zeros(2)})
