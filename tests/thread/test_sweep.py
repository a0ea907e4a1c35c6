"""The cells of a run that are the thread's, and the bounds of the best of them."""

from __future__ import annotations

import numpy as np
import pytest
from hand_made import RIGHT, WRONG, done, outcome, solved, write_run
from scipy.stats import beta, binomtest

import xortune as xt
from xortune.errors import InputError
from xortune.run import load_run
from xortune.space import load_space
from xortune.space_points import grid
from xortune.thread.sweep import SPACE, certified, summary, train_best

CELL = {
    "activation": "Tanh",
    "loss": "MSELoss",
    "optimizer": "Adam",
    "lr": 0.03,
    "hidden_dim": 5,
    "epochs": 10_000,
    "zero_grad": True,
}


def run_of(path, *cells):
    """A run of (what is different from CELL, solved seeds of 20)."""
    evaluations = [
        done(i, {**CELL, **changes}, solved(0, k, 20, epochs={**CELL, **changes}["epochs"]))
        for i, (changes, k) in enumerate(cells)
    ]
    return write_run(path, evaluations, trainer="network", task="xor")


def test_counts_of_cells_and_seeds(tmp_path):
    run = run_of(
        tmp_path / "run",
        ({}, 20),
        ({"activation": "ReLU"}, 15),
        ({"loss": "L1Loss"}, 0),
        ({"loss": "L1Loss", "optimizer": "Rprop"}, 20),
    )
    sweep = summary(run)
    assert (len(sweep.cells), sweep.epochs, sweep.n) == (4, 10_000, 20)
    assert (sweep.solved, sweep.unsolved) == (2, 1)
    seeds, cells = sweep.measured("seeds"), sweep.measured("cells")
    assert (seeds.k, seeds.n) == (55, 80)
    assert (cells.k, cells.n) == (2, 4)
    assert [cell.outcome.successes for cell in sweep.cells] == [20, 20, 15, 0]
    effects = {effect.name: effect for effect in sweep.effects}
    assert set(effects) == {"activation", "loss", "optimizer"}
    rates = {level.label: (level.configs, level.rate) for level in effects["loss"].levels}
    assert rates == {"MSELoss": (2, pytest.approx(35 / 40)), "L1Loss": (2, pytest.approx(0.5))}


def test_other_cells_are_not_the_threads(tmp_path):
    others = [{"lr": 0.1}, {"hidden_dim": 2}, {"zero_grad": False}]
    others += [{"optimizer": "RMSprop", "momentum": 0.9}]
    others += [{"optimizer": "SGD"}, {"activation": "Mish"}]
    run = run_of(
        tmp_path / "run",
        ({}, 7),
        ({"optimizer": "RMSprop", "momentum": 0.0}, 5),
        *((changes, 20) for changes in others),
    )
    sweep = summary(run)
    assert [cell.outcome.successes for cell in sweep.cells] == [7, 5]
    for changes in others:
        alone = run_of(tmp_path / "-".join(map(str, changes.items())), (changes, 20))
        with pytest.raises(InputError, match="holds no cell of the thread's sweep"):
            summary(alone)


@pytest.mark.parametrize(
    ("given", "chosen"),
    [
        ((10_000,), 10_000),
        ((10, 5_000), 5_000),
        ((1_000, 9_000, 10_500), 10_500),
        ((9_000, 11_000), 9_000),
        ((100_000, 50), 50),
        ((20_000, 10_000, 9_999), 10_000),
    ],
)
def test_the_epochs_nearest_to_the_scripts(given, chosen, tmp_path):
    run = run_of(tmp_path / "run", *(({"epochs": e}, 1 + i) for i, e in enumerate(given)))
    sweep = summary(run)
    assert sweep.epochs == chosen
    assert [cell.point["epochs"] for cell in sweep.cells] == [chosen]


def test_a_run_without_such_cells_is_told_what_is_wanted(tmp_path):
    run = run_of(tmp_path / "run", ({"lr": 0.3}, 20))
    with pytest.raises(InputError) as caught:
        summary(run)
    text = str(caught.value)
    for word in (str(tmp_path / "run"), "hidden_dim 5", "lr 0.03", "zero_grad True", "--sweep"):
        assert word in text
    empty = write_run(tmp_path / "empty", [], trainer="network")
    with pytest.raises(InputError, match="holds no cell"):
        summary(empty)


def test_the_shipped_space_is_the_threads_sweep():
    space = load_space(SPACE)
    points = [dict(point) for point in grid(space)]
    assert len(points) == 1_050
    distinct = {name: {point[name] for point in points} for name in points[0]}
    counts = {name: len(values) for name, values in distinct.items()}
    assert (counts["activation"], counts["loss"], counts["optimizer"]) == (15, 10, 7)
    assert {distinct["hidden_dim"].pop(), distinct["lr"].pop(), distinct["epochs"].pop()} == {
        *(5, 0.03, 10_000)
    }
    assert space.seeds.ladder == (100,)


# --- the best once more --------------------------------------------------------------------------


def fresh(k, n, epoch=300):
    return outcome(4_000_000_000, [RIGHT] * k + [WRONG] * (n - k), epoch=epoch, epochs=10_000)


