"""Telling a living process from one that is gone."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestrator.memory import owners
from orchestrator.memory.owners import is_alive, this_process


def test_this_process_is_alive() -> None:
    assert this_process().pid == os.getpid()
    assert is_alive(this_process())


def test_a_process_of_the_same_number_that_started_later_is_another_one() -> None:
    assert not is_alive(this_process()._replace(started="another boot:1"))


def test_where_no_start_time_is_known_the_number_alone_decides() -> None:
    assert is_alive(this_process()._replace(started=""))


def test_a_process_that_ended_is_gone() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert not is_alive(this_process()._replace(pid=ended.pid, started=""))


def test_a_process_of_another_user_is_alive() -> None:
    assert is_alive(this_process()._replace(pid=1, started=""))


def test_the_child_of_a_fork_is_another_process() -> None:
    parent = this_process()
    read_end, write_end = os.pipe()
    if not (child := os.fork()):
        os.write(write_end, f"{this_process().pid} {this_process() == parent} {is_alive(parent)}".encode())
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end) as reader:
        assert reader.read() == f"{child} False True"
    os.waitpid(child, 0)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only Linux tells a dead process from a living one")
def test_a_process_that_is_dead_and_not_reaped_is_not_alive() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        owner = this_process()._replace(pid=process.pid, started=owners._started(process.pid))
        assert is_alive(owner)
        process.kill()
        give_up = time.monotonic() + 10
        while is_alive(owner):  # it is not waited for: it stays, as a zombie
            assert time.monotonic() < give_up
        assert Path(f"/proc/{process.pid}").exists()
