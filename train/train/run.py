"""Train the pair: one resumable command per decoder.

    python -m train.run small            # trains until stopped; goes on where it stopped
    python -m train.run large
    python -m train.run large --finish 1500   # lowers the learning rate to nothing over 1,500 updates, and ends
    python -m train.run large --finish 4600 --peak 0.5   # of a finished state: up to half the rate, and down

The state is written every few minutes and on SIGTERM, in one rename, and holds everything: weights, their
running average, both optimizers, the place in the data, and the random state. Data are a pure function of
the place, so a run that was killed repeats the updates since its last state and arrives where it would have.

The learning rate warms up, stays, and only `--finish` lowers it (the state before is kept as `stable.pt`,
so training can go on later as if it had not been finished). A finished state can be finished again: copy
`final.pt` over `state.pt`. Stages follow PLAN; the `own` stage reads the
newest file of small's own mistakes. Small collects the first file itself when it gets there (mistakes.py, a
few minutes, needs xllamacpp); large stays in the stage before until there is one.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import torch.nn.functional as F
from orchestrator.bench.workloads.random_calculation import Calculation, calculations
from tokenizers import Tokenizer
from torch import Tensor

from train import tokenizer as tokens
from train.chat import END, OPEN_THINK, ROLES
from train.folder import read_gguf
from train.network import Decoder, Shape
from train.optimizer import make_optimizers
from train.shards import Batch, batch_of, batches
from train.text import STAGES, Document

__all__ = ["PLAN", "SHAPES", "Trainer", "home", "load_decoder", "main"]

SHAPES = {
    "small": Shape(vocab=tokens.VOCAB, width=64, layers=3, heads=2, hidden=192),
    "large": Shape(vocab=tokens.VOCAB, width=256, layers=6, heads=4, hidden=640),
    "scorer": Shape(vocab=tokens.VOCAB, width=128, layers=4, heads=2, hidden=384),
}
PLAN = {
    "small": (("steps", 0), ("forms", 1500), ("own", 4000)),
    "large": (("steps", 0), ("forms", 1000), ("own", 1250), ("last", 2100)),
    "scorer": (("steps", 0), ("rated", 400)),
}
"""Stages with the update from which they hold; a shard keeps the stage that it began with."""

WARM_UP = 200
MATRIX_LR = 0.02
OTHER_LR = 0.004
LOWEST = 0.02
"""What is left of the learning rates at the end of `--finish`."""
AVERAGE = 0.998
"""Decay of the running average of the weights, per update."""
SAVE_S = 240
LOG_UPDATES = 20
MEASURE_UPDATES = 250
SNAPSHOT_UPDATES = 500
MEASURE_TASKS = 64
INITIAL_SEED = {"small": 1, "large": 2, "scorer": 3}


def home() -> Path:
    """Where states, logs and mistakes live; PAIR_HOME moves it."""
    default = Path.home() / ".cache" / "reasoning-orchestrator" / "train"
    return Path(os.environ.get("PAIR_HOME", default))


def product_type() -> torch.dtype:
    """bfloat16 where the machine multiplies it natively, else float32."""
    if torch.cuda.is_available() or torch.cpu._is_avx512_bf16_supported():
        return torch.bfloat16
    return torch.float32


def give_memory_back() -> None:
    """Return freed pages to the system: rows of ever new lengths leave glibc's heap full of holes."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def newest_mistakes() -> str | None:
    """The name of the newest file of own mistakes, if there is one."""
    found = sorted(path.name for path in home().glob("mistakes-*.jsonl"))
    return found[-1] if found else None


def reads_mistakes(stage: str) -> bool:
    """Say whether a stage has documents of small's own thoughts."""
    return "own" in STAGES[stage].mix


def read_mistakes(name: str | None) -> list[dict[str, Any]]:
    if name is None:
        return []
    return [json.loads(line) for line in (home() / name).read_text().splitlines()]


def save_atomically(state: dict[str, Any], path: Path) -> None:
    """Write beside, flush to disk, rename; the state before stays as `.before` for one round."""
    beside = path.with_suffix(".writing")
    with beside.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    if path.exists():
        os.replace(path, path.with_suffix(".before"))
    os.replace(beside, path)