def test_bounds_hold_together(tmp_path):
    counts = [(20, 20), (19, 20), (12, 20)]
    names = ("Tanh", "ELU", "ReLU")
    run = run_of(
        tmp_path / "run",
        *(({"activation": a}, k) for a, (k, _) in zip(names, counts, strict=True)),
    )
    cells = summary(run).cells
    outcomes = [fresh(1000, 1000), fresh(990, 1000), fresh(0, 1000)]
    found = certified(cells, outcomes)
    assert [one.config.activation for one in found] == list(names)
    for one, (k, n), outcome_ in zip(found, counts, outcomes, strict=True):
        assert (one.search_k, one.search_n) == (k, n)
        assert one.outcome is outcome_
        level = 1 - 0.05 / 3
        test = binomtest(one.outcome.successes, 1000, alternative="greater")
        assert one.lower == pytest.approx(
            test.proportion_ci(confidence_level=level, method="exact").low, abs=1e-9
        )
    assert found[0].lower == pytest.approx(beta.ppf(0.05 / 3, 1000, 1), rel=1e-9)
    assert found[2].lower == 0
    assert (found[0].slowest, found[2].slowest) == (300, 0)


def test_one_best_cell_needs_no_correction(tmp_path):
    cells = summary(run_of(tmp_path / "run", ({}, 20))).cells
    [one] = certified(cells, [fresh(50, 50)])
    assert one.lower == pytest.approx(0.05 ** (1 / 50), rel=1e-9)
    assert certified([], []) == ()


def test_the_order_of_the_best(tmp_path):
    names = ("Tanh", "ELU", "ReLU", "SELU")
    run = run_of(tmp_path / "run", *(({"activation": name}, 20) for name in names))
    cells = sorted(summary(run).cells, key=lambda cell: names.index(cell.point["activation"]))
    outcomes = [fresh(99, 100, 50), fresh(100, 100, 400), fresh(100, 100, 200), fresh(98, 100, 1)]
    found = certified(cells, outcomes)
    assert [one.config.activation for one in found] == ["ReLU", "ELU", "Tanh", "SELU"]
    lower = [one.lower for one in found]
    assert lower[0] == lower[1] > lower[2] > lower[3]


def test_the_best_are_trained_as_they_stand(tmp_path):
    run = run_of(tmp_path / "run", ({"epochs": 60, "activation": "ReLU"}, 20))
    seeds = range(3_800_000_000, 3_800_000_020)
    trained = train_best(summary(run).cells[0], seeds)
    config = xt.Config(**{**CELL, "epochs": 60, "activation": "ReLU"})
    expected = xt.evaluate(config, seeds)
    assert trained.seeds.tolist() == list(seeds)
    assert trained.status.tolist() == expected.status.tolist()
    assert 0 < np.count_nonzero(trained.solved) < 20
    assert load_run(run.path).results[0].outcome.n == 20, "the run is left as it was"


def test_a_run_of_something_else_is_refused(tmp_path):
    cell = done(0, CELL, solved(0, 8, 8, epochs=CELL["epochs"]))
    parity = write_run(tmp_path / "parity", [cell], trainer="network", task="parity-3")
    point = {"lr": 0.03, "hidden_dim": 5, "zero_grad": True}
    own = write_run(tmp_path / "own", [done(0, point, solved(0, 8, 8))], trainer="custom")
    for run in (parity, own):
        with pytest.raises(InputError, match="configs of the task xor"):
            summary(run)


def test_cells_of_fewer_seeds_are_refused(tmp_path):
    cells = [
        done(0, CELL, solved(0, 100, 100, epochs=CELL["epochs"])),
        done(1, {**CELL, "loss": "L1Loss"}, solved(0, 8, 8, epochs=CELL["epochs"])),
    ]
    with pytest.raises(InputError, match="cells of 8 seeds and of 100"):
        summary(write_run(tmp_path / "run", cells, trainer="network", task="xor"))


def page_of(path, *cells):
    """The report of T12 and T15 for cells of so few epochs that hardly a seed is solved."""
    evaluations = [
        done(i, {**CELL, "epochs": 2, **changes}, solved(0, k, 8, epochs=2, epoch=1))
        for i, (changes, k) in enumerate(cells)
    ]
    run = write_run(path / "run", evaluations, trainer="network", task="xor")
    settled = xt.thread(only=["T12", "T15"], seeds=2, sweep=run)
    return settled, xt.write_thread(settled, path / "out")[0].read_text(encoding="utf-8")


def test_a_best_cell_that_solves_no_fresh_seed_is_not_recommended(tmp_path):
    settled, page = page_of(tmp_path, ({}, 1))
    assert settled.best[0].outcome.successes == 0
    assert "What to do" not in page
    assert "0 of 2" in page


def test_a_single_cell_has_no_figure_of_choices(tmp_path):
    _, page = page_of(tmp_path, ({}, 8))
    assert "thread_sweep.svg" not in page


def test_without_a_success_nothing_is_trained_once_more(tmp_path):
    settled, page = page_of(tmp_path, ({}, 0), ({"loss": "L1Loss"}, 0))
    assert settled.best == ()
    assert "trained once more" not in page
    assert "2 (100.0 %) none" in page
