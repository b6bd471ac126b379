"""Read commands as vLLM does that they start; runs in its environment: `read_commands.py COMMANDS RESULTS`.

COMMANDS is JSON, a list of lists of words. RESULTS has for each what the server would be told (`said`) and, where the
model is a folder, what vLLM makes of it (`speculation`: its own fields, and what it took for drafting weights), or
the `error` that would be its end.
"""

from __future__ import annotations

import json
import os
import sys
from argparse import Namespace
from dataclasses import fields
from pathlib import Path
from typing import Any

from vllm.config.speculative import SpeculativeConfig
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.entrypoints.cli.serve import cmd_init
from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
from vllm.model_executor.models import registry
from vllm.utils.argparse_utils import FlexibleArgumentParser

# vLLM starts a process to look at a class, to keep a GPU's driver out of this one. There is none.
registry._run_in_subprocess = lambda function: function()

SAID = (
    *("host", "port", "served_model_name", "model", "speculative_config", "additional_config"),
    *("enable_prefix_caching", "enable_prompt_tokens_details", "enable_per_request_metrics"),
    "per_request_spec_decode_metrics",
)
COMES_TO = (AssertionError, ImportError, NotImplementedError, ValueError)
"""What vLLM raises for settings that it does not start with."""


def read(words: list[str]) -> dict[str, Any]:
    """Return what vLLM understands."""
    options = _options(words)
    found: dict[str, Any] = {"said": {name: getattr(options, name) for name in SAID}}
    if not os.path.isdir(options.model):
        return found
    try:
        validate_parsed_serve_args(options)
        made = AsyncEngineArgs.from_cli_args(options).create_engine_config()
        found["additional"] = made.additional_config
        found["speculation"] = made.speculative_config and _described(made.speculative_config)
    except COMES_TO as error:
        found["error"] = f"{type(error).__name__}: {error}"
    return found


def _options(words: list[str]) -> Namespace:
    """Parse as `vllm serve MODEL ...` and as `PYTHON -m MODULE --model MODEL ...` do; an unknown flag ends all."""
    if words[:2] != ["vllm", "serve"]:
        return make_arg_parser(FlexibleArgumentParser()).parse_args(words[3:])
    parser = FlexibleArgumentParser()
    commands = parser.add_subparsers(dest="subparser", required=True)
    for each in cmd_init():
        each.subparser_init(commands)
    options = parser.parse_args(words[1:])
    options.model = options.model_tag
    return options


def _described(config: SpeculativeConfig) -> dict[str, Any]:
    own = {each.name: getattr(config, each.name) for each in fields(config)}
    plain = {name: value for name, value in own.items() if isinstance(value, str | int | float | list | None)}
    weights = config.draft_model_config
    return plain | {"weights": weights.model, "architectures": weights.architectures}


if __name__ == "__main__":
    commands = json.loads(Path(sys.argv[1]).read_text())
    Path(sys.argv[2]).write_text(json.dumps([read(words) for words in commands]))
