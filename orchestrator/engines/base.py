"""What an engine is: tokens in, tokens out, and an honest account of both.

The rest of the house knows engines only through this file. Implementations live beside it.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

from orchestrator.types import Message, Sampling, Stop, TokenLogprob

__all__ = [
    "Capabilities",
    "Chain",
    "Completion",
    "Drafting",
    "Engine",
    "Opened",
    "Prefix",
    "Progress",
    "Request",
    "Role",
    "Schema",
    "ThinkSwitch",
]

Opened: TypeAlias = tuple[bool | None, bool | None, bool | None]
Role: TypeAlias = Literal["user", "tool"]
"""Who speaks between two turns of the assistant."""
Schema: TypeAlias = Mapping[str, Any]
"""A tool as servers take it: `{"type": "function", "function": {...}}` of name, description and parameters."""
ThinkSwitch: TypeAlias = Literal["template", "block", ""]
"""See Capabilities."""


def _digest(before: bytes, ids: Sequence[int]) -> bytes:
    packed = ids if isinstance(ids, array) else array("i", ids)  # packing costs more than hashing
    return blake2b(before + packed.tobytes(), digest_size=16).digest()


class Prefix:
    """A prompt: the first ids of a chain that only grows, plus a few of its own.

    Making one costs the same however long the chain is, which is what keeps step 1,000 as
    cheap as step 10. `ids()` copies, so only an engine that really sends ids should call it.
    """

    __slots__ = ("_chain", "_length", "_own", "digest")

    def __init__(self, chain: list[int], length: int, digest: bytes, own: tuple[int, ...] = ()) -> None:
        self._chain = chain
        self._length = length
        self._own = own
        self.digest = digest
        """16 bytes that name the ids: equal digests, equal prompts (for the same way of appending)."""

    def __len__(self) -> int:
        return self._length + len(self._own)

    def ids(self) -> list[int]:
        """Return a new list of all ids."""
        return [*self._chain[: self._length], *self._own]

    def extended(self, ids: Sequence[int]) -> Prefix:
        """Return this prompt with `ids` behind it; the chain itself does not change."""
        own = (*self._own, *ids)
        return Prefix(self._chain, self._length, _digest(self.digest, ids), own)


class Chain:
    """Token ids that only ever grow at the end; a rollback makes a new one."""

    def __init__(self, ids: Sequence[int] = ()) -> None:
        self._ids: list[int] = []
        self._digest = b""
        self.append(ids)

    def __len__(self) -> int:
        return len(self._ids)

    def append(self, ids: Sequence[int]) -> None:
        """Add `ids` at the end. Prefixes handed out before stay as they were."""
        self._ids.extend(ids)
        self._digest = _digest(self._digest, ids)

    def prefix(self) -> Prefix:
        """Return everything up to now as a prompt."""
        return Prefix(self._ids, len(self._ids), self._digest)


class Progress:
    """How far a running call has come; readable after the call was cancelled."""

    __slots__ = ("output_tokens",)

    def __init__(self) -> None:
        self.output_tokens = 0
        """Tokens that have arrived so far: a lower bound on what the server made."""


@dataclass(slots=True, kw_only=True)  # not frozen: that would triple what making one costs
class Request:
    """One call of an engine. Exactly one of `prompt` and `messages` is given. Engines change only `progress`."""

    prompt: Prefix | None = None
    """Token ids of the engine's own tokenizer, for engines that continue token for token."""
    messages: tuple[Message, ...] | None = None
    """For chat-only engines, which write whole turns. A tool's message stands behind the turn that called it."""
    tools: tuple[Schema, ...] = ()
    """Tools that may be called, beside `messages`. A call is in the text of the turn that it ends, as
    `<tool_call>{"name": ..., "arguments": ...}</tool_call>`."""
    sampling: Sampling
    max_tokens: int
    """Tokens this call may generate, > 0; what the budget has reserved for it."""
    seed: int
    """In [0, 2**31)."""
    purpose: str = "draft"
    """What the runtime wants it for: `draft`, `rewrite`, `answer`, `judge`, ... No server is told."""
    stop: tuple[str, ...] = ()
    """Strings that end the call; the one that did is part of the text."""
    logprobs: int = 0
    """Alternatives per token, 0 for none."""
    think_budget: int | None = None
    """Tokens, > 0, that may be thought from here on, in the prompt's open think block or in one of its own, after
    which the server closes it; None for no such limit. An engine that cannot (Capabilities.thinking_budget) writes on.
    """
    timeout_s: float | None = None
    """None: no limit but the engine's own."""
    progress: Progress = field(default_factory=Progress, compare=False)


