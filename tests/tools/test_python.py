"""A program that an engine wrote stays behind its fences; every fence is tried for real."""

from __future__ import annotations

import asyncio
import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import pytest

from orchestrator.errors import UserError
from orchestrator.tools import fence
from orchestrator.tools.python import Python

PYTHON = Python(timeout_s=20, cpu_s=10)


async def seen(code: str, tool: Python = PYTHON) -> str:
    observation = await tool({"code": code})
    assert observation.is_error is observation.text.startswith("error: ")
    return observation.text


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("6*7", "42"),
        ("", "(nothing was printed)"),
        ("x = 3", "(nothing was printed)"),
        ("None", "(nothing was printed)"),
        ("print('a')\n'b'", "a\n'b'"),
        ("def f(n):\n    return n if n < 2 else f(n-1) + f(n-2)\nf(15)", "610"),
        (
            "import math, statistics, random, re, json, datetime, decimal, collections, dataclasses, pathlib; math.pi",
            "3.14159",
        ),
        (
            "open('a', 'w').write('\u00e9')\nimport os\nos.mkdir('d'); os.rename('a', 'd/b'); open('d/b').read()",
            "'\u00e9'",
        ),
        ("print('\u65e5\u672c\U0001f600 \\x1b[2J\\ud800')", "\u65e5\u672c\U0001f600 \\x1b[2J\\ud800"),
        ("import sys; sys.stdout.buffer.write(b'\\xff\\x00a'); None", "\ufffd\\x00a"),
        ("import sys; sys.exit()", "(nothing was printed)"),
        ("import os; dict(os.environ)", "{"),
        ("try:\n    input()\nexcept EOFError:\n    print('nothing to read')", "nothing to read"),
        ("import sys; [name for name in sys.modules if 'orchestrator' in name]", "[]"),
    ],
)
async def test_a_program_prints_and_its_last_value_is_shown(code: str, text: str) -> None:
    assert (await seen(code)).startswith(text)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("print('first')\n1/0", "error: ZeroDivisionError: division by zero (line 2)\nfirst"),
        ("def f(:", "error: SyntaxError: invalid syntax (line 1)"),
        ("raise SystemExit('enough')", "error: SystemExit: enough (line 1)"),
        (
            "class E(BaseException):\n    def __str__(self): raise self\nraise E",
            "error: the program ended with status 1",
        ),
        ("import os; os._exit(3)", "error: the program ended with status 3"),
        ("bytearray(10 << 30)", "error: MemoryError (line 1)"),
        ("x = []\nwhile True: x.append(bytearray(1 << 20))", "error: MemoryError (line 2)"),
        ("open('a', 'wb').write(bytes(5 << 20))", "error: OSError: [Errno 27] File too large (line 1)"),
        (
            "for n in range(99): open(f'f{n}', 'w').close()",
            "error: PermissionError: files were opened for writing more",
        ),
        ("import socket", "error: PermissionError: the module socket is closed here (line 1)"),
        ("import urllib.request", "error: PermissionError: the module socket is closed here"),
        ("import subprocess", "error: PermissionError: the module subprocess is closed here"),
        ("import ctypes", "error: PermissionError: the module ctypes is closed here"),
        ("import sqlite3", "error: PermissionError: the module sqlite3 is closed here"),
        ("import multiprocessing.shared_memory", "error: "),
        ("import os; os.system('id')", "error: PermissionError: os.system is closed here"),
        ("import os; os.fork()", "error: PermissionError: os.fork is closed here"),
        ("import os; os.execv('/bin/sh', ['sh'])", "error: PermissionError: os.exec is closed here"),
        ("import os; os.posix_spawn('/bin/sh', ['sh'], {})", "error: PermissionError: os.posix_spawn is closed here"),
        ("import os; os.kill(os.getppid(), 9)", "error: PermissionError: os.kill is closed here"),
        ("import os; os.chdir('/')", "error: "),
        ("import os; os.symlink('/etc/passwd', 'x')", "error: PermissionError: os.symlink is closed here"),
        ("import os; os.mkfifo('x')", "error: OSError: [Errno 38] "),
        ("import threading; threading.Thread(target=print).start()", "error: RuntimeError: can't start new thread"),
        ("import gc; gc.get_objects()", "error: PermissionError: gc.get_objects is closed here"),
        ("(lambda: 0).__code__.replace(co_code=b'')", "error: PermissionError: code.__new__ is closed here"),
        ("import signal; signal.setitimer(signal.ITIMER_REAL, 1)", "error: itimer_error: [Errno 38] "),
    ],
)
async def test_what_a_program_may_not_do_is_an_error_it_can_read(code: str, text: str) -> None:
    assert (await seen(code)).startswith(text)


