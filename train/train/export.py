"""Write a decoder as GGUF (for the embedded engine) and as a Hugging Face folder (for vLLM).

    python -m train.export STATE.pt --name pocket-small --gguf pocket-small.gguf --folder pocket-small

Both hold the same weights, rounded to float16 once. llama.cpp rotates neighbouring pairs where the
decoder (like Hugging Face) rotates halves, so the rows of queries and keys are permuted on the way.
"""

from __future__ import annotations

import argparse
import json
import struct
import sys
from pathlib import Path

import gguf
import numpy as np

from train import tokenizer as tokens
from train.chat import CHAT_TEMPLATE, END
from train.network import Decoder, Shape
from train.run import load_decoder

__all__ = ["main", "write_folder", "write_gguf"]

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


def _names(ours: str) -> tuple[str, str]:
    """What a weight is called in GGUF and in a Hugging Face folder."""
    if ours in _ENDS:
        return _ENDS[ours]
    _, layer, part, _ = ours.split(".")
    theirs = _PAIRS[part]
    return f"blk.{layer}.{theirs[0]}.weight", f"model.layers.{layer}.{theirs[1]}.weight"


def rounded(decoder: Decoder) -> dict[str, np.ndarray]:
    """The weights as they are shipped: matrices float16, norms float32."""
    weights = {name: weight.detach().cpu().float().numpy() for name, weight in decoder.state_dict().items()}
    return {name: weight.astype(np.float16) if weight.ndim == 2 else weight for name, weight in weights.items()}


def _interleaved(weight: np.ndarray, shape: Shape) -> np.ndarray:
    """Rows reordered so that the two halves of every head alternate."""
    halves = weight.reshape(shape.heads, 2, shape.head_width // 2, shape.width)
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(weight.shape)


def write_gguf(decoder: Decoder, path: Path, *, name: str, version: str = "0") -> None:
    """Write the GGUF file, tokenizer and chat template included."""
    shape = decoder.shape
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_name(name)
    writer.add_version(version)
    writer.add_license("Apache-2.0")
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.hidden)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.heads)
    writer.add_layer_norm_rms_eps(shape.epsilon)
    writer.add_rope_dimension_count(shape.head_width)
    writer.add_rope_freq_base(shape.theta)
    writer.add_vocab_size(shape.vocab)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    _write_tokenizer(writer)
    for ours, weight in rounded(decoder).items():
        if ours.endswith(("query.weight", "key.weight")):
            weight = _interleaved(weight, shape)
        writer.add_tensor(_names(ours)[0], weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _write_tokenizer(writer: gguf.GGUFWriter) -> None:
    tokenizer = json.loads(tokens.load().to_str())
    ids = dict(tokenizer["model"]["vocab"])
    ids |= {added["content"]: added["id"] for added in tokenizer["added_tokens"]}
    words = sorted(ids, key=lambda word: ids[word])
    kinds = {word: gguf.TokenType.CONTROL for word in tokens.CONTROL}
    kinds |= {word: gguf.TokenType.USER_DEFINED for word in tokens.VISIBLE}
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in tokenizer["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(tokens.GGML_PRE)
    writer.add_token_list(words)
    writer.add_token_types([kinds.get(word, gguf.TokenType.NORMAL) for word in words])
    writer.add_token_merges(merges)
    writer.add_eos_token_id(ids[END])
    writer.add_pad_token_id(ids["<|pad|>"])
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def write_folder(decoder: Decoder, folder: Path) -> None:
    """Write config.json, model.safetensors, and the tokenizer's files."""
    folder.mkdir(parents=True, exist_ok=True)
    shape = decoder.shape
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
    _write_safetensors({_names(ours)[1]: weight for ours, weight in rounded(decoder).items()}, folder)


def _write_safetensors(weights: dict[str, np.ndarray], folder: Path) -> None:
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
    parser = argparse.ArgumentParser(description="Write a trained state as GGUF and as a Hugging Face folder.")
    parser.add_argument("state", type=Path)
    parser.add_argument("--name", required=True, help="pocket-small or pocket-large")
    parser.add_argument("--gguf", type=Path)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--version", default="0", help="stands in the GGUF; a retrained pair gets a new one")
    options = parser.parse_args(arguments)
    decoder = load_decoder(options.state)
    if options.gguf:
        write_gguf(decoder, options.gguf, name=options.name, version=options.version)
    if options.folder:
        write_folder(decoder, options.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
