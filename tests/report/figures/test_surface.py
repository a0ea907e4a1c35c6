"""Decision surfaces: what torch's own network says at each place, for seeds as the run has them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from figure_runs import check_rules
from hand_made import CONFIG, done, write_run

from xortune.core.config import Config
from xortune.core.outcome import Outcome, Status
from xortune.core.task import Task
from xortune.reports.analysis import plain_script
from xortune.reports.figures.surface import decision_surface
from xortune.runs.run import Run
from xortune.trainers import fused

XOR = Task.xor()
COMMON = CONFIG | {"lr": 0.05, "epochs": 200}
SMALL = Config(**COMMON | {"activation": "ReLU", "hidden_dim": 3})
"""Solves some seeds and not others."""
WIDE = Config(**COMMON | {"hidden_dim": 12})
"""Solves each of the first seeds."""


def trained(config, task=XOR, seeds=24):
    return fused.train(config, task, np.arange(seeds))


def run_of(*outcomes, **manifest):
    """A run of these (config, outcome), best first."""
    manifest = {"trainer": "network", "task": "xor"} | manifest
    lines = (done(i, config.point, outcome) for i, (config, outcome) in enumerate(outcomes))
    return Run(Path("nowhere"), manifest, tuple(lines))


@pytest.fixture(scope="module")
def small():
    outcome = trained(SMALL)
    assert 0 < outcome.successes < outcome.n
    return outcome


def plain(config, task, seed):
    """Trained as the contract of seeds says, in plain PyTorch."""
    script = {}
    exec(plain_script(config, task, seed), script)
    return script["model"]


def test_a_surface_is_what_torchs_network_says(small):
    plot = decision_surface(run_of((SMALL, small)))
    check_rules(plot)
    first = {True: small.seeds[small.solved][0], False: small.seeds[~small.solved][0]}
    titles = [f"seed {first[True]}: solved", f"seed {first[False]}: not solved"]
    assert [panel.title for panel in plot.panels] == titles
    for panel, seed in zip(plot.panels, first.values(), strict=True):
        cells, *rows = panel.layers
        assert cells.scale == "class"
        assert cells.x == cells.y
        assert (cells.x[0], cells.x[40]) == pytest.approx((-0.25 + 0.75 / 81, 0.5))
        model = plain(SMALL, XOR, int(seed))
        places = [(x, y) for y in cells.y[::7] for x in cells.x[::7]]
        with torch.no_grad():
            expected = model(torch.tensor(places))[:, 0].numpy()
        found = np.array(cells.values)[::7, ::7].ravel()
        np.testing.assert_allclose(found, expected, atol=3e-3)
        assert np.ptp(expected) > 0.5
        # The rows lie on the side that the run recorded.
        pattern = small.predictions[small.seeds == seed][0]
        at = {(float(a), float(b)): bool(p) for (a, b), p in zip(XOR.inputs, pattern, strict=True)}
        assert sum(len(points.marks) for points in rows) == 4
        for points, target in zip(rows, (0, 1), strict=True):
            assert points.label.endswith(str(target))
            for mark in points.marks:
                x, y = mark.x, mark.y
                assert (x + y == 1) == bool(target)
                assert mark.text == f"target {target}, predicted {int(at[x, y])}"
                column = np.abs(np.array(cells.x) - x).argmin()
                row = np.abs(np.array(cells.y) - y).argmin()
                assert (cells.values[row][column] > 0.5) == at[x, y]


def test_where_the_best_solves_all_another_stands_beside_it(small):
    wide = trained(WIDE)
    assert wide.solved.all()
    plot = decision_surface(run_of((WIDE, wide), (SMALL, small)))
    solved_seed, unsolved = small.seeds[small.solved][0], small.seeds[~small.solved][0]
    assert [panel.title for panel in plot.panels] == [
        f"{WIDE.key[:6]}, seed 0: solved",
        f"{SMALL.key[:6]}, seed {solved_seed}: solved",
        f"{SMALL.key[:6]}, seed {unsolved}: not solved",
    ]
    alone = decision_surface(run_of((WIDE, wide)))
    assert [panel.title for panel in alone.panels] == ["seed 0: solved"]
    assert alone.title == "What a solved seed learned"


def test_a_seed_that_ends_otherwise_now_is_not_shown(small):
    """Another engine's or another version's: what is drawn is what was counted."""
    places = np.flatnonzero(~small.solved)
    predictions, status = small.predictions.copy(), small.status.copy()
    predictions[places[0], 0] = ~predictions[places[0], 0]  # one row is enough
    status[places[0]] = Status.WRONG_PATTERN
    changed = replace(small, predictions=predictions, status=status)
    plot = decision_surface(run_of((SMALL, changed)))
    assert plot.panels[1].title == f"seed {small.seeds[places[1]]}: not solved"
    none = replace(small, predictions=~small.predictions)
    assert decision_surface(run_of((SMALL, none))) is None


def test_a_seed_that_diverged_or_crashed_has_no_surface(small):
    status = np.where(small.solved, small.status, np.uint8(Status.DIVERGED)).astype(np.uint8)
    plot = decision_surface(run_of((SMALL, replace(small, status=status))))
    assert [": solved" in panel.title for panel in plot.panels] == [True]
    crashed = Outcome.crashed(range(8), SMALL.epochs)
    assert decision_surface(run_of((SMALL, crashed))) is None


def test_what_cannot_be_trained_again_has_none(small):
    gone = {"task": "gone.csv"}, {"task_fingerprint": "0" * 16}
    for manifest in {"trainer": "function"}, {"task": "parity-3"}, *gone:
        assert decision_surface(run_of((SMALL, small), **manifest)) is None
    assert decision_surface(run_of((replace(SMALL, hidden_dim=65), small))) is None


def test_a_task_from_a_file_as_long_as_it_is_there(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("a,b,y,t\n0,0,0,0\n0,10,1,0\n3,0,1,0\n3,10,0,0\n3,9,0,1\n0,9,1,1\n")
    task = Task.from_csv(path, target="y", held_out="t")
    space = f"""
name: file
task: {{csv: {path}, target: y, held_out: t}}
epochs: 200
parameters: {{activation: ReLU, loss: MSELoss, optimizer: Adam, lr: 0.05, hidden_dim: 3}}
search: {{sampler: random, trials: 1}}
"""
    lines = [done(0, SMALL.point, trained(SMALL, task, 16))]
    noted = {"trainer": "network", "task": "rows", "task_fingerprint": task.fingerprint}
    run = write_run(tmp_path / "r", lines, space_text=space, **noted)
    plot = decision_surface(run)
    cells, *rows = plot.panels[0].layers
    assert (cells.x[0], cells.x[-1]) == pytest.approx((-0.75 + 2.25 / 81, 3.75 - 2.25 / 81))
    assert (cells.y[0], cells.y[-1]) == pytest.approx((-2.5 + 7.5 / 81, 12.5 - 7.5 / 81))
    assert [points.marks[0][:2] for points in rows] == [(3.0, 9.0), (0.0, 9.0)]
    path.write_text("a,b,y,t\n0,0,0,0\n0,10,1,0\n3,0,1,0\n3,10,1,0\n3,9,0,1\n0,9,1,1\n")
    assert decision_surface(write_run(tmp_path / "q", lines, space_text=space, **noted)) is None
