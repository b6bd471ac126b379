"""Put a Linux process behind a fence and start Python there, on `inside.py`.

    python -I -S -B fence.py PROGRAM CPU_S MEMORY_MIB

Limits come first, then a seccomp filter: of the system calls, those in ALLOWED go on and every other one, of kernels
to come too, fails as one that does not exist. There is none among them for another process, a thread, the network, a
signal, a link, or a new limit. The program runs in a second Python, because the first has ctypes loaded, with which
any fence inside Python can be broken. To start it, one `execve` must pass: the one that carries a random secret in
registers the call has no use for. Nobody in the new process knows it.

Nothing of the package is imported.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal
import struct
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["MACHINES", "main"]

MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""What the kernel calls the machines we know; the columns of ALLOWED are in this order."""
MAX_FILE_BYTES = 4 << 20
MAX_OPEN_FILES = 64

# fmt: off
ALLOWED: dict[str, tuple[int | None, int | None]] = {
    # memory
    "brk": (12, 214), "mmap": (9, 222), "munmap": (11, 215), "mprotect": (10, 226), "mremap": (25, 216),
    "madvise": (28, 233), "mincore": (27, 232), "membarrier": (324, 283),
    # files that are open
    "read": (0, 63), "write": (1, 64), "readv": (19, 65), "writev": (20, 66), "pread64": (17, 67),
    "pwrite64": (18, 68), "lseek": (8, 62), "close": (3, 57), "dup": (32, 23), "dup2": (33, None), "dup3": (292, 24),
    "fcntl": (72, 25), "ioctl": (16, 29), "fsync": (74, 82), "fdatasync": (75, 83), "ftruncate": (77, 46),
    "sendfile": (40, 71), "copy_file_range": (326, 285), "poll": (7, None),
    "ppoll": (271, 73), "select": (23, None), "pselect6": (270, 72), "close_range": (436, 436),
    # names of files
    "open": (2, None), "stat": (4, None), "fstat": (5, 80), "lstat": (6, None),
    "newfstatat": (262, 79), "statx": (332, 291), "access": (21, None), "faccessat": (269, 48),
    "faccessat2": (439, 439), "readlink": (89, None), "readlinkat": (267, 78), "getcwd": (79, 17),
    "getdents64": (217, 61), "mkdir": (83, None), "rmdir": (84, None), "unlink": (87, None),
    "rename": (82, None), "statfs": (137, 43),
    "fstatfs": (138, 44), "umask": (95, 166),
    # itself
    "exit": (60, 93), "exit_group": (231, 94), "getpid": (39, 172), "getppid": (110, 173), "gettid": (186, 178),
    "getuid": (102, 174), "geteuid": (107, 175), "getgid": (104, 176), "getegid": (108, 177), "getgroups": (115, 158),
    "getpgrp": (111, None), "getrusage": (98, 165), "getrlimit": (97, 163), "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123), "sysinfo": (99, 179), "uname": (63, 160), "times": (100, 153),
    "arch_prctl": (158, None), "set_tid_address": (218, 96), "set_robust_list": (273, 99), "rseq": (334, 293),
    "futex": (202, 98), "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139),
    "sigaltstack": (131, 132),
    # time and chance
    "time": (201, None), "gettimeofday": (96, 169), "clock_gettime": (228, 113), "clock_getres": (229, 114),
    "nanosleep": (35, 101), "clock_nanosleep": (230, 115), "getrandom": (318, 278),
}
# fmt: on
# By name, with the arguments that say which folder a path is relative to: the working directory, or the call fails.
# inside.py sees paths and not what they are relative to.
NEAR: dict[str, tuple[tuple[int, int], tuple[int, ...]]] = {
    "openat": ((257, 56), (0,)),
    "mkdirat": ((258, 34), (0,)),
    "unlinkat": ((263, 35), (0,)),
    "renameat": ((264, 38), (0, 2)),
    "renameat2": ((316, 276), (0, 2)),
}
EXECVE, PRLIMIT64 = (59, 221), (302, 261)

