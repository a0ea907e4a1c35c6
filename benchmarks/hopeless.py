"""What `stop_hopeless` saves and costs: searches of trainings whose ends are all known.

Each task is a table: all its configurations are trained under all seeds to the end, once. Searches
(a grid, a race of up to 128 seeds) take their results from it, with and without `stop_hopeless`, in
another order of seeds each time. So the true rate of each answer is known, and what would have
become of each seed that was stopped.

    python benchmarks/hopeless.py            six tasks, 10 searches of each: some ten minutes
    python benchmarks/hopeless.py --audit    500 simulated searches: does the audit's bound cover?
    python benchmarks/hopeless.py --quick    seconds
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

import xortune as xt
from xortune.core.band import LOOKS, reports_of, upward
from xortune.core.outcome import Curves, Details, Outcome, Status, Watched
from xortune.core.point import Point
from xortune.core.success import parse_success
from xortune.core.task import Task
from xortune.core.trainer import Block, Trainer
from xortune.deciding.decisions import SearchDecisions
from xortune.deciding.propose import proposer_for
from xortune.racing.hopeless import Curve, HopelessAudit, HopelessSeeds
from xortune.spaces.model import StopHopeless
from xortune.spaces.space import parse_space
from xortune.trainers.function import custom_trainer
from xortune.trainers.limits import round_ends
from xortune.trainers.network import NetworkTrainer
from xortune.trainers.source import given_source
from xortune.training.batches import Batches
from xortune.training.jobs import Done
from xortune.training.loop import NoJournal, Record
from xortune.training.timing import MeasuredSeconds

MAX_SEEDS = 128
"""Of a configuration in a race."""

ROUNDS = 40
"""Policies that CartPole tries."""


@dataclass(frozen=True)
class Table:
    """All trainings of a task; C configurations, S seeds, T reports.

    Attributes:
        curves: float32, shape (C, S, T): the number on the way; the last is the final one.
        solved: bool, shape (C, S).
        epochs: int64, shape (T,): the epoch of each report.
        higher: whether more of the number is better.
    """

    curves: NDArray[np.float32]
    solved: NDArray[np.bool_]
    epochs: NDArray[np.int64]
    higher: bool = True


# -------------------------------------------------------------------------------------------------
# The tasks.


@cache
def _digits() -> tuple[torch.Tensor, ...]:
    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    train, test = order[:320], order[320:820]
    return x[train], y[train], x[test], y[test]


class Digits(xt.TorchTraining):
    """A narrow network on 320 digits: with large steps units die, and classes are lost."""

    epochs, report_every = 20, 1

    def model(self) -> nn.Module:
        width = self.config["width"]
        layers = [nn.Linear(64, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(width, 10))

    def optimizer(self, parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=self.config["lr"], momentum=0.9)

    def batches(self) -> Any:
        x, y, *_ = _digits()
        for rows in torch.randperm(len(x)).split(32):
            yield x[rows], y[rows]

    def loss(self, model: Any, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(model(x), y)

    def score(self, model: Any) -> dict[str, torch.Tensor]:
        *_, x, y = _digits()
        return {"accuracy": (model(x).argmax(1) == y).float().mean()}


class Images(Digits):
    """A small convolutional network on the same digits."""

    epochs = 16

    def model(self) -> nn.Module:
        width = self.config["width"]
        layers = [nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, width, 3, padding=1), nn.ReLU()]
        layers += [nn.MaxPool2d(2), nn.Conv2d(width, width, 3, padding=1), nn.ReLU()]
        return nn.Sequential(*layers, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4 * width, 10))


def _torch(kind: type[Digits], configs: list[dict[str, Any]], seeds: int, limit: float) -> Table:
    rule = parse_success(f"accuracy >= {limit}")
    trainer = replace(custom_trainer(given_source(kind), rule), on="accuracy")
    curves = []
    for config in configs:
        [outcome] = trainer.train([Block(Point(config), 0, seeds)])
        assert isinstance(outcome, Outcome)
        reports = reports_of(outcome.details, "accuracy")
        told = np.stack([reports[seed][1] for seed in range(seeds)])
        end = outcome.details.values["accuracy"].astype(np.float32)
        curves.append(np.concatenate([told, end[:, np.newaxis]], axis=1))
    whole = np.array(curves)
    return Table(whole, whole[:, :, -1] >= np.float32(limit), np.arange(1, kind.epochs + 1))


def digits(seeds: int) -> Table:
    """`Digits`, solved from an accuracy of 0.8 on."""
    grid = product((5, 6, 8, 10), (0.02, 0.05, 0.1, 0.15, 0.2, 0.3))
    return _torch(Digits, [{"width": width, "lr": lr} for width, lr in grid], seeds, 0.8)


def images(seeds: int) -> Table:
    """`Images`, solved from an accuracy of 0.85 on."""
    grid = product((2, 3, 4), (0.02, 0.05, 0.1, 0.2))
    return _torch(Images, [{"width": width, "lr": lr} for width, lr in grid], seeds, 0.85)


def cartpole(seeds: int) -> Table:
    """Hill climbing of a linear policy for CartPole-v1's equations; the best return so far."""
    grid = list(product((0.05, 0.1, 0.2, 0.4), (0.1, 0.5, 1.0), (1, 2)))
    found = [_climbed(*config, seeds=seeds, draw=1000 + row) for row, config in enumerate(grid)]
    curves = np.stack([curve for curve, _ in found])
    return Table(curves, np.stack([ok for _, ok in found]), np.arange(1, curves.shape[2] + 1))


