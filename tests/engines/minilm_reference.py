"""all-MiniLM-L6-v2 once more, in numpy, from the authors' own files: what the converted model is held against."""

from __future__ import annotations

import json
import unicodedata
from math import erf
from pathlib import Path
from typing import Any

import numpy as np

LAYERS, HEADS, CONTEXT = 6, 12, 256
DROPPED = ("Mn", "Cc", "Cf")
"""Accents, and what cannot be seen."""
GRID = np.linspace(-6, 6, 120_001)
ERFS = np.array([erf(x) for x in GRID])
"""numpy has no such function; between these it is a line, wrong by less than 1e-9."""


class Reference:
    """The model in the folder of its weights, in float64."""

    def __init__(self, folder: Path) -> None:
        data = (folder / "model.safetensors").read_bytes()
        behind = 8 + int.from_bytes(data[:8], "little")
        self._arrays = {}
        for name, place in json.loads(data[8:behind]).items():
            if place.get("dtype") == "F32":
                begin, end = place["data_offsets"]
                numbers = np.frombuffer(data, "<f4", (end - begin) // 4, behind + begin)
                self._arrays[name] = numbers.reshape(place["shape"]).astype(np.float64)
        self._ids = {word: id for id, word in enumerate((folder / "vocab.txt").read_text("utf-8").split("\n"))}

    def ids(self, text: str) -> list[int]:
        """The pieces of a text between the marks of its beginning and end, cut where the authors cut."""
        pieces = [id for word in words(text) for id in self._pieces(word)]
        return [self._ids["[CLS]"], *pieces[: CONTEXT - 2], self._ids["[SEP]"]]

    def embed(self, text: str) -> Any:
        """The mean of the last layer, of length 1."""
        ids = self.ids(text)
        x = self._weight("embeddings.word_embeddings")[ids]
        x = x + self._weight("embeddings.position_embeddings")[: len(ids)]
        x = self._norm("embeddings.LayerNorm", x + self._weight("embeddings.token_type_embeddings")[0])
        for layer in range(LAYERS):
            x = self._layer(f"encoder.layer.{layer}", x)
        mean = x.mean(0)
        return mean / np.linalg.norm(mean)

    def _layer(self, name: str, x: Any) -> Any:
        q, k, v = (self._heads(f"{name}.attention.self.{each}", x) for each in ("query", "key", "value"))
        scores = q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[-1])
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        seen = (shares / shares.sum(-1, keepdims=True) @ v).transpose(1, 0, 2).reshape(x.shape)
        x = self._norm(f"{name}.attention.output.LayerNorm", x + self._linear(f"{name}.attention.output.dense", seen))
        hidden = self._linear(f"{name}.intermediate.dense", x)
        hidden = hidden * (1 + np.interp(hidden / np.sqrt(2), GRID, ERFS)) / 2
        return self._norm(f"{name}.output.LayerNorm", x + self._linear(f"{name}.output.dense", hidden))

    def _heads(self, name: str, x: Any) -> Any:
        return self._linear(name, x).reshape(len(x), HEADS, -1).transpose(1, 0, 2)

    def _linear(self, name: str, x: Any) -> Any:
        return x @ self._weight(name).T + self._weight(name, "bias")

    def _norm(self, name: str, x: Any) -> Any:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
        return scaled * self._weight(name) + self._weight(name, "bias")

    def _weight(self, name: str, part: str = "weight") -> Any:
        return self._arrays[f"{name}.{part}"]

    def _pieces(self, word: str) -> list[int]:
        """The longest pieces from the left; a word that has no such pieces is unknown."""
        found, start = [], 0
        while start < len(word):
            for end in range(len(word), start, -1):
                piece = word[start:end] if start == 0 else f"##{word[start:end]}"
                if piece in self._ids:
                    found.append(self._ids[piece])
                    start = end
                    break
            else:
                return [self._ids["[UNK]"]]
        return found


def words(text: str) -> list[str]:
    """Small letters without accents, cut at spaces, around punctuation and around Chinese characters."""
    spaced = "".join(" " if each in "\t\n\r" else each for each in text.lower())
    plain = (each for each in unicodedata.normalize("NFD", spaced) if unicodedata.category(each) not in DROPPED)
    apart = "".join(f" {each} " if _is_mark(each) or "\u4e00" <= each <= "\u9fff" else each for each in plain)
    return apart.split()


def _is_mark(letter: str) -> bool:
    """Whether a letter stands alone; ASCII counts whatever is no letter, digit or space as one."""
    return unicodedata.category(letter).startswith("P") or (letter.isascii() and not letter.isalnum() and letter > " ")
