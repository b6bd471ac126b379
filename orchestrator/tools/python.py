"""Run a Python program that an engine wrote: in a process of its own, behind a fence, off unless a pipeline names it.

Every call is a fresh process with an empty environment and an empty working directory that is removed afterwards. It
has the standard library but for what is closed, one thread, and limits on time, processor time, memory, the size of
files and what it prints. There is no network and no other process: the kernel refuses the system calls (fence.py).

What the fence is not: files are guarded by Python itself (inside.py, an audit hook), so a program that finds a hole
in the interpreter could read and change what this user may; that a file exists, its size, its dates and where a link
leads can be seen anyhow, as Python tells no hook of that, and so can the name of the machine. It holds what engines
write by mistake or mischief. Against somebody who attacks you through an engine, run the whole of it in a container or
a virtual machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import os
import platform
import signal
import sys
from asyncio import StreamReader
from asyncio.subprocess import Process
from pathlib import Path
from subprocess import DEVNULL, PIPE
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from orchestrator.errors import UserError
from orchestrator.options import check_whole
from orchestrator.tools.base import ERROR
from orchestrator.tools.fence import MACHINES, PR_SET_SECCOMP, SECCOMP_MODE_FILTER
from orchestrator.tools.function import Function
from orchestrator.tools.inside import PROGRAM
from orchestrator.visible import visible

__all__ = ["Python"]

_HERE = Path(__file__).parent
_MAX_PRINTED = 1 << 20
_CHUNK = 1 << 16


class _End(NamedTuple):
    """How a program ended."""

    status: int
    """Its exit status; a signal's number below 0."""
    printed: str
    complaint: str
    is_flood: bool


class Python(Function):
    """The tool `python`."""

    def __init__(
        self,
        *,
        name: str = "python",
        timeout_s: float = 10.0,
        cpu_s: int = 5,
        memory_mib: int = 256,
        max_chars: int = 4000,
        needs_approval: bool = False,
    ) -> None:
        """Make the tool. Limits of one call: `timeout_s` and `cpu_s` in seconds, `memory_mib` of address space.

        `max_chars` caps what it answers, >= 100. Raises UserError where a limit is out of range, or where this
        system cannot put up the fence: it takes Linux with seccomp, on x86_64 or aarch64.
        """
        check_whole(f"tool {name!r}", {"cpu_s": cpu_s, "memory_mib": memory_mib}, cpu_s=1, memory_mib=64)
        if lack := _lack():
            raise UserError(f"tool {name!r} cannot be fenced in here: {lack}; leave it out or run it on Linux")
        self.cpu_s = cpu_s
        self.memory_mib = memory_mib
        super().__init__(
            self._run,
            name=name,
            timeout_s=timeout_s,
            max_chars=max_chars,
            is_idempotent=True,  # nothing of it is left
            needs_approval=needs_approval,
        )

    def settings(self) -> dict[str, Any]:
        """Return the limits of a call: a resumed run has to have the same."""
        return {**super().settings(), "cpu_s": self.cpu_s, "memory_mib": self.memory_mib}

    async def _run(self, code: str) -> str:
        """Run a Python program and return what it prints and the value of its last expression.

        Args:
            code: the program; the standard library is there, files and the network are not
        """
        with TemporaryDirectory(prefix="orchestrator-", ignore_cleanup_errors=True) as folder:
            Path(folder, PROGRAM).write_text(code, encoding="utf-8", errors="replace")
            end = await self._ended(folder)
        if end.is_flood:
            said = f"{ERROR}printed more than {_MAX_PRINTED} bytes and was stopped\n"
            begun = visible(end.printed[: self.max_chars])  # cut here: how long the whole would be is not known
            return f"{said}{begun[: self.max_chars - len(said)]}".rstrip("\n")
        if end.status:
            return f"{ERROR}{self._why(end)}\n{end.printed}".rstrip("\n")
        return end.printed or "(nothing was printed)"

    async def _ended(self, folder: str) -> _End:
        command = [sys.executable, "-I", "-S", "-B", str(_HERE / "fence.py"), str(_HERE / "inside.py")]
        process = await asyncio.create_subprocess_exec(
            *command,
            str(self.cpu_s),
            str(self.memory_mib),
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=PIPE,
            cwd=folder,
            env={},
            start_new_session=True,
        )
        assert process.stdout is not None and process.stderr is not None
        try:
            (printed, too_much), (complaint, too_loud) = await asyncio.gather(
                self._read(process, process.stdout), self._read(process, process.stderr)
            )
            return _End(await process.wait(), printed.rstrip("\n"), complaint, too_much or too_loud)
        finally:
            _kill(process)
            await process.wait()

    async def _read(self, process: Process, stream: StreamReader) -> tuple[str, bool]:
        """Return what is printed, and whether it was too much: then the process is killed."""
        printed = bytearray()
        while chunk := await stream.read(_CHUNK):
            printed += chunk
            if len(printed) > _MAX_PRINTED:
                _kill(process)
                break
        return printed.decode(errors="replace"), len(printed) > _MAX_PRINTED

    def _why(self, end: _End) -> str:
        lines = end.complaint.strip().splitlines()
        if end.status == -signal.SIGXCPU:
            return f"took more than {self.cpu_s} s of processor time"
        if end.status < 0:
            return f"the program was ended by {signal.Signals(-end.status).name}"
        return lines[-1] if lines else f"the program ended with status {end.status}"


def _kill(process: Process) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _lack() -> str:
    """Return what this system lacks for the fence; empty if nothing."""
    if sys.platform != "linux":
        return "this is not Linux"
    if platform.machine() not in MACHINES:
        return f"the system calls of {platform.machine()} are not known"
    if not sys.executable:
        return "there is no Python to start"
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, 0, 0, 0)  # no filter is given: where there are any it is a fault
    return "" if ctypes.get_errno() == errno.EFAULT else "the kernel has no seccomp filters"
