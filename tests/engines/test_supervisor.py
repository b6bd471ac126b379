"""Starting a server, waiting for it, starting it again, and leaving nothing behind. Real processes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from started import Fake, is_alive, until, until_gone
from stub_server import Reply, StubServer

from orchestrator.engines.diagnosis import BY_SIGNAL_9
from orchestrator.engines.hold import held, holder
from orchestrator.engines.spec import EngineSpec
from orchestrator.engines.supervisor import Patience, Supervisor, record_of, supervisors
from orchestrator.errors import BadConfig, EngineTimeout, EngineUnavailable, UserError

PATIENCE = Patience(ready=20, poll=0.02, end=0.2, first_pause=0.05, starts=4)


class Told(list[str]):
    """What a supervisor says, and what is to happen once it says so."""

    def __init__(self, **reactions: Callable[[], None]) -> None:
        self.reactions = reactions

    def __call__(self, line: str) -> None:
        self.append(line)
        for word, reaction in self.reactions.items():
            if word in line:
                reaction()

    @property
    def pauses(self) -> list[str]:
        return [line.rpartition(" in ")[2] for line in self if "started again" in line]


def supervisor(fake: Fake, told: Told, patience: Patience = PATIENCE, **environment: object) -> Supervisor:
    return Supervisor("small", fake.spec(**environment), fake.folder / "engines", told, patience)


async def test_a_server_is_up_when_it_answers_and_gone_when_it_is_down(fake: Fake) -> None:
    told = Told()
    server = supervisor(fake, told, slow_s=0.2, worker=1)
    await server.up()
    assert fake.answers() and not server.is_attached
    pids = fake.pid(), fake.pid("worker")
    await server.down()
    until_gone(*pids)
    assert [line.partition(" after ")[0] for line in told] == [
        f"small: started; log {fake.folder}/engines/small-{fake.port}.log",
        f"small: answers at {fake.url}",
        "small: ended",
    ]
    await server.down()  # there is nothing left to do
    assert len(told) == 3


async def test_a_deaf_server_is_killed(fake: Fake) -> None:
    server = supervisor(fake, Told(), deaf=1, worker=1)
    await server.up()
    pids = fake.pid(), fake.pid("worker")
    await server.down()
    until_gone(*pids)


async def test_the_log_begins_with_the_command_and_holds_no_secret(fake: Fake) -> None:
    server = supervisor(fake, Told(), dies="so", hub_token="s3cret")
    with pytest.raises(EngineUnavailable):
        await server.up()
    log = server.log.read_text()
    assert log.startswith(f"\n$ {fake.python} -m vllm.entrypoints.openai.api_server --model org/tiny --host 127.0.0.1 ")
    assert "s3cret" not in log
    assert server.log.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("args", [None, ["--api-key", "${SERVER_KEY}"]])
async def test_the_log_shows_flags_as_they_were_written_or_not_at_all(fake: Fake, args: list[str] | None) -> None:
    spec = fake.spec(dies="so")
    assert spec.serving is not None
    spec = replace(spec, serving=replace(spec.serving, args=["--api-key", "s3cret"]))
    assert spec.serving is not None
    written = None if args is None else replace(spec.serving, args=args)
    server = Supervisor("small", spec, fake.folder, Told(), PATIENCE, written)
    with pytest.raises(EngineUnavailable):
        await server.up()
    log = server.log.read_text()
    assert "s3cret" not in log
    assert log.splitlines()[1].endswith(" ..." if args is None else ' --api-key "${SERVER_KEY}"')


async def test_the_log_begins_anew_with_each_up_and_not_with_each_start(fake: Fake) -> None:
    with pytest.raises(EngineUnavailable):
        await supervisor(fake, Told(), dies="the first").up()
    with pytest.raises(EngineUnavailable):
        await supervisor(fake, Told(), dies="the second").up()
    server = supervisor(fake, Told(answers=lambda: os.kill(fake.pid(), signal.SIGKILL)))
    await server.up()
    with pytest.raises(EngineUnavailable):
        await server.watch()
    log, old = server.log.read_text(), server.log.with_suffix(".log.old").read_text()
    assert log.count("$ ") == 4 and "the second" not in log
    assert "the second" in old and "the first" not in old


async def test_a_server_that_dies_before_it_answers_is_an_error_with_its_last_words(fake: Fake) -> None:
    server = supervisor(fake, Told(), dies="ValueError: no GPU in sight")
    with pytest.raises(EngineUnavailable) as caught:
        await server.up()
    assert str(caught.value) == (
        "engine 'small': its server ended with status 3 before it answered: ValueError: no GPU in sight; its log is "
        f"{server.log}"
    )
    assert caught.value.engine == "small"
    assert server.tail().endswith("ValueError: no GPU in sight")


async def test_a_server_that_does_not_answer_in_time_is_ended(fake: Fake) -> None:
    server = supervisor(fake, Told(), replace(PATIENCE, ready=1.0), slow_s=60, worker=1)
    with pytest.raises(EngineTimeout, match=r"its server did not answer within 1 s; its log is ") as caught:
        await server.up()
    assert (caught.value.engine, caught.value.limit_s) == ("small", 1.0)
    assert caught.value.elapsed_s >= 1.0
    until_gone(fake.pid(), fake.pid("worker"))


async def test_a_server_that_keeps_dying_is_started_again_after_longer_pauses_and_then_given_up(fake: Fake) -> None:
    told = Told(answers=lambda: os.kill(fake.pid(), signal.SIGKILL))
    server = supervisor(fake, told, replace(PATIENCE, longest_pause=0.15))
    await server.up()
    with pytest.raises(EngineUnavailable) as caught:
        await server.watch()
    assert str(caught.value).startswith(
        f"engine 'small': its server ended with status 137 for the 4th time in a row: {BY_SIGNAL_9}; its log is "
    )
    assert told.pauses == ["0.05 s", "0.1 s", "0.15 s"]
    starts = fake.starts()
    gaps = [later - earlier for earlier, later in pairwise(starts)]
    assert all(gap >= pause for gap, pause in zip(gaps, (0.05, 0.1, 0.15), strict=True))


async def test_a_restart_that_dies_before_it_answers_counts_as_well(fake: Fake) -> None:
    told = Told()
    server = supervisor(fake, told)
    await server.up()
    fake.python.write_text("#!/bin/sh\necho ValueError: no weights\nexit 5\n")
    os.kill(fake.pid(), signal.SIGKILL)
    with pytest.raises(
        EngineUnavailable, match="ended with status 5 for the 4th time in a row: ValueError: no weights;"
    ):
        await server.watch()
    assert [line for line in told if "status" in line] == [
        f"small: the server ended with status 137: {BY_SIGNAL_9}; it is started again in 0.05 s",
        "small: the server ended with status 5: ValueError: no weights; it is started again in 0.1 s",
        "small: the server ended with status 5: ValueError: no weights; it is started again in 0.2 s",
    ]
    assert server.tail().endswith("ValueError: no weights")


async def test_a_cause_that_an_earlier_server_wrote_is_not_told_again(fake: Fake) -> None:
    with pytest.raises(EngineUnavailable, match="ValueError: no weights"):
        await supervisor(fake, Told(), dies="ValueError: no weights").up()
    with pytest.raises(EngineUnavailable, match="ended with status 3 before it answered; its log is"):
        await supervisor(fake, Told(), dies="so").up()


async def test_a_server_that_hangs_is_killed_and_started_again(fake: Fake) -> None:
    told = Told()
    server = supervisor(fake, told, replace(PATIENCE, heartbeat=0.02, hang=1.0), worker=1)
    await server.up()
    hanging = fake.pid(), fake.pid("worker")
    watching = asyncio.create_task(server.watch())
    await asyncio.to_thread(until, lambda: len(fake.asked()) >= 3, "three heartbeats")
    stopped = time.monotonic()
    os.kill(hanging[0], signal.SIGSTOP)
    await asyncio.to_thread(until, lambda: len(fake.starts()) >= 2, "a new start")
    assert fake.starts()[1] - stopped >= 0.9  # a heartbeat may have been heard just before
    until_gone(*hanging)
    asked = len(fake.asked())
    await asyncio.to_thread(until, lambda: len(fake.asked()) >= asked + 3, "the new one's heartbeats")
    watching.cancel()
    await asyncio.wait([watching])
    await server.down()
    assert [line for line in told if "again" in line] == [
        "small: the server gave no sign of life for 1 s and was ended; it is started again in 0.05 s"
    ]


async def test_a_server_whose_engine_is_dead_is_given_up_like_one_that_ends(fake: Fake) -> None:
    told = Told()
    server = supervisor(fake, told, replace(PATIENCE, heartbeat=0.02, hang=0.1), unwell=1)
    await server.up()
    with pytest.raises(EngineUnavailable) as caught:
        await server.watch()
    assert str(caught.value) == (
        "engine 'small': its server gave no sign of life for 0.1 s and was ended for the 4th time in a row; its log is "
        f"{server.log}"
    )
    assert len(told.pauses) == 3 and len(fake.starts()) == 4
    until_gone(fake.pid())


async def test_the_wait_for_a_sign_of_life_does_not_count_as_having_been_well(fake: Fake) -> None:
    told = Told()
    server = supervisor(fake, told, replace(PATIENCE, heartbeat=0.02, hang=0.3, well=0.1), unwell=1)
    await server.up()
    async with asyncio.timeout(20):
        with pytest.raises(EngineUnavailable, match=r"gave no sign of life for 0\.3 s and was ended for the 4th time"):
            await server.watch()
    assert told.pauses == ["0.05 s", "0.1 s", "0.2 s"]


async def test_a_restart_that_does_not_answer_in_time_counts_as_well(fake: Fake) -> None:
    told = Told()
    server = supervisor(fake, told, replace(PATIENCE, ready=1.0, starts=3))
    await server.up()
    fake.python.write_text("#!/bin/sh\nexec sleep 60\n")
    os.kill(fake.pid(), signal.SIGKILL)
    with pytest.raises(EngineUnavailable, match="did not answer within 1 s and was ended for the 3th time in a row;"):
        await server.watch()
    assert [line.partition(":")[2] for line in told if "started again" in line] == [
        f" the server ended with status 137: {BY_SIGNAL_9}; it is started again in 0.05 s",
        " the server did not answer within 1 s and was ended; it is started again in 0.1 s",
    ]


async def test_a_server_that_answers_late_is_left_alone(fake: Fake) -> None:
    server = supervisor(fake, Told(), replace(PATIENCE, heartbeat=0.02, hang=3.0), health_s=0.4)
    await server.up()
    watching = asyncio.create_task(server.watch())
    await asyncio.to_thread(until, lambda: len(fake.asked()) >= 8, "more time than it is given to hang")
    watching.cancel()
    await asyncio.wait([watching])
    await server.down()
    assert len(fake.starts()) == 1


async def test_the_end_of_a_server_is_seen_at_once_and_not_at_the_next_heartbeat(fake: Fake) -> None:
    told = Told()
    server = supervisor(fake, told, replace(PATIENCE, heartbeat=0.02, hang=60), health_s=60)
    await server.up()
    watching = asyncio.create_task(server.watch())
    await asyncio.to_thread(until, fake.asked, "a heartbeat that gets no answer")
    killed = time.monotonic()
    os.kill(fake.pid(), signal.SIGKILL)
    await asyncio.to_thread(until, lambda: len(fake.starts()) >= 2, "a new start")
    assert fake.starts()[1] - killed < 5
    watching.cancel()
    await asyncio.wait([watching])
    await server.down()


@pytest.mark.parametrize(
    ("version", "is_told"), [("0.9.1", True), ("0.31.2rc1", True), ("0.32.0", False), ("dev", False)]
)
async def test_an_older_vllm_is_told(fake: Fake, version: str, is_told: bool) -> None:
    told = Told()
    server = supervisor(fake, told, version=version)
    await server.up()
    await server.down()
    said = (
        f"small: vLLM {version} answers; this was made for 0.32: what an older one does not know, it refuses or ignores"
    )
    assert (said in told) is is_told and len(told) == 3 + is_told


async def test_an_older_vllm_of_somebody_else_is_told_too(stub: StubServer, fake: Fake) -> None:
    stub.add("/version", Reply(json={"version": "0.9.1"}))
    stub.add("/v1/models", Reply(json={"data": [{"id": "org/tiny", "root": "org/tiny"}]}))
    told = Told()
    await Supervisor("small", replace(fake.spec(), url=stub.url), fake.folder, told, PATIENCE).up()
    assert told[1].startswith("small: vLLM 0.9.1 answers; this was made for 0.32: ")


async def test_a_server_that_was_well_is_given_the_short_pause_again(fake: Fake) -> None:
    told = Told(answers=lambda: os.kill(fake.pid(), signal.SIGKILL))
    server = supervisor(fake, told, replace(PATIENCE, well=0.0, starts=2))
    await server.up()
    watching = asyncio.create_task(server.watch())
    await asyncio.to_thread(until, lambda: len(fake.starts()) >= 4, "more starts than two")
    watching.cancel()
    await asyncio.wait([watching])
    assert set(told.pauses) == {"0.05 s"}
    await server.down()


async def test_a_start_that_is_cancelled_halfway_leaves_something_to_end(fake: Fake) -> None:
    server = supervisor(fake, Told(), slow_s=60, worker=1)
    starting = asyncio.create_task(server.up())
    pids = await asyncio.to_thread(lambda: (fake.pid(), fake.pid("worker")))
    starting.cancel()
    await asyncio.wait([starting])
    assert starting.cancelled()
    await server.down()
    until_gone(*pids)


async def test_a_start_that_is_cancelled_before_its_process_is_known_leaves_nothing(fake: Fake) -> None:
    server = supervisor(fake, Told(), slow_s=60, worker=1)
    starting = asyncio.create_task(server.up())
    while not (fake.folder / "worker").exists():
        await asyncio.sleep(0)
        time.sleep(0.3)  # the loop hears late of what it has started
    pids = fake.pid(), fake.pid("worker")
    starting.cancel()
    await asyncio.wait([starting])
    await server.down()
    until_gone(*pids)


async def test_a_watch_that_is_cancelled_starts_nothing_again(fake: Fake) -> None:
    server = supervisor(fake, Told())
    await server.up()
    watching = asyncio.create_task(server.watch())
    await asyncio.sleep(0)
    watching.cancel()
    await asyncio.wait([watching])
    await server.down()
    assert len(fake.starts()) == 1


async def test_a_server_that_answers_already_is_used_and_left_alone(fake: Fake) -> None:
    with subprocess.Popen(fake.command, env=fake.env()) as theirs:
        try:
            until(fake.answers, "their server")
            told = Told()
            server = supervisor(fake, told)
            await server.up()
            await server.watch()
            await server.down()
            assert server.is_attached
            assert told == [f"small: a server answers at {fake.url} already; it is used as it is"]
            assert is_alive(theirs.pid) and len(fake.starts()) == 1
        finally:
            theirs.kill()


async def test_their_server_needs_no_weights_of_ours(stub: StubServer, tmp_path: Path) -> None:
    stub.add("/version", Reply(json={"version": "0.32.0"}))
    stub.add("/v1/models", Reply(json={"data": [{"id": "tiny", "root": "/no/such/weights"}]}))
    spec = Fake(tmp_path).spec()
    assert spec.serving is not None
    theirs = replace(spec, url=stub.url, serving=replace(spec.serving, model="/no/such/weights", python="/no/python"))
    server = Supervisor("small", theirs, tmp_path, Told(), PATIENCE)
    await server.up()
    assert server.is_attached


@pytest.mark.parametrize(
    ("model", "wanted"), [(None, "org/tiny"), ("small", "small or org/tiny"), ("huge", None), ("/weights/huge", None)]
)
async def test_their_server_has_to_serve_the_engines_model_or_its_weights(
    stub: StubServer, fake: Fake, model: str | None, wanted: str | None
) -> None:
    stub.add("/version", Reply(json={"version": "0.32.0"}))
    stub.add("/v1/models", Reply(json={"data": [{"id": "huge", "root": "/weights/huge"}]}))
    spec = replace(fake.spec(), url=stub.url, model=model, api_key="k3y")
    server = Supervisor("small", spec, fake.folder, Told(), PATIENCE)
    if wanted is None:
        await server.up()
        assert server.is_attached
    else:
        with pytest.raises(BadConfig) as caught:
            await server.up()
        assert str(caught.value) == (
            f"engine 'small': the server that answers at {stub.url} already serves huge, /weights/huge, not {wanted}: "
            "end it, give the engine another url, or name as its model what is served there"
        )
    assert [each.headers["Authorization"] for each in stub.seen if each.path == "/v1/models"] == ["Bearer k3y"]


@pytest.mark.parametrize(
    ("path", "reply", "what"),
    [
        ("/", Reply(text="<html>"), "something that is no model server"),
        ("/version", Reply(raw=b"SSH-2.0-OpenSSH\r\n"), "something that is no model server"),
        ("/props", Reply(json={"default_generation_settings": {}}), "a llamacpp server"),
    ],
)
async def test_a_port_that_something_else_has_is_one_clear_line(
    stub: StubServer, fake: Fake, path: str, reply: Reply, what: str
) -> None:
    stub.add(path, reply)
    server = Supervisor("small", replace(fake.spec(), url=stub.url), fake.folder, Told(), PATIENCE)
    with pytest.raises(BadConfig) as caught:
        await server.up()
    assert str(caught.value) == (
        f"engine 'small': port {stub.port} is in use by {what}: end it, or give the engine another url"
    )
    assert not fake.starts()


async def test_weights_that_are_not_there_start_nothing(fake: Fake) -> None:
    spec = fake.spec()
    assert spec.serving is not None
    server = Supervisor("small", replace(spec, serving=replace(spec.serving, model="/no/weights")), fake.folder, Told())
    with pytest.raises(BadConfig, match="engine 'small': there are no weights at /no/weights"):
        await server.up()
    assert not fake.starts()


async def test_a_machine_without_vllm_is_one_clear_line(fake: Fake) -> None:
    spec = fake.spec()
    assert spec.serving is not None
    serving = replace(spec.serving, python=None, env={"PATH": str(fake.folder)})
    server = Supervisor("small", replace(spec, serving=serving), fake.folder, Told())
    with pytest.raises(BadConfig) as caught:
        await server.up()
    assert str(caught.value) == (
        "engine 'small': there is no command vllm: install vLLM, or name an interpreter that has it as python in "
        "[engines.small.serve]"
    )


async def test_the_command_vllm_is_looked_for_where_the_servers_environment_says(fake: Fake) -> None:
    fake.python.rename(fake.folder / "vllm")
    spec = fake.spec()
    assert spec.serving is not None
    env = {**fake.env(), "PATH": f"{fake.folder}:{os.environ['PATH']}"}
    serving = replace(spec.serving, python=None, env=env)
    server = Supervisor("small", replace(spec, serving=serving), fake.folder, Told(), PATIENCE)
    await server.up()
    assert fake.answers()
    await server.down()


def test_a_supervisor_needs_to_know_what_is_served(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="engine 'small' has no table serve: say what its server serves"):
        Supervisor("small", EngineSpec(kind="vllm", url="http://127.0.0.1:8001/v1"), tmp_path, Told())


# ---- which engines


def test_every_engine_that_has_a_table_is_served_or_those_that_are_named(fake: Fake) -> None:
    other = replace(fake.spec(), url="http://127.0.0.1:1/v1")
    specs = {"small": fake.spec(), "chat": EngineSpec(kind="chat", url="http://127.0.0.1:2/v1"), "large": other}
    told = Told()
    assert [each.name for each in supervisors(specs, (), fake.folder, told)] == ["small", "large"]
    assert [each.name for each in supervisors(specs, ("large", "large"), fake.folder, told)] == ["large"]
    with pytest.raises(BadConfig, match="engine 'chat' has no table serve"):
        supervisors(specs, ("chat",), fake.folder, told)
    with pytest.raises(UserError, match="no engine 'huge'; the configuration has small, chat, large"):
        supervisors(specs, ("huge",), fake.folder, told)
    with pytest.raises(UserError, match=r"no engine has a table serve: write \[engines\.NAME\.serve\]"):
        supervisors({"chat": specs["chat"]}, (), fake.folder, told)


def test_two_engines_cannot_be_served_at_one_port(fake: Fake) -> None:
    with pytest.raises(BadConfig, match="engines 'small' and 'large' are to be served at one port"):
        supervisors({"small": fake.spec(), "large": fake.spec()}, (), fake.folder, Told())


# ---- who supervises


def test_an_engine_has_one_supervisor_at_a_time(tmp_path: Path) -> None:
    record = tmp_path / "engines" / "small-1.pid"
    assert holder(record) is None
    with held(record, "small"):
        assert holder(record) == os.getpid()
        with pytest.raises(UserError) as caught, held(record, "small"):
            pass
        assert str(caught.value) == "engine 'small' is served already: `orchestrator engines down small` ends it"
        assert holder(record) == os.getpid()
    assert holder(record) is None
    with held(record, "small"):
        assert holder(record) == os.getpid()


def test_engines_of_two_projects_may_share_a_name_but_no_port(tmp_path: Path) -> None:
    one, other = (record_of(tmp_path, "small", f"http://127.0.0.1:{port}/v1") for port in (1, 2))
    with held(one, "small"), held(other, "small"):
        assert holder(one) == holder(other) == os.getpid()


def test_a_record_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "engines").touch()
    record = tmp_path / "engines" / "small-1.pid"
    with pytest.raises(UserError, match=f"{record} cannot be written: "), held(record, "small"):
        pass
    assert holder(record) is None


SUPERVISE = """
import asyncio, json, sys
from pathlib import Path
from orchestrator.engines.serving import Serving
from orchestrator.engines.spec import EngineSpec
from orchestrator.engines.supervisor import Patience, Supervisor

async def main(url, python, env, folder):
    spec = EngineSpec(kind="vllm", url=url, serving=Serving(model="org/tiny", python=python, env=json.loads(env)))
    server = Supervisor("small", spec, Path(folder), print, Patience(poll=0.02, end=1.0))
    with server.held():
        await server.up()
        await server.watch()

asyncio.run(main(*sys.argv[1:]))
"""


def test_kill_9_of_the_supervisor_leaves_no_orphan_and_the_engine_is_held_until_then(fake: Fake) -> None:
    env = json.dumps(fake.env(worker=1, deaf=1))
    words = [sys.executable, "-c", SUPERVISE, fake.url, str(fake.python), env, str(fake.folder)]
    record = record_of(fake.folder, "small", fake.url)
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as supervising:
        try:
            pids = fake.pid(), fake.pid("worker")
            until(fake.answers, "the server")
            assert holder(record) == supervising.pid
        finally:
            supervising.kill()
    assert all(map(is_alive, pids)) and holder(record) == supervising.pid  # they are deaf, and have a second
    until_gone(*pids)
    until(lambda: holder(record) is None, "the record's release")
    with held(record, "small"):
        assert holder(record) == os.getpid()
