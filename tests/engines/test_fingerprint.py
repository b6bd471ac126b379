"""Tokenizers told apart by what they do."""

from __future__ import annotations

from orchestrator.engines.dialects.fingerprint import PROBES, fingerprint


def test_tokenizers_that_give_the_same_ids_have_one_name() -> None:
    encoded = [list(probe.encode()) for probe in PROBES]
    assert fingerprint(encoded) == fingerprint([tuple(ids) for ids in encoded])


def test_one_id_more_or_elsewhere_makes_another_name() -> None:
    encoded = [list(probe.encode()) for probe in PROBES]
    moved = [encoded[0][:-1], [encoded[0][-1], *encoded[1]], *encoded[2:]]
    names = {fingerprint(encoded), fingerprint(moved), fingerprint([*encoded[:-1], [*encoded[-1], 0]])}
    assert len(names) == 3


def test_a_tag_that_only_a_fine_tune_knows_is_among_the_probes() -> None:
    assert any("</think>" in probe for probe in PROBES)
    assert any("\n\n" in probe for probe in PROBES)


def test_the_name_stays_what_stored_runs_call_it() -> None:
    assert fingerprint([list(probe.encode()) for probe in PROBES]) == "4e92c05210e788b9452de9997413526d"
