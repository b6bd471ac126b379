"""What a server is told about speculative decoding: typed, checked before anything is started.

Each profile becomes the JSON of vLLM's `--speculative-config`. What vLLM 0.32 would ignore in silence, or accept by
name and not run, is refused here with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from orchestrator import registry
from orchestrator.engines.speculation import LENGTHS, SOURCES
from orchestrator.engines.speculation.named import made
from orchestrator.errors import BadConfig

__all__ = [
    "PROFILES",
    "CustomClass",
    "DraftModel",
    "Eagle",
    "Eagle3",
    "Medusa",
    "Mtp",
    "NGram",
    "Profile",
    "Suffix",
    "check_name",
    "profile_class",
]

DRAFTER = "orchestrator.engines.speculation.drafter.Drafter"
IN_ARGS = (
    'it drafts only for checkpoints made for it; set method = "none" and name them in `args`, with --spec-method, '
    "--spec-model and --spec-tokens"
)
NOT_RUNNABLE = {
    "mlp_speculator": "vLLM 0.32 accepts the name and has nothing that runs it; eagle3 and medusa are the nearest",
    "dflash": IN_ARGS,
    "dspark": IN_ARGS,
    "extract_hidden_states": "it drafts nothing: it fills the drafter's place to hand out hidden states",
}
"""Methods that vLLM knows by name and that are no profile, with the reason."""
TELLING = ("eagle-", "eagle3", "dflash", "dspark")
"""What vLLM takes for the method where it is anywhere in the name or path of drafting weights."""
ALWAYS_ALL = "vLLM 0.32 ends there at the first batch that is to have fewer than all tokens; leave it out"


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What every way of drafting has."""

    tokens: int = 5
    """Most tokens of a draft."""
    schedule: Sequence[Sequence[int]] = ()
    """(first batch size, last batch size, tokens) rows, without a gap from 1 on: fewer tokens, or none, under load."""

    method = ""

    @property
    def unscheduled(self) -> str:
        """Why it takes no schedule; empty where it takes one."""
        return ""

    def __post_init__(self) -> None:
        if self.tokens < 1:
            raise BadConfig(f'speculation tokens = {self.tokens} must be at least 1; method = "none" turns it off')
        if self.schedule and self.unscheduled:
            raise BadConfig(f"speculation {self.method} takes no schedule: {self.unscheduled}")
        _check_schedule(self.schedule, self.tokens)

    def arguments(self) -> dict[str, Any]:
        """Return what `--speculative-config` is given."""
        found: dict[str, Any] = {"method": self.method, "num_speculative_tokens": self.tokens}
        if self.schedule:
            found["num_speculative_tokens_per_batch_size"] = [list(row) for row in self.schedule]
        return found

    def additional(self) -> dict[str, Any]:
        """Return what `--additional-config` is given."""
        return {}


@dataclass(frozen=True, kw_only=True)
class NGram(Profile):
    """What followed the same last tokens earlier in the text; needs nothing, and so is the default."""

    lookup_min: int = 2
    lookup_max: int = 4

    method = "ngram"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.lookup_min <= self.lookup_max:
            raise BadConfig(f"lookup_min = {self.lookup_min} and lookup_max = {self.lookup_max}: 1 <= min <= max")

    def arguments(self) -> dict[str, Any]:
        """Return what `--speculative-config` is given."""
        return super().arguments() | {"prompt_lookup_min": self.lookup_min, "prompt_lookup_max": self.lookup_max}


@dataclass(frozen=True, kw_only=True)
class Suffix(Profile):
    """vLLM's own SuffixDecoding; needs arctic-inference in the server's environment."""

    max_tree_depth: int = 24
    max_cached_requests: int = 10_000
    max_spec_factor: float = 1.0
    """Longest draft, as a multiple of the text that it matched."""
    min_token_prob: float = 0.1

    method = "suffix"

    @property
    def unscheduled(self) -> str:
        """Why it takes no schedule."""
        return ALWAYS_ALL

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_tree_depth < 1:
            raise BadConfig(f"max_tree_depth = {self.max_tree_depth} must be at least 1")
        if self.max_cached_requests < 0:
            raise BadConfig(f"max_cached_requests = {self.max_cached_requests} must be at least 0")
        if self.max_spec_factor < 0:
            raise BadConfig(f"max_spec_factor = {self.max_spec_factor} must be at least 0")
        if not 0 <= self.min_token_prob <= 1:
            raise BadConfig(f"min_token_prob = {self.min_token_prob} must be from 0 to 1")

    def arguments(self) -> dict[str, Any]:
        """Return what `--speculative-config` is given."""
        return super().arguments() | {
            "suffix_decoding_max_tree_depth": self.max_tree_depth,
            "suffix_decoding_max_cached_requests": self.max_cached_requests,
            "suffix_decoding_max_spec_factor": self.max_spec_factor,
            "suffix_decoding_min_token_prob": self.min_token_prob,
        }


