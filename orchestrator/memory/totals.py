"""What a run came to, summed from its last ledger, so that many runs are listed without reading theirs."""

from __future__ import annotations

__all__ = ["TOTAL", "TOTALS"]


def _sum(name: str, which: str = "") -> str:
    return f"coalesce(sum(json_extract(entry.value, '$.{name}')){which}, 0)"


_LARGEST = "(SELECT key FROM json_each(engines.text) ORDER BY id DESC LIMIT 1)"
_SUMS = f"""
    SELECT runs.key AS run, {_sum("prompt_tokens")} AS prompt_tokens, {_sum("output_tokens")} AS output_tokens,
        {_sum("output_tokens", f" FILTER (WHERE json_extract(entry.value, '$.engine') = {_LARGEST})")} AS large_tokens,
        {_sum("cost")} AS cost
"""
_JOINED = """
    JOIN texts AS engines ON engines.id = runs.engines
    JOIN texts AS ledger ON ledger.id = {ledger} AND typeof(ledger.text) = 'text' AND json_valid(ledger.text)
    JOIN json_each(ledger.text) AS entry
"""

TOTAL = f"{_SUMS} FROM runs {_JOINED.format(ledger='new.ledger')} WHERE runs.key = new.run GROUP BY runs.key"
"""Of the run that `new`, a row of `outcomes`, belongs to; nothing where its ledger is empty or none."""
TOTALS = f"""
    {_SUMS} FROM runs
    JOIN outcomes ON outcomes.run = runs.key AND outcomes.n = (SELECT max(n) FROM outcomes WHERE run = runs.key)
    {_JOINED.format(ledger="outcomes.ledger")} GROUP BY runs.key
"""
"""Of every run that has ended."""
