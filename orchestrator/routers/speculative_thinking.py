"""The large engine takes over where the small one starts to doubt or to conclude, for a fixed number of tokens.

The small engine writes up to a delimiter, then looks ahead. Cue words in the look-ahead tell a turning point: the look
is thrown away and the large engine writes it, and goes on to verify where its words say so. A neutral look is thrown
away too, and the small engine writes the next piece. After many pieces of doubt the large engine recapitulates. So a
step of this policy is a piece, which may end by length. Which piece is due is read from the kept steps alone.

Source: Speculative Thinking, arXiv:2504.12329, and the authors' code: the tables of words, a look of 20 tokens, pieces
of 125 tokens to verify, a recap of 125 tokens that grows by 25 up to 200 after 15 doubts, which grow by 5 up to 30,
`choose_large`, 100 tokens of the large engine first where the small one is no reasoning engine, and neutral looks that
are thrown away and written anew. A tie of doubt and confidence is doubt. Differs:
- cues are matched on words, longest first, in any case: "another" is no "no other", "yesterday" no "yes" (there any
  substring matches);
- a look, and what the large engine writes in its place, ends at a delimiter where one comes earlier;
- with `choose_large` the large engine writes nothing before it is chosen, as the look's cues decide alone;
- the words that start a recap are ours, and so are they no part of its tokens;
- prompts are token ids of each engine's own tokenizer (the authors share one, or paste text into the user's turn);
- sampling is the pipeline's (there temperature 0.6, top_p 0.95, top_k 50);
- of more than two engines the first and the last take part.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

from orchestrator.decisions import Decision, Plan, keep, rewrite
from orchestrator.doors import Ask, Needs
from orchestrator.errors import EngineError, UserError
from orchestrator.options import check_lists, check_texts, check_whole
from orchestrator.types import History, Signal, Step, Stop

__all__ = ["SpeculativeThinking"]

BEGIN, WRITE, LOOK, VERIFY, RECAP = "begin", "write", "look", "verify", "recap"


class _Due(NamedTuple):
    """What comes next, and the counters."""

    piece: str
    doubts: int
    limit: int
    """Doubts that lead to a recap."""
    recap_tokens: int


@dataclass(frozen=True, kw_only=True)
class SpeculativeThinking:
    """Let the large engine write where the small one's look ahead has a cue, verify, and recapitulate many doubts."""

    step_tokens: int = 1024
    """Tokens of a piece that the small engine writes up to a delimiter."""
    look_tokens: int = 20
    """Tokens it looks ahead, and the large engine writes in their place."""
    verify_tokens: int = 125
    """Tokens the large engine goes on for where its words say that it verifies."""
    recap_tokens: int = 125
    """Tokens of the first recap."""
    recap_growth: int = 25
    most_recap_tokens: int = 200
    doubts: int = 15
    """Pieces of doubt before the first recap."""
    doubts_growth: int = 5
    most_doubts: int = 30
    recap: str = "Let me go over the steps so far and look for a mistake:"
    """What a recap starts with."""
    choose_large: bool = True
    """The large engine's words stand at every cue; False: only where they turn doubt into confidence or back."""
    reasoning: bool = True
    """The small engine reasons; False: the large one begins, and writes behind every delimiter."""
    begin_tokens: int = 100
    """Tokens it begins with then."""
    verify: tuple[str, ...] = ("verify", "think again", "recap", "check")
    negative: tuple[str, ...] = ("wait", "alternatively", "hold on", "another")
    positive: tuple[str, ...] = ("yeah", "yes", "final answer", "confident")

    needs = Needs(engines=2)

    def __post_init__(self) -> None:
        name = "speculative-thinking"
        check_whole(name, self, step_tokens=1, look_tokens=1, verify_tokens=1, recap_tokens=1, doubts=1, begin_tokens=1)
        check_whole(name, self, recap_growth=0, doubts_growth=0)
        check_whole(name, self, most_recap_tokens=self.recap_tokens, most_doubts=self.doubts)
        check_lists(name, self, verify="words", negative="words", positive="words")
        check_texts(name, self, recap="give words that a recap starts with")
        for option in ("verify", "negative", "positive"):
            words = getattr(self, option)
            if not all(isinstance(word, str) and word.strip() for word in words):
                raise UserError(f"speculative-thinking: {option} = {words!r} has a word without letters")
            object.__setattr__(self, option, tuple(words))  # a file has a list

    def before_step(self, history: History) -> Plan:
        """Plan the piece that is due."""
        due = self._due(history)
        if due.piece == BEGIN:
            return Plan(
                engine=history.large, max_tokens=self.begin_tokens, whole=True, reason="the large engine begins"
            )
        if due.piece == VERIFY:
            return Plan(engine=history.large, max_tokens=self.verify_tokens, whole=True, reason="its words verify")
        if due.piece == RECAP:
            reason = f"{due.doubts} doubts: recap"
            return Plan(
                engine=history.large, max_tokens=due.recap_tokens, whole=True, reason=reason, lead=self.recap + " "
            )
        max_tokens = self.look_tokens if due.piece == LOOK else self.step_tokens
        return Plan(engine=history.small, max_tokens=max_tokens)

    async def after_draft(self, history: History, draft: Step, ask: Ask) -> Decision:
        """Keep every piece but a look: that is written anew, or kept where the large engine would not turn it."""
        if draft.writer != history.small or self._due(history).piece != LOOK:
            return keep(reason="no look ahead")
        mood = self.mood(draft.text)
        signal = Signal(name="cue", value=None, raw=float(mood), unit="-1 doubt, 1 confidence")
        if not mood and self.reasoning:
            reason = "no cue ahead: the small engine writes on"
            return rewrite(history.small, signal, reason=reason, max_tokens=self.step_tokens)
        found = f"cue {', '.join(map(repr, self._cues(draft.text)))}" if mood else "the small engine does not reason"
        if not self.choose_large:
            try:
                other = self.mood((await ask.alternative(history.large, draft)).text)
            except EngineError as error:
                return keep(signal, reason=f"{found}, and the large engine does not say: {error}")
            if other * mood >= 0:
                return keep(signal, reason=f"{found}: the large engine does not turn it", alternatives=("rewrite",))
            found = f"{found}, which the large engine turns"
        return rewrite(history.large, signal, reason=found, max_tokens=self.look_tokens, alternatives=("keep",))

    def mood(self, text: str) -> int:
        """Return 1 for more words of confidence than of doubt, 0 for none at all, else -1."""
        return self._read(text)[0]

    def _cues(self, text: str) -> list[str]:
        return _found((*self.negative, *self.positive), text)

    @cached_property
    def _read(self) -> Callable[[str], tuple[int, bool]]:
        """Mood of a text, and whether it verifies; remembered, because every walk reads the same looks again."""
        negative = _folded(self.negative)

        @lru_cache(maxsize=4096)
        def read(text: str) -> tuple[int, bool]:
            found = self._cues(text)
            doubts = sum(cue in negative for cue in found)
            return 0 if not found else -1 if 2 * doubts >= len(found) else 1, bool(_found(self.verify, text))

        return read

    def _due(self, history: History) -> _Due:
        """Walk along the kept pieces."""
        piece = WRITE if self.reasoning else BEGIN
        doubts, limit, tokens = 0, self.doubts, self.recap_tokens
        read, small = self._read, history.small
        for step in history.steps:
            if piece == RECAP:
                doubts, limit = 0, min(limit + self.doubts_growth, self.most_doubts)
                tokens, piece = min(tokens + self.recap_growth, self.most_recap_tokens), WRITE
            elif piece != LOOK:
                piece = WRITE if piece != WRITE else RECAP if doubts >= limit else LOOK
            elif step.writer == small and self._is_anew(step, read):
                piece = RECAP if doubts >= limit else LOOK
            else:
                mood, verifies = read(step.text)
                doubts += mood < 0
                piece = VERIFY if verifies else WRITE
        return _Due(piece, doubts, limit, tokens)

    def _is_anew(self, step: Step, read: Callable[[str], tuple[int, bool]]) -> bool:
        """Return whether a piece of the small engine in a look's place is not a look, but a neutral one written anew.

        Its number of attempts does not tell: rollbacks and failovers count there, too. Its length does, and that a
        look which stands has a cue. Where the large engine's words always stand, the small engine's look stands only
        where it wrote for a large one that failed: a short such look with a cue and a delimiter is taken for anew.
        """
        if not self.reasoning or step.num_tokens > self.look_tokens:
            return self.reasoning
        return step.stop is not Stop.LENGTH and (self.choose_large or not read(step.text)[0])


def _found(words: Sequence[str], text: str) -> list[str]:
    """Return the words that are in `text`, in order, folded; where one word is part of a longer one, the longer."""
    return [" ".join(found.split()).casefold() for found in _pattern(tuple(words)).findall(text)]


@lru_cache
def _pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    longest = sorted(words, key=len, reverse=True)
    either = "|".join(r"\s+".join(map(re.escape, word.split())) for word in longest)
    return re.compile(rf"(?<!\w)(?:{either or '(?!)'})(?!\w)", re.IGNORECASE)


def _folded(words: Iterable[str]) -> set[str]:
    return {" ".join(word.split()).casefold() for word in words}