@pytest.mark.parametrize(
    "code",
    [
        "open('/etc/passwd').read()",
        "open(b'/etc/passwd').read()",
        "open('../../etc/passwd').read()",
        "import os; os.open('/etc/passwd', 0)",
        "import posix; posix.open('/etc/passwd', 0)",
        "import io; io.open_code('/etc/passwd')",
        "import io; io.FileIO('/proc/self/environ')",
        "from pathlib import Path; Path('/etc/passwd').read_text()",
        "import os; os.listdir('/')",
        "import os; list(os.scandir('/root'))",
        "class P(str):\n    def startswith(self, *_): return True\n    def __add__(self, _): return 'x'\n"
        "open(P('/etc/passwd'))",
        "class P:\n    def __fspath__(self): return '/etc/passwd'\nopen(P())",
        "import builtins, os\nkept = str, type\nbuiltins.str = builtins.type = lambda *_: int\n"
        "try:\n    os.open('/etc/passwd', 0)\nfinally:\n    builtins.str, builtins.type = kept",
        "import os\nd = os.open(os.path.dirname(os.__file__), 0)\nos.open('os.py', 0, dir_fd=d)",
        "import os\nopen(os.__file__, 'a')",
        "import os\nos.open(os.__file__, os.O_RDWR)",
        "import os\nos.remove(os.__file__ + '.none')",
        "import os\nos.rename('program.py', '/tmp/stolen.py')",
        "import os\nos.truncate(os.__file__ + '.none', 0)",
        "import os\nos.mkdir('/tmp/orchestrator-out')",
        "import os\nd = os.open(os.path.dirname(os.__file__), 0)\nos.mkdir('out', dir_fd=d)",
        "import importlib.machinery as m, importlib.util as u\nopen('x.so', 'w')\n"
        "l = m.ExtensionFileLoader('x', 'x.so')\n"
        "u.module_from_spec(u.spec_from_loader('x', l))",
        "import importlib.machinery as m, importlib.util as u, sys, glob\n"
        "p = [f for d in sys.path for f in glob.glob(d + '/_ctypes.*')][0]\n"
        "u.module_from_spec(u.spec_from_loader('x._ctypes', m.ExtensionFileLoader('x._ctypes', p)))",
        "import sys, _imp\n_imp.create_builtin",
        "try:\n    open('/etc/passwd')\nexcept PermissionError as e:\n    f = e.__traceback__.tb_next.tb_frame\n"
        "    f.f_globals['CLOSED'] = (); f.f_locals['own'] = '/'; f.f_locals['libraries'] = ('/',)\n"
        "open('/etc/passwd')",
    ],
)
async def test_files_outside_the_library_and_its_own_folder_are_closed(code: str) -> None:
    # Not by chance: because of the second fence, of the first one, or because the way there is gone.
    refusals = r"error: (PermissionError: .*(closed|must be)|OSError: \[Errno 38\]|AttributeError: module '_imp')"
    assert re.match(refusals, await seen(code))
    assert not Path("/tmp/stolen.py").exists() and not Path("/tmp/orchestrator-out").exists()


@pytest.mark.parametrize(
    "code", ["while True: pass", "while True: print(end='')", "import re; re.match('(a+)+$', 'a' * 60 + 'b')"]
)
async def test_a_program_that_calculates_without_end_runs_out_of_processor_time(code: str) -> None:
    assert await seen(code, Python(cpu_s=1, timeout_s=30)) == "error: took more than 1 s of processor time"


async def test_a_program_that_sleeps_is_ended_with_its_process_and_its_folder() -> None:
    before = set(os.listdir(gettempdir()))
    began = time.monotonic()
    text = await seen("import time; open('x', 'w'); time.sleep(60)", Python(timeout_s=1))
    assert text == "error: python gave no answer within 1 s; it was cancelled"
    assert time.monotonic() - began < 10
    assert not {each for each in set(os.listdir(gettempdir())) - before if each.startswith("orchestrator-")}
    assert not running("inside.py")


