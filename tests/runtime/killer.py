"""Executes runs in processes of their own and kills them: one JSON order a line in, one JSON report a line out.

It imports everything once and forks for every order, so that a death costs milliseconds. It never
executes a run itself, so it has one thread and a fork of it is sound; every child opens its own
database connection.

At a *boundary* (a call reaches an engine, an engine has answered, a transaction begins or is about
to be committed, a listener is told something) the child stops until it is let go on, so that a
death falls exactly there.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

import langsmith  # noqa: F401 - everything a run imports late is imported before the forks
import pure_agent
import pure_engine
import sqlite_utils  # noqa: F401

import orchestrator.memory.migrations  # noqa: F401
from orchestrator.types import Overlap


def live(order: dict[str, Any], boundary: Callable[[], None]) -> None:
    """Execute or continue the run that `order` names."""
    make = pure_agent.pipeline if "file" in order else pure_engine.pipeline
    told = {name: order[name] for name in ("file", "is_idempotent", "is_simulation") if name in order}
    made = make(
        order["router"],
        order["db"],
        granularity=order["granularity"],
        latency_s=order.get("latency_s", 0.0),
        boundary=boundary,
        **(told or {"overlap": Overlap(**order.get("overlap", {}))}),
    )
    made.journal._store.connection.set_trace_callback(
        lambda statement: boundary() if statement.startswith(("BEGIN", "COMMIT")) else None
    )
    listener = (lambda _: boundary()) if order.get("listens") else None
    question = pure_agent.QUESTION if "file" in order else pure_engine.QUESTION
    asyncio.run(made.arun(question, run_id=order["run"], listener=listener))


def carry_out(order: dict[str, Any]) -> dict[str, Any]:
    """Fork, let the child live as long as the order says, and report how it ended."""
    told_r, told_w = os.pipe()
    go_r, go_w = os.pipe()
    stops = order.get("after_s") is None
    pid = os.fork()
    if pid == 0:
        os.close(told_r)
        os.close(go_w)
        _child(order, told_w, go_r if stops else None)
    os.close(told_w)
    os.close(go_r)
    boundaries = _watch(pid, told_r, go_w, order)
    os.close(told_r)
    os.close(go_w)
    _, status = os.waitpid(pid, 0)
    return {"killed": os.WIFSIGNALED(status), "failed": status != 0, "boundaries": boundaries}


def _child(order: dict[str, Any], told: int, go: int | None) -> None:
    def boundary() -> None:
        if go is not None:
            os.write(told, b".")
            os.read(go, 1)

    status = 1
    try:
        live(order, boundary)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def _watch(pid: int, told: int, go: int, order: dict[str, Any]) -> int:
    """Kill the child at boundary `kill_at` or after `after_s`; return the boundaries it reached."""
    if order.get("after_s") is not None:
        ends = time.monotonic() + order["after_s"]
        select.select([told], [], [], max(0.0, ends - time.monotonic()))
        os.kill(pid, signal.SIGKILL)
        return 0
    boundaries = 0
    while os.read(told, 1):
        boundaries += 1
        if boundaries == order.get("kill_at"):
            os.kill(pid, signal.SIGKILL)
            break
        os.write(go, b".")
    return boundaries


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(carry_out(json.loads(line))), flush=True)
