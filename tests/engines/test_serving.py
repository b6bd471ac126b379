"""From what the config says to the exact command."""

from __future__ import annotations

import shlex

import pytest
from golden import DRAFTING, GOLDEN, URL

from orchestrator.engines.serving import Serving, address, command, shown
from orchestrator.engines.spec import EngineSpec
from orchestrator.engines.speculation.profiles import PROFILES, CustomClass, Mtp, NGram, Profile
from orchestrator.errors import BadConfig
from orchestrator.types import Sampling


@pytest.mark.parametrize(("profile", "line"), GOLDEN, ids=[line[len(DRAFTING) :][:60] for _, line in GOLDEN])
def test_a_profile_becomes_exactly_this_command(profile: Profile | None, line: str) -> None:
    words = command(Serving(model="Qwen/QwQ-32B", speculation=profile), URL)
    assert shown(words) == line
    assert shlex.split(line) == words


def test_every_profile_has_such_a_command() -> None:
    assert {profile.method for profile, _ in GOLDEN if profile} == set(PROFILES)


def test_ngram_is_what_nobody_has_to_ask_for() -> None:
    assert command(Serving(model="m"), URL) == command(Serving(model="m", speculation=NGram()), URL)


def test_an_interpreter_is_given_the_servers_module() -> None:
    serving = Serving(model="/weights/qwq", python="/opt/vllm/bin/python", speculation=None)
    assert shown(command(serving, URL)).startswith(
        "/opt/vllm/bin/python -m vllm.entrypoints.openai.api_server --model /weights/qwq --host 127.0.0.1 --port 8002 "
    )


def test_the_engines_name_and_more_flags_are_passed_on() -> None:
    serving = Serving(model="m", speculation=None, args=["--max-model-len", "8192", "-tp=2"])
    words = command(serving, URL, "qwq")
    assert words[words.index("--served-model-name") + 1] == "qwq"
    assert words[-3:] == ["--max-model-len", "8192", "-tp=2"]


def test_what_is_shown_can_be_typed_and_a_shell_fills_in_its_variables() -> None:
    env = {"HF_TOKEN": "${HF_TOKEN}", "CUDA_VISIBLE_DEVICES": "0,1", "NAME": "it's ${A}/b c", "NONE": ""}
    assert shown(["vllm", "serve", "a b", ""], env) == (
        """CUDA_VISIBLE_DEVICES=0,1 HF_TOKEN="${HF_TOKEN}" NAME='it'"'"'s '"${A}"'/b c' NONE='' vllm serve 'a b' ''"""
    )


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("http://127.0.0.1:8001", "127.0.0.1", 8001),
        ("http://localhost:80/v1/", "localhost", 80),
        ("http://[::1]:8001/v1", "::1", 8001),
    ],
)
def test_a_port_of_this_machine_can_be_served_at(url: str, host: str, port: int) -> None:
    assert address(url) == (host, port)


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.7:8001/v1",
        "http://0.0.0.0:8001/v1",
        "http://127.0.0.1/v1",
        "http://127.0.0.1:99999/v1",
        "http://127.0.0.1:8001/other/v1",
        "https://127.0.0.1:8001/v1",
        "127.0.0.1:8001",
        "http://[::1",
        "",
    ],
)
def test_any_other_address_is_refused_when_the_engine_is_described(url: str) -> None:
    with pytest.raises(BadConfig) as caught:
        EngineSpec(kind="vllm", url=url, serving=Serving(model="m"))
    assert str(caught.value) == (
        f"{url}: a server can be started at a port of this machine only, like http://127.0.0.1:8001/v1"
    )


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--port", "args has --port, which follows from the url"),
        ("--port=9", "args has --port, which follows from the url"),
        ("--model", "args has --model, which follows from model"),
        ("--served_model_name", "args has --served-model-name, which follows from the engine's model"),
        ("--speculative_config", "args has --speculative-config, which follows from the table speculation"),
        ("--speculative-config.method", "args has --speculative-config, which follows from the table speculation"),
        ("-sc", "args has -sc, which follows from the table speculation"),
        ("--enable-prefix-caching", "args has --enable-prefix-caching, which follows from nothing: it is always on"),
    ],
)
def test_a_flag_that_follows_from_the_config_is_refused(flag: str, said: str) -> None:
    with pytest.raises(BadConfig) as caught:
        Serving(model="m", args=["--max-model-len", "1", flag])
    assert str(caught.value) == said


