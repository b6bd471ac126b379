"""Write a trained decoder as GGUF, the one form in which it is shipped.

    python -m train.export STATE.pt --name pocket-small --gguf pocket-small.gguf

Weights are rounded to float16 once. llama.cpp rotates neighbouring pairs where the decoder (like
Hugging Face) rotates halves, so the rows of queries and keys are permuted on the way.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import gguf
import numpy as np

from train import tokenizer as tokens
from train.chat import CHAT_TEMPLATE, END
from train.folder import HEAD_MIXED, names_of
from train.network import Decoder
from train.run import load_decoder
from train.shape import Shape

__all__ = ["main", "rounded", "write_gguf"]


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
        if ours.endswith(HEAD_MIXED):
            weight = _interleaved(weight, shape)
        writer.add_tensor(names_of(ours)[0], weight)
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


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Write a trained state as GGUF.")
    parser.add_argument("state", type=Path)
    parser.add_argument("--name", required=True, help="pocket-small, pocket-large or pocket-scorer")
    parser.add_argument("--gguf", type=Path, required=True)
    parser.add_argument("--version", default="0", help="stands in the GGUF; a retrained pair gets a new one")
    options = parser.parse_args(arguments)
    decoder = load_decoder(options.state)
    write_gguf(decoder, options.gguf, name=options.name, version=options.version)
    return 0


if __name__ == "__main__":
    sys.exit(main())
