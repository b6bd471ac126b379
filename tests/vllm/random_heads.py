"""Random weights for what drafts beside a model; runs in vLLM's environment: `random_heads.py TARGET SMALL ROOT`.

Writes into ROOT: `eagle`, `eagle3` and `medusa`, heads for TARGET (a Llama); `mtp`, TARGET itself with one random
layer of multi-token prediction; `parallel`, SMALL declared to draft all tokens in one pass (it was not trained to).
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

SCALE = 0.05
HEADS = 5
"""Tokens that the medusa heads guess; vLLM wants as many heads as it is to draft."""
AUXILIARY = [1, 3, 5]
"""Layers whose hidden states eagle3 reads; vLLM's own choice names one twice where there are only six."""


def write(target: Path, small: Path, root: Path) -> None:
    """Write all folders."""
    config = json.loads((target / "config.json").read_text())
    hidden, vocabulary = config["hidden_size"], config["vocab_size"]
    one = config | {"num_hidden_layers": 1}

    eagle = {"fc.weight": (hidden, 2 * hidden)} | _layer("layers.0", config)
    del eagle["layers.0.input_layernorm.weight"]  # its first layer has none
    _write(root / "eagle", one, _random(eagle))

    eagle3 = {"fc.weight": (hidden, 3 * hidden), "norm.weight": (hidden,), "lm_head.weight": (vocabulary, hidden)}
    eagle3 |= {"midlayer.hidden_norm.weight": (hidden,)} | _layer("midlayer", config, inputs=2 * hidden)
    said = {
        "architectures": ["LlamaForCausalLMEagle3"],
        "draft_vocab_size": vocabulary,
        "eagle_config": {"eagle_aux_hidden_state_layer_ids": AUXILIARY},
    }
    _write(root / "eagle3", one | said, _random(eagle3))

    medusa = {f"blocks.{head}.layers.0.weight": (hidden, hidden) for head in range(HEADS)}
    medusa |= {f"lm_heads.{head}.weight": (vocabulary, hidden) for head in range(HEADS)}
    said = {"architectures": ["MedusaModel"], "model_type": "medusa", "num_heads": HEADS, "num_hidden_layers": 1}
    _write(root / "medusa", said | {"hidden_size": hidden, "vocab_size": vocabulary}, _random(medusa))

    _write_mtp(target, root / "mtp", config)

    shutil.copytree(small, root / "parallel")
    of_small = json.loads((small / "config.json").read_text())
    (root / "parallel" / "config.json").write_text(json.dumps(of_small | {"pard_token": vocabulary - 1}))


def _write_mtp(target: Path, folder: Path, config: Mapping[str, Any]) -> None:
    """Write the target as a MiMo, which is a Llama with biases (zero here) and such layers."""
    hidden, biases = config["hidden_size"], {}
    for layer in range(config["num_hidden_layers"]):
        for name in "qkv":
            biases[f"model.layers.{layer}.self_attn.{name}_proj.bias"] = np.zeros(hidden, np.float32)
    ahead = "model.mtp_layers.0"
    shapes = {f"{ahead}.input_proj.weight": (hidden, 2 * hidden)} | _layer(ahead, config)
    shapes |= {f"{ahead}.{name}_layernorm.weight": (hidden,) for name in ("token", "hidden", "final")}
    shapes |= {f"{ahead}.self_attn.{name}_proj.bias": (hidden,) for name in "qkv"}
    said = {"architectures": ["MiMoForCausalLM"], "model_type": "qwen2", "num_nextn_predict_layers": 1}
    _write(folder, {**config, **said}, load_file(target / "model.safetensors") | biases | _random(shapes))
    for path in target.glob("*.json"):
        if not (folder / path.name).exists():
            shutil.copy(path, folder)


def _layer(name: str, config: Mapping[str, Any], inputs: int | None = None) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a decoder layer whose attention reads `inputs` values; None for the hidden size."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    found: dict[str, tuple[int, ...]] = {
        f"{name}.self_attn.{each}_proj.weight": (hidden, inputs or hidden) for each in "qkv"
    }
    return found | {
        f"{name}.self_attn.o_proj.weight": (hidden, hidden),
        f"{name}.mlp.gate_proj.weight": (inner, hidden),
        f"{name}.mlp.up_proj.weight": (inner, hidden),
        f"{name}.mlp.down_proj.weight": (hidden, inner),
        f"{name}.input_layernorm.weight": (hidden,),
        f"{name}.post_attention_layernorm.weight": (hidden,),
    }


def _random(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    draw = np.random.default_rng(0)
    return {name: (SCALE * draw.standard_normal(shape)).astype(np.float32) for name, shape in shapes.items()}


def _write(folder: Path, config: Mapping[str, Any], weights: dict[str, Any]) -> None:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


if __name__ == "__main__":
    write(*map(Path, sys.argv[1:]))
