"""The shared tokenizer: byte-level BPE in GPT-2's alphabet, single digits, 512 tokens.

Ids: 0-255 bytes, then the merges, then markers. Merges join letters only (with the blank before a word),
plus the two newlines of a step's end, so no token reaches over the edge of a number, a sign or a step.
`tokenizer.ggml.pre` is `qwen2`; because of those merges any splitter that never cuts a word would do.
"""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

from train.chat import CHAT_TEMPLATE, END, ROLES

__all__ = [
    "CONTROL",
    "FILE",
    "GGML_PRE",
    "MARKERS",
    "VISIBLE",
    "VOCAB",
    "alphabet",
    "build",
    "learn_merges",
    "load",
    "num_merges",
    "save",
    "tokenizer_config",
]

VOCAB = 512
GGML_PRE = "qwen2"
FILE = Path(__file__).with_name("tokenizer.json")

CONTROL = ("<|pad|>", END, *ROLES.values())
"""Never shown in decoded text."""
VISIBLE = ("<think>", "</think>", "<tool>", "</tool>")
"""Shown in decoded text."""
MARKERS = CONTROL + VISIBLE

_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)


def alphabet() -> list[str]:
    """GPT-2's printable stand-in for each byte, by byte value."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    stand_ins = {byte: chr(byte) for byte in printable}
    spare = iter(range(256, 512))
    return [stand_ins.get(byte) or chr(next(spare)) for byte in range(256)]


def learn_merges(texts: Iterable[str], count: int) -> list[tuple[str, str]]:
    """The first `count` merges: the newlines, then byte pair encoding of the words; ties by spelling."""
    letters = alphabet()
    counts = Counter(word for text in texts for word in re.findall(r" ?[A-Za-z]+|\\boxed", text))
    words = {word: [letters[byte] for byte in word.encode()] for word in counts}
    merges = [(letters[10], letters[10])]
    while len(merges) < count:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, parts in words.items():
            for pair in itertools.pairwise(parts):
                pairs[pair] += counts[word]
        if not pairs:
            raise ValueError(f"only {len(merges)} merges in these texts, {count} wanted")
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        words = {word: _join(parts, best) for word, parts in words.items()}
    return merges


def _join(parts: list[str], pair: tuple[str, str]) -> list[str]:
    joined: list[str] = []
    index = 0
    while index < len(parts):
        if tuple(parts[index : index + 2]) == pair:
            joined.append(parts[index] + parts[index + 1])
            index += 2
        else:
            joined.append(parts[index])
            index += 1
    return joined


def build(merges: list[tuple[str, str]]) -> Tokenizer:
    """A tokenizer with these merges."""
    words = alphabet() + [left + right for left, right in merges]
    tokenizer = Tokenizer(models.BPE(vocab={word: index for index, word in enumerate(words)}, merges=merges))
    split = pre_tokenizers.Split(Regex(_SPLIT), behavior="isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_tokens([AddedToken(text, special=text in CONTROL, normalized=False) for text in MARKERS])
    if tokenizer.get_vocab_size() != VOCAB:
        raise ValueError(f"the vocabulary has {tokenizer.get_vocab_size()} tokens, not {VOCAB}")
    return tokenizer


def num_merges() -> int:
    return VOCAB - 256 - len(MARKERS)


def save(tokenizer: Tokenizer, path: Path = FILE) -> None:
    path.write_text(json.dumps(json.loads(tokenizer.to_str()), indent=1, ensure_ascii=True) + "\n")


def load(path: Path = FILE) -> Tokenizer:
    """The committed tokenizer."""
    return Tokenizer.from_file(str(path))


def tokenizer_config() -> dict[str, object]:
    """What stands in a Hugging Face folder's tokenizer_config.json."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": END,
        "pad_token": "<|pad|>",
        "add_bos_token": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 2048,
        "chat_template": CHAT_TEMPLATE,
    }


if __name__ == "__main__":
    from train.text import sample_text

    save(build(learn_merges(sample_text(), num_merges())))
