"""Less training for the same answer: a required rate, the price of seeds, knowledge of other runs.

    python benchmarks/cheaper.py required       # the smallest network that reaches a rate: minutes
    python benchmarks/cheaper.py price          # two groups, one ten times as dear: 20 minutes
    python benchmarks/cheaper.py knowledge      # with another run, and one that misleads: minutes
    python benchmarks/cheaper.py fresh          # the same on other tasks: minutes

Each part prints a table of README.md. Seeds and verdicts are counted, so that a busy machine
changes nothing.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

import xortune as xt
from xortune.core.outcome import wilson

TRUTH = range(2**31, 2**31 + 10_000)
"""Seeds that no search has seen: the true rate of a configuration is that on all of them."""


def in_folder(space: dict[str, Any], **given: Any) -> xt.Run:
    """The finished search of a space, in a folder that is gone afterwards."""
    with TemporaryDirectory() as folder:
        run = xt.search(space, output=Path(folder) / "run", workers=0, verbose=0, **given)
        assert run.table is not None  # read it while the folder is there
        return run


# -------------------------------------------------------------------------------------------------
# The smallest network that reaches a rate.

SIZES = list(range(2, 11))
RATES = (0.9, 0.95, 0.99)


def networks(activation: str, rate: float) -> dict[str, Any]:
    """A grid of 27 networks, and a rate that is required."""
    return {
        "name": "smallest",
        "task": "xor",
        "epochs": 500,
        "parameters": {
            "activation": activation,
            "loss": "MSELoss",
            "optimizer": "Adam",
            "lr": {"choice": [0.03, 0.1, 0.3]},
            "hidden_dim": {"choice": SIZES},
        },
        "search": {"sampler": "grid"},
        "seeds": {"race": {"max": 16384}},
        "objectives": [{"minimize": "hidden_dim"}],
        "require": {"rate": rate},
    }


def required() -> None:
    """Print the answer, the truth by brute force, and the seeds beside those of a grid."""
    print("| activation | rate | truth | answer | seeds | a grid's | share |")
    print("| :-- | --: | --: | --: | --: | --: | --: |")
    for activation in ("Tanh", "ELU", "Sigmoid"):
        space = networks(activation, 0.9)
        truth = {}
        for lr, size in product(space["parameters"]["lr"]["choice"], SIZES):
            fixed = {k: space["parameters"][k] for k in ("activation", "loss", "optimizer")}
            config = xt.Config(**fixed, lr=lr, hidden_dim=size, epochs=space["epochs"])
            truth[lr, size] = xt.evaluate(config, seeds=TRUTH).rate
        for rate in RATES:
            smallest = min((size for (_, size), true in truth.items() if true >= rate), default=0)
            run = in_folder(networks(activation, rate))
            n = run.results.counts.n
            equal = int(n.max()) * len(n)  # all verdicts with as many seeds for each
            answer, spent = int(run.best_params["hidden_dim"]), int(n.sum())
            row = (activation, rate, smallest, answer, f"{spent:,}", f"{equal:,}")
            print("|", *map(" {} |".format, row), f"{spent / equal:.2f} |", flush=True)


# -------------------------------------------------------------------------------------------------
# Two groups of arms with the same rates, one ten times as dear.

GROUPS = {
    **{f"12, 0.3 to {top}": np.linspace(0.3, top, 12) for top in (0.9, 0.97, 0.995, 1.0)},
    "8, some near 1": np.array([0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999, 1.0]),
    "18, 0.1 to 0.985": np.linspace(0.1, 0.985, 18),
    "6, 0.2 to 0.999": np.array([0.2, 0.4, 0.6, 0.8, 0.9, 0.999]),
    "10, two above 0.5": np.array([0.05, 0.1, 0.1, 0.2, 0.2, 0.3, 0.3, 0.5, 0.93, 0.98]),
}
"""The rates of each group. The rule was chosen on the first four sets."""

SEARCHES, DEAR, NEAR = 40, 10.0, 0.01


def search_of_groups(group: NDArray[np.float64], seed: int, *, priced: bool) -> tuple[float, float]:
    """What a search pays until it has the answer for good, and until its end.

    It is a grid of so many arms of each group, written in any order.
    """
    order = np.random.default_rng(100 + seed)
    written = {
        "arm": order.permutation(len(group)).tolist(),
        "group": order.permutation(["fast", "slow"]).tolist(),
    }
    names = order.permutation([*written]).tolist()

    def train(config: Mapping[str, Any], one: int) -> dict[str, float]:
        luck = random.Random(f"{seed} {one} {config['group']} {config['arm']}").random()
        return {"success": luck < group[config["arm"]], "flops": cost(config)}

    run = in_folder(
        {
            "name": "groups",
            "parameters": {name: {"choice": written[name]} for name in names},
            "search": {"sampler": "grid", "seed": seed},
            "seeds": {"race": {"max": 512}, **({"price": "flops"} if priced else {})},
        },
        train=train,
    )
    counts: dict[str, tuple[int, int]] = {}
    rates: dict[str, float] = {}
    paid = answered = 0.0
    for line in run.evaluations:
        if line.outcome is None:
            continue
        point, size = line.block.point, line.block.count
        paid += size * cost(point)
        k, n = counts.get(point.key, (0, 0))
        counts[point.key] = k + line.outcome.successes, n + size
        rates[point.key] = float(group[int(str(point["arm"]))])
        low = wilson(*np.array(list(counts.values())).T)[0]
        if rates[list(counts)[int(low.argmax())]] < group.max() - NEAR:
            answered = paid
    return answered, paid


def cost(config: Mapping[str, Any]) -> float:
    """What a seed costs."""
    return DEAR if config["group"] == "slow" else 1.0


def price() -> None:
    """Print what searches cost with and without the price of seeds."""
    print("| rates of a group | first seeds | answer: same price | priced | end: same | priced |")
    print("| :-- | --: | --: | --: | --: | --: |")
    sums = np.zeros(5)
    for name, group in GROUPS.items():
        same, priced = (
            np.mean(
                [search_of_groups(group, seed, priced=priced) for seed in range(SEARCHES)], axis=0
            )
            for priced in (False, True)
        )
        row = np.array([len(group) * (1 + DEAR), same[0], priced[0], same[1], priced[1]])
        sums += row
        print("|", name, *(f"| {paid:,.0f}" for paid in row), "|", flush=True)
    print("| all |", " | ".join(f"{paid:,.0f}" for paid in sums), "|")


# -------------------------------------------------------------------------------------------------
# Knowledge of another run.

GOOD = 0.99
REPEATED = 12
RADIUS, SLOPE = 0.2, 4.0
"""Of the good region, 3 % of a cube, and how fast the rate falls outside of it."""

CENTRES = {"shifted": (0.72, 0.34, 0.47), "old": (0.7, 0.3, 0.5), "other": (0.25, 0.8, 0.9)}


def cube(seed: int) -> dict[str, Any]:
    """A space of three numbers."""
    return {
        "name": "cube",
        "parameters": {name: {"low": 0.0, "high": 1.0} for name in "xyz"},
        "search": {"trials": 100, "seed": seed},
        "seeds": {"race": {"max": 128}},
    }


def rate_at(point: Mapping[str, Any], centre: str) -> float:
    """The true rate of a point: 0.998 around the centre."""
    away = math.dist([point[name] for name in "xyz"], CENTRES[centre])
    return 0.998 * math.exp(-SLOPE * max(0.0, away - RADIUS))


def training(centre: str, repeat: int) -> Callable[[Mapping[str, Any], int], bool]:
    """A training that succeeds at random at the true rate."""

    def train(config: Mapping[str, Any], seed: int) -> bool:
        luck = random.Random(f"{repeat} {seed} {config['x']} {config['y']}").random()
        return luck < rate_at(config, centre)

    return train


def seeds_to_good(run: xt.Run, rate: Callable[[Mapping[str, Any]], float]) -> int:
    """The seeds until the first of the order truly reaches `GOOD`, for good."""
    counts: dict[str, tuple[int, int]] = {}
    true: dict[str, float] = {}
    spent = bad = 0
    for line in run.evaluations:
        if line.outcome is None:
            continue
        spent += line.block.count
        key = line.block.point.key
        true[key] = rate(line.block.point)
        k, n = counts.get(key, (0, 0))
        counts[key] = k + line.outcome.successes, n + line.block.count
        low = wilson(*np.array(list(counts.values())).T)[0]
        if true[list(counts)[int(low.argmax())]] < GOOD:
            bad = spent
    return bad + 1


def knowledge() -> None:
    """Print the seeds of searches alone, with an old run, and with one that misleads."""
    rows = []
    for repeat in range(REPEATED):
        with TemporaryDirectory() as folder:
            for name in ("old", "other"):
                path, train = Path(folder) / name, training(name, 1000 + repeat)
                xt.search(cube(1000 + repeat), output=path, train=train, workers=0, verbose=0)
            train = training("shifted", repeat)
            found = [
                in_folder(
                    cube(repeat), train=train, from_=None if name is None else Path(folder) / name
                )
                for name in (None, "old", "other")
            ]
        rows.append([seeds_to_good(run, partial(rate_at, centre="shifted")) for run in found])
        print(repeat, *rows[-1], file=sys.stderr, flush=True)
    print("| seeds to a true 0.99 | alone | from a shifted task | from another task |")
    print("| :-- | --: | --: | --: |")
    for name, of in (("mean", np.mean), ("median", np.median)):
        print(f"| {name} |", " | ".join(f"{n:,.0f}" for n in of(rows, axis=0)), "|")


# -------------------------------------------------------------------------------------------------
# The same on tasks on which the rule was not chosen: other dimensions, shifts and misleading forms.

Rate: TypeAlias = Callable[[Mapping[str, Any]], float]
"""The true rate of a configuration."""

FRESH = 24
"""Repetitions of each task."""


def near(away: float, radius: float, slope: float = SLOPE, top: float = 0.998) -> float:
    """A rate that is highest within a radius."""
    return top * math.exp(-slope * max(0.0, away - radius))


def unit(count: int) -> dict[str, Any]:
    """That many parameters from 0 to 1."""
    return {f"x{i}": {"low": 0.0, "high": 1.0} for i in range(count)}


def ridge(offset: float, height: float) -> Rate:
    """Good where x1 follows x0, at a height of x2; x3 does not matter."""
    return lambda p: near(math.hypot(p["x0"] - p["x1"] - offset, p["x2"] - height), 0.17)


def peaks(first: Sequence[float], low: float, second: Sequence[float], high: float) -> Rate:
    """Two balls, each with its highest rate."""

    def rate(p: Mapping[str, Any]) -> float:
        at = [p[f"x{i}"] for i in range(3)]
        return max(
            near(math.dist(at, ball), 0.22, top=top) for ball, top in ((first, low), (second, high))
        )

    return rate


def optimizers(names: Sequence[str], most: float) -> dict[str, Any]:
    """A choice, a parameter that depends on it, and two others."""
    return {
        "opt": {"choice": list(names)},
        "lr": {"low": 1e-4, "high": most, "log": True},
        "momentum": {"low": 0.5, "high": 0.99, "when": {"opt": "SGD"}},
        "wd": {"low": 0.0, "high": 1.0},
    }


def best_of(name: str, lr: float) -> Rate:
    """Good with one optimizer near a learning rate; others solve at most 0.85."""

    def rate(p: Mapping[str, Any]) -> float:
        top = 0.998 if p["opt"] == name else 0.85
        top *= math.exp(-1.5 * abs(p.get("momentum", 0.9) - 0.9))
        return near(abs(math.log10(p["lr"]) - lr), 0.2, 2.5, top)

    return rate


def whole(high: int, centre: int, radius: int) -> tuple[dict[str, Any], Rate]:
    """One whole number, and where it is good."""
    return {"x": {"low": 0, "high": high}}, lambda p: near(abs(p["x"] - centre), radius, 0.3)


TASKS: dict[str, tuple[tuple[dict[str, Any], Rate], ...]] = {
    "ridge": (
        (unit(4), ridge(0.3, 0.7)),
        (unit(4), ridge(0.25, 0.66)),
        (unit(4), ridge(-0.6, 0.1)),
    ),
    "optimizer": (
        (optimizers(["SGD", "Adam", "RMSprop"], 1.0), best_of("RMSprop", -2.0)),
        (optimizers(["SGD", "RMSprop"], 0.1), best_of("RMSprop", -2.2)),
        (optimizers(["SGD", "Adam"], 1.0), best_of("Adam", -2.0)),
    ),
    "whole number": (whole(60, 41, 2), whole(40, 39, 2), whole(60, 12, 3)),
    "two peaks": (
        (unit(3), peaks((0.2, 0.3, 0.3), 0.95, (0.75, 0.7, 0.6), 0.998)),
        (unit(3), peaks((0.24, 0.3, 0.3), 0.95, (0.72, 0.7, 0.63), 0.999)),
        (unit(3), peaks((0.2, 0.3, 0.3), 0.998, (0.75, 0.7, 0.6), 0.3)),
    ),
}
"""For each task space and rate: of the search, of a shifted old one, of one that misleads."""


def fresh_tasks() -> None:
    """Print the mean and median seeds of searches alone, with a shifted run, a misleading one."""
    print("| task | alone | from a shifted task | from one that misleads |")
    print("| :-- | --: | --: | --: |")
    for task, ((parameters, rate), *olds) in TASKS.items():
        rows = []
        for repeat in range(FRESH):
            with TemporaryDirectory() as folder:
                paths: list[Path | None] = [None]
                for number, (old, old_rate) in enumerate(olds):
                    paths.append(Path(folder) / str(number))
                    seed = 1000 + repeat
                    train = luck_of(old_rate, seed)
                    xt.search(small(old, seed), output=paths[-1], train=train, workers=0, verbose=0)
                train = luck_of(rate, repeat)
                found = [
                    in_folder(small(parameters, repeat), train=train, from_=path) for path in paths
                ]
            rows.append([seeds_to_good(run, rate) for run in found])
            print(task, repeat, *rows[-1], file=sys.stderr, flush=True)
        both = zip(np.mean(rows, axis=0), np.median(rows, axis=0), strict=True)
        print(f"| {task} |", " | ".join(f"{n:,.0f}, {half:,.0f}" for n, half in both), "|")


def small(parameters: dict[str, Any], seed: int) -> dict[str, Any]:
    """A search of 60 configurations."""
    return {**cube(seed), "parameters": parameters, "search": {"trials": 60, "seed": seed}}


def luck_of(rate: Rate, repeat: int) -> Callable[[Mapping[str, Any], int], bool]:
    """A training that succeeds at random at the true rate."""

    def train(config: Mapping[str, Any], seed: int) -> bool:
        return random.Random(f"{repeat} {seed} {sorted(config.items())}").random() < rate(config)

    return train


PARTS = {"required": required, "price": price, "knowledge": knowledge, "fresh": fresh_tasks}


def main() -> None:
    """Run the parts that are named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[*PARTS])
    np.seterr(all="raise", under="ignore")
    # Reports take most of the time of a small search, and say nothing of its seeds.
    with patch("xortune.driver.search.write_report"):
        for part in parser.parse_args().parts:
            PARTS[part]()


if __name__ == "__main__":
    main()