class Drafting(NamedTuple):
    """What speculative decoding did in one call, as its server counted."""

    drafts: int
    """Drafts that were verified, each in one pass of the engine."""
    drafted: int
    """Tokens in them."""
    accepted: int
    """Tokens of them that stood; the one that the engine adds to each draft is left out."""

    @classmethod
    def total(cls, counts: Iterable[Drafting]) -> Drafting:
        """Return the sums of several calls; zeros for none."""
        return cls(*map(sum, zip((0, 0, 0), *counts, strict=True)))

    def __str__(self) -> str:
        if not self.drafts:
            return "nothing drafted"
        return f"{self.accepted / self.drafts:.2f} accepted per draft ({self.accepted} of {self.drafted} tokens)"


class Completion(NamedTuple):
    """What an engine answered.

    `text` is exactly the decoding of `ids`: what the last token carries past a stop string is in
    it, and ids of a character that a length stop cut in half are dropped from both.
    """

    text: str
    stop: Stop
    prompt_tokens: int
    output_tokens: int
    """Tokens generated, end-of-text and dropped ids included."""
    seconds: float
    ids: Sequence[int] = ()
    """End-of-text token excluded; empty for chat-only engines."""
    stop_text: str = ""
    """The stop string that fired; empty unless `stop` is DELIMITER."""
    cached_tokens: int | None = None
    """Prompt tokens read from the prefix cache; None where the server does not say."""
    logprobs: tuple[TokenLogprob, ...] | None = None
    """One entry per token of `ids`, or None where none were asked for."""
    first_token_s: float | None = None
    """From sending to the first token; None where the reply came in one piece."""
    queue_s: float | None = None
    """How long the call waited in the server; None where the server does not say."""
    drafting: Drafting | None = None
    """None where the server does not say, as one that does not speculate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What an engine can do, as found by trying it. What is missing has its reason in `missing`."""

    server: str
    """Name and version, e.g. `vllm 0.32.0`."""
    model: str
    context: int
    """Prompt and output together, tokens."""
    tokenizer: str
    """Hash of the tokenizer's behaviour: engines with equal ones exchange ids. Empty for chat-only engines."""
    continues: bool
    """Takes token ids and goes on from them, or measures them; step routers need it."""
    token_ids: bool
    """Returns the ids it generated; otherwise the text is tokenised once."""
    logprobs: int = 0
    """Most alternatives per token it returns; 0 for none."""
    cached_tokens: bool = False
    """Reports how much of a prompt came from its prefix cache."""
    chat_template: bool = True
    """The model brings a chat template; otherwise prompts are laid out plainly."""
    think_tags: tuple[Sequence[int], Sequence[int]] = ((), ())
    """Ids of `<think>` and `</think>` as they stand in its prompts; empty where nobody asked."""
    metrics: bool = False
    """Reports of each call how long it waited and computed."""
    speculates: bool = False
    """Reports of each call how many tokens were drafted and accepted."""
    think_switch: ThinkSwitch = ""
    """How it is made to think or not: `template` where its chat template knows a switch; `block` where only a closed
    or open think block behind the prompt says it; empty where it has no tags of thinking, and writes as it always
    does."""
    think_opened: Opened = (None, None, None)
    """Whether its template begins a turn inside a think block (True), behind a closed one (False), or in neither
    (None): told not to think, told to think, and told nothing."""
    thinking_budget: bool = False
    """Ends an open `<think>` at the `thinking_token_budget` of a call."""
    samples: bool = True
    """False where a call has shown that it does not draw from its model's distribution above temperature 0."""
    missing: dict[str, str] = field(default_factory=dict)
    """Capability -> why it is not there."""


class Engine(Protocol):
    """Something that turns tokens into tokens.

    Every method may raise EngineUnavailable, EngineTimeout, EngineRejected or EngineProtocol, and
    nothing foreign. An engine may be used from several event loops, one call at a time or many.
    """

    name: str

    async def start(self) -> Capabilities:
        """Make the engine ready and return what it can do. Later calls return the same object at once."""
        ...

    async def render(
        self, messages: Sequence[Message], *, think: bool | None = None, tools: Sequence[Schema] = ()
    ) -> list[int]:
        """Return the prompt ids of a conversation, ready for the assistant's reply.

        `think` switches a template that honours `enable_thinking`; None leaves its default. `tools` are shown by a
        template that knows how, and by no other.
        """
        ...

    async def interject(
        self, content: str, prefill: str, *, think: bool | None = None, role: Role = "user"
    ) -> list[int]:
        """Return the ids that close the assistant's open turn, let `role` say `content`, and begin the assistant's
        next turn with `prefill`; `think` is as for `render`.

        What a tool says is data: no special tokens are parsed in it. Where the template has no such role it is the
        user's message, and `tool_role` is missing among the Capabilities.
        """
        ...

    async def encode(self, text: str) -> list[int]:
        """Tokenise `text` as data: no special tokens are parsed, none is added.

        Where the model reads steps at a tag of its own, `text` is a step and the tag is behind it.
        """
        ...

    async def complete(self, request: Request) -> Completion:
        """Generate. On cancellation `request.progress` holds what had arrived."""
        ...

    async def close(self) -> None:
        """Let go of connections and processes. The engine can be started again."""
        ...
