"""No secret comes out: planted ones in every place a run has and in every format, and what is none stays."""

from __future__ import annotations

import json
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.cli.app import app
from orchestrator.memory.journal import Journal
from orchestrator.memory.store import Store
from orchestrator.traces.jsonl import read
from orchestrator.traces.record import RunRecord
from orchestrator.traces.redact import HIDDEN, Redactor
from orchestrator.traces.restored import stored_of

NONE: dict[str, str] = {}
PLANTED = {
    "an OpenAI key": "sk-proj-4f9aK2mQ8xLw7Zt1Vb",
    "a GitHub token": "ghp_0123456789abcdefABCDEF0123456789abcd",
    "a fine-grained one": "github_pat_11ABCDEFG0123456789_abcdefghij",
    "a Hugging Face token": "hf_AbCdEfGhIjKlMnOpQrStUv",
    "an AWS id": "AKIAIOSFODNN7EXAMPLE",
    "a Google key": "AIzaSyA1234567890abcdefghijklmnopqrstuv",
    "a Slack token": "xoxb-123456789012-abcdefGHIJ",
    "a web token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
    "a Stripe key": "sk_live_4eC39HqLyjWDarjtT1",
    "an NVIDIA key": "nvapi-0123456789abcdefghijklmnop",
}
IN_PLACE = [
    ("Authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
    ("curl -H 'Authorization: Token abcdef123456'", "abcdef123456"),
    ("bearer a1b2c3d4e5f6", "a1b2c3d4e5f6"),
    ('{"x-api-key": "plainlooking"}', "plainlooking"),
    ("OPENAI_API_KEY=plainlooking", "plainlooking"),
    ("password: hunter2hunter2", "hunter2hunter2"),
    ("https://ann:hunter2@host.example/v1", "hunter2"),
    ("https://host.example/v1?model=a&api_key=zq7x&n=1", "zq7x"),
    ("https://host.example/?sig=ab%2Bcd", "ab%2Bcd"),
    ("-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----", "MIIEow"),
    ("-----BEGIN PRIVATE KEY-----\nMIIEow and cut off", "MIIEow"),
]


@pytest.mark.parametrize("secret", PLANTED.values(), ids=PLANTED)
@pytest.mark.parametrize("around", ["{}", "the key is {}.", "[{}]", "x={}\n", '"{}"'])
def test_a_key_is_known_by_its_shape(secret: str, around: str) -> None:
    assert secret not in Redactor(variables=NONE).text(around.format(secret))


@pytest.mark.parametrize(("text", "secret"), IN_PLACE)
def test_a_secret_is_known_by_where_it_stands(text: str, secret: str) -> None:
    shown = Redactor(variables=NONE).text(text)
    assert secret not in shown and HIDDEN in shown


def test_what_stands_around_a_secret_stays() -> None:
    hide = Redactor(variables=NONE)
    assert hide.text("https://ann:pw@host/v1?n=1&key=abc&m=2") == f"https://{HIDDEN}@host/v1?n=1&key={HIDDEN}&m=2"
    assert hide.text("Bearer a1b2c3d4e5, then on") == f"Bearer {HIDDEN}, then on"


@pytest.mark.parametrize(
    "text",
    [
        "What is 38*4 - 98*6? Answer: \\boxed{-436}",
        "The bearer of good news; a basic understanding of tokens: 12 tokens in all.",
        "max_tokens=512, the secret of success, a key insight, key: value",
        "https://host.example/a@b?model=x&n=1#top",
        "http://127.0.0.1:8001/v1",
        "task-sk-1, sk-learn, ask-me-anything-about-it",
        "eyJust a word",
        "",
    ],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert Redactor(variables=NONE).text(text) == text


def test_known_values_are_those_of_variables_named_like_secrets_or_asked_for() -> None:
    held = {"MY_API_KEY": "correcthorse", "HOME": "/home/somebody", "CHOSEN": "batterystaple", "A_TOKEN": "short"}
    text = "correcthorse /home/somebody batterystaple short"
    assert Redactor(variables=held).text(text) == f"{HIDDEN} /home/somebody batterystaple short"
    assert Redactor(named=["CHOSEN", "UNSET"], variables=held).text(text) == f"{HIDDEN} /home/somebody {HIDDEN} short"
    assert Redactor(["/home/somebody"], variables=NONE).text(text) == f"correcthorse {HIDDEN} batterystaple short"


def test_a_longer_secret_is_hidden_whole_though_it_begins_with_another() -> None:
    held = {"A_KEY": "correcthorse", "B_KEY": "correcthorsebattery"}
    assert Redactor(variables=held).text("correcthorsebattery") == HIDDEN


def test_data_is_searched_in_names_lists_and_values() -> None:
    hide = Redactor(["correcthorse"], variables=NONE)
    data = {"correcthorse": [{"Authorization": "anything", "max_tokens": 5, "think": None}], "token": "abc", "n": 1.5}
    assert hide.data(data) == {
        HIDDEN: [{"Authorization": HIDDEN, "max_tokens": 5, "think": None}],
        "token": HIDDEN,
        "n": 1.5,
    }


@settings(max_examples=60, deadline=None)
@given(st.text(st.sampled_from("sk-abc:/@?&=token key\n\"'{}[]0"), max_size=60))
def test_hiding_twice_changes_nothing(text: str) -> None:
    hide = Redactor(["abc0abc0"], variables=NONE)
    assert hide.text(hide.text(text)) == hide.text(text)


@pytest.mark.parametrize(
    "text", ["a" * 200_000, "://" * 60_000, "-----BEGIN " * 20_000, "?" + "key" * 60_000, "eyJ" * 60_000]
)
def test_a_hostile_text_takes_no_time(text: str) -> None:
    begun = perf_counter()
    Redactor(variables=NONE).text(text)
    assert perf_counter() - begun < 2.0


# ---- planted everywhere


@pytest.fixture
def planted(runs: dict[str, RunRecord], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, list[str]]:
    """A journal of a run that has a secret in each of its texts, and the secrets."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOUSE_API_KEY", "known-by-its-name")
    monkeypatch.setenv("UNTOLD", "known-by-the-config")
    Path("orchestrator.toml").write_text('[engines.small]\nkind = "vllm"\nurl = "http://h"\napi_key = "${UNTOLD}"\n')
    secrets = ["known-by-its-name", "known-by-the-config", *PLANTED.values(), *(secret for _, secret in IN_PLACE)]
    spoken = "\n".join(["known-by-its-name known-by-the-config", *PLANTED.values(), *(text for text, _ in IN_PLACE)])
    one: dict[str, Any] = runs["one"].model_dump(mode="json")
    one["task"] = {"messages": [["system", spoken], ["user", spoken]], "id": spoken, "answer": spoken, "topic": spoken}
    one["batch"] = spoken
    one["settings"]["engines"]["small"] = {
        "url": "http://ann:hunter2@h/v1?api_key=plain",
        "api_key": "sk",
        "said": spoken,
    }
    one["settings"]["headers"] = {"Authorization": "plainlooking", "X-Note": spoken}
    one["engines"]["small"]["model"] = spoken
    for kind in ("steps", "written", "calls", "signals", "decisions", "events"):
        for row in one[kind]:
            for name in {"text", "stop_text", "error", "reason", "unit", "policy"} & set(row):
                row[name] = spoken
            if "detail" in row:
                row["detail"] |= {"reason": spoken, "note": [spoken], "password": "hunter2hunter2"}
    for call in one["calls"]:
        call["ids"] = list(spoken.encode())
        call["logprobs"] = [[1, spoken, -0.5, []]]
        call["status"] = "failed"
    one["outcome"] |= {"answer": spoken, "error": spoken, "reason": spoken, "status": "failed"}
    path = tmp_path / "planted.db"
    with Store(path) as store:
        Journal(store).add(stored_of(RunRecord.model_validate(one)))
    return path, secrets


@pytest.mark.parametrize("content", [False, True])
@pytest.mark.parametrize("kind", ["jsonl", "otel", "inspect", "csv", "parquet", "show", "html"])
def test_no_planted_secret_comes_out_in_any_format(
    planted: tuple[Path, list[str]], tmp_path: Path, kind: str, content: bool
) -> None:
    path, secrets = planted
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    out = tmp_path / "out"
    flags = ["--content"] if content else []
    if kind == "show":
        done = CliRunner().invoke(app, ["trace", "show", "one", "--json", "--db", str(path)])
        out.write_text(done.stdout)
    elif kind == "html":
        done = CliRunner().invoke(app, ["trace", "html", "one", "one", "--out", str(out), "--db", str(path)])
    else:
        asked = ["trace", "export", "--all", "--format", kind, "--out", str(out), "--db", str(path), *flags]
        done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    files = sorted(out.iterdir()) if out.is_dir() else [out]
    if kind == "parquet":
        import pyarrow.parquet

        text = "\n".join(str(pyarrow.parquet.read_table(file).to_pylist()) for file in files)
    else:
        text = "\n".join(file.read_text() for file in files)
    assert HIDDEN in text
    for secret in secrets:
        assert secret not in text and json.dumps(secret)[1:-1] not in text, secret


def test_ids_and_logprobs_that_would_spell_a_secret_go_with_it(planted: tuple[Path, list[str]]) -> None:
    (run,) = read(planted[0])
    assert {(tuple(call.ids or ()), call.logprobs) for call in run.calls} == {((), None)}


def test_a_file_that_holds_secrets_is_read_without_them(
    planted: tuple[Path, list[str]], runs: dict[str, RunRecord], tmp_path: Path
) -> None:
    file = tmp_path / "old.jsonl"
    one = runs["two"].model_dump(mode="json")
    one["task"]["messages"] = [["user", f"use {PLANTED['an OpenAI key']}"]]
    file.write_text(json.dumps(one) + "\n")
    (run,) = read(file)
    assert run.task.messages == [("user", f"use {HIDDEN}")]
