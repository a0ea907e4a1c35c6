"""examples/thread: the claims of a forum thread, measured with the public API alone."""

import csv
import importlib
import re
from pathlib import Path

import pytest
import yaml

import xortune as xt

ROOT = Path(__file__).parents[1]
HERE = ROOT / "examples" / "thread"
REPORTS = ROOT / "reports"
COLUMNS = ["id", "variant", "system", "quoted", "k", "n", "rate", "low", "high", "verdict", "why"]
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
        yield {name: importlib.import_module(name) for name in ("measure", "posted", "write")}


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
