"""A run beside a published table: which config is which row, what is tested, what is refused."""

import functools

import numpy as np
import pandas as pd
import pytest
from compared import holm_of_statsmodels
from hand_made import done, solved, write_run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.stats import fisher_exact
from statsmodels.stats.proportion import proportion_confint

import xortune as xt
from xortune.comparisons import reference
from xortune.comparisons.reference import CELL_COLUMNS, GROUP_COLUMNS, chance_range, looks_fresh
from xortune.core.errors import InputError
from xortune.stats.proportions import fisher_tails, fisher_two_sided

BASE = {"activation": "Tanh", "loss": "MSELoss", "hidden_dim": 5, "zero_grad": True}
GRID = [
    {**BASE, "optimizer": optimizer, "lr": lr, "epochs": epochs}
    | ({"momentum": 0.0} if optimizer == "SGD" else {})
    for optimizer in ("Adam", "SGD")
    for lr in (1.0, 0.1)
    for epochs in (10, 50)
]
COUNTS = (3, 20, 11, 12, 0, 9, 20, 1)
HEADER = ("Activation", "Criterion", "Optimizer", "HiddenDim", "LearnRate", "Epochs")
N = 20


def make_run(path, points=GRID, counts=COUNTS, trainer="network"):
    lines = []
    for i, (point, k) in enumerate(zip(points, counts, strict=True)):
        lines.append(done(i, point, solved(0, k, N, epochs=point.get("epochs", 1))))
    return write_run(path, lines, trainer=trainer, name="grid")


def rows_of(points=GRID, counts=COUNTS):
    names = ("activation", "loss", "optimizer", "hidden_dim", "lr", "epochs")
    rows = zip(points, counts, strict=True)
    return [[*(str(point[name]) for name in names), str(k)] for point, k in rows]


def write_table(path, rows, header=(*HEADER, "k")):
    path.write_text("".join("\t".join(row) + "\n" for row in (header, *rows)))
    return path


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run")


@pytest.fixture
def table(tmp_path):
    return functools.partial(write_table, tmp_path / "t.tsv")


def compare(run, path, **more):
    return xt.compare(run, reference=path, **{"reference_seeds": N, **more})


def refusal(run, path, *words, **more):
    with pytest.raises(InputError) as raised:
        compare(run, path, **more)
    assert [word for word in words if word not in str(raised.value)] == []
    return str(raised.value)


def test_every_cell_is_tested_as_scipy_and_statsmodels_do(run, table):
    theirs = (20, 20, 10, 4, 0, 0, 19, 1)
    found = compare(run, table(rows_of(counts=theirs)))
    assert tuple(found.cells.columns) == (*run.parameters, *CELL_COLUMNS)
    assert len(found.cells) == found.summary.cells == 8
    by_key = found.cells.set_index("key")
    keys = [xt.Point(point).key for point in GRID]
    p = [fisher_exact([[a, N - a], [b, N - b]]).pvalue for a, b in zip(COUNTS, theirs, strict=True)]
    adjusted = holm_of_statsmodels(p)
    expected = {"p": p, "p_holm": adjusted, "differs": adjusted < 0.05}
    for prefix, k in ("", np.array(COUNTS)), ("reference_", np.array(theirs)):
        low, high = proportion_confint(k, N, method="wilson")
        each = {"k": k, "n": np.full(8, N), "rate": k / N, "low": low, "high": high}
        expected |= {prefix + name: values for name, values in each.items()}
    expected["difference"] = np.subtract(COUNTS, theirs) / N
    for i, key in enumerate(keys):
        row = by_key.loc[key]
        assert {name: row[name] for name in GRID[i]} == GRID[i]
        wanted = {name: values[i] for name, values in expected.items()}
        assert {name: row[name] for name in expected} == pytest.approx(wanted)
    assert found.cells["key"].tolist() == sorted(keys, key=lambda key: (by_key.loc[key, "p"], key))
    summary = found.summary
    assert summary.differ == len(found.differing) == 2
    assert summary.below_alpha == sum(x < 0.05 for x in p) == 3
    assert summary.share == 3 / 8
    assert summary.smallest_p == pytest.approx(min(p))
    assert 0 < summary.expected < 0.05 * 8


