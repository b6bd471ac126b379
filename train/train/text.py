"""Training text: every form of the chat as token ids with weights, and small's own mistakes.

A `Document` is a trunk (one problem with its whole thought) and branches that leave it at a token:
rate the step before here, or a spoilt one; force the answer here; answer without a thought; give a
verdict on the whole. A branch sees the trunk up to where it leaves and nothing of other branches, so one
thought is read once for all questions about it, exactly as a prefix cache would serve them.

The trunk's steps are always right: a step's faults come from `spoil` (seen only by the judge, weight 0)
or from thoughts that small really wrote (`own_mistakes`, weight 0 but for the ratings).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from types import MappingProxyType
from typing import Any

from orchestrator.bench.workloads import behavior_tasks, random_calculation, tool_tasks
from orchestrator.bench.workloads.expression import compact
from orchestrator.bench.workloads.random_calculation import PRESETS
from orchestrator.bench.workloads.solution import Step, reason
from orchestrator.bench.workloads.verify import RATINGS, Verdict, verify_step, verify_thought
from tokenizers import Tokenizer

from train.chat import CLOSED_THINK, END, OPEN_THINK, ROLES, VERDICT_PROMPT, judge_suffix

__all__ = ["STAGES", "Branch", "Document", "Stage", "Writer", "sample_text", "spoil"]

FULL = 1.0
RATING = 4.0
"""Weight of a judge's digit: one token that has to hold its own against a whole thought."""
GUESS = 0.5
"""Weight of an answer that was forced early: most of it cannot be known."""


INSTRUCTIONS = (
    "Think step by step.",
    "Write one operation per step and put the answer in \\boxed{}.",
    "Solve the problem. Put the final answer in \\boxed{}.",
)
"""System messages of one calculation in ten; they change nothing."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What a stretch of training reads."""

    mix: Mapping[str, float]
    """Documents by kind: a preset of random_calculation, `behavior`, `errand`, or `own` (small's thoughts)."""
    judge: float
    """Expected number of right steps, and of spoilt steps, rated per thought."""
    force: float
    """Chance of one forced answer."""
    blurt: float
    """Chance of an answer without a thought (four times less beyond three operations)."""
    verdict: float
    """Chance of a verdict on the right answer, and on a wrong one."""


_FORMS = {
    "direct": 10, "easy": 14, "mid": 30, "hard": 10, "long": 2, "chain": 8, "signed": 7, "products": 3,
    "behavior": 9, "errand": 7,
}  # fmt: skip

STAGES: Mapping[str, Stage] = MappingProxyType(
    {
        "steps": Stage(
            mix={"direct": 15, "easy": 40, "mid": 25, "chain": 8, "signed": 8, "products": 4},
            judge=0.0,
            force=0.0,
            blurt=0.2,
            verdict=0.0,
        ),
        "forms": Stage(mix=_FORMS, judge=1.2, force=0.5, blurt=0.6, verdict=0.12),
        "own": Stage(mix={**_FORMS, "own": 35}, judge=0.7, force=0.5, blurt=0.6, verdict=0.08),
        "last": Stage(mix={**_FORMS, "mid": 60, "own": 25}, judge=0.7, force=0.4, blurt=0.4, verdict=0.06),
        "rated": Stage(mix={"easy": 10, "mid": 35, "hard": 10, "own": 60}, judge=2.0, force=0, blurt=0, verdict=0),
    }
)


@dataclass(frozen=True, slots=True)
class Branch:
    """Tokens that leave the trunk after its first `start` tokens."""

    start: int
    ids: list[int]
    weights: list[float]


@dataclass(slots=True)
class Document:
    """A trunk with its branches; one weight per token, which scales the loss of *predicting* that token."""

    ids: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    branches: list[Branch] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.ids) + sum(len(branch.ids) for branch in self.branches)


# --- spoiling a step ------------------------------------------------------------------------------


def _number(random: Random, text: str) -> str:
    """Another number that looks like `text`."""
    sign, digits = ("-", text[1:]) if text.startswith("-") else ("", text)
    draw = random.random()
    if draw < 0.4:
        place = random.randrange(len(digits))
        return sign + digits[:place] + random.choice("0123456789") + digits[place + 1 :]
    if draw < 0.75:
        return str(int(text) + random.choice((1, -1, 10, -10, 9, -9, 2, -2, 100, -100)))
    if draw < 0.85:
        return str(-int(text))
    if draw < 0.93:
        return sign + digits + random.choice("0123456789")
    return str(random.randint(0, 10 ** len(digits)))


