"""The leash: what it holds ends with whoever started it, workers included. Real processes, real signals."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from started import Fake, is_alive, until, until_gone

from orchestrator.engines import leash

LEASH = [sys.executable, "-IS", str(leash.__file__)]


@contextmanager
def leashed(*command: str, patience_s: float = 20, **options: object) -> Iterator[subprocess.Popen[str]]:
    """Start a command on a leash; it is cut at the end."""
    running = subprocess.Popen(
        [*LEASH, str(patience_s), *command],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,  # type: ignore[call-overload]
    )
    with running:
        try:
            yield running
        finally:
            running.kill()


@pytest.mark.parametrize(("script", "status"), [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", 137), ("kill $$", 143)])
def test_the_commands_exit_status_is_passed_on(script: str, status: int) -> None:
    with leashed("sh", "-c", script) as running:
        assert running.wait(30) == status


def test_a_command_that_is_not_there_is_one_line() -> None:
    with leashed("/no/such/vllm", "serve") as running:
        _, said = running.communicate(timeout=30)
    assert (running.returncode, said) == (127, "/no/such/vllm: No such file or directory\n")


def test_nothing_that_is_typed_reaches_the_command(tmp_path: Path) -> None:
    with leashed("sh", "-c", "cat; touch read", cwd=tmp_path) as running:
        running.stdin.write("not for you\n")  # type: ignore[union-attr]
        running.stdin.flush()  # type: ignore[union-attr]
        assert running.wait(30) == 0
    assert (tmp_path / "read").exists()


def test_the_server_and_its_worker_end_when_the_leash_is_let_go(fake: Fake) -> None:
    with leashed(*fake.command, env=fake.env(worker=1)) as running:
        server, worker = fake.pid(), fake.pid("worker")
        running.stdin.close()  # type: ignore[union-attr]
        assert running.wait(30) == 143
        until_gone(server, worker)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_server_and_its_worker(fake: Fake, number: signal.Signals) -> None:
    with leashed(*fake.command, env=fake.env(worker=1)) as running:
        server, worker = fake.pid(), fake.pid("worker")
        running.send_signal(number)
        assert running.wait(30) == 143
        until_gone(server, worker)


def test_several_signals_at_once_end_it_as_one_does(fake: Fake) -> None:
    with leashed(*fake.command, env=fake.env(worker=1)) as running:
        server, worker = fake.pid(), fake.pid("worker")
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            running.send_signal(number)
        assert running.wait(30) == 143
        until_gone(server, worker)


def test_what_the_server_is_told_by_a_signal_reaches_it(tmp_path: Path) -> None:
    script = "trap 'touch heard; exit 0' TERM; touch ready; while :; do sleep 0.01; done"
    with leashed("sh", "-c", script, cwd=tmp_path) as running:
        until((tmp_path / "ready").exists, "the shell")
        running.terminate()
        assert running.wait(30) == 0
    assert (tmp_path / "heard").exists()


def test_what_does_not_end_by_itself_is_killed(fake: Fake) -> None:
    with leashed(*fake.command, env=fake.env(worker=1, deaf=1), patience_s=0.2) as running:
        server, worker = fake.pid(), fake.pid("worker")
        running.terminate()
        assert running.wait(30) == 137
        until_gone(server, worker)


def test_a_worker_does_not_outlive_a_server_that_died(fake: Fake) -> None:
    with leashed(*fake.command, env=fake.env(worker=1, deaf=1, dies="out of memory")) as running:
        worker = fake.pid("worker")
        assert running.wait(30) == 3
        until_gone(worker)


def test_kill_9_of_whoever_started_it_ends_the_server_and_its_worker(fake: Fake) -> None:
    code = "import subprocess, sys; subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE).wait()"
    starter = [sys.executable, "-IS", "-c", code, *LEASH, "20", *fake.command]
    with subprocess.Popen(starter, env=fake.env(worker=1)) as running:
        try:
            server, worker = fake.pid(), fake.pid("worker")
            assert is_alive(server) and is_alive(worker)
        finally:
            running.kill()
        until_gone(server, worker)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
def test_kill_9_of_the_leash_itself_ends_the_server(fake: Fake) -> None:
    with leashed(*fake.command, env=fake.env()) as running:
        server = fake.pid()
        until(fake.answers, "the server's port")
        running.kill()
        until_gone(server)
