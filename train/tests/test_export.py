"""Exported files: the embedded engine reads the same tokens and writes the same text as torch."""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random

import jinja2
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("xllamacpp")

from orchestrator.bench.workloads.random_calculation import calculations

from train import text, tokenizer
from train.chat import CHAT_TEMPLATE, render
from train.embedded import Embedded
from train.export import rounded, write_gguf
from train.folder import read_gguf, write_folder
from train.network import Decoder, Shape
from train.run import home, load_decoder

TOKENIZER = tokenizer.load()


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    decoder = Decoder(Shape(vocab=512, width=96, layers=3, heads=3, hidden=256))
    decoder.initialise(5)
    state = {name: torch.from_numpy(weight).float() for name, weight in rounded(decoder).items()}
    state["head.weight"] = state["head.weight"] * 8  # random weights: make the best token stand out
    decoder.load_state_dict({name: weight.half().float() for name, weight in state.items()})
    return decoder.eval()


@pytest.fixture(scope="module")
def engine(decoder: Decoder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    path = tmp_path_factory.mktemp("gguf") / "pair.gguf"
    write_gguf(decoder, path, name="test")
    yield Embedded(path)


def following(decoder: Decoder, ids: list[int]) -> torch.Tensor:
    """Log-probabilities of the token after `ids`, by torch."""
    length = len(ids)
    mask = torch.ones(length, length).tril().bool()[None, None]
    with torch.no_grad():
        return decoder(torch.tensor([ids]), torch.arange(length)[None], mask)[0, -1].log_softmax(-1)


def test_the_engine_computes_what_torch_computes(decoder: Decoder, engine: Embedded) -> None:
    for prompt in ("Compute 1+2.", "What is 38 * 4 - 98 * 6?", "Zürich 東京 🙂" * 20):
        ids = TOKENIZER.encode(render([{"role": "user", "content": prompt}])).ids
        reply = engine.post("/completion", prompt=ids, n_predict=1, temperature=0, n_probs=20)
        expected = following(decoder, ids)
        for entry in reply["completion_probabilities"][0]["top_logprobs"]:
            assert entry["logprob"] == pytest.approx(float(expected[entry["id"]]), abs=0.05)


@pytest.mark.parametrize("name", ["small", "large"])
def test_a_trained_decoder_writes_the_same_greedy_text_in_both(name: str, tmp_path: Path) -> None:
    state = home() / name / "state.pt"
    if not state.exists():
        pytest.skip("not trained on this machine")
    trained = load_decoder(state)
    weights = {key: torch.from_numpy(weight).float() for key, weight in rounded(trained).items()}
    trained.load_state_dict(weights)
    write_gguf(trained, tmp_path / "pair.gguf", name=name)
    engine = Embedded(tmp_path / "pair.gguf")
    for task in islice(calculations("easy", "report", 0), 5):
        ids = TOKENIZER.encode(render([{"role": "user", "content": task.prompt}])).ids
        reply = engine.post("/completion", prompt=ids, n_predict=60, temperature=0, return_tokens=True)
        for token in reply["tokens"]:
            expected = following(trained, ids)
            assert float(expected[token]) >= float(expected.max()) - 0.01  # a tie may fall either way
            ids.append(token)


def test_training_text_has_the_same_ids_in_the_engine(engine: Embedded) -> None:
    writer = text.Writer(TOKENIZER, Random(3), text.STAGES["forms"])
    for _ in range(150):
        document = writer.document()
        for ids in [document.ids, *(branch.ids for branch in document.branches)]:
            shown = TOKENIZER.decode(ids, skip_special_tokens=False)
            assert engine.tokenize(shown) == TOKENIZER.encode(shown).ids == ids


@given(st.text(max_size=60))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_has_the_same_ids_in_the_engine(engine: Embedded, some: str) -> None:
    if "\x00" not in some:  # the engine's text ends at a null byte
        assert engine.tokenize(some) == TOKENIZER.encode(some).ids


def test_the_engine_applies_the_template(engine: Embedded) -> None:
    messages = [{"role": "system", "content": "Tools: calc."}, {"role": "user", "content": "Compute 1+2."}]
    for thinks in (True, False):
        body = {"messages": messages, "chat_template_kwargs": {"enable_thinking": thinks}}
        reply = engine.post("/apply-template", **body)
        assert reply["prompt"] == render(messages, enable_thinking=thinks)


def test_the_folder_holds_the_same_weights_and_template(decoder: Decoder, tmp_path: Path) -> None:
    write_gguf(decoder, tmp_path / "pair.gguf", name="test")
    shape, weights = read_gguf(tmp_path / "pair.gguf")
    assert (shape, set(weights)) == (decoder.shape, set(decoder.state_dict()))
    assert all((weights[name] == weight).all() for name, weight in rounded(decoder).items())
    write_folder(shape, weights, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["model_type"], config["hidden_size"], config["vocab_size"]) == ("llama", 96, 512)
    raw = (tmp_path / "model.safetensors").read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    entry = header["model.layers.0.self_attn.q_proj.weight"]
    start, end = entry["data_offsets"]
    stored = torch.frombuffer(bytearray(raw[8 + length + start : 8 + length + end]), dtype=torch.float16)
    assert torch.equal(stored.reshape(entry["shape"]).float(), decoder.layers[0].query.weight)
    template = json.loads((tmp_path / "tokenizer_config.json").read_text())["chat_template"]
    assert template == CHAT_TEMPLATE
    jinja2.Environment().from_string(template)
