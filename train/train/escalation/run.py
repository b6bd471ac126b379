"""Train the published router on a data set of `orchestrator export-router-data`; one resumable command.

    python -m train.escalation.run data.jsonl CHECKPOINT OUT                  # the published recipe, on a GPU
    python -m train.escalation.run data.jsonl pocket-small OUT --updates 50 --batch 64 --rate 1e-3      # on a CPU

CHECKPOINT is a Hugging Face folder or name: a causal model, or, as published, a process reward model. OUT/router is
what vLLM serves (`vllm serve OUT/router --runner pooling`), with router.json, which the router `arbitrage`
reads; OUT/log.jsonl has each update and evaluation, OUT/state.pt everything to go on from. The same
command goes on where it was stopped; with another recipe, checkpoint or data set it says what differs and ends.

Kept is the state with the highest rank correlation on the validation tasks among those whose accuracy there is above
one half for both labels, or among all where there is none such; its figures are from tasks that chose nothing.
Where not even that state says anything about the validation tasks there is no router.json, and the end says so.

Source: Arbitrage, arXiv:2512.05033; what differs in the recipe stands in recipe.py. Differs: bfloat16 products with
single-precision weights on a GPU (there unsaid); the classifier's word is calibrated on the tasks that choose (there
not), and CHECKPOINT is yours to name (there Qwen2.5-Math-1.5B-Instruct-PRM-0.2, a reward model of 1.5 B weights).
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from orchestrator.errors import UserError
from orchestrator.learning import labelled
from orchestrator.learning.calibrating import calibrated
from orchestrator.learning.metrics import plain
from orchestrator.learning.report import told
from orchestrator.learning.served import log_odds, served
from orchestrator.learning.table import SPLITS
from orchestrator.learning.training import write
from orchestrator.routers.forecast import Forecast, Served

from train.escalation import head, texts
from train.escalation.recipe import HEADS, Recipe
from train.escalation.report import rank
from train.escalation.texts import Encoded

__all__ = ["Training", "main"]

SAVE_S = 240
ROUTER = "router.json"


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where things are, and how much of them at once; nothing here changes the weights."""

    data: Path
    checkpoint: str
    out: Path
    context: int
    micro_tokens: int
    evaluate: int | None


