"""A checkpoint with a head of two labels, read at the last token, and saved as vLLM serves it.

vLLM 0.32 serves any decoder as `...ForSequenceClassification` (one row of probabilities) or
`...ForTokenClassification` (one row for each token) under `--runner pooling`: it takes the decoder's own class and
reads `score.weight`, and `score.bias` where there is one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification, AutoTokenizer

from train.escalation.texts import Padded

__all__ = ["LABELS", "load", "logits", "save"]

LABELS = {0: "keep", 1: "escalate"}
_CLASSES = {"sequence": AutoModelForSequenceClassification, "token": AutoModelForTokenClassification}


def load(checkpoint: str, head: str, device: torch.device) -> tuple[Any, Any]:
    """Return the network and its tokenizer; a causal or reward checkpoint gets a new head."""
    network = _CLASSES[head].from_pretrained(
        checkpoint,
        num_labels=len(LABELS),
        id2label=LABELS,
        label2id={name: label for label, name in LABELS.items()},
        ignore_mismatched_sizes=True,  # a reward model's own head has other labels
        dtype=torch.float32,
    )
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    if network.config.pad_token_id is None:
        network.config.pad_token_id = tokenizer.pad_token_id or tokenizer.eos_token_id or 0
    return network.to(device), tokenizer


def logits(network: Any, batch: Padded) -> Tensor:
    """Return the two logits at each example's last token, (examples, 2), in single precision."""
    hidden = network.base_model(input_ids=batch.ids, attention_mask=batch.mask).last_hidden_state
    last = hidden[torch.arange(len(batch.last), device=hidden.device), batch.last]
    if network.training and isinstance(dropout := getattr(network, "dropout", None), torch.nn.Module):
        last = dropout(last)
    return network.score(last).float()


def save(network: Any, tokenizer: Any, folder: Path, dtype: torch.dtype) -> None:
    """Write the folder that vLLM serves."""
    network.config.problem_type = "single_label_classification"
    kept = {name: weight.detach().to("cpu", dtype) for name, weight in network.state_dict().items()}
    network.config.dtype = dtype
    network.save_pretrained(folder, state_dict=kept)
    tokenizer.save_pretrained(folder)
