"""Continue one chain of thought step by step, across engines.

Ids are the truth: a prompt is rendered once, the ids that an engine returned are appended as they
are, and text that an engine of another tokenizer wrote is tokenised once, step by step. So the
prompt of step k+1 extends the prompt of step k token for token and prefix caches keep hitting.

What a tool answered is a step that no engine wrote: for each engine it closes the assistant's turn, is
the tool's message, and begins the next turn, by that engine's own template.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Mapping, Sequence
from copy import copy
from itertools import pairwise
from types import MappingProxyType

from orchestrator.engines.base import Chain, Engine, Opened, Prefix, Schema, ThinkSwitch
from orchestrator.think_tags import CLOSES, OPENS, leaves_open
from orchestrator.types import Message, Step, StepKind

__all__ = ["StepStream", "is_open"]

_PAIRS = (("<tool_call>", "</tool_call>"), ("<tool>", "</tool>"))
_TAGS = re.compile("(</?think>)")
_BEHIND = 2
"""Ids, of line breaks, that a template may put behind the tag that opens the thinking."""
_UNOPENED: Opened = (None, None, None)
_NO_TAGS: tuple[Sequence[int], Sequence[int]] = ((), ())


def is_open(text: str) -> bool:
    """Say whether `text` stops inside a code fence or a tool call, where a blank line ends no step."""
    fences = sum(line.lstrip().startswith("```") for line in text.split("\n")) if "```" in text else 0
    return fences % 2 == 1 or any(text.rfind(start) > text.rfind(end) for start, end in _PAIRS)


class StepStream:
    """The kept steps of a run as a prompt for each of its engines.

    `tokenizers` names each engine's tokenizer: engines with equal names exchange ids. `think` says, by engine,
    whether it is to think; None leaves it to its template. `think_tags`, `switches` and `opened` are those of the
    engines' Capabilities, `think_switch` and `think_opened` there. `tools` are shown to an engine in its own
    template's way, at the beginning.
    """

    def __init__(
        self,
        engines: Mapping[str, Engine],
        tokenizers: Mapping[str, str],
        messages: Sequence[Message],
        *,
        think: Mapping[str, bool | None] = MappingProxyType({}),
        think_tags: Mapping[str, tuple[Sequence[int], Sequence[int]]] = MappingProxyType({}),
        switches: Mapping[str, ThinkSwitch] = MappingProxyType({}),
        opened: Mapping[str, Opened] = MappingProxyType({}),
        tools: Mapping[str, Sequence[Schema]] = MappingProxyType({}),
    ) -> None:
        self._engines = engines
        self._tokenizers = tokenizers
        self._messages = messages
        self._think = think
        self._think_tags = think_tags
        self._switches = switches
        self._opened = opened
        self._tools = tools
        self._shows_tools = True
        self._begins: dict[str, bool] = {}
        self._noted: tuple[int, str] = (0, "")
        self._steps: list[_Written] = []
        self._pending: tuple[_Written, ...] = ()
        self._drafts: dict[tuple[int, int], _Written] = {}
        self._asides: dict[tuple[str, str, str, bool | None], array[int]] = {}
        self._texts: dict[tuple[str, str], array[int]] = {}
        self._words: dict[tuple[str, str], array[int]] = {}
        self._chains: dict[str, Chain] = {}
        self._lengths: dict[str, list[int]] = {}

    @property
    def messages(self) -> Sequence[Message]:
        """The task."""
        return self._messages

    @property
    def steps(self) -> list[Step]:
        """The kept steps, in order."""
        return [written.step for written in self._standing()]

    def switch(
        self,
        think: Mapping[str, bool | None],
        messages: Sequence[Message] | None = None,
        *,
        shows_tools: bool = True,
    ) -> None:
        """Change, by engine, whether it is to think; engines that are not named are left to their templates.

        `messages` are the task told otherwise, None as it was. Only before the first step: no thought stands in the
        light of another prompt than it was written in.
        """
        assert not self._standing(), "the thinking is switched before anything is written"
        self._think = think
        self._messages = self._messages if messages is None else messages
        self._shows_tools = shows_tools
        self._chains, self._lengths, self._drafts, self._begins = {}, {}, {}, {}

    def note(self, at: int, text: str) -> None:
        """Show `text` behind the first `at` kept steps, in place of what was shown so before; empty for nothing.

        It is data, part of every prompt, and of no step: what stands behind it stays when it goes. Prompts are those
        of before up to the earlier of the two places.
        """
        if (at, text) == self._noted or not (text or self._noted[1]):
            return
        first = min(place for place, said in (self._noted, (at, text)) if said)
        self._noted = (at, text)
        for engine in self._lengths:
            self._cut(engine, first)

    def ahead(self, draft: Step) -> StepStream:
        """Return this stream as it will be if `draft`, its next step, is kept, while that is not known.

        Both may be used side by side, and what one learns of a draft in another tokenizer the other knows. The
        prompts, digests included, are those that this stream gives once the draft is kept; once another step is
        kept in its place, or steps are taken away, the returned stream is of no use any more.
        """
        stream = copy(self)
        stream._pending = (*self._ahead_of(len(self._steps)), self._written(draft))
        return stream

    def up_to(self, to_step: int) -> StepStream:
        """Return another stream of the same task, with the kept steps before index `to_step` only."""
        stream = copy(self)
        stream._steps = self._steps[:to_step]
        stream._pending, stream._drafts, stream._chains, stream._lengths = (), {}, {}, {}
        return stream

    def _standing(self) -> list[_Written]:
        return [*self._steps, *self._ahead_of(len(self._steps))]

    def _ahead_of(self, num_steps: int) -> list[_Written]:
        """Return the pending drafts that are not among the first `num_steps` kept steps by now."""
        return [written for written in self._pending if written.step.index >= num_steps]

    async def prefix(self, engine: str) -> Prefix:
        """Return the task and every kept step in the ids of `engine`."""
        prompt = await self._kept(engine)
        note = await self._note_before(engine, len(self._standing())) if self._noted[1] else ()
        return prompt.extended(note) if note else prompt

    async def _kept(self, engine: str) -> Prefix:
        """Return the prompt without a note that nothing stands behind yet."""
        chain = self._chains.get(engine) or await self._open(engine)
        lengths = self._lengths[engine]
        while (num_steps := len(lengths) - 1) < len(self._steps):
            ids = await self._piece(engine, self._steps[num_steps])
            if chain is not self._chains[engine]:  # it was cut while we waited
                chain = self._chains[engine]
            elif num_steps == len(lengths) - 1:  # else another task appended this step while we waited
                chain.append(ids)
                lengths.append(len(chain))
        prompt = chain.prefix()
        for written in self._ahead_of(num_steps) if self._pending else ():  # another task may keep more meanwhile
            prompt = prompt.extended(await self._piece(engine, written))
        return prompt

    async def _piece(self, engine: str, written: _Written) -> Sequence[int]:
        """Return a step in the ids of `engine`, and before it the note that stands there."""
        note, ids = await self._note_before(engine, written.step.index), await self._ids(engine, written)
        return [*note, *ids] if note else ids

    async def _note_before(self, engine: str, index: int) -> Sequence[int]:
        at, text = self._noted
        return await self.encoded(engine, text) if text and at == index else ()

    async def _open(self, engine: str) -> Chain:
        told = {"tools": self._tools[engine]} if engine in self._tools and self._shows_tools else {}
        rendered = await self._engines[engine].render(self._messages, think=self._think.get(engine), **told)
        ids = await self._begun(engine, rendered)
        self._lengths.setdefault(engine, [len(ids)])
        return self._chains.setdefault(engine, Chain(ids))

    def begins_open(self, engine: str) -> bool:
        """Say whether a turn of `engine` begins inside a think block, by its template or because it was opened here."""
        known = self._begins.get(engine)
        if known is None:
            known = self._begins[engine] = self._begins_open(engine)
        return known

    def _begins_open(self, engine: str) -> bool:
        think, by = self._think.get(engine), self._switches.get(engine, "")
        is_open = self._opened.get(engine, _UNOPENED)[2 if think is None else int(think)]
        if not by or think is None or is_open is think or (is_open is None and by != "block"):
            return is_open is True
        return think and not is_open

    async def _begun(self, engine: str, ids: list[int]) -> list[int]:
        """Return the ids that begin a turn of `engine` with its think block opened or closed, where it has to be."""
        think, by = self._think.get(engine), self._switches.get(engine, "")
        is_open = _is_block_open(ids, self._think_tags.get(engine, _NO_TAGS))
        if not by or think is None or is_open is think:
            return ids
        if is_open:
            return [*ids, *await self.words(engine, "</think>\n\n")]
        if by == "block" and is_open is None:
            return [*ids, *await self.words(engine, "<think>\n" if think else "<think>\n\n</think>\n\n")]
        return ids

    async def _ids(self, engine: str, written: _Written) -> Sequence[int]:
        step, reader = written.step, self._tokenizers[engine]
        if step.kind is StepKind.OBSERVATION:
            return await self._observed(engine, written)
        if step.ids and reader == self._tokenizers[step.writer]:
            return written.own
        if reader not in written.read:
            written.read[reader] = array("i", await self._engines[engine].encode(step.text))
        return written.read[reader]

    async def _observed(self, engine: str, written: _Written) -> Sequence[int]:
        if engine not in written.read:  # by engine, as templates differ where tokenizers do not
            think, text = self._think.get(engine), written.step.text
            ids = await self._engines[engine].interject(text, "", think=think, role="tool")
            written.read[engine] = array("i", await self._begun(engine, ids))
        return written.read[engine]

    async def with_draft(self, engine: str, draft: Step) -> Prefix:
        """Return the prompt of `engine` as it would be if `draft` were kept, or as it is where that is."""
        prompt = await self._kept(engine)
        if draft.index < len(self._steps) and self._steps[draft.index].step.attempt == draft.attempt:
            return await self.prefix(engine)
        return prompt.extended(await self._piece(engine, self._written(draft)))

    def _written(self, draft: Step) -> _Written:
        """Return a draft with its ids; the same draft made again, as a look-ahead does, is read only once."""
        place = (draft.index, draft.attempt)
        known = self._drafts.get(place)
        if known is None or (
            known.step is not draft and (known.step.text, list(known.step.ids)) != (draft.text, list(draft.ids))
        ):
            known = self._drafts[place] = _Written(draft)
        return known

    async def interject(self, engine: str, content: str, prefill: str, *, think: bool | None = None) -> Sequence[int]:
        """Return the ids that ask `engine` something in between; see Engine.interject. Asked for once, then kept."""
        key = (engine, content, prefill, think)
        ids = self._asides.get(key)
        if ids is None:
            ids = self._asides[key] = array("i", await self._engines[engine].interject(content, prefill, think=think))
        return ids

    async def aside(self, engine: str, messages: Sequence[Message]) -> Prefix:
        """Return the prompt of `engine` in another conversation, in which it does not think."""
        other = StepStream(
            self._engines,
            self._tokenizers,
            messages,
            think={engine: False},
            think_tags=self._think_tags,
            switches=self._switches,
        )
        return await other.prefix(engine)

    async def encoded(self, engine: str, text: str) -> Sequence[int]:
        """Return `text` as data in the ids of `engine`; see Engine.encode. Asked for once, then kept."""
        ids = self._texts.get((engine, text))
        if ids is None:
            ids = self._texts[engine, text] = array("i", await self._engines[engine].encode(text))
        return ids

    async def words(self, engine: str, text: str) -> Sequence[int]:
        """Return the ids of words of our own in the engine's text, its tags of thinking as such; read once, then kept.

        Unlike text of an engine or of a stranger, which is data: a tag in that stays plain letters.
        """
        key = (engine, text)
        if key not in self._words:
            tags = dict(zip((OPENS, CLOSES), self._think_tags.get(engine, _NO_TAGS), strict=True))
            ids = array("i")
            for part in filter(None, _TAGS.split(text)):
                ids.extend(tags.get(part) or await self._engines[engine].encode(part))
            self._words[key] = ids
        return self._words[key]

    def is_thinking(self, engine: str, *, behind: str = "") -> bool:
        """Say whether a think block is open behind the kept steps and the text `behind` them.

        The template of `engine` may have opened it, with the task or with what a tool answered last: what stands
        before that is another turn's. Before `engine` was given a prompt nothing is open that no step has opened.
        """
        turn = self._standing()
        observed = next((each for each in reversed(turn) if each.step.kind is StepKind.OBSERVATION), None)
        written = turn[turn.index(observed) + 1 :] if observed else turn
        text = "".join(each.step.text for each in written) + behind
        if (is_open := leaves_open(text)) is not None:
            return is_open
        asked = self._asked(engine) if observed is None else observed.read.get(engine, ())
        return _is_block_open(asked, self._think_tags.get(engine, _NO_TAGS)) is True

    def _asked(self, engine: str) -> Sequence[int]:
        """Return the task in the ids of `engine`; none if it was not asked for yet."""
        if engine not in self._chains:
            return ()
        return self._chains[engine].prefix().ids()[: self._lengths[engine][0]]

    def keep(self, step: Step) -> None:
        """Make `step` part of every later prompt; other drafts of it are forgotten."""
        self._steps.append(self._written(step))
        for place in [each for each in self._drafts if each[0] <= step.index]:
            del self._drafts[place]

    def roll_back(self, to_step: int) -> None:
        """Forget the kept steps from index `to_step` on, and every draft."""
        del self._steps[to_step:]
        self._drafts.clear()
        for engine in self._lengths:
            self._cut(engine, to_step)

    def _cut(self, engine: str, to_step: int) -> None:
        """Make a chain anew up to a step."""
        lengths = self._lengths[engine]
        del lengths[to_step + 1 :]
        ids = self._chains[engine].prefix().ids()
        chain = self._chains[engine] = Chain(ids[: lengths[0]])
        # Step by step, as it was made: the digest of a prompt tells these from one long piece.
        for start, end in pairwise(lengths):
            chain.append(ids[start:end])


def _is_block_open(prompt: Sequence[int], tags: tuple[Sequence[int], Sequence[int]]) -> bool | None:
    """Say whether a prompt ends in an open think block; None where it ends in no think block, closed or open."""
    end = prompt[-max(map(len, tags)) - _BEHIND :]
    opened, closed = (_last(end, tag) for tag in tags)
    return None if opened == closed else opened > closed


def _last(ids: Sequence[int], tag: Sequence[int]) -> int:
    """Return where `tag` stands last in `ids`, or -1."""
    wanted, number = list(tag), len(tag)
    places = (place for place in range(len(ids) - number, -1, -1) if list(ids[place : place + number]) == wanted)
    return next(places, -1) if wanted else -1


class _Written:
    """A step, and its ids in the tokenizers of its writer and of others: packed once, for every digest they enter."""

    __slots__ = ("own", "read", "step")

    def __init__(self, step: Step) -> None:
        self.step = step
        self.own = array("i", step.ids)
        self.read: dict[str, Sequence[int]] = {}
