"""Tasks that can only be solved with the right behavior from a handbook.

The prompt uses a house operator (`3@5`) or a house style ("Answer in style K."), whose meaning is drawn
anew for every task and stands in one behavior; other behaviors in the prompt are about other things.
Two behaviors steer length instead: one asks for a re-check, one forbids it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from orchestrator.bench.workloads.expression import read_expression, tokens_of
from orchestrator.bench.workloads.random_calculation import PRESETS, draw_expression, spaced
from orchestrator.bench.workloads.solution import Step, reason
from orchestrator.bench.workloads.splits import split_of_number

__all__ = ["UNKNOWN", "Behavior", "BehaviorTask", "behavior_tasks", "handbook_text"]

UNKNOWN = "unknown"
"""The answer when no behavior tells what a house sign means."""

SIGNS = "@#$&%^"
STYLES = "ABCDEFGHKLMNPQRST"
MEANINGS = ("k*a+b", "a+k*b", "a*b+k", "a*b-k", "k*a-b", "a-k*b", "(a+b)*k", "(a-b)*k", "a+b+k", "a-b-k")
ENDINGS = ("k*r", "r+k", "r-k", "k-r", "k*r+1")
CHECK_ONCE = "check the result once"
NEVER_CHECK = "never check the result again"
ADVICE = (
    "work inside parentheses first",
    "do products before sums",
    "keep the sign of a negative number",
    "copy what is left with care",
    "split a large factor",
    "write one operation per step",
)
FIRST = ("swift", "calm", "bold", "tiny", "green", "late", "round", "plain", "north", "silver", "warm", "odd")
SECOND = ("lark", "stone", "river", "door", "wheel", "leaf", "cloud", "horn", "track", "field", "glass", "nail")


@dataclass(frozen=True, slots=True)
class Behavior:
    """A named, one-line procedure."""

    name: str
    instruction: str


@dataclass(frozen=True, slots=True)
class BehaviorTask:
    """One question, the behaviors shown with it, and which of them it needs."""

    id: str
    prompt: str
    answer: str
    behaviors: tuple[Behavior, ...]
    """Shown, in order; `needed` first has no meaning, the order is shuffled."""
    needed: tuple[Behavior, ...]
    steps: tuple[Step, ...]


def handbook_text(behaviors: tuple[Behavior, ...]) -> str:
    """The system message that shows behaviors; empty for none."""
    lines = [f"{behavior.name}: {behavior.instruction}" for behavior in behaviors]
    return "\n".join(["Behaviors:", *lines]) if lines else ""


class _Names:
    def __init__(self, random: Random) -> None:
        pairs = [(a, b) for a in FIRST for b in SECOND]
        self.names = iter(random.sample(pairs, 40))

    def behavior(self, instruction: str) -> Behavior:
        first, second = next(self.names)
        return Behavior(f"behavior_{first}_{second}", instruction)


def _meaning(random: Random, sign: str) -> str:
    formula = random.choice(MEANINGS).replace("k", str(random.randint(2, 9)))
    return f"a{sign}b means {formula}"


def _ending(random: Random, style: str) -> str:
    formula = random.choice(ENDINGS).replace("k", str(random.randint(2, 9)))
    return f"style {style} means {formula}"


def _expand(text: str, meanings: dict[str, Behavior]) -> Iterator[Step]:
    """Replace house operators from left to right, one per step."""
    while (match := re.search(rf"(\d+)([{re.escape(SIGNS)}])(\d+)", text)) is not None:
        first, sign, second = match.groups()
        behavior = meanings[sign]
        formula = behavior.instruction.rpartition(" ")[2]
        filled = "(" + "".join({"a": first, "b": second}.get(letter, letter) for letter in formula) + ")"
        text = text[: match.start()] + filled + text[match.end() :]
        yield Step(f"{behavior.name}: {match.group()}={filled}\n{text}", text, "behavior")


def _house_tokens(random: Random, signs: list[str]) -> list[str]:
    """An easy expression in which literals are replaced by house operations, each glued into one token."""
    tokens = tokens_of(draw_expression(random, PRESETS["direct" if random.random() < 0.6 else "easy"]))
    places = [index for index, token in enumerate(tokens) if token.isdigit()]
    for index, sign in zip(sorted(random.sample(places, min(len(signs), len(places)))), signs, strict=False):
        tokens[index] = f"{random.randint(1, 9)}{sign}{random.randint(1, 9)}"
    return tokens


def _is_small(steps: list[Step]) -> bool:
    return all(len(number) <= 4 for step in steps for number in re.findall(r"\d+", step.state))


def draw_task(random: Random, num_distractors: int, *, hide: bool = False) -> BehaviorTask:
    """One task with its behaviors among `num_distractors` others; `hide` leaves the needed ones out."""
    while True:
        try:
            task = _draw(random, num_distractors, hide)
        except ValueError:  # a division in the drawn expression is not exact any more
            continue
        if _is_small(list(task.steps)):
            return task


def _draw(random: Random, num_distractors: int, hide: bool) -> BehaviorTask:
    names = _Names(random)
    kind = random.choices(("sign", "two signs", "style", "sign and style", "check"), (4, 1, 3, 1, 2))[0]
    signs = random.sample(SIGNS, {"sign": 1, "two signs": 2, "sign and style": 1}.get(kind, 0))
    meanings = {sign: names.behavior(_meaning(random, sign)) for sign in signs}
    needed = list(meanings.values())
    style = random.choice(STYLES) if "style" in kind else None
    ending = names.behavior(_ending(random, style)) if style else None
    if ending:
        needed.append(ending)
    check = names.behavior(random.choice((CHECK_ONCE, NEVER_CHECK))) if kind == "check" else None
    if check:
        needed.append(check)
    if signs:
        tokens = _house_tokens(random, signs)
    else:
        tokens = tokens_of(draw_expression(random, PRESETS[random.choice(("direct", "easy", "mid"))]))
    others = [names.behavior(_distraction(random, signs, style)) for _ in range(num_distractors)]
    shown = others + ([] if hide else needed)
    random.shuffle(shown)
    prompt = f"Compute {spaced(tokens, 'single')}." + (f" Answer in style {style}." if style else "")
    if hide and kind != "check":
        steps = [Step(f"No behavior tells it.\n{UNKNOWN}", UNKNOWN, "behavior")]
    else:
        steps = _steps(random, "".join(tokens), meanings, ending, None if hide else check)
    digest = hashlib.sha256((prompt + handbook_text(tuple(shown))).encode()).hexdigest()
    return BehaviorTask(f"behavior-{digest[:12]}", prompt, steps[-1].state, tuple(shown), tuple(needed), tuple(steps))


def _distraction(random: Random, signs: list[str], style: str | None) -> str:
    draw = random.random()
    if draw < 0.4:
        return _meaning(random, random.choice([sign for sign in SIGNS if sign not in signs]))
    if draw < 0.7:
        return _ending(random, random.choice([other for other in STYLES if other != style]))
    return random.choice(ADVICE)


def _steps(
    random: Random, text: str, meanings: dict[str, Behavior], ending: Behavior | None, check: Behavior | None
) -> list[Step]:
    steps = [Step(text, text, "setup"), *_expand(text, meanings)]
    rechecks = None if check is None else int(check.instruction == CHECK_ONCE)
    if not meanings and ending is None:
        return reason(read_expression(text), random, rechecks)
    steps += reason(read_expression(steps[-1].state), rechecks=0)[1:]
    if ending:
        formula = ending.instruction.rpartition(" ")[2].replace("r", steps[-1].state)
        style = ending.instruction.split()[1]
        steps.append(Step(f"{ending.name}: style {style}\n{formula}", formula, "behavior"))
        steps += reason(read_expression(formula), rechecks=0)[1:]
    return steps


def split_of(task: BehaviorTask) -> str:
    """Tasks are cut by their id, 90 : 5 : 5."""
    return split_of_number(int(task.id.removeprefix("behavior-"), 16))


def behavior_tasks(split: str, seed: int, num_distractors: int = 3) -> Iterator[BehaviorTask]:
    """Endless tasks of one split that need a behavior for the right answer, all behaviors shown."""
    random = Random(f"behaviors/{split}/{seed}/{num_distractors}")
    while True:
        task = draw_task(random, num_distractors)
        is_about_length = all(b.instruction in (CHECK_ONCE, NEVER_CHECK) for b in task.needed)
        if split_of(task) == split and not is_about_length:
            yield task
