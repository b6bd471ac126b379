"""Makes the README's pictures: a question is run on the pair inside the package, and a browser draws its page.

python tests/screenshots.py [FOLDER]      writes trace.png and two-runs.png, into docs/ unless told otherwise
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from chromium import Chromium, chromium

import orchestrator as orc
from orchestrator.traces.html_page import html

QUESTION = "Compute 38*4 - 98*6."
OPENED = "step-2"
"""The first draft that is worth a look: rated too low, and wrong."""


def main(folder: Path) -> None:
    """Write the pictures. Raises SystemExit where there is no Chromium."""
    program = chromium() or sys.exit("no Chromium here: apt-get install chromium")
    folder.mkdir(exist_ok=True)
    with TemporaryDirectory() as scratch, Chromium(program, Path(scratch) / "profile", width=1120) as browser:
        page = Path(scratch) / "page.html"
        runs = []
        for threshold in (7, 3):
            router = orc.routers.SpecReason(threshold=threshold)
            with orc.Pipeline(orc.engines.pocket_pair(), router, db=Path(scratch) / "journal.db") as pipeline:
                runs.append(pipeline.run(QUESTION).run_id)
                page.write_text(html(pipeline.journal, runs[0]), encoding="utf-8")
                two = html(pipeline.journal, *runs)
        browser.open(f"{page.as_uri()}#{OPENED}")
        browser.picture(folder / "trace.png", height=1330)
        page.write_text(two, encoding="utf-8")
        browser.open(page.as_uri())
        browser.picture(folder / "two-runs.png", height=1180, dark=True)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs"))
