"""Runs and comparisons whose reports are golden files; and those that mean to break a report."""

from dataclasses import replace

import numpy as np
import pytest
from certified import KEYS, Counting, certify, searched_run, size_by_estimate
from compared import certified_run, contestant
from hand_made import CONFIG, ONE, RIGHT, WRONG, ZERO, done, failed, outcome, solved, write_run

import xortune as xt
from xortune.comparisons.comparison import compare_all
from xortune.core.outcome import Details
from xortune.core.success import parse_success
from xortune.reports.comparison import comparison_document
from xortune.reports.run import run_document
from xortune.reports.terminal import render_best, render_comparison
from xortune.runs.run import Run, load_run

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
    directions = {"success_rate": "maximize", "lr": "minimize"}
    objectives = [{"name": name, "direction": way} for name, way in directions.items()]
    run = searched_run(folder, ladder=[8], objectives=objectives, importance_resampled=FEW)
    with pytest.MonkeyPatch.context() as patch:
        size_by_estimate(patch)
        certify(run, Counting({KEYS[1]: 5}))
        certify(load_run(folder), Counting({KEYS[1]: 9}))
    return load_run(folder)


def compared(folder):
    """Two runs with shared fresh seeds, and an outcome with others."""
    folder.mkdir()
    certified_run(folder / "tpe", [97, 99], sampler="tpe")
    certified_run(folder / "gp", [95], sampler="gp")
    return xt.compare([folder / "tpe", folder / "gp", solved(0, 3, 9)])


REPORTED = {"run": searched, "certified": certified, "comparison": compared}


# -------------------------------------------------------------------------------------------------
# What means to break a report.

NAMES = (
    "<script>alert(1)</script>",
    'a"quoted" name',
    "it's",
    "line\nbreak\r\n# head",
    "\U0001f600 smile",
    "x" * 200,
    "a|b`c*d_e~f$g\\h",
    "[link](javascript:alert(1))",
    "\x1b[31mred",
    "\ud800",
    "=1+1",
    "{{ jinja }} {% raw %}",
    "</title></svg>",
    "&amp;",
)


def named(folder):
    """Names that mean something somewhere, as parameters, values, errors and in the manifest."""
    turned = [[*NAMES[at:], *NAMES[:at]] for at in range(len(NAMES))]
    points = [dict(zip(NAMES, row, strict=True)) | {"y": at} for at, row in enumerate(turned)]
    found = [done(i, p, solved(0, 8 - i % 9, 8)) for i, p in enumerate(points)]
    errors = [failed(50 + i, points[0], 8 + i, 1, error=name) for i, name in enumerate(NAMES)]
    return write_run(
        folder,
        [*found, *errors],
        name=NAMES[0] + NAMES[3],
        sampler=NAMES[6],
        command=list(NAMES),
        versions={name: name for name in NAMES},
        importance={name: 1 / len(NAMES) for name in NAMES},
        space_text="".join(f"# {name!r} ````\n" for name in NAMES),
    )


def not_a_number(folder):
    """Seeds whose losses are not finite, and numbers at the ends of what there is."""
    values = [1e308, -1e308, 5e-324, 0.0, 10**30, 2**63]
    diverged = replace(
        outcome(0, [RIGHT, WRONG, ZERO, ONE], diverged=[0, 1, 2, 3]),
        final_loss=np.full(4, np.nan, dtype=np.float32),
    )
    lines = [done(i, {"x": x, "b": bool(i % 2)}, diverged) for i, x in enumerate(values)]
    return write_run(folder, [*lines, done(9, {"x": None, "b": True}, solved(0, 3, 4))])


