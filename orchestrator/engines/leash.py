"""Run a command that ends when whoever started it does, however that one ended.

    python leash.py SECONDS COMMAND...

Standard input is the leash: whoever starts this keeps the other end of the pipe, and the system closes it with them,
after kill -9 too. The command has a process group of its own, which gets SIGTERM and, if it is still there SECONDS
later, SIGKILL: a model server has worker processes. Should this process itself be killed, Linux sends the command a
SIGTERM.

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

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
WATCHED = (*ENDING, signal.SIGALRM, signal.SIGCHLD)
PR_SET_PDEATHSIG = 1
NOT_FOUND = 127


def _end_at_hang_up() -> None:
    with contextlib.suppress(OSError):
        while os.read(0, 1024):
            pass
    os.kill(os.getpid(), signal.SIGTERM)


def _signal(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)


def main(patience_s: float, command: list[str]) -> int:
    """Run the command and return its exit status; a signal's number above 128 as a shell does."""
    # Signals are held back and waited for, one after the other: a handler could interrupt another one halfway.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # what is ignored anyway would not be held back everywhere

    def prepare() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=prepare)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        return NOT_FOUND
    threading.Thread(target=_end_at_hang_up, daemon=True).start()
    while child.poll() is None:
        number = signal.sigwait(WATCHED)
        if number in ENDING:
            _signal(child, signal.SIGTERM)
            signal.setitimer(signal.ITIMER_REAL, patience_s)
        elif number == signal.SIGALRM:
            _signal(child, signal.SIGKILL)
    _signal(child, signal.SIGKILL)  # workers that outlived their server
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2:]))