def test_groups_show_what_differences_go_with(run, table):
    theirs = [N - k for k in COUNTS[:4]] + [*COUNTS[4:]]  # the first half is Adam's
    found = compare(run, table(rows_of(counts=theirs)))
    groups = found.groups
    assert tuple(groups.columns) == GROUP_COLUMNS
    assert groups["parameter"].unique().tolist() == ["optimizer", "lr", "epochs"]
    optimizer = groups[groups["parameter"] == "optimizer"].set_index("value")
    assert optimizer.index.tolist() == ["Adam", "SGD"]  # the larger share of p < alpha first
    counts = optimizer[["cells", "below_alpha", "differ"]].to_numpy().tolist()
    assert counts == [[4, 2, 2], [4, 0, 0]]
    expected = [(3 + 20 + 11 + 12 - 17 - 0 - 9 - 8) / N / 4, 0]
    assert optimizer["mean_difference"].tolist() == pytest.approx(expected)
    both = np.add(COUNTS, theirs)
    size = fisher_tails(both, N, N).sum(axis=0)
    assert optimizer["expected"].tolist() == pytest.approx([size[:4].sum(), size[4:].sum()])
    assert size[:4].sum() != pytest.approx(size[4:].sum())
    sums = groups.groupby("parameter")[["cells", "below_alpha", "expected"]].sum()
    summary = [8, found.summary.below_alpha, found.summary.expected]
    assert sums.to_numpy() == pytest.approx(np.tile(summary, (3, 1)))


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(8)), columns=st.permutations(range(7)))
def test_the_order_of_rows_and_columns_changes_nothing(run, tmp_path, order, columns):
    rows = rows_of(counts=(9, 3, 11, 20, 0, 0, 3, 1))
    header = (*HEADER, "k")
    straight = compare(run, write_table(tmp_path / "a.tsv", rows))
    shuffled = [[rows[i][j] for j in columns] for i in order]
    found = compare(run, write_table(tmp_path / "b.tsv", shuffled, [header[j] for j in columns]))
    pd.testing.assert_frame_equal(found.cells, straight.cells)
    assert found.summary == straight.summary


TESTED = fisher_two_sided(np.arange(101)[:, None], 100, np.arange(101), 100) < 0.05
"""Whether two counts of 100 seeds have p < 0.05."""

TAILS = fisher_tails(np.arange(201), 100, 100)
"""Of both counts together."""


def is_outside(random, kind, trainings, epochs, *, fresh=False):
    """Whether a table without a difference is outside of the range."""
    group, epoch = np.divmod(np.arange(trainings * epochs), epochs)
    top = {
        "middle": random.uniform(0.3, 0.7, trainings),
        "edges": np.where(random.random(trainings) < 0.5, 0.05, 0.95),
        "mixed": random.beta(0.6, 0.6, trainings),
    }[kind]
    middle = random.uniform(-1, epochs, trainings) if epochs > 1 else np.full(trainings, -9.0)

    def solved():
        """Shape (trainings, epochs, 100): solved for good from an epoch on, or never."""
        when = middle[:, None, None] + 0.7 * random.normal(size=(trainings, 1, 100))
        ever = random.random(when.shape) < top[:, None, None]
        return ever & (when < np.arange(epochs)[:, None])

    mine = solved().reshape(-1, 100)
    theirs = solved().sum(axis=2)
    if fresh:
        theirs = np.stack([solved()[:, e].sum(axis=1) for e in range(epochs)], axis=1)
    k, theirs, n = mine.sum(axis=1), theirs.ravel(), np.full(len(mine), 100)
    cells = pd.DataFrame({"k": k, "n": n, "reference_k": theirs, "reference_n": n})
    seen = looks_fresh(cells, group, epoch)
    low, high = chance_range(mine.astype(float), n, TAILS[:, k + theirs], group, fresh=seen)
    return not low <= TESTED[k, theirs].sum() <= high


def outside(*table, tables, **more):
    random = np.random.default_rng(table[1] * table[2])
    return np.mean([is_outside(random, *table, **more) for _ in range(tables)])


