"""The assumptions behind modelled figures: shipped ones by hand, broken ones each one clear error."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.bench.profiles import DEFAULT_HARDWARE, PRICES, Hardware, hardware, prices, varied
from orchestrator.errors import BadConfig, UnknownName, UserError
from orchestrator.ledger import Price

PAIR = ("small", "large")

HARDWARE = """
name = "mine"
call_ms = 5
batch = 4
gpu = {intensity = 100.0}
engines.a = {decode_ms = 2, prefill_per_s = 1000, params = 1e9, layers = 2, width = 10}
engines.b = {decode_ms = 8, prefill_per_s = 500, params = 4e9, layers = 4, width = 20, gpus = 2}
"""
PRICED = """
name = "mine"
engines.a = {output = 1, uncached = 0.5, cached = 0}
engines.b = {output = 4, uncached = 2, cached = 0.2}
"""


def written(folder: Path, text: str) -> str:
    file = folder / "profile.toml"
    file.write_text(text)
    return str(file)


def test_the_default_hardware_is_the_one_that_was_fixed_before_any_result() -> None:
    machine = hardware(DEFAULT_HARDWARE, PAIR)
    small, large = machine.engines["small"], machine.engines["large"]
    assert (machine.name, machine.call_ms) == ("h200_1p5b_32b", 10)
    assert (small.decode_ms, small.prefill_per_s) == (3, 60_000)
    assert (large.decode_ms, large.prefill_per_s) == (16, 8000)


def test_gamma_is_two_layers_width_and_intensity_over_parameters() -> None:
    assert hardware(DEFAULT_HARDWARE, PAIR).decode_weight("large") == pytest.approx(2 * 64 * 5120 * 206 / 32.5e9)


@pytest.mark.parametrize("name", PRICES)
def test_every_shipped_price_profile_makes_a_large_output_token_the_unit(name: str) -> None:
    found = prices(name, hardware(DEFAULT_HARDWARE, PAIR), PAIR)
    assert found.name == name
    assert found.engines["large"].output == 1
    assert found.engines["small"].output < 1


def test_self_hosted_by_hand() -> None:
    found = prices("self_hosted", hardware(DEFAULT_HARDWARE, PAIR), PAIR).engines
    # A large output token takes 16 ms of a GPU that 16 requests share: 1 ms. A prompt token takes 1/8 ms.
    assert found["large"] == Price(prompt=0.125, cached=0.0, output=1.0)
    assert found["small"].output == 3 / 16
    assert found["small"].prompt == pytest.approx(1 / 60)


def test_self_hosted_counts_every_gpu(tmp_path: Path) -> None:
    machine = hardware(written(tmp_path, HARDWARE), ("a", "b"))
    found = prices("self_hosted", machine, ("a", "b")).engines
    unit = 2 * 8 / 4
    assert found["b"] == Price(prompt=2 * 1000 / 500 / unit, cached=0.0, output=1.0)
    assert found["a"] == Price(prompt=1000 / 1000 / unit, cached=0.0, output=(2 / 4) / unit)


def test_each_figure_is_halved_and_doubled_alone() -> None:
    machine = hardware(DEFAULT_HARDWARE, PAIR)

    def figures(of: Hardware) -> dict[str, float]:
        found = {"call_ms": of.call_ms}
        for name, each in of.engines.items():
            found |= {f"{name} decode_ms": each.decode_ms, f"{name} prefill_per_s": each.prefill_per_s}
        return found

    before = figures(machine)
    others = {what: figures(other) for what, other in varied(machine)}
    assert set(others) == {f"{name} {word}" for name in before for word in ("halved", "doubled")}
    for what, after in others.items():
        name, _, word = what.rpartition(" ")
        factor = {"halved": 0.5, "doubled": 2}[word]
        assert after == {**before, name: factor * before[name]}


def test_engines_of_other_names_are_matched_by_their_order(tmp_path: Path) -> None:
    machine = hardware(written(tmp_path, HARDWARE), ("draft", "target"))
    assert machine.engines["draft"].decode_ms == 2
    assert machine.engines["target"].decode_ms == 8


def test_engines_of_the_same_names_are_matched_by_name(tmp_path: Path) -> None:
    assert hardware(written(tmp_path, HARDWARE), ("b", "a")).engines["a"].decode_ms == 2


@pytest.mark.parametrize("own_name", ["scorer", "another"])
def test_an_engine_that_only_measures_has_its_own_table(own_name: str) -> None:
    machine = hardware(DEFAULT_HARDWARE, ("draft", "target"), (own_name,))
    assert list(machine.engines) == [own_name, "draft", "target"]
    assert machine.engines[own_name].decode_ms == 3.0
    assert prices("api", machine, ("draft", "target"), (own_name,)).engines[own_name].output == 0.047
    assert prices("self_hosted", machine, ("draft", "target"), (own_name,)).engines["target"].output == 1.0


def test_a_profile_may_name_engines_that_only_measure(tmp_path: Path) -> None:
    named = HARDWARE.replace("[engines]", "[engines]") + (
        "\n[engines.prm]\ndecode_ms = 7\nprefill_per_s = 100.0\nparams = 1e9\nlayers = 2\nwidth = 8\n"
    )
    machine = hardware(written(tmp_path, named), ("draft", "target"), ("prm",))
    assert {name: each.decode_ms for name, each in machine.engines.items()} == {"prm": 7, "draft": 2, "target": 8}


def test_a_profile_without_that_table_does_not_serve_it(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match=r"no table \[measuring\], and the engine 'scorer' only measures"):
        hardware(written(tmp_path, HARDWARE), ("a", "b"), ("scorer",))
    machine = hardware(DEFAULT_HARDWARE, PAIR, ("scorer",))
    with pytest.raises(BadConfig, match=r"no table \[measuring\]"):
        prices(written(tmp_path, PRICED), machine, ("a", "b"), ("scorer",))


@pytest.mark.parametrize("engines", [("only",), ("small", "middle", "large")])
def test_a_profile_of_two_engines_serves_two(engines: tuple[str, ...]) -> None:
    with pytest.raises(BadConfig, match="knows the engines small, large; the pipeline has " + ", ".join(engines)):
        hardware(DEFAULT_HARDWARE, engines)


def test_an_unknown_profile_is_answered_with_those_of_its_kind() -> None:
    machine = hardware(DEFAULT_HARDWARE, PAIR)
    for wrong in ("h100", "api", "self_hosted"):
        with pytest.raises(UnknownName, match=f"no profile '{wrong}'; known: {DEFAULT_HARDWARE}, or a file.toml"):
            hardware(wrong, PAIR)
    with pytest.raises(UnknownName, match=r"no profile 'cheap'; known: self_hosted, api, or a file\.toml"):
        prices("cheap", machine, PAIR)


@pytest.mark.parametrize(
    "old, new, said",
    [
        ("call_ms = 5", "", "not a hardware profile: 'call_ms'"),
        ("call_ms = 5", "call_ms = ", "broken TOML"),
        ("call_ms = 5", "call_ms = -5", "call_ms = -5 must be a number above 0"),
        ("call_ms = 5", "call_ms = 0", "call_ms = 0 must be a number above 0"),
        ("call_ms = 5", "call_ms = true", "call_ms = True must be a number above 0"),
        ("call_ms = 5", "call_ms = nan", "call_ms = nan must be a number above 0"),
        ("call_ms = 5", "call_ms = inf", "call_ms = inf must be a number above 0"),
        ("call_ms = 5", 'call_ms = "5"', "call_ms = '5' must be a number above 0"),
        ("decode_ms = 8", "decode_ms = -8", "engines.b.decode_ms = -8 must be a number above 0"),
        ("decode_ms = 8", "speed = 8", "not a hardware profile.*speed"),
        ("gpus = 2", "gpus = 2, color = 3", "not a hardware profile.*color"),
        ("gpu = {intensity = 100.0}", "gpu = 3", "not a hardware profile"),
        ("width = 20, ", "", "not a hardware profile.*width"),
    ],
)
def test_a_wrong_hardware_profile_is_one_clear_error(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in HARDWARE
    with pytest.raises(BadConfig, match=f"profile.toml: {said}"):
        hardware(written(tmp_path, HARDWARE.replace(old, new)), ("a", "b"))


@pytest.mark.parametrize(
    "old, new, said",
    [
        ("cached = 0}", "}", "not a price profile"),
        ("output = 4", "output = -4", "engines.b.output = -4 must be a number, 0 or above"),
        ("output = 4", 'output = "4"', "engines.b.output = '4' must be a number, 0 or above"),
        ("output = 4, ", "", "not a price profile: 'output'"),
        ('name = "mine"', "", "not a price profile: 'name'"),
    ],
)
def test_a_wrong_price_profile_is_one_clear_error(tmp_path: Path, old: str, new: str, said: str) -> None:
    machine = hardware(written(tmp_path, HARDWARE), ("a", "b"))
    assert prices(written(tmp_path, PRICED), machine, ("a", "b")).engines["b"].cached == 0.2
    text = PRICED.replace(old, new) if old != "cached = 0}" else PRICED.replace(", cached = 0}", "}")
    with pytest.raises(BadConfig, match=f"profile.toml: {said}"):
        prices(written(tmp_path, text), machine, ("a", "b"))


def test_a_file_that_cannot_be_read_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "bytes.toml").write_bytes(b"name = '\xff'")
    for name in ("missing.toml", "folder.toml", "bytes.toml"):
        with pytest.raises(UserError, match=name):
            hardware(str(tmp_path / name), PAIR)
