"""Notice that a run goes round in circles: the same moves, the same errors, nothing new, one phrase over and over.

Source: the Stuck monitor of the step-level cascade ("repeats without progress, error loops, no meaningful progress
for several steps") and SpecReason's stop on repeated steps. Differs: rules, not a classifier, so that it
works without training; it reads what the tool answered; and one loop is told of once.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.monitors.reading import alike, figures, repeated_phrase, words
from orchestrator.monitors.window import Move, moves_of
from orchestrator.options import check_range, check_whole
from orchestrator.tools.base import ERROR
from orchestrator.types import Event, History, StepKind

__all__ = ["Stuck"]

_LONGEST_CYCLE = 3
_TAG = "<tool"
"""How calls begin, where tags stand around them."""
_VARIABLE = re.compile(r"\d+|'[^']*'|\"[^\"]*\"")


@dataclass(frozen=True, kw_only=True)
class Stuck:
    """Raise `stuck` on a loop of moves or words, once for each loop."""

    repeats: int = 3
    """So many times the same, or nearly the same, call and answer in a row; so many rounds of a cycle of 2 or 3."""
    near: float = 0.8
    """From this likeness on a move is nearly the same, in (0, 1]: the share of neighbouring words in common. Calls and
    thoughts with other numbers or operators in them are never the same."""
    errors: int = 3
    """So many errors in a row from one call, or of one kind: the same but for numbers and quoted names."""
    stale: int = 8
    """So many answers in a row that were all seen before. A tool that only ever says `ok` looks like that."""
    phrases: int = 4
    """So many times one phrase of twelve words in the thought of a step."""
    min_moves: int = 2
    """Moves from the beginning of the window before anything is said."""

    raises = ("stuck",)

    def __post_init__(self) -> None:
        check_whole("monitor stuck", self, repeats=2, errors=2, stale=2, phrases=2, min_moves=1)
        check_range("monitor stuck", self, near="(0, 1]")

    def watch(self, history: History) -> Event | None:
        """Look at the last moves, and at the words of the last step."""
        moves = moves_of(history, last=self._reach)
        if len(moves) < self.min_moves:
            return None
        told = max((event.step for event in history.events if event.kind == "stuck"), default=-1)
        is_told = told >= history.window
        is_done = history.steps[-1].kind is not StepKind.ACTION  # else what comes of it is still to come
        if is_done and (not is_told or self._is_new(moves, moves_of(history, last=self._reach, until=told), told)):
            for rule in (self._repeats, self._nears, self._errors, self._cycles, self._stale):
                if event := rule(moves):
                    return event
        return self._phrases(history, moves[-1], told if is_told else None)

    @property
    def _reach(self) -> int:
        return max(_LONGEST_CYCLE * self.repeats, 2 * self.stale, self.errors, self.min_moves) + 1

    # --- rules: what the last moves have in common ----------------------------------------------

    def _repeats(self, moves: list[Move]) -> Event | None:
        return _event("the same again", moves[-1], _in_a_row(moves, _same), self.repeats)

    def _nears(self, moves: list[Move]) -> Event | None:
        last = moves[-self.repeats :]
        if len(last) < self.repeats or not all(_is_comparable(one, moves[-1]) for one in last):
            return None
        nearest = min(_likeness(one, moves[-1]) for one in last)
        return _event(f"nearly the same {self.repeats} times", moves[-1], nearest, self.near)

    def _errors(self, moves: list[Move]) -> Event | None:
        if not moves[-1].is_error:
            return None
        return _event("one error after the other", moves[-1], _in_a_row(moves, _fail_alike), self.errors)

    def _cycles(self, moves: list[Move]) -> Event | None:
        for length in range(2, _LONGEST_CYCLE + 1):
            last = moves[-length * self.repeats :]
            is_cycle = all(map(_same, reversed(last[length:]), reversed(last[:-length])))
            if len(last) == length * self.repeats and is_cycle:
                return _event(f"a cycle of {length} moves", moves[-1], self.repeats, self.repeats)
        return None

    def _stale(self, moves: list[Move]) -> Event | None:
        seen: set[str] = set()
        num = 0
        for move in moves:
            if move.action:
                num = num + 1 if move.observation in seen else 0
                seen.add(move.observation)
        return _event("nothing new was seen", moves[-1], num, self.stale) if moves[-1].action else None

    def _phrases(self, history: History, last: Move, told: int | None) -> Event | None:
        step = history.steps[-1]
        thought = step.text if step.kind is StepKind.THOUGHT else last.thought
        phrase, num = repeated_phrase(thought, times=self.phrases)
        if not phrase or (told is not None and phrase in _words_behind(history, told)):
            return None
        return Event("stuck", f"one phrase again and again: {phrase}", value=num, threshold=self.phrases)

    # --- one loop, one event --------------------------------------------------------------------

    def _is_new(self, moves: list[Move], before: list[Move], told: int) -> bool:
        """Whether something happened behind step `told` that is not the loop that was told of then."""
        known = {_news(move) for move in before}
        since = (move for move in moves if move.last_step > told and _news(move) not in known)
        return any(not (before and self._goes_on(before[-1], move)) for move in since)

    def _goes_on(self, one: Move, other: Move) -> bool:
        if one.is_error and _fail_alike(one, other):
            return True
        return _is_comparable(one, other) and _likeness(one, other) >= self.near


def _event(what: str, move: Move, value: float, threshold: float) -> Event | None:
    if value < threshold:
        return None
    told = " -> ".join(filter(None, (move.action, move.observation))) or move.thought
    return Event("stuck", f"{what}: {' '.join(told[:200].split())}", value=value, threshold=threshold)


def _in_a_row(moves: list[Move], belongs: Callable[[Move, Move], bool]) -> int:
    num = 1
    while num < len(moves) and belongs(moves[-num - 1], moves[-1]):
        num += 1
    return num


def _said(move: Move) -> str:
    """What a move is the same by, beside what came of it: the calls, whatever was said before, or what was thought."""
    return move.action[max(move.action.find(_TAG), 0) :] or move.thought


def _words_behind(history: History, told: int) -> str:
    """The words of the step of an event, and of the call before what came of it."""
    return " ".join(word for step in history.steps[max(told - 1, 0) : told + 1] for word in words(step.text))


def _news(move: Move) -> str:
    return " ".join((move.observation if move.action else move.thought).split())


def _same(one: Move, other: Move) -> bool:
    return _again(_said(one), _said(other)) and _again(one.observation, other.observation)


def _again(one: str, other: str) -> bool:
    """Whether two texts are the same but for white space; most differ at once, at an end."""
    return one == other or (one[:1] == other[:1] and one[-1:] == other[-1:] and one.split() == other.split())


def _is_comparable(one: Move, other: Move) -> bool:
    """Whether two moves can be nearly the same: other figures make another move."""
    return bool(one.action) == bool(other.action) and figures(_said(one)) == figures(_said(other))


def _likeness(one: Move, other: Move) -> float:
    return min(alike(_said(one), _said(other)), alike(one.observation, other.observation))


def _fail_alike(one: Move, other: Move) -> bool:
    if not (one.is_error and other.is_error):
        return False
    return _again(_said(one), _said(other)) or _kind(one) == _kind(other)


def _kind(move: Move) -> str:
    """The first line of an error without what changes from one to the next."""
    return _VARIABLE.sub("", move.observation.removeprefix(ERROR).partition("\n")[0])