@pytest.mark.parametrize("tables", [40, pytest.param(150, marks=pytest.mark.long)])
def test_one_table_in_twenty_without_a_difference_is_outside_of_the_range(monkeypatch, tables):
    monkeypatch.setattr(reference, "DRAWS", 500)
    shares = [outside("middle", 40, 2, tables=tables), outside("edges", 100, 1, tables=tables)]
    shares.append(outside("mixed", 20, 7, tables=tables, fresh=True))
    error = (0.05 * 0.95 / (3 * tables)) ** 0.5
    assert np.mean(shares) == pytest.approx(0.05, abs=2 * error)


def test_counts_that_fall_with_the_epochs_are_of_fresh_seeds(tmp_path):
    epochs = (10, 50, 100, 1000)
    points = [GRID[0] | {"lr": lr, "epochs": e} for lr in range(1, 21) for e in epochs]
    run = make_run(tmp_path / "run", points, [10, 12, 13, 13] * 20)
    for theirs, fresh in (([9, 11, 13, 14], False), ([11, 14, 10, 12], True)):
        path = write_table(tmp_path / "t.tsv", rows_of(points, theirs * 20))
        summary = compare(run, path).summary
        assert (summary.cells, summary.trainings) == (80, 20)
        assert summary.reference_fresh == fresh


def test_what_the_table_leaves_unsaid_must_be_one_thing(run, table, tmp_path):
    header = [name for name in HEADER if name != "LearnRate"]
    rows = [row[:4] + row[5:] for row in rows_of()[:2]]
    path = table(rows, (*header, "k"))
    words = str(path), "no column for lr", "0.1, 1", "where={'lr': 0.1}", "columns={'lr': "
    refusal(run, path, *words)
    for value in (1.0, "1", 1):
        found = compare(run, path, where={"lr": value})
        assert (found.summary.cells, len(found.only_run), found.where) == (2, 2, {"lr": 1})
        assert found.fixed == {"lr": 1, "momentum": None, "zero_grad": "true"}
        assert found.cells["lr"].tolist() == [1, 1]
    assert compare(run, path, where={"lr": "0.1"}).cells["k"].tolist() == [11, 12][::-1]


def test_two_configs_for_one_cell_are_refused(tmp_path):
    path = write_table(tmp_path / "t.tsv", [["1", "4"]], ["a", "k"])
    run = make_run(tmp_path / "lacking", [{"a": 1}, {"a": 1, "b": 2}], (1, 2), trainer="custom")
    refusal(run, path, "no column for b", "2, none", "where={'b': None}")
    assert compare(run, path, where={"b": None}).cells["k"].tolist() == [1]
    run = make_run(tmp_path / "alike", [{"a": 1}, {"a": "1"}], (1, 2), trainer="custom")
    refusal(run, path, f"{path}:2: several configs of the run match this cell")


def test_a_run_is_compared_with_its_own_table(run, tmp_path):
    path = tmp_path / "table.csv"
    run.table.to_csv(path, index=False)
    found = xt.compare(run, reference=path)
    assert (found.summary.cells, found.summary.smallest_p) == (8, 1)
    alone = found.reference.assumptions, found.only_reference, found.only_run
    assert (*alone, dict(found.fixed)) == ((), (), (), {})


def test_the_api_takes_a_run_a_path_or_a_list_of_one(run, table):
    path = table(rows_of())
    for given_run in (run, run.path, str(run.path), [run], (str(run.path),)):
        assert compare(given_run, str(path)).summary.cells == 8
    refusal([run, run], path, "2 runs", "allowed: one run")
    refusal([], path, "0 runs")
    with pytest.raises(InputError, match="reference='TABLE'"):
        xt.compare(run)
    for alpha in (0, 1, -1, float("nan")):
        refusal(run, path, "alpha", "above 0 and below 1", alpha=alpha)
    empty = write_run(run.path.parent / "empty", [], trainer="network")
    refusal(empty, path, "no configuration is finished yet")


def test_a_table_of_other_cells_is_refused_and_says_why(run, table):
    rows = [[*row[:3], "7", *row[4:]] for row in rows_of()]
    told = refusal(run, table(rows), "no row is a config", "hidden_dim is 7 in the table and 5")
    assert "optimizer" not in told
    first = table(rows_of()[:1])
    refusal(run, first, "no row is within lr=0.1", "allowed: lr: 1", where={"lr": 0.1})
