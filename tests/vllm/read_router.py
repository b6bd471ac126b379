"""Read a trained router's folder with transformers; runs in vLLM's environment: `read_router.py GIVEN FOUND`.

GIVEN is JSON: the `folder`, and `texts`, each a list of pieces as the data set has them. FOUND has the probability of
the second label for each text. Nothing of this repository is used: it is what the folder says to anybody.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer


def main(given: Path, found: Path) -> None:
    """Write the probabilities."""
    asked = json.loads(given.read_text())
    network = AutoModelForSequenceClassification.from_pretrained(asked["folder"], dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(asked["folder"])

    def encode(text: str) -> list[int]:
        return list(tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True))

    probabilities = []
    for problem, *steps in asked["texts"]:
        ids = encode(problem)
        for step in steps:
            ids += [*encode(step), encode("\n\n")[-1]]
        with torch.no_grad():
            logits = network(input_ids=torch.tensor([ids])).logits[0]
        probabilities.append(logits.softmax(-1)[1].item())
    found.write_text(json.dumps(probabilities))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