@dataclass(frozen=True, kw_only=True)
class _WithModel(Profile):
    model: str
    """Name or folder of the drafting weights; they are split over as many GPUs as the engine's."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.model:
            raise BadConfig(f"speculation {self.method} needs a model")

    def arguments(self) -> dict[str, Any]:
        return super().arguments() | {"model": self.model}


@dataclass(frozen=True, kw_only=True)
class DraftModel(_WithModel):
    """A smaller model of the same family, or of another one with `heterogeneous_vocab`."""

    heterogeneous_vocab: bool = False
    """The two have different vocabularies: they meet in the tokens both have, drafted greedily."""
    parallel: bool = False
    """All tokens of a draft in one pass, for weights trained so (PARD)."""

    method = "draft_model"

    @property
    def unscheduled(self) -> str:
        """Why it takes no schedule; empty where it takes one."""
        return f"with parallel {ALWAYS_ALL}" if self.parallel else ""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_name(self.method, self.model)
        if self.heterogeneous_vocab and self.parallel:
            raise BadConfig("heterogeneous_vocab and parallel exclude each other: such drafts are written one by one")

    def arguments(self) -> dict[str, Any]:
        """Return what `--speculative-config` is given."""
        found = super().arguments()
        if self.heterogeneous_vocab:
            found["use_heterogeneous_vocab"] = True
        if self.parallel:
            found["parallel_drafting"] = True
        return found


@dataclass(frozen=True, kw_only=True)
class Eagle(_WithModel):
    """A drafting head on the model's last hidden state; weights made for this very model."""

    method = "eagle"


@dataclass(frozen=True, kw_only=True)
class Eagle3(_WithModel):
    """A drafting head on several hidden states; weights made for this very model."""

    method = "eagle3"


@dataclass(frozen=True, kw_only=True)
class Medusa(_WithModel):
    """Several heads that each guess one token ahead; weights made for this very model."""

    method = "medusa"

    @property
    def unscheduled(self) -> str:
        """Why it takes no schedule."""
        return ALWAYS_ALL

    def __post_init__(self) -> None:
        super().__post_init__()
        check_name(self.method, self.model)


@dataclass(frozen=True, kw_only=True)
class Mtp(Profile):
    """The model's own multi-token prediction layers, where it was trained with some."""

    tokens: int = 1

    method = "mtp"


@dataclass(frozen=True, kw_only=True)
class CustomClass(Profile):
    """The training-free drafters of this package, in the server's process, where it has to be installed too."""

    sources: Sequence[Any] = ("ngrams", "suffix", "trigrams")
    """Names in `speculation.SOURCES`, or [name, options], in the order they are tried."""
    length: Any = "feedback"
    """A name in `speculation.LENGTHS`, or [name, options]."""

    method = "custom_class"

    @property
    def unscheduled(self) -> str:
        """Why it takes no schedule."""
        return 'vLLM 0.32 ignores it there in silence; length = "goodput" drafts less under load'

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.sources:
            raise BadConfig("speculation custom_class needs a source")
        for source in self.sources:
            _check_named(source, "source", "draft_sources", SOURCES)
        _check_named(self.length, "length", "draft_lengths", LENGTHS, most=self.tokens)

    def arguments(self) -> dict[str, Any]:
        """Return what `--speculative-config` is given."""
        return super().arguments() | {"model": DRAFTER}

    def additional(self) -> dict[str, Any]:
        """Return what `--additional-config` is given."""
        return {"drafter": {"sources": list(self.sources), "length": self.length}}


PROFILES: Mapping[str, type[Profile]] = MappingProxyType(
    {each.method: each for each in (NGram, Suffix, DraftModel, Eagle, Eagle3, Medusa, Mtp, CustomClass)}
)


def profile_class(method: str) -> type[Profile]:
    """Return the profile of a method. Raises BadConfig with the reason, or with what exists."""
    if method in NOT_RUNNABLE:
        raise BadConfig(f"speculation method {method!r} is refused: {NOT_RUNNABLE[method]}")
    if method not in PROFILES:
        raise BadConfig(f"no speculation method {method!r}; known: {', '.join(PROFILES)}, none")
    return PROFILES[method]


def check_name(method: str, weights: str) -> None:
    """Raise BadConfig if vLLM 0.32 would draft by another method because of what the weights are called."""
    for each in TELLING:
        if each in weights.lower():
            raise BadConfig(
                f"speculation {method}: {weights!r} has {each!r} in it, which vLLM 0.32 takes for the method: use that "
                "method, or give the weights a folder of another name"
            )


def _check_named(given: Any, what: str, group: str, ours: Mapping[str, str], **options: Any) -> None:
    """Raise BadConfig now for what would keep the server from starting, minutes later: it is made once, in vain."""
    match given:
        case str(name) | [str(name), {}]:
            if name not in (known := registry.names(group, ours)):
                raise BadConfig(f"speculation custom_class has no {what} {name!r}; known: {', '.join(known)}")
            try:
                made(given, group, ours, **options)
            except (TypeError, ValueError) as error:
                raise BadConfig(f"speculation custom_class: {what} {name!r}: {error}") from error
        case _:
            raise BadConfig(
                f"speculation custom_class: {what} {given!r} is no name, and no [name, {{ option = value }}]"
            )


def _check_schedule(schedule: Sequence[Sequence[int]], most: int) -> None:
    expected = 1
    for row in schedule:
        if len(row) != 3 or any(type(each) is not int for each in row):
            raise BadConfig(f"schedule row {list(row)!r}: write [first batch size, last batch size, tokens]")
        first, last, tokens = row
        if first != expected or last < first:
            raise BadConfig(
                f"schedule row {list(row)!r}: it has to begin at batch size {expected}, and rows go up: vLLM would "
                "carry the row before over a gap"
            )
        if not 0 <= tokens <= most:
            raise BadConfig(f"schedule row {list(row)!r}: tokens are from 0 to {most}, what `tokens` allows")
        expected = last + 1