# linux/prctl.h, linux/seccomp.h, linux/bpf_common.h
PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 1, 22, 38, 2
KILL, ALLOW, NO_SUCH_CALL = 0x80000000, 0x7FFF0000, 0x00050000 | 38
LOAD, IF_EQUAL, RETURN = 0x20, 0x15, 0x06
NUMBER, ARCHITECTURE, ARGUMENTS = 0, 4, 16
AT_FDCWD = 0xFFFFFF9C


class _Filter(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def program(machine: str, secret: tuple[int, int, int]) -> bytes:
    """Return the filter for a machine; `secret` is three whole numbers of 64 bits."""
    column = list(MACHINES).index(machine)
    lines = [_line(LOAD, ARCHITECTURE), _line(IF_EQUAL, MACHINES[machine], 1), _line(RETURN, KILL)]
    lines += [_line(LOAD, NUMBER)]
    for numbers in ALLOWED.values():
        number = numbers[column]
        if number is not None:
            lines += [_line(IF_EQUAL, number, 0, 1), _line(RETURN, ALLOW)]
    conditions = [(numbers[column], [_near(place) for place in places]) for numbers, places in NEAR.values()]
    conditions += [(PRLIMIT64[column], _whole(2, 0))]  # reading limits, not setting them
    conditions += [(EXECVE[column], [word for place in range(3) for word in _whole(3 + place, secret[place])])]
    for number, words in conditions:
        lines += [_line(IF_EQUAL, number, 0, 3 * len(words) + 1)]
        for offset, word in words:
            lines += [_line(LOAD, offset), _line(IF_EQUAL, word, 1), _line(RETURN, NO_SUCH_CALL)]
        lines += [_line(RETURN, ALLOW)]
    return b"".join([*lines, _line(RETURN, NO_SUCH_CALL)])


def _line(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _near(place: int) -> tuple[int, int]:
    return ARGUMENTS + 8 * place, AT_FDCWD  # an int: the high word may be anything


def _whole(place: int, value: int) -> list[tuple[int, int]]:
    """Return where the two words of an argument are and what they must be; both machines put the low one first."""
    offset = ARGUMENTS + 8 * place
    return [(offset, value & 0xFFFFFFFF), (offset + 4, value >> 32)]


def main(path: str, cpu_s: int, memory_mib: int) -> None:
    """Never returns: this process goes on as the one behind the fence, or ends with OSError."""
    for kind, limit in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, MAX_FILE_BYTES),
        (resource.RLIMIT_NOFILE, MAX_OPEN_FILES),
        (resource.RLIMIT_AS, memory_mib << 20),
    ):
        resource.setrlimit(kind, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))  # at first a signal that says why, then one for good
    words = struct.unpack("=3Q", os.urandom(24))
    secret = (words[0], words[1], words[2])
    instructions = program(platform.machine(), secret)
    rules = _Filter(len(instructions) // 8, instructions)
    libc = ctypes.CDLL(None, use_errno=True)
    _do(libc.prctl, PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    _do(libc.prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    command = [sys.executable, "-I", "-S", "-B", "-X", "utf8", path]
    arguments = (ctypes.c_char_p * (len(command) + 1))(*map(os.fsencode, command), None)
    environment = (ctypes.c_char_p * 1)(None)
    number = EXECVE[list(MACHINES).index(platform.machine())]
    _do(libc.prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(rules), 0, 0)
    _do(libc.syscall, number, arguments[0], arguments, environment, *map(ctypes.c_ulong, secret))


def _do(call: Callable[..., Any], *arguments: object) -> None:
    if call(*(ctypes.c_ulong(each) if isinstance(each, int) else each for each in arguments)) < 0:
        raise OSError(ctypes.get_errno(), "the fence cannot be put up")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