def _spoil_result(random: Random, before: str, step: Step) -> str:
    equation, _, state = step.text.partition("\n")
    left, _, right = equation.partition("=")
    wrong = _number(random, right) if right.lstrip("-").isdigit() else _spoil_copy_text(random, right)
    for start in range(len(state) - len(right) + 1):
        rest = state[start + len(right) :]
        if state[start:].startswith(right) and before.startswith(state[:start]) and before.endswith(rest):
            return f"{left}={wrong}\n{state[:start]}{wrong}{rest}"
    return f"{left}={wrong}\n{state}"


def _spoil_copy_text(random: Random, text: str) -> str:
    place = random.randrange(len(text))
    draw = random.random()
    if draw < 0.4:
        return text[:place] + text[place + 1 :]
    if draw < 0.7:
        return text[:place] + random.choice("0123456789+-*/()") + text[place + 1 :]
    return text[:place] + text[place] + text[place:]


def _spoil_copy(random: Random, before: str, step: Step) -> str:
    head, newline, state = step.text.rpartition("\n")
    return head + newline + _spoil_copy_text(random, state)


def _spoil_order(random: Random, before: str, step: Step) -> str:
    """Two neighbours joined although another operation has the first claim."""
    places = list(re.finditer(r"(?<![\d/*])(\d+)([-+*])(\d+)(?!\d)", before))
    if not places:
        return _spoil_result(random, before, step)
    match = random.choice(places)
    first, operator, second = int(match[1]), match[2], int(match[3])
    value = first + second if operator == "+" else first - second if operator == "-" else first * second
    return f"{match.group()}={value}\n{before[: match.start()]}{value}{before[match.end() :]}"


def spoil(random: Random, before: str | None, step: Step, problem: str) -> tuple[str, Verdict]:
    """A wrong version of `step` and what is wrong with it, by the exact verifier."""
    ways: list[Callable[[Random, str, Step], str]] = [_spoil_copy]
    if step.kind not in ("setup", "check"):
        ways = [_spoil_result] * 6 + [_spoil_copy] * 3 + [_spoil_order]
    for _ in range(100):
        text = random.choice(ways)(random, before or "", step)
        verdict = verify_step(before, text, problem)
        if not verdict.is_right:
            return text, verdict
    raise AssertionError(f"no way found to spoil {step!r}")


# --- writing --------------------------------------------------------------------------------------


def _user(prompt: str, system: str = "") -> str:
    head = ROLES["system"] + system + END if system else ""
    return head + ROLES["user"] + prompt + END + ROLES["assistant"]


def _boxed(answer: str) -> str:
    return f"\\boxed{{{answer}}}"


