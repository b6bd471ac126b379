"""`orchestrator handbook` where behaviors are found by meaning: a server that embeds by topic, one that is not there,
and the real small model of sentences."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from click.testing import Result

Call = Callable[..., Result]


class Topics(BaseHTTPRequestHandler):
    """Embeds what is round one way, and everything else the other."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._say({"data": [{"id": "topics"}]})

    def do_POST(self) -> None:
        texts = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["input"]
        vectors = [[1.0, 0.0] if "ircle" in text or "round" in text else [0.0, 1.0] for text in texts]
        self._say({"data": [{"index": place, "embedding": vector} for place, vector in enumerate(vectors)]})

    def _say(self, reply: object) -> None:
        data = json.dumps(reply).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Topics) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


def configure(**options: str) -> None:
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in options.items())
    Path("orchestrator.toml").write_text(f"[embedding]\n{lines}")


def add(orchestrator: Call, number: int) -> None:
    """Bring in the one that is round behind so many others."""
    rows = [{"name": f"behavior_n{each}", "instruction": f"Count number {each}."} for each in range(number)]
    rows.append({"name": "behavior_draw_circles", "instruction": "Draw circles first."})
    Path("rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    done = orchestrator("handbook", "import", "rows.jsonl")
    assert done.exit_code == 0, done.stderr


QUESTION = "How wide is a round pond?"


def found(done: Result) -> list[str]:
    assert done.exit_code == 0, done.stderr
    return [line.split()[4].strip(":") for line in done.stdout.splitlines()[1:]]


def test_what_shares_no_word_is_found_by_meaning_and_how_it_was_found_is_said(orchestrator: Call, url: str) -> None:
    add(orchestrator, 2)
    by_words = orchestrator("handbook", "search", QUESTION)
    assert found(by_words) == [] and by_words.stderr == "0 behaviors by words\n"
    configure(url=url)
    by_both = orchestrator("handbook", "search", QUESTION, "-n", "1")
    assert found(by_both) == ["behavior_draw_circles"]
    assert by_both.stdout.splitlines()[1].startswith("    3    1.00 meaning  -  ")
    assert by_both.stderr == "1 behavior by words and meaning\n"


def test_what_is_not_embedded_yet_is_counted_until_all_are(orchestrator: Call, url: str) -> None:
    configure(url=url)
    add(orchestrator, 600)
    early = orchestrator("handbook", "search", QUESTION, "-n", "1")
    assert found(early) == ["behavior_n0"]
    assert early.stderr.splitlines() == [
        "1 behavior by words and meaning, 345 not embedded yet",
        "`orchestrator handbook embed` embeds all of them",
    ]
    done = orchestrator("handbook", "embed")
    assert done.stderr.splitlines()[0] == "89 behaviors left"
    assert done.stderr.splitlines()[1].startswith("all behaviors are embedded by topics ")
    assert found(orchestrator("handbook", "search", QUESTION, "-n", "1")) == ["behavior_draw_circles"]
    assert orchestrator("handbook", "embed").stderr.splitlines() == done.stderr.splitlines()[1:]


def test_where_nobody_can_embed_words_are_what_there_is_and_that_is_said(orchestrator: Call) -> None:
    configure(url="http://127.0.0.1:9/v1", model="m")
    add(orchestrator, 2)
    done = orchestrator("handbook", "search", "Count what?", "-n", "1")
    assert found(done) == ["behavior_n0"]
    assert done.stderr.startswith("1 behavior by words, not by meaning: engine 'embedding'")
    assert orchestrator("handbook", "embed").exit_code == 3
    assert "warn  recall       by words only, not by meaning: engine 'embedding'" in orchestrator("doctor").stdout


def test_what_would_embed_must_be_configured_and_there(orchestrator: Call, tmp_path: Path) -> None:
    add(orchestrator, 0)
    done = orchestrator("handbook", "embed")
    assert (done.exit_code, done.stderr) == (
        2,
        'error: no embedding is configured: write a table [embedding] with a url, or with path = "minilm"\n',
    )
    configure(path="none.gguf")
    missing = orchestrator("handbook", "search", QUESTION)
    assert missing.exit_code == 2 and "cannot read the model file 'none.gguf'" in missing.stderr
    assert "fail  recall       engine 'embedding': cannot read the model file" in orchestrator("doctor").stdout
    gone = orchestrator("handbook", "search", QUESTION, "--handbook", "gone.db")
    assert gone.exit_code != 0 and not Path("gone.db").exists()


def test_the_embedding_is_listed_beside_the_engines(orchestrator: Call, url: str) -> None:
    configure(path="minilm")
    listed = orchestrator("engines", "list", "--json").stdout.splitlines()
    assert [json.loads(row)["kind"] for row in listed] == ["embedded", "embedded", "embedding"]
    assert json.loads(listed[-1])["at"] == "minilm"


@pytest.mark.embedded
def test_the_small_model_of_sentences_finds_what_is_meant(orchestrator: Call) -> None:
    configure(path="minilm")
    for name, instruction in (
        ("perimeter", "For a fence around a shape, add the lengths of all its sides."),
        ("remainder", "To share sweets fairly, divide and keep what is left over."),
        ("clock", "Convert hours to minutes before subtracting times of day."),
        ("probability", "Divide favourable outcomes by all equally likely ones."),
    ):
        assert orchestrator("handbook", "add", f"behavior_{name}", instruction).exit_code == 0
    for question, name in (
        ("What distance does somebody walk going once along every edge of a field?", "perimeter"),
        ("A train leaves at ten past nine and arrives at noon. What was its journey's duration?", "clock"),
        ("What chance has a thrown die of showing six?", "probability"),
    ):
        assert found(orchestrator("handbook", "search", question, "-n", "1")) == [f"behavior_{name}"]
    assert "ok    recall       by words and meaning: all-MiniLM-L6-v2-1.gguf" in orchestrator("doctor").stdout
