"""The exact line that starts a server of Qwen/QwQ-32B at URL, for every way of drafting."""

from __future__ import annotations

from orchestrator.engines.speculation.profiles import (
    CustomClass,
    DraftModel,
    Eagle,
    Eagle3,
    Medusa,
    Mtp,
    NGram,
    Profile,
    Suffix,
)

URL = "http://127.0.0.1:8002/v1"
PLAIN = (
    "vllm serve Qwen/QwQ-32B --host 127.0.0.1 --port 8002 --enable-prefix-caching --enable-prompt-tokens-details "
    "--enable-per-request-metrics"
)
DRAFTING = f"{PLAIN} --per-request-spec-decode-metrics detailed --speculative-config "

GOLDEN: list[tuple[Profile | None, str]] = [
    (None, PLAIN),
    (
        NGram(),
        DRAFTING
        + """'{"method": "ngram", "num_speculative_tokens": 5, "prompt_lookup_min": 2, "prompt_lookup_max": 4}'""",
    ),
    (
        NGram(tokens=4, schedule=[[1, 8, 4], [9, 64, 0]]),
        DRAFTING
        + """'{"method": "ngram", "num_speculative_tokens": 4, """
        + """"num_speculative_tokens_per_batch_size": [[1, 8, 4], [9, 64, 0]], """
        + """"prompt_lookup_min": 2, "prompt_lookup_max": 4}'""",
    ),
    (
        Suffix(tokens=16),
        DRAFTING
        + """'{"method": "suffix", "num_speculative_tokens": 16, "suffix_decoding_max_tree_depth": 24, """
        + """"suffix_decoding_max_cached_requests": 10000, "suffix_decoding_max_spec_factor": 1.0, """
        + """"suffix_decoding_min_token_prob": 0.1}'""",
    ),
    (
        DraftModel(model="Qwen/Qwen3-0.6B", schedule=[[1, 32, 5], [33, 256, 1]]),
        DRAFTING
        + """'{"method": "draft_model", "num_speculative_tokens": 5, """
        + """"num_speculative_tokens_per_batch_size": [[1, 32, 5], [33, 256, 1]], "model": "Qwen/Qwen3-0.6B"}'""",
    ),
    (
        DraftModel(model="other/family", heterogeneous_vocab=True),
        DRAFTING
        + """'{"method": "draft_model", "num_speculative_tokens": 5, "model": "other/family", """
        + """"use_heterogeneous_vocab": true}'""",
    ),
    (
        DraftModel(model="a/PARD", tokens=8, parallel=True),
        DRAFTING
        + """'{"method": "draft_model", "num_speculative_tokens": 8, "model": "a/PARD", "parallel_drafting": true}'""",
    ),
    (Eagle(model="a/e"), DRAFTING + """'{"method": "eagle", "num_speculative_tokens": 5, "model": "a/e"}'"""),
    (Eagle3(model="a/e3"), DRAFTING + """'{"method": "eagle3", "num_speculative_tokens": 5, "model": "a/e3"}'"""),
    (Medusa(model="a/m"), DRAFTING + """'{"method": "medusa", "num_speculative_tokens": 5, "model": "a/m"}'"""),
    (Mtp(), DRAFTING + """'{"method": "mtp", "num_speculative_tokens": 1}'"""),
    (
        CustomClass(sources=["suffix"], length="goodput"),
        DRAFTING
        + """'{"method": "custom_class", "num_speculative_tokens": 5, """
        + """"model": "orchestrator.engines.speculation.drafter.Drafter"}' """
        + """--additional-config '{"drafter": {"sources": ["suffix"], "length": "goodput"}}'""",
    ),
]