async def test_cancelling_the_run_ends_the_program() -> None:
    task = asyncio.create_task(PYTHON({"code": "import time; time.sleep(60)"}))
    await asyncio.sleep(0.5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not running("inside.py")


def running(name: str) -> list[str]:
    """Return the commands of our child processes that have `name` in them."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            status, command = (process / "status").read_text(), (process / "cmdline").read_text()
        except OSError:  # it has ended meanwhile
            continue
        if f"PPid:\t{os.getpid()}\n" in status and name in command:
            found.append(command)
    return found


@pytest.mark.parametrize(
    "code",
    ["while True: print('a' * 1000)", "'a' * (30 << 20)", "import sys\nwhile True: sys.stderr.write('a' * 9999)"],
)
async def test_what_is_printed_without_end_is_cut_while_it_is_read(code: str) -> None:
    text = await seen(code, Python(timeout_s=60, cpu_s=30))
    assert text.startswith("error: printed more than 1048576 bytes and was stopped")
    assert len(text) <= 4000 and "cut here" not in text  # what the whole would have been nobody knows


async def test_control_characters_without_end_are_cut_as_letters_are() -> None:
    text = await seen("print('\\0' * 2_000_000)")
    assert len(text) == 4000 and text.count("\\x00") > 980 and "cut here" not in text


@pytest.mark.parametrize(("number", "is_cut"), [(4000, False), (4001, True), (1048575, True)])
async def test_what_is_cut_says_how_long_it_was(number: int, is_cut: bool) -> None:
    text = await seen(f"print('y' * {number})")
    assert text.endswith(f"\n[cut here: the whole has {number} characters]") is is_cut
    assert len(text) == 4000


async def test_after_much_noise_the_error_is_still_told() -> None:
    text = await seen("import sys\nfor n in range(20_000): print('noise', file=sys.stderr)\n1/0")
    assert text == "error: ZeroDivisionError: division by zero (line 3)"


async def test_programs_run_side_by_side_and_see_nothing_of_each_other() -> None:
    codes = [
        f"open('mine', 'x').write('{n}'); import os, time; time.sleep(0.2); sorted(os.listdir('.'))" for n in range(3)
    ]
    assert await asyncio.gather(*map(seen, codes)) == ["['mine', 'program.py']"] * 3


ATTEMPTS = """
import ctypes, os, resource, signal, socket, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
def raw(number, *arguments):
    def call():
        if libc.syscall(ctypes.c_long(number), *arguments) < 0:
            raise OSError(ctypes.get_errno(), "")
    return call
clone3, io_uring_setup, pidfd_open, unknown = raw(435, 0, 0), raw(425, 1, 0), raw(434, os.getppid(), 0), raw(462, 0)
execve = 59 if os.uname().machine == "x86_64" else 221
attempts = {
    "socket": socket.socket, "pair": socket.socketpair, "fork": os.fork,
    "exec": lambda: os.execv("/bin/true", ["true"]),
    "raw exec": raw(execve, b"/bin/true", 0, 0, ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)),
    "spawn": lambda: os.posix_spawn("/bin/true", ["true"], {}), "kill": lambda: os.kill(os.getppid(), 0),
    "thread": lambda: threading.Thread(target=print).start(), "clone3": clone3, "io_uring": io_uring_setup,
    "pidfd": pidfd_open, "unknown": unknown, "i386": raw(0x40000000 + 57),
    "limit": lambda: resource.setrlimit(resource.RLIMIT_CPU, (999, 999)), "symlink": lambda: os.symlink("/etc", "x"),
    "link": lambda: os.link("program.py", "x"), "chdir": lambda: os.chdir("/"), "chmod": lambda: os.chmod(".", 0o777),
    "timer": lambda: signal.setitimer(signal.ITIMER_REAL, 1),
    "setuid": lambda: os.setuid(0), "mount": lambda: raw(165 if execve == 59 else 40, 0, 0, 0, 0, 0)(),
    "below": lambda: os.open("passwd", 0, dir_fd=os.open("/etc", 0)), "pipe": os.pipe,
    "memfd": lambda: os.memfd_create("x"),
    "fifo": lambda: os.mkfifo("x"), "host": lambda: socket.sethostname("x"),
    "ptrace": raw(101 if execve == 59 else 117, 0),
}
for name, attempt in attempts.items():
    try:
        attempt()
        print(name, "PASSED")
    except (OSError, RuntimeError) as error:
        print(name, getattr(error, "errno", None) or error)
"""


def test_the_kernel_refuses_by_itself_what_the_second_fence_might_let_through(tmp_path: Path) -> None:
    (tmp_path / "attempts.py").write_text(ATTEMPTS)
    command = [sys.executable, "-I", "-S", "-B", fence.__file__, "attempts.py", "5", "256"]
    done = subprocess.run(command, cwd=tmp_path, env={}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found = dict(line.split(maxsplit=1) for line in done.stdout.replace("raw exec", "raw-exec").splitlines())
    assert len(found) == 27
    assert set(found.values()) <= {"38", "can't start new thread"}, found


def test_the_filter_knows_both_machines_and_lets_one_start_pass() -> None:
    for machine in fence.MACHINES:
        lines = fence.program(machine, (1, 2, 3))
        assert len(lines) % 8 == 0 and len(lines) // 8 < 4096
    numbers = [[pair[column] for pair in fence.ALLOWED.values() if pair[column] is not None] for column in (0, 1)]
    assert all(len(set(each)) == len(each) for each in numbers)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"cpu_s": 0}, "cpu_s = 0 must be a whole number, at least 1"),
        ({"memory_mib": 63}, "memory_mib = 63 must be a whole number, at least 64"),
        ({"cpu_s": 1.5}, "cpu_s = 1.5 must be a whole number"),
        ({"timeout_s": -1}, "timeout_s = -1 must be"),
    ],
)
def test_a_limit_out_of_range_is_named(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        Python(**options)


def test_where_there_is_no_fence_there_is_no_tool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(UserError, match="'python' cannot be fenced in here: the system calls of riscv64 are not known"):
        Python()
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(UserError, match="this is not Linux"):
        Python()