def load_decoder(path: Path, *, average: bool = True) -> Decoder:
    """The decoder in a state file, ready to be measured; its running average unless told otherwise."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    decoder = Decoder(Shape(**state["shape"]))
    decoder.load_state_dict(state["average" if average else "weights"])
    return decoder.eval()


@dataclass
class Place:
    """Where in the data a run is."""

    shard: int = 0
    batch: int = 0
    stage: str = ""
    mistakes: str | None = None


class Trainer:
    """One decoder with everything that its state file holds."""

    def __init__(
        self,
        name: str,
        *,
        finish: int | None = None,
        peak: float = 1.0,
        compiles: bool = False,
        start: Path | None = None,
    ) -> None:
        self.name = name
        self.folder = home() / name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.type = product_type()
        self.tokenizer: Tokenizer = tokens.load()
        self.decoder = Decoder(SHAPES[name])
        self.decoder.initialise(INITIAL_SEED[name])
        self.decoder.to(self.device)
        self.compiled = torch.compile(self.decoder.hidden, dynamic=True) if compiles else self.decoder.hidden
        self.optimizers = make_optimizers(self.decoder, matrix_lr=MATRIX_LR, other_lr=OTHER_LR, dtype=self.type)
        self.average = {key: value.clone() for key, value in self.decoder.state_dict().items()}
        self.place = Place()
        self.rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
        self.workers = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
        self.update = 0
        self.num_tokens = 0
        self.cpu_s = 0.0
        self.peak = peak
        self.warmed_from = 0
        self.finishing: tuple[int, int] | None = None
        self.is_stopped = False
        self.is_asked_to_stop = False
        torch.manual_seed(INITIAL_SEED[name])
        self.resume()
        if start is not None and not self.update:
            self.begin_with(start)
        if finish is not None and (self.finishing is None or self.is_finished()):
            if self.finishing is not None:
                self.peak, self.warmed_from = peak, self.update
            elif peak != 1.0:
                raise SystemExit("--peak is for a finished state: copy final.pt over state.pt")
            if not self.rank:
                save_atomically(self.state(), self.folder / "stable.pt")
            self.finishing = (self.update, finish)

    def begin_with(self, gguf: Path) -> None:
        """Take the weights of a shipped file, where the state of its training is lost."""
        shape, weights = read_gguf(gguf)
        if shape != self.decoder.shape:
            raise SystemExit(f"{gguf} holds a decoder of another shape: {shape.to_dict()}")
        self.decoder.load_state_dict({name: torch.from_numpy(weight).float() for name, weight in weights.items()})
        self.average = {name: weight.clone() for name, weight in self.decoder.state_dict().items()}

    # state

    def state(self) -> dict[str, Any]:
        return {
            "shape": self.decoder.shape.to_dict(),
            "weights": self.decoder.state_dict(),
            "average": self.average,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "place": vars(self.place),
            "update": self.update,
            "num_tokens": self.num_tokens,
            "cpu_s": self.cpu_s,
            "finishing": self.finishing,
            "peak": self.peak,
            "warmed_from": self.warmed_from,
            "random": torch.get_rng_state(),
        }

    def save(self) -> None:
        if self.rank:
            return
        save_atomically(self.state(), self.folder / "state.pt")

    def snapshot(self) -> None:
        """Keep the averaged weights of this update for good: small is chosen among them by its band."""
        if self.rank:
            return
        kept = {"shape": self.decoder.shape.to_dict(), "average": self.average, "update": self.update}
        save_atomically(kept, self.folder / f"snapshot-{self.update:06d}.pt")

    def resume(self) -> None:
        """Continue from the state file, or from the one before where the disk lost the newer one."""
        path = self.folder / "state.pt"
        if not path.exists():
            path = path.with_suffix(".before")
        if not path.exists():
            return
        state = torch.load(path, map_location=self.device, weights_only=True)
        if state["shape"] != self.decoder.shape.to_dict():
            raise SystemExit(f"{path} holds a decoder of another shape: {state['shape']}")
        self.decoder.load_state_dict(state["weights"])
        self.average = state["average"]
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.place = Place(**state["place"])
        self.update, self.num_tokens = state["update"], state["num_tokens"]
        self.cpu_s = state.get("cpu_s", 0.0)
        self.finishing = tuple(state["finishing"]) if state["finishing"] else None
        self.peak, self.warmed_from = state.get("peak", 1.0), state.get("warmed_from", 0)
        torch.set_rng_state(state["random"].cpu())
        self.log(event="resumed", update=self.update, state=path.name)

    # the loop

    def run(self, max_updates: int | None = None) -> None:
        """Train until stopped, finished, or `max_updates` more updates are done."""
        saved, spent = time.monotonic(), time.process_time()
        waiting: list[tuple[float, float]] = []
        last = None if max_updates is None else self.update + max_updates
        while not self.is_stopped and not self.is_finished():
            for batch in self.shard():
                loss, weight = self.step(batch)
                waiting.append((loss, weight))
                self.num_tokens += batch.num_tokens()
                self.place.batch += 1
                now = time.monotonic()
                self.cpu_s += time.process_time() - spent
                spent = time.process_time()
                if self.update % LOG_UPDATES == 0:
                    self.report(waiting)
                    waiting = []
                    give_memory_back()
                if self.update % MEASURE_UPDATES == 0 and not self.rank:
                    self.log(event="measured", update=self.update, **self.measure())
                if self.update % SNAPSHOT_UPDATES == 0:
                    self.snapshot()
                self.is_stopped |= self.update == last
                if self.is_stopped or self.is_finished():
                    break
                if now - saved > SAVE_S:
                    self.save()
                    saved = time.monotonic()
            else:
                self.place.shard += 1
                self.place.batch = 0
                self.place.stage = ""
        self.save()
        if self.is_finished() and not self.rank:
            os.replace(self.folder / "state.pt", self.folder / "final.pt")
            os.replace(self.folder / "stable.pt", self.folder / "state.pt")
        self.log(event="finished" if self.is_finished() else "stopped", update=self.update)

    def shard(self) -> list[Batch]:
        """What is left of the present shard."""
        place = self.place
        if not place.stage:
            stages = [stage for stage, first in PLAN[self.name] if first <= self.update]
            if reads_mistakes(stages[-1]) and self.name == "small" and newest_mistakes() is None:
                self.collect()
                if self.workers > 1:
                    torch.distributed.barrier()  # the first worker collects, the others wait for its file
            place.mistakes = newest_mistakes()
            place.stage = next(stage for stage in reversed(stages) if place.mistakes or not reads_mistakes(stage))
            if not reads_mistakes(place.stage):
                place.mistakes = None
            self.log(event="shard", shard=place.shard, stage=place.stage, mistakes=place.mistakes)
        made = batches(self.tokenizer, place.stage, place.shard, read_mistakes(place.mistakes))
        return made[place.batch :]

    def collect(self) -> None:
        """Sample small's own mistakes from its present state; without the engine, training goes on as before."""
        if self.rank:
            return
        self.save()
        self.log(event="collecting", update=self.update)
        command = [sys.executable, "-m", "train.mistakes", "--state", str(self.folder / "state.pt")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        self.log(event="collected", returned=done.returncode, said=(done.stdout or done.stderr)[-300:])

    def is_finished(self) -> bool:
        return self.finishing is not None and self.update >= sum(self.finishing)

    def rate(self) -> float:
        """The share of the full learning rates for the next update."""
        share = self.peak * min(1.0, (self.update - self.warmed_from + 1) / WARM_UP)
        if self.finishing is not None:
            first, length = self.finishing
            share *= max(LOWEST, 1 - (self.update - first) / length)
        return share

    def step(self, batch: Batch) -> tuple[float, float]:
        """One update; returns the mean loss and its weight."""
        rate = self.rate()
        for optimizer, full in zip(self.optimizers, (MATRIX_LR, OTHER_LR), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = full * rate
        total, weight = self.gradients(batch)
        torch.nn.utils.clip_grad_norm_(self.decoder.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        self.decoder.zero_grad(set_to_none=True)
        self.update += 1
        with torch.no_grad():
            share = 1 - min(AVERAGE, self.update / (self.update + 10))
            for key, value in self.decoder.state_dict().items():
                self.average[key].lerp_(value, share)
        return total / weight, weight

    def gradients(self, batch: Batch) -> tuple[float, float]:
        """Leave the gradient of the batch's mean loss, every worker's rows in it; return the summed loss and weight."""
        weight = batch.weights[batch.weights > 0].sum().item()
        part = batch.part(self.rank, self.workers)
        total = torch.zeros(())
        if part is not None:
            total, _ = self.loss(part)
            (total / weight).backward()
        if self.workers == 1:
            self.is_stopped = self.is_asked_to_stop
            return total.item(), weight
        weights = [each for each in self.decoder.parameters() if each.requires_grad]
        pieces = [torch.zeros_like(each) if each.grad is None else each.grad for each in weights]
        told = torch.tensor([total.item(), float(self.is_asked_to_stop)])
        shared = torch.cat([piece.flatten() for piece in [*pieces, told]])
        torch.distributed.all_reduce(shared)
        for each, piece in zip(weights, shared[: -len(told)].split([each.numel() for each in weights]), strict=True):
            each.grad = piece.view_as(each)
        self.is_stopped = shared[-1].item() > 0
        return shared[-2].item(), weight

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Weighted sum of losses, and the sum of weights; the head runs only where there is a weight."""
        where = batch.weights > 0
        target = batch.ids.roll(-1, dims=1)[where].to(self.device)
        weights = batch.weights[where].to(self.device)
        is_single = len(batch.ids) == 1  # a single row would be compiled apart
        run = self.decoder.hidden if is_single else self.compiled
        hidden = self.hidden(run, batch)[where.to(self.device)]
        with torch.autocast(self.device.type, self.type, enabled=self.type != torch.float32):
            logits = self.decoder.head(hidden)
        losses = F.cross_entropy(logits.float(), target, reduction="none")
        return (losses * weights).sum(), weights.sum()

    def hidden(self, run: Callable[[Tensor, Tensor, Tensor], Tensor], batch: Batch) -> Tensor:
        with torch.autocast(self.device.type, self.type, enabled=self.type != torch.float32):
            return run(batch.ids.to(self.device), batch.positions.to(self.device), batch.mask().to(self.device))

    # watching

    def report(self, waiting: list[tuple[float, float]]) -> None:
        loss = sum(loss * weight for loss, weight in waiting) / sum(weight for _, weight in waiting)
        self.log(
            event="update",
            update=self.update,
            loss=round(loss, 4),
            stage=self.place.stage,
            shard=self.place.shard,
            rate=round(self.rate(), 3),
            num_tokens=self.num_tokens,
            cpu_hours=round(self.cpu_s / 3600, 3),
        )

    @torch.no_grad()
    def measure(self) -> dict[str, Any]:
        """Share of held-out steps that the averaged weights get wholly right after a right prefix, by kind."""
        decoder = Decoder(self.decoder.shape).to(self.device).eval()
        decoder.load_state_dict(self.average)
        counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        whole = 0
        held_out = list(islice(calculations("mid", "calibration", 0), MEASURE_TASKS))
        for first in range(0, len(held_out), 16):
            some = held_out[first : first + 16]
            drawn = [trace(self.tokenizer, task) for task in some]
            batch = batch_of([document for document, _ in drawn])
            guess = decoder.head(self.hidden(decoder.hidden, batch).float()).argmax(-1).cpu()
            hit = guess == batch.ids.roll(-1, dims=1)
            for row, (task, (_, ends)) in enumerate(zip(some, drawn, strict=True)):
                right = [bool(hit[row, a - 1 : b - 1].all()) for a, b in pairwise(ends)]
                whole += all(right)
                for step, is_right in zip(task.steps, right, strict=False):
                    counts[step.kind][0] += is_right
                    counts[step.kind][1] += 1
        solved, num_steps = (sum(count[i] for count in counts.values()) for i in (0, 1))
        by_kind = {kind: round(right / number, 3) for kind, (right, number) in sorted(counts.items())}
        return {"step_accuracy": round(solved / num_steps, 4), "solved": whole / len(held_out), "by_kind": by_kind}

    def log(self, **entry: Any) -> None:
        if self.rank:
            return
        line = json.dumps({"at": time.strftime("%Y-%m-%dT%H:%M:%S"), **entry})
        with (self.folder / "log.jsonl").open("a") as file:
            file.write(line + "\n")
        print(line, flush=True)

    def stop(self, number: int, frame: FrameType | None) -> None:
        """Ask the loop to save and end; what a signal calls. All workers end after the same update."""
        self.is_asked_to_stop = True


def trace(tokenizer: Tokenizer, task: Calculation) -> tuple[Document, list[int]]:
    """A held-out thought as a document, with the ends of its parts: prompt, each step."""
    parts = [ROLES["user"] + task.prompt + END + ROLES["assistant"] + OPEN_THINK]
    parts += [step.text + "\n\n" for step in task.steps]
    ids: list[int] = []
    ends = []
    for part in parts:
        ids += tokenizer.encode(part).ids
        ends.append(len(ids))
    return Document(ids, [1.0] * len(ids)), ends


def join(name: str, rank: int, workers: int, arguments: list[str] | None) -> None:
    """Make this process one of the workers; the first one starts the others, which end when it does."""
    if workers == 1:
        return
    meeting = home() / name / "meeting"
    if rank == 0:
        meeting.parent.mkdir(parents=True, exist_ok=True)
        meeting.unlink(missing_ok=True)
        given = sys.argv[1:] if arguments is None else arguments
        for other in range(1, workers):
            subprocess.Popen([sys.executable, "-m", "train.run", *given, "--rank", str(other)])
    torch.distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=workers)


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Train one decoder of the pair; goes on where it stopped.")
    parser.add_argument("name", choices=sorted(SHAPES))
    parser.add_argument("--finish", type=int, metavar="UPDATES", help="lower the learning rate over UPDATES, then end")
    parser.add_argument("--peak", type=float, default=1.0, help="share of the full learning rates to warm up to")
    parser.add_argument("--start", type=Path, metavar="GGUF", help="weights to begin with, where there is no state yet")
    parser.add_argument("--updates", type=int, help="stop after so many more updates")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1, help="processes that share every batch, one per core")
    parser.add_argument("--rank", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--compile", action="store_true", help="a fifth faster after a minute; needs a C++ compiler")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    join(options.name, options.rank, options.workers, arguments)
    trainer = Trainer(
        options.name, finish=options.finish, peak=options.peak, compiles=options.compile, start=options.start
    )
    signal.signal(signal.SIGTERM, trainer.stop)
    signal.signal(signal.SIGINT, trainer.stop)
    trainer.run(options.updates)
    return 0


if __name__ == "__main__":
    sys.exit(main())
