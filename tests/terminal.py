"""A terminal without a person, for what is shown on one alone."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

COMMAND = "from orchestrator.cli import main; main()"


def on_a_terminal(code: str, *arguments: str, **environment: str) -> str:
    """Run Python code with stdout and stderr on a terminal that can show colours, and return what it shows."""
    master, slave = pty.openpty()
    own = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR", "TERM")}
    running = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=slave,
        stderr=slave,
        env={**own, "TERM": "xterm-256color", **environment},
    )
    os.close(slave)
    shown = b""
    try:
        while chunk := os.read(master, 1 << 16):
            shown += chunk
    except OSError:  # Linux says EIO when the other end is gone
        pass
    os.close(master)
    assert running.wait() == 0
    return shown.decode().replace("\r\n", "\n")
