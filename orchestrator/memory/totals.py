"""What a run came to, summed from its last ledger, so that many runs are listed without reading theirs."""

from __future__ import annotations

__all__ = ["TOTAL", "TOTALS"]


def _total(name: str, which: str = "") -> str:
    return f"coalesce(total(json_extract(entry.value, '$.{name}')){which}, 0)"


def _tokens(name: str, which: str = "") -> str:
    # Counts come from servers: added up as integers, absurd ones overflow, which no outcome may fail for.
    return f"CAST({_total(name, which)} AS INTEGER)"


_LARGEST = "(SELECT key FROM json_each(engines.text) ORDER BY id DESC LIMIT 1)"
_SUMS = f"""
    SELECT runs.key AS run, {_tokens("prompt_tokens")} AS prompt_tokens, {_tokens("output_tokens")} AS output_tokens,
        {_tokens("output_tokens", f" FILTER (WHERE json_extract(entry.value, '$.engine') = {_LARGEST})")}
            AS large_tokens,
        {_total("cost")} AS cost
"""
_JOINED = """
    JOIN texts AS engines ON engines.id = runs.engines AND typeof(engines.text) = 'text' AND json_valid(engines.text)
    JOIN texts AS ledger ON ledger.id = {ledger} AND typeof(ledger.text) = 'text' AND json_valid(ledger.text)
    JOIN json_each(ledger.text) AS entry ON entry.type = 'object'
"""

TOTAL = f"{_SUMS} FROM runs {_JOINED.format(ledger='new.ledger')} WHERE runs.key = new.run GROUP BY runs.key"
"""Of the run that `new`, a row of `outcomes`, belongs to; nothing where its ledger is empty or none, or damaged."""
TOTALS = f"""
    {_SUMS} FROM runs
    JOIN outcomes ON outcomes.run = runs.key AND outcomes.n = (SELECT max(n) FROM outcomes WHERE run = runs.key)
    {_JOINED.format(ledger="outcomes.ledger")} GROUP BY runs.key
"""
"""Of every run that has ended."""
