"""Run a command that ends when whoever started it does, however that one ended.

    python leash.py COMMAND...

Standard input is the leash: whoever starts this keeps the other end of the pipe, and the system closes it with them,
after kill -9 too. The command has a process group of its own, which gets SIGTERM and, if that is not enough, SIGKILL:
a model server has worker processes. Should this process itself be killed, Linux sends the command a SIGTERM.

Nothing of the package is imported: this starts in a few milliseconds, in whatever directory.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading

__all__ = ["main"]

PATIENCE_S = 20.0
"""What a server has to end by itself."""
PR_SET_PDEATHSIG = 1


def _end_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _end(child: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(PATIENCE_S)
            break
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)  # workers that outlived their server


def main(command: list[str]) -> int:
    """Run the command and return its exit status; a signal's number above 128 as a shell does."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=_end_with_parent)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: threading.Thread(target=_end, args=(child,), daemon=True).start())

    def wait_for_end() -> None:
        while os.read(0, 1024):
            pass
        _end(child)

    threading.Thread(target=wait_for_end, daemon=True).start()
    status = child.wait()
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
