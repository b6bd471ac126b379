"""A completion's text is exactly the decoding of its ids."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.engines.in_process import Embedded
from orchestrator.engines.whole import Pieces, whole
from orchestrator.types import Stop

# A toy byte-pair vocabulary: letters, newlines in every straddling shape, and characters in parts.
VOCABULARY = [
    piece if isinstance(piece, bytes) else piece.encode()
    for piece in [
        "a", "b", " b", "aa", "ab", "ba", "aab", "abab", ".", "",
        "\n", "\n\n", "\n\n\n", "\n\n\n\n", ".\n\n", ".\n", "\nb", "\n\nb", "\nb\n", "b\n\na", " \n\n ",
        "</", "</t", "t>", ">", "a>", "</t>\n",
        "é", b"\xc3", b"\xa9", b"\xf0\x9f", b"\xa6", b"\x99", b"\xa9b", b"\n\xf0",
    ]
]  # fmt: skip
END = len(VOCABULARY)
STOPS = ["\n\n", "</t>", "\n", "aab", "\n\n\n", "abab"]


class Toy:
    """Decodes the toy vocabulary and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self.pieces = Pieces(self.decode)

    async def decode(self, ids: Sequence[int]) -> str:
        self.asked.append(list(ids))
        return spelled(ids)


def spelled(ids: Sequence[int]) -> str:
    return b"".join(b"<end>" if id_ == END else VOCABULARY[id_] for id_ in ids).decode("utf-8", "replace")


def id_of(piece: str) -> int:
    return VOCABULARY.index(piece.encode())


def served(ids: list[int], stop_text: str) -> tuple[str, list[int]] | None:
    """Return what a server would answer had it drawn `ids`: it stops at the token that completes the stop string."""
    for length in range(1, len(ids) + 1):
        text = spelled(ids[:length])
        if stop_text in text:
            return text.partition(stop_text)[0], ids[:length]
    return None


@settings(max_examples=600, deadline=None)
@given(
    ids=st.lists(st.integers(0, END - 1), min_size=1, max_size=8),
    stop_text=st.sampled_from(STOPS),
    includes_stop=st.booleans(),
)
async def test_after_a_delimiter_the_text_is_the_decoding_of_the_ids(
    ids: list[int], stop_text: str, includes_stop: bool
) -> None:
    answer = served(ids, stop_text)
    if answer is None:
        return
    head, kept = answer
    text, same = await whole(head + stop_text * includes_stop, kept, Stop.DELIMITER, stop_text, Toy().pieces)
    assert (text, same) == (spelled(kept), kept)


@settings(max_examples=300, deadline=None)
@given(ids=st.lists(st.integers(0, END - 1), max_size=8), is_known=st.booleans())
async def test_after_the_limit_half_a_character_is_dropped(ids: list[int], is_known: bool) -> None:
    text, kept = await whole(spelled(ids) if is_known else None, ids, Stop.LENGTH, "", Toy().pieces)
    assert text == spelled(kept)
    assert kept == ids[: len(kept)]
    if len(kept) < len(ids):
        assert not text.endswith("\ufffd")
    if not spelled(ids).endswith("\ufffd"):
        assert kept == ids


@settings(max_examples=100, deadline=None)
@given(ids=st.lists(st.integers(0, END - 1), max_size=8), shows_end=st.booleans())
async def test_the_end_of_text_token_is_dropped(ids: list[int], shows_end: bool) -> None:
    served_text = spelled([*ids, END] if shows_end else ids)
    text, kept = await whole(served_text, [*ids, END], Stop.END, "", Toy().pieces, has_end=True)
    assert (text, kept) == (spelled(ids), ids)


@pytest.mark.parametrize(
    ("pieces", "stop_text"),
    [
        (["a", "\n\n"], "\n\n"),
        (["a", "\n\n\n"], "\n\n"),
        (["a", "\n", "\nb"], "\n\n"),
        (["a", "\n", "\n\n\n"], "\n\n"),
        (["\n\n\n\n"], "\n\n"),
        (["a", "b\n\na"], "\n\n"),
        (["a", "</", "t>"], "</t>"),
        (["a", "</t", ">"], "</t>"),
    ],
)
async def test_a_warm_step_asks_the_engine_nothing(pieces: list[str], stop_text: str) -> None:
    toy = Toy()
    ids = [id_of(piece) for piece in pieces]
    answer = served(ids, stop_text)
    assert answer is not None
    for _ in range(2):
        toy.asked.clear()
        text, _ = await whole(answer[0], ids, Stop.DELIMITER, stop_text, toy.pieces)
        assert text == spelled(ids)
    assert toy.asked == []


async def test_an_ordinary_limit_asks_only_once_per_token_ever() -> None:
    toy = Toy()
    for _ in range(3):
        assert await whole("ab", [id_of("a"), id_of("b")], Stop.LENGTH, "", toy.pieces) == ("ab", [0, 1])
    assert toy.asked == [[id_of("b")]]


async def test_a_text_the_pieces_contradict_is_decoded() -> None:
    toy = Toy()
    ids = [id_of("a"), id_of("\n\n")]
    assert await whole("something else", ids, Stop.DELIMITER, "\n\n", toy.pieces) == ("a\n\n", ids)


async def test_bytes_that_begin_no_character_are_kept() -> None:
    stray = VOCABULARY.index(b"\xa9")
    assert await whole(None, [stray] * 6, Stop.LENGTH, "", Toy().pieces) == ("\ufffd" * 6, [stray] * 6)


async def test_nothing_generated_is_an_empty_text() -> None:
    assert await whole("", [], Stop.END, "", Toy().pieces) == ("", [])


@pytest.mark.embedded
async def test_every_token_of_a_real_vocabulary_that_straddles_the_delimiter(smollm2: Embedded) -> None:
    await smollm2.start()
    vocabulary = await real_vocabulary(smollm2)
    straddling = [id_ for id_, piece in enumerate(vocabulary) if "\n\n" in piece and piece != "\n\n"]
    halves = [id_ for id_, piece in enumerate(vocabulary) if piece.startswith("\n") and "\n\n" not in piece]
    assert len(straddling) >= 17
    assert {vocabulary[id_] for id_ in straddling} >= {"\n\n\n", "\n\n\n\n", "\n\n\t"}
    word, newline = await smollm2.encode("bread"), await smollm2.encode("\n")
    chains = [[*word, id_] for id_ in straddling]
    chains += [[*word, *newline, id_] for id_ in [*straddling, *halves]]
    for ids in chains:
        pieces = [vocabulary[id_] for id_ in ids]
        joined = "".join(pieces)
        assert joined.find("\n\n") + 2 > len(joined) - len(pieces[-1]), "the server stops at this very token"
        text, kept = await whole(joined.partition("\n\n")[0], ids, Stop.DELIMITER, "\n\n", smollm2._pieces)
        assert (text, kept) == (joined, ids)


async def real_vocabulary(engine: Embedded) -> list[str]:
    """Return the text of every token, found with a tag between any two so that few requests do."""
    tag, num_tokens, vocabulary = 2, 49152, []
    for start in range(0, num_tokens, 4096):
        ids = [part for id_ in range(start, start + 4096) for part in (id_, tag)]
        texts = (await engine._decode(ids)).split("<|im_end|>")
        if start == 0:
            texts[2:4] = [""]  # the tag itself
        vocabulary += texts[:4096]
    assert len(vocabulary) == num_tokens
    return vocabulary
