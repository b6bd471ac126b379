"""The porch: parse, call, print, exit code. No decisions are made here.

Importing this room loads click and nothing else; every command imports what it needs when it runs,
so that `orchestrator --help` answers at once.
"""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the `orchestrator` command and exit with its code."""
    from orchestrator.cli.app import app

    app.main(prog_name="orchestrator")