class Training:
    """One router with everything that its state holds."""

    def __init__(self, recipe: Recipe, place: Place) -> None:
        self.recipe = recipe
        self.place = place
        self.first, examples = labelled.read(place.data)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.manual_seed(recipe.seed)
        self.network, self.tokenizer = head.load(place.checkpoint, recipe.head, self.device)
        context = min(place.context, self.network.config.max_position_embeddings)
        self.splits = {
            split: texts.encode(self.tokenizer, [each for each in examples if each.split == split], context)
            for split in SPLITS
        }
        train = self.splits["train"]
        self.num_examples = 2 * min(train.labels.count(0), train.labels.count(1)) if recipe.balance else len(train.ids)
        self.updates = recipe.num_updates(self.num_examples)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=recipe.rate, weight_decay=recipe.decay)
        self.update = 0
        self.best: dict[str, Any] | None = None
        self.is_stopped = False
        place.out.mkdir(parents=True, exist_ok=True)
        self.resume()

    # ---- state

    def about(self) -> dict[str, Any]:
        """Return what a state has to have been made with."""
        data = blake2b(self.place.data.read_bytes(), digest_size=16).hexdigest()
        return {**asdict(self.recipe), "checkpoint": self.place.checkpoint, "fingerprint": data}

    def resume(self) -> None:
        path = self.place.out / "state.pt"
        if not path.exists():
            self.log(event="started", examples=self.num_examples, updates=self.updates, too_long=self.too_long())
            return
        state = torch.load(path, map_location=self.device, weights_only=True)
        ours = self.about()
        if differs := ", ".join(name for name in ours if state["about"].get(name) != ours[name]):
            raise SystemExit(f"{path} is of another training: {differs}; go on with the same, or name another folder")
        self.network.load_state_dict(state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.update, self.best = state["update"], state["best"]
        self.log(event="resumed", update=self.update)

    def save(self) -> None:
        """Write the state in one rename."""
        path = self.place.out / "state.pt"
        state = {
            "about": self.about(),
            "weights": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "update": self.update,
            "best": self.best,
        }
        torch.save(state, path.with_suffix(".writing"))
        os.replace(path.with_suffix(".writing"), path)

    def too_long(self) -> int:
        return sum(split.too_long for split in self.splits.values())

    def log(self, **what: Any) -> None:
        with (self.place.out / "log.jsonl").open("a") as file:
            file.write(json.dumps(what) + "\n")

    # ---- the loop

    def run(self) -> None:
        """Train until finished or stopped, and leave the best state where it is served from."""
        train, recipe = self.splits["train"], self.recipe
        every = self.place.evaluate or max(1, -(-self.num_examples // recipe.batch))
        batches = texts.order(train.labels, recipe.batch, recipe.seed, balance=recipe.balance)
        saved = time.monotonic()
        for places in islice(batches, self.update, self.updates):
            started = time.monotonic()
            loss, tokens = self.step(train, places)
            self.log(update=self.update, loss=loss, rate=self.rate, tokens=tokens, seconds=time.monotonic() - started)
            if self.update % every == 0 or self.update == self.updates:
                self.evaluate()
            if self.is_stopped:
                break
            if time.monotonic() - saved > SAVE_S:
                self.save()
                saved = time.monotonic()
        self.save()
        self.check_end()

    def check_end(self) -> None:
        """Raise UserError if the training is finished and the state it chose is no router."""
        folder = self.place.out / "router"
        if self.best is not None and self.update == self.updates and not (folder / ROUTER).exists():
            raise UserError(
                f"no {folder / ROUTER}: the best state, of update {self.best['update']}, says nothing about the "
                "validation tasks; its weights are kept. Collect more steps, or train longer or at another --rate "
                "into another folder"
            )

    @property
    def rate(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    def step(self, train: Encoded, places: Sequence[int]) -> tuple[float, int]:
        """One update; returns the mean loss and the tokens read."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.rate_at(self.update, self.updates)
        self.network.train()
        torch.manual_seed(self.recipe.seed * 1_000_003 + self.update)  # dropout: the same after a stop as without one
        total, tokens = 0.0, 0
        for part in texts.micro_batches([len(ids) for ids in train.ids], places, self.place.micro_tokens):
            batch = texts.padded(train, part, self.network.config.pad_token_id, self.device)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
                found = head.logits(self.network, batch)
            loss = F.cross_entropy(found, batch.labels, reduction="sum") / len(places)
            loss.backward()
            total += loss.item()
            tokens += int(batch.mask.sum())
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.update += 1
        return total, tokens

    @torch.no_grad()
    def probabilities(self, split: Encoded) -> list[float]:
        """Return P(escalate) of each example, in order."""
        self.network.eval()
        found = [0.0] * len(split.ids)
        for part in texts.micro_batches(
            [len(ids) for ids in split.ids], range(len(split.ids)), self.place.micro_tokens
        ):
            batch = texts.padded(split, part, self.network.config.pad_token_id, self.device)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
                read = head.logits(self.network, batch).softmax(-1)[:, 1].tolist()
            for place, value in zip(part, read, strict=True):
                found[place] = value
        return found

    def evaluate(self) -> None:
        """Rank this state by the tasks that choose, and keep it if it is the best so far."""
        chooses = self.splits["validation"]
        probabilities = self.probabilities(chooses)
        now = rank(probabilities, chooses.labels, chooses.advantages)
        self.log(event="evaluated", update=self.update, both_above_half=now[0], spearman=now[1])
        if self.best is None or now > tuple(self.best["rank"]):
            self.best = {"update": self.update, "rank": list(now)}
            self.keep(probabilities)

    def calibrated(self, probabilities: Sequence[float]) -> Forecast | None:
        """Return what makes a probability of what the classifier says, given its word on the tasks that choose.

        None of a state that tells nothing there, as early ones do; the log says so.
        """
        try:
            slope, intercept = calibrated(log_odds(probabilities), np.array(self.splits["validation"].labels) > 0)
        except UserError as error:
            self.log(event="not calibrated", update=self.update, why=str(error))
            return None
        return Forecast(shape=Served(), slope=slope, intercept=intercept)

    def keep(self, probabilities: Sequence[float]) -> None:
        """Write the folder that vLLM serves, with the file that the router `arbitrage` reads if it can be calibrated.

        `probabilities` are those of the tasks that choose. Class accuracies are told at the base rate of the train
        tasks, where a calibrated prediction has the half of a balanced one.
        """
        folder = self.place.out / "router"
        (folder / ROUTER).unlink(missing_ok=True)  # that of an earlier state says nothing of these weights
        dtype = torch.bfloat16 if self.device.type == "cuda" else torch.float32
        head.save(self.network, self.tokenizer, folder, dtype)
        forecast, held_out = self.calibrated(probabilities), self.splits["held-out"]
        if forecast is None:
            return
        predicted = np.array([forecast.chance([chance]) for chance in self.probabilities(held_out)])
        labels = self.splits["train"].labels
        figures = plain(told(predicted, np.array(held_out.advantages), held_out.tasks, sum(labels) / len(labels)))
        self.log(event="measured", update=self.update, **figures)
        seen = [self.splits[split].tasks for split in ("train", "validation")]
        rows = sum(len(split.ids) for split in self.splits.values())
        tasks = {task for split in self.splits.values() for task in split.tasks}
        about = {**self.about(), "rows": rows, "tasks": len(tasks), "fitted_on": sorted({*seen[0], *seen[1]})}
        router = served(self.first, forecast, {"update": self.update, **figures}, about)
        write(router, folder / ROUTER)


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    usual = Recipe()
    parser.add_argument("data", type=Path)
    parser.add_argument("checkpoint")
    parser.add_argument("out", type=Path)
    parser.add_argument("--head", choices=HEADS, default=usual.head)
    parser.add_argument("--no-balance", dest="balance", action="store_false")
    parser.add_argument("--epochs", type=int, default=usual.epochs)
    parser.add_argument("--batch", type=int, default=usual.batch)
    parser.add_argument("--rate", type=float, default=usual.rate)
    parser.add_argument("--warm-up", type=float, default=usual.warm_up)
    parser.add_argument("--decay", type=float, default=usual.decay)
    parser.add_argument("--clip", type=float, default=usual.clip)
    parser.add_argument("--updates", type=int, default=None, help="train this many updates instead of whole epochs")
    parser.add_argument("--seed", type=int, default=usual.seed)
    parser.add_argument("--context", type=int, default=4096, help="longer examples are left out, and counted")
    parser.add_argument("--micro-tokens", type=int, default=16384, help="padded tokens computed at once")
    parser.add_argument(
        "--evaluate", type=int, default=None, help="updates between evaluations; one epoch if not given"
    )
    parser.add_argument("--threads", type=int, default=None)
    given = vars(parser.parse_args(arguments))
    if (threads := given.pop("threads")) is not None:
        torch.set_num_threads(threads)
    own = {name: given.pop(name) for name in Place.__dataclass_fields__}
    try:
        _train(Recipe(**given), Place(**own))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _train(recipe: Recipe, place: Place) -> None:
    training = Training(recipe, place)

    def stop(number: int, frame: FrameType | None) -> None:
        training.is_stopped = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    training.run()


if __name__ == "__main__":
    sys.exit(main())
