"""What a trained monitor costs: one look of the classifier, and training it.

Run `python benchmarks/classified.py`. The moves are made up and as long as they are read at most: 400 characters of
thought, of the call and of what came of it, six of them, and the task above. A look is everything the monitor does
behind one kept step, in CPU: the moves are found in the whole history, of 18 steps and of 1,000, written as text,
counted and weighed. Training is from labelled looks to a measured document, in wall time.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from time import perf_counter, process_time

import numpy as np
from measure import Options, Report, options

from orchestrator.learning.looks import Look, Watched
from orchestrator.learning.monitoring import train
from orchestrator.monitors import ngrams
from orchestrator.monitors.classified import Classified, sample_text
from orchestrator.monitors.monitor_file import MonitorFile
from orchestrator.monitors.window import moves_in
from orchestrator.types import History, Step, StepKind, Stop, Task

LONGEST = 400
"""Characters of a part that are read."""
LENGTHS = (18, 1_000)
"""Steps of the history."""
LOOK_BAR_MS = 10.0
IN_A_LAP = 20
LOOKS = 2_000
LOOKS_PER_RUN = 8
KINDS = (StepKind.THOUGHT, StepKind.ACTION, StepKind.OBSERVATION)
WORDS = [f"{a}{b}" for a in ("pri", "cal", "look", "con", "ver") for b in ("ce", "cul", "up", "t", "ing", "s", "ed")]


def said(random: Random, length: int = LONGEST) -> str:
    """Return `length` characters of made-up words and numbers."""
    words = " ".join(f"{random.choice(WORDS)}({random.randrange(500)})" for _ in range(length // 6))
    return words[:length]


def steps(random: Random, number: int, length: int = LONGEST) -> list[Step]:
    """Return the steps of an agent: thought, call and answer in turn."""
    return [
        Step(
            index=place,
            attempt=0,
            writer="small",
            text=said(random, length),
            num_tokens=length // 4,
            stop=Stop.DELIMITER,
            kind=KINDS[place % 3],
        )
        for place in range(number)
    ]


def monitor(kind: str) -> MonitorFile:
    """Return a monitor that weighs everything the same."""
    weights = np.full(ngrams.SIZE, 0.01, dtype="<f4").tobytes()
    more = {"measured": {}, "data": {"fitted_on": []}, "made": "2026-11-27", "package": "0"}
    return MonitorFile(kind=kind, window=6, min_moves=3, weights=weights, bias=0.0, threshold=0.5, **more)


def look_ms(classified: Classified, history: History, laps: int) -> list[float]:
    """Return the CPU of one look, the mean of each lap."""
    found = []
    for _ in range(laps):
        began_s = process_time()
        for _ in range(IN_A_LAP):
            classified.watch(history)
        found.append((process_time() - began_s) / IN_A_LAP * 1e3)
    return found


def labelled(number: int) -> list[tuple[Watched, Sequence[bool | None]]]:
    """Return made-up runs, half of them stuck, with what their looks are."""
    random = Random(0)
    given: list[tuple[Watched, Sequence[bool | None]]] = []
    for place in range(number // LOOKS_PER_RUN):
        is_stuck = place % 2 == 1
        taken = steps(random, 18, 80)
        text = sample_text("stuck", "", moves_in(taken), 6) + ("\nerror: busy" * 3 if is_stuck else "")
        looks = tuple(Look(f"run-{place}", step, text) for step in range(LOOKS_PER_RUN))
        history = History(task=Task.of("q"), engines=("small", "large"), seed=0)
        run = Watched(
            run=f"run-{place}", task=f"{place:020x}", has_succeeded=not is_stuck, history=history, looks=looks
        )
        given.append((run, [is_stuck] * LOOKS_PER_RUN))
    return given


def main(chosen: Options) -> None:
    """Measure and print."""
    report = Report("trained monitor", chosen)
    task = Task.of(said(Random(1), 2_000))
    for kind in ("stuck", "milestone"):
        classified = Classified(kind=kind, learnt=monitor(kind))  # type: ignore[arg-type]
        for number in LENGTHS:
            past = History(task=task, engines=("small", "large"), seed=0, steps=steps(Random(number), number // 3 * 3))
            report.add(f"{kind}, {number} steps", look_ms(classified, past, chosen.times(20)), "ms", bar=LOOK_BAR_MS)
    number = 400 if chosen.is_quick else LOOKS
    given, walls = labelled(number), []
    for _ in range(chosen.times(3)):
        began_s = perf_counter()
        train(given, kind="stuck", window=6, min_moves=3, false_alarms=0.05, labels=["made up"])
        walls.append(perf_counter() - began_s)
    report.add(f"training on {number} looks", walls, "s")
    report.print()


if __name__ == "__main__":
    main(options(__doc__))