class Writer:
    """Turns tasks into documents; all its choices come from `random`."""

    def __init__(self, tokenizer: Tokenizer, random: Random, stage: Stage, own: Sequence[Mapping[str, Any]] = ()):
        self.tokenizer = tokenizer
        self.random = random
        self.stage = stage
        self.own = own
        self.kinds = [kind for kind in stage.mix if kind != "own" or own]
        self.shares = [stage.mix[kind] for kind in self.kinds]

    def document(self) -> Document:
        """The next document."""
        kind = self.random.choices(self.kinds, self.shares)[0]
        if kind == "behavior":
            return self.behavior()
        if kind == "errand":
            return self.errand()
        if kind == "own":
            return self.own_mistakes(self.random.choice(self.own))
        return self.calculation(kind)

    def encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text).ids

    def add(self, document: Document, text: str, weight: float) -> int:
        """Append text to the trunk; returns the trunk's new length."""
        ids = self.encode(text)
        document.ids += ids
        document.weights += [weight] * len(ids)
        return len(document.ids)

    def branch(self, document: Document, start: int, *pieces: tuple[str, float]) -> None:
        ids: list[int] = []
        weights: list[float] = []
        for text, weight in pieces:
            piece = self.encode(text)
            ids += piece
            weights += [weight] * len(piece)
        document.branches.append(Branch(start, ids, weights))

    def count(self, expected: float) -> int:
        """A whole number with this mean."""
        return int(expected) + (self.random.random() < expected % 1)

    # a calculation

    def calculation(self, preset: str) -> Document:
        random = self.random
        while True:
            expression = random_calculation.draw_expression(random, PRESETS[preset])
            problem = compact(expression)
            if random_calculation.split_of(problem) == "train":
                break
        task = random_calculation.make_calculation(expression, random_calculation.draw_wording(random, expression))
        steps = reason(expression, random)
        document = Document()
        system = random.choice(INSTRUCTIONS) if random.random() < 0.1 else ""
        asked = self.add(document, _user(task.prompt, system), 0.0)
        ends = self.thought(document, steps, task.answer)
        self.blurts(document, asked, task.answer, len(task.steps))
        self.forces(document, ends, task.answer)
        self.ratings(document, steps, ends, problem, task.answer)
        self.verdicts(document, ends, task.answer)
        return document

    def thought(self, document: Document, steps: Sequence[Step], answer: str) -> list[int]:
        """Write the steps and the answer; returns the trunk's length before each step and after the last."""
        ends = [self.add(document, OPEN_THINK, 0.0)]
        ends += [self.add(document, step.text + "\n\n", FULL) for step in steps]
        self.add(document, f"</think>\n{_boxed(answer)}{END}", FULL)
        return ends

    def blurts(self, document: Document, asked: int, answer: str, num_steps: int) -> None:
        if self.random.random() < self.stage.blurt * (1 if num_steps <= 4 else 0.25):
            weight = FULL if num_steps <= 4 else GUESS
            self.branch(document, asked, (CLOSED_THINK, 0.0), (_boxed(answer) + END, weight))

    def forces(self, document: Document, ends: Sequence[int], answer: str) -> None:
        if self.random.random() < self.stage.force:
            start = self.random.randint(ends[0], ends[-1])
            self.branch(document, start, ("</think>\n", 0.0), (_boxed(answer) + END, GUESS))

    def rate(self, document: Document, start: int, rating: int, said: str = "", *, is_closed: bool = False) -> None:
        """Ask for a rating at `start`, after `said`; `is_closed` if the turn has ended there."""
        question = judge_suffix()
        pieces = [(said, 0.0)] if said else []
        pieces += [(question.removeprefix(END) if is_closed else question, 0.0), (str(rating), RATING), (END, GUESS)]
        self.branch(document, start, *pieces)

    def ratings(
        self, document: Document, steps: Sequence[Step], ends: Sequence[int], problem: str, answer: str
    ) -> None:
        random = self.random
        for _ in range(self.count(self.stage.judge)):
            index = random.randrange(len(steps) + 1)
            if index == len(steps):
                self.rate(document, len(document.ids), 9, is_closed=True)
            else:
                without_delimiter = random.random() < 0.1
                self.rate(document, ends[index + 1] - without_delimiter, 9)
        for _ in range(self.count(self.stage.judge)):
            index = random.randrange(len(steps) + 1)
            if index == len(steps):
                wrong = _boxed(self.another(answer))
                self.rate(document, ends[index], 0, f"</think>\n{wrong}")
            else:
                before = steps[index - 1].state if index else None
                text, verdict = spoil(random, before, steps[index], problem)
                self.rate(document, ends[index], verdict.rating, text + "\n\n")

    def another(self, answer: str) -> str:
        while (wrong := _number(self.random, answer)) == answer:
            pass
        return wrong

    def verdicts(self, document: Document, ends: Sequence[int], answer: str) -> None:
        if self.random.random() < self.stage.verdict:
            self.verdict(document, len(document.ids), "CORRECT")
        if self.random.random() < self.stage.verdict:
            wrong = f"</think>\n{_boxed(self.another(answer))}{END}"
            self.verdict(document, ends[-1], "INCORRECT", wrong)

    def verdict(self, document: Document, start: int, word: str, said: str = "") -> None:
        question = ROLES["user"] + VERDICT_PROMPT + END + ROLES["assistant"] + CLOSED_THINK
        pieces = [(said, 0.0)] if said else []
        self.branch(document, start, *pieces, (question, 0.0), (word, RATING / 2), (END, GUESS))

    # what small wrote itself

    def own_mistakes(self, record: Mapping[str, Any]) -> Document:
        """Rate the steps of a thought that small sampled: all wrong ones up to six, and as many right ones."""
        random = self.random
        problem, steps = record["expression"], record["steps"]
        document = Document()
        self.add(document, _user(record["prompt"]), 0.0)
        ends = [self.add(document, OPEN_THINK, 0.0)]
        ends += [self.add(document, step + "\n\n", 0.0) for step in steps]
        judged = list(enumerate(verify_thought(steps, problem)))
        wrong = [pair for pair in judged if not pair[1].is_right]
        right = [pair for pair in judged if pair[1].is_right]
        wrong = random.sample(wrong, min(len(wrong), 6))
        for index, verdict in wrong + random.sample(right, min(len(right), max(1, len(wrong)))):
            self.rate(document, ends[index + 1], verdict.rating)
        if record["answer"] is not None:
            self.add(document, f"</think>\n{_boxed(record['answer'])}{END}", 0.0)
            self.verdict(document, len(document.ids), "CORRECT" if record["is_right"] else "INCORRECT")
        return document

    # behaviors

    def behavior(self) -> Document:
        random = self.random
        while True:
            num_others = random.randint(0, 6) if random.random() < 0.9 else random.randint(7, 20)
            task = behavior_tasks.draw_task(random, num_others, hide=random.random() < 0.12)
            if behavior_tasks.split_of(task) == "train":
                break
        document = Document()
        asked = self.add(document, _user(task.prompt, behavior_tasks.handbook_text(task.behaviors)), 0.0)
        ends = self.thought(document, task.steps, task.answer)
        if random.random() < 0.3:
            self.branch(document, asked, (CLOSED_THINK, 0.0), (_boxed(task.answer) + END, GUESS))
        for _ in range(self.count(self.stage.judge)):
            index = random.randrange(len(task.steps))
            self.rate(document, ends[index + 1], 9)
            index = random.randrange(len(task.steps))
            wrong = self.spoil_behavior(task, index)
            if wrong is not None:
                self.rate(document, ends[index], wrong[1], wrong[0] + "\n\n")
        return document

    def spoil_behavior(self, task: behavior_tasks.BehaviorTask, index: int) -> tuple[str, int] | None:
        """A wrong version of a step and its rating; None where only the behavior's text could tell."""
        step = task.steps[index]
        if step.kind == "behavior":
            head, equals, filled = step.text.partition("=")
            digits = [place for place, letter in enumerate(filled.partition("\n")[0]) if letter.isdigit()]
            if not equals or not digits:
                return None
            place = self.random.choice(digits)
            other = self.random.choice([digit for digit in "123456789" if digit != filled[place]])
            spoilt = filled[:place] + other + filled[place + 1 :].partition("\n")[0]
            before = task.steps[index - 1].state
            return f"{head}={spoilt}\n{before.replace(head.rpartition(' ')[2], spoilt, 1)}", RATINGS["result"]
        if index == 0 or not set(task.steps[index - 1].state) <= set("0123456789+-*/()"):
            return None
        text, verdict = spoil(self.random, task.steps[index - 1].state, step, "")
        return text, verdict.rating

    # errands

    def errand(self) -> Document:
        """One errand with its calls; sometimes the worker is found in a loop, which only the context shows."""
        random = self.random
        while True:
            errand = tool_tasks.draw_errand(random)
            if tool_tasks.split_of(errand) == "train":
                break
        thinks = random.random() < 0.5
        is_stuck = random.random() < 0.15
        document = Document()
        self.add(document, _user(errand.prompt, tool_tasks.SYSTEM), 0.0)
        shop, moves, seen = errand.shop(), tool_tasks.plan(errand), ""
        if is_stuck and errand.kind == "buy":
            self.loop(document, errand, thinks)
            moves = tool_tasks.recover(errand)
        rationale, call = next(moves)
        while True:
            before_turn = len(document.ids)
            self.turn(document, rationale, f"<tool>{call}</tool>", thinks, FULL)
            self.rate_call(document, before_turn, call)
            name, _, argument = call.partition("(")
            seen = shop.call(name, argument[:-1])
            self.add(document, ROLES["tool"] + seen + END, 0.0)
            if random.random() < self.stage.verdict:
                self.verdict(document, len(document.ids), "CORRECT")
            self.add(document, ROLES["assistant"], 0.0)
            try:
                rationale, call = moves.send(seen)
            except StopIteration:
                break
        before_answer = len(document.ids)
        self.turn(document, "Done.", _boxed(seen), thinks, FULL)
        if random.random() < 0.3:
            self.verdict(document, len(document.ids), "CORRECT")
        if random.random() < 0.3:
            wrong = CLOSED_THINK + _boxed(self.another(seen)) + END
            self.verdict(document, before_answer, "INCORRECT", wrong)
        return document

    def rate_call(self, document: Document, before: int, call: str) -> None:
        """Rate a call that was just made, and a wrong one in its place, with a verdict on what came of it."""
        random = self.random
        if random.random() < self.stage.judge / 4:
            self.rate(document, len(document.ids), 9, is_closed=True)
        wrong = self.spoil_call(call)
        said = f"{CLOSED_THINK}<tool>{wrong}</tool>{END}"
        if random.random() < self.stage.judge / 4:
            self.rate(document, before, RATINGS["result"], said, is_closed=True)
        if call.startswith("calc") and wrong.startswith("calc") and random.random() < self.stage.verdict:
            seen = tool_tasks.Shop({}).call("calc", wrong[5:-1])
            self.verdict(document, before, "INCORRECT", f"{said}{ROLES['tool']}{seen}{END}")

    def spoil_call(self, call: str) -> str:
        """A call with another number, another item, or another tool."""
        numbers = [match.span() for match in re.finditer(r"\d+", call)]
        if numbers and self.random.random() < 0.8:
            start, end = self.random.choice(numbers)
            return call[:start] + self.another(call[start:end]) + call[end:]
        if call.startswith("lookup") and self.random.random() < 0.7:
            return f"lookup({self.random.choice([item for item in tool_tasks.ITEMS if item not in call])})"
        name, _, rest = call.partition("(")
        return f"{self.random.choice([other for other in ('calc', 'lookup', 'convert') if other != name])}({rest}"

    def turn(self, document: Document, rationale: str, said: str, thinks: bool, weight: float) -> None:
        if thinks:
            self.add(document, OPEN_THINK, 0.0)
            self.add(document, f"{rationale}\n\n</think>\n{said}{END}", weight)
        else:
            self.add(document, CLOSED_THINK, 0.0)
            self.add(document, said + END, weight)

    def loop(self, document: Document, errand: tool_tasks.Errand, thinks: bool) -> None:
        """The same busy call again and again, with a verdict on it."""
        word = errand.wanted[0][1]
        call = f"<tool>lookup({word})</tool>"
        end = 0
        for _ in range(self.random.randint(3, 5)):
            self.turn(document, "Busy, try again.", call, thinks, 0.0)
            self.add(document, ROLES["tool"] + "error: busy" + END, 0.0)
            end = len(document.ids)
            self.add(document, ROLES["assistant"], 0.0)
        self.verdict(document, end, "INCORRECT")


def sample_text(count: int = 20_000) -> Iterator[str]:
    """Plain text of every form, for the tokenizer's merges; the same every time."""
    random = Random("tokenizer")
    for _ in range(count // 4):
        task = behavior_tasks.draw_task(random, 3)
        yield behavior_tasks.handbook_text(task.behaviors) + "\n" + task.prompt
        yield "\n".join(step.text for step in task.steps)
        expression = random_calculation.draw_expression(random, PRESETS["easy"])
        name = random_calculation.draw_wording(random, expression)
        yield random_calculation.make_calculation(expression, name).prompt
        yield "\n".join(step.text for step in reason(expression, random)) + _boxed("1")
        errand = tool_tasks.draw_errand(random)
        yield f"{tool_tasks.SYSTEM}\n{errand.prompt}\nBusy, try again. Still busy, list all. error: busy calc lookup"
        yield "Look up pen. Now the sum. Convert first. Now add. Done. error: no pen, use pen convert list"
        yield judge_suffix() + VERDICT_PROMPT
