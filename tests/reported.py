"""Runs and comparisons whose whole reports are golden files, in tests/report/golden."""

from itertools import product

from certified import KEYS, Counting, certify, searched_run
from hand_made import CONFIG, ONE, RIGHT, WRONG, ZERO, done, failed, outcome, solved, write_run

import xortune as xt
from xortune.runs.run import load_run

FEW = {"configs": 5, "better": 1, "needed": 10, "resamples": 0, "intervals": {}}


def searched(folder):
    """Four configs: the best, one that it does not beat, one beaten, one stopped early."""
    close, beaten = CONFIG | {"lr": 0.1}, CONFIG | {"lr": 0.001}
    stopped = CONFIG | {"optimizer": "SGD", "momentum": 0.9}
    first = outcome(8, [RIGHT] * 4 + [WRONG, WRONG, ZERO, ONE], diverged=[7])
    return write_run(
        folder,
        [
            done(0, CONFIG, solved(0, 8, 8, epoch=120)),
            done(0, CONFIG, outcome(8, [RIGHT] * 8, epoch=140)),
            done(1, close, solved(0, 8, 8)),
            failed(1, close, 8, 8, error="worker died | signal 9", final=False),
            done(1, close, outcome(8, [RIGHT] * 7 + [WRONG])),
            done(2, beaten, solved(0, 5, 8)),
            done(2, beaten, first),
            failed(3, stopped, 0, 8, error="<CUDA>\nout of memory"),
            done(4, CONFIG, solved(16, 8, 8)),
        ],
        space_text="name: golden\n# a comment with ```\n",
        name="golden",
        trainer="network",
        task="xor",
        engine="reference",
        sampler="tpe",
        trials=5,
        ladder=[8, 16],
        seed=0,
        started="2026-01-02T03:04:05+00:00",
        finished="2026-01-02T03:04:07+00:00",
        command=["xortune", "search", "my space.yaml"],
        versions={"xortune": "0.1.0", "torch": "2.6"},
        importance={"lr": 0.75, "optimizer": 0.25},
    )


def certified(folder):
    """A run whose five finalists had fresh seeds, twice; the front of two objectives."""
    objectives = [
        {"name": "success_rate", "direction": "maximize"},
        {"name": "lr", "direction": "minimize"},
    ]
    run = searched_run(folder, ladder=[8], objectives=objectives, importance_resampled=FEW)
    certify(run, Counting({KEYS[1]: 5}))
    certify(load_run(folder), Counting({KEYS[1]: 9}))
    return load_run(folder)


def compared(folder):
    """Two runs with shared fresh seeds, and an outcome with others."""
    from compared import certified_run

    folder.mkdir()
    certified_run(folder / "tpe", [97, 99], sampler="tpe")
    certified_run(folder / "gp", [95], sampler="gp")
    return xt.compare([folder / "tpe", folder / "gp", solved(0, 3, 9)])


def published(folder):
    """A run beside a table that has one row more."""
    cells = product(("Adam", "Rprop"), (0.01, 0.1, 1.0))
    counts = ((20, 90), (20, 80), (70, 70), (50, 50), (50, 51), (50, 49))
    lines, rows = [], []
    for number, ((optimizer, lr), (k, other)) in enumerate(zip(cells, counts, strict=True)):
        point = CONFIG | {"optimizer": optimizer, "lr": lr, "epochs": 10}
        lines.append(done(number, point, solved(0, k, 100, epochs=10)))
        rows.append(f"{optimizer},{lr},{other},1")
    run = write_run(folder / "sweep", lines, trainer="network")
    path = folder / "t|a.tsv"
    path.write_text(
        "\n".join(["Optimizer,LearnRate,PercentCorrect,TimeTaken", *rows, "ASGD,1,3,1"])
    )
    return xt.compare(run, reference=path)


REPORTED = {"run": searched, "certified": certified, "comparison": compared, "reference": published}