def _climbed(
    noise: float, start: float, episodes: int, *, seeds: int, draw: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    rng = np.random.default_rng(draw)
    best = rng.uniform(-start, start, (seeds, 4))
    most = _returns(rng, best, episodes)
    curve = []
    for _ in range(ROUNDS):
        tried = best + noise * rng.standard_normal((seeds, 4))
        found = _returns(rng, tried, episodes)
        better = found >= most
        best, most = np.where(better[:, None], tried, best), np.where(better, found, most)
        curve.append(most)
    return np.stack(curve, axis=1).astype(np.float32), _returns(rng, best, 20) >= 195


def _returns(rng: np.random.Generator, policies: NDArray[np.float64], episodes: int) -> Any:
    """The mean return of each policy: steps before the pole falls, at most 200."""
    total = np.zeros(len(policies))
    for _ in range(episodes):
        x, v, angle, turn = rng.uniform(-0.05, 0.05, (4, len(policies)))
        alive = np.ones(len(policies), np.bool_)
        for _ in range(200):
            push = np.where(policies.T[0] * x + policies.T[1] * v + policies.T[2] * angle
                            + policies.T[3] * turn > 0, 10.0, -10.0)  # fmt: skip
            sin, cos = np.sin(angle), np.cos(angle)
            force = (push + 0.05 * turn**2 * sin) / 1.1
            bend = (9.8 * sin - cos * force) / (0.5 * (4 / 3 - 0.1 * cos**2 / 1.1))
            pull = force - 0.05 * bend * cos / 1.1
            x, v, angle, turn = (
                x + 0.02 * v,
                v + 0.02 * pull,
                angle + 0.02 * turn,
                turn + 0.02 * bend,
            )
            total += alive
            alive &= (np.abs(x) < 2.4) & (np.abs(angle) < 0.2095)
            if not alive.any():
                break
    return total / episodes


def _network(task: Task, configs: list[xt.Config], seeds: int) -> Table:
    trainer = NetworkTrainer(task, on="loss")
    curves, solved = [], []
    for config in configs:
        [outcome] = trainer.train([Block(config.point, 0, seeds)])
        assert isinstance(outcome, Outcome)
        [kept] = (one.points() for one in outcome.details.curves)
        curves.append(kept.values[:, 0].reshape(-1, seeds).T)
        solved.append(outcome.solved)
    epochs = np.array([*round_ends(configs[0].epochs), configs[0].epochs])
    return Table(np.stack(curves), np.stack(solved), epochs, higher=False)


def xor(seeds: int) -> Table:
    """The built-in network on XOR, 5,000 epochs."""
    grid = product(("Tanh", "ReLU", "ELU"), (2, 3), (0.1, 0.3, 1.0), (0.0, 0.9))
    configs = [
        xt.Config(
            activation=act, loss="MSELoss", optimizer="SGD", lr=lr, momentum=momentum,
            hidden_dim=hidden, epochs=5000,
        )
        for act, hidden, lr, momentum in grid
    ]  # fmt: skip
    return _network(Task.xor(), configs, seeds)


def parity(seeds: int) -> Table:
    """The built-in network on the parity of three bits, 5,000 epochs."""
    grid = product(("Tanh", "ELU", "Sigmoid"), (3, 4), ("SGD", "Adam"), (0.01, 0.03, 0.1))
    configs = [
        xt.Config(
            activation=act, loss="BCELoss", optimizer=optimizer, lr=lr, hidden_dim=hidden,
            epochs=5000,
        )
        for act, hidden, optimizer, lr in grid
    ]  # fmt: skip
    return _network(Task.named("parity-3"), configs, seeds)


def late(seeds: int) -> Table:
    """Curves that are simulated: a third of the configurations succeeds late, after a wait."""
    rng, reports = np.random.default_rng(9), np.arange(1, 41)
    curves, solved = [], []
    for config in range(24):
        wait = 25 if config % 3 == 2 else 0
        ok = rng.random(seeds) < rng.uniform(0.3, 0.9)
        pace = rng.uniform(2, 6, (seeds, 1))
        rise = 1 - np.exp(-np.maximum(reports - wait, 0) / pace)
        curves.append(np.where(ok[:, None], rise, 0.1) + rng.normal(0, 0.03, (seeds, 40)))
        solved.append(ok)
    return Table(np.array(curves, np.float32), np.array(solved), reports)


TASKS: dict[str, Callable[[int], Table]] = {
    "digits, MLP": digits,
    "digits, CNN": images,
    "CartPole": cartpole,
    "XOR, 5,000 epochs": xor,
    "parity-3, 5,000 epochs": parity,
    "late bloomers": late,
}

# -------------------------------------------------------------------------------------------------
# Searches of a table.

SPACE = """
name: table
success: "number {sign} 0"
parameters: {{config: {{choice: {configs}}}}}
search: {{sampler: grid, seed: {seed}}}
seeds: {{race: {{max: {most}}}{stop}}}
"""


class Known(Trainer):
    """A trainer whose seeds are the rows of a table, in an order of their own."""

    def __init__(self, table: Table, draw: int) -> None:
        self.table = table
        rng = np.random.default_rng(draw)
        count, seeds, _ = table.curves.shape
        self.rows = np.stack([rng.permutation(seeds) for _ in range(count)])

    def check(self, point: Point) -> Point:
        """The point."""
        return point

    def cost(self, block: Block) -> float:
        """Of a moment."""
        return 1e-9 * block.count

    def train(self, block: Block) -> Outcome:
        """The outcome of a block, trained to its end."""
        config = block.point["config"]
        assert isinstance(config, int)
        rows = self.rows[config, list(block.seeds)]
        curves, solved = self.table.curves[config, rows], self.table.solved[config, rows]
        reports = curves.shape[1]
        kept = Curves(
            ("number",),
            np.repeat(np.array(block.seeds), reports),
            np.tile(np.arange(1, reports + 1), block.count),
            curves.reshape(-1, 1),
        )
        arrays = {
            "seeds": np.array(block.seeds, np.int64),
            "status": np.where(solved, Status.SOLVED, Status.WRONG_PATTERN).astype(np.uint8),
            "solved_epoch": np.zeros(block.count, np.int32),
            "final_loss": np.full(block.count, np.nan, np.float32),
            "predictions": np.zeros((block.count, 0), np.bool_),
        }
        length = int(self.table.epochs[-1])
        return Outcome.unchecked(
            arrays, 0, details=Details(curves=(kept,), watched=Watched({}, length))
        )


AUDIT = 0.1
"""Share of the hopeless seeds that is trained on, the default."""


def known_ends(table: Table) -> NDArray[np.int64]:
    """The epochs of each seed, shape (C, S), where all is known beforehand: the oracle.

    A failing seed ends at the first look at which it is below all seeds of its configuration that
    succeed.
    """
    sign = 1 if table.higher else -1
    curves = np.where(np.isnan(table.curves), -np.inf, sign * table.curves)
    lowest = np.where(table.solved[:, :, np.newaxis], curves, np.inf).min(axis=1, keepdims=True)
    reports = table.curves.shape[2]
    looks = np.isin(np.arange(1, reports + 1), LOOKS)
    looks[-1] = False  # nothing is saved there
    below = (curves < lowest) & looks & ~table.solved[:, :, np.newaxis]
    ends = np.where(below.any(axis=2), below.argmax(axis=2), reports - 1)
    return table.epochs[ends].astype(np.int64)


@dataclass(frozen=True)
class Searched:
    """Epochs of a search, the true rate of its answer, and what became of hopeless seeds.

    `oracle` is its epochs with `known_ends`, `least` with an end of each failing seed at its first
    report, a tenth of them audited in both; `failed` is the share of failing seeds.
    """

    epochs: int
    oracle: float
    least: float
    failed: float
    rate: float
    stopped: int
    false: int
    audited: int
    succeeded: int


def searched(table: Table, draw: int, *, stops: bool) -> Searched:
    """One search of a table."""
    more = ", stop_hopeless: {on: number, false_stops: 0.02}" if stops else ""
    given = {"configs": list(range(len(table.curves))), "seed": draw, "most": MAX_SEEDS}
    space = parse_space(SPACE.format(sign=">" if table.higher else "<", stop=more, **given))
    trainer: Any = Known(table, draw)
    decisions = SearchDecisions(
        space, trainer, proposer_for(space, (), trainer.check), max_in_flight=8
    )
    lines = _Kept()
    expected = MeasuredSeconds(trainer)
    expected.note(Block(Point({}), 0, 1), 1e-9)
    batches = Batches(decisions, trainer, Record(lines), most=1, expected=expected)
    while jobs := batches.next():
        batches.receive(Done(jobs, [trainer.train(job.block) for job in jobs], 0.1, "here:1"))
    k: dict[int, list[int]] = {}
    ends, last = known_ends(table), int(table.epochs[-1])
    epochs = stopped = false = audited = succeeded = count = failed = 0
    oracle = 0.0
    for line in lines.kept:
        if line.outcome is None:
            continue
        config, left = line.block.point["config"], line.outcome.details.watched.left
        row = k.setdefault(config, [0, 0])
        row[0], row[1] = row[0] + line.outcome.successes, row[1] + line.outcome.n
        rows = trainer.rows[config, list(line.block.seeds)]
        truth = table.solved[config, rows]
        count, failed = count + len(rows), failed + int((~truth).sum())
        oracle += AUDIT * last * len(rows) + (1 - AUDIT) * float(ends[config, rows].sum())
        for at, (seed, status) in enumerate(
            zip(line.outcome.seeds, line.outcome.status, strict=True)
        ):
            if status == Status.STOPPED:
                stopped, false = stopped + 1, false + truth[at]
                epochs += table.epochs[left[int(seed)].report - 1]
                continue
            epochs += last
            if int(seed) in left:
                audited, succeeded = audited + 1, succeeded + truth[at]
    leader = max(k, key=lambda one: float(xt_low(*k[one])))
    least = last * count - (1 - AUDIT) * failed * (last - int(table.epochs[0]))
    rate = float(table.solved[leader].mean())
    known = oracle, least, failed / count
    return Searched(int(epochs), *known, rate, stopped, false, audited, succeeded)


def xt_low(k: int, n: int) -> float:
    """The order of a run's table: the lower end of Wilson's interval."""
    from xortune.core.outcome import wilson

    return float(wilson(k, n)[0])


class _Kept(NoJournal):
    """Keeps the lines."""

    def __init__(self) -> None:
        self.kept: list[Any] = []

    def append(self, line: Any) -> None:
        """Keep a line."""
        self.kept.append(line)


def compare(name: str, table: Table, searches: int) -> None:
    """Print a row of the table of benchmarks/README.md."""
    pairs = [
        (searched(table, draw, stops=False), searched(table, draw, stops=True))
        for draw in range(searches)
    ]
    ratio = np.median([before.epochs / after.epochs for before, after in pairs])
    alone = [before for before, _ in pairs]
    least, oracle = (
        np.median([one.epochs / getattr(one, what) for one in alone])
        for what in ("least", "oracle")
    )
    failed = np.mean([one.failed for one in alone])
    rates = [np.mean([one.rate for one in side]) for side in zip(*pairs, strict=True)]
    stopped, false, audited, succeeded = (
        sum(getattr(after, what) for _, after in pairs)
        for what in ("stopped", "false", "audited", "succeeded")
    )
    share = false / stopped if stopped else 0.0
    bound = HopelessAudit(audited, succeeded, 0, 0, 0, 1, 0.02).bound
    all_rates = table.solved.mean(axis=1)
    print(
        f"| {name} | {all_rates.min():.2f} to {all_rates.max():.2f}, mean {all_rates.mean():.2f} "
        f"| {failed:.0%} | {least:.2f} | {oracle:.2f} | {ratio:.2f} "
        f"| {rates[0]:.3f} | {rates[1]:.3f} | {false} of {stopped:,} ({share:.1%}) "
        f"| {succeeded} of {audited:,}, at most {bound:.1%} |",
        flush=True,
    )


# -------------------------------------------------------------------------------------------------
# Does the audit's bound cover?


def covers(rng: np.random.Generator, late_share: float, seeds: int = 600) -> tuple[bool, bool, int]:
    """One simulated search of 12 configurations with 24 reports.

    Returns:
        Whether the bound is at least the share of all hopeless seeds that succeed; and of those
        that were stopped; how many were stopped.
    """
    rule = HopelessSeeds(StopHopeless("accuracy", 0.02), None, int(rng.integers(2**30)))
    reports = np.array([look for look in LOOKS if look <= 24])
    rate = rng.uniform(0.3, 0.9)
    all_, cut, audited = [], [], []
    for seed in range(seeds):
        is_late = seed > seeds / 4 and rng.random() < late_share  # the first seeds mislead
        key = f"{'late' if is_late else seed % 12}"
        is_good = rng.random() < rate
        rise = 1 - np.exp(-np.maximum(reports - 18 * is_late, 0) / rng.uniform(2, 5))
        numbers = (rise if is_good else 0) + rng.normal(0, 0.05, len(reports))
        band, weight = rule.band(key), 1.0
        if band.first_left(reports.tolist(), numbers) is not None:
            all_.append(is_good)
            if not band.is_audited(key, seed):
                cut.append(is_good)
                continue
            audited.append(is_good)
            weight = 1 / band.audit
        values = np.full(len(LOOKS), np.nan, np.float32)
        values[: len(reports)] = upward(numbers, higher=True)
        rule.see([Curve(key, values, 24, is_good, weight)])
    bound = HopelessAudit(len(audited), sum(audited), 0, 0, 0, 1, 0.02).bound
    return (
        not all_ or np.mean(all_) <= bound,
        not cut or np.mean(cut) <= bound,
        len(cut),
    )


def audit(searches: int) -> None:
    """Print how often the bound covers, with seeds that succeed early, and late."""
    print("| first seeds mislead | searches | bound covers all hopeless seeds | those stopped |")
    for late_share in (0.0, 0.3, 0.6):
        rng = np.random.default_rng(int(100 * late_share))
        found = [covers(rng, late_share) for _ in range(searches)]
        some = [one for one in found if one[2]]
        shares = [np.mean([one[at] for one in some]) for at in (0, 1)]
        print(
            f"| {late_share:.0%} late | {len(some)} | {shares[0]:.3f} | {shares[1]:.3f} |",
            flush=True,
        )


def main() -> None:
    """See the module."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--audit", action="store_true")
    options.add_argument("--quick", action="store_true")
    options.add_argument("--task", choices=list(TASKS), action="append")
    options.add_argument("--cache", type=Path, help="a folder that keeps the tables")
    given = options.parse_args()
    if given.audit:
        audit(20 if given.quick else 500)
        return
    torch.set_num_threads(1)
    seeds, searches = (MAX_SEEDS, 2) if given.quick else (256, 10)
    for name in given.task or TASKS:
        kept = None if given.cache is None else given.cache / f"{name}-{seeds}.npz"
        if kept is not None and kept.exists():
            with np.load(kept) as arrays:
                table = Table(*(arrays[one] for one in ("curves", "solved", "epochs", "higher")))
                table = replace(table, higher=bool(table.higher))
        else:
            table = TASKS[name](seeds)
            if kept is not None:
                given.cache.mkdir(parents=True, exist_ok=True)
                np.savez(kept, **vars(table))
        compare(name, table, searches)


if __name__ == "__main__":
    sys.exit(main())
