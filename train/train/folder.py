"""Derive the Hugging Face folder, which vLLM serves, from a GGUF file of the pair; numpy and gguf suffice.

    python -m train.folder ../orchestrator/engines/pocket/pocket-large.gguf pocket-large

Both hold the same weights. llama.cpp rotates neighbouring pairs where Hugging Face rotates halves, so
the rows of queries and keys are permuted back on the way.
"""

from __future__ import annotations

import argparse
import json
import struct
import sys
from collections.abc import Mapping
from pathlib import Path

import gguf
import numpy as np

from train import tokenizer as tokens
from train.chat import END
from train.shape import Shape

__all__ = ["HEAD_MIXED", "main", "names_of", "read_gguf", "write_folder"]

HEAD_MIXED = ("query.weight", "key.weight")
"""Weights whose rows the two formats order differently."""

_PAIRS = {
    "attention_norm": ("attn_norm", "input_layernorm"),
    "query": ("attn_q", "self_attn.q_proj"),
    "key": ("attn_k", "self_attn.k_proj"),
    "value": ("attn_v", "self_attn.v_proj"),
    "output": ("attn_output", "self_attn.o_proj"),
    "mlp_norm": ("ffn_norm", "post_attention_layernorm"),
    "gate": ("ffn_gate", "mlp.gate_proj"),
    "up": ("ffn_up", "mlp.up_proj"),
    "down": ("ffn_down", "mlp.down_proj"),
}
_ENDS = {
    "embedding.weight": ("token_embd.weight", "model.embed_tokens.weight"),
    "norm.weight": ("output_norm.weight", "model.norm.weight"),
    "head.weight": ("output.weight", "lm_head.weight"),
}


def names_of(ours: str) -> tuple[str, str]:
    """Return what a weight is called in GGUF and in a Hugging Face folder."""
    if ours in _ENDS:
        return _ENDS[ours]
    _, layer, part, _ = ours.split(".")
    theirs = _PAIRS[part]
    return f"blk.{layer}.{theirs[0]}.weight", f"model.layers.{layer}.{theirs[1]}.weight"


def weights_of(shape: Shape) -> list[str]:
    """Return our names of all weights of a decoder."""
    layers = [f"layers.{layer}.{part}.weight" for layer in range(shape.layers) for part in _PAIRS]
    return [*_ENDS, *layers]


def read_gguf(path: Path) -> tuple[Shape, dict[str, np.ndarray]]:
    """Return the shape and the weights of a GGUF file that `export` wrote, by our names."""
    reader = gguf.GGUFReader(path)

    def number(name: str) -> float:
        value: float = reader.fields[f"llama.{name}"].contents()
        return value

    shape = Shape(
        vocab=int(number("vocab_size")),
        width=int(number("embedding_length")),
        layers=int(number("block_count")),
        heads=int(number("attention.head_count")),
        hidden=int(number("feed_forward_length")),
        context=int(number("context_length")),
        theta=float(number("rope.freq_base")),
        epsilon=round(number("attention.layer_norm_rms_epsilon"), 9),  # stored in single precision
    )
    tensors = {tensor.name: tensor.data for tensor in reader.tensors}
    weights = {name: np.array(tensors[names_of(name)[0]]) for name in weights_of(shape)}
    for name in weights:
        if name.endswith(HEAD_MIXED):
            pairs = weights[name].reshape(shape.heads, shape.head_width // 2, 2, shape.width)
            weights[name] = np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(weights[name].shape)
    return shape, weights


def write_folder(shape: Shape, weights: Mapping[str, np.ndarray], folder: Path) -> None:
    """Write config.json, model.safetensors, and the tokenizer's files."""
    folder.mkdir(parents=True, exist_ok=True)
    end = tokens.load().token_to_id(END)
    pad = tokens.load().token_to_id("<|pad|>")
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": shape.vocab,
        "hidden_size": shape.width,
        "intermediate_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.heads,
        "head_dim": shape.head_width,
        "hidden_act": "silu",
        "max_position_embeddings": shape.context,
        "rms_norm_eps": shape.epsilon,
        "rope_theta": shape.theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": shape.theta},
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": False,
        "bos_token_id": None,
        "eos_token_id": end,
        "pad_token_id": pad,
        "torch_dtype": "float16",
    }
    generation = {"bos_token_id": None, "eos_token_id": end, "pad_token_id": pad}
    files = {"config": config, "generation_config": generation, "tokenizer_config": tokens.tokenizer_config()}
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n")
    tokens.save(tokens.load(), folder / "tokenizer.json")
    _write_safetensors({names_of(ours)[1]: weight for ours, weight in weights.items()}, folder)


def _write_safetensors(weights: Mapping[str, np.ndarray], folder: Path) -> None:
    """The format is a length, a JSON header, and the raw arrays."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    place = 0
    for name, weight in weights.items():
        kind = {"float16": "F16", "float32": "F32"}[weight.dtype.name]
        header[name] = {"dtype": kind, "shape": weight.shape, "data_offsets": [place, place + weight.nbytes]}
        place += weight.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for weight in weights.values():
            file.write(np.ascontiguousarray(weight).tobytes())


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Derive the Hugging Face folder from a GGUF file of the pair.")
    parser.add_argument("gguf", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args(arguments)
    write_folder(*read_gguf(options.gguf), options.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
