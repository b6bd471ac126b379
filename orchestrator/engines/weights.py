"""What can be seen of weights before a server spends minutes on them."""

from __future__ import annotations

import json
from pathlib import Path

from orchestrator.engines.serving import Serving
from orchestrator.engines.speculation.profiles import DraftModel, Eagle, Eagle3, Medusa
from orchestrator.errors import BadConfig

__all__ = ["check_weights"]

HERE = ("/", "./", "../")
"""How the name of a folder begins; another name may be the hub's."""
CONFIGS = ("config.json", "params.json")
"""What vLLM knows a folder of weights by; the second is Mistral's."""


def check_weights(engine: str, serving: Serving) -> None:
    """Raise BadConfig for a folder that is not there or holds no weights, and a draft model of another vocabulary."""
    _check_folder(engine, serving.model, "weights")
    drafting = serving.speculation
    if isinstance(drafting, DraftModel | Eagle | Eagle3 | Medusa):
        _check_folder(engine, drafting.model, "drafting weights")
    if isinstance(drafting, DraftModel) and not drafting.heterogeneous_vocab:
        large, small = _vocab_size(engine, serving.model), _vocab_size(engine, drafting.model)
        if None not in (large, small) and large != small:
            raise BadConfig(
                f"engine {engine!r}: {serving.model} has a vocabulary of {large} tokens and its draft model "
                f"{drafting.model} one of {small}: set heterogeneous_vocab = true in "
                f"[engines.{engine}.serve.speculation], or draft with a model of the same family"
            )


def _check_folder(engine: str, model: str, what: str) -> None:
    path = Path(model)
    if model.startswith(HERE) and not path.exists():
        raise BadConfig(f"engine {engine!r}: there are no {what} at {model}")
    if path.is_dir() and not any((path / name).exists() for name in CONFIGS):
        raise BadConfig(f"engine {engine!r}: there are no {what} at {model}: the folder has no config.json")


def _vocab_size(engine: str, model: str) -> int | None:
    """Return what a folder says, in tokens; None where the name is no folder's or its config does not say."""
    path = Path(model, "config.json")
    if not path.is_file():
        return None
    try:
        config = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise BadConfig(f"engine {engine!r}: {path} cannot be read: {error}") from error
    match config:
        case {"text_config": {"vocab_size": int(size)}} | {"vocab_size": int(size)}:
            return size
        case _:
            return None
