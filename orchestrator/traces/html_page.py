"""One or two stored runs as a page: a single file that opens from disk and asks no network for anything.

No text of a run can become part of the page. It travels as JSON in which `<`, `>` and `&` are escaped, so no text
holds a `</script>` or a `<!--`; the script puts it into text nodes only; and the page's own policy lets the browser run
this script and this style, by their hashes, and fetch nothing.

A page is sent around, so it is drawn from what an export would have of the run: secrets are `[redacted]`, see
redact.py.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from importlib.resources import files
from json import dumps
from os import PathLike
from pathlib import Path
from typing import Any

from orchestrator.errors import UserError
from orchestrator.memory.base import StoredRun
from orchestrator.memory.journal import Journal
from orchestrator.runtime.fork import ancestors
from orchestrator.traces.parting import parting
from orchestrator.traces.record import recorded
from orchestrator.traces.redact import Redactor
from orchestrator.traces.restored import stored_of
from orchestrator.traces.shown import shown

__all__ = ["drawn", "html", "page_of", "write_page"]

_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def html(journal: Journal, name: str, other: str | None = None, hide: Redactor | None = None) -> str:
    """Return the page of the run called `name`, beside the one called `other` if that is given; pure ASCII data.

    `hide` finds the secrets, as in `page_of`. Raises UnknownName or UserError, as `Journal.run` does.
    """
    runs = [journal.run(each) for each in (name, other) if each is not None]
    return page_of(*((run, ancestors(journal, run)) for run in runs), hide=hide)


def page_of(*runs: tuple[StoredRun, Sequence[StoredRun]], hide: Redactor | None = None) -> str:
    """Return the page of one run or of two side by side, each with the runs that it was forked from, oldest first.

    `hide` finds the secrets, by default also those that the environment of this process holds.
    """
    hide = hide or Redactor()
    clean = [_without_secrets([*own, run], hide) for run, own in runs]
    told: dict[str, Any] = {"runs": [shown(run, own) for *own, run in clean]}
    if len(clean) == 2:
        (*our_ancestors, ours), (*their_ancestors, theirs) = clean
        parted = parting(ours, theirs, our_ancestors, their_ancestors)
        told["parting"] = parted and [parted.step, parted.why]
    return drawn(told)


def write_page(page: str, path: str | PathLike[str]) -> None:
    """Write a page into a new file. Raises UserError if there is one already, or it cannot be written."""
    is_made = False
    try:
        with Path(path).open("x", encoding="utf-8") as file:
            is_made = True
            file.write(page)
    except FileExistsError:
        raise UserError(f"{path} exists: choose another file") from None
    except OSError as error:
        if is_made:
            Path(path).unlink(missing_ok=True)
        raise UserError(f"{path} cannot be written: {error.strerror}") from error


def drawn(told: Mapping[str, Any]) -> str:
    """Return the page of `runs`, one or two as `shown` tells them, and of their `parting`, if there are two."""
    style, script = _file("page.css"), _file("page.js")
    parts = {"@@POLICY@@": _policy(style, script), "@@STYLE@@": style, "@@SCRIPT@@": script}
    page = _file("page.html")
    for mark, part in (*parts.items(), ("@@DATA@@", dumps(told, allow_nan=False).translate(_ESCAPES))):
        page = page.replace(mark, part)  # the data comes last: no mark in it is ever replaced
    return page


def _without_secrets(line: Sequence[StoredRun], hide: Redactor) -> list[StoredRun]:
    """Return a run behind those that it was forked from, as an export has them."""
    return [stored_of(recorded(each, line[:place], hide)) for place, each in enumerate(line)]


def _policy(style: str, script: str) -> str:
    return (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"


def _file(name: str) -> str:
    return files("orchestrator.traces").joinpath("page", name).read_text(encoding="utf-8")
