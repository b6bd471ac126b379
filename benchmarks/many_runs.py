"""A journal of very many runs, made in a minute: for measuring lists and searches.

`make_journal(path, runs, steps)` stores runs of `specreason` over two engines. Every step has two candidates, its draft
and, at every third step, a rewrite, each a text of its own of about 25 words out of some 20,000 by Zipf's law, as words
of texts are; engines, questions, scores, ledgers and outcomes differ from run to run.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from hashlib import blake2b
from itertools import accumulate
from pathlib import Path
from typing import Any

from orchestrator.memory.ids import run_id
from orchestrator.memory.store import Store

WORDS = 20_000
STATUSES = ["completed"] * 17 + ["no_answer", "budget", "failed"]
POLICIES = ("specreason", "threshold", "cascade", "random")
BATCH_RUNS = 2000
_ENGINES = json.dumps({name: {"model": f"{name}-model", "server": "scripted"} for name in ("small", "large")})


class _Texts:
    """Numbers of texts: those that come again by what they are, the others one after another."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._known: dict[str, int] = {}
        self._rows: list[tuple[int, bytes, str]] = []
        self._next = 1

    def again(self, text: str) -> int:
        if text not in self._known:
            self._known[text] = self.once(text)
        return self._known[text]

    def once(self, text: str) -> int:
        number, self._next = self._next, self._next + 1
        self._rows.append((number, blake2b(text.encode(), digest_size=16).digest(), text))
        return number

    def flush(self) -> None:
        self._connection.executemany("INSERT OR IGNORE INTO texts VALUES (?, ?, ?)", self._rows)
        self._rows.clear()


def _thoughts(draw: random.Random) -> Iterator[str]:
    vocabulary = [_word(number) for number in range(WORDS)]
    weights = list(accumulate(1 / (rank + 2) for rank in range(WORDS)))
    for number in range(10**9):
        yield f"{' '.join(draw.choices(vocabulary, cum_weights=weights, k=24))} {number}.\n\n"


def _word(number: int) -> str:
    letters = ""
    while number or len(letters) < 3:
        number, place = divmod(number, 20)
        letters += "bcdfghjklmnprstvwxyz"[place] + "aeiou"[place % 5]
    return letters


def make_journal(path: Path, runs: int, steps: int, seed: int = 0) -> None:
    """Make the file at `path` with so many runs of so many steps each."""
    draw = random.Random(seed)
    thoughts = _thoughts(draw)
    with Store(path) as store:
        connection = store.connection
        connection.execute("PRAGMA synchronous = OFF")
        texts = _Texts(connection)
        for first in range(0, runs, BATCH_RUNS):
            rows: dict[str, list[tuple[Any, ...]]] = {name: [] for name in _INSERTS}
            for key in range(first + 1, min(first + BATCH_RUNS, runs) + 1):
                _run(key, steps, draw, thoughts, texts, rows)
            connection.execute("BEGIN IMMEDIATE")
            texts.flush()
            for name, insert in _INSERTS.items():
                connection.executemany(insert, rows[name])
            connection.execute("COMMIT")


def _run(
    key: int, steps: int, draw: random.Random, thoughts: Iterator[str], texts: _Texts, rows: dict[str, list[Any]]
) -> None:
    at_s = 1_700_000_000.0 + 60 * key
    policy = draw.choice(POLICIES)
    settings = json.dumps({"router": {"policy": policy, "threshold": 7.0}, "answer": "boxed"})
    task = json.dumps(
        {
            "messages": [["user", f"{next(thoughts).strip()} How much is {key} + {draw.randrange(1000)}?"]],
            "id": None,
            "answer": None,
        }
    )
    again, once = texts.again, texts.once
    rows["runs"].append(
        (
            key,
            run_id(at_s),
            None,
            again(f"batch {key // 500}"),
            key % 500,
            once(task),
            again(settings),
            again(_ENGINES),
            at_s,
        )
    )
    seq = n = 0
    spent = {"small": 0, "large": 0}
    for step in range(steps):
        is_rewritten = step % 3 == 2
        for attempt, engine in enumerate(("small", "large")[: 1 + is_rewritten]):
            text, tokens = once(next(thoughts)), draw.randrange(20, 60)
            spent[engine] += tokens
            purpose = again("rewrite" if attempt else "draft")
            rows["intents"].append(
                (key, seq, step, attempt, purpose, again(engine), seq, b"d" * 16, 100 + 40 * step, 512, at_s)
            )
            rows["results"].append(
                (key, seq, again("done"), text, again("delimiter"), again("\n\n"), tokens, again(""))
            )
            score = float(draw.randrange(10))
            action, margin = again("rewrite" if is_rewritten and not attempt else "keep"), score - 7.0
            rows["decisions"].append(
                (
                    key,
                    n,
                    step,
                    attempt,
                    again("after_draft"),
                    action,
                    again(engine),
                    again("rated"),
                    margin,
                    again(""),
                    again(policy),
                    again(""),
                )
            )
            rows["signals"].append(
                (key, n + 1, step, attempt, again("judge"), score / 9, score, again("0-9"), again(""))
            )
            seq, n = seq + 1, n + 2
        kind = again("answer" if step == steps - 1 else "thought")
        rows["steps"].append((key, n, step, attempt, kind, again(engine), text, again("delimiter"), tokens))
        n += 1
    ledger = [
        {"engine": name, "purpose": "draft", "fate": "used", "calls": steps, "prompt_tokens": 1000, "cached_tokens": 0,
         "output_tokens": tokens, "uncertain": 0, "seconds": draw.random() * 20,
         "cost": tokens * (5.0 if name == "large" else 1.0)}
        for name, tokens in spent.items()
    ]  # fmt: skip
    status = draw.choice(STATUSES)
    answer = once(str(key)) if status == "completed" else None
    rows["outcomes"].append(
        (key, n, again(status), answer, again(""), again(""), draw.random() * 20, again(json.dumps(ledger)), at_s + 20)
    )


_INSERTS = {
    "runs": "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "intents": "INSERT INTO intents VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "results": "INSERT INTO results (run, seq, status, text, ids, stop, stop_text, prompt_tokens, output_tokens, "
    "uncertain, seconds, error) VALUES (?, ?, ?, ?, x'', ?, ?, 100, ?, 0, 0.5, ?)",
    "signals": "INSERT INTO signals VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1, 0.05)",
    "decisions": "INSERT INTO decisions (run, n, step, attempt, door, action, engine, reason, threshold, margin, "
    "alternatives, policy, detail) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 7.0, ?, ?, ?, ?)",
    "steps": "INSERT INTO steps VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0.5)",
    "outcomes": "INSERT INTO outcomes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
}
