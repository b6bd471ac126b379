"""`orchestrator train-router`: fit a light router on collected steps, and say what it is worth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

__all__ = ["train_router"]


@click.command(
    "train-router", epilog="Example: orchestrator train-router rows.jsonl --out router.json --plot router.png"
)
@click.argument("rows", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="ROWS.jsonl...")
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="FILE.json", help="The router.")
@click.option("--history/--no-history", default=True, help="Let it see who wrote the steps before.")
@click.option("--use", multiple=True, metavar="SCORER", help="Let it ask a scorer about each draft; may be repeated.")
@click.option(
    "--shape",
    type=click.Choice(["best", "logistic", "trees"]),
    default="best",
    show_default=True,
    help="What is fitted.",
)
@click.option(
    "--balance",
    type=click.Choice(["weights", "downsample", "none"]),
    default="weights",
    show_default=True,
    help="How both classes come to count the same.",
)
@click.option("--seed", default=0, show_default=True, help="Of what is drawn to balance, and of the trees.")
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE.png", help="Draw predicted against observed.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as one JSON object.")
@click.option("--quiet", is_flag=True, help="Nothing on stderr but errors.")
def train_router(rows: tuple[Path, ...], **given: Any) -> None:
    """Fit a router on collected steps: the ROWS that `orchestrator collect` exported.

    `--router arbitrage` runs it, with a threshold of `orchestrator calibrate` for the same engines.
    Tasks are split by what they ask: 70% to fit on, 15% to choose and calibrate on, 15% that every
    figure is measured on. The file holds plain numbers and what they were fitted on; it is refused for
    another pair of engines.
    """
    from orchestrator.cli.streams import note, say, say_json
    from orchestrator.learning.files import check_out
    from orchestrator.learning.report import FEW, check_plot, lines, plot, wasted
    from orchestrator.learning.training import train, write

    for file in (given["out"], given["plot"]):
        if file is not None:
            check_out(file, rows)
    if given["plot"] is not None:
        check_plot(given["plot"])
    made = train(
        rows,
        history=given["history"],
        uses=given["use"],
        shape=given["shape"],
        balance=given["balance"],
        seed=given["seed"],
    )
    write(made, given["out"])
    if given["plot"] is not None:
        plot(made.measured, given["plot"])
    if given["as_json"]:
        say_json(
            {
                "file": str(given["out"]),
                "kind": made.forecast.shape.kind,
                "both_wrong": made.data["both_wrong"],
                **made.measured,
            }
        )
    else:
        say(f"{given['out']}: {made.forecast.shape.kind} on {len(made.features)} features, {made.data['rows']} drafts")
        say(wasted(made.data["both_wrong"]))
        for line in lines(made.measured):
            say(line)
    if (repeated := made.data["repeated"]) and not given["quiet"]:
        note(f"{repeated} rows were there before and are left out")
    number = made.measured["rows"]
    if number < FEW and not given["quiet"]:
        note(f"only {number} held-out drafts: take every figure with its interval, and collect more tasks")
