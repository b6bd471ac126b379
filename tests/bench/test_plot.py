"""The picture is drawn, as PNG and as SVG, with every family of policies in it."""

from __future__ import annotations

from pathlib import Path

from test_summary import ASKED, MACHINE, PRICED, samples

from orchestrator.bench.plot import plot
from orchestrator.bench.summary import summarise


def test_a_summary_becomes_a_png_and_an_svg(tmp_path: Path) -> None:
    png, svg = tmp_path / "pareto.png", tmp_path / "pareto.svg"
    plot(summarise(samples(), MACHINE, PRICED), [png, svg])
    data = png.read_bytes()
    width, height = int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
    assert data.startswith(b"\x89PNG")
    assert width > 1600 and 1.5 < width / height < 2.5
    drawn = svg.read_text()
    assert "<svg" in drawn
    for word in ("small", "large", "random", "specreason", "40 tasks", "modelled seconds per task (h200_1p5b_32b)"):
        assert f"<!-- {word}" in drawn, word


def test_equal_results_are_equal_files(tmp_path: Path) -> None:
    summary = summarise(samples(), MACHINE, PRICED)
    for name in ("one", "other"):
        plot(summary, [tmp_path / f"{name}.svg", tmp_path / f"{name}.png"])
    for ending in ("svg", "png"):
        assert (tmp_path / f"one.{ending}").read_bytes() == (tmp_path / f"other.{ending}").read_bytes()


def test_policies_that_cost_nothing_or_solve_nothing_are_drawn(tmp_path: Path) -> None:
    summary = summarise(samples(), MACHINE, PRICED)
    for each in summary["policies"].values():
        each["accuracy"] = (0.0, 0.0, 0.1)
        each["modelled_s"] = 0.0
    summary["policies"] = {name: summary["policies"][name] for name in ("small", "large", ASKED)}
    plot(summary, [tmp_path / "flat.png"])
    assert (tmp_path / "flat.png").stat().st_size > 10_000
