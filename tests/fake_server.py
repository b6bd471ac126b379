"""A model server that loads nothing: a script that is started like vLLM and answers /version and
/health like it.

    python fake_server.py ... --port 8001

What goes wrong with it is told by its environment:

    FAKE_FOLDER   where it writes its process id, as `server`, and its worker's, as `worker`, and adds to `starts`
    FAKE_DIES     it ends before it answers, with these last words
    FAKE_SLOW_S   seconds before it answers
    FAKE_LIVES_S  seconds until it ends by itself, once it answers
    FAKE_VERSION  what it answers to /version; 0.32.0 unless given
    FAKE_SERVES   the model it says it serves; org/tiny unless given
    FAKE_UNWELL   its answer to /health is 503, as if its engine had died
    FAKE_HEALTH_S seconds it takes over /health
    FAKE_WORKER   it has a worker process
    FAKE_DEAF     neither it nor its worker ends at SIGTERM

Nothing but the standard library's smallest modules are imported: it starts in a few milliseconds.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time

FOLDER = os.environ.get("FAKE_FOLDER")
VERSION = b'{"version": "%s"}' % os.environ.get("FAKE_VERSION", "0.32.0").encode()
MODELS = b'{"data": [{"id": "%s", "root": "/weights"}]}' % os.environ.get("FAKE_SERVES", "org/tiny").encode()
HEAD = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"


def note(name: str, line: object, mode: str = "w") -> None:
    if FOLDER is not None:
        with open(os.path.join(FOLDER, name), mode) as file:
            file.write(f"{line}\n")


def have_worker() -> None:
    if pid := os.fork():
        note("worker", pid)
        return
    while True:
        signal.pause()


def reply(asked: bytes) -> tuple[bytes, bytes]:
    if asked.startswith(b"GET /version "):
        return b"200 OK", VERSION
    if asked.startswith(b"GET /v1/models "):
        return b"200 OK", MODELS
    if asked.startswith(b"GET /health "):
        note("asked", time.monotonic(), "a")
        time.sleep(float(os.environ.get("FAKE_HEALTH_S", 0)))
        return (b"503 Unwell" if "FAKE_UNWELL" in os.environ else b"200 OK"), b""
    return b"404 No", b"{}"


def answer(listening: socket.socket) -> None:
    while True:
        line, _ = listening.accept()
        with line, contextlib.suppress(OSError):
            if asked := line.recv(4096):  # somebody may only want to know whether anybody is here
                status, body = reply(asked)
                line.sendall(HEAD % (status, len(body)) + body)


def main() -> None:
    if "FAKE_DEAF" in os.environ:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    note("server", os.getpid())
    note("starts", time.monotonic(), "a")
    if "FAKE_WORKER" in os.environ:
        have_worker()
    if words := os.environ.get("FAKE_DIES"):
        print(words)
        sys.exit(3)
    time.sleep(float(os.environ.get("FAKE_SLOW_S", 0)))
    with socket.create_server(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1]))) as listening:
        threading.Thread(target=answer, args=(listening,), daemon=True).start()
        time.sleep(float(os.environ.get("FAKE_LIVES_S", 3600)))


if __name__ == "__main__":
    main()
