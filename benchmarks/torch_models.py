"""A user's torch model: a seed in a stack beside a seed in the loop, on one core.

    python benchmarks/torch_models.py [--seeds 128] [--epochs 5] [--readme]
    OMP_NUM_THREADS=1 python benchmarks/torch_models.py --audits [--readme]
    python benchmarks/torch_models.py --race [--trials 60] [--epochs 20] [--readme]

Digits-like data (1,437 rows of 64 numbers, ten classes), batches of 32 in each seed's own order.
Three models: an MLP with two dropouts and AdamW; a CNN with BatchNorm and Nesterov SGD; attention
with LayerNorm and Adam. Seconds of CPU, of a whole training with its score, trial and measuring of
widths; loop and stack take turns. `same to` is the median over 16 seeds of the largest relative
difference of a number of the score, `other seeds` are those that differ by more than 1e-4.

`--audits` trains the first 64 and 2,000 seeds, in blocks of 128, with and without the seeds that
train alone as well, in turns. Shown is how many times as long the audited ones take, in seconds of
CPU of one process; a search shares them out over its idle workers.

`--race` searches learning rate, weight decay and width of the MLP by two workers, as a class and as
a function that trains one seed: wall seconds, how many configurations have the same counts, and how
many seeds that both searches trained ended otherwise.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from unittest import mock

import torch
from machine import description, show
from torch import nn
from torch.nn import functional

import xortune as xt
from xortune.core.audit import drawn
from xortune.trainers import audit, pilot, vectorized
from xortune.trainers.vectorized import arrays_of

DRAW = torch.Generator().manual_seed(0)
X, WEIGHTS = torch.randn(1797, 64, generator=DRAW), torch.randn(64, 10, generator=DRAW)
Y = (X @ WEIGHTS).argmax(1)
X, Y, X_TEST, Y_TEST = X[:1437], Y[:1437], X[1437:], Y[1437:]


class _Digits(xt.TorchTraining):
    def batches(self):
        for rows in torch.randperm(len(X)).split(32):
            yield X[rows], Y[rows]

    def loss(self, model, x, y):
        return functional.cross_entropy(model(x), y)

    def score(self, model):
        out = model(X_TEST)
        right = (out.argmax(1) == Y_TEST).float().mean()
        return {"accuracy": right, "loss": functional.cross_entropy(out, Y_TEST)}


class Mlp(_Digits):
    def model(self):
        return nn.Sequential(
            *(nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.1)),
            *(nn.Linear(32, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 10)),
        )

    def optimizer(self, parameters):
        return torch.optim.AdamW(parameters, lr=1e-3)


class Cnn(_Digits):
    def model(self):
        return nn.Sequential(
            nn.Unflatten(1, (1, 8, 8)),
            *(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)),
        )

    def optimizer(self, parameters):
        return torch.optim.SGD(parameters, lr=0.05, momentum=0.9, nesterov=True)


class _Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.norm = nn.Linear(8, 16), nn.LayerNorm(16)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.out = nn.Linear(16, 10)

    def forward(self, x):
        inner = self.inner(x.view(-1, 8, 8))
        normed = self.norm(inner)
        inner = inner + self.attention(normed, normed, normed, need_weights=False)[0]
        return self.out(inner.mean(1))


class Attention(_Digits):
    def model(self):
        return _Attention()

    def optimizer(self, parameters):
        return torch.optim.Adam(parameters, lr=1e-3)


class Searched(_Digits):
    """The MLP of the race: its learning rate, weight decay and width are searched."""

    epochs = 20

    def model(self):
        width = self.config["width"]
        return nn.Sequential(
            *(nn.Linear(64, width), nn.ReLU(), nn.Dropout(0.1)),
            *(nn.Linear(width, width), nn.ReLU(), nn.Dropout(0.2), nn.Linear(width, 10)),
        )

    def optimizer(self, parameters):
        lr, decay = self.config["lr"], self.config["decay"]
        return torch.optim.AdamW(parameters, lr=lr, weight_decay=decay)


def one_seed(config, seed):
    """The same as a function of one seed."""
    torch.set_num_threads(1)
    return Searched(config).run(seed)


def raced(sampler: str, trials: int, epochs: int) -> list[str]:
    """A row of the table: the same search both ways."""
    space = {
        "name": "race",
        "success": "accuracy >= 0.68",
        "parameters": {
            "lr": {"low": 1e-4, "high": 0.1, "log": True},
            "decay": {"low": 1e-4, "high": 0.1, "log": True},
            "width": {"choice": [16, 32, 64]},
        },
        "search": {"sampler": sampler, "trials": trials},
        "seeds": {"race": {"max": 32}},
    }
    Searched.epochs = epochs
    seconds, tables, verdicts = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for train in (Searched, one_seed):
            began = time.perf_counter()
            run = xt.search(space, output=Path(folder, train.__name__), train=train, workers=2)
            seconds.append(time.perf_counter() - began)
            tables.append(run.table.set_index("key")[["k", "n"]])
            verdicts.append(run.seeds.set_index(["key", "seed"])["solved"])
            ahead = run.manifest.get("seeds_ahead", "")
            print(f"{train.__name__}: {seconds[-1]:.1f} s, {ahead}", flush=True)
    both = tables[0].merge(tables[1], how="outer", left_index=True, right_index=True)
    same = f"{((both.k_x == both.k_y) & (both.n_x == both.n_y)).mean():.0%}"
    seeds, (stack, loop) = int(tables[1].n.sum()), seconds
    by_both = verdicts[0].to_frame("one").join(verdicts[1].to_frame("two"), how="inner")
    other = f"{(by_both.one != by_both.two).sum()} of {len(by_both)}"
    return [sampler, f"{seeds}", f"{loop:.1f}", f"{stack:.1f}", f"{loop / stack:.1f}x", same, other]


def measured(kind: type[_Digits], seeds: int, epochs: int) -> list[str]:
    """A row of the table: medians of three rounds, in each of which both train.

    Seeds of the stack are audited as when 10,000 are known to agree: one in 64.
    """
    training = kind({})
    training.epochs = epochs
    training.run(0)  # what torch does once
    alone, loops, stacks = [], [], []
    for first in (0, 6, 12):
        began = time.process_time()
        alone += (own := [training.run(seed) for seed in range(first, min(first + 6, 16))])
        loops.append((time.process_time() - began) / len(own))
        pilot._pilots.clear()
        began = time.process_time()
        found = arrays_of(kind.run_all([(training, range(seeds))], agreed=10_000).scores[0])
        stacks.append((time.process_time() - began) / seeds)
    loop, stack = statistics.median(loops), statistics.median(stacks)
    apart = [
        max(abs(found[name][seed] - score[name]) / abs(score[name]) for name in score)
        for seed, score in enumerate(alone)
    ]
    other = f"{sum(one > 1e-4 for one in apart)} of {len(apart)}"
    worst = statistics.median(apart)
    return [
        kind.__name__,
        f"{loop:.4f}",
        f"{stack:.4f}",
        f"{loop / stack:.1f}x",
        f"{worst:.0e}",
        other,
    ]


def audited(kind: type[_Digits], seeds: int) -> list[str]:
    """A row of the table: the first seeds of a training, with audits and without."""
    training = kind({})
    training.epochs = 5

    def seconds(audits: bool) -> tuple[float, int]:
        audit._known.clear()
        began, known = time.process_time(), 0
        for first in range(0, seeds, 128):
            block = [(training, range(first, min(first + 128, seeds)))]
            agreed = known if audits else 10_000
            with mock.patch.object(vectorized, "drawn", drawn if audits else lambda *_: []):
                found = vectorized.train_stacked(block, agreed=agreed)
            known += found.audits[0].audited
        return time.process_time() - began, known

    seconds(audits=False)  # what torch and a pilot do once
    ratios = []
    for _ in range(3 if seeds < 1000 else 1):
        without, _ = seconds(audits=False)
        cpu, known = seconds(audits=True)
        ratios.append(cpu / without)
    return [kind.__name__, f"{seeds:,}", f"{known}", f"{statistics.median(ratios):.2f}"]


def main() -> None:
    """Print the table, and write it where it is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--race", action="store_true", help="search the MLP both ways")
    parser.add_argument("--audits", action="store_true", help="time seeds with audits and without")
    parser.add_argument(
        "--first", type=int, nargs="+", default=[64, 2000], help="seeds of --audits"
    )
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--readme", action="store_true", help="put it into benchmarks/README.md")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.audits:
        both = [(kind, seeds) for kind in (Mlp, Cnn, Attention) for seeds in given.first]
        header = ["model", "seeds", "audited", "CPU"]
        rows = [audited(kind, seeds) for kind, seeds in both]
        about = f"{description()}. Times as long as without audits; five epochs; medians of rounds."
        show(about, header, rows, name="torch audits", readme=given.readme)
        return
    if given.race:
        header = ["sampler", "seeds", "function, s", "class, s", "times", "same counts"]
        header.append("other verdicts")
        rows = [raced(sampler, given.trials, given.epochs) for sampler in ("random", "tpe")]
        about = (
            f"{description()}. Two workers, {given.trials} configurations, {given.epochs} epochs."
        )
        show(about, header, rows, name="torch race", readme=given.readme)
        return
    header = ["model", "loop, s a seed", "stack, s a seed", "times", "same to", "other seeds"]
    rows = [measured(kind, given.seeds, given.epochs) for kind in (Mlp, Cnn, Attention)]
    about = f"{description()}. One core, {given.seeds} seeds, {given.epochs} epochs."
    show(about, header, rows, name="torch models", readme=given.readme)


if __name__ == "__main__":
    main()
