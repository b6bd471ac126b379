"""What it takes to open the page of a long run: its size, and when a browser is ready to be clicked in.

Run `python benchmarks/page.py`. The run is that of `traces.py`: 1,000 steps, a third of them rewritten, 24 words a
step. A headless Chromium of this machine opens it from disk. Ready is when the page has loaded, all steps are in it and
its thread answers a question: as wall time from before the page is asked for, and as the time its thread computed.
A search is what comes of a letter in its field, as wall time until the steps are sifted and drawn.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from time import perf_counter

from many_runs import make_journal
from measure import Options, Report, options

from orchestrator.memory.journal import Journal
from orchestrator.memory.store import Store
from orchestrator.traces.html_page import html

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from chromium import Chromium, chromium

STEPS = 1000
QUICK_STEPS = 20
BAR_MB, BAR_S = 3.0, 1.0
SEARCHED = """new Promise(done => {
    const words = document.querySelector('input[type=search]');
    words.value = 'baba';
    words.dispatchEvent(new Event('input'));
    requestAnimationFrame(() => setTimeout(done));
})"""


def main(chosen: Options) -> None:
    """Measure and print. Raises SystemExit where there is no Chromium."""
    program = chromium() or sys.exit("no Chromium here: apt-get install chromium")
    report = Report("The page of a run of 1,000 steps in Chromium", chosen)
    steps = QUICK_STEPS if chosen.is_quick else STEPS
    with tempfile.TemporaryDirectory() as folder:
        path, page = Path(folder) / "journal.db", Path(folder) / "page.html"
        make_journal(path, 1, steps)
        with Store(path, readonly=True) as store:
            began_s = perf_counter()
            page.write_text(html(Journal(store), "last"), encoding="utf-8")
            report.add("writing it", [perf_counter() - began_s], "s")
        report.add("size", [page.stat().st_size / 1e6], "MB", bar=BAR_MB)
        ready, busy, sifted = [], [], []
        for number in range(chosen.times(10)):
            with Chromium(program, Path(folder) / f"profile-{number}") as browser:
                began_s = perf_counter()
                browser.open(page.as_uri())
                assert browser.read("document.querySelectorAll('.step').length") >= steps
                ready.append(perf_counter() - began_s)
                busy.append(browser.busy_s())
                began_s = perf_counter()
                browser.read(SEARCHED)
                sifted.append(perf_counter() - began_s)
    report.add("until it is ready, wall", ready, "s", bar=BAR_S)
    report.add("until it is ready, computed", busy, "s")
    report.add("a search in it", sifted, "s")
    report.print()


if __name__ == "__main__":
    main(options(__doc__))