@pytest.mark.parametrize(
    "name", ["--enable-prefix-caching", "--enable-prompt-tokens-details", "--enable-per-request-metrics"]
)
def test_what_is_always_on_cannot_be_undone(name: str) -> None:
    negated = name.replace("--", "--no-")
    for flag in (negated, negated.replace("-", "_").replace("__", "--")):
        with pytest.raises(BadConfig) as caught:
            Serving(model="m", args=[flag])
        assert str(caught.value) == f"args has {negated}, and {name} follows from nothing: it is always on"


@pytest.mark.parametrize("flag", ["--uds", "--ssl-certfile", "--ssl_keyfile=/k.pem"])
def test_a_flag_with_which_the_server_is_not_at_its_url_is_refused(flag: str) -> None:
    with pytest.raises(BadConfig, match="and the url is http at a port of this machine: leave it out"):
        Serving(model="m", args=[flag, "x"])


@pytest.mark.parametrize("speculation", [None, NGram()])
def test_an_additional_config_is_refused_only_where_the_profile_has_one(speculation: Profile | None) -> None:
    args = ["--additional-config", "{}"]
    assert Serving(model="m", args=args, speculation=speculation).args == args
    with pytest.raises(BadConfig, match="args has --additional-config, which follows from the table speculation"):
        Serving(model="m", args=args, speculation=CustomClass())


def test_weights_without_a_name_are_refused() -> None:
    with pytest.raises(BadConfig, match="model is empty"):
        Serving(model="")


def test_custom_logits_processors_are_refused_where_vllm_would_not_start_with_them() -> None:
    args = ["--logits-processors", "mine:Processor"]
    with pytest.raises(BadConfig, match="with which vLLM refuses to start where it speculates"):
        Serving(model="m", args=args)
    assert Serving(model="m", args=args, speculation=None).args == args


@pytest.mark.parametrize("flag", ["--spec-method", "--spec_model", "--spec-tokens"])
def test_another_way_to_say_how_it_drafts_is_refused_unless_the_table_says_nothing(flag: str) -> None:
    with pytest.raises(BadConfig, match="says again what the table speculation says"):
        Serving(model="m", args=[flag, "2"])
    assert Serving(model="m", args=[flag, "2"], speculation=None).args == [flag, "2"]


def test_weights_whose_name_means_another_method_to_vllm_are_refused_as_their_own_drafter() -> None:
    with pytest.raises(BadConfig, match="speculation mtp: '/w/eagle-nest/MiMo' has 'eagle-' in it, which vLLM"):
        Serving(model="/w/eagle-nest/MiMo", speculation=Mtp())
    assert Serving(model="/w/eagle-nest/MiMo").speculation == NGram()


@pytest.mark.parametrize("flag", ["--data-parallel-size", "--data_parallel_size", "-dp"])
def test_a_schedule_is_refused_where_vllm_would_ignore_it(flag: str) -> None:
    with pytest.raises(BadConfig, match="under which vLLM ignores the schedule"):
        Serving(model="m", args=[flag, "2"], speculation=NGram(schedule=[[1, 8, 2]]))
    with pytest.raises(BadConfig, match="under which vLLM ignores the schedule"):
        Serving(model="m", args=[f"{flag}=2"], speculation=NGram(schedule=[[1, 8, 2]]))
    assert Serving(model="m", args=[flag, "2"]).speculation == NGram()
    for one in ([flag, "1"], [f"{flag}=1"], [flag, "${RANKS}"]):
        assert Serving(model="m", args=one, speculation=NGram(schedule=[[1, 8, 2]])).args == one


def test_min_p_is_refused_where_the_server_speculates() -> None:
    sampling = Sampling(min_p=0.05)
    with pytest.raises(BadConfig, match="min_p and speculation exclude each other: vLLM refuses every request"):
        EngineSpec(kind="vllm", url=URL, serving=Serving(model="m"), sampling=sampling)
    spec = EngineSpec(kind="vllm", url=URL, serving=Serving(model="m", speculation=None), sampling=sampling)
    assert spec.sampling.min_p == 0.05


@pytest.mark.parametrize(("kind", "url"), [("llamacpp", URL), ("vllm", None), ("embedded", None)])
def test_only_a_vllm_server_can_be_served(kind: str, url: str | None) -> None:
    with pytest.raises(BadConfig, match="serve is for an engine of kind vllm"):
        EngineSpec(kind=kind, url=url, path="m.gguf", serving=Serving(model="m"))


def test_the_servers_environment_is_in_no_printed_description() -> None:
    assert "s3cret" not in repr(EngineSpec(kind="vllm", url=URL, serving=Serving(model="m", env={"KEY": "s3cret"})))
