"""examples/thread: the claims of a forum thread, measured with the public API alone."""

import csv
import importlib
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from hand_made import CONFIG, done, solved, write_run
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, fisher_exact

import xortune as xt

ROOT = Path(__file__).parents[1]
HERE = ROOT / "examples" / "thread"
REPORTS = ROOT / "reports"
COLUMNS = ["id", "variant", "system", "quoted", "k", "n", "rate", "low", "high", "verdict", "why"]
MODULES = ("measure", "posted", "published", "write")
FEW = 64
ELU = {
    "activation": "ELU", "loss": "MSELoss", "optimizer": "SGD", "lr": 0.3, "hidden_dim": 5,
    "epochs": 60, "zero_grad": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def app():
    """Its modules, as `python examples/thread/measure.py` finds them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(HERE)
        yield {name: importlib.import_module(name) for name in MODULES}


def claims():
    return yaml.safe_load((HERE / "claims.yaml").read_text(encoding="utf-8"))


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def shorter(value):
    """The claims with a hundredth of the epochs, and curves of few points."""
    if isinstance(value, list):
        return [shorter(part) for part in value]
    if isinstance(value, dict):
        value = {name: shorter(part) for name, part in value.items()}
        few = {"epochs": value.get("epochs", 0) // 50, "per_decade": 1}
        return value | {name: number for name, number in few.items() if name in value}
    return value


def test_it_imports_nothing_private():
    for path in HERE.glob("*.py"):
        assert not re.search(r"(from|import) xortune\.", path.read_text(encoding="utf-8"))


@pytest.mark.long
def test_all_claims_are_measured_and_written(app, tmp_path):
    measure, write = app["measure"], app["write"]
    run = xt.load_run(REPORTS / "sweep")
    known = measure.measure(shorter(claims()), run, range(FEW))
    files = write.write(known, measure.tables(known), tmp_path)
    assert sorted(f.name for f in files) == sorted(f.name for f in REPORTS.glob("thread*"))
    now, was = rows_of(tmp_path / "thread.csv"), rows_of(REPORTS / "thread.csv")
    assert list(now[0])[: len(COLUMNS)] == COLUMNS
    assert list(now[0]) == list(was[0])
    assert [(r["id"], r["variant"]) for r in now] == [(r["id"], r["variant"]) for r in was]
    for row in now:
        assert int(row["n"]) in (FEW, 1050, 105_000)
        assert float(row["low"]) <= float(row["rate"]) <= float(row["high"])
        assert row["verdict"] in ("consistent", "inconsistent", "cannot tell", "not testable")
    page, committed = ((d / "thread.md").read_text(encoding="utf-8") for d in (tmp_path, REPORTS))
    heads = re.findall(r"^#+ .*$", committed, re.MULTILINE)
    assert re.findall(r"^#+ .*$", page, re.MULTILINE) == heads
    assert page.count("\n|") == committed.count("\n|")  # rows of tables
    assert "\n\n\n" not in page


def test_the_committed_report_is_of_todays_claims():
    rows = [(r["id"], r["variant"]) for r in rows_of(REPORTS / "thread.csv")]
    measured = [(row["id"], one["name"]) for row in claims()["rows"] for one in row["variants"]]
    assert [row for row in rows if not row[1].startswith("best_")] == measured


@pytest.mark.parametrize(
    "config", [ELU, ELU | {"optimizer": "Adam", "activation": "ReLU", "lr": 0.05, "loss": "L1Loss"}]
)
def test_a_posted_script_trains_as_xortune_does(app, config):
    outputs, steps = app["posted"].outputs_after(config, range(FEW))
    outcome = xt.evaluate(xt.Config(**config), range(FEW), engine="reference")
    assert ((outputs > 0.5) == outcome.predictions).all()
    assert 0 < outcome.successes < FEW
    assert set(steps.tolist()) == {config["epochs"]}
    # The first loss that is small enough ends a seed, and leaves what it had.
    stopped, steps = app["posted"].outputs_after(config, range(FEW), 0.1)
    early = steps < config["epochs"]
    assert 0 < early.sum() < FEW
    assert (stopped[~early] == outputs[~early]).all()
    shorter_one, _ = app["posted"].outputs_after(config | {"epochs": int(steps.min())}, range(FEW))
    assert (stopped[steps == steps.min()] == shorter_one[steps == steps.min()]).all()


# A run beside the published table.


@given(st.integers(0, 30), st.integers(0, 100))
def test_fisher_is_that_of_scipy(app, k, theirs):
    p, _ = app["published"].fisher(np.array([k]), np.array([theirs]), 30)
    assert p == pytest.approx(fisher_exact([[k, 30 - k], [theirs, 100 - theirs]]).pvalue)


@pytest.mark.parametrize("n", [5, 100])
@pytest.mark.parametrize("rate", [0.02, 0.5, 0.9])
def test_its_tails_are_the_shares_of_rejections(app, n, rate):
    k, theirs = np.indices((n + 1, 101))
    weight = binom.pmf(k, n, rate) * binom.pmf(theirs, 100, rate)
    p, tails = app["published"].fisher(k, theirs, n)
    assert (tails.sum(axis=0) < 0.05).all()
    for tail, side in zip(tails, (k * 100 < theirs * n, k * 100 > theirs * n), strict=True):
        rejected = weight * ((p < 0.05) & side)
        assert (weight * tail).sum() == pytest.approx(rejected.sum(), abs=1e-12)


@pytest.fixture(scope="module")
def tested(app):
    """Whether counts a and b of 100 seeds have p < 0.05, and the tails: by a and b."""
    p, tails = app["published"].fisher(*np.indices((101, 101)), 100)
    return p < 0.05, tails


def is_outside(published, tested, random, kind, trainings, epochs, *, fresh=False):
    """Whether a table without a difference is outside of the range."""
    top = {
        "middle": random.uniform(0.3, 0.7, trainings),
        "edges": np.where(random.random(trainings) < 0.5, 0.05, 0.95),
        "mixed": random.beta(0.6, 0.6, trainings),
    }[kind]
    middle = random.uniform(-1, epochs, trainings) if epochs > 1 else np.full(trainings, -9.0)

    def drawn():
        """Shape (trainings, epochs, 100): solved for good from an epoch on, or never."""
        when = middle[:, None, None] + 0.7 * random.normal(size=(trainings, 1, 100))
        ever = random.random(when.shape) < top[:, None, None]
        return ever & (when < np.arange(epochs)[:, None])

    mine = drawn()
    theirs = drawn().sum(axis=2)
    if fresh:
        theirs = np.stack([drawn()[:, e].sum(axis=1) for e in range(epochs)], axis=1)
    k, (rejected, tails) = mine.sum(axis=2), tested
    seen = published.looks_fresh(k, theirs, 100)
    low, high = published.chance_range(mine, tails[:, k, theirs], fresh=seen)
    return not low <= rejected[k, theirs].sum() <= high


@pytest.mark.parametrize("tables", [40, pytest.param(150, marks=pytest.mark.long)])
def test_one_table_in_twenty_without_a_difference_is_outside(app, tested, monkeypatch, tables):
    monkeypatch.setattr(app["published"], "DRAWS", 250)

    def outside(*table, **more):
        random = np.random.default_rng(table[1] * table[2])
        of = app["published"], tested, random
        return np.mean([is_outside(*of, *table, **more) for _ in range(tables)])

    shares = [outside("middle", 40, 2), outside("edges", 100, 1)]
    shares.append(outside("mixed", 20, 7, fresh=True))
    error = (0.05 * 0.95 / (3 * tables)) ** 0.5
    assert np.mean(shares) == pytest.approx(0.05, abs=2 * error)


def test_counts_that_fall_with_the_epochs_are_of_fresh_seeds(app):
    looks_fresh, k = app["published"].looks_fresh, np.tile([50, 60, 65, 65], (20, 1))
    assert not looks_fresh(k, np.tile([45, 55, 65, 70], (20, 1)), 100)
    assert looks_fresh(k, np.tile([55, 70, 50, 60], (20, 1)), 100)


SWEEP = [(act, epochs) for act in ("Tanh", "ELU", "ReLU") for epochs in (10, 50)]


def published_table(path, counts):
    rows = [
        {"Activation": act, "Criterion": CONFIG["loss"], "Optimizer": CONFIG["optimizer"]}
        | {"HiddenDim": CONFIG["hidden_dim"], "LearnRate": CONFIG["lr"], "Epochs": epochs}
        | {"PercentCorrect": k, "PercentWrong": 100 - k, "TimeTaken": 1.5}
        for (act, epochs), k in zip(SWEEP, counts, strict=False)
    ]
    pd.DataFrame(rows).to_csv(path, sep="\t", index=False)
    return path


def test_a_run_is_compared_with_a_published_table(app, tmp_path, monkeypatch, capsys):
    def printed(*words):
        monkeypatch.setattr("sys.argv", ["published.py", *map(str, words)])
        app["published"].main()
        return capsys.readouterr().out

    points = [CONFIG | {"activation": act, "epochs": epochs} for act, epochs in SWEEP]
    lines = [
        done(i, point, solved(0, k, 100, epochs=point["epochs"]))
        for i, (point, k) in enumerate(zip(points, (3, 20, 50, 50, 0, 9), strict=True))
    ]
    run = write_run(tmp_path / "run", lines, trainer="network").path
    table = published_table(tmp_path / "t.tsv", (60, 90, 50, 49, 0, 4))
    shown = printed(run, table)
    assert "2 of 6 cells differ beyond chance (Holm 5 %)." in shown
    assert "2 have p < 0.05. Chance alone gives about 0.2, 95 % range 0 to 1: " in shown
    assert "So their number is above this range." in shown
    assert "All that differ have activation Tanh." in shown
    p = fisher_exact([[20, 80], [90, 10]]).pvalue
    row = next(line.split() for line in shown.splitlines() if "50 20 100      90" in line)
    assert [float(cell) for cell in row[-2:]] == pytest.approx([p, 6 * p], rel=0.01)
    few = published_table(tmp_path / "few.tsv", (60, 90, 50))
    for wrong, words in (
        (few, "few.tsv: 3 of 3 cells are in .*after the same epochs"),
        (run / "manifest.json", "manifest.json: lacks Activation, Criterion"),
        (tmp_path / "none.tsv", "none.tsv"),
    ):
        with pytest.raises(SystemExit, match=f"error: .*{words}"):
            printed(run, wrong)
