"""Run `program.py` of the working directory behind the second fence, as an interactive Python would.

The value of a last expression is printed. What is raised is one line on standard error and exit status 1.

The second fence is a pair of audit hooks: files outside the standard library and the working directory are closed, and
so is what could lead to native code. fence.py is the first one, and the only one for processes and the network.
Nothing of the package is imported.
"""

from __future__ import annotations

import _imp
import ast
import builtins
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from itertools import count
from typing import Any

__all__ = ["main"]

PROGRAM = "program.py"
MAX_WRITES = 64
"""How often a file may be opened for writing: each can hold a few MiB."""
MAX_ERROR_CHARS = 500

CLOSED = (
    "code.__new__", "ctypes.", "ftplib.", "gc.get_", "http.", "mmap.", "os.chdir", "os.chflags", "os.chmod",
    "os.chown", "os.exec", "os.fork", "os.kill", "os.link", "os.lockf", "os.posix_spawn", "os.removexattr",
    "os.setxattr", "os.spawn", "os.startfile", "os.symlink", "os.system", "os.utime", "pty.", "resource.", "signal.",
    "smtplib.", "socket.", "sqlite3.", "subprocess.", "syslog.", "urllib.",
)  # fmt: skip
"""How the names of events begin that are refused whatever they are about."""
MODULES = frozenset({
    "_ctypes", "_ctypes_test", "_curses", "_dbm", "_gdbm", "_interpreters", "_multiprocessing", "_posixshmem",
    "_posixsubprocess", "_socket", "_sqlite3", "_ssl", "_testcapi", "_testinternalcapi", "_tkinter",
    "_xxsubinterpreters", "ctypes", "fcntl", "mmap", "nis", "ossaudiodev", "readline", "resource", "socket", "spwd",
    "sqlite3", "ssl", "subprocess", "syslog", "termios",
})  # fmt: skip
"""What cannot be imported: it opens files unseen, makes native calls, or would only fail later."""
READS = frozenset({"open", "os.listdir", "os.scandir"})
CHANGES = frozenset({"os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate"})


Hook = Callable[[str, tuple[Any, ...]], None]
"""What it uses is bound where it is defined: the program may put what it likes in the place of `str` or of a global
name. No hook calls another function of ours: a program that is handed a refusal finds in its traceback what the hook
held, and could change a function there."""


def native_fence(libraries: tuple[str, ...]) -> Hook:
    """Return the audit hook for all but files: events, modules, native ones outside `libraries`, code of functions."""

    def fence(
        event: str,
        args: tuple[Any, ...],
        *,
        CLOSED: tuple[str, ...] = CLOSED,
        MODULES: frozenset[str] = MODULES,
        libraries: tuple[str, ...] = libraries,
        str: Any = str,
        Refused: Any = PermissionError,
    ) -> None:
        if event.startswith(CLOSED):
            raise Refused(f"{event} is closed here")
        if event == "import":
            if not MODULES.isdisjoint(str.split(args[0], ".")):
                raise Refused(f"the module {args[0]} is closed here")
            if args[1] is not None and not str.startswith(args[1], libraries):
                raise Refused("native modules are closed here")
        elif event == "object.__setattr__" and args[1] == "__code__":
            raise Refused("giving a function other code is closed here")

    return fence


def file_fence(own: str, libraries: tuple[str, ...]) -> Hook:
    """Return the audit hook for files: those in `own` are open, those in `libraries` may be read.

    Both are folders, absolute and with a slash at their end.
    """

    def fence(
        event: str,
        args: tuple[Any, ...],
        *,
        READS: frozenset[str] = READS,
        CHANGES: frozenset[str] = CHANGES,
        MAX_WRITES: int = MAX_WRITES,
        own: str = own,
        libraries: tuple[str, ...] = libraries,
        writes: Any = count(1),  # noqa: B008
        next: Any = next,
        type: Any = type,
        str: Any = str,
        int: Any = int,
        Refused: Any = PermissionError,
        writing: int = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND,
    ) -> None:
        is_change = event in CHANGES
        if not is_change and event not in READS:
            return
        if event == "open":
            mode, flags = args[1], args[2]
            is_change = flags & writing != 0 or (mode is not None and not {*"wax+"}.isdisjoint(mode))
            if is_change and type(args[0]) is not int and next(writes) > MAX_WRITES:
                raise Refused(f"files were opened for writing more than {MAX_WRITES} times")
        for path in args[: 2 if event == "os.rename" else 1]:
            if type(path) is int or path is None:  # a file that is open already; the working directory
                continue
            if type(path) is not str:
                raise Refused("a path must be a text here")
            whole = (path if path.startswith("/") else own + path) + "/"
            is_library = whole.startswith(libraries) and "/site-packages/" not in whole
            is_open = whole.startswith(own) or (is_library and not is_change)
            if not is_open or "/../" in whole or "/dist-packages/" in whole:
                raise Refused(f"the file {path!r} is closed here")

    return fence


def load_built_in() -> None:
    """Load what is built into the interpreter and is not closed, then close the way there: no event tells of it."""
    for name in {*sys.builtin_module_names} - MODULES:
        with suppress(ImportError):
            import_module(name)
    del _imp.create_builtin


def run(source: str) -> None:
    """Execute the program; if it ends with an expression, print its value unless that is None."""
    tree = ast.parse(source, PROGRAM)
    scope: dict[str, Any] = {"__name__": "__main__", "__builtins__": builtins}
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, PROGRAM, "exec"), scope)
    if isinstance(last, ast.Expr):
        value = eval(compile(ast.Expression(last.value), PROGRAM, "eval"), scope)
        if value is not None:
            print(repr(value))


def told(error: BaseException) -> str:
    """Return an error in one line, with the line of the program where it happened."""
    line = getattr(error, "lineno", None) if isinstance(error, SyntaxError) else None
    trace = error.__traceback__
    while trace is not None:
        line = trace.tb_lineno if trace.tb_frame.f_code.co_filename == PROGRAM else line
        trace = trace.tb_next
    said = error.msg if isinstance(error, SyntaxError) else str(error)[:MAX_ERROR_CHARS]
    where = f" (line {line})" if line else ""
    return " ".join((type(error).__name__ + (f": {said}" if said else "") + where).split())


def main() -> int:
    """Run the program and return the exit status."""
    with open(PROGRAM, encoding="utf-8") as opened:
        source = opened.read()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    load_built_in()
    libraries = tuple(each + "/" for each in sys.path if each.startswith("/"))
    sys.addaudithook(file_fence(os.getcwd() + "/", libraries))
    sys.addaudithook(native_fence(libraries))
    status = 0
    try:
        run(source)
    except SystemExit as error:
        status = 0 if error.code in (None, 0) else 1
        if status:
            print(told(error), file=sys.stderr)
    except BaseException as error:
        status = 1
        print(told(error), file=sys.stderr)
    sys.stdout.flush()
    return status


if __name__ == "__main__":
    leave = os._exit
    try:
        code = main()
    except BaseException:  # what it raised cannot be shown, or there is no room left to show it
        code = 1
    leave(code)  # without the end of the interpreter, where hooks go before objects do
