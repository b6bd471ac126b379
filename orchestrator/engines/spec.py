"""What an engine is made from: plain, comparable, printable values. Building it is another matter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from orchestrator.engines.serving import Serving, address
from orchestrator.errors import BadConfig
from orchestrator.ledger import Price
from orchestrator.types import Sampling

__all__ = [
    "POOLING",
    "BehaviorPrompt",
    "EngineSpec",
    "JudgePrompt",
    "ProbePrompt",
    "ToolPrompt",
    "VerdictPrompt",
    "check_bare",
]

POOLING = "pooling"
"""The kind that can write nothing: its engines read a prompt and answer with probabilities of classes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgePrompt:
    """How an engine is asked to rate the last step with one digit; a model trained to judge brings its own words."""

    question: str = (
        "Look only at the last step of the reasoning above. Is what it states true, and does it follow from what came "
        "before? Style and usefulness do not matter. Rate it with one digit: 0 is wrong, 9 is certainly right."
    )
    prefill: str = "The rating of the last step is \\boxed{"
    """How the reply begins; the next token is the rating."""
    think: bool | None = None
    """Switches a chat template that can think or not; False where the rating must come at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictPrompt:
    """How an engine is asked whether what was done so far is right, to be answered with one of two words."""

    question: str = (
        "Look at everything that was thought and done so far, and at what came of it. Is it right, and does it lead "
        "to what was asked? Answer with one word: CORRECT or INCORRECT."
    )
    prefill: str = ""
    """How the reply begins; the word comes next."""
    think: bool | None = None
    """Switches a chat template that can think or not; False where the word must come at once."""
    right: str = "CORRECT"
    """A single word, read in any case."""
    wrong: str = "INCORRECT"
    max_tokens: int = 10
    """Tokens a reply may have, enough for either word."""

    def __post_init__(self) -> None:
        for name in ("right", "wrong"):
            if not (value := getattr(self, name)).isalnum():
                raise BadConfig(f"{name} = {value!r}: give a single word, of letters and digits")
        right, wrong = self.right.casefold(), self.wrong.casefold()
        if right.startswith(wrong) or wrong.startswith(right):
            raise BadConfig(f"right = {self.right!r} and wrong = {self.wrong!r}: neither word may begin with the other")
        if self.max_tokens < 1:
            raise BadConfig(f"max_tokens = {self.max_tokens!r} must be at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolPrompt:
    """How an engine is told of tools, and how it writes a call; one trained on tools brings its own words."""

    format: Literal["plain", "hermes", "json"] = "plain"
    """How a call is written; see tools/formats."""
    told: str | None = None
    """The system's message, `{names}` in it for the tools' names; None for a list with descriptions and the rule."""
    is_native: bool = False
    """The tools are given to the engine's chat template, which tells of them in its own words: no message of ours."""
    trained_on: Sequence[str] = field(default=(), metadata={"is_setting": False})
    """The only tools that the engine learned to use, by name; empty for one that can use any. It is told of whatever
    there is, and people are told of the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BehaviorPrompt:
    """How an engine is shown behaviors; one trained on them brings its own words."""

    head: str = (
        "Behaviors that helped on problems like this one. Use those that fit, and name each one that you use; leave "
        "the others."
    )
    """The line above them."""
    mark: str = "- "
    """What each line begins with, before `name: instruction`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbePrompt:
    """How an engine is made to answer at once, behind a thought that is not finished."""

    closes: str = "</think>\n\n"
    """Closes the thought; left out where none is open. `</think>` in it is the engine's own tag."""
    opens: str = "\\boxed{"
    """Opens the answer, which goes up to the brace that closes this one's last."""
    max_tokens: int = 32
    """Tokens an answer may have."""

    def __post_init__(self) -> None:
        if not self.opens.endswith("{"):
            raise BadConfig(f"opens = {self.opens!r}: end it with the brace whose partner ends the answer")
        if self.max_tokens < 1:
            raise BadConfig(f"max_tokens = {self.max_tokens!r} must be at least 1")

    def settings(self) -> dict[str, Any]:
        """Return every option, for comparing runs."""
        return {name: getattr(self, name) for name in ProbePrompt.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSpec:
    """One engine of a pipeline: where it is, what it serves, how it samples and what it costs."""

    kind: str
    """A name in `orchestrator.engines.ENGINES`."""
    url: str | None = None
    """Base address of a server, e.g. `http://127.0.0.1:8001/v1`; BadConfig if it may hold a secret."""
    model: str | None = None
    """Name of the served model; None for the only one there is."""
    path: str | None = None
    """Model file of the embedded engine, or the name of a model that ships with the package."""
    api_key: str | None = field(default=None, repr=False)
    """Never stored, shown or logged."""
    context: int | None = None
    """Tokens of context the embedded engine sets up per run; None for the model's own, at most 4,096."""
    threads: int | None = None
    """Threads of the embedded engine; None for all cores."""
    parallel: int | None = None
    """Calls the embedded engine serves side by side; None for 4."""
    think: bool | None = None
    """Switches this engine's chat template, where the run does not say; None leaves the template's default."""
    judge: JudgePrompt | None = None
    """How it is asked to rate, where it is the judge; None for our words, or, of kind pooling, for no words at all."""
    verdict: VerdictPrompt | None = None
    """How it is asked whether a run goes right; None for our words."""
    tools: ToolPrompt | None = None
    """How it is told of tools and calls them; None for our words. The largest engine's goes for all of a pipeline."""
    behaviors: BehaviorPrompt | None = None
    """How it is shown behaviors; None for our words. The largest engine's goes for all of a pipeline."""
    probe: ProbePrompt | None = None
    """How it is made to answer at once; None for our words."""
    step_tag: str | None = None
    """Closes each step in the prompts of a pooling engine whose model reads steps there, e.g. `<extra_0>`."""
    measures: Literal["prm", "escalation"] = "prm"
    """What an engine that only measures was trained to tell: how good a step is, or, as a router's classifier, whether
    the larger engine would write a better one."""
    serving: Serving | None = None
    """How `orchestrator engines up` starts its server; None where somebody else does."""
    writes: bool = True
    """False for an engine that only measures, such as a process reward model: no step is ever its own. Always
    False for kind pooling."""
    timeout_s: float = 600.0
    """Longest wait for one call."""
    sampling: Sampling = field(default_factory=Sampling)
    price: Price = field(default_factory=Price)

    def __post_init__(self) -> None:
        if self.url is not None:
            check_bare(self.url, "the url")
        if self.kind == POOLING and self.writes:
            raise BadConfig("an engine of kind pooling can only measure: leave writes out, or set it to false")
        if self.step_tag is not None and (self.kind != POOLING or not self.step_tag.strip()):
            raise BadConfig(f"step_tag = {self.step_tag!r}: name the tag that an engine of kind pooling reads steps at")
        if self.measures not in ("prm", "escalation"):
            raise BadConfig(f"measures = {self.measures!r}; known: prm, escalation")
        if self.measures == "escalation" and (self.kind != POOLING or self.step_tag or self.judge):
            raise BadConfig(
                'measures = "escalation" is for an engine of kind pooling, and its format is fixed: leave step_tag and '
                "judge out"
            )
        if self.serving is not None:
            self._check_serving(self.serving)
        for name in ("context", "threads", "parallel"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise BadConfig(f"{name} = {value!r} must be at least 1")

    def _check_serving(self, serving: Serving) -> None:
        if self.kind not in ("vllm", POOLING) or self.url is None:
            raise BadConfig("serve is for an engine of kind vllm or pooling with a url at this machine")
        address(self.url)
        if self.kind == POOLING and serving.speculation is not None:
            raise BadConfig(
                "an engine of kind pooling has no tokens to draft: leave speculation out, or set it to none"
            )
        if self.sampling.min_p and serving.speculation is not None:
            raise BadConfig(
                "min_p and speculation exclude each other: vLLM refuses every request with it; leave min_p out, or "
                'set speculation method = "none"'
            )

    def settings(self) -> dict[str, Any]:
        """Return what shapes the text this engine writes, for comparing runs; no secrets, no prices."""
        return {
            "kind": self.kind,
            "url": self.url,
            "model": self.model,
            "path": self.path,
            "context": self.context,
            "think": self.think,
            "writes": self.writes,
            "sampling": {name: getattr(self.sampling, name) for name in Sampling.__slots__},
            # Only where there is one: runs of before there was this option can be resumed.
            **({} if self.step_tag is None else {"step_tag": self.step_tag}),
            **({} if self.measures == "prm" else {"measures": self.measures}),
            **({} if self.probe is None else {"probe": self.probe.settings()}),
        }


def check_bare(url: str, what: str) -> None:
    """Raise BadConfig, which calls the url `what` and does not repeat it, if it has a place for a secret.

    Addresses are shown, stored and logged. It is the letters that are looked at, so that an address
    too broken to be read cannot slip through.
    """
    for letter, place in {"@": "a user name or password", "?": "a query", "#": "a fragment"}.items():
        if letter in url:
            raise BadConfig(f"{what} holds {place}: write it like http://127.0.0.1:8000/v1 and give a key as api_key")
