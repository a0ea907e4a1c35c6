"""Many configs of one structure as one stack, beside one after the other, on one core.

    python benchmarks/stacked.py [--quick] [--readme]

What comes out is compared before it is timed: on the CPU it must be the same to the last bit. Times
are those of the core for this process, of the best of three runs, so that others count less.
Where torch sees a GPU it is timed, too; where there is none, the text says that it was not.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace

import machine

if __name__ == "__main__":
    PLACE = machine.description()
    machine.stay_on(machine.cores()[-1])

import numpy as np
import torch

from xortune.core.config import Config
from xortune.core.outcome import Outcome
from xortune.core.task import Task
from xortune.trainers import fused, reference
from xortune.trainers.limits import Training
from xortune.trainers.network import engine_of

EPOCHS = 100
SHAPES = (
    # configs, seeds, hidden units, bits of the parity
    (64, 8, 5, 2),
    (8, 8, 5, 2),
    (2, 8, 5, 2),
    (16, 64, 5, 2),
    (8, 256, 5, 2),
    (2, 800, 5, 2),
    (16, 8, 20, 3),
    (8, 8, 65, 4),
)
OPTIMIZERS = ("SGD", "Adam", "Rprop")


def trainings_of(shape: tuple[int, int, int, int], optimizer: str, epochs: int) -> list[Training]:
    configs, seeds, hidden_dim, _ = shape
    base = Config(
        activation="Tanh", loss="MSELoss", optimizer=optimizer, lr=0.1, hidden_dim=hidden_dim,
        epochs=epochs,
    )  # fmt: skip
    lrs = np.geomspace(0.001, 1, configs).tolist()
    return [Training(replace(base, lr=lr), np.arange(seeds)) for lr in lrs]


def one_by_one(trainings: list[Training], task: Task) -> list[Outcome]:
    return [reference.train(training.config, task, training.seeds) for training in trainings]


def seconds_of(run: Callable[[], object], least: int = 3) -> float:
    """Of the core."""
    taken = []
    for _ in range(least):
        before = time.process_time()
        run()
        taken.append(time.process_time() - before)
    return min(taken)


def row(shape: tuple[int, int, int, int], optimizer: str, *, quick: bool) -> list[str]:
    configs, seeds, hidden_dim, bits = shape
    task = Task.parity(bits)
    trainings = trainings_of(shape, optimizer, 10 if quick else EPOCHS)
    alone, together = one_by_one(trainings, task), reference.train_stack(trainings, task)
    for one, other in zip(alone, together, strict=True):
        if (
            one.final_loss.tobytes() != other.final_loss.tobytes()
            or (one.status != other.status).any()
        ):
            raise SystemExit(f"{optimizer}, {shape}: a stack does not come to the same")
    if [list(range(configs))] != reference.stacks(trainings, task):
        raise SystemExit(f"{optimizer}, {shape}: would not be a stack")
    runs: list[Callable[[], object]] = [
        lambda: one_by_one(trainings, task),
        lambda: reference.train_stack(trainings, task),
    ]
    times = [seconds_of(run, 1 if quick else 3) for run in runs]
    compiled = ""
    if engine_of(trainings[0].config, task) == "fused":
        run = [(lambda t=t: fused.train(t.config, task, t.seeds)) for t in trainings]
        seconds = seconds_of(lambda: [one() for one in run])
        compiled = f"{times[1] / seconds:.0f}x"
    return [
        f"{task.dim}-{hidden_dim}-1, {configs} x {seeds}, {optimizer}",
        f"{times[0] * 1e3:,.0f}",
        f"{times[1] * 1e3:,.0f}",
        f"{times[0] / times[1]:.1f}x",
        compiled,
    ]


def on_cuda() -> str:
    if not torch.cuda.is_available():
        return "On a GPU: not measured, torch sees no CUDA device here."
    rows, task = [], Task.xor()
    for configs, seeds in ((1, 128), (64, 128), (1024, 1024)):
        trainings = trainings_of((configs, seeds, 5, 2), "Adam", EPOCHS)
        seconds = machine.best_seconds(
            lambda t=trainings: reference.train_stack(t, task, device="cuda"), least=3, budget=0.0
        )
        each = seconds / (configs * seeds * EPOCHS) * 1e9
        rows.append((f"2-5-1, {configs} x {seeds}, Adam", f"{seconds * 1e3:,.0f}", f"{each:,.2f}"))
    name = torch.cuda.get_device_name()
    return machine.table((name, "ms", "ns for an epoch of a network"), rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a few rows, rough")
    parser.add_argument("--readme", action="store_true", help="put them into benchmarks/README.md")
    args = parser.parse_args()
    shapes, optimizers = (SHAPES[1:3], OPTIMIZERS[:1]) if args.quick else (SHAPES, OPTIMIZERS)
    rows = [row(shape, name, quick=args.quick) for shape in shapes for name in optimizers]
    first = f"configs x seeds, {10 if args.quick else EPOCHS} epochs"
    header = (first, "one by one, ms", "one stack, ms", "ratio", "stack beside fused")
    text = f"{machine.table(header, rows)}\n\n{on_cuda()}"
    print(PLACE, text, sep="\n\n")
    if args.readme:
        machine.write_figures("stacked", f"{PLACE}\n\n{text}")


if __name__ == "__main__":
    main()
