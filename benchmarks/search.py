"""What it costs to search the texts of very many runs: the index once, what is new, and searches of every kind.

Run `python benchmarks/search.py`. The journal is that of `many_runs.py`: 100,000 runs of 10 steps, whose words come as
often as words of texts do, from one in 1,485,000 texts to one in two of three. A search opens the journal, sees whether
anything is new, finds the 20 newest texts, counts all, and says what came of each, as `orchestrator trace show --grep`
does; the start of Python and the imports are not in it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from time import perf_counter

from many_runs import make_journal
from measure import Options, Report, options

from orchestrator.memory.base import OutcomeRow, StepRow
from orchestrator.memory.journal import Journal
from orchestrator.memory.store import Store
from orchestrator.traces.searching import runs_with, search

BAR_S = 0.5
RUNS, STEPS = 100_000, 10
QUICK_RUNS = 200
SEARCHES = {
    "a rare word": "777",
    "no such word": "nowhere",
    "the most frequent word": "baba",
    "three frequent words": "baba ceba diba",
    "a frequent and a rare word": "baba 777",
    "a frequent phrase": '"baba ceba"',
    "a rare phrase of frequent words": '"baba ceba diba foba"',
    "a phrase with numbers": '"how much is 77"',
    "the beginning of words": "wuwu*",
    "the beginning of one word in twenty": "ba*",
    "two such beginnings": "ba* ce*",
}


def search_s(path: Path, query: str) -> float:
    """Return the seconds of a search."""
    began_s = perf_counter()
    search(path, query)
    return perf_counter() - began_s


def runs_s(path: Path, query: str) -> float:
    """Return the seconds of finding all runs with these words, as `trace list --grep` does."""
    began_s = perf_counter()
    runs_with(path, query)
    return perf_counter() - began_s


def run_once_more(path: Path, number: int) -> None:
    """Store one more run of one step."""
    with Store(path) as store:
        journal = Journal(store)
        key = journal.open_run(journal.run("last").run._replace(id=f"zzz{number:08}"))
        journal.step(StepRow(key, 0, 0, "thought", "small", f"news {number}", "delimiter", 3, 0.5))
        journal.outcome(OutcomeRow(key, "completed", None, "", "", 1.0, "[]", 2.0))
        journal.close()


def main(chosen: Options) -> None:
    """Measure and print."""
    report = Report("search", chosen)
    times = chosen.times(5)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.db"
        make_journal(path, QUICK_RUNS if chosen.is_quick else RUNS, STEPS)
        report.add("indexing all, once", [search_s(path, "nowhere")], "s")
        for of, file in (("journal", path), ("index", path.with_name("journal.db.words"))):
            report.add(f"size of the {of}", [file.stat().st_size / 1e6], "MB")
        for name, query in SEARCHES.items():
            report.add(name, [search_s(path, query) for _ in range(times)], "s", bar=BAR_S)
        report.add("the runs with the most frequent word", [runs_s(path, "baba") for _ in range(times)], "s")
        fresh = []
        for number in range(times):
            run_once_more(path, number)
            fresh.append(search_s(path, f"news {number}"))
        report.add("one run more since the last search", fresh, "s", bar=BAR_S)
    report.print()


if __name__ == "__main__":
    main(options(__doc__))
