"""How the published router reads a draft: the problem, then each step behind a tag that says who wrote it.

One function makes this text for whoever exports training data and for whoever asks the trained router, so that
they cannot drift apart. `[problem, kept step, ..., draft]` become pieces, and pieces become ids one by one: those of
the problem as they are, those of a step with the step token behind them.

Source: Arbitrage, arXiv:2512.05033, and the authors' script (the problem and a line break, then `Model 0: ` or
`Model 1: ` before each step, each encoded for itself and closed by the last id of the encoded delimiter; the
draft is a step of model 0). Differs:
- with more than two engines, the draft's writer is model 0 and everybody else is model 1;
- blanks at a step's end go, because a kept step has its delimiter in it and the script splits there;
- no step is parsed for special tokens (there the tokenizer reads a control token out of any text that spells one);
- `history=False` tags every step like the draft, so that nothing is told about who wrote it (the paper's ablation).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence

__all__ = ["STEP_END", "TAGS", "ids_of", "pieces_of"]

TAGS = ("Model 0: ", "Model 1: ")
"""What stands before a step of the draft's writer, and before anybody else's."""
STEP_END = "\n\n"
"""The last of its ids closes each step."""


def pieces_of(
    problem: str, kept: Iterable[tuple[str, str]], draft: tuple[str, str], *, history: bool = True
) -> list[str]:
    """Return the texts that are encoded one by one: the problem's first, the draft's last.

    `kept` are the steps before it and `draft` the step in question, each as (writer, text).
    """
    writer, _ = draft
    tagged = [(TAGS[history and each != writer], text) for each, text in (*kept, draft)]
    return [problem + "\n", *(tag + text.rstrip() for tag, text in tagged)]


async def ids_of(pieces: Sequence[str], encode: Callable[[str], Awaitable[Sequence[int]]]) -> list[int]:
    """Return the prompt of the router; `encode` turns one text into ids, without special tokens."""
    step_token = (await encode(STEP_END))[-1]
    problem, *steps = pieces
    ids = list(await encode(problem))
    for step in steps:
        ids += [*await encode(step), step_token]
    return ids
