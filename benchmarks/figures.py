"""What engines.py measures, and how it shows it."""

from __future__ import annotations

from dataclasses import dataclass

import machine
import roofline

from xortune.core.config import Config
from xortune.core.task import Task

EPOCHS = 1000
COMBINATIONS = (
    ("ELU", "MSELoss", "SGD", 0.9),
    ("Tanh", "BCELoss", "Adam", 0.0),
    ("ReLU", "L1Loss", "Rprop", 0.0),
    ("Softplus", "MultiLabelSoftMarginLoss", "Adadelta", 0.0),
    ("LogSoftmax", "PoissonNLLLoss", "RMSprop", 0.0),
)
SIZES = (("xor", 5), ("xor", 2), ("parity-3", 20))


@dataclass(frozen=True)
class Figure:
    """One measurement: who, with how many seeds, what, and the nanoseconds or why there are none.

    `combination` and `size` number those above.
    """

    engine: str
    seeds: int
    combination: int
    size: int
    ns: float | None
    why: str = ""
    compile_seconds: float | None = None


def config_of(combination: int, size: int, epochs: int = EPOCHS) -> tuple[Config, Task]:
    activation, loss, optimizer, momentum = COMBINATIONS[combination]
    task, hidden = SIZES[size]
    config = Config(
        activation=activation,
        loss=loss,
        optimizer=optimizer,
        momentum=momentum,
        lr=0.1,
        hidden_dim=hidden,
        epochs=epochs,
    )
    return config, Task.named(task)


def tables(figures: list[Figure]) -> str:
    """One table for each size: engines by combinations, each with its ratio to fused."""
    base = {(f.seeds, f.combination, f.size): f.ns for f in figures if f.engine == "fused"}
    few = min(f.seeds for f in figures if f.engine == "fused")
    parts = []
    for size, (task, hidden) in enumerate(SIZES):
        rows: dict[tuple[str, int], list[str]] = {}
        for f in figures:
            if f.size != size:
                continue
            row = rows.setdefault((f.engine, f.seeds), [""] * len(COMBINATIONS))
            fused = base.get((f.seeds, f.combination, size)) or base[few, f.combination, size]
            row[f.combination] = "none" if f.ns is None else _cell(f.ns, f.ns / fused)
        columns = [
            f"{activation}, {loss.removesuffix('Loss')}, {optimizer}"
            for activation, loss, optimizer, _ in COMBINATIONS
        ]
        parts.append(
            machine.table(
                (f"{Task.named(task).dim}-{hidden}-1, {task}", "seeds", *columns),
                [(engine, f"{seeds:,}", *cells) for (engine, seeds), cells in rows.items()],
            )
        )
    return "\n\n".join(parts)


def _cell(ns: float, ratio: float) -> str:
    return f"{ns:,.{1 if ns < 1000 else 0}f} ({ratio:,.{1 if ratio < 100 else 0}f}x)"


def compile_lines(figures: list[Figure]) -> str:
    """What the engines take to compile for one combination, or why they did not."""
    lines = [f"{f.engine}, {f.seeds:,} seeds: {f.why}" for f in figures if f.why]
    taken: dict[str, list[float]] = {}
    for f in figures:
        if f.compile_seconds is not None:
            taken.setdefault(f.engine, []).append(f.compile_seconds)
    for engine, seconds in taken.items():
        most = f" to {max(seconds):.1f}" * (len(seconds) > 1)
        lines.append(f"{engine}: {min(seconds):.1f}{most} s to compile one combination.")
    return "\n".join(f"- {line}" for line in lines)


def roofline_lines(figures: list[Figure]) -> str:
    """What the fused engine reaches of the core's peak with ELU, MSELoss and SGD."""
    peak = roofline.peak()
    lines = [f"One core: {peak:.0f} GFLOP/s (float32, fused multiply-adds that do not wait)."]
    for f in figures:
        if f.engine == "fused" and f.combination == 0 and f.ns is not None:
            task, hidden = Task.named(SIZES[f.size][0]), SIZES[f.size][1]
            work = roofline.operations(task.inputs.shape[0], task.dim, hidden)
            lines.append(
                f"Fused, {task.dim}-{hidden}-1, {f.seeds:,} seeds: {work:,} operations in"
                f" {f.ns:.1f} ns, {work / f.ns:.0f} GFLOP/s, {100 * work / f.ns / peak:.0f} %."
            )
    return "\n".join(f"- {line}" for line in lines)