def told(folder):
    """A trainer of one's own: numbers at the ends of what there is, and reasons that are names."""
    rows = ([np.nan] * 8, [1e308, -1e308] * 4, [np.inf, 0.5] * 4, [0.25] * 8, list(range(8)))
    lines = []
    for at, row in enumerate(rows):
        values = {name: np.array(row, float) for name in (*NAMES[:4], "value")}
        reasons = {seed: NAMES[seed] for seed in range(at + 1, 8)}
        found = replace(solved(0, at + 1, 8), epochs=0, details=Details(values, reasons))
        lines.append(done(at, {"x": at, "name": NAMES[at]}, found))
    return write_run(folder, lines, name=NAMES[0], trainer="./train.py:run", ladder=[8])


def plain(folder, counts, **more):
    """A network's run of configs with these (k, n)."""
    lines = [
        done(i, CONFIG | {"lr": 0.01 * (1 + i)}, solved(0, *kn)) for i, kn in enumerate(counts)
    ]
    noted = {"trainer": "network", "task": "xor", "ladder": [counts[0][1]]}
    return write_run(folder, lines, **noted | more)


RUNS = {
    "names": named,
    "not a number": not_a_number,
    "odd numbers told": told,
    "one config": lambda folder: plain(folder, [(3, 4)]),
    "one seed": lambda folder: plain(folder, [(1, 1)]),
    "none finished": lambda folder: write_run(folder, [failed(0, CONFIG, 0, 8, final=False)]),
    "empty": lambda folder: write_run(folder, []),
    "no parameters": lambda folder: write_run(folder, [done(0, {}, solved(0, 1, 2))]),
    "all fail": lambda folder: plain(folder, [(0, 8)] * 12),
    "all solve": lambda folder: plain(folder, [(8, 8)] * 12),
    "all or nothing": lambda folder: plain(folder, [(8, 8), (0, 8)] * 6),
    "all crashed": lambda folder: write_run(
        folder, [failed(i, CONFIG | {"lr": 0.1 + i}, 0, 8) for i in range(3)]
    ),
}


def named_comparison(_):
    """As many contestants as there are names, called so, with numbers called so."""
    draw = np.random.default_rng(0)
    entries = []
    for at, name in enumerate(NAMES[:7]):
        found = solved(0, 3 + at, 12)
        values = {n: draw.normal(size=12) for n in NAMES[:3]}
        facts = {n: n + str(at) for n in NAMES}
        found = replace(found, details=Details(values))
        entries.append(contestant(name + str(at), found, facts=facts, notes=(NAMES[at],)))
    return compare_all(entries)


def odd_numbers(_):
    """Numbers that are no numbers, the same for all, at the ends of what there is; or none."""
    rule = parse_success("value >= 0.5")
    rows = {
        "nothing": [np.nan] * 8,
        "infinite": [np.inf, -np.inf] * 4,
        "the same": [0.25] * 8,
        "huge": [1e308, -1e308, 5e-324, 0.0] * 2,
        "tiny": [1e-300 * (1 + at) for at in range(8)],
    }
    entries = []
    for at, (label, row) in enumerate(rows.items()):
        found = replace(solved(0, at, 8), epochs=0, details=Details({"value": np.array(row)}))
        entries.append(contestant(label, found, rule=rule))
    return compare_all(entries)


def counts(*pairs):
    return lambda _: compare_all(
        [contestant(f"{i}: {k} of {n}", solved(1000 * i, k, n)) for i, (k, n) in enumerate(pairs)]
    )


COMPARISONS = {
    "names compared": named_comparison,
    "odd numbers": odd_numbers,
    "none solved": counts((0, 9), (0, 9)),
    "all solved": counts((9, 9), (9, 9), (9, 9)),
    "all and nothing": counts((500, 500), (0, 500)),
    "one seed each": counts((1, 1), (0, 1)),
    "many": counts(*((at, 30) for at in range(9))),
}


def document_of(found):
    return run_document(found) if isinstance(found, Run) else comparison_document(found)


def render(found, console):
    if isinstance(found, Run):
        render_best(found, console)
    else:
        render_comparison(found, (), console)
